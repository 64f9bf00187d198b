"""Calls of the public ops and layers with wrong numbers in place of sizes, axes, indices, strides.

    python tests/argument_sweep.py shape indexing ...

takes the rows of those modules of tests/cases/; each whole number among the arguments of a row, and each parameter of
the op or layer that takes whole numbers, becomes negative, zero, huge, a list of such numbers. It says before each call
what it is about to do, so that the last line of a process that died names the call, and ends with 1 when an op answered
what NumPy does not, or anything raised something else than a sentence."""

import dataclasses
import importlib
import inspect
import resource
import signal
import sys

import numpy as np

from harness import Case, LayerCase, layer_gradients, outputs_of, run
from pydl import layers, tree

NUMBERS = (-2**63 - 1, -2**63, -2**40, -3, -1, 0, 1, 2, 3, 5, 2**31, 2**40, 2**62, 2**63 - 1, 2**63, 10**30)
LISTS = ([], [0], [-1], [1, 0], [-1, 2, 3], [3, 1], [0, 0], [2**62, 2**62], [-2**63, 2], [1, 2, 3, 4, 5, 6, 7, 8])
# Parameters whose numbers are values or a seed, and none that sizes and places depend on.
VALUES = {"epsilon", "alpha", "negative_slope", "threshold", "max_value", "value", "fill_value", "base", "seed",
          "constant_values", "nan", "posinf", "neginf", "rate", "momentum", "factor", "x_min", "x_max", "delta", "cap"}
# Rows whose oracle answers one call only, rounds otherwise, or counts up to the number.
NO_ORACLE = {"pad_images", "crop_images", "resize-crop", "resize-pad", "mod-by-zero", "floor_divide-by-zero", "diff",
             "diff-twice", "reshape-3x2x2 newshape=(None, 4)",
             "normalize-order1", "normalize-order3", "random.dropout-noise_shape"}
SENTENCES = (ValueError, IndexError, TypeError, MemoryError, OverflowError)
MEMORY = 4 << 30  # bytes of addresses: what is asked for beyond them does not come
SECONDS = 20


def places_of(value):
    """The paths of whole numbers in an argument; () of the argument itself."""
    if isinstance(value, (bool, str)) or value is None or callable(value):
        return
    if isinstance(value, (int, np.integer)):
        yield ()
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from ((i, *path) for path in places_of(item))


def put(value, path, number):
    if not path:
        return number
    items = list(value)
    items[path[0]] = put(items[path[0]], path[1:], number)
    return type(value)(items) if not hasattr(value, "_fields") else tuple(items)


def of_layer(case):
    """Names of arguments of a layer's constructor whose default is a whole number, or whole numbers."""
    for name, parameter in inspect.signature(getattr(layers, case.name)).parameters.items():
        if name not in VALUES | set(case.args) and any(True for _ in places_of(parameter.default)):
            yield name


def whole_numbers(function, case):
    """Names of parameters of an op that take whole numbers, and that the row leaves as they are."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return
    for parameter in parameters[len(case.inputs):]:
        text = str(parameter.annotation)
        takes = any(word in text for word in ("int", "Axis", "Shape", "PerAxis", "Sizes", "Starts", "Padding"))
        if takes and parameter.name not in VALUES and parameter.kind is not parameter.VAR_POSITIONAL:
            yield parameter.name


def wrong_calls(case):
    """(what is wrong, the row's arguments by name) of a row."""
    kwargs = case.args if isinstance(case, LayerCase) else case.kwargs
    for name, value in kwargs.items():
        if name in VALUES:
            continue
        for path in places_of(value):
            for number in NUMBERS:
                yield f"{name}{list(path) or ''}={number}", {**kwargs, name: put(value, path, number)}
    if isinstance(case, LayerCase):
        names = of_layer(case)
    else:
        names = [] if case.fn else whole_numbers(case.function, case)
    for name in names:
        for number in (*NUMBERS, *LISTS):
            yield f"{name}={number}", {**kwargs, name: number}


def indices_of(case):
    """(what is wrong, inputs) with one value of an array of integers gone wrong."""
    inputs = case.draw(0, "float32")
    leaves = tree.flatten(inputs)
    for i, leaf in enumerate(leaves):
        if leaf.dtype.kind != "i" or leaf.size == 0:
            continue
        for number in NUMBERS:
            if np.iinfo(leaf.dtype).min <= number <= np.iinfo(leaf.dtype).max:
                wrong = leaf.copy()
                wrong.flat[-1] = number
                given = [*leaves[:i], wrong, *leaves[i + 1:]]
                yield f"input {i} ends with {number}", tree.pack_sequence_as(inputs, given)


def equal(got, want):
    return got.shape == want.shape and np.allclose(got, want, rtol=1e-3, atol=1e-4 * max(
        1.0, float(np.nanmax(np.abs(want), initial=0)) if want.dtype.kind == "f" else 1.0), equal_nan=True)


def judged_layer(case, inputs, kwargs):
    """None when the layer runs forwards and backwards, or refuses with a sentence; else what is wrong."""
    try:
        layer = dataclasses.replace(case, args=kwargs).make()
        for training in (False, True):
            layer_gradients(layer, inputs, training=training)
    except SENTENCES as error:
        return None if len(str(error)) > 15 else f"{type(error).__name__}: {error}"
    except Exception as error:  # a bare one
        return f"{type(error).__name__}: {error}"
    return None


def judged(case, inputs, kwargs):
    """None when the op answers what NumPy does, or with a sentence; else what is wrong."""
    wrong = Case(case.name, case.reference, tuple(inputs), kwargs, case.fn)
    try:
        received = outputs_of(run(wrong, inputs))
    except SENTENCES as error:
        return None if len(str(error)) > 15 else f"{type(error).__name__}: {error}"
    except Exception as error:  # a bare one
        return f"{type(error).__name__}: {error}"
    if case.reference is None or str(case) in NO_ORACLE or sum(y.nbytes for y in received) > 1 << 20:
        return None
    with np.errstate(all="ignore"):
        try:
            expected = [np.asarray(y) for y in tree.flatten(case.reference(*inputs, **kwargs))]
        except Exception:  # the oracle is written for right arguments
            return None
    same = len(expected) == len(received) and all(map(equal, received, expected))
    return None if same else f"{[y.shape for y in received]} differs from {[y.shape for y in expected]}"


def sweep(module):
    faults = []
    for case in getattr(importlib.import_module(f"cases.{module}"), "CASES", ()):
        if not isinstance(case, (Case, LayerCase)):
            continue
        judge, kwargs = (judged, case.kwargs) if isinstance(case, Case) else (judged_layer, case.args)
        inputs = case.draw(0, "float32")
        calls = [(what, inputs, wrong) for what, wrong in wrong_calls(case)]
        calls += [(what, wrong, kwargs) for what, wrong in indices_of(case)]
        for what, given, kwargs in calls:
            print(f"{case}: {what}", flush=True)
            signal.alarm(SECONDS)
            fault = judge(case, given, kwargs)
            signal.alarm(0)
            if fault:
                faults.append(f"{case}: {what}: {fault}")
    return faults


if __name__ == "__main__":
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    found = [fault for module in sys.argv[1:] for fault in sweep(module)]
    print(*found, sep="\n", file=sys.stderr)
    sys.exit(bool(found))
