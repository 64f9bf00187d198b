"""Feature maps, filters, class activation maps, saliency and their pictures, against NumPy and finite differences."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest

import pydl as keras
from harness import PYDL_FOLDER
from pydl import inspection, ops
from pydl.inspection import (
    feature_maps,
    filters,
    grad_cam,
    plot_feature_maps,
    plot_filters,
    plot_grad_cam,
    plot_history,
    plot_predictions,
    plot_saliency,
    saliency,
)

layers = keras.layers
IMAGES = np.random.default_rng(0).uniform(size=(3, 8, 9, 2)).astype("float32")


@pytest.fixture
def float64():
    keras.config.set_floatx("float64")
    yield
    keras.config.set_floatx("float32")


def small(end="softmax", dtype=None):
    """Two convolutions, a pooling, and four classes."""
    keras.utils.set_random_seed(3)
    return keras.Sequential([
        keras.Input((8, 9, 2), dtype=dtype),
        layers.Conv2D(3, 3, activation="tanh", name="first"),
        layers.AveragePooling2D(2, name="pool"),
        layers.BatchNormalization(name="norm"),
        layers.Conv2D(5, 2, activation="tanh", name="second"),
        layers.Dropout(0.5),
        layers.Flatten(),
        layers.Dense(4, activation=end, name="head"),
    ], name="small")


def correlated(x, kernel, bias):
    """A valid convolution with stride 1, in NumPy."""
    height, width = kernel.shape[:2]
    windows = np.lib.stride_tricks.sliding_window_view(x, (height, width), axis=(1, 2))
    return np.einsum("bijchw,hwcf->bijf", windows, kernel) + bias


# ---- feature maps and filters ------------------------------------------------------------------------------------


def test_feature_maps_are_the_outputs_of_submodels():
    model = small()
    maps = feature_maps(model, IMAGES)
    assert list(maps) == ["first", "pool", "second"]
    for name, value in feature_maps(model, IMAGES, ["second", "norm", model.get_layer("head")]).items():
        inner = keras.Model(model.inputs, model.get_layer(name).output)
        np.testing.assert_array_equal(value, inner.predict(IMAGES, verbose=0))
    np.testing.assert_array_equal(feature_maps(model, IMAGES, "head")["head"], model.predict(IMAGES, verbose=0))


def test_feature_maps_of_convolution_by_numpy(float64):
    model = small()
    kernel, bias = model.get_layer("first").get_weights()
    found = feature_maps(model, IMAGES.astype("float64"))["first"]
    np.testing.assert_allclose(found, np.tanh(correlated(IMAGES, kernel, bias)), atol=1e-12)
    assert found.dtype == np.float64


def test_feature_maps_are_copies():
    model = keras.Sequential([keras.Input((8, 9, 2)), layers.Identity(name="same"), layers.Flatten(), layers.Dense(2)])
    found = feature_maps(model, IMAGES, "same")["same"]
    np.testing.assert_array_equal(found, IMAGES)
    assert not np.shares_memory(found, IMAGES)


def nested():
    inputs = keras.Input((8, 9, 2))
    blocks = []
    for name in ("left", "right"):
        inner = keras.Input((8, 9, 2))
        blocks.append(keras.Model(inner, layers.Conv2D(2, 3, padding="same", name="conv")(inner), name=name))
    merged = layers.Add()([block(inputs) for block in blocks])
    return keras.Model(inputs, layers.Dense(3)(layers.Flatten()(layers.MaxPooling2D(2, name="pool")(merged))))


def test_nested_models_and_equal_names():
    model = nested()
    maps = feature_maps(model, IMAGES)
    assert set(maps) == {"left/conv", "right/conv", "pool"}
    left = model.get_layer("left")
    np.testing.assert_array_equal(maps["left/conv"], left.predict(IMAGES, verbose=0))
    assert list(feature_maps(model, IMAGES, "right/conv")) == ["right/conv"]
    assert grad_cam(model, IMAGES, "left/conv").shape == (3, 8, 9)
    with pytest.raises(ValueError, match=r"2 layers named 'conv'.*left/conv.*right/conv"):
        feature_maps(model, IMAGES, "conv")
    np.testing.assert_array_equal(filters(model, "right/conv"), filters(model.get_layer("right")))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.conv = layers.Conv2D(2, 3, name="conv")
        self.head = layers.Dense(3, activation="softmax", name="head")
        self.spare = layers.Dense(2, name="spare")

    def call(self, x):
        return self.head(ops.mean(self.conv(x), axis=(1, 2)))


def test_subclassed_models():
    model = Subclassed()
    with pytest.raises(ValueError, match="not built"):
        feature_maps(model, IMAGES)
    model(IMAGES)
    maps = feature_maps(model, IMAGES, ["conv", "head"])
    kernel, bias = model.head.get_weights()
    expected = maps["conv"].mean((1, 2)) @ kernel + bias
    np.testing.assert_allclose(maps["head"], np.exp(expected) / np.exp(expected).sum(1, keepdims=True), rtol=1e-5)
    assert grad_cam(model, IMAGES).shape == (3, 6, 7)
    for inspect in (lambda: feature_maps(model, IMAGES, "spare"), lambda: grad_cam(model, IMAGES, "spare")):
        with pytest.raises(ValueError, match='does not use its layer "spare"'):
            inspect()


def test_filters():
    model = small()
    kernel = model.get_layer("first").get_weights()[0]
    found = filters(model)
    assert found.shape == (3, 3, 3, 2)
    for i in range(3):
        np.testing.assert_array_equal(found[i], kernel[..., i])
    assert filters(model, "second").shape == (5, 2, 2, 3)
    viewed = filters(model.get_layer("first"), normalize=True)
    np.testing.assert_array_equal(viewed.min((1, 2, 3)), 0)
    np.testing.assert_array_equal(viewed.max((1, 2, 3)), 1)
    constant = layers.Conv2D(1, 2, kernel_initializer="ones")
    constant.build((None, 4, 4, 1))
    np.testing.assert_array_equal(filters(constant, normalize=True), np.zeros((1, 2, 2, 1)))


@pytest.mark.parametrize(("layer", "channels", "shape", "pick"), [
    (lambda: layers.Conv1D(4, 5), 3, (4, 5, 3), lambda k: k[..., 1]),
    (lambda: layers.Conv2DTranspose(4, (2, 3)), 5, (4, 2, 3, 5), lambda k: k[..., 1, :]),
    (lambda: layers.DepthwiseConv2D(2, depth_multiplier=3), 2, (6, 2, 2, 1), lambda k: k[..., 0, 1][..., None]),
    (lambda: layers.SeparableConv2D(4, 2), 3, (3, 2, 2, 1), lambda k: k[..., 1, 0][..., None]),
])
def test_filters_of_other_convolutions(layer, channels, shape, pick):
    layer = layer()
    layer.build((None, *(9,) * (len(shape) - 2), channels))
    found = filters(layer)
    assert found.shape == shape
    np.testing.assert_array_equal(found[1], pick(layer.get_weights()[0]))


# ---- grad-cam ----------------------------------------------------------------------------------------------------


def cam_by_numpy(model, x, chosen):
    """Equations 1 and 2 for a model of Conv2D(relu), Flatten, Dense."""
    kernel, bias, dense, _ = (w.astype("float64") for w in model.get_weights())
    maps = np.maximum(correlated(x, kernel, bias), 0)
    cams = []
    for a, c in zip(maps, chosen):
        alpha = dense[:, c].reshape(a.shape).mean((0, 1))
        cam = np.maximum((a * alpha).sum(-1), 0)
        cams.append(cam / cam.max() if cam.max() > 0 else cam)
    return np.array(cams)


@pytest.mark.parametrize("end", ["softmax", "linear", "sigmoid"])
def test_grad_cam_by_numpy(end):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((8, 9, 2)), layers.Conv2D(4, 3, activation="relu"), layers.Flatten(),
                              layers.Dense(5, activation=end)])
    best = model.predict(IMAGES, verbose=0).argmax(1)
    for class_index, chosen in ((None, best), (2, [2, 2, 2]), ([0, 4, 1], [0, 4, 1]), (np.int64(3), [3] * 3)):
        found = grad_cam(model, IMAGES, class_index=class_index)
        np.testing.assert_allclose(found, cam_by_numpy(model, IMAGES, chosen), atol=2e-5)
        assert found.max() == 1 and found.min() >= 0


def test_grad_cam_without_evidence_is_zero():
    model = keras.Sequential([keras.Input((8, 9, 2)), layers.Conv2D(4, 3, activation="relu"), layers.Flatten(),
                              layers.Dense(2, kernel_initializer=lambda shape, dtype: -np.ones(shape, dtype))])
    np.testing.assert_array_equal(grad_cam(model, IMAGES), np.zeros((3, 6, 7)))


def test_grad_cam_where_nothing_is_trainable():
    model = small()
    expected = grad_cam(model, IMAGES), saliency(model, IMAGES)
    model.trainable = False
    for want, got in zip(expected, (grad_cam(model, IMAGES), saliency(model, IMAGES))):
        np.testing.assert_array_equal(want, got)


def test_grad_cam_chooses_the_last_convolution():
    model = small()
    np.testing.assert_array_equal(grad_cam(model, IMAGES), grad_cam(model, IMAGES, model.get_layer("second")))
    assert grad_cam(model, IMAGES, "first").shape == (3, 6, 7)


def test_grad_cam_of_sequences():
    x = np.random.default_rng(1).normal(size=(2, 10, 3)).astype("float32")
    model = keras.Sequential([keras.Input((10, 3)), layers.Conv1D(4, 3), layers.GlobalAveragePooling1D(),
                              layers.Dense(2)])
    assert grad_cam(model, x).shape == (2, 8)
    with pytest.raises(ValueError, match="resize=True is for"):
        grad_cam(model, x, resize=True)


def test_grad_cam_with_channels_first():
    models = []
    for data_format, shape in (("channels_last", (8, 9, 2)), ("channels_first", (2, 8, 9))):
        models.append(keras.Sequential([
            keras.Input(shape), layers.Conv2D(4, 3, activation="relu", data_format=data_format),
            layers.GlobalAveragePooling2D(data_format=data_format), layers.Dense(3)]))
    models[1].set_weights(models[0].get_weights())
    found = grad_cam(models[1], IMAGES.transpose(0, 3, 1, 2), class_index=1)
    np.testing.assert_allclose(found, grad_cam(models[0], IMAGES, class_index=1), atol=1e-5)


def test_grad_cam_at_the_size_of_the_images():
    model = small()
    found = grad_cam(model, IMAGES, resize=True)
    assert found.shape == IMAGES.shape[:3]
    assert found.min() >= 0 and found.max() <= 1
    expected = ops.image.resize(grad_cam(model, IMAGES)[..., None], (8, 9))[..., 0]
    np.testing.assert_allclose(found, expected, atol=1e-6)


# ---- saliency ----------------------------------------------------------------------------------------------------


def scores_of(model):
    """The model without its last activation, on the same weights."""
    linear = small(end=None)
    linear.set_weights(model.get_weights())
    return lambda x: linear.predict(x, verbose=0)


def test_saliency_by_finite_differences(float64):
    model, x = small(), IMAGES.astype("float64")
    model.get_layer("norm").moving_mean.assign(np.array([0.3, -0.2, 0.1]))
    score, best = scores_of(model), model.predict(x, verbose=0).argmax(1)
    found = saliency(model, x, absolute=False, channels=None)
    assert found.shape == x.shape and found.dtype == np.float64
    step = 1e-6
    for i in ((0, 0, 0, 0), (1, 3, 4, 1), (2, 5, 5, 0), (0, 7, 6, 1), (2, 2, 8, 1)):
        above, below = x.copy(), x.copy()
        above[i] += step
        below[i] -= step
        c = best[i[0]]
        expected = (score(above)[i[0], c] - score(below)[i[0], c]) / (2 * step)
        np.testing.assert_allclose(found[i], expected, atol=1e-8)
    np.testing.assert_array_equal(saliency(model, x), np.abs(found).max(-1))
    signed = saliency(model, x, absolute=False)
    np.testing.assert_array_equal(np.abs(signed), np.abs(found).max(-1))
    assert (signed < 0).any()


def endings():
    def functional(end):
        inputs = keras.Input((6,))
        return keras.Model(inputs, end(layers.Dense(3, name="scores")(inputs)))

    yield keras.Sequential([keras.Input((6,)), layers.Dense(3)])
    yield keras.Sequential([keras.Input((6,)), layers.Dense(3, activation="softmax")])
    yield keras.Sequential([keras.Input((6,)), layers.Dense(3), layers.Activation("softmax"), layers.Dropout(0.5)])
    yield keras.Sequential([keras.Input((6,)), layers.Dense(3), layers.Softmax()])
    yield keras.Sequential([keras.Input((6,)), keras.Sequential([layers.Dense(3, activation=ops.softmax)])])
    yield functional(ops.softmax)
    yield functional(keras.activations.sigmoid)
    yield functional(layers.Softmax())


def test_the_score_is_what_enters_the_softmax():
    x = np.random.default_rng(0).normal(size=(2, 6)).astype("float32")
    kernel = np.random.default_rng(1).normal(size=(6, 3)).astype("float32")
    for model in endings():
        model.set_weights([kernel, np.full(3, 50, "float32")])  # sigmoids are saturated
        before = model.predict(x, verbose=0)
        found = saliency(model, x, class_index=[1, 2], absolute=False)
        np.testing.assert_allclose(found, kernel[:, [1, 2]].T, rtol=1e-6)
        np.testing.assert_array_equal(model.predict_on_batch(x), before)
        np.testing.assert_array_equal(model(x), before)


def test_smoothgrad_is_the_mean_over_noisy_copies():
    model = small()
    found = saliency(model, IMAGES, smooth=3, noise=0.2, seed=5, absolute=False, channels=None)
    draw, spread = np.random.default_rng(5), np.ptp(IMAGES, axis=(1, 2, 3), keepdims=True)
    best, total = model.predict(IMAGES, verbose=0).argmax(1), 0
    for _ in range(3):
        noisy = IMAGES + 0.2 * spread * draw.standard_normal(IMAGES.shape, "float32")
        total = total + saliency(model, noisy, best, absolute=False, channels=None)
    np.testing.assert_allclose(found, total / 3, atol=1e-6)
    np.testing.assert_array_equal(saliency(model, IMAGES, smooth=2, seed=1), saliency(model, IMAGES, smooth=2, seed=1))
    assert (saliency(model, IMAGES, smooth=2) != saliency(model, IMAGES, smooth=2)).any()
    np.testing.assert_allclose(saliency(model, IMAGES, smooth=2, noise=0), saliency(model, IMAGES), atol=1e-6)


# ---- a model is left as it was -----------------------------------------------------------------------------------


def test_models_are_left_as_they_were():
    model = small()
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(IMAGES, np.array([0, 1, 2]), epochs=1, verbose=0)
    model.get_layer("first").trainable = False
    expected = model.predict(IMAGES, verbose=0)

    def state():
        attributes = [sorted(vars(layer)) for layer in model._flatten_layers()]
        return ([v.numpy().tolist() for v in model.variables + model.optimizer.variables],
                [(v.path, v.trainable, v.grad is None, id(v.node)) for v in model.variables],
                [layer.trainable for layer in model.layers], attributes, model.get_config(), keras.watch.changes,
                np.random.get_state()[1].tolist())

    before = state()
    keras.utils.set_random_seed(7)
    first = keras.random.normal((3,)).numpy().copy()
    keras.utils.set_random_seed(7)
    before = (*before[:-1], np.random.get_state()[1].tolist())
    feature_maps(model, IMAGES)
    filters(model, normalize=True)
    grad_cam(model, IMAGES)
    saliency(model, IMAGES, smooth=2)
    for call in (lambda: grad_cam(model, IMAGES, "head"), lambda: saliency(model, IMAGES, 99)):
        with pytest.raises(ValueError):
            call()
    assert state() == before
    np.testing.assert_array_equal(keras.random.normal((3,)), first)
    np.testing.assert_array_equal(model.predict(IMAGES, verbose=0), expected)


def test_inside_no_grad_and_inside_a_tape():
    model = small()
    expected = grad_cam(model, IMAGES)
    with keras.no_grad():
        np.testing.assert_array_equal(grad_cam(model, IMAGES), expected)
    with keras.GradientTape() as tape:
        loss = ops.sum(model(IMAGES))
        np.testing.assert_array_equal(grad_cam(model, IMAGES), expected)
    assert all(g is not None for g in tape.gradient(loss, model.trainable_variables))


# ---- errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inspect", [feature_maps, grad_cam, saliency])
def test_wrong_models_and_inputs(inspect):
    name = inspect.__name__
    with pytest.raises(TypeError, match=f"{name}: expected a Model; received"):
        inspect(layers.Dense(2), IMAGES)
    with pytest.raises(ValueError, match=f'{name}: model "bare" is not built'):
        inspect(keras.Sequential([layers.Dense(2)], name="bare"), IMAGES)
    with pytest.raises(ValueError, match=rf"{name}.*expects x of shape \(None, 8, 9, 2\); received \(8, 9, 2\)\. One"):
        inspect(small(), IMAGES[0])
    with pytest.raises(ValueError, match=rf"{name}.*received \(3, 8, 8, 2\)\.$"):
        inspect(small(), IMAGES[:, :, :8])
    with pytest.raises(ValueError, match=f"{name}: expected at least one sample"):
        inspect(small(), IMAGES[:0])


def test_wrong_layers():
    model = small()
    for inspect in (lambda name: feature_maps(model, IMAGES, name), lambda name: grad_cam(model, IMAGES, name),
                    lambda name: filters(model, name)):
        with pytest.raises(ValueError, match=r"has no layer 'third'\. Its layers are \['first', 'pool', 'norm'"):
            inspect("third")
    with pytest.raises(ValueError, match="has no layer 'stranger'"):
        feature_maps(model, IMAGES, layers.Dense(1, name="stranger"))
    with pytest.raises(ValueError, match=r'layer "head" has no positions.*received \(3, 4\)'):
        grad_cam(model, IMAGES, "head")
    dense = keras.Sequential([keras.Input((4,)), layers.Dense(2, name="only")], name="dense")
    for inspect in (feature_maps, grad_cam):
        with pytest.raises(ValueError, match=r'"dense" has no convolution.*only'):
            inspect(dense, np.ones((1, 4)))
    with pytest.raises(ValueError, match='"dense" has no convolution layer'):
        filters(dense)
    with pytest.raises(ValueError, match="expected a convolution layer; received <Dense name=only"):
        filters(dense, "only")
    with pytest.raises(ValueError, match='Conv2D "[a-z_0-9]+" has no `kernel`; is it built'):
        filters(layers.Conv2D(2, 3))


@pytest.mark.parametrize("inspect", [grad_cam, saliency])
def test_wrong_classes_and_outputs(inspect):
    model = small()
    for wrong, message in ((4, "in 0 .. 3; received 4"), (-1, "received -1"), ([0, 1, 9], "received 9"),
                           ([0, 1], "an int or 3 ints"), (1.5, "received 1.5"), (True, "received True")):
        with pytest.raises(ValueError, match=message):
            inspect(model, IMAGES, class_index=wrong)
    inputs = keras.Input((8, 9, 2))
    features = layers.Conv2D(2, 3)(inputs)
    flat = layers.Flatten()(features)
    for outputs in ([layers.Dense(2)(flat), layers.Dense(3)(flat)], features):
        with pytest.raises(ValueError, match=r"one output of shape \(batch, classes\)"):
            inspect(keras.Model(inputs, outputs), IMAGES)


def test_scores_that_do_not_depend_on_what_is_asked():
    inputs = keras.Input((8, 9, 2))
    aside = layers.Conv2D(2, 3, name="aside")(inputs)
    cut = layers.Lambda(ops.stop_gradient)(aside)
    model = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(cut)), name="cut")
    with pytest.raises(ValueError, match='scores of model "cut" do not depend on layer "aside"'):
        grad_cam(model, IMAGES)
    words = keras.Sequential([keras.Input((4,), dtype="int32"), layers.Embedding(5, 3), layers.Flatten(),
                              layers.Dense(2)])
    with pytest.raises(ValueError, match="differentiable"):
        saliency(words, np.ones((2, 4), "int32"))


def test_wrong_options_of_saliency():
    model = small()
    for wrong in ({"channels": "mean"}, {"smooth": -1}, {"smooth": 1.5}, {"noise": -0.1}):
        name, value = next(iter(wrong.items()))
        with pytest.raises(ValueError, match=f"expected {name} .*{value}"):
            saliency(model, IMAGES, **wrong)
    with pytest.raises(ValueError, match="expected one array; received list of 2"):
        saliency(model, [IMAGES, IMAGES])


def test_integer_images():
    pixels = (IMAGES * 255).astype("uint8")
    for inspect in (saliency, grad_cam):
        np.testing.assert_array_equal(inspect(small(), pixels), inspect(small(), pixels.astype("float32")))


# ---- pictures ----------------------------------------------------------------------------------------------------


draws = pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="draws with matplotlib")


def pixels(figure):
    """What would be saved."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def titles(figure):
    return [axis.get_title() or axis.get_title("left") for axis in figure.axes]


