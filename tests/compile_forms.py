"""Forms in which losses, metrics, their weights, targets and sample weights of several outputs may be given, and what
Keras 3.15 (torch) makes of them. Used by test_compile_forms.py, and with the real Keras by reference/."""

from __future__ import annotations

from collections import namedtuple

import numpy as np

Pair = namedtuple("Pair", "first second")
X = np.linspace(-1, 1, 24).reshape(12, 2).astype("float32")
A, B, C = (np.random.RandomState(s).normal(size=(12, 2)).astype("float32") for s in (1, 2, 3))
W, V = np.linspace(0.5, 2, 12).astype("float32"), np.linspace(2, 0, 12).astype("float32")

OUTPUTS = {
    "a": lambda a, b, c: a,
    "[a]": lambda a, b, c: [a],
    "{u: a}": lambda a, b, c: {"u": a},
    "[a, b]": lambda a, b, c: [a, b],
    "[b, a]": lambda a, b, c: [b, a],
    "(a, b)": lambda a, b, c: (a, b),
    "{a: a, b: b}": lambda a, b, c: {"a": a, "b": b},
    "{v: a, u: b}": lambda a, b, c: {"v": a, "u": b},
    "{b: a, a: b}": lambda a, b, c: {"b": a, "a": b},
    "Pair(a, b)": lambda a, b, c: Pair(a, b),
    "[a, [b, c]]": lambda a, b, c: [a, [b, c]],
    "{p: a, q: [b, c]}": lambda a, b, c: {"p": a, "q": [b, c]},
    "{p: a, q: {r: b, s: c}}": lambda a, b, c: {"p": a, "q": {"r": b, "s": c}},
    "[{r: a, s: b}, c]": lambda a, b, c: [{"r": a, "s": b}, c],
}


def make(keras, outputs, subclassed=False):
    """A model with one input, three linear maps a, b, c of known weights, and outputs in the form of that name."""
    maps = {name: keras.layers.Dense(2, use_bias=False, name=name) for name in "abc"}
    form = OUTPUTS[outputs]
    if subclassed:
        class Net(keras.Model):
            def __init__(self):
                super().__init__(name="net")
                self.a, self.b, self.c = maps.values()

            def call(self, x):
                return form(self.a(x), self.b(x), self.c(x))

        model = Net()
    else:
        x = keras.Input((2,), name="x")
        model = keras.Model(x, form(*(layer(x) for layer in maps.values())), name="net")
    model(X)
    for name, layer in maps.items():
        layer(X)
        layer.set_weights([np.random.RandomState(ord(name)).normal(size=(2, 2)).astype("float32")])
    return model


def compiled(keras, case):
    outputs, _, arguments, *rest = case
    model = make(keras, outputs, *rest[1:])
    arguments = {key: named(keras, value) for key, value in arguments.items()}
    model.compile(keras.optimizers.SGD(0.01), **{"loss": "mse", **arguments})
    return model


def named(keras, given):
    """The structure with a metric of the name m in the place of "*m"."""
    if isinstance(given, dict):
        return {key: named(keras, part) for key, part in given.items()}
    if isinstance(given, (list, tuple)):
        parts = [named(keras, part) for part in given]
        return type(given)(*parts) if isinstance(given, Pair) else type(given)(parts)
    is_name = isinstance(given, str) and given.startswith("*")
    return keras.metrics.MeanAbsoluteError(name=given[1:]) if is_name else given


def history(keras, case) -> dict:
    """The first values in the history of a fit on a case."""
    found = compiled(keras, case).fit(X, case[1], sample_weight=case[3] if len(case) > 3 else None, batch_size=5,
                                      shuffle=False, verbose=0).history
    return {key: round(float(value[0]), 5) for key, value in found.items()}


def evaluated(keras, case):
    """What evaluate returns, as a list and by name."""
    model = compiled(keras, case)
    given = {"sample_weight": case[3] if len(case) > 3 else None, "batch_size": 5, "verbose": 0}
    return np.ravel(model.evaluate(X, case[1], **given)), model.evaluate(X, case[1], return_dict=True, **given)


LONE, TWO, DICT, NEST, MIXED, DEEP, LISTED = (
    "a", "[a, b]", "{v: a, u: b}", "[a, [b, c]]", "{p: a, q: [b, c]}", "{p: a, q: {r: b, s: c}}", "[{r: a, s: b}, c]")
