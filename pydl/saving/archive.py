"""Zip archives as data: checked as a whole before a member is read.

Names stay below the archive, are there once and belong to files; sizes may not be much larger than what is stored
(`reading.check_expansion`); members are stored or deflated, methods that take no memory of a size that the file says.
`zipfile` brings three compression libraries, and is loaded at the first archive.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from pydl.reading import check_expansion

if TYPE_CHECKING:
    import zipfile

SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06")  # of the first member, of an archive without members


def is_archive(path) -> bool:
    """Whether a file ends as a zip archive does."""
    from zipfile import is_zipfile

    return is_zipfile(path)


def new_archive(file) -> zipfile.ZipFile:
    """An archive that is written to an open file."""
    from zipfile import ZipFile

    return ZipFile(file, "w")


@contextlib.contextmanager
def open_archive(path):
    """Context: the `zipfile.ZipFile` of a path. Raises ValueError for names, links, methods and sizes as above."""
    from zipfile import ZipFile

    with ZipFile(path) as archive:
        _check(archive, os.path.getsize(path))
        yield archive


def _check(archive: zipfile.ZipFile, size: int) -> None:
    from zipfile import ZIP_DEFLATED, ZIP_STORED

    seen: set[str] = set()
    for member in archive.infolist():
        name = member.filename
        if name in seen:
            raise ValueError(f"it has two members called {name!r}.")
        seen.add(name)
        parts = PurePosixPath(name).parts
        if not parts or parts[0] == "/" or ".." in parts or "\\" in name or ":" in parts[0]:
            raise ValueError(f"the name {name!r} leads out of it.")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise ValueError(f"{name!r} is a link.")
        if member.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
            raise ValueError(f"{name!r} is compressed by method {member.compress_type}; expected stored or deflated.")
        if member.flag_bits & 1:
            raise ValueError(f"{name!r} is encrypted.")
        check_expansion(member.file_size, member.compress_size, f"{name!r}")
    stored = sum(member.compress_size for member in archive.infolist())
    if stored > size:
        raise ValueError(f"its members are declared as {stored} bytes; the file has {size}.")