@draws
def test_plot_feature_maps():
    maps = feature_maps(small(), IMAGES, ["first", "second", "head"])
    figure = plot_feature_maps(maps, sample=1)
    assert len(figure.axes) == 2 * 5 and pixels(figure).std() > 0
    assert [t for t in titles(figure) if t] == ["first (6, 7, 3)", "second (2, 2, 5)"]
    np.testing.assert_array_equal(figure.axes[1].images[0].get_array(), maps["first"][1, :, :, 1])
    assert len(plot_feature_maps(maps["second"], limit=3).axes) == 3
    with pytest.raises(ValueError, match="expected sample in 0 .. 2; received 3"):
        plot_feature_maps(maps, sample=3)
    with pytest.raises(ValueError, match=r"received \{'head': \(3, 4\)\}"):
        plot_feature_maps({"head": maps["head"]})


@draws
def test_plot_filters():
    kernels = filters(small())
    figure = plot_filters(kernels, columns=2)
    assert len(figure.axes) == 4
    np.testing.assert_array_equal(figure.axes[1].images[0].get_array(), kernels[1].mean(-1))
    colour = plot_filters(np.random.default_rng(0).normal(size=(70, 3, 3, 3)))
    assert len(colour.axes) == 64 and colour.axes[0].images[0].get_array().min() == 0
    with pytest.raises(ValueError, match="received"):
        plot_filters(kernels[0])


