"""The common form of CIFAR-10 and CIFAR-100: a tar archive of pickled batches, read without unpacking it."""

from __future__ import annotations

import os

import numpy as np

from pydl import config
from pydl.datasets import _files
from pydl.datasets._pickles import ArrayUnpickler
from pydl.reading import check_expansion, naming


def load(archive: str, file_hash: str, train_members, test_member: str, label_key: bytes):
    """((x_train, y_train), (x_test, y_test)): uint8 images (N, 32, 32, 3), or (N, 3, 32, 32) where
    `config.image_data_format()` is "channels_first"; uint8 labels (N, 1)."""
    import tarfile

    path = _files.fetch(archive, f"https://www.cs.toronto.edu/~kriz/{archive}", file_hash)
    wanted = [*train_members, test_member]
    images, labels = {}, {}
    with _files.damage(path), tarfile.open(path) as tar:
        for member in tar:  # in the order of the file: seeking back in a compressed file reads it again
            if member.name not in wanted or not member.isfile():
                continue
            check_expansion(member.size, os.path.getsize(path), f"{member.name!r}")
            file = tar.extractfile(member)
            assert file is not None  # of a regular file there is one
            with naming(member.name):
                batch = ArrayUnpickler(file.read(), encoding="bytes").load()
                images[member.name] = np.asarray(batch[b"data"], np.uint8).reshape(-1, 3, 32, 32)
                labels[member.name] = np.asarray(batch[label_key], np.uint8).reshape(-1, 1)
    missing = [name for name in wanted if name not in images]
    if missing:
        raise ValueError(f"{path}: expected the members {wanted}; {missing} are missing.")

    def gather(members):
        x = np.concatenate([images[name] for name in members])
        if config.image_data_format() == "channels_last":
            x = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
        return x, np.concatenate([labels[name] for name in members])

    return gather(train_members), gather([test_member])
