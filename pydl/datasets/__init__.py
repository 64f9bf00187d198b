"""Data sets under Keras's names, and `digits`, which ships inside the package.

`load_data` looks for files below PYDL_HOME (default ~/.pydl) first and downloads what is missing into
PYDL_HOME/datasets.
"""

from pydl.datasets import (
    boston_housing,
    california_housing,
    cifar10,
    cifar100,
    digits,
    fashion_mnist,
    imdb,
    mnist,
    reuters,
)

__all__ = ["boston_housing", "california_housing", "cifar10", "cifar100", "digits", "fashion_mnist", "imdb", "mnist",
           "reuters"]