UV, PQ, RS = {"u": B, "v": A}, {"p": A, "q": [B, C]}, {"p": A, "q": {"r": B, "s": C}}

#: name -> (outputs, targets, arguments of compile beside loss="mse", sample weights, subclassed)
CASES = {
    "one": (LONE, A, {"metrics": ["mae"]}),
    "one: lists": (LONE, [A], {"loss": ["mse"], "metrics": [["mae"]]}),
    "one: weight": (LONE, A, {"loss_weights": 2.0}),
    "one: list of weights": (LONE, A, {"loss_weights": [2.0]}),
    "one: dict of weights": (LONE, A, {"loss": {"a": "mse"}, "loss_weights": {"a": 2.0}}),
    "one: list in a dict": (LONE, A, {"loss": {"a": ["mse"]}}),
    "one: weighted": (LONE, A, {"metrics": ["mae"], "weighted_metrics": ["mae", "mse"]}, W),
    "one: twice": (LONE, A, {"metrics": ["mae", "mae"], "weighted_metrics": ["mae", "mae"]}, W),
    "list of one": ("[a]", [A], {"loss": ["mse"], "metrics": ["mae"]}),
    "list of one, bare": ("[a]", A, {"metrics": ["mae"]}),
    "dict of one": ("{u: a}", {"u": A}, {"loss": {"u": "mse"}, "metrics": {"u": ["mae"]}}),
    "dict of one, bare": ("{u: a}", A, {"metrics": ["mae"]}),
    "two": (TWO, [A, B], {}),
    "two: lists": (TWO, [A, B], {"loss": ["mse", "mae"], "metrics": [["mae"], ["mse", "mae"]]}),
    "two: flat metrics": (TWO, [A, B], {"loss": ["mse", "mae"], "metrics": ["mae", "mse"]}),
    "two: tuples": ("(a, b)", (A, B), {"loss": ("mse", "mae"), "metrics": (["mae"], ["mse"])}),
    "two: lists for tuples": ("(a, b)", [A, B], {"loss": ["mse", "mae"], "metrics": [["mae"], ["mse"]]}),
    "two: dicts": (TWO, {"a": A, "b": B}, {"loss": {"a": "mse", "b": "mae"}, "metrics": {"b": ["mse", "mae"]}}),
    "two: reversed": ("[b, a]", {"a": A, "b": B}, {"loss": {"a": "mse", "b": "mae"}, "metrics": {"a": "mae"}}),
    "two: no loss": (TWO, [A, B], {"loss": [None, "mse"], "metrics": ["mae", "mae"]}),
    "two: no loss, no target": (TWO, [B], {"loss": [None, "mse"]}),
    "two: None in a dict": (TWO, [A, B], {"loss": {"a": None, "b": "mse"}}),
    "two: weights": (TWO, [A, B], {"loss": ["mse", "mae"], "loss_weights": [1.0, 0.5]}),
    "two: dicts of weights": (TWO, [A, B], {"loss": {"a": "mse", "b": "mae"}, "loss_weights": {"b": 0.5, "a": 2.0}}),
    "two: sample weight": (TWO, [A, B], {"metrics": ["mae", "mae"], "weighted_metrics": ["mae", "mae"]}, W),
    "two: sample weights": (TWO, [A, B], {"weighted_metrics": [["mae"], ["mse"]]}, [W, V]),
    "two: one of them None": (TWO, [A, B], {"weighted_metrics": [["mae"], ["mse"]]}, [None, V]),
    "two: repeated": (TWO, [A, B], {"metrics": [["mae", "mae"], None], "weighted_metrics": [["mae", "mae"], ["mae"]]},
                      [W, V]),
    "two: named": (TWO, [A, B], {"metrics": [["*m"], ["*m"]], "weighted_metrics": [["*m"], ["*n"]]}, [W, V]),
    "dict": (DICT, UV, {"loss": {"u": "mse", "v": "mae"}, "metrics": {"v": ["mae"], "u": ["mse"]}}),
    "dict: one loss": ("{a: a, b: b}", {"b": B, "a": A}, {}),
    "dict: crossed": ("{b: a, a: b}", {"a": B, "b": A}, {"loss": {"a": "mse", "b": "mae"},
                                                         "metrics": {"a": ["mae"], "b": ["mse"]}}),
    "dict: lists go by the sorted keys": (DICT, UV, {"loss": ["mse", "mae"], "metrics": [["mae"], ["mse"]]}),
    "dict: list of targets": (DICT, [A, B], {}),
    "dict: part": (DICT, UV, {"loss": {"u": "mse"}, "metrics": {"v": ["mae"]}}),
    "dict: part of the targets": (DICT, {"u": B}, {"loss": {"u": "mse"}}),
    "dict: weights": (DICT, UV, {"loss": {"u": "mse", "v": "mse"}, "loss_weights": {"u": 0.5, "v": 2.0},
                                 "weighted_metrics": {"u": ["mae"]}}, {"u": W, "v": V}),
    "named tuple": ("Pair(a, b)", Pair(A, B), {"loss": Pair("mse", "mae"), "metrics": Pair(["mae"], ["mse"])}),
    "named tuple: lists": ("Pair(a, b)", [A, B], {"loss": ["mse", "mae"], "metrics": [["mae"], ["mse"]]}),
    "nested": (NEST, [A, [B, C]], {"loss": ["mse", ["mae", "mse"]], "metrics": [["mae"], [["mse"], ["mae", "mse"]]]}),
    "nested: one loss": (NEST, [A, [B, C]], {}),
    "nested: flat": (NEST, [A, B, C], {"loss": ["mse", "mae", "mse"]}),
    "nested: None": (NEST, [A, [B, C]], {"loss": ["mse", [None, "mae"]], "metrics": [None, [["mae"], None]]}),
    "nested: weights": (NEST, [A, [B, C]], {"loss": ["mse", ["mae", "mse"]], "loss_weights": [1.0, [0.5, 2.0]],
                                            "weighted_metrics": [["mae"], [["mse"], ["mae"]]]}, [W, [V, W]]),
    "list in a dict": (MIXED, PQ, {"loss": {"p": "mse", "q": ["mae", "mse"]},
                                   "metrics": {"p": ["mae"], "q": [["mse"], ["mae"]]}}),
    "list in a dict: part": (MIXED, PQ, {"loss": {"q": ["mae", "mse"]}}),
    "list in a dict: a loss for the list": (MIXED, PQ, {"loss": {"p": "mse", "q": "mae"}}),
    "dict in a dict": (DEEP, RS, {"loss": {"p": "mse", "q": {"r": "mae", "s": "mse"}},
                                  "loss_weights": {"p": 1.0, "q": {"r": 0.5, "s": 2.0}},
                                  "metrics": {"p": ["mae"], "q": {"r": ["mse"], "s": ["mae"]}}}),
    "dict in a list": (LISTED, [{"r": A, "s": B}, C], {"loss": [{"r": "mse", "s": "mae"}, "mse"],
                                                       "metrics": [{"r": ["mae"], "s": ["mse"]}, ["mae"]]}),
    "dict in a list: None": (LISTED, [{"r": A, "s": B}, C], {"loss": [{"r": "mse", "s": None}, "mse"]}),
    "several losses of a tuple": ("(a, b)", (A, B), {"loss": ["mae", ("mse", "mse")]}),
    "several losses of a list in a dict": (MIXED, PQ, {"loss": {"p": "mse", "q": ("mae", [None, "mse"])}}),
    "subclassed": (TWO, [A, B], {"loss": ["mse", "mae"], "metrics": [["mae"], ["mse"]]}, None, True),
    "subclassed: equal metrics": (TWO, [A, B], {"loss": ["mse", "mae"], "metrics": [["mae"], ["mae"]],
                                                "weighted_metrics": [["mae"], ["mae"]]}, W, True),
    "subclassed: dict": (DICT, UV, {"loss": {"u": "mse", "v": "mae"}, "metrics": {"v": ["mae"], "u": ["mse"]},
                                    "weighted_metrics": {"u": ["mse"]}}, W, True),
    "subclassed: list in a dict": (MIXED, PQ, {"loss": {"p": "mse", "q": ["mae", "mse"]},
                                               "metrics": {"p": ["mae"], "q": [["mse"], ["mse"]]}}, None, True),
    "subclassed: nested": (NEST, [A, [B, C]], {"loss": ["mse", ["mae", "mse"]],
                                               "metrics": [["mae"], [["mse"], ["mae"]]]}, None, True),
}

