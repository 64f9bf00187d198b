"""Graphs of layers with drawn arguments, trained with drawn settings and written to files, in pydl and in Keras 3.

    KERAS_BACKEND=torch python -m tests.reference.differential --seed 0 --count 1000
    KERAS_BACKEND=torch python -m tests.reference.differential --seed 0 --index 17

A seed and an index decide everything, in both libraries alike: layers, arguments (now and then a wrong one), how they
are connected, weights, data, loss, metrics, sample weights, class weights, batch size, file. Compared are errors (by
both or by none), shapes, names, configs, names and shapes of weights, outputs, losses, metrics, the weights after `fit`
(by gradients, then), and what the other library reads from a file.
"""

from __future__ import annotations

import argparse
import collections
import gc
import json
import os
import random
import re
import sys
import tempfile
import warnings
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import conftest  # noqa: F401  # finds the installed package where the sources are not built
import keras
import numpy as np

import pydl
from fuzz.settings import BARE

CLOSE = 2e-3  # of the largest value: float32, through a dozen layers
ACTIVATIONS = ["linear", "relu", "tanh", "sigmoid", "elu", "selu", "softplus", "softsign", "gelu", "silu", "swish",
               "leaky_relu", "hard_sigmoid", "hard_silu", "relu6", "mish", "exponential", "softmax", "log_softmax",
               "celu", "hard_tanh", "hard_shrink", "soft_shrink", "tanh_shrink", "squareplus",
               "sparse_plus", "sparse_sigmoid", "log_sigmoid"]
SMOOTH = ["linear", "tanh", "sigmoid", "softplus", "gelu", "silu"]
REGULARIZERS = [None, None, "l2", "l1"]
YES_NO = [True, False]
PADDING = ["valid", "same"]


# ---- layers: rank of the input without its batch axis -> {name: arguments and their values} --------------------------

ANY = {
    "Activation": {"activation": ACTIVATIONS[:23] + ["log_sigmoid"]},
    "ReLU": {"max_value": [None, 1.0, 6.0], "negative_slope": [0.0, 0.2], "threshold": [0.0, 0.5]},
    "LeakyReLU": {"negative_slope": [0.1, 0.3]}, "ELU": {"alpha": [1.0, 0.5]}, "Softmax": {"axis": [-1, 1]},
    "PReLU": {"alpha_initializer": ["zeros", "ones"]}, "Identity": {}, "UnitNormalization": {"axis": [-1]},
    "BatchNormalization": {"momentum": [0.9, 0.5], "epsilon": [1e-3, 1e-2], "center": YES_NO, "scale": YES_NO,
                           "axis": [-1, 1]},
    "LayerNormalization": {"epsilon": [1e-3, 1e-5], "center": YES_NO, "scale": YES_NO, "axis": [-1]},
    "RMSNormalization": {"epsilon": [1e-6, 1e-3]}, "GroupNormalization": {"groups": [1, -1], "epsilon": [1e-3]},
    "Rescaling": {"scale": [0.5, 2.0], "offset": [0.0, -1.0]}, "Flatten": {},
    "Dense": {"units": [1, 2, 3, 5], "activation": ACTIVATIONS, "use_bias": YES_NO, "kernel_regularizer": REGULARIZERS,
              "bias_regularizer": REGULARIZERS, "activity_regularizer": REGULARIZERS,
              "kernel_initializer": ["glorot_uniform", "he_normal", "lecun_uniform", "orthogonal"],
              "kernel_constraint": [None, None, "non_neg", "unit_norm", "max_norm"]},
    "Dropout": {"rate": [0.0]}, "GaussianNoise": {"stddev": [0.0]}, "ActivityRegularization": {"l1": [0.0, 0.01],
                                                                                              "l2": [0.0, 0.02]},
    "Reshape": {"target_shape": [(-1,), (1, -1), (-1, 1)]},
}
CONV = {"filters": [1, 2, 4], "kernel_size": [1, 2, 3], "strides": [1, 2], "padding": PADDING, "use_bias": YES_NO,
        "activation": [None, *SMOOTH], "dilation_rate": [1, 1, 2]}
