"""The network behind `MLPClassifier` and `MLPRegressor`: dense layers of pydl, a recorded step, and what feeds it."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from pydl import layers, ops, optimizers
from pydl.autograd import gradients, no_grad
from pydl.data.adapters import ArrayData
from pydl.models import Sequential
from pydl.models.runner import ArrayRunner
from pydl.program import RecordedFunction
from pydl.tensor import Tensor, Variable

ACTIVATIONS = {"identity": "linear", "logistic": "sigmoid", "tanh": "tanh", "relu": "relu"}
ENDS = {"identity": lambda z: z, "exp": ops.exp, "logistic": ops.sigmoid, "softmax": ops.softmax}
_ROWS = 1024  # of a prediction at a time


def build(units, activation: str, dtype, draw) -> Sequential:
    """Dense layers of these sizes, inputs first; the last one is linear. Their weights come from
    draw(limit, shape), uniform in [-limit, limit] (Glorot and Bengio, 2010)."""
    name = np.dtype(dtype).name
    model = Sequential([layers.Input((units[0],), dtype=name)])
    for i, size in enumerate(units[1:]):
        act = ACTIVATIONS[activation] if i < len(units) - 2 else "linear"
        model.add(layers.Dense(size, activation=act, dtype=name))
        limit = np.sqrt((2.0 if activation == "logistic" else 6.0) / (units[i] + size))
        model.layers[-1].set_weights([draw(limit, (units[i], size)), draw(limit, size)])
    return model


def crossentropy(y, z):
    """Per sample: y (b,) class numbers of logits z (b, k)."""
    return ops.sparse_categorical_crossentropy(y, z, from_logits=True)


def binary_crossentropy(y, z):
    """Per sample, summed over the labels: y, z (b, k), z logits."""
    return ops.sum(ops.binary_crossentropy(y, z, from_logits=True), -1)


def squared_error(y, z):
    """Per sample, half the squares summed over the outputs."""
    return 0.5 * ops.sum(ops.square(z - y), -1)


def poisson(y, z):
    """Per sample, half the deviance of exp(z) from y, y log(y / exp(z)) - y + exp(z), summed over the outputs."""
    return ops.sum(ops.exp(z) - y * z + y * ops.log(ops.where(y > 0, y, ops.ones_like(y))) - y, -1)


class Rows(ArrayData):
    """(x, y, weights) in memory, in the dtypes they have, where `ArrayData` converts to `floatx`; x may be sparse."""

    def __init__(self, x, y, weights):
        self.x, self.y, self.sample_weight, self.rows = x, y, weights, x.shape[0]

    def take(self, rows):
        """The batch of these rows; those of a sparse x as a dense array."""
        x, y, weights = self.structure
        x = x[rows].toarray() if sparse.issparse(x) else np.ascontiguousarray(x[rows])
        return x, np.ascontiguousarray(y[rows]), None if weights is None else np.ascontiguousarray(weights[rows])


class Network:
    """A model with its loss, penalty and optimizer.

    Args:
        model: of `build`; its outputs are logits or the logarithms of rates.
        end: name in `ENDS`, what makes predictions of the outputs.
        loss: one of the functions above.
        alpha: the penalty is alpha / 2 times the sum of the squares of all kernels, per sample of the batch.
        outputs: the reported loss is divided by it (the gradient is not), as scikit-learn reports squared errors.
    """

    def __init__(self, model, end: str, loss, alpha: float, outputs: int = 1):
        self.model, self.end, self.loss, self.alpha, self.outputs = model, end, loss, float(alpha), outputs
        self.optimizer = None
        self._forget()

    def _forget(self) -> None:
        self._predict = RecordedFunction(lambda x: ENDS[self.end](self.model(x)), name="predict")
        self._step = RecordedFunction(self._train, name="step")
        self._gradients = RecordedFunction(self._loss_and_gradients, name="loss")

    def __getstate__(self) -> dict:  # recorded programs point into memory of this process
        return {k: v for k, v in self.__dict__.items() if k not in ("_predict", "_step", "_gradients", "total")}

    def __setstate__(self, state) -> None:
        self.__dict__.update(state)
        self._forget()
        if self.optimizer is not None:
            self._make_total()

    @property
    def variables(self) -> list:
        return self.model.trainable_variables

    def kernels(self) -> list[np.ndarray]:
        return [layer.kernel.numpy() for layer in self.model.layers]

    def biases(self) -> list[np.ndarray]:
        return [layer.bias.numpy() for layer in self.model.layers]

    # ---- steps ---------------------------------------------------------------------------------------------------

    def _loss_and_gradients(self, x, y, weights):
        """(reported loss of the batch, gradients of `variables`)."""
        values = self.loss(y, self.model(x))
        rows = float(x.shape[0])
        if weights is None:
            data = ops.mean(values)
        else:
            total = ops.sum(weights)
            total = ops.where(total > 0, total, ops.ones_like(total))  # a batch may hold weights of 0 alone
            data = ops.sum(values * weights) / total
        loss = reported = data
        if self.outputs > 1:
            reported = data / float(self.outputs)
        if self.alpha:
            factor = self.alpha / 2 if weights is not None else self.alpha / 2 / rows
            penalty = None
            for layer in self.model.layers:
                part = ops.optimizer.l1_l2_penalty(layer.kernel, l2=factor)
                penalty = part if penalty is None else penalty + part
            penalty = penalty if weights is None else penalty / total
            loss, reported = loss + penalty, reported + penalty
        with no_grad():
            return reported, gradients([loss], self.variables)

    def _train(self, x, y, weights):
        reported, grads = self._loss_and_gradients(x, y, weights)
        with no_grad():
            self.optimizer.apply(grads, self.variables)
            self.total.assign(self.total + reported * float(x.shape[0]))
        return {"total": self.total}

    def set_optimizer(self, optimizer) -> None:
        """Starts training afresh with this optimizer."""
        self.optimizer = optimizer
        self._make_total()
        self._step = RecordedFunction(self._train, name="step")

    def _make_total(self) -> None:
        dtype = self.variables[0].dtype
        self.total = Variable(np.zeros((), dtype), dtype=dtype, trainable=False, name="total")

    def run(self, data: Rows, order: np.ndarray, batch: int, runner: ArrayRunner | None) -> float:
        """One pass over `order` in batches; the mean of the reported losses, each weighted by its batch's size."""
        self.total.assign(np.zeros((), self.total.dtype))
        if runner is None:
            for start in range(0, len(order), batch):
                self._step(*data.take(order[start:start + batch]))
        else:
            steps = -(-len(order) // batch)
            runner.start(order, batch, steps)
            while runner.advance(0.1) < steps:
                pass
        return float(self.total.numpy()) / len(order)

    def runner(self, data: Rows) -> ArrayRunner | None:
        """Feeds rows without returning to Python; None for sparse ones."""
        return None if sparse.issparse(data.structure[0]) else ArrayRunner(self._step, data)

    def loss_and_gradients(self, data: Rows, vector: np.ndarray):
        """(loss, gradient) on all rows with the weights of a flat vector, float64."""
        self.set_vector(vector)
        loss, grads = self._gradients(*data.take(slice(None)))
        return float(loss), np.concatenate([g.data.ravel() for g in grads]).astype(np.float64)

    def vector(self) -> np.ndarray:
        return np.concatenate([v.numpy().ravel() for v in self.variables]).astype(np.float64)

    def set_vector(self, vector) -> None:
        at = 0
        for v in self.variables:
            v.assign(vector[at:at + v.numpy().size].reshape(v.shape).astype(v.dtype))
            at += v.numpy().size

    def predict(self, x) -> np.ndarray:
        """(rows, outputs)."""
        found = []
        with no_grad():
            for start in range(0, x.shape[0], _ROWS):
                part = x[start:start + _ROWS]
                part = part.toarray() if sparse.issparse(part) else np.require(part, requirements=("C", "A"))
                found.append(self._predict.run((Tensor(part),), lambda y: np.array(y.data)))
        return found[0] if len(found) == 1 else np.concatenate(found)


def make_optimizer(solver: str, estimator):
    """Adam or SGD with the arguments of the estimator."""
    rate = float(estimator.learning_rate_init)
    if solver == "adam":
        return optimizers.Adam(rate, beta_1=estimator.beta_1, beta_2=estimator.beta_2, epsilon=estimator.epsilon)
    return optimizers.SGD(rate, momentum=float(estimator.momentum), nesterov=bool(estimator.nesterovs_momentum))
