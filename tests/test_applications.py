"""Published architectures: structure, arguments, weights; LeNet-5 in both forms."""

import importlib
import subprocess
import sys

import numpy as np
import pytest

import pydl
from harness import PYDL_FOLDER
from pydl import applications, layers
from pydl.applications import _common, lenet5

SMALL = (32, 32, 3)


@pytest.mark.parametrize("name, count", [
    ("VGG16", 14_714_688), ("VGG19", 20_024_384), ("ResNet50", 23_587_712), ("ResNet50V2", 23_564_800),
    ("MobileNetV2", 2_257_984),
])
def test_parameters_and_features(name, count):
    """The counts that Keras documents; a vector per image with pooling, maps without it."""
    build = getattr(applications, name)
    model = build(weights=None, include_top=False, input_shape=SMALL, pooling="avg")
    assert model.count_params() == count
    maps = build(weights=None, include_top=False)
    assert maps.input_shape == (None, None, None, 3)
    assert maps.output_shape == (None, None, None, model.output_shape[-1])
    y = model.predict(np.random.default_rng(0).normal(size=(2, *SMALL)).astype("float32"), verbose=0)
    assert y.shape == (2, model.output_shape[-1]) and np.isfinite(y).all()


@pytest.mark.slow
def test_larger_resnets():
    for name, convolutions in (("ResNet101", 104), ("ResNet152V2", 155)):
        model = getattr(applications, name)(weights=None, include_top=False, input_shape=SMALL)
        assert sum(isinstance(layer, layers.Conv2D) for layer in model.layers) == convolutions


def test_top():
    model = applications.MobileNetV2(weights=None, alpha=0.35, input_shape=SMALL, classes=7)
    assert model.name == "mobilenetv2_0.35_32" and model.output_shape == (None, 7)
    y = model.predict(np.zeros((1, *SMALL), "float32"), verbose=0)
    np.testing.assert_allclose(y.sum(), 1, rtol=1e-5)
    logits = applications.ResNet50(weights=None, input_shape=SMALL, classes=3, classifier_activation=None)
    assert logits.layers[-1].name == "predictions" and logits.layers[-1].activation is pydl.activations.linear
    assert [layer.name for layer in logits.layers[-2:]] == ["avg_pool", "predictions"]


def test_input_tensor():
    """The model begins where its tensor begins, also behind other layers."""
    image = layers.Input((40, 40, 3), name="image")
    model = applications.VGG16(weights=None, include_top=False, input_tensor=layers.Rescaling(1 / 255)(image))
    assert model.input is image and isinstance(model.layers[1], layers.Rescaling)
    assert model.get_layer("block5_pool").output.shape == (None, 1, 1, 512)
    with pytest.raises(ValueError, match="symbolic tensor"):
        applications.VGG16(weights=None, include_top=False, input_tensor=np.zeros((1, 32, 32, 3)))
    with pytest.raises(ValueError, match="differ"):
        applications.MobileNetV2(weights=None, input_tensor=image, input_shape=(64, 64, 3))


@pytest.mark.parametrize("arguments, message", [
    ({"weights": "no_such_file"}, "'imagenet'.*no_such_file"), ({"classes": 10}, "`classes` should be 1000"),
    ({"weights": None, "input_shape": (16, 16, 3)}, "at least 32x32"),
    ({"weights": None, "include_top": False, "pooling": "sum"}, "pooling='sum'"),
])
def test_wrong_arguments(arguments, message):
    for build in (applications.VGG16, applications.ResNet50, applications.MobileNetV2):
        with pytest.raises(ValueError, match=message):
            build(**arguments)
    with pytest.raises(ValueError, match="alpha=0.6"):
        applications.MobileNetV2(alpha=0.6)


def test_every_module_has_its_helpers():
    for name in ("vgg16", "vgg19", "resnet", "resnet50", "resnet_v2", "mobilenet_v2"):
        module = importlib.import_module(f"pydl.applications.{name}")
        x = module.preprocess_input(np.full((1, 2, 2, 3), 255.0, "float32"))
        expected = [1, 1, 1] if name in ("resnet_v2", "mobilenet_v2") else [151.061, 138.221, 131.32]
        np.testing.assert_allclose(x[0, 0, 0], expected, rtol=1e-5)
        assert callable(module.decode_predictions)


@pytest.mark.parametrize("build, size", [
    (lambda **k: lenet5.LeNet5(**k), (28, 28, 1)), (lambda **k: lenet5.LeNet5(variant="1998", **k), (28, 28, 1)),
    (lambda **k: applications.MobileNetV2(alpha=0.35, include_top=False, pooling="avg", **k), (33, 40, 3)),
    (lambda **k: applications.ResNet50V2(include_top=False, pooling="avg", **k), (32, 40, 3)),
], ids=["modern", "1998", "mobilenet", "resnet"])
def test_channels_first(build, size):
    """The same weights give the same predictions for images whose channels come first."""
    x = np.random.default_rng(2).uniform(size=(2, *size)).astype("float32")
    last = build(weights=None, input_shape=size)
    try:
        pydl.config.set_image_data_format("channels_first")
        first = build(weights=None, input_shape=(size[2], *size[:2]))
        first.set_weights(last.get_weights())
        y = first.predict(np.moveaxis(x, -1, 1), verbose=0)
    finally:
        pydl.config.set_image_data_format("channels_last")
    want = last.predict(x, verbose=0)
    np.testing.assert_allclose(y, want, rtol=1e-4, atol=1e-4 * np.abs(want).max())