DEPTH = {"kernel_size": [1, 2, 3], "strides": [1, 2], "padding": PADDING, "depth_multiplier": [1, 2],
         "activation": [None, *SMOOTH], "use_bias": YES_NO}
TRANSPOSED = {"filters": [1, 3], "kernel_size": [1, 2, 3], "strides": [1, 2], "padding": PADDING,
              "activation": [None, *SMOOTH]}
POOL = {"pool_size": [1, 2, 3], "strides": [None, 1, 2], "padding": PADDING}
GLOBAL = {"keepdims": YES_NO}
CELLS = {"units": [1, 2, 4], "return_sequences": YES_NO, "go_backwards": [False, False, True], "unroll": [False, True],
         "use_bias": YES_NO, "activation": ["tanh", "relu", "softsign"], "kernel_regularizer": REGULARIZERS}
GATES = {**CELLS, "recurrent_activation": ["sigmoid", "hard_sigmoid"]}

BY_RANK: dict[int, dict[str, dict]] = {
    1: {"RepeatVector": {"n": [1, 3]}},
    2: {"Conv1D": {**CONV, "padding": [*PADDING, "causal"]}, "SeparableConv1D": {**DEPTH, "filters": [1, 3]},
        "DepthwiseConv1D": DEPTH, "Conv1DTranspose": TRANSPOSED, "MaxPooling1D": POOL, "AveragePooling1D": POOL,
        "GlobalMaxPooling1D": GLOBAL, "GlobalAveragePooling1D": GLOBAL, "ZeroPadding1D": {"padding": [1, (0, 2)]},
        "Cropping1D": {"cropping": [0, 1, (0, 1)]}, "UpSampling1D": {"size": [1, 2, 3]},
        "SpatialDropout1D": {"rate": [0.0]}, "Permute": {"dims": [(2, 1), (1, 2)]},
        "LSTM": {**GATES, "unit_forget_bias": YES_NO}, "GRU": {**GATES, "reset_after": YES_NO}, "SimpleRNN": CELLS,
        "Masking": {"mask_value": [0.0]}},
    3: {"Conv2D": CONV, "SeparableConv2D": {**DEPTH, "filters": [1, 3]}, "DepthwiseConv2D": DEPTH,
        "Conv2DTranspose": TRANSPOSED, "MaxPooling2D": {**POOL, "pool_size": [1, 2, (3, 2)]}, "AveragePooling2D": POOL,
        "GlobalMaxPooling2D": GLOBAL, "GlobalAveragePooling2D": GLOBAL,
        "ZeroPadding2D": {"padding": [1, (0, 2), ((1, 0), (0, 1))]}, "Cropping2D": {"cropping": [0, (1, 0)]},
        "UpSampling2D": {"size": [1, 2, (1, 3)], "interpolation": ["nearest", "bilinear"]},
        "SpatialDropout2D": {"rate": [0.0]}, "Permute": {"dims": [(3, 1, 2), (2, 1, 3)]},
        "ConvLSTM1D": {"filters": [1, 2], "kernel_size": [1, 2], "padding": PADDING, "return_sequences": YES_NO}},
    4: {"Conv3D": CONV, "MaxPooling3D": POOL, "AveragePooling3D": POOL, "GlobalMaxPooling3D": GLOBAL,
        "GlobalAveragePooling3D": GLOBAL, "ZeroPadding3D": {"padding": [1, (0, 1, 0)]}, "Cropping3D": {"cropping": [0]},
        "UpSampling3D": {"size": [1, 2]}, "ConvLSTM2D": {"filters": [1, 2], "kernel_size": [1, 2],
                                                         "padding": PADDING, "return_sequences": YES_NO}},
}
MERGES = {"Add": {}, "Subtract": {}, "Multiply": {}, "Average": {}, "Maximum": {}, "Minimum": {},
          "Concatenate": {"axis": [-1, 1]}, "Dot": {"axes": [-1, 1], "normalize": YES_NO}}
