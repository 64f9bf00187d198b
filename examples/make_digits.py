"""Makes pydl/datasets/data/digits.xz, the digits that ship inside the package, from the four MNIST files.

    python examples/make_digits.py FOLDER_WITH_IDX_GZ [OUTPUT]

Training digits come from MNIST's training files and test digits from its test files, 800 and 200 of each class. They
are spread evenly over each file: the first half of the test file is cleaner than the second, and a subset of only one
half would not measure what MNIST measures.

The file is one xz stream: 10,000 images of 28 x 28 bytes, training images first, then 10,000 labels of one byte.
Measured for 10,000 images: LZMA over plain rows 1.37 MB; transposed rows 1.39 MB; nibble planes 1.72 MB.
"""

import lzma
import sys
from pathlib import Path

import numpy as np

from pydl.datasets._files import read_idx

TRAIN_PER_CLASS = 800
TEST_PER_CLASS = 200
FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 4, "lp": 0, "pb": 0}]


def evenly_spread(labels, per_class):
    """Positions of `per_class` examples of every class, in the order of the file."""
    classes = [np.flatnonzero(labels == digit) for digit in range(10)]
    return np.sort(np.concatenate([c[np.linspace(0, len(c) - 1, per_class).astype(int)] for c in classes]))


def main(folder, output):
    images, labels = [], []
    for part, per_class in (("train", TRAIN_PER_CLASS), ("t10k", TEST_PER_CLASS)):
        x = read_idx(folder / f"{part}-images-idx3-ubyte.gz")
        y = read_idx(folder / f"{part}-labels-idx1-ubyte.gz")
        chosen = evenly_spread(y, per_class)
        images.append(x[chosen].tobytes())
        labels.append(y[chosen].tobytes())
    packed = lzma.compress(b"".join(images + labels), filters=FILTERS)
    output.write_bytes(packed)
    print(f"{output}: {len(packed):,} bytes")


if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    default = here.parent / "pydl" / "datasets" / "data" / "digits.xz"
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else default)
