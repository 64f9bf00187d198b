"""Trainings of small networks with drawn settings of `compile`, `fit`, `evaluate` and `predict`, wrong ones too.

    python -m tests.fuzz.settings --seed 0 --count 1000 --jobs 2
    python -m tests.fuzz.settings --seed 0 --index 17

A training is done three times: replayed, with `run_eagerly=True`, and, unless a callback interferes, as a loop that is
written out here: batches, weights, losses, history, for SGD and Adam the update too. The first two end with the same
bits, the loop within bounds. A wrong setting is refused by a sentence and leaves the model as it was: the training that
follows has the bits of one that nothing preceded.
"""

from __future__ import annotations

import itertools
import math
import random
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import h5py  # noqa: F401  # runs a program while it is imported, which a case may not do
import numpy as np

import pydl
from pydl import callbacks, layers, ops, tree
from pydl.data.dataset import Dataset
from pydl.optimizers import schedules

from . import pool
from .ops import check
from .worker import Case

BOUND = 2e-4  # between a training and the loop, of the largest weight
SENTENCES = (ValueError, TypeError, IndexError)
# How Python, NumPy and C++ complain of what nobody has looked at.
BARE = re.compile(r"not supported between|unsupported operand|object is not|has no attribute|unexpected keyword|"
                  r"could not convert|invalid literal|must be real number|missing \d+ required|cannot unpack|"
                  r"not enough values|too many values|could not be broadcast|setting an array|as an integer|"
                  r"index out of range|incompatible function|bad operand|unhashable|truth value|convertible to|"
                  r"positional argument|argument must be|cannot convert|indices must be|"
                  r"not subscriptable|not iterable|not callable")


# ---- networks and what they learn ------------------------------------------------------------------------------------


def mlp(head):
    return [pydl.Input((5,)), layers.Dense(6, "tanh", kernel_regularizer="l2"), layers.Dropout(0.3), *head]


def normalised(head):
    return [pydl.Input((5,)), layers.Dense(6, use_bias=False), layers.BatchNormalization(), layers.ReLU(), *head]


def convolution(head):
    return [pydl.Input((6, 6, 2)), layers.Conv2D(3, 3, padding="same", activation="tanh"), layers.MaxPooling2D(),
            layers.SpatialDropout2D(0.2), layers.Flatten(), *head]


def recurrent(head):
    return [pydl.Input((4, 3)), layers.Bidirectional(layers.GRU(3)), *head]


def tokens(head):
    return [pydl.Input((4,), dtype="int32"), layers.Embedding(9, 3, mask_zero=True), layers.LSTM(3, dropout=0.2), *head]


def tagged(head):
    return [pydl.Input((4,), dtype="int32"), layers.Embedding(9, 3, mask_zero=True),
            layers.LSTM(3, return_sequences=True), *head]


NETWORKS = {make.__name__: make for make in (mlp, normalised, convolution, recurrent, tokens, tagged)}
SHAPES = {"convolution": (6, 6, 2), "recurrent": (4, 3), "tokens": (4,), "tagged": (4,)}
STEPS = {"tagged": (4,)}  # of the outputs


def one_hot(y, classes=3):
    return np.eye(classes, dtype="float32")[y]


def logs(p):
    """Logarithms of probabilities, as far from 0 and 1 as losses keep them."""
    return ops.log(ops.clip(p, 1e-7, 1 - 1e-7))


class Head(NamedTuple):
    """What a network is to learn: its last layer, how targets are drawn, the loss, and that loss of a sample in ops."""

    units: int
    activation: str | None
    draw: Callable
    loss: Any
    sample: Callable
    metric: str


def floats(rng, shape):
    return rng.normal(size=(*shape, 2)).astype("float32")


def bits(rng, shape):
    return rng.integers(0, 2, (*shape, 1)).astype("float32")


def labels(rng, shape):
    return rng.integers(0, 3, shape).astype("int32")