APART = {"module", "registered_name", "build_config"}  # of a config: what is no argument
WRONG = [0, -1, 2.5, "many", None, [1, 2, 3, 4], (), 10**3]
INPUTS = {1: [(3,), (4,), (6,)], 2: [(4, 3), (5, 2), (7, 4)], 3: [(6, 5, 2), (4, 4, 3), (7, 7, 1)],
          4: [(4, 4, 3, 2), (3, 5, 4, 1)]}
# Where a value jumps, or a slope does at values that are likely, both may be right.
JUMPS = {"hard_shrink"}
LOSSES = ["mse", "mae", "huber", "log_cosh", "mean_squared_logarithmic_error", "cosine_similarity", "poisson", "hinge",
          "squared_hinge", "kl_divergence", "binary_crossentropy", "categorical_crossentropy",
          "sparse_categorical_crossentropy"]
METRICS = ["mae", "mse", "accuracy", "cosine_similarity", "mape", "RootMeanSquaredError"]


def arguments(rng, table) -> dict:
    """Some of the arguments; those without a default in both libraries always."""
    needed = ("units", "filters", "kernel_size", "activation", "n", "target_shape", "dims", "axes", "rate", "stddev",
              "scale", "pool_size")
    return {name: rng.choice(values) for name, values in table.items() if name in needed or rng.random() < 0.5}


