"""Transfer learning: sub-models, freezing, batch normalisation in frozen layers, and that it helps on real digits."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import pydl
from pydl import applications, layers

ROOT = Path(__file__).resolve().parent.parent
rng = np.random.default_rng(8)
IMAGES = rng.normal(size=(24, 32, 32, 3)).astype("float32")
LABELS = rng.integers(0, 3, 24)


def example():
    path = ROOT / "examples" / "transfer_learning.py"
    spec = importlib.util.spec_from_file_location("transfer_learning", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def small_mobilenet():
    return applications.MobileNetV2(weights=None, alpha=0.35, include_top=False, input_shape=(32, 32, 3), pooling="avg")


def with_head(base):
    model = pydl.Sequential([base, layers.Dense(3, activation="softmax")])
    model.build((None, 32, 32, 3))
    return model


def fit(model, epochs=1):
    model.compile(pydl.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    model.fit(IMAGES, LABELS, batch_size=8, epochs=epochs, verbose=0)


def values(layer):
    return [v.numpy() for v in layer.variables]


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_get_layer_and_sub_model():
    """A model that ends at an inner layer shares its layers with the whole one."""
    base = small_mobilenet()
    inner = pydl.Model(base.input, base.get_layer("block_6_expand_relu").output)
    assert inner.get_layer("Conv1") is base.get_layer("Conv1") is base.get_layer(index=1)
    assert inner.output_shape == (None, 4, 4, base.get_layer("block_6_expand").filters)
    both = pydl.Model(base.input, [base.get_layer("block_6_expand_relu").output, base.output])
    features, end = both.predict(IMAGES, verbose=0)
    np.testing.assert_array_equal(features, inner.predict(IMAGES, verbose=0))
    np.testing.assert_array_equal(end, base.predict(IMAGES, verbose=0))
    with pytest.raises(ValueError, match="No such layer: block_99.*Conv1"):
        base.get_layer("block_99")


def test_frozen_base_does_not_move():
    """Not one bit, moving statistics of batch normalisation included; the head learns."""
    base = small_mobilenet()
    base.trainable = False
    model = with_head(base)
    assert len(model.trainable_variables) == 2
    before, head = values(base), values(model.layers[-1])
    fit(model, 3)
    assert same(values(base), before) and not same(values(model.layers[-1]), head)


def test_frozen_batch_normalization_runs_in_inference_mode():
    """Also when the model is called for training: with the moving statistics, and without changing them."""
    layer = layers.BatchNormalization(momentum=0.5)
    x = rng.normal(3, 2, (16, 4)).astype("float32")
    layer(x, training=True)
    statistics = values(layer)
    moving = layer(x, training=False).numpy()
    assert not np.allclose(layer(x, training=True), moving, atol=0.1)
    layer.moving_mean.assign(statistics[2])
    layer.moving_variance.assign(statistics[3])
    layer.trainable = False
    np.testing.assert_array_equal(layer(x, training=True), moving)
    assert same(values(layer), statistics)


def test_thawing_after_fit_is_recorded_anew():
    """The flag counts at the next fit, after an earlier one recorded the frozen step."""
    base = small_mobilenet()
    base.trainable = False
    model = with_head(base)
    fit(model)
    before = values(base)
    base.trainable = True
    example().freeze_up_to(base, "block_15_add")
    frozen = base.layers[:base.layers.index(base.get_layer("block_15_add")) + 1]
    kept = [values(layer) for layer in frozen]
    fit(model)
    assert not same(values(base), before)
    assert all(same(values(layer), old) for layer, old in zip(frozen, kept))
    assert not same(values(base.get_layer("Conv_1_bn")), [np.zeros(1)] * 4)


def test_summary_counts_what_is_trained():
    base = small_mobilenet()
    base.trainable = False
    model = with_head(base)
    lines: list[str] = []
    model.summary(show_trainable=True, expand_nested=True, print_fn=lines.append)
    text = "\n".join(lines)
    head = model.layers[-1].count_params()
    assert f" Trainable params: {head:,} " in text
    assert f" Non-trainable params: {base.count_params():,} " in text

    def flag(name):
        return next(line for line in lines if name in line).rstrip(" │").split()[-1]

    assert (flag("dense"), flag("block_3_expand "), flag("block_3_expand_relu")) == ("Y", "N", "-")
    base.trainable = True
    lines.clear()
    model.summary(show_trainable=True, print_fn=lines.append)
    moving = sum(v.numpy().size for v in base.non_trainable_variables)
    assert f" Non-trainable params: {moving:,} " in "\n".join(lines)


@pytest.mark.slow
def test_what_was_learned_on_0_to_4_helps_with_5_to_9():
    """Over seeds 0 to 5 the frozen features won by 0.012 to 0.056."""
    results = [example().experiment(seed)[0] for seed in range(2)]
    scratch, frozen, tuned = (np.mean([r[k] for r in results]) for k in ("scratch", "frozen", "fine-tuned"))
    assert frozen > scratch + 0.02 and tuned > scratch + 0.02, results


def test_frozen_layers_of_the_experiment_do_not_move():
    steps = example()
    pydl.utils.set_random_seed(0)
    (low, _), (high, _) = steps.load_digits()
    base = applications.LeNet5(classes=5)
    steps.fit(base, low[0][:500], low[1][:500], 1e-3, 1)
    model = pydl.Model(base.input, layers.Dense(5, activation="softmax")(base.get_layer("fc1").output))
    steps.freeze_up_to(model, "fc1")
    before = [values(layer) for layer in model.layers]
    steps.fit(model, *steps.few(*high, 5, rng), 1e-3, 5)
    after = [values(layer) for layer in model.layers]
    assert all(same(a, b) for a, b in zip(after[:-1], before[:-1])) and not same(after[-1], before[-1])
    steps.freeze_up_to(model, "flatten")
    steps.fit(model, *steps.few(*high, 5, rng), 1e-3, 5)
    moved = [not same(values(layer), old) for layer, old in zip(model.layers, after) if layer.variables]
    assert moved == [False, False, True, True]
