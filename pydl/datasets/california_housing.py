"""California housing: 20,640 block groups of the 1990 census, 8 features, median house value (Pace and Barry, 1997)."""

from __future__ import annotations

from pydl.datasets import _files


def load_data(version="large", path="california_housing.npz", test_split=0.2, seed=113):
    """The block groups as arrays; the file comes from PYDL_HOME/datasets or is downloaded there.

    Args:
        version: "large" for all, "small" for the first 600.
        path: name of the file below PYDL_HOME, or an absolute path.
        test_split: fraction for testing, in [0, 1).
        seed: of the order.

    Returns:
        ((x_train, y_train), (x_test, y_test)): float32 features (N, 8), values (N,) in dollars.

    Raises:
        OSError: without the file and without a network; says what to do.
        ValueError: for a wrong `version` or `test_split`, or when the file is damaged.
    """
    if version not in ("large", "small"):
        raise ValueError(f"california_housing: expected `version` 'large' or 'small'; received {version!r}.")
    return _files.load_table(path, "california_housing.npz",
                             "1a2e3a52e0398de6463aebe6f4a8da34fb21fbb6b934cf88c3425e766f2a1a6f", test_split, seed,
                             count=600 if version == "small" else None)
