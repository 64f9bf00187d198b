"""HDF5 files as data: what of them is read, and how much.

HDF5 can point into other files (external links, external storage, virtual data sets), load filters from libraries,
and declare data sets of any size that take no room. Weights need none of this, so all of it is refused: hard links to
data sets of numbers, as they lie or deflated, whose size goes with the bytes that are there.
"""

from __future__ import annotations

import functools
import io
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pydl.dtypes import NAMES
from pydl.reading import check_expansion

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_FILTERS = {1: "deflate", 2: "shuffle", 3: "fletcher32"}
_FREE = 2**20  # elements that a data set may have however small the model


@functools.cache
def h5py():
    """The package, which is loaded at the first file. Raises ImportError with what to install."""
    try:
        import h5py
    except ImportError as error:
        raise ImportError("Saving and loading weights needs the package h5py: `pip install h5py`.") from error
    return h5py


def open_hdf5(source, what):
    """An open file for reading. Raises ValueError when it is none; `what` it is, for the message.

    Args:
        source: path, or an io.BytesIO. HDF5 would look for a file inside of it, at 512 bytes, 1024, ...; the first
            bytes decide here.
    """
    if isinstance(source, io.BytesIO):
        first = source.getvalue()[:16]
    else:
        with open(source, "rb") as file:
            first = file.read(16)
    if first[:8] != SIGNATURE:
        raise ValueError(f"{what} is not an HDF5 file: it starts with {first[:8]!r}.")
    # Of addresses and lengths; `check_heaps` relies on them.
    sizes = first[13:15] if first[8:9] < b"\2" else first[9:11]
    if sizes != b"\x08\x08":
        raise ValueError(f"{what} is not an HDF5 file of 64 bits: its addresses and lengths have {list(sizes)} bytes.")
    try:
        return h5py().File(source, "r")
    except (OSError, RuntimeError) as error:
        raise ValueError(f"{what} is not an HDF5 file: {error}") from error


def check_heaps(source) -> None:
    """Raises ValueError for heaps, from which texts of any length are read, with a gap of no size: the library would
    look for the end of the heap for ever. To be called before attributes are read.

    Args:
        source: as in `open_hdf5`.
    """
    content = source.getvalue() if isinstance(source, io.BytesIO) else Path(source).read_bytes()
    seen: set[int] = set()
    heap = content.find(b"GCOL")
    while heap >= 0:
        end = min(heap + int.from_bytes(content[heap + 8 : heap + 16], "little"), len(content))
        at = heap + 16
        while at + 16 <= end and at not in seen:
            seen.add(at)
            number, size = struct.unpack_from("<H6xQ", content, at)
            if number == size == 0:
                raise ValueError(f"the heap at byte {heap} is damaged: it has a gap of no size at byte {at}.")
            at += 16 + (size + 7) // 8 * 8 if number else size
        heap = content.find(b"GCOL", heap + 1)


def member(group, path):
    """The group or data set at a path below `group`, None where there is nothing. Raises ValueError for a link."""
    package = h5py()
    for part in filter(None, path.split("/")):
        if not isinstance(group, package.Group) or part == "." or not group.id.links.exists(part.encode()):
            return None
        kind = group.id.links.get_info(part.encode()).type
        if kind != package.h5l.TYPE_HARD:
            raise ValueError(f"'{group.name}' holds {part!r} as a link to what is not in the file or lies"
                             " elsewhere in it; links are not followed.")
        group = group[part]
    return group


def subgroup(group, path):
    """As `member`, None for what is no group."""
    found = member(group, path)
    return found if isinstance(found, h5py().Group) else None


def array_at(group, path):
    """The data set of numbers at a path, not read yet.

    Raises:
        ValueError: where there is none, or one that is not in the file, or that is larger than its bytes allow.
    """
    data = member(group, path)
    where = f"'{group.name}/{path}'"
    if not isinstance(data, h5py().Dataset) or data.external or data.is_virtual:
        raise ValueError(f"{where} is no array, or not in the file.")
    if data.dtype.newbyteorder("=") not in NAMES:
        raise ValueError(f"{where} holds {data.dtype}; expected numbers.")
    if data.shape is None:
        raise ValueError(f"{where} has no value.")
    size, stored = data.size * data.dtype.itemsize, data.id.get_storage_size()
    if stored > data.file.id.get_filesize() or (size and not stored):
        raise ValueError(f"{where} of shape {data.shape} is not in the file.")
    check_expansion(size, stored, f"{where} of shape {data.shape}")
    if data.chunks is not None:
        _check_chunks(data, where)
    return data


def _check_chunks(data, where) -> None:
    """Chunks say how large they are, and HDF5 inflates one to whatever comes out of it."""
    plist = data.id.get_create_plist()
    filters = [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]
    unknown = [number for number in filters if number not in _FILTERS]
    if unknown:
        raise ValueError(f"{where} went through the filters {unknown}; expected {', '.join(_FILTERS.values())}.")
    size = int(np.prod(data.chunks, dtype=object)) * data.dtype.itemsize
    check_expansion(size, data.id.get_storage_size(), f"a chunk of {where}")
    for i in range(data.id.get_num_chunks() if 1 in filters else 0):
        info = data.id.get_chunk_info(i)
        skipped, packed = data.id.read_direct_chunk(info.chunk_offset)
        if not skipped >> filters.index(1) & 1:
            inflated = zlib.decompressobj().decompress(packed, size + 1)
            if len(inflated) > size:
                raise ValueError(f"a chunk of {where} inflates to more than the {size} bytes of its shape.")


def attribute(holder, name):
    """The value of an attribute, None where there is none. `check_heaps` comes before.

    Raises:
        ValueError: for one that is larger than the file.
    """
    if name not in holder.attrs:
        return None
    declared = holder.attrs.get_id(name)
    size = int(np.prod(declared.shape, dtype=object)) * max(declared.dtype.itemsize, 1)
    if size > holder.file.id.get_filesize():
        raise ValueError(f"the attribute {name!r} of '{holder.name}' is declared as {size} bytes, more than the file.")
    return holder.attrs[name]


class Store(Mapping):
    """The arrays in a group by name, read when they are asked for: what `load_own_variables` gets.

    Args:
        group: of an open file, or None for no arrays.
        expected: how many elements the variables that wait for them have, where that is known.
    """

    def __init__(self, group, expected=None):
        self._group = group
        self._expected = expected
        self._names = [] if group is None else list(group)

    def __getitem__(self, key):
        if key not in self._names:
            raise KeyError(key)
        data = array_at(self._group, key)
        if self._expected is not None and data.size > max(self._expected, _FREE):
            raise ValueError(f"'{key}' of shape {data.shape} is larger than all variables together"
                             f" ({self._expected} elements).")
        return np.asarray(data)

    def __iter__(self):
        return iter(self._names)

    def __len__(self):
        return len(self._names)
