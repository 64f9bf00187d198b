"""Images and folders against Keras: the same pixels, the same files in the same order."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np
import pytest

keras = pytest.importorskip("keras")
Image = pytest.importorskip("PIL.Image")

from keras.src.utils import dataset_utils  # noqa: E402

import pydl  # noqa: E402
from pydl.applications import imagenet_utils  # noqa: E402

pytestmark = pytest.mark.reference
rng = np.random.default_rng(6)


@pytest.fixture
def folder(tmp_path):
    for name in ("b", "a", "c.d"):
        (tmp_path / name / "z" / "y").mkdir(parents=True)
        for i, below in enumerate((".", "z", "z/y", ".")):
            pixels = rng.integers(0, 256, (rng.integers(4, 30), rng.integers(4, 30), 3)).astype("uint8")
            Image.fromarray(pixels).save(tmp_path / name / below / f"{i}.PNG")
    return tmp_path


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize("aspect", [{}, {"crop_to_aspect_ratio": True}, {"pad_to_aspect_ratio": True}])
def test_pixels(folder, interpolation, aspect):
    data = pydl.utils.image_dataset_from_directory(folder, batch_size=None, image_size=(9, 13), shuffle=False,
                                                   interpolation=interpolation, verbose=False, **aspect)
    for path, (x, _) in zip(data.file_paths, data):
        image = np.asarray(Image.open(path)).astype("float32")
        if "crop_to_aspect_ratio" in aspect:
            want = keras.preprocessing.image.smart_resize(image, (9, 13), interpolation)
        else:
            want = keras.ops.image.resize(image, (9, 13), interpolation, pad_to_aspect_ratio=bool(aspect))
        np.testing.assert_allclose(x, keras.ops.convert_to_numpy(want), atol=2e-2, err_msg=path)


@pytest.mark.parametrize("shuffle", [False, True])
def test_files(folder, shuffle):
    paths, labels, names = dataset_utils.index_directory(str(folder), "inferred", (".png",), shuffle=shuffle, seed=5,
                                                         verbose=False)
    for subset in ("training", "validation"):
        want, want_labels = dataset_utils.get_training_or_validation_split(paths, labels, 0.3, subset)
        data = pydl.utils.image_dataset_from_directory(folder, shuffle=shuffle, seed=5, validation_split=0.3,
                                                       subset=subset, verbose=False, batch_size=None)
        assert [os.path.normpath(p) for p in data.file_paths] == [os.path.normpath(p) for p in want]
        assert data.class_names == names
        if not shuffle:
            assert [int(y) for _, y in data] == list(want_labels)


@pytest.mark.parametrize("color_mode", ["rgb", "rgba", "grayscale"])
@pytest.mark.parametrize("keep_aspect_ratio", [False, True])
def test_single_images(folder, tmp_path, color_mode, keep_aspect_ratio):
    found = [library.utils.img_to_array(library.utils.load_img(
        folder / "a" / "0.PNG", color_mode, (7, 11), "bilinear", keep_aspect_ratio)) for library in (keras, pydl)]
    np.testing.assert_array_equal(*found)
    found = [np.asarray(library.utils.array_to_img(found[0] / 3)) for library in (keras, pydl)]
    assert abs(found[0].astype(int) - found[1]).max() <= 1  # 255 * (x / max) and x * (255 / max) round apart


@pytest.mark.parametrize("mode", ["caffe", "tf", "torch"])
def test_preprocess_input(mode):
    x = rng.uniform(0, 255, (2, 3, 4, 3)).astype("float32")
    np.testing.assert_allclose(imagenet_utils.preprocess_input(x, mode=mode),
                               keras.applications.imagenet_utils.preprocess_input(x.copy(), mode=mode), atol=1e-4)