class Plan:
    """What a seed and an index decide; `build` does it in a library."""

    def __init__(self, seed, index):
        self.key = f"{seed} {index}"
        rng = random.Random(self.key)
        self.tokens = rng.random() < 0.15
        self.rank = 1 if self.tokens else rng.choice((1, 1, 2, 2, 2, 3, 3, 4))
        self.shape = (5,) if self.tokens else rng.choice(INPUTS[self.rank])
        self.functional = rng.random() < 0.5
        self.depth = rng.randrange(1, 6)
        self.wrong = rng.random() < 0.1
        self.rows = rng.choice((1, 4, 7))
        self.loss = rng.choice(LOSSES)
        self.metrics = rng.sample(METRICS, rng.choice((0, 1, 2)))
        if self.loss.startswith("sparse"):  # class numbers are no values to compare outputs with
            self.metrics = ["accuracy"][:len(self.metrics)]
        if self.tokens:  # without weights Keras lets that metric, and no other, count what a mask leaves out
            self.metrics = [m for m in self.metrics if m != "RootMeanSquaredError"]
        self.weighted = rng.random() < 0.3
        self.batch_size = rng.choice((2, 3, 32))
        self.optimizer = rng.choice(("SGD", "SGD", "momentum", "clipped", "Adagrad"))
        self.sample_weight = rng.random() < 0.4
        self.class_weight = self.loss.startswith("sparse") and rng.random() < 0.5
        self.split = 0.3 if self.rows == 7 and rng.random() < 0.4 else 0.0
        self.file = rng.choice(("", "", "keras", "weights.h5", "json"))
        self.numbers = np.random.default_rng(rng.randrange(10**6))
        self.words: list[str] = []

    def data(self):
        """x, to which half of the rows of a sequence end in zeros for masks."""
        if self.tokens:
            x = self.numbers.integers(1, 9, (self.rows, *self.shape)).astype("int32")
        else:
            x = self.numbers.normal(size=(self.rows, *self.shape)).astype("float32")
        if self.rank == 2 or self.tokens:
            x[::2, 3:] = 0
        return x

    # ---- the model ---------------------------------------------------------------------------------------------------

    def build(self, k):
        """The model of the library `k`. Layers are drawn while their shapes become known."""
        k.utils.clear_session(free_memory=False)
        rng = random.Random(self.key + " layers")
        self.words = [f"Input{self.shape}"]
        x = k.Input(self.shape, dtype="int32" if self.tokens else "float32", name="in")
        pool, sequence = [x], [x]
        wrong = rng.randrange(self.depth) if self.wrong else None
        if self.tokens:
            pool = [self.add(k, sequence, "Embedding", {"input_dim": 9, "output_dim": 3,
                                                        "mask_zero": rng.random() < 0.6}, pool[0])]
        for i in range(self.depth):
            source = rng.choice(pool[-2:]) if self.functional else pool[-1]
            mates = [t for t in pool if tuple(t.shape) == tuple(source.shape)]
            if self.functional and len(pool) > 1 and len(mates) > 1 and rng.random() < 0.5:
                name = rng.choice(sorted(MERGES))
                other = rng.choice(mates)
                given = arguments(rng, MERGES[name])
                self.words.append(f"{name}({given})")
                pool.append(getattr(k.layers, name)(**given)([source, other]))
                continue
            rank = len(source.shape) - 1
            table = {**ANY, **BY_RANK.get(rank, {}), **BY_RANK.get(rank, {})}
            own = sorted(BY_RANK.get(rank, {}))
            name = rng.choice(own) if own and rng.random() < 0.6 else rng.choice(sorted(ANY))
            given = arguments(rng, table[name])
            if given.get("dilation_rate", 1) != 1:
                given["strides"] = 1
            if i == wrong and given:
                given[rng.choice(sorted(given))] = rng.choice(WRONG)
            wrapper = rng.random() if rank >= 2 else 1.0
            if name in ("LSTM", "GRU", "SimpleRNN") and wrapper < 0.25:
                mode = rng.choice(("concat", "sum", "mul", "ave"))
                self.words.append(f"Bidirectional({name}({given}), {mode})")
                layer = k.layers.Bidirectional(getattr(k.layers, name)(**given), merge_mode=mode)
                pool.append(layer(source))
            elif name == "Dense" and wrapper < 0.25:
                given.pop("activity_regularizer", None)  # on purpose: without effect there in Keras
                self.words.append(f"TimeDistributed({name}({given}))")
                layer = k.layers.TimeDistributed(getattr(k.layers, name)(**given))
                pool.append(layer(source))
            else:
                pool.append(self.add(k, sequence, name, given, source))
                continue
            sequence.append(layer)
        outputs = pool[-1]
        if self.loss in ("categorical_crossentropy", "sparse_categorical_crossentropy", "kl_divergence"):
            outputs = k.layers.Dense(3, "softmax", name="head")(outputs)
        elif self.loss in ("binary_crossentropy", "poisson", "mean_squared_logarithmic_error"):
            outputs = k.layers.Dense(2, "sigmoid", name="head")(outputs)
        elif rng.random() < 0.6:
            outputs = k.layers.Dense(2, name="head")(outputs)
        if self.functional:
            both = len(pool) > 2 and rng.random() < 0.2
            return k.Model(x, [outputs, pool[-2]] if both else outputs)
        return k.Model(x, outputs)

    def add(self, k, sequence, name, given, source):
        self.words.append(f"{name}({given})")
        layer = getattr(k.layers, name)(**given)
        sequence.append(layer)
        return layer(source)

    # ---- numbers -----------------------------------------------------------------------------------------------------

    def weights(self, shapes, names):
        """Values for weights of these shapes: no zeros, variances above 0."""
        found = []
        for shape, name in zip(shapes, names):
            value = self.numbers.normal(0, 0.4, shape).astype("float32")
            found.append(np.abs(value) + 0.5 if "variance" in name else value)
        return found

    def targets(self, shapes):
        """For the loss, and for the mean squared error of a second output."""
        found = []
        for shape, one in zip(shapes, (self.loss, "mse")):
            shape = (self.rows, *shape[1:])
            if one == "sparse_categorical_crossentropy":
                found.append(self.numbers.integers(0, 3, shape[:-1]).astype("int32"))
            elif one in ("categorical_crossentropy", "kl_divergence"):
                found.append(np.eye(shape[-1], dtype="float32")[self.numbers.integers(0, shape[-1], shape[:-1])])
            elif one in ("binary_crossentropy", "hinge", "squared_hinge"):
                found.append(self.numbers.integers(0, 2, shape).astype("float32"))
            elif one in ("poisson", "mean_squared_logarithmic_error"):
                found.append(self.numbers.uniform(0, 2, shape).astype("float32"))
            else:
                found.append(self.numbers.normal(size=shape).astype("float32"))
        return found

    def compile(self, k, model, rate=0.05):
        made = {"SGD": lambda: k.optimizers.SGD(rate), "momentum": lambda: k.optimizers.SGD(rate, momentum=0.9),
                "clipped": lambda: k.optimizers.SGD(rate, global_clipnorm=0.5, weight_decay=0.01),
                "Adagrad": lambda: k.optimizers.Adagrad(rate)}
        metrics = [getattr(k.metrics, m)() if m[0].isupper() else m for m in self.metrics]
        many = len(model.outputs) > 1
        how = {"weighted_metrics" if self.weighted else "metrics": [metrics, []] if many else metrics}
        loss = [self.loss, "mse"] if many else self.loss
        model.compile(made[self.optimizer](), loss, **(how if metrics else {}))