#: name -> the first values of Keras's history, rounded to five digits
HISTORIES = {
    "one": {"loss": 1.65182, "mae": 1.00231},
    "one: lists": {"loss": 1.65182, "mae": 1.00231},
    "one: weight": {"loss": 3.28952},
    "one: list of weights": {"loss": 3.28952},
    "one: dict of weights": {"loss": 3.28952},
    "one: list in a dict": {"loss": 1.65182},
    "one: weighted": {"loss": 2.22264, "mae": 1.00252, "mse": 1.77812, "weighted_mae": 1.03103},
    "one: twice": {"loss": 2.22264, "mae": 1.00252, "mae_1": 1.00252, "weighted_mae": 1.03103,
        "weighted_mae_1": 1.03103},
    "list of one": {"loss": 1.65182, "mae": 1.00231},
    "list of one, bare": {"loss": 1.65182, "mae": 1.00231},
    "dict of one": {"loss": 1.65182, "mae": 1.00231},
    "dict of one, bare": {"loss": 1.65182, "mae": 1.00231},
    "two": {"a_loss": 1.65182, "b_loss": 1.42653, "loss": 3.07835},
    "two: lists": {"a_loss": 1.65182, "a_mae": 1.00231, "b_loss": 1.0108, "b_mae": 1.0108, "b_mse": 1.42924,
        "loss": 2.66262},
    "two: flat metrics": {"a_loss": 1.65182, "a_mae": 1.00231, "b_loss": 1.0108, "b_mse": 1.42924, "loss": 2.66262},
    "two: tuples": {"a_loss": 1.65182, "a_mae": 1.00231, "b_loss": 1.0108, "b_mse": 1.42924, "loss": 2.66262},
    "two: lists for tuples": {"a_loss": 1.65182, "a_mae": 1.00231, "b_loss": 1.0108, "b_mse": 1.42924,
        "loss": 2.66262},
    "two: dicts": {"a_loss": 1.65182, "b_loss": 1.0108, "b_mae": 1.0108, "b_mse": 1.42924, "loss": 2.66262},
    "two: reversed": {"a_loss": 1.65182, "a_mae": 1.00231, "b_loss": 1.0108, "loss": 2.66262},
    "two: no loss": {"a_mae": 1.00415, "b_mae": 1.00972, "loss": 1.42653},
    "two: no loss, no target": {"loss": 1.42653},
    "two: None in a dict": {"loss": 1.42653},
    "two: weights": {"a_loss": 1.65182, "b_loss": 1.01092, "loss": 2.15728},
    "two: dicts of weights": {"a_loss": 1.64476, "b_loss": 1.01092, "loss": 3.79498},
    "two: sample weight": {"a_loss": 2.22264, "a_mae": 1.00252, "a_weighted_mae": 1.03103, "b_loss": 1.82437,
        "b_mae": 1.00989, "b_weighted_mae": 1.02818, "loss": 4.04702},
    "two: sample weights": {"a_loss": 2.22264, "a_mae": 1.03103, "b_loss": 1.3717, "b_mse": 1.3717, "loss": 3.59435},
    "two: one of them None": {"a_loss": 1.65182, "a_mae": 1.00231, "b_loss": 1.3717, "b_mse": 1.3717,
        "loss": 3.02352},
    "two: repeated": {"a_loss": 2.22264, "a_mae": 1.00252, "a_mae_1": 1.00252, "a_weighted_mae": 1.03103,
        "a_weighted_mae_1": 1.03103, "b_loss": 1.3717, "b_mae": 0.97916, "loss": 3.59435},
    "two: named": {"a_loss": 2.22264, "a_m": 1.00252, "a_weighted_m": 1.03103, "b_loss": 1.3717, "b_m": 1.00904,
        "b_n": 0.97916, "loss": 3.59435},
    "dict": {"loss": 2.43006, "u_loss": 1.42653, "u_mse": 1.42653, "v_loss": 1.00353, "v_mae": 1.00353},
    "dict: one loss": {"a_loss": 1.65182, "b_loss": 1.42653, "loss": 3.07835},
    "dict: crossed": {"a_loss": 1.42653, "a_mae": 1.00972, "b_loss": 1.00353, "b_mse": 1.65644, "loss": 2.43006},
    "dict: lists go by the sorted keys": {"loss": 2.43006, "u_loss": 1.42653, "u_mae": 1.00972, "v_loss": 1.00353,
        "v_mse": 1.65644},
    "dict: list of targets": {"loss": 4.43793, "u_loss": 1.59857, "v_loss": 2.83936},
    "dict: part": {"loss": 1.42653, "v_mae": 1.00415},
    "dict: part of the targets": {"loss": 1.42653},
    "dict: weights": {"loss": 3.79611, "u_loss": 1.82744, "u_mae": 1.02907, "v_loss": 1.44119},
    "named tuple": {"a_loss": 1.65182, "a_mae": 1.00231, "b_loss": 1.0108, "b_mse": 1.42924, "loss": 2.66262},
    "named tuple: lists": {"a_loss": 1.65182, "a_mae": 1.00231, "b_loss": 1.0108, "b_mse": 1.42924, "loss": 2.66262},
    "nested": {"1/b_loss": 1.0108, "1/c_loss": 2.89156, "a_loss": 1.65182, "a_mae": 1.00231, "b_mse": 1.42924,
        "c_mae": 1.33381, "c_mse": 2.89156, "loss": 5.55417},
    "nested: one loss": {"1/b_loss": 1.42653, "1/c_loss": 2.89156, "a_loss": 1.65182, "loss": 5.96991},
    "nested: flat": {"1/b_loss": 1.0108, "1/c_loss": 2.89156, "a_loss": 1.65182, "loss": 5.55417},
    "nested: None": {"1/c_loss": 1.33672, "a_loss": 1.65182, "b_mae": 1.01105, "loss": 2.98854},
    "nested: weights": {"1/b_loss": 0.97951, "1/c_loss": 3.86902, "a_loss": 2.22264, "a_mae": 1.03103,
        "b_mse": 1.37241, "c_mae": 1.42715, "loss": 10.45044},
    "list in a dict": {"a_mae": 1.00231, "b_mse": 1.42924, "c_mae": 1.33381, "loss": 5.55417, "p_loss": 1.65182,
        "q/b_loss": 1.0108, "q/c_loss": 2.89156},
    "list in a dict: part": {"loss": 3.90235, "q/b_loss": 1.0108, "q/c_loss": 2.89156},
    "list in a dict: a loss for the list": {"loss": 2.82588, "p_loss": 1.65182, "q_loss": 1.17406},
    "dict in a dict": {"a_mae": 1.00231, "b_mse": 1.42958, "c_mae": 1.32997, "loss": 7.89739, "p_loss": 1.65182,
        "q/r_loss": 1.01092, "q/s_loss": 2.87005},
    "dict in a list": {"0/r_loss": 1.65182, "0/s_loss": 1.0108, "a_mae": 1.00231, "b_mse": 1.42924,
        "c_loss": 2.89156, "c_mae": 1.33381, "loss": 5.55417},
    "dict in a list: None": {"0/r_loss": 1.65182, "c_loss": 2.89156, "loss": 4.54338},
    "several losses of a tuple": {"a_b_loss": 1.0058, "a_loss": 1.65057, "b_loss": 1.42619, "loss": 4.08256},
    "several losses of a list in a dict": {"loss": 5.71285, "p_loss": 1.65182, "q/c_loss": 2.88889,
        "q_loss": 1.17213},
    "subclassed": {"loss": 2.66262, "mae": 1.00231, "mae_loss": 1.0108, "mse": 1.42924, "mse_loss": 1.65182},
    "subclassed: equal metrics": {"loss": 3.50958, "mae": 1.00252, "mae_1": 1.01079, "mae_loss": 1.28694,
        "mse_loss": 2.22264, "weighted_mae": 1.03103, "weighted_mae_1": 1.02955},
    "subclassed: dict": {"loss": 3.11522, "u_loss": 1.82437, "u_mse": 1.42673, "u_weighted_mse": 1.4595,
        "v_loss": 1.29084, "v_mae": 1.0036},
    "subclassed: list in a dict": {"loss": 5.55417, "mae": 1.00231, "mse": 1.42924, "mse_1": 2.89156,
        "p_loss": 1.65182, "q/mae_loss": 1.0108, "q/mse_loss": 2.89156},
    "subclassed: nested": {"1/mae_loss": 1.0108, "1/mse_loss": 2.89156, "loss": 5.55417, "mae": 1.00231,
        "mae_1": 1.33381, "mse": 1.42924, "mse_loss": 1.65182},
}