@draws
def test_plot_attributions(tmp_path):
    model = small()
    images = IMAGES[..., :1]
    figure = plot_grad_cam(images, grad_cam(model, IMAGES), titles=["a", "b", "c"],
                           path=tmp_path / "cam.png")
    assert (tmp_path / "cam.png").read_bytes().startswith(b"\x89PNG")
    assert titles(figure) == ["a", "b", "c", ""]
    image, heat = figure.axes[0].images
    assert image.get_extent() == heat.get_extent()  # the small map covers the image
    beside = plot_saliency(images[:2, ..., 0], saliency(model, IMAGES)[:2], titles="xy")
    assert titles(beside) == ["x", "", "y", ""]
    for plot in (plot_grad_cam, plot_saliency):
        with pytest.raises(ValueError, match="expected images of shape"):
            plot(IMAGES, grad_cam(model, IMAGES))  # two channels
        with pytest.raises(ValueError, match="3 images with 2 results"):
            plot(images, grad_cam(model, IMAGES)[:2])


@draws
def test_plot_history():
    curves = {"loss": [3.0, 2.0, 1.0], "val_loss": [3.5, 2.5, 2.0], "accuracy": [0.1, 0.5, 0.9], "val_only": [1, 2, 3]}
    figure = plot_history(curves)
    assert [axis.get_ylabel() for axis in figure.axes] == ["loss", "accuracy", "val_only"]
    assert [line.get_label() for line in figure.axes[0].lines] == ["training", "validation"]
    np.testing.assert_array_equal(figure.axes[0].lines[1].get_ydata(), curves["val_loss"])
    model = keras.Sequential([layers.Dense(1)])
    model.compile("sgd", "mse")
    history = model.fit(np.ones((4, 2)), np.ones((4, 1)), epochs=2, verbose=0)
    assert len(plot_history(history).axes) == 1
    with pytest.raises(ValueError, match="no epoch"):
        plot_history({})