# What differs on purpose ("kind: words"), and why; the rows stand in docs/coming_from.md.
ON_PURPOSE = {
    r"config: GroupNormalization\.groups": "a config says what was given; Keras puts in what -1 came to in the build",
}


class Difference(Exception):
    """What the two libraries do differently; the first argument is its kind."""


def error_of(call):
    """(result, None), or (None, what was raised)."""
    try:
        return call(), None
    except Exception as error:
        return None, error


def compare(kind, got, want, bound=CLOSE):
    """Raises Difference unless both are equal, arrays within `bound` of the largest value."""
    got, want = [np.asarray(a) for a in got], [np.asarray(a) for a in want]
    if [a.shape for a in got] != [a.shape for a in want]:
        raise Difference(kind, f"shapes {[a.shape for a in got]}, Keras {[a.shape for a in want]}")
    for i, (a, b) in enumerate(zip(got, want)):
        a, b = a.astype("float64"), b.astype("float64")
        largest = max(1.0, float(np.abs(b[np.isfinite(b)]).max(initial=0.0)))
        if not np.allclose(a, b, rtol=bound, atol=bound * largest, equal_nan=True):
            at = np.unravel_index(int(np.argmax(~np.isclose(a, b, bound, bound * largest, equal_nan=True))), a.shape)
            raise Difference(kind, f"array {i} at {tuple(map(int, at))} of {a.shape}: {a[at]}, Keras {b[at]}")


def plain(config):
    """A config of a layer as JSON shows it, without what is no argument: modules, registered names, shapes."""
    def walk(value):
        if isinstance(value, dict) and value.get("class_name") == "DTypePolicy":
            return value["config"]["name"]
        if isinstance(value, dict):
            return {k: walk(v) for k, v in value.items() if k not in APART}
        if isinstance(value, (list, tuple)):
            return [walk(v) for v in value]
        return value

    return walk(json.loads(json.dumps(config, default=str)))


def first_difference(a, b, path=""):
    """The path of the first place in which two configs differ, and both values; None where there is none."""
    if isinstance(a, dict) and isinstance(b, dict):
        for key in a:  # what only Keras has it fills in where a file does not say it
            if key not in b:
                if a[key] is None:
                    continue
                return f"{path}.{key}: only in pydl"
            if found := first_difference(a[key], b[key], f"{path}.{key}"):
                return found
        return None
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return next(filter(None, (first_difference(x, y, f"{path}[{i}]") for i, (x, y) in enumerate(zip(a, b)))), None)
    same = a == b or [a] == b or (isinstance(a, float) and isinstance(b, float) and abs(a - b) < 1e-7)
    return None if same else f"{path}: {a!r}, Keras {b!r}"


