"""Every row of the layers against Keras 3: config, weights' shapes, outputs at inference and in training."""

from __future__ import annotations

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from cases.layers import CASES  # noqa: E402  after the skip
from harness import call_layer  # noqa: E402
from pydl import layers  # noqa: E402

pytestmark = [pytest.mark.reference,
              pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")]  # of Keras variables


# Arguments that pydl refuses, or whose defaults it leaves out; axis of LayerNormalization
# stays an int, groups=-1 of GroupNormalization stays -1.
NOT_OURS = {"activity_regularizer", "quantization_config", "renorm", "renorm_clipping", "renorm_momentum",
            "rms_scaling", "axis", "groups"}


def plain(value):
    """Tuples as lists, and of a serialised object its class and config."""
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        if value.get("class_name") == "DTypePolicy":  # Keras writes the name alone in some versions
            return value["config"]["name"]
        return {k: plain(v) for k, v in value.items() if k not in ("module", "registered_name", "build_config")}
    return value


@pytest.mark.parametrize("case", CASES, ids=str)
def test_layer(case):
    ours, theirs = case.built(name="same"), getattr(keras.layers, case.name)(**case.args, name="same")
    inputs = case.draw(1, "float32")
    theirs(inputs[0] if len(inputs) == 1 else inputs)
    assert [w.shape for w in ours.weights] == [tuple(w.shape) for w in theirs.weights]
    theirs.set_weights(ours.get_weights())
    if hasattr(theirs, "finalize_state"):  # Normalization keeps its statistics in attributes too
        theirs.finalize_state()
    for training in (False,) if case.draws else (False, True):
        options = {} if not training else {"training": True}
        want = keras.ops.convert_to_numpy(theirs(inputs[0] if len(inputs) == 1 else inputs, **options))
        got = call_layer(ours, inputs, **options).data
        assert got.shape == want.shape and got.dtype == want.dtype
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    for a, b in zip(ours.get_weights(), theirs.get_weights()):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    mine, wanted = plain(layers.serialize(ours)["config"]), plain(keras.layers.serialize(theirs)["config"])
    differing = {k: (mine.get(k, "absent"), v) for k, v in wanted.items() if mine.get(k, "absent") != v}
    assert differing.keys() <= NOT_OURS, differing
    keras.layers.deserialize(layers.serialize(ours))
    layers.deserialize(keras.layers.serialize(theirs))