HEADS = {
    "mse": Head(2, None, floats, "mse", lambda y, p: ops.mean(ops.square(p - y), -1), "mae"),
    "mae": Head(2, None, floats, "mean_absolute_error", lambda y, p: ops.mean(ops.abs(p - y), -1), "mse"),
    "log_cosh": Head(2, "softplus", floats, "log_cosh", lambda y, p: ops.mean(ops.log(ops.cosh(p - y)), -1), "mae"),
    "binary": Head(1, "sigmoid", bits, "binary_crossentropy",
                   lambda y, p: -ops.mean(y * logs(p) + (1.0 - y) * logs(1.0 - p), -1), "mae"),
    "labels": Head(3, "softmax", labels, "sparse_categorical_crossentropy",
                   lambda y, p: -ops.sum(one_hot(y) * logs(p), -1), "accuracy"),
    "logits": Head(3, None, labels, lambda: pydl.losses.SparseCategoricalCrossentropy(from_logits=True),
                   lambda y, p: ops.logsumexp(p, -1) - ops.sum(one_hot(y) * p, -1), "accuracy"),
    "one-hot": Head(3, "softmax", lambda rng, shape: one_hot(labels(rng, shape)), "categorical_crossentropy",
                    lambda y, p: -ops.sum(y * logs(p), -1), "accuracy"),
}


class Reference:
    """SGD and Adam with all that optimizers share, in float64.

    Args:
        name: "SGD" or "Adam".
        options: of the constructor.
        rate: function of the number of the step.
    """

    def __init__(self, name, options, rate):
        self.name, self.options, self.rate = name, options, rate
        self.calls, self.total, self.first, self.second, self.average = 0, None, None, None, None

    def apply(self, slopes, values):
        """The values after a call. As in Keras, averages move in calls that only accumulate, too."""
        get = self.options.get
        slopes = [g.astype("float64") / (get("loss_scale_factor") or 1.0) for g in slopes]
        every = get("gradient_accumulation_steps") or 1
        done = self.calls // every
        self.total = slopes if self.total is None else [t + g for t, g in zip(self.total, slopes)]
        self.calls += 1
        if self.calls % every == 0:
            slopes, self.total = self.clipped([t / every for t in self.total]), None
            rate = self.rate(self.calls - 1)
            values = [v.astype("float64") * (1.0 - rate * (get("weight_decay") or 0.0)) for v in values]
            if done == 0:
                self.first, self.second = ([np.zeros_like(v) for v in values] for _ in range(2))
            values = [getattr(self, self.name)(i, g, v, rate, done) for i, (g, v) in enumerate(zip(slopes, values))]
        if get("use_ema"):
            momentum = get("ema_momentum") if done else 0.0
            self.average = [momentum * a + (1.0 - momentum) * v for a, v in zip(self.average or values, values)]
            if (overwrite := get("ema_overwrite_frequency")) and (done + 1) % overwrite == 0:
                values = self.average
        return values

    def clipped(self, slopes):
        get, norms = self.options.get, [float(np.linalg.norm(g)) for g in slopes]
        if bound := get("clipnorm"):
            return [g * min(1.0, bound / max(norm, 1e-300)) for g, norm in zip(slopes, norms)]
        if bound := get("global_clipnorm"):
            return [g * min(1.0, bound / max(math.hypot(*norms), 1e-300)) for g in slopes]
        bound = get("clipvalue") or math.inf
        return [np.clip(g, -bound, bound) for g in slopes]

    def SGD(self, i, g, v, rate, done):
        momentum = self.options.get("momentum", 0.0)
        self.first[i] = m = momentum * self.first[i] - rate * g
        return v + (momentum * m - rate * g if self.options.get("nesterov") else m)

    def Adam(self, i, g, v, rate, done):
        self.first[i] = m = self.first[i] + (g - self.first[i]) * 0.1
        self.second[i] = s = self.second[i] + (g * g - self.second[i]) * 0.001
        return v - m * rate * math.sqrt(1.0 - 0.999 ** (done + 1)) / (1.0 - 0.9 ** (done + 1)) / (np.sqrt(s) + 1e-7)


OPTIMIZERS = ("SGD", "SGD", "SGD", "Adam", "Adam", "AdamW", "RMSprop", "Nadam", "Ftrl", "Lion", "Adagrad", "Adadelta",
              "Adamax")