def run(plan, folder) -> str:
    """What was compared. Raises Difference."""
    theirs, their_error = error_of(lambda: plan.build(keras))
    mine, my_error = error_of(lambda: plan.build(pydl))
    if my_error is not None and (not isinstance(my_error, (ValueError, TypeError)) or BARE.search(str(my_error))):
        raise Difference("bare error", repr(my_error)[:300])
    if their_error is not None and my_error is None and not of_backend(their_error):
        raise Difference("Keras refuses", str(their_error)[:300])
    if my_error is not None and their_error is None and not plan.wrong:  # what is wrong may be seen earlier
        if error_of(lambda: theirs.predict(plan.data(), verbose=0))[1] is None:
            raise Difference("pydl refuses", str(my_error)[:300])
    if my_error is not None or their_error is not None:
        return "refused"
    for what in ("output_shape", "input_shape"):
        compare_plain(what, getattr(mine, what), getattr(theirs, what))
    compare_plain("names of layers", *[[unnumbered(la.name) for la in model.layers] for model in (mine, theirs)])
    compare_plain("names of weights", *[[unnumbered(w.path) for w in model.weights] for model in (mine, theirs)])
    compare_plain("shapes of weights", [tuple(w.shape) for w in mine.weights], [tuple(w.shape) for w in theirs.weights])
    for a, b in zip(mine.layers, theirs.layers):
        configs = [{**plain(layer.get_config()), "name": None} for layer in (a, b)]
        if found := first_difference(*configs):
            raise Difference("config", f"{type(a).__name__}{found}")
    weights = plan.weights([w.shape for w in theirs.weights], [w.path for w in theirs.weights])
    for model in (mine, theirs):
        model.set_weights(weights)
    x = plan.data()
    outputs = compare_outputs("outputs", mine, theirs, x)
    if any(not np.isfinite(y).all() for y in outputs):
        return "not finite"
    if not theirs.trainable_weights:
        return "nothing to train"
    train(plan, mine, theirs, x, plan.targets([y.shape for y in outputs]))
    files(plan, mine, theirs, x, folder)
    return "trained"


def compare_plain(kind, got, want):
    got, want = (json.loads(json.dumps(v)) for v in (got, want))
    if got != want:
        raise Difference(kind, f"{got}, Keras {want}")


def compare_outputs(kind, mine, theirs, x):
    values = [error_of(lambda model=model: pydl.tree.flatten(model.predict(x, verbose=0))) for model in (mine, theirs)]
    if one_failed(kind, values):
        return [np.array(np.nan)]
    (got, _), (want, _) = values
    compare(kind, got, want)
    return want


def train(plan, mine, theirs, x, targets):
    y = targets[0] if len(targets) == 1 else targets
    # Keras lets the weights of rows meet the last axis of losses per step, where sizes allow it.
    rows_only = plan.sample_weight and all(len(output.shape) == 2 for output in theirs.outputs)
    weight = plan.numbers.uniform(0.5, 2.0, plan.rows).astype("float32") if rows_only else None
    given = {"sample_weight": [weight, weight] if weight is not None and len(targets) > 1 else weight}
    for k, model in ((pydl, mine), (keras, theirs)):
        plan.compile(k, model)
    values = [error_of(lambda model=model: model.evaluate(x, y, batch_size=plan.batch_size, verbose=0, return_dict=True,
                                                          **given)) for model in (mine, theirs)]
    if one_failed("evaluate", values):
        return
    compare_logs("evaluate", *[v for v, _ in values])
    if not all(np.isfinite(v) for v in values[1][0].values()):
        return
    if plan.class_weight and len(targets) == 1 and targets[0].ndim == 1:
        given["class_weight"] = {0: 2.0, 1: 0.5}
    how = {"batch_size": plan.batch_size, "epochs": 2, "shuffle": False, "verbose": 0, "validation_split": plan.split}
    values = [error_of(lambda model=model: model.fit(x, y, **how, **given).history) for model in (mine, theirs)]
    if one_failed("fit", values):
        return
    last = values[1][0]["loss"][-1]
    if not np.isfinite(last) or last > 1e3 or any(word in " ".join(plan.words) for word in JUMPS):
        return  # it runs away: every rounding counts
    compare_logs("fit", *[v for v, _ in values])
    for a, b in zip(mine.weights, theirs.weights):
        compare(f"weights after fit: {re.sub('[0-9]', '', b.path)}", [a.numpy()], [keras.ops.convert_to_numpy(b)], 1e-2)


