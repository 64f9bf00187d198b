# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, freethreading_compatible=True
"""The loop over points of the perceptron and its relatives: each step needs the line that the step before left.

Shapes: n features, K units (lines), m points. A unit has the output z = w x + b; t is its target, +1 or -1, except
that SQUARED takes numbers as they are.
"""

import numpy as np

from cpython.exc cimport PyErr_CheckSignals
from libc.math cimport exp, log1p
from libc.stdint cimport int32_t, int64_t
from libcpp.vector cimport vector

cdef extern from *:
    """
    #include <chrono>
    static inline double seconds_now() {
        return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
    }
    """
    double seconds_now() noexcept nogil
    void __builtin_prefetch(const void*) nogil

# How far a point pulls its unit, g in w += rate g x, and the loss it adds:
#   TRICK    t where t z <= 0, else 0                       max(0, -t z)
#   STEP     (t + 1) / 2 - [z > 0]                          max(0, -t z)
#   HINGE    t where t z < 1, else 0                        max(0, 1 - t z)
#   LOG      (t + 1) / 2 - sigmoid(z)                       log(1 + exp(-t z))
#   SOFTMAX  [k is the class] - softmax(z)[k]               log(sum(exp(z))) - z[class]
#   SIGNED   t - z                                          (t - z)^2 / 2
#   SQUARED  y - z, for numbers y                           (y - z)^2 / 2
TRICK, STEP, HINGE, LOG, SOFTMAX, SIGNED, SQUARED = range(7)

cdef enum:
    AHEAD = 16  # points; those in random order come from memory that is in no cache
    SOME = 65536  # products: 20 microseconds or more, after which a walk looks at the clock

cdef double INTERVAL = 0.05  # seconds after which it looks whether Ctrl-C was pressed, for which it takes the GIL


cdef inline double dot(const double* x, const double* w, Py_ssize_t n) noexcept nogil:
    cdef double a = 0, b = 0, c = 0, d = 0
    cdef Py_ssize_t j = 0
    while n - j >= 8:  # four sums: one alone waits for each of its additions
        a += x[j] * w[j] + x[j + 4] * w[j + 4]
        b += x[j + 1] * w[j + 1] + x[j + 5] * w[j + 5]
        c += x[j + 2] * w[j + 2] + x[j + 6] * w[j + 6]
        d += x[j + 3] * w[j + 3] + x[j + 7] * w[j + 7]
        j += 8
    a = (a + b) + (c + d)
    while j < n:
        a += x[j] * w[j]
        j += 1
    return a


cdef object aligned(array):
    """The array, copied where its elements do not lie at multiples of their size; None stays."""
    return None if array is None else np.require(array, requirements="A")


cdef object check_rows(data, indices, indptr, Py_ssize_t features):
    """Raises ValueError where compressed sparse rows point outside of themselves or of the features."""
    rising = len(data) == len(indices) and indptr[0] == 0 and indptr.max() <= len(data) and (np.diff(indptr) >= 0).all()
    inside = len(indices) == 0 or (indices.min() >= 0 and indices.max() < features)
    if not rising or not inside:
        raise ValueError(f"expected sparse rows with indices of 0 to {features - 1} and rising row pointers of 0 to"
                         f" {len(data)}.")


