"""Losses, metrics, initializers and activations against Keras 3, row by row of the conformance cases.

Run where Keras is installed: KERAS_BACKEND=jax PYTHONPATH=. python -m pytest tests/reference
"""

from __future__ import annotations

import inspect

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from cases.losses import LOSSES  # noqa: E402  after the skip
from cases.metrics import METRICS  # noqa: E402
from pydl import activations, callbacks, initializers, losses, metrics  # noqa: E402
from pydl.tensor import from_numpy  # noqa: E402

pytestmark = [
    pytest.mark.reference,
    pytest.mark.filterwarnings("ignore:.*casting cuts off what stands behind the point"),  # weights of the IoUs
]


def arrays(row, seed):
    rng = np.random.default_rng(seed)
    drawn = [np.asarray(draw(rng)) for draw in row.inputs]
    return [x.astype("float32") if x.dtype.kind == "f" else x for x in drawn]


def close(got, want, rtol=1e-5):
    np.testing.assert_allclose(np.asarray(got), np.asarray(want), rtol=rtol, atol=1e-6)


@pytest.mark.parametrize("row", LOSSES, ids=str)
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight", None])
def test_loss(row, reduction):
    t, p = arrays(row, 0)
    ours = getattr(losses, row.name)(**row.args, reduction=reduction)
    theirs = getattr(keras.losses, row.name)(**row.args, reduction=reduction)
    close(ours(t, p).numpy(), theirs(t, p), 2e-5)
    scalar = getattr(row, "function") in ("dice", "tversky") and not row.args.get("axis")
    if not scalar:
        weight = np.random.default_rng(1).random(len(theirs.call(keras.ops.convert_to_tensor(t), p))).astype("f4")
        close(ours(t, p, sample_weight=weight).numpy(), theirs(t, p, sample_weight=weight), 2e-5)


@pytest.mark.parametrize("row", LOSSES, ids=str)
def test_loss_config(row):
    ours = getattr(losses, row.name)(**row.args).get_config()
    theirs = getattr(keras.losses, row.name)(**row.args).get_config()
    assert theirs.items() <= ours.items()  # Keras forgets delta of Huber, axis of CosineSimilarity ...
    keras.losses.deserialize(losses.serialize(getattr(losses, row.name)(**row.args)))


@pytest.mark.parametrize("row", METRICS, ids=str)
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_metric(row, weighted):
    args = dict(row.args)
    made = []
    for library in (metrics, keras.metrics):
        if "fn" in args:
            args["fn"] = library.mean_squared_error
        made.append(getattr(library, row.name)(**args))
    ours, theirs = made
    for seed in (1, 2):
        t, p, w = row.batch(seed, weighted)
        ours.update_state(t, p, sample_weight=w)
        theirs.update_state(t, p, sample_weight=w)
    close(ours.result().numpy(), theirs.result(), max(row.rtol, 2e-5))
    # Keras knows no direction of the counts of a confusion matrix; a monitor of one has to be told there.
    assert getattr(theirs, "_direction", None) in (None, ours._direction)
    if row.name != "R2Score":  # Keras keeps sums around 0, pydl around the mean: an offset costs no digits
        assert [v.path.split("/")[1] for v in ours.variables] == [v.path.split("/")[1] for v in theirs.variables]
        for got, want in zip(ours.variables, theirs.variables):
            assert got.shape == tuple(want.shape)
            close(got.numpy(), want, 1e-4)
    if "fn" not in args:
        first, second = ours.get_config(), theirs.get_config()
        for key in ("name", "label_weights"):
            first.pop(key, None), second.pop(key, None)
        assert second.items() <= first.items()


@pytest.mark.parametrize("name", [n for n in dir(initializers) if n in dir(keras.initializers)
                                  and inspect.isclass(getattr(initializers, n)) and n[0].isupper()])
def test_initializer(name):
    if name == "Initializer":
        return
    ours, theirs = getattr(initializers, name)(), getattr(keras.initializers, name)()
    assert set(theirs.get_config()) <= set(ours.get_config())
    a, b = np.asarray(ours((64, 64)).numpy()), np.asarray(theirs((64, 64)))
    assert abs(a.std() - b.std()) < 0.1 * b.std() + 1e-6 and abs(a.mean() - b.mean()) < 0.1 * b.std() + 1e-6
    assert type(keras.initializers.deserialize(initializers.serialize(ours))) is type(theirs)


@pytest.mark.parametrize("name", sorted(set(activations.OBJECTS) - {"glu", "hard_sigmoid_of_keras_2", "scaled_tanh",
                                                                    "threshold"}))
def test_activation(name):
    x = np.linspace(-5, 5, 42, dtype="float32").reshape(6, 7)
    close(getattr(activations, name)(from_numpy(x)).numpy(), getattr(keras.activations, name)(x))


MODULES = {"losses": (losses, ("ctc", "CTC")), "metrics": (metrics, ()), "callbacks": (callbacks, (
    "TensorBoard", "RemoteMonitor", "OrbaxCheckpoint")), "activations": (activations, ("sparsemax",)),
    "initializers": (initializers, ("STFT", "STFTInitializer", "stft"))}


@pytest.mark.parametrize("module", MODULES)
def test_names_and_signatures(module):
    ours, absent = MODULES[module]
    theirs = getattr(keras, module)
    for name in dir(theirs):
        if name.startswith("_") or name in absent or inspect.ismodule(getattr(theirs, name)):
            continue
        assert hasattr(ours, name), f"{module}.{name} is missing"
        mine, keras_object = getattr(ours, name), getattr(theirs, name)
        if inspect.isclass(keras_object):
            mine, keras_object = mine.__init__, keras_object.__init__
            if keras_object is object.__init__:
                continue
        wanted = [(p.name, p.default) for p in inspect.signature(keras_object).parameters.values()]
        got = [(p.name, p.default) for p in inspect.signature(mine).parameters.values()]
        assert got[: len(wanted)] == wanted, f"{module}.{name}: {got}, Keras has {wanted}"
