"""Folders of texts as data sets."""

from __future__ import annotations

import numpy as np

from pydl.data.directory import dataset_from_directory

__all__ = ["text_dataset_from_directory"]


def text_dataset_from_directory(directory, labels="inferred", label_mode="int", class_names=None, batch_size=32,
                                max_length=None, shuffle=True, seed=None, validation_split=None, subset=None,
                                follow_links=False, format="tf", verbose=True):
    """Batches of the texts (.txt, UTF-8) of a folder, read in threads ahead of their use.

    Args:
        max_length: longest text, in bytes of UTF-8 as in Keras; the rest of the file is left out.
        others: as in `image_dataset_from_directory`.

    Returns:
        `Dataset` of texts, or of (texts, labels), texts as NumPy arrays of strings. It has `class_names`,
        `file_paths`, `len()`.

    Raises:
        ValueError: for wrong arguments or a folder without texts; while reading, for a file that is not UTF-8.
        NotADirectoryError: when there is no such folder.
    """
    if max_length is not None and (not isinstance(max_length, (int, np.integer)) or max_length < 1):
        raise ValueError(f"`max_length` must be a positive integer or None. Received: max_length={max_length!r}")

    def read(path):
        with open(path, "rb") as file:
            content = file.read()
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is not a text in UTF-8: {error}") from error
        # A character that the limit would cut in two is left out.
        return text if max_length is None else content[:max_length].decode("utf-8", "ignore")

    return dataset_from_directory(directory, lambda paths: np.array([read(path) for path in paths], object), (".txt",),
                                  "text", labels, label_mode, class_names, batch_size, shuffle, seed, validation_split,
                                  subset, follow_links, verbose)
