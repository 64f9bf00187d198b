"""JAX: everything jitted; training steps scanned, 100 shuffled batches inside one jit, with Adam
written out."""

from __future__ import annotations

import functools
import pickle
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from bench.frameworks import _nets_jax as nets
from bench.workloads import GAN, NETS, STEPS, data, gan_data, samples

SCAN = 100


def set_threads(n):
    """The number of threads is fixed by the affinity the harness gives the process."""


def _call(fn, *args):
    f = jax.jit(fn)
    f(*args)
    return lambda: jax.block_until_ready(f(*args)), 1


def matmul(m, n, k):
    rng = np.random.default_rng(0)
    return _call(jnp.matmul, jnp.asarray(rng.random((m, k), np.float32)), jnp.asarray(rng.random((k, n), np.float32)))


def unary(function, n):
    x = jnp.asarray(np.random.default_rng(0).normal(size=n).astype(np.float32))
    if function == "softmax":
        return _call(jax.nn.softmax, x.reshape(1024, -1))
    return _call(getattr(jax.nn, function), x)


def dropout(n, rate):
    x = jnp.ones(n, jnp.float32)

    def drop(key, t):
        return jnp.where(jax.random.bernoulli(key, 1 - rate, t.shape), t / (1 - rate), 0.0)

    return _call(drop, jax.random.key(0), x)


def batch_norm(shape):
    x = jnp.asarray(np.random.default_rng(0).random(shape, np.float32))
    gamma, beta = jnp.ones(shape[-1]), jnp.zeros(shape[-1])

    def forward(x, gamma, beta):
        mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
        return gamma * (x - mean) * jax.lax.rsqrt(variance + 1e-3) + beta

    return _call(_with_gradient(forward, 3), jnp.ones_like(x), x, gamma, beta)


def _with_gradient(fn, sources):
    """A function of the arguments of `fn` and the gradient of its result that gives both result and gradients, as the
    other frameworks compute them; `jax.grad` of a sum alone would leave out the forward pass and know the gradient."""

    def both(dy, *args):
        y, back = jax.vjp(lambda *moved: fn(*moved, *args[sources:]), *args[:sources])
        return y, back(dy)

    return both


def conv(shape, filters, size, padding, strides, direction):
    x = jnp.asarray(np.random.default_rng(0).random(shape, np.float32))
    w, b = jnp.full((size, size, shape[-1], filters), 0.1), jnp.zeros(filters)

    def forward(w, b, x):
        return nets.conv2d(x, w, padding, strides) + b

    if direction == "forward":
        return _call(forward, w, b, x)
    return _call(_with_gradient(forward, 3 if direction == "both" else 2), jnp.ones_like(forward(w, b, x)), w, b, x)


def pool(mode, shape):
    x = jnp.asarray(np.random.default_rng(0).random(shape, np.float32))

    def forward(x):
        if mode == "max":
            return nets.max_pool(x)
        return jax.lax.reduce_window(x, 0.0, jax.lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "VALID") / 4

    return _call(_with_gradient(forward, 1), jnp.ones_like(forward(x)), x)


_tree = functools.partial(jax.tree.map)


def _adam_state(params):
    """(parameters, both moments, number of steps)."""
    return params, _tree(jnp.zeros_like, params), _tree(jnp.zeros_like, params), jnp.float32(0)


def _adam(state, g, rate):
    params, m, v, t = state
    t = t + 1
    m = _tree(lambda m, g: 0.9 * m + 0.1 * g, m, g)
    v = _tree(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
    rate = rate * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
    return _tree(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + 1e-7), params, m, v), m, v, t


def train(net, batch, steps=None):
    shape = NETS[net]
    if nets.absent(net):
        return None
    steps = steps or (SCAN if net == "tiny" else STEPS.get(net, SCAN))
    x_all, y_all = (jnp.asarray(a) for a in data(net, steps * batch))

    def loss(params, key, x, y):
        logits = nets.forward(net, params, x, key, True)
        if shape["outputs"] == 1:
            value = jnp.mean(jnp.maximum(logits, 0) - logits * y + jnp.log1p(jnp.exp(-jnp.abs(logits))))
        else:
            value = -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1))
        if shape.get("l2"):
            value = value + shape["l2"] * sum((w * w).sum() for w, _ in params[:-1])
        return value

    def step(carry, rows):
        *state, key = carry
        key, sub = jax.random.split(key)
        g = jax.grad(loss)(state[0], sub, x_all[rows], y_all[rows])
        return (*_adam(state, g, 1e-3), key), None

    state = [(*_adam_state(nets.init(net)), jax.random.key(0))]

    def scan(state):
        *rest, key = state
        key, sub = jax.random.split(key)
        order = jax.random.permutation(sub, steps * batch).reshape(steps, batch)
        return jax.lax.scan(step, (*rest, key), order)[0]

    many = jax.jit(scan, donate_argnums=0)

    def call():
        state[0] = jax.block_until_ready(many(state[0]))

    return call, steps


def predict(net, rows=1):
    return None if nets.absent(net) else _serve(nets.init(net), net, rows)


def _serve(params, net, rows):
    def forward(x):
        y = nets.forward(net, params, x, None, False)
        return jax.nn.softmax(y) if NETS[net]["outputs"] else y

    return _call(forward, jnp.asarray(samples(net, rows)))


def save(net, path):
    Path(f"{path}.pickle").write_bytes(pickle.dumps(_tree(np.asarray, nets.init(net))))  # JAX has no file of its own


def load(net, path):
    return _serve(pickle.loads(Path(f"{path}.pickle").read_bytes()), net, 1)


def gan(batch):
    """One step, jitted as a whole: the judge on real and made samples, then the generator through the judge."""
    rng, hidden, sample = np.random.default_rng(0), GAN["hidden"], GAN["sample"]

    def dense(*sizes):
        return [(jnp.asarray(rng.normal(0, (2 / (a + b)) ** 0.5, (a, b)).astype(np.float32)), jnp.zeros(b))
                for a, b in zip(sizes, sizes[1:])]

    def through(params, x):
        (w, b), (w2, b2) = params
        return jax.nn.relu(x @ w + b) @ w2 + b2

    def make(params, noise):
        return jax.nn.sigmoid(through(params, noise))

    def loss(logits, y):
        return jnp.mean(jnp.maximum(logits, 0) - logits * y + jnp.log1p(jnp.exp(-jnp.abs(logits))))

    labels = jnp.concatenate([jnp.ones((batch, 1)), jnp.zeros((batch, 1))])

    def of_judge(judge, generator, noise, real):
        return loss(through(judge, jnp.concatenate([real, make(generator, noise)])), labels)

    def of_generator(generator, judge, noise):
        return loss(through(judge, make(generator, noise)), labels[:batch])

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(generator, judge, noise, real):
        judge = _adam(judge, jax.grad(of_judge)(judge[0], generator[0], noise, real), 2e-4)
        return _adam(generator, jax.grad(of_generator)(generator[0], judge[0], noise), 2e-4), judge

    noise, real = (jnp.asarray(a) for a in gan_data(batch))
    state = [tuple(_adam_state(dense(*sizes)) for sizes in ((GAN["noise"], hidden, sample), (sample, hidden, 1)))]

    def call():
        state[0] = jax.block_until_ready(step(*state[0], noise, real))

    return call, 1