@draws
def test_plot_predictions():
    images = np.random.default_rng(0).integers(0, 256, (3, 5, 5), dtype="uint8")
    scores = np.eye(3)[[2, 0, 1]]
    figure = plot_predictions(images, scores, [2, 1, 1])
    assert titles(figure) == ["2", "0, not 1", "1", ""]
    assert figure.axes[1].title.get_color() == "red" != figure.axes[0].title.get_color()
    named = plot_predictions(images * 1.0, [2, 0, 1], class_names=["cat", "dog", "cow"])
    assert titles(named)[:3] == ["cow", "cat", "dog"]
    with pytest.raises(ValueError, match="expected 3 labels"):
        plot_predictions(images, scores, [1, 2])


@draws
def test_drawing_into_a_part_of_a_figure():
    from matplotlib.figure import Figure

    figure = Figure()
    left, right = figure.subfigures(1, 2)
    assert plot_history({"loss": [1.0, 0.5]}, figure=left) is left
    assert plot_filters(np.ones((2, 3, 3, 1)), figure=right) is right
    assert len(figure.axes) == 3


def test_no_window_and_no_matplotlib_before_it_is_asked_for():
    script = """
import sys
import numpy, pydl
from pydl import inspection
assert "matplotlib" not in sys.modules
if len(sys.argv) > 1:
    inspection.plot_history({"loss": [1.0]})
    inspection.plot_filters(numpy.ones((1, 2, 2, 1)))
    assert "matplotlib.figure" in sys.modules and "matplotlib.pyplot" not in sys.modules
"""
    arguments = ["draw"] if importlib.util.find_spec("matplotlib") else []
    subprocess.run([sys.executable, "-c", script, *arguments], check=True, timeout=120,
                   cwd=PYDL_FOLDER)


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'pydl\[viz\]'"):
        plot_history({"loss": [1.0]})


def test_all_names():
    assert inspection is keras.inspection
    assert set(inspection.__all__) == {name for name in vars(inspection) if callable(getattr(inspection, name))}
