"""Boston housing: 506 districts of the 1970s, 13 features, median house price (Harrison and Rubinfeld, 1978).

One feature was built by its authors from the share of Black residents; use the data to compare methods with the
literature, not to learn about houses.
"""

from __future__ import annotations

from pydl.datasets import _files


def load_data(path="boston_housing.npz", test_split=0.2, seed=113):
    """The districts as arrays; the file comes from PYDL_HOME/datasets or is downloaded there.

    Args:
        path: name of the file below PYDL_HOME, or an absolute path.
        test_split: fraction for testing, in [0, 1).
        seed: of the order.

    Returns:
        ((x_train, y_train), (x_test, y_test)): float64 features (N, 13), prices (N,) in 1,000 dollars.

    Raises:
        OSError: without the file and without a network; says what to do.
        ValueError: for a wrong `test_split`, or when the file is damaged.
    """
    return _files.load_table(path, "boston_housing.npz",
                             "f553886a1f8d56431e820c5b82552d9d95cfcb96d1e678153f8839538947dff5", test_split, seed)