# By what the others divide, or whose sign they take, rounding changes more than in proportion.
SMOOTH = ("SGD", "Adam", "Ftrl", "Adagrad", "Adadelta")
SHARED = ({}, {}, {"clipnorm": 0.1}, {"clipvalue": 0.02}, {"global_clipnorm": 0.2}, {"weight_decay": 0.1},
          {"use_ema": True, "ema_momentum": 0.5}, {"use_ema": True, "ema_momentum": 0.6, "ema_overwrite_frequency": 2},
          {"gradient_accumulation_steps": 2}, {"gradient_accumulation_steps": 3, "clipnorm": 0.1},
          {"gradient_accumulation_steps": 2, "use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 2},
          {"loss_scale_factor": 8.0}, {"loss_scale_factor": 4.0, "gradient_accumulation_steps": 2})
RATES = {"constant": (lambda: 0.05, lambda step: 0.05),
         "exponential": (lambda: schedules.ExponentialDecay(0.08, 2, 0.5), lambda step: 0.08 * 0.5 ** (step / 2)),
         "piecewise": (lambda: schedules.PiecewiseConstantDecay([1, 3], [0.1, 0.05, 0.01]),
                       lambda step: 0.1 if step <= 1 else 0.05 if step <= 3 else 0.01),
         "cosine": (lambda: schedules.CosineDecay(0.1, 4),
                    lambda step: 0.05 * (1.0 + math.cos(math.pi * min(step, 4) / 4)))}


# ---- forms of data ---------------------------------------------------------------------------------------------------


class Sequence(pydl.utils.PyDataset):
    def __init__(self, batches):
        super().__init__()
        self._batches = batches

    def __len__(self):
        return len(self._batches)

    def __getitem__(self, index):
        return self._batches[index]


class Again:
    """An iterable that says nothing of its length."""

    def __init__(self, batches):
        self._batches = batches

    def __iter__(self):
        return iter(self._batches)


FORMS = {"sequence": Sequence, "iterable": Again, "endless": itertools.cycle,
         "dataset": lambda batches: Dataset(lambda: iter(batches), len(batches))}
LAYOUTS = {"plain": lambda a: a, "float64": lambda a: a.astype("float64") if a.dtype.kind == "f" else a,
           "by columns": np.asfortranarray, "every second": lambda a: np.repeat(a, 2, axis=0)[::2],
           "tensor": pydl.ops.convert_to_tensor, "list": lambda a: a.tolist()}


def batches_of(arrays, size):
    """The rows of (x, y, w) in batches, None left out at the end."""
    count = len(tree.flatten(arrays)[0])
    for start in range(0, count, size):
        rows = np.arange(start, min(start + size, count))
        yield tuple(part(a, rows) for a in arrays if a is not None)


def part(structure, rows):
    return tree.map_structure(lambda a: a[rows], structure)


# ---- one training ----------------------------------------------------------------------------------------------------


class Training:
    """Settings, drawn; `fit`, `loop` do the same."""

    def __init__(self, rng, folder):
        self.folder, self.seed = folder, rng.randrange(1000)
        data = np.random.default_rng(self.seed)
        self.network = rng.choice(list(NETWORKS))
        self.names = [rng.choice(list(HEADS)) for _ in range(rng.choice((1, 1, 1, 2)))]
        self.heads = [HEADS[name] for name in self.names]
        self.rows, self.held = rng.choice((1, 5, 8, 13)), rng.choice((1, 3, 6))
        self.train, self.validation = self._data(data, self.rows), self._data(data, self.held)
        self.optimizer = rng.choice(OPTIMIZERS)
        self.options = dict(rng.choice(SHARED))
        if self.optimizer == "SGD":
            self.options |= rng.choice(({}, {"momentum": 0.9}, {"momentum": 0.5, "nesterov": True}))
        self.rate = rng.choice(("constant", "constant", *RATES))
        self.loss_weights = [rng.choice((0.5, 1.0, 2.0)) for _ in self.heads] if rng.random() < 0.3 else None
        self.weighted = rng.random() < 0.5
        self.form = rng.choice(("arrays", "arrays", "arrays", *FORMS))
        self.layout = rng.choice(list(LAYOUTS)) if self.form == "arrays" else "plain"
        self.batch_size = rng.choice((1, 2, 4, 7, 32, None))
        self.epochs, self.initial = rng.choice((1, 2, 3)), rng.choice((0, 0, 0, 1))
        self.shuffle = rng.random() < 0.5
        self.steps = rng.choice((None, None, 1, 2, 3))
        if self.form == "endless" and self.steps is None:
            self.steps = 2
        plain = len(self.heads) == 1 and self.network not in STEPS
        self.class_weight = {0: 2.0, 1: 0.5} if plain and self.heads[0].draw is labels and rng.random() < 0.4 else None
        self.sample_weight = data.uniform(0.2, 2.0, self.rows).astype("float32") if rng.random() < 0.3 else None
        self.held_weight = data.uniform(0.2, 2.0, self.held).astype("float32") if rng.random() < 0.3 else None
        self.how_held = rng.choice(("", "data", "data", "sequence", "split"))
        if self.how_held == "split" and (self.form != "arrays" or self.layout == "list" or self.rows < 5):
            self.how_held = "data"
        self.frequency = rng.choice((1, 1, 2, [1, 3]))
        self.held_size = rng.choice((None, 1, 4))
        self.callbacks = rng.choice(("", "", "count", "files", "stop", "early", "reduce", "rate", "nan", "swap"))
        self.ways = {"steps_per_execution": rng.choice((1, 1, 3)), "jit_compile": rng.choice(("auto", True, False))}

    def words(self) -> str:
        shown = {k: v for k, v in vars(self).items()
                 if k not in ("folder", "heads", "train", "validation") and not isinstance(v, np.ndarray) and v}
        weights = [k for k in ("sample_weight", "held_weight") if getattr(self, k) is not None]
        return ", ".join([f"{k}={v!r}" for k, v in shown.items()] + weights)

    def _data(self, rng, rows):
        shape = SHAPES.get(self.network, (5,))
        if self.network in ("tokens", "tagged"):
            x = rng.integers(0, 9, (rows, *shape)).astype("int32")
            x[:, 0] = 3  # a row without any token gives nothing to learn from
        else:
            x = rng.normal(size=(rows, *shape)).astype("float32")
        y = [head.draw(rng, (rows, *STEPS.get(self.network, ()))) for head in self.heads]
        return x, y[0] if len(y) == 1 else tuple(y)

    def make(self, **ways):
        """A compiled model, always with the same weights, and generators in the same state."""
        pydl.utils.clear_session(free_memory=False)
        pydl.utils.set_random_seed(self.seed)
        first, *rest = NETWORKS[self.network]([])
        y = first
        for layer in rest:
            y = layer(y)
        outputs = [layers.Dense(h.units, h.activation, name=f"out{i}")(y) for i, h in enumerate(self.heads)]
        model = pydl.Model(first, outputs if len(outputs) > 1 else outputs[0])
        made = [h.loss() if callable(h.loss) else h.loss for h in self.heads]
        metrics = [[h.metric] for h in self.heads]
        how = dict(optimizer=self.make_optimizer(), loss=made if len(made) > 1 else made[0],
                   loss_weights=self.loss_weights, **self.ways)
        how["weighted_metrics" if self.weighted else "metrics"] = metrics if len(made) > 1 else metrics[0]
        model.compile(**(how | ways))
        return model

    def make_optimizer(self):
        return getattr(pydl.optimizers, self.optimizer)(RATES[self.rate][0](), **self.options)

    def make_callbacks(self, folder):
        """Of `fit`; which of them change the training, `interferes` says."""
        if self.callbacks == "files":
            return [callbacks.CSVLogger(folder / "log.csv"), callbacks.BackupAndRestore(folder / "backup"),
                    callbacks.ModelCheckpoint(folder / "{epoch}.weights.h5", save_weights_only=True)]
        if self.callbacks == "count":
            return [callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None), callbacks.TerminateOnNaN()]
        if self.callbacks == "stop":
            class Stop(callbacks.Callback):
                def on_train_batch_end(self, batch, logs=None):
                    self.model.stop_training = batch >= 1

            return [Stop()]
        if self.callbacks == "reduce" and self.rate != "constant":
            return []
        return {"": lambda: [], "nan": lambda: [callbacks.TerminateOnNaN()],
                "early": lambda: [callbacks.EarlyStopping("loss", patience=0, min_delta=1.0,
                                                          restore_best_weights=True)],
                "reduce": lambda: [callbacks.ReduceLROnPlateau("loss", patience=0, min_delta=5.0, factor=0.5)],
                "rate": lambda: ([callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.5)]
                                 if self.rate == "constant" else []),
                "swap": lambda: [callbacks.SwapEMAWeights()] if self.options.get("use_ema") else []}[self.callbacks]()

    @property
    def interferes(self) -> bool:
        return self.callbacks in ("stop", "early", "reduce", "rate", "swap")

    def arguments(self, folder) -> dict:
        """Of `fit`."""
        (x, y), size = self.train, self.batch_size or 32
        how = dict(epochs=self.epochs, initial_epoch=self.initial, shuffle=self.shuffle, steps_per_epoch=self.steps,
                   class_weight=self.class_weight, verbose=0, callbacks=self.make_callbacks(folder),
                   validation_freq=self.frequency, validation_batch_size=self.held_size)
        if self.form == "arrays":
            lay = LAYOUTS[self.layout]
            how |= dict(x=lay(x), y=tree.map_structure(lay, y), batch_size=self.batch_size,
                        sample_weight=self.spread(self.sample_weight))
        else:
            how["x"] = FORMS[self.form](list(batches_of((x, y, self.spread(self.sample_weight)), size)))
        held = tuple(a for a in (*self.validation, self.spread(self.held_weight)) if a is not None)
        if self.how_held == "split":
            how["validation_split"] = 0.4
        elif self.how_held == "data":
            how["validation_data"] = held
        elif self.how_held == "sequence":
            how["validation_data"] = Sequence(list(batches_of(held, self.held_size or size)))
        return how

    def spread(self, weight):
        """Sample weights for every output."""
        return weight if weight is None or len(self.heads) == 1 else (weight,) * len(self.heads)

    # ---- as a loop ---------------------------------------------------------------------------------------------------

    def loop(self):
        """(model, optimizer or Reference, history) of a loop that does what `fit` is to do."""
        model = self.make()
        known = self.optimizer in ("SGD", "Adam")
        optimizer = Reference(self.optimizer, self.options, RATES[self.rate][1]) if known else model.optimizer
        (x, y), weight, rows = self.train, self.sample_weight, self.rows
        (held_x, held_y), held_weight = self.validation, self.held_weight
        if self.how_held == "split":
            rows = math.floor(self.rows * 0.6)
            held_x, held_y = part((x, y), np.arange(rows, self.rows))
            held_weight = None if weight is None else weight[rows:]
        size, history = self.batch_size or 32, {}
        held_size = self.held_size or (size if self.form == "arrays" or self.how_held == "sequence" else 32)
        for epoch, batches in zip(range(self.initial, self.epochs), self.epochs_of_rows(rows, size)):
            found = Found()
            for rows_of_batch in batches:
                w = self.weight_of(part(y, rows_of_batch), None if weight is None else weight[rows_of_batch])
                self.step(model, optimizer, part(x, rows_of_batch), part(y, rows_of_batch), w, found)
            results = found.results()
            if self.how_held and (epoch + 1 in self.frequency if isinstance(self.frequency, list)
                                  else (epoch + 1) % self.frequency == 0):
                held = self.evaluate(model, held_x, held_y, held_weight, held_size)
                results |= {f"val_{name}": value for name, value in held.items()}
            for name, value in results.items():
                history.setdefault(name, []).append(value)
        if self.options.get("use_ema"):
            if known and optimizer.average:
                self.assign(model, optimizer.average)
            elif history:
                optimizer.finalize_variable_values(model.trainable_variables)
        return model, history

    def epochs_of_rows(self, rows, size):
        """The rows of each batch of each epoch."""
        rest: list = []
        while True:
            if self.form == "arrays":
                if len(rest) == 0:
                    rest = np.random.permutation(rows) if self.shuffle else np.arange(rows)
                count = -(-rows // size)
                count = min(self.steps or count, count) * size
                taken, rest = rest[:count], rest[count:]
                yield [taken[i:i + size] for i in range(0, len(taken), size)]
                continue
            batches = [np.arange(i, min(i + size, rows)) for i in range(0, rows, size)]
            if self.form == "endless":
                endless = itertools.cycle(batches)
                while True:
                    yield list(itertools.islice(endless, self.steps))
            if not rest or self.steps is None:
                drawn = self.shuffle and self.form == "sequence"
                order = np.random.permutation(len(batches)) if drawn else range(len(batches))
                rest = [batches[i] for i in order]
            taken, rest = rest[:self.steps], rest[self.steps:] if self.steps else []
            yield taken

    def weight_of(self, y, weight):
        if not self.class_weight:
            return weight
        by_class = np.array([self.class_weight.get(int(label), 1.0) for label in y], "float32")
        return by_class if weight is None else by_class * weight

    def total(self, model, y, p, weight):
        """The loss of a batch, a tensor."""
        terms = []
        for i, head in enumerate(self.heads):
            target, output = (y, p) if len(self.heads) == 1 else (y[i], p[i])
            each = head.sample(target, output)
            w = np.ones(each.shape, "float32")
            mask = getattr(output, "_keras_mask", None)
            if mask is not None:
                mask = np.array(mask).astype("float32")
                w = w * mask * (mask.size / mask.sum())
            if weight is not None:
                w = w * weight.reshape(-1, *(1,) * (len(each.shape) - 1))
            terms.append(ops.sum(each * w) / float(math.prod(each.shape)))
        factors = self.loss_weights or [1.0] * len(terms)
        whole = terms[0] * factors[0]
        for term, factor in zip(terms[1:], factors[1:]):
            whole = whole + term * factor
        for penalty in model.losses:
            whole = whole + penalty
        return whole

    def step(self, model, optimizer, x, y, weight, found):
        with pydl.GradientTape() as tape:
            p = model(x, training=True)
            loss = self.total(model, y, p, weight)
            scaled = loss * (self.options.get("loss_scale_factor") or 1.0)
        slopes = tape.gradient(scaled, model.trainable_variables)
        if isinstance(optimizer, Reference):
            values = [v.numpy() for v in model.trainable_variables]
            self.assign(model, optimizer.apply([np.array(g) for g in slopes], values))
        else:
            optimizer.apply(slopes, model.trainable_variables)
        found.add(self, y, p, weight, float(loss))

    @staticmethod
    def assign(model, values):
        for variable, value in zip(model.trainable_variables, values):
            variable.assign(value.astype("float32"))

    def evaluate(self, model, x, y, weight, size):
        found = Found()
        for batch in batches_of((x, y, weight), size):
            w = batch[2] if len(batch) > 2 else None
            p = model(batch[0], training=False)
            found.add(self, batch[1], p, w, float(self.total(model, batch[1], p, w)))
        return found.results()

    # ---- compared ----------------------------------------------------------------------------------------------------

    def fit(self, name, **ways):
        """(model, History) of `fit`."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True, parents=True)
        model = self.make(**ways)
        return model, model.fit(**self.arguments(folder))

    def __call__(self) -> None:
        model, history = self.fit("replayed")
        eager, eager_history = self.fit("eager", run_eagerly=True)
        same("history", [history.epoch, history.history], [eager_history.epoch, eager_history.history])
        same("weights", state(model), state(eager))
        if history.epoch != list(range(self.initial, self.epochs)) and not self.interferes:
            raise RuntimeError(f"epochs {history.epoch}")
        smooth = self.optimizer in SMOOTH
        if not self.interferes and smooth:
            mirror, wanted = self.loop()
            for i, (a, b) in enumerate(zip(model.weights, mirror.weights)):
                check(f"weight {i} ({a.path})", a.numpy(), b.numpy(), BOUND)
            received = {k: v for k, v in history.history.items() if not k.endswith(("0_loss", "1_loss"))}
            if len(received) != len(wanted):
                raise RuntimeError(f"history {sorted(received)}, expected {sorted(wanted)}")
            for name, values in wanted.items():
                key = name if name in received else next(k for k in received if named(k) == named(name))
                check(f"history {name}", received[key], values, BOUND)
        self.ask(model)

    def ask(self, model) -> None:
        """`evaluate` and `predict` against calls of the model."""
        x, y = self.train
        wanted = self.evaluate(model, x, y, self.sample_weight, self.held_size or 32)
        weights = self.spread(self.sample_weight)
        received = model.evaluate(x, y, batch_size=self.held_size, sample_weight=weights, verbose=0, return_dict=True)
        check("evaluate", received["loss"], wanted["loss"], BOUND)
        values = model.evaluate(x, y, batch_size=self.held_size, sample_weight=weights, verbose=0)
        if sorted(np.ravel(values)) != sorted(received.values()):
            raise RuntimeError(f"evaluate gives {values}, as a dict {received}")
        outputs, called = model.predict(x, batch_size=self.batch_size, verbose=0), model(x, training=False)
        for got, want in zip(tree.flatten(outputs), tree.flatten(called)):
            check("predict", got, np.array(want), 1e-5)


class Found:
    """What an epoch found: losses and the values that metrics are means of, with the weights of both."""

    def __init__(self):
        self._sums: dict[str, list] = {}

    def _add(self, name, values, weights):
        total = self._sums.setdefault(name, [0.0, 0.0])
        total[0] += float(np.sum(np.asarray(values, "float64") * weights))
        total[1] += float(np.sum(weights))

    def add(self, training, y, p, weight, loss):
        single = len(training.heads) == 1
        rows = len(tree.flatten(y)[0])
        self._add("loss", loss, rows)
        for i, head in enumerate(training.heads):
            target, output = np.asarray(y if single else y[i]), np.array(p if single else p[i])
            mask = getattr(p if single else p[i], "_keras_mask", None)
            if head.metric == "accuracy":
                target = target if target.shape == output.shape[:-1] else target.argmax(-1)
                values = (output.argmax(-1) == target).astype("float64")
            else:
                difference = np.abs(output - target)
                values = (difference if head.metric == "mae" else difference**2).mean(-1)
            w = np.ones(values.shape)
            if training.weighted and weight is not None:
                w = w * weight.reshape(-1, *(1,) * (values.ndim - 1))
            if mask is not None:
                w = w * np.array(mask)
            self._add(f"{'' if single else f'out{i}_'}{head.metric}", values, w)

    def results(self) -> dict:
        return {name: total / max(weight, 1e-300) for name, (total, weight) in self._sums.items()}


def named(key):
    """A metric's key without the words that tell weighted ones from the others."""
    return key.replace("weighted_", "")


def state(model) -> list[np.ndarray]:
    """Copies of all that training changes."""
    kept = [v for v in model.variables if not any(v is m for m in model.metrics_variables)]
    return [v.numpy() for v in [*kept, *model.optimizer.variables]]


def same(what, got, want) -> None:
    """Raises RuntimeError unless both have the same bits."""
    got, want = tree.flatten(got), tree.flatten(want)
    if len(got) != len(want):
        raise RuntimeError(f"{what}: {len(got)} values, expected {len(want)}: {got} {want}")
    for i, (a, b) in enumerate(zip(got, want)):
        if not np.array_equal(a, b, equal_nan=np.asarray(a).dtype.kind == "f"):
            raise RuntimeError(f"{what}, value {i}: {a}, expected {b}")


# ---- wrong settings --------------------------------------------------------------------------------------------------

NAN, INF = math.nan, math.inf
# Of `fit`: what can mean nothing, and must be refused.
WRONG: dict[str, tuple] = {
    "batch_size": (0, -1, 2.5, "4", [3], NAN, INF),
    "epochs": (-1, 1.5, "2", [2]),
    "initial_epoch": (-1, 2.5, "1"),
    "validation_split": (1.0, 1.5, -0.1, "0.2", NAN, 0.999, [0.1]),
    "validation_data": (3, "x", (), [], (1, 2, 3, 4)),
    "validation_freq": (0, -1, 1.5, "1", ["a"]),
    "validation_steps": (0, -1, "a", 1.5),
    "validation_batch_size": (-1, 2.5, "a"),
    "class_weight": ([1, 2], {0: "a"}, {0: None}, {0: NAN}, {0: [1.0, 2.0]}, 3.0, {"a": 1.0}),
    "sample_weight": (np.ones(3), np.full(8, NAN), ["a"] * 8, 3.0, np.ones((8, 2, 2, 2)), "a", {"nobody": np.ones(8)}),
    "steps_per_epoch": (0, -1, 2.5, "2"),
    "callbacks": ([3], "early", [callbacks.EarlyStopping], 5),
    "x": (np.zeros((8, 7, 1, 1, 1), "float32"), np.full((8, 5), "a"), np.zeros((0, 5)), 3.0, "x", None, object(),
          {"nobody": np.zeros((8, 5))}, np.zeros((8, 5), complex), [None] * 8, np.array([[None] * 5] * 8)),
    "y": (np.zeros((7, 2)), np.full((8, 2), "a"), 3.0, "y", object(), np.zeros((8, 2), complex),
          np.zeros((8, 9, 9)), [None] * 8),
}
# Of `compile`, and of the optimizer.
WRONG_WAYS: dict[str, tuple] = {
    "optimizer": ("sgdd", 3, {"class_name": "no"}, ["sgd"]),
    "loss": ("msee", 3, {"nobody": "mse"}, ["mse", "mse", "mse"]),
    "metrics": (["maee"], [3], {"nobody": ["mae"]}, "maee"),
    "loss_weights": ("a", [1.0, 2.0, 3.0], {"nobody": 1.0}, ["a"]),
}
WRONG_OPTIONS: dict[str, tuple] = {
    "learning_rate": ("a", None, [0.1], NAN),
    "clipnorm": ("a", [1.0], NAN), "clipvalue": ("a", NAN), "global_clipnorm": ("a",),
    "weight_decay": ("a", [0.1], NAN),
    "gradient_accumulation_steps": (1, -1, 2.5, "2"),
    "loss_scale_factor": ("a", 0.0, NAN),
    "ema": ({"ema_momentum": 2.0}, {"ema_momentum": "a"}, {"ema_overwrite_frequency": 0.5},
            {"ema_overwrite_frequency": -1}),
    "nobody": (3,),
}
WRONG_QUESTIONS: dict[str, tuple] = {
    "batch_size": (0, -1, 2.5, "4", [3]),
    "steps": (0, -1, "a", 1.5),
    "x": WRONG["x"],
    "callbacks": ([3], "early"),
}


class Wrong:
    """A training with one wrong setting, which is refused, and the right one after it."""

    def __init__(self, rng, folder):
        self.training = t = Training(rng, folder)
        t.network, t.form, t.layout, t.how_held, t.rows, t.held = "mlp", "arrays", "plain", "data", 8, 3
        t.callbacks, t.initial, t.frequency, t.sample_weight, t.held_weight = "", 0, 1, None, None
        data = np.random.default_rng(t.seed)
        t.train, t.validation = t._data(data, t.rows), t._data(data, t.held)
        self.where, table = rng.choice((("fit", WRONG), ("fit", WRONG), ("compile", WRONG_WAYS),
                                        ("optimizer", WRONG_OPTIONS), ("evaluate", WRONG_QUESTIONS),
                                        ("predict", WRONG_QUESTIONS)))
        self.name = rng.choice(list(table))
        number = rng.randrange(len(table[self.name]))
        self.value = table[self.name][number]
        self.eagerly = rng.random() < 0.5

    def words(self) -> str:
        return f"{self.where}({self.name}={self.value!r:.60}), run_eagerly={self.eagerly}, {self.training.words()}"

    def __call__(self) -> None:
        t = self.training
        model = t.make(run_eagerly=self.eagerly)
        model.optimizer.build(model.trainable_variables)
        before = state(model)
        try:
            self.attempt(model)
        except SENTENCES as error:
            text = str(error)
            if len(text) < 20 or BARE.search(text):
                raise RuntimeError(f"a bare {type(error).__name__}: {text}") from error
            refusal = error
        else:
            raise RuntimeError("this was accepted")
        if self.where in ("fit", "evaluate", "predict"):
            same("the model after a refusal", state(model), before)
            folder = t.folder / "after"
            folder.mkdir(parents=True, exist_ok=True)
            pydl.utils.set_random_seed(t.seed)
            model.fit(**t.arguments(folder))
            fresh = t.make(run_eagerly=self.eagerly)
            pydl.utils.set_random_seed(t.seed)
            fresh.optimizer.build(fresh.trainable_variables)
            fresh.fit(**t.arguments(folder))
            same("a training after a refusal", state(model), state(fresh))
        raise ValueError(str(refusal))

    def attempt(self, model) -> None:
        t = self.training
        how = t.arguments(t.folder)
        if self.where == "fit":
            if self.name == "validation_split":
                how.pop("validation_data", None)
            model.fit(**(how | {self.name: self.value}))
        elif self.where == "compile":
            t.make(**{self.name: self.value}).fit(**how)
        elif self.where == "optimizer":
            given = {"use_ema": True, **self.value} if self.name == "ema" else {self.name: self.value}
            how_made = {"learning_rate": 0.01, **given}
            t.make(optimizer=getattr(pydl.optimizers, t.optimizer)(**how_made)).fit(**how)
        elif self.where == "evaluate":
            model.evaluate(**({"x": how["x"], "y": how["y"], "verbose": 0} | {self.name: self.value}))
        else:
            model.predict(**({"x": how["x"], "verbose": 0} | {self.name: self.value}))


class Cases:
    """Trainings, of which one in three has a wrong setting."""

    def __init__(self, folder):
        pass

    def valid(self, folder):
        for i in range(8):
            training = Training(random.Random(i), folder / f"{i}")
            yield Case("training", training.words(), training)

    def case(self, rng, folder) -> Case:
        wrong = rng.random() < 1 / 3
        made = (Wrong if wrong else Training)(rng, folder)
        return Case("wrong setting" if wrong else "training", made.words(), made)


if __name__ == "__main__":
    pool.main("settings", __doc__)
