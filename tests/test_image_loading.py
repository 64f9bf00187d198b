"""Images: files, arrays, folders as data sets, and the scaling of ImageNet's models."""

import io
import json
import sys

import numpy as np
import pytest

import pydl as keras
from pydl.applications import imagenet_utils

Image = pytest.importorskip("PIL.Image")

rng = np.random.default_rng(3)


def picture(height=6, width=8, channels=3):
    return rng.integers(0, 256, (height, width, channels) if channels > 1 else (height, width)).astype("uint8")


# ---- one image ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_arrays_survive_a_file(tmp_path, data_format, channels):
    x = rng.integers(0, 256, (5, 7, channels)).astype("float32")
    x = x if data_format == "channels_last" else x.transpose(2, 0, 1)
    keras.utils.save_img(tmp_path / "x.png", x, data_format=data_format, scale=False)
    mode = {1: "grayscale", 3: "rgb", 4: "rgba"}[channels]
    again = keras.utils.img_to_array(keras.utils.load_img(tmp_path / "x.png", color_mode=mode), data_format)
    np.testing.assert_array_equal(again, x)
    assert again.dtype == "float32"


def test_scaling_and_modes(tmp_path):
    scaled = np.asarray(keras.utils.array_to_img(np.linspace(-1, 1, 12).reshape(2, 2, 3)))
    assert (scaled.min(), scaled.max(), scaled.dtype) == (0, 255, "uint8")
    assert np.asarray(keras.utils.array_to_img(np.full((2, 2, 1), 7.0))).max() == 0
    wide = keras.utils.array_to_img(np.full((2, 2, 1), 300.0), scale=False)
    assert wide.mode == "I" and keras.utils.img_to_array(wide).max() == 300
    with pytest.warns(UserWarning, match="RGBA"):
        keras.utils.save_img(tmp_path / "x.jpg", np.zeros((2, 2, 4)))
    assert keras.utils.load_img(tmp_path / "x.jpg").mode == "RGB"
    for wrong in (np.zeros((2, 2)), np.zeros((2, 2, 2))):
        with pytest.raises(ValueError, match="array_to_img"):
            keras.utils.array_to_img(wrong)
    with pytest.raises(ValueError, match="img_to_array"):
        keras.utils.img_to_array(np.zeros(3))
    with pytest.raises(ValueError, match="data_format"):
        keras.utils.img_to_array(np.zeros((2, 2)), data_format="last")


def test_load_img(tmp_path):
    pixels = picture(6, 9)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    load = keras.preprocessing.image.load_img
    np.testing.assert_array_equal(np.asarray(load(tmp_path / "x.png", target_size=(6, 9))), pixels)
    np.testing.assert_array_equal(np.asarray(load(io.BytesIO((tmp_path / "x.png").read_bytes()))), pixels)
    assert load(str(tmp_path / "x.png"), target_size=(4, 5), interpolation="bilinear").size == (5, 4)
    square = load(tmp_path / "x.png", target_size=(6, 6), keep_aspect_ratio=True)
    np.testing.assert_array_equal(np.asarray(square), pixels[:, 1:7])
    assert load(tmp_path / "x.png", color_mode="grayscale").mode == "L"
    with pytest.raises(ValueError, match="color_mode"):
        load(tmp_path / "x.png", color_mode="hsv")
    with pytest.raises(ValueError, match="cubist"):
        load(tmp_path / "x.png", interpolation="cubist")
    with pytest.raises(TypeError, match="path"):
        load(3)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none.png")
    (tmp_path / "broken.png").write_bytes((tmp_path / "x.png").read_bytes()[:50])
    with pytest.raises(ValueError, match="broken.png"):
        load(tmp_path / "broken.png")