def unnumbered(name) -> str:
    """A name without its numbers: the operations of a functional model (on masks) count too in Keras."""
    return re.sub(r"_\d+(?=/|$)", "", name)


def of_backend(error) -> bool:
    """Whether an error of Keras says nothing of Keras: PyTorch raised it, or Python did, at a fault of Keras's."""
    return isinstance(error, (RuntimeError, NotImplementedError, AttributeError, AssertionError)) or (
        "has no attribute" in str(error) or BARE.search(str(error)) is not None)


def one_failed(kind, values) -> bool:
    """Whether there is nothing to compare in two pairs (result, error): both failed, or the backend under Keras did,
    which says nothing of Keras. Raises Difference where only one of the libraries refuses."""
    (_, my_error), (_, their_error) = values
    if bool(my_error) != bool(their_error) and not (their_error and of_backend(their_error)):
        raise Difference(f"{kind}: error", f"{str(my_error)[:250]} / Keras: {str(their_error)[:250]}")
    return my_error is not None or their_error is not None


def compare_logs(kind, got, want):
    if sorted(got) != sorted(want):
        raise Difference(f"{kind}: names", f"{sorted(got)}, Keras {sorted(want)}")
    for name in want:
        compare(f"{kind}: {name}", [got[name]], [want[name]], 1e-2)


def files(plan, mine, theirs, x, folder):
    """What each library reads of the other's file."""
    if plan.file == "keras":
        mine.save(folder / "mine.keras")
        theirs.save(folder / "theirs.keras")
        compare_outputs("file of pydl", mine, keras.models.load_model(folder / "mine.keras"), x)
        compare_outputs("file of Keras", pydl.models.load_model(folder / "theirs.keras"), theirs, x)
    elif plan.file == "weights.h5":
        mine.save_weights(folder / "mine.weights.h5")
        theirs.save_weights(folder / "theirs.weights.h5")
        mine.load_weights(folder / "theirs.weights.h5")
        theirs.load_weights(folder / "mine.weights.h5")
        mine.load_weights(folder / "mine.weights.h5")
        compare_outputs("weights of pydl", mine, theirs, x)
    elif plan.file == "json":
        again = pydl.models.model_from_json(theirs.to_json())
        again.set_weights(theirs.get_weights())
        compare_outputs("JSON of Keras", again, theirs, x)
        again = keras.models.model_from_json(mine.to_json())
        again.set_weights(mine.get_weights())
        compare_outputs("JSON of pydl", mine, again, x)


def case(seed, index):
    """(what came of it, its plan in words, None or the Difference or error)."""
    plan = Plan(seed, index)
    with warnings.catch_warnings(), np.errstate(all="ignore"), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        outcome, error = error_of(lambda: run(plan, Path(folder)))
    if isinstance(error, Difference) and any(re.search(pattern, f"{error.args[0]}: {error.args[1]}")
                                             for pattern in ON_PURPOSE):
        outcome, error = "on purpose", None
    return outcome, " > ".join(plan.words) + f"; {plan.loss}, {plan.optimizer}, {plan.file}", error


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.reference.differential", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--index", type=int)
    options = parser.parse_args()
    counts: collections.Counter = collections.Counter()
    different = 0
    gc.collect()
    gc.freeze()  # what the libraries hold stays
    indices = [options.index] if options.index is not None else range(options.start, options.start + options.count)
    for index in indices:
        outcome, words, error = case(options.seed, index)
        kind = outcome if error is None else error.args[0] if isinstance(error, Difference) else type(error).__name__
        counts[kind] += 1
        different += error is not None
        if error is not None or options.index is not None:
            print(f"--seed {options.seed} --index {index}: {words}\n    {kind}: "
                  f"{error.args[-1] if isinstance(error, Difference) else error!r}", flush=True)
    for kind, count in counts.most_common():
        print(f"{count:6d}  {kind}")
    sys.exit(different > 0)


if __name__ == "__main__":
    main()
