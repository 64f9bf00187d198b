"""Files of a folder with their labels: what data sets of images and of texts share."""

from __future__ import annotations

import os

import numpy as np

from pydl.data.dataset import Dataset, loaded
from pydl.dtypes import holds_floats, holds_numbers

__all__ = ["dataset_from_directory"]


def _files(folder, formats, follow_links) -> list[str]:
    """Paths below `folder` with one of the endings, in alphanumeric order of folder, then of name."""
    walk = sorted(os.walk(folder, followlinks=follow_links))
    return [os.path.join(root, name) for root, _, names in walk for name in sorted(names)
            if name.lower().endswith(formats)]


def _index(directory, labels, class_names, formats, follow_links):
    """(paths, labels or None, class names or None) of a folder, before shuffling."""
    if not os.path.isdir(directory):
        raise NotADirectoryError(f"There is no folder {directory}.")
    if labels != "inferred":
        if class_names is not None:
            raise ValueError(f"`class_names` can only be passed with labels='inferred'; received labels={labels!r},"
                             f" class_names={class_names!r}.")
        paths = _files(directory, formats, follow_links)
        if labels is None:
            return paths, None, None
        if len(labels) != len(paths):
            raise ValueError(f"Expected one label for each of the {len(paths)} files found in {directory}; received"
                             f" {len(labels)} labels.")
        numbers = _numbers(labels)
        return paths, numbers, [str(label) for label in sorted(set(numbers.tolist()))]
    found = sorted(name for name in os.listdir(directory)
                   if os.path.isdir(os.path.join(directory, name)) and not name.startswith("."))
    if class_names is not None and not set(class_names) <= set(found):
        raise ValueError(f"`class_names` did not match the names of the subdirectories of {directory}. Expected:"
                         f" {found} (or a subset of it); received: class_names={class_names}.")
    names = found if class_names is None else list(class_names)
    groups = [_files(os.path.join(directory, name), formats, follow_links) for name in names]
    return ([path for group in groups for path in group],
            np.repeat(np.arange(len(names), dtype="int32"), [len(group) for group in groups]), names)


def _numbers(labels) -> np.ndarray:
    """Labels that were given: int32, or float32 where they are floats."""
    numbers = np.asarray(labels)
    if numbers.ndim != 1 or not holds_numbers(numbers) or not np.isfinite(numbers).all():
        raise ValueError(f"`labels` must be numbers, one for each file; received {str(labels):.200}")
    if holds_floats(numbers):
        return numbers.astype("float32")
    if numbers.size and not -2**31 <= numbers.min() <= numbers.max() < 2**31:
        raise ValueError(f"`labels` of int32 are at most 2^31 - 1; received {numbers.min()} to {numbers.max()}.")
    return numbers.astype("int32")


def _encode(labels, label_mode, classes: int):
    if label_mode in ("binary", "categorical") and holds_floats(labels):
        if (labels % 1).any():
            raise ValueError(f"label_mode={label_mode!r} needs labels that are class numbers; received"
                             f" {labels[labels % 1 != 0][0]}. Floats, for regression, are kept with label_mode='int'.")
        labels = labels.astype("int32")
    if label_mode == "binary":
        return labels.astype("float32")[:, None]
    if label_mode == "categorical":
        if labels.size and not 0 <= labels.min() <= labels.max() < classes:
            raise ValueError(f"label_mode='categorical' needs labels 0 to {classes - 1}; received labels between"
                             f" {labels.min()} and {labels.max()}.")
        return np.eye(classes, dtype="float32")[labels]
    return labels


def _check(labels, label_mode, validation_split, subset, shuffle, seed, batch_size) -> None:
    if labels is not None and not isinstance(labels, (list, tuple)) and not (
            isinstance(labels, str) and labels == "inferred"):
        raise ValueError("`labels` is 'inferred', None, or a list of numbers, one for each file in alphanumeric order."
                         f" Received: labels={labels!r}")
    if label_mode not in ("int", "categorical", "binary", None):
        raise ValueError("`label_mode` must be 'int', 'categorical', 'binary' or None. Received:"
                         f" label_mode={label_mode!r}")
    if validation_split and not 0 < validation_split < 1:
        raise ValueError(f"`validation_split` must be between 0 and 1, received: {validation_split}")
    if bool(validation_split) != bool(subset):
        raise ValueError("If `subset` is set, `validation_split` must be set, and inversely. Received:"
                         f" subset={subset!r}, validation_split={validation_split!r}")
    if subset not in ("training", "validation", "both", None):
        raise ValueError(f"`subset` must be 'training', 'validation' or 'both', received: {subset!r}")
    if validation_split and shuffle and seed is None:
        raise ValueError("If using `validation_split` and shuffling the data, you must provide a `seed`, so that"
                         " training and validation subset do not overlap.")
    if batch_size is not None and (not isinstance(batch_size, (int, np.integer)) or batch_size < 1):
        raise ValueError(f"`batch_size` must be a positive integer or None, received: {batch_size!r}")


def dataset_from_directory(directory, load, formats, what, labels="inferred", label_mode="int", class_names=None,
                           batch_size=32, shuffle=True, seed=None, validation_split=None, subset=None,
                           follow_links=False, verbose=True):
    """One data set of (what `load` makes of the files, labels), or two for subset="both".

    Args:
        load: list of paths -> their batch; called in background threads.
        formats: tuple of endings, in lower case.
        what: "image" or "text", for messages.
        others: as in `image_dataset_from_directory`. With the same seed files come in the same order, and are split
            into the same subsets, as by Keras.

    Returns:
        Dataset with the attributes `class_names` and `file_paths` (in the order before the shuffling of an epoch).
    """
    _check(labels, label_mode, validation_split, subset, shuffle, seed, batch_size)
    labels = None if label_mode is None else labels
    paths, labels, names = _index(directory, labels, class_names, formats, follow_links)
    if label_mode == "binary" and labels is not None and len(names) != 2:
        raise ValueError("When passing `label_mode='binary'`, there must be exactly 2 class names. Received:"
                         f" class_names={names}")
    if verbose:
        print(f"Found {len(paths)} files" + ("." if labels is None else f" belonging to {len(names)} classes."))
    seed = np.random.randint(10**6) if seed is None else seed
    order = np.arange(len(paths))
    if shuffle:
        np.random.RandomState(seed).shuffle(order)
    held_out = int((validation_split or 0) * len(paths))
    border = len(paths) - held_out
    parts = {None: order, "training": order[:border], "validation": order[border:]}
    targets = None if labels is None else _encode(labels, label_mode, len(names))

    def make(part) -> Dataset:
        rows = parts[part]
        if len(rows) == 0:
            raise ValueError(f"No {'' if part is None else part + ' '}{what} files found in {directory}. Allowed"
                             f" formats: {', '.join(formats)}.")
        if verbose and part is not None:
            print(f"Using {len(rows)} files for {part}.")
        chosen = [paths[i] for i in rows]
        dataset = loaded(load, chosen, None if targets is None else targets[rows], batch_size,
                         seed if shuffle and not (subset == "both" and part == "validation") else None)
        dataset.class_names, dataset.file_paths = names, chosen
        return dataset

    return [make("training"), make("validation")] if subset == "both" else make(subset)