def files_of_all_kinds():
    """(name, bytes, what they are in 8 bits: (1, 3) or (1, 3, 4)), or None for what has no agreed range."""
    deep = np.array([[0, 255, 65535]], "uint16")

    def encoded(image, format, **options):
        buffer = io.BytesIO()
        image.save(buffer, format, **options)
        return buffer.getvalue()

    turned = Image.Exif()
    turned[0x0112] = 6  # the camera was on its side
    colours = Image.frombytes("P", (3, 1), bytes([0, 1, 2]))
    colours.putpalette([10, 20, 30, 200, 100, 50, 0, 0, 255])
    clear = np.array([[[1, 2, 3, 0], [4, 5, 6, 7], [8, 9, 10, 255]]], "uint8")
    gray = Image.frombytes("L", (3, 1), bytes([7, 8, 9]))
    return [
        ("deep.png", encoded(Image.fromarray(deep), "PNG"), [[0, 0, 255]]),
        ("deep.tiff", encoded(Image.fromarray(deep), "TIFF"), [[0, 0, 255]]),
        ("big.tiff", encoded(Image.frombytes("I;16B", (3, 1), deep.astype(">u2").tobytes()), "TIFF"), [[0, 0, 255]]),
        ("deep.pgm", b"P5 3 1 65535\n" + deep.astype(">u2").tobytes(), [[0, 0, 255]]),
        ("bits.png", encoded(Image.fromarray(np.array([[False, True, True]])), "PNG"), [[0, 255, 255]]),
        ("gray.png", encoded(gray, "PNG", exif=turned), [[7, 8, 9]]),
        ("alpha.png", encoded(Image.merge("LA", (gray, Image.new("L", (3, 1), 9))), "PNG"),
         np.stack([*[[[7, 8, 9]]] * 3, [[9, 9, 9]]], -1)),
        ("palette.png", encoded(colours, "PNG", transparency=1),
         [[[10, 20, 30, 255], [200, 100, 50, 0], [0, 0, 255, 255]]]),
        ("colour.png", encoded(Image.fromarray(clear), "PNG"), clear),
        ("cmyk.tiff", encoded(Image.new("CMYK", (3, 1), (255, 0, 0, 0)), "TIFF"), [[[0, 255, 255, 255]] * 3]),
        ("int.tiff", encoded(Image.fromarray(deep.astype("int32")), "TIFF"), None),
        ("float.tiff", encoded(Image.fromarray(np.float32([[0, 0.5, 300]])), "TIFF"), None),
    ]


@pytest.mark.parametrize("name, content, want", files_of_all_kinds(), ids=[row[0] for row in files_of_all_kinds()])
def test_one_rule_for_all_loaders(name, content, want, tmp_path):
    path = tmp_path / f"{name}.png"  # the first bytes say the format
    path.write_bytes(content)

    def of_folder(mode):
        data = keras.utils.image_dataset_from_directory(tmp_path, labels=None, color_mode=mode, image_size=(1, 3),
                                                        verbose=False)
        return next(iter(data)).numpy()[0]

    def of_file(mode):
        return keras.utils.img_to_array(keras.utils.load_img(path, color_mode=mode))

    if want is None:
        for load in (of_folder, of_file):
            with pytest.raises(ValueError, match=f"{name}.*32 bits.*'grayscale'"):
                load("rgb")
        with pytest.raises(ValueError, match="32 bits"):
            of_folder("grayscale")
        assert of_file("grayscale").max() in (65535, 300)
        return
    want = np.asarray(want)
    rgba = want if want.ndim == 3 else np.stack([*[want] * 3, np.full_like(want, 255)], -1)
    luma = rgba[..., :3] @ [0.299, 0.587, 0.114]  # ITU-R 601, rounded by Pillow
    for load in (of_folder, of_file):
        np.testing.assert_array_equal(load("rgb"), rgba[..., :3])
        np.testing.assert_array_equal(load("rgba"), rgba)
        if load is of_file and ("deep" in name or "big" in name):
            np.testing.assert_array_equal(load("grayscale")[..., 0], [[0, 255, 65535]])
        else:
            np.testing.assert_allclose(load("grayscale")[..., 0], luma, atol=0.6)


def test_sizes_of_an_image(tmp_path):
    Image.fromarray(picture(6, 9)).save(tmp_path / "x.png")
    assert keras.utils.load_img(tmp_path / "x.png", target_size=4).size == (4, 4)
    assert keras.utils.load_img(tmp_path / "x.png", target_size=np.array([4, 5])).size == (5, 4)
    for wrong in (0, (4,), (4, 5, 3), (4.5, 3), "44", (4, -1)):
        with pytest.raises(ValueError, match="`target_size` must be two positive integers"):
            keras.utils.load_img(tmp_path / "x.png", target_size=wrong)