cdef class Walker:
    """Walks over points in a given order and moves the lines.

    Args:
        rule: one of the constants above.
        rate: of learning.
        batch: points per update; their pulls are averaged.
        x: (m, n) float64, or a tuple (data, indices, indptr) of compressed rows: float64, int32, int32.
        targets: (m,) float64: class numbers, or numbers for SQUARED. One unit alone has class 1 on its positive side,
            several have a class each.
        weights: (m,) float64, factors of pulls and losses, or None.
        coef: (K, n) float64, intercept: (K,) float64; changed in place.
        bias: whether the intercept moves.
        room: changes that are kept until `taken`; 0 keeps none. A walk pauses when they are used up.

    Attributes:
        position: points of the order that are done.
        steps: updates so far, also those that moved nothing.
        loss: sum of the losses, each as it was before its update. Settable, as the next.
        moves: number of updates that moved a line.
    """

    cdef int rule
    cdef double rate
    cdef Py_ssize_t batch, m, n, units, room
    cdef const double[:, ::1] dense
    cdef const double[::1] data
    cdef const int32_t[::1] indices, indptr
    cdef bint sparse, bias
    cdef const double[::1] targets, weights
    cdef double[:, ::1] coef
    cdef double[::1] intercept
    cdef const int32_t[::1] order
    cdef vector[double] pull, total, kept
    cdef vector[int64_t] kept_steps
    cdef readonly Py_ssize_t position
    cdef readonly int64_t steps
    cdef public double loss
    cdef public int64_t moves

    def __init__(self, int rule, double rate, Py_ssize_t batch, x, targets, weights, coef, intercept, bint bias,
                 Py_ssize_t room=0):
        self.rule, self.rate, self.batch, self.bias, self.room = rule, rate, batch, bias, room
        self.coef, self.intercept, self.targets, self.weights = coef, intercept, aligned(targets), aligned(weights)
        self.units, self.n = coef.shape
        self.sparse = isinstance(x, tuple)
        if self.sparse:
            self.data, self.indices, self.indptr = [aligned(part) for part in x]
            self.m = self.indptr.shape[0] - 1
            check_rows(x[0], x[1], x[2], self.n)
        else:
            self.dense = aligned(x)
            self.m = self.dense.shape[0]
            if self.dense.shape[1] != self.n:
                raise ValueError(f"expected points with {self.n} features; received {self.dense.shape[1]}.")
        if batch < 1 or self.intercept.shape[0] != self.units or self.targets.shape[0] != self.m or (
                weights is not None and self.weights.shape[0] != self.m):
            raise ValueError("expected batch >= 1, an intercept per unit, a target and a weight per point; received"
                             f" batch {batch}, shapes {np.shape(intercept)}, {np.shape(targets)}, {np.shape(weights)}"
                             f" for {self.units} units and {self.m} points.")
        self.pull.resize(self.units)
        if batch > 1:
            self.total.assign(self.units * (self.n + 1), 0)

    def follow(self, const int32_t[::1] order):
        """Sets the points to walk over, numbers in [0, m)."""
        if order.shape[0] and not (0 <= np.min(order) and np.max(order) < self.m):
            raise ValueError(f"expected numbers of points in [0, {self.m}); received {np.asarray(order)}.")
        self.order = order
        self.position = 0

    def walk(self, Py_ssize_t stop):
        """Goes on to position `stop` of the order, or until `room` is used up; whether `stop` was reached. Between
        updates it leaves by what a signal handler raises (Ctrl-C)."""
        cdef Py_ssize_t i, work = 0, step = self.batch * (self.units * (self.products() + 4))
        cdef double look = seconds_now() + INTERVAL, now
        stop = min(stop, self.order.shape[0])
        with nogil:
            while self.position < stop and (self.room == 0 or <Py_ssize_t>self.kept_steps.size() < self.room):
                if self.batch == 1:
                    if not self.sparse and self.position + AHEAD < stop:
                        i = self.order[self.position + AHEAD]
                        __builtin_prefetch(&self.dense[i, 0])
                        __builtin_prefetch(&self.targets[i])
                    self.one(self.order[self.position])
                else:
                    self.many(min(self.batch, stop - self.position))
                work += step
                if work >= SOME:
                    work, now = 0, seconds_now()
                    if now >= look:
                        look = now + INTERVAL
                        with gil:
                            PyErr_CheckSignals()
        return self.position >= stop

    cdef Py_ssize_t products(self):
        """Numbers of a point, on average."""
        return self.data.shape[0] // max(1, self.m) if self.sparse else self.n

    def taken(self):
        """(steps (c,), coef (c, K, n), intercept (c, K)) after each change since the last call; steps count updates
        from 1."""
        cdef Py_ssize_t count = self.kept_steps.size(), width = self.units * (self.n + 1), i
        steps, lines = np.empty(count, np.int64), np.empty((count, width))
        cdef int64_t[::1] s = steps
        cdef double[::1] flat = lines.reshape(-1)
        for i in range(count):
            s[i] = self.kept_steps[i]
        for i in range(count * width):
            flat[i] = self.kept[i]
        self.kept_steps.clear()
        self.kept.clear()
        coef = lines[:, :self.units * self.n].reshape(count, self.units, self.n)
        return steps, coef, lines[:, self.units * self.n:].copy()

    cdef inline double output(self, Py_ssize_t k, Py_ssize_t i) noexcept nogil:
        cdef double z = 0
        cdef Py_ssize_t j
        if self.sparse:
            for j in range(self.indptr[i], self.indptr[i + 1]):
                z += self.data[j] * self.coef[k, self.indices[j]]
        else:
            z = dot(&self.dense[i, 0], &self.coef[k, 0], self.n)
        return z + self.intercept[k]

    cdef inline void add(self, double* to, double factor, Py_ssize_t i) noexcept nogil:
        """to += factor x[i]"""
        cdef Py_ssize_t j
        cdef const double* x
        if self.sparse:
            for j in range(self.indptr[i], self.indptr[i + 1]):
                to[self.indices[j]] += factor * self.data[j]
        else:
            x = &self.dense[i, 0]
            for j in range(self.n):
                to[j] += factor * x[j]

    cdef inline double pulls(self, Py_ssize_t i) noexcept nogil:
        """Fills `pull` with g of every unit for point i; returns the loss."""
        cdef double z, t, e, loss = 0, top, y = self.targets[i]
        cdef Py_ssize_t k
        cdef bint mine
        if self.rule == 4:
            top = self.pull[0] = self.output(0, i)
            for k in range(1, self.units):
                self.pull[k] = self.output(k, i)
                top = max(top, self.pull[k])
            e = 0
            loss = top - self.pull[<Py_ssize_t>y]
            for k in range(self.units):
                self.pull[k] = exp(self.pull[k] - top)
                e += self.pull[k]
            for k in range(self.units):
                self.pull[k] = (y == k) - self.pull[k] / e
            return loss + log1p(e - 1)
        for k in range(self.units):
            z = self.output(k, i)
            mine = y == (k if self.units > 1 else 1)
            t = 1 if mine else -1
            if self.rule == 0:
                self.pull[k] = t if t * z <= 0 else 0
                loss += max(0.0, -t * z)
            elif self.rule == 1:
                self.pull[k] = <double>mine - (1 if z > 0 else 0)
                loss += max(0.0, -t * z)
            elif self.rule == 2:
                self.pull[k] = t if t * z < 1 else 0
                loss += max(0.0, 1 - t * z)
            elif self.rule == 3:
                e = exp(-abs(z))
                self.pull[k] = <double>mine - (1 if z >= 0 else e) / (1 + e)
                loss += max(0.0, -t * z) + log1p(e)
            else:
                t = y if self.rule == 6 else t
                self.pull[k] = t - z
                loss += (t - z) * (t - z) / 2
        return loss

    cdef inline void one(self, Py_ssize_t i) noexcept nogil:
        cdef double weight = 1, loss = self.pulls(i), g
        cdef bint moved = False
        cdef Py_ssize_t k
        if self.weights is not None:
            weight = self.weights[i]
        self.loss += weight * loss
        self.steps += 1
        self.position += 1
        for k in range(self.units):
            g = self.rate * (weight * self.pull[k])
            if g != 0:
                moved = True
                self.add(&self.coef[k, 0], g, i)
                if self.bias:
                    self.intercept[k] += g
        if moved:
            self.moves += 1
            if self.room:
                self.keep()

    cdef void many(self, Py_ssize_t count) noexcept nogil:
        cdef double weight, g, share = self.rate / count
        cdef bint moved = False
        cdef Py_ssize_t i, j, k, p, width = self.n + 1
        for p in range(self.position, self.position + count):
            i = self.order[p]
            weight = 1
            if self.weights is not None:
                weight = self.weights[i]
            self.loss += weight * self.pulls(i)
            for k in range(self.units):
                g = weight * self.pull[k]
                if g != 0:
                    moved = True
                    self.add(&self.total[k * width], g, i)
                    self.total[k * width + self.n] += g
        self.steps += 1
        self.position += count
        if not moved:
            return
        self.moves += 1
        for k in range(self.units):
            for j in range(self.n):
                self.coef[k, j] += share * self.total[k * width + j]
                self.total[k * width + j] = 0
            if self.bias:
                self.intercept[k] += share * self.total[k * width + self.n]
            self.total[k * width + self.n] = 0
        if self.room:
            self.keep()

    cdef void keep(self) noexcept nogil:
        cdef Py_ssize_t k, j
        self.kept_steps.push_back(self.steps)
        for k in range(self.units):
            for j in range(self.n):
                self.kept.push_back(self.coef[k, j])
        for k in range(self.units):
            self.kept.push_back(self.intercept[k])