# ---- weights -------------------------------------------------------------------------------------------------------


def test_weights_of_imagenet_are_fetched_and_kept(tmp_path, monkeypatch):
    """From where Keras has them; here that is a folder."""
    monkeypatch.setenv("PYDL_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(_common, "STORAGE", (tmp_path / "storage").as_uri() + "/")
    build = {"alpha": 0.35, "include_top": False, "input_shape": (96, 96, 3)}
    with pytest.raises(OSError, match="pass its path as `weights`"):
        applications.MobileNetV2(**build)
    trained = applications.MobileNetV2(weights=None, **build)
    folder = tmp_path / "storage" / "mobilenet_v2"
    folder.mkdir(parents=True)
    trained.save_weights(folder / "x.weights.h5")
    (folder / "x.weights.h5").rename(folder / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_96_no_top.h5")
    loaded = applications.MobileNetV2(**build)
    for a, b in zip(loaded.get_weights(), trained.get_weights()):
        np.testing.assert_array_equal(a, b)
    (tmp_path / "storage").rename(tmp_path / "gone")
    applications.MobileNetV2(**build)  # from the cache


def test_a_damaged_download_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("PYDL_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(_common, "STORAGE", tmp_path.as_uri() + "/")
    (tmp_path / "vgg16").mkdir()
    (tmp_path / "vgg16" / "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5").write_bytes(b"half a file")
    with pytest.raises(ValueError, match="corrupted"):
        applications.VGG16(include_top=False, input_shape=SMALL)


def test_weights_of_another_network(tmp_path):
    """An error that names the place; the model keeps what it had."""
    path = tmp_path / "lenet.weights.h5"
    lenet5.LeNet5(classes=7).save_weights(path)
    model = lenet5.LeNet5()
    before = model.get_weights()
    with pytest.raises(ValueError, match="does not fit"):
        model.load_weights(path)
    for a, b in zip(model.get_weights(), before):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="fit"):
        applications.MobileNetV2(weights=path, alpha=0.35, include_top=False, input_shape=SMALL)


# ---- LeNet-5 -------------------------------------------------------------------------------------------------------


def test_modern_lenet():
    model = lenet5.LeNet5()
    assert model.count_params() == 61_706 and model.output_shape == (None, 10)
    nearer = lenet5.LeNet5(activation="tanh", subsampling="average")
    assert isinstance(nearer.get_layer("pool1"), layers.AveragePooling2D)
    assert nearer.get_layer("conv2").activation is pydl.activations.tanh
    assert lenet5.LeNet5(include_top=False).output_shape == (None, 5, 5, 16)
    assert lenet5.LeNet5(include_top=False, input_shape=(40, 40, 3), pooling="max").output_shape == (None, 16)


def test_published_lenet():
    """The numbers of section II.B."""
    model = lenet5.LeNet5(variant="1998")
    shapes = {name: model.get_layer(name).output.shape[1:] for name in ("C1", "S2", "C3", "S4", "C5", "F6", "output")}
    assert shapes == {"C1": (28, 28, 6), "S2": (14, 14, 6), "C3": (10, 10, 16), "S4": (5, 5, 16), "C5": (1, 1, 120),
                      "F6": (84,), "output": (10,)}
    counts = {name: model.get_layer(name).count_params() for name in shapes}
    assert counts == {"C1": 156, "S2": 12, "C3": 1516, "S4": 32, "C5": 48_120, "F6": 10_164, "output": 840}
    assert sum(v.numpy().size for v in model.trainable_variables) == 60_000
    # pixels: -0.1 for ground, 1.175 for ink, the frame is ground
    pixels = pydl.Model(model.input, model.get_layer("scale").output)
    x = pixels.predict(lenet5.preprocess_input(np.full((1, 28, 28), 255)), verbose=0)[0, ..., 0]
    assert x.shape == (32, 32)
    np.testing.assert_allclose([x[0, 0], x[1, 30], x[2, 2], x[29, 29]], [-0.1, -0.1, 1.175, 1.175], rtol=1e-5)


def test_table_of_connections():
    """Table I, column by column."""
    columns = ["012", "123", "234", "345", "045", "015", "0123", "1234", "2345", "0345", "0145", "0125", "0134",
               "1245", "0235", "012345"]
    assert ["".join(map(str, sorted(maps))) for maps in lenet5.C3_TABLE] == columns


def test_digit_bitmaps():
    bitmaps = lenet5.digit_bitmaps()
    assert bitmaps.shape == (10, 84) and set(np.unique(bitmaps)) == {-1, 1}
    distances = ((bitmaps[:, None] - bitmaps) ** 2).sum(-1)
    assert distances[~np.eye(10, dtype=bool)].min() >= 24  # every two differ in six pixels or more
    assert bitmaps[1].reshape(12, 7)[5].tolist() == [-1, -1, -1, 1, -1, -1, -1]


@pytest.mark.parametrize("arguments, message", [
    ({"variant": "1989"}, "1989"), ({"variant": "1998", "classes": 5}, "ten digits"),
    ({"variant": "1998", "input_shape": (40, 40, 1)}, "28 x 28"), ({"weights": "imagenet"}, "'mnist'"),
    ({"weights": "mnist", "classes": 5}, "`classes` should be 10"), ({"subsampling": "sum"}, "'average'"),
    ({"weights": "mnist", "activation": "tanh"}, "activation='tanh'"),
    ({"weights": "mnist", "input_shape": (32, 32, 1)}, "input_shape"),
])
def test_wrong_arguments_of_lenet(arguments, message):
    with pytest.raises(ValueError, match=message):
        lenet5.LeNet5(**arguments)


def test_map_criterion():
    """Equation 9 in NumPy; class numbers in either shape."""
    rng = np.random.default_rng(3)
    distances, labels, j = rng.uniform(0, 30, (6, 10)), rng.integers(0, 10, 6), 4.0
    right = distances[np.arange(6), labels]
    expected = (right + np.log(np.exp(-j) + np.exp(-distances).sum(1))).mean()
    loss = lenet5.MAPCriterion(rubbish=j)
    for y in (labels, labels[:, None]):
        np.testing.assert_allclose(loss(y, (-distances).astype("float32")), expected, rtol=1e-5)
    assert lenet5.MAPCriterion.from_config(loss.get_config()).rubbish == j
    with pytest.raises(ValueError, match="rubbish=0"):
        lenet5.MAPCriterion(rubbish=0)


def test_layers_refuse_wrong_arguments():
    with pytest.raises(ValueError, match="table names input map 5; the input has 3"):
        layers.SparseTableConv2D([[0, 5]], 3).build((None, 8, 8, 3))
    for wrong in ({"table": [[0, 0]], "kernel_size": 3}, {"table": [[]], "kernel_size": 3},
                  {"table": [[0]], "kernel_size": 0}):
        with pytest.raises(ValueError, match="Received"):
            layers.SparseTableConv2D(**wrong)
    with pytest.raises(ValueError, match="pool_size=0"):
        layers.SubSampling2D(0)
    with pytest.raises(ValueError, match="10 points of 84"):
        lenet5.LeNet5(variant="1998").get_layer("output").initializer((10, 80))


@pytest.mark.parametrize("variant", ["modern", "1998"])
def test_lenet_learns_and_is_saved(variant, tmp_path):
    """Training moves what is trained and not the drawn digits; a fresh process continues from the file."""
    pydl.utils.set_random_seed(1)
    (x, y), (x_test, y_test) = pydl.datasets.digits.load_data()
    model = lenet5.LeNet5(variant=variant)
    loss = "sparse_categorical_crossentropy" if variant == "modern" else lenet5.MAPCriterion()
    model.compile(pydl.optimizers.Adam(2e-3), loss, metrics=["accuracy"])
    model.fit(lenet5.preprocess_input(x), y, batch_size=32, verbose=0)
    x_test = lenet5.preprocess_input(x_test)
    _, accuracy = model.evaluate(x_test, y_test, verbose=0)
    assert accuracy > 0.85
    if variant == "1998":
        np.testing.assert_array_equal(model.get_layer("output").get_weights()[0], lenet5.digit_bitmaps())
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "y.npy", model.predict(x_test[:50], verbose=0))
    np.save(tmp_path / "x.npy", x_test[:50])
    code = f"""
import numpy as np, pydl
model = pydl.saving.load_model({str(tmp_path / "model.keras")!r})
x, y = np.load({str(tmp_path / "x.npy")!r}), np.load({str(tmp_path / "y.npy")!r})
np.testing.assert_array_equal(model.predict(x, verbose=0), y)
model.fit(x, y.argmax(1), verbose=0)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PYDL_FOLDER)


@pytest.mark.parametrize("variant, least", [("modern", 0.985), ("1998", 0.985)])
def test_shipped_weights(variant, least):
    """On the 2,000 shipped test digits; README.md beside the files has the accuracy on all of MNIST."""
    _, (x, y) = pydl.datasets.digits.load_data()
    x = lenet5.preprocess_input(x)
    model = lenet5.LeNet5(weights="mnist", variant=variant)
    assert (model.predict(x, verbose=0).argmax(1) == y).mean() >= least
    features = lenet5.LeNet5(include_top=False, weights="mnist", variant=variant)
    inner = pydl.Model(model.input, model.get_layer("pool2" if variant == "modern" else "S4").output)
    np.testing.assert_array_equal(features.predict(x[:9], verbose=0), inner.predict(x[:9], verbose=0))