def test_without_pillow(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match="pip install pillow"):
        keras.utils.load_img(tmp_path / "x.png")


# ---- ImageNet ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4, 5, 3), (2, 4, 5, 3)])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("mode", ["caffe", "tf", "torch"])
def test_preprocess_input(shape, data_format, mode):
    x = rng.uniform(0, 255, shape)
    want = {"caffe": x[..., ::-1] - [103.939, 116.779, 123.68], "tf": x / 127.5 - 1,
            "torch": (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]}[mode]
    if data_format == "channels_first":
        x, want = np.moveaxis(x, -1, -3), np.moveaxis(want, -1, -3)
    before = x.copy()
    np.testing.assert_allclose(imagenet_utils.preprocess_input(x, data_format, mode), want, atol=1e-12)
    np.testing.assert_array_equal(x, before)
    tensor = imagenet_utils.preprocess_input(keras.ops.convert_to_tensor(x, "float32"), data_format, mode)
    np.testing.assert_allclose(tensor, want, atol=1e-4)
    inside = keras.Input(x.shape[1:], batch_size=x.shape[0], dtype="uint8")
    model = keras.Model(inside, imagenet_utils.preprocess_input(inside, data_format, mode))
    bytes_ = x.astype("uint8")
    np.testing.assert_allclose(model(bytes_), imagenet_utils.preprocess_input(bytes_, data_format, mode), atol=1e-4)


def test_preprocess_input_refuses():
    for arguments in ({"mode": "keras"}, {"data_format": "last"}):
        with pytest.raises(ValueError, match=next(iter(arguments))):
            imagenet_utils.preprocess_input(np.zeros((2, 2, 3)), **arguments)
    with pytest.raises(ValueError, match="3 channels"):
        imagenet_utils.preprocess_input(np.zeros((2, 2, 1)))
    with pytest.raises(ValueError, match="shape"):
        imagenet_utils.preprocess_input(np.zeros((2, 3)))


def test_decode_predictions(tmp_path, monkeypatch):
    path = tmp_path / "imagenet_class_index.json"
    path.write_text(json.dumps({str(i): [f"n{i:08d}", f"class {i}"] for i in range(1000)}))
    preds = np.zeros((2, 1000), "float32")
    preds[0, [3, 5]] = 0.3, 0.7
    preds[1, 999] = 1.0
    first, second = imagenet_utils.decode_predictions(preds, top=2, class_index=path)
    assert first == [("n00000005", "class 5", np.float32(0.7)), ("n00000003", "class 3", np.float32(0.3))]
    assert second[0][1] == "class 999" and len(second) == 2
    with pytest.raises(ValueError, match=r"\(2, 10\)"):
        imagenet_utils.decode_predictions(preds[:, :10])
    (tmp_path / "wrong.json").write_text("[]")
    with pytest.raises(ValueError, match="wrong.json"):
        imagenet_utils.decode_predictions(preds, class_index=tmp_path / "wrong.json")
    monkeypatch.setenv("PYDL_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(imagenet_utils, "_CLASS_INDEX", f"file://{tmp_path}/none.json")
    with pytest.raises(OSError, match="class_index"):
        imagenet_utils.decode_predictions(preds)


def test_arguments_of_the_models():
    shape = imagenet_utils.obtain_input_shape
    assert shape(None, 224, 32, "channels_last", True) == (224, 224, 3)
    assert shape(None, 224, 32, "channels_first", False) == (3, None, None)
    assert shape((64, 48, 3), 224, 32, "channels_last", True) == (64, 48, 3)
    for wrong, weights, match in (((3, 3), None, "three"), ((16, 64, 3), None, "at least 32"),
                                  ((None, None, 3), None, "fixed"), ((64, 64, 3), "imagenet", "224"),
                                  ((224, 224, 1), "imagenet", "3 input channels")):
        with pytest.raises(ValueError, match=match):
            shape(wrong, 224, 32, "channels_last", True, weights)
    with pytest.warns(UserWarning, match="1 or 3"):
        shape((64, 64, 5), 224, 32, "channels_last", True)
    imagenet_utils.validate_activation("softmax", "imagenet")
    imagenet_utils.validate_activation("relu", None)
    with pytest.raises(ValueError, match="relu"):
        imagenet_utils.validate_activation("relu", "imagenet")
