"""What may happen to a valid file: changes of bytes, JSON, zip archives, HDF5, SQLite, drawn from a `random.Random`."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import random
import sqlite3
import stat
import struct
import warnings
import zipfile

import h5py
import numpy as np

# ---- bytes ----------------------------------------------------------------------------------------------------------

NUMBERS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 10**9, 2**40, 2**62, 2**63 - 1, 2**64 - 1)


def _flip(rng, data, at):
    for _ in range(rng.choice((1, 1, 1, 2, 8, 64))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _set(rng, data, at):
    data[at : at + rng.randint(1, 8)] = bytes([rng.choice((0, 0x20, 0x7F, 0x80, 0xFF))]) * rng.randint(1, 8)


def _truncate(rng, data, at):
    del data[at:]


def _cut(rng, data, at):
    del data[at : at + rng.randint(1, 1 + len(data) // 8)]


def _insert(rng, data, at):
    data[at:at] = rng.randbytes(rng.randint(1, 64))


def _splice(rng, data, at):
    other = rng.randrange(len(data))
    length = rng.randint(1, 1 + len(data) // 8)
    data[at : at + length] = data[other : other + length]


def _number(rng, data, at):
    number = rng.choice((*NUMBERS, len(data), rng.getrandbits(32)))
    size = rng.choice((1, 2, 4, 8))
    data[at : at + size] = (number & (256**size - 1)).to_bytes(size, rng.choice(("little", "big")))


def _append(rng, data, at):
    data += rng.randbytes(rng.randint(1, 300))


def _prepend(rng, data, at):
    data[:0] = rng.randbytes(rng.choice((1, 16, 512, 2048)))


def _zero_page(rng, data, at):
    data[at : at + 512] = bytes(min(512, len(data) - at))


BYTES = (
    _flip,
    _flip,
    _flip,
    _set,
    _truncate,
    _cut,
    _insert,
    _splice,
    _number,
    _number,
    _number,
    _append,
    _prepend,
    _zero_page,
)


def change_bytes(rng: random.Random, content: bytes) -> tuple[bytes, str]:
    """The content with one to three changes, and their names. Headers are hit more often than what they describe."""
    data, names = bytearray(content), []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if not data:
            break
        change = rng.choice(BYTES)
        at = rng.randrange(len(data) if rng.random() < 0.5 else min(len(data), 256))
        change(rng, data, at)
        names.append(f"{change.__name__[1:]} at {at}")
    return bytes(data), ", ".join(names)


# ---- JSON -----------------------------------------------------------------------------------------------------------


def _nested(depth):
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


VALUES = (
    None,
    True,
    False,
    0,
    1,
    -1,
    2,
    3,
    7,
    0.5,
    -0.5,
    1.5,
    1e308,
    float("nan"),
    float("inf"),
    10**6,
    10**9,
    10**12,
    -(10**9),
    2**31,
    2**63,
    2**64,
    10**30,
    "",
    "x",
    "relu",
    "same",
    "float16",
    "int32",
    "a/b",
    "\0",
    "é" * 50,
    "9" * 500,
    [],
    {},
    [None],
    [1],
    [0, 0],
    [-1, 2],
    [1, "x"],
    ["a", "b"],
    [[1, 2], [3]],
    [None, None, 3],
    [10**9, 10**9],
    {"a": 1},
    {"class_name": "Dense", "config": {"units": 2}},
    {"class_name": "Dense"},
    {"class_name": "Nope", "config": {}},
    {"class_name": "Dense", "config": None},
    {"class_name": ["x"], "config": {}},
    {"class_name": "L2", "config": {"l2": "x"}},
    {"class_name": "__tensor__", "config": {"value": [1, 2], "dtype": "float32"}},
    {"class_name": "__numpy__", "config": {"value": [1], "dtype": "S100000000000"}},
    {"class_name": "__numpy__", "config": {"value": [[1], [2, 3]], "dtype": "float32"}},
    {"class_name": "__lambda__", "config": {"code": "4wEAAAA="}},
    {"class_name": "__slice__", "config": {"start": 0}},
    {"class_name": "__keras_tensor__", "config": {"keras_history": ["x", 0, 0]}},
    {"class_name": "function", "config": "eval", "module": "builtins", "registered_name": "function"},
    {"module": "os", "class_name": "system", "config": {"command": "touch escaped"}, "registered_name": None},
    30,
    190,
    400,  # lists in lists, see `_value`
)
_DEPTHS = VALUES[-3:]


def _value(rng):
    value = rng.choice(VALUES)
    return _nested(value) if value in _DEPTHS and type(value) is int else copy.deepcopy(value)


def _places(value) -> list[tuple]:
    """(container, key) of every value in lists and dicts."""
    found, waiting = [], [value]
    while waiting:
        held = waiting.pop()
        keys = list(held) if isinstance(held, dict) else range(len(held)) if isinstance(held, list) else ()
        for key in keys:
            found.append((held, key))
            waiting.append(held[key])
    return found


def change_json(rng: random.Random, value, count: int | None = None) -> tuple[object, str]:
    """A copy of a JSON value with some of what it holds replaced, removed, renamed, exchanged, wrapped or nudged."""
    value, names = copy.deepcopy(value), []
    for _ in range(count or rng.choice((1, 1, 1, 2, 4))):
        places = _places(value)
        if not places:
            return _value(rng), "everything"
        held, key = rng.choice(places)
        what = rng.choice(("replace", "replace", "replace", "remove", "rename", "exchange", "wrap", "nudge", "repeat"))
        if what == "remove":
            del held[key]
        elif what == "rename" and isinstance(held, dict):
            held[rng.choice((f"{key}x", "class_name", "config", "name", "units", ""))] = held.pop(key)
        elif what == "exchange":
            other, place = rng.choice(places)
            if not isinstance(held[key], (list, dict)) and not isinstance(other[place], (list, dict)):
                held[key], other[place] = other[place], held[key]
        elif what == "wrap":
            held[key] = [held[key]] if rng.random() < 0.5 else {"config": held[key]}
        elif what == "nudge" and isinstance(held[key], (int, float)):
            held[key] = rng.choice(
                (held[key] + 1, held[key] - 1, -held[key], held[key] * 1000, float(held[key]), str(held[key]))
            )
        elif what == "repeat" and isinstance(held[key], list):
            held[key] = held[key] * rng.choice((2, 3))
        else:
            held[key] = _value(rng)
        names.append(f"{what} {key!r:.40}")
    return value, ", ".join(names)


def change_json_text(rng: random.Random, text: bytes) -> tuple[bytes, str]:
    """A JSON text with other values, or other bytes."""
    if rng.random() < 0.15:
        return change_bytes(rng, text)
    value, names = change_json(rng, json.loads(text))
    return json.dumps(value).encode(), names


# ---- zip ------------------------------------------------------------------------------------------------------------

BAD_NAMES = (
    "../escaped",
    "/tmp/escaped",
    "a/../../escaped",
    "assets/../../escaped",
    "..\\escaped",
    "",
    "assets/",
    "C:/x",
    "\0",
)


def change_zip(rng: random.Random, content: bytes, change_member) -> tuple[bytes, str]:
    """An archive with changed, missing, repeated, renamed, linked, bloated or encrypted-looking members.

    Args:
        change_member: function (rng, name, content) -> (content, words).
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    what = rng.choice(
        ("member", "member", "member", "member", "remove", "repeat", "rename", "link", "bloat", "deflate")
    )
    name, held = chosen = rng.choice(members)
    at = members.index(chosen)
    words = ""
    link = method = None
    if what == "member":
        held, words = change_member(rng, name, held)
        members[at] = (name, held)
    elif what == "remove":
        del members[at]
    elif what == "repeat":
        members.append((name, held if rng.random() < 0.5 else rng.randbytes(30)))
    elif what == "rename":
        members[at] = (rng.choice(BAD_NAMES), held)
    elif what == "link":
        members.append(("assets/link", b"/etc/passwd"))
        link = "assets/link"
    elif what == "bloat":
        members[at] = (name, held + bytes(rng.choice((10**5, 80 * 2**20))))
        method = zipfile.ZIP_DEFLATED
    else:
        method = rng.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", method or zipfile.ZIP_STORED) as archive:
        warnings.simplefilter("ignore")
        for other, content in members:
            member = zipfile.ZipInfo(other)
            member.compress_type = method or zipfile.ZIP_STORED
            if other == link:
                member.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(member, content)
    return buffer.getvalue(), f"{what} {name!r}: {words}"


# ---- HDF5 -----------------------------------------------------------------------------------------------------------

ATTRIBUTES = (1, -1.5, "text", b"bytes", [], ["a", "a"], np.zeros((3, 3)), np.array([b"dense", b"nope"]), np.array(b""))


def change_hdf5(rng: random.Random, content: bytes) -> tuple[bytes, str]:
    """A file with other data sets, links or attributes; or, as often, other bytes."""
    if rng.random() < 0.5:
        return change_bytes(rng, content)
    buffer = io.BytesIO(content)
    with h5py.File(buffer, "a") as file:
        names: list[str] = []
        file.visit(names.append)
        for _ in range(rng.choice((1, 1, 2))):
            words = "a link that is broken by now"
            with contextlib.suppress(KeyError, RuntimeError, MemoryError, TypeError):
                words = _change_open_hdf5(rng, file, rng.choice(names))
    return buffer.getvalue(), words


def _change_open_hdf5(rng, file, name) -> str:
    if name not in file:
        return f"nothing at {name}"
    held, is_data = file[name], isinstance(file[name], h5py.Dataset)
    what = rng.choice(
        (
            "shape",
            "huge",
            "huge chunk",
            "packed",
            "dtype",
            "external link",
            "soft link",
            "cycle",
            "virtual",
            "external data",
            "empty",
            "remove",
            "group",
            "attribute",
            "attribute",
            "json",
            "move",
        )
    )
    if what in ("attribute", "json"):
        holders = [h for h in (file, *(file[n] for n in file)) if len(h.attrs)]
        holder = rng.choice(holders) if holders else held
        key = rng.choice(list(holder.attrs) or ["layer_names"])
        value = rng.choice(ATTRIBUTES)
        if what == "json" and isinstance(text := holder.attrs.get(key), (str, bytes)) and text[:1] in ("{", b"{"):
            value = np.bytes_(change_json_text(rng, text.encode() if isinstance(text, str) else text)[0])
        with_size = value if not isinstance(value, np.bytes_) or len(value) < 60000 else b"{}"
        if key in holder.attrs:
            del holder.attrs[key]
        holder.attrs[key] = with_size
        return f"{what} {key}"
    if what == "move":
        file.move(name, f"moved{rng.randrange(9)}")
        return f"{what} {name}"
    shape, dtype = (held.shape, held.dtype) if is_data else ((2, 3), np.dtype("float32"))
    attributes = dict(held.attrs)
    del file[name]
    huge = rng.choice(((10**9,), (10**5, 10**5), (2**40,), (2, 10**10)))
    if what == "shape":
        file[name] = np.zeros(rng.choice(((*shape, 1), shape[:-1], (*shape[:-1], 7), (0,), (2000, 2000))), dtype)
    elif what == "huge":
        file.create_dataset(
            name, huge, dtype, chunks=tuple(min(n, 1000) for n in huge), fillvalue=rng.choice((None, 3))
        )
    elif what == "huge chunk":
        data = file.create_dataset(name, (4,), "float64", chunks=(2**27,), maxshape=(None,), compression="gzip")
        data.id.write_direct_chunk((0,), rng.randbytes(50))
    elif what == "packed":
        file.create_dataset(
            name, data=np.zeros(rng.choice((2**21, 2**24)), "float32"), compression=rng.choice(("gzip", "lzf"))
        )
    elif what == "dtype":
        file[name] = rng.choice(
            (
                np.zeros(shape, "int32"),
                np.zeros(shape, "float64"),
                np.zeros(shape, "S40"),
                "text",
                np.zeros(shape, "bool"),
                np.zeros(3, [("a", "i4"), ("b", "f8")]),
                np.zeros(shape, "complex64"),
                h5py.Empty("float32"),
            )
        )
    elif what == "external link":
        file[name] = h5py.ExternalLink(rng.choice(("outside.h5", "/etc/passwd", "../outside.h5")), "/x")
    elif what == "soft link":
        file[name] = h5py.SoftLink(rng.choice(("/", "/nowhere", f"/{name}")))
    elif what == "cycle":
        file[name] = file[name.rpartition("/")[0] or "/"]
    elif what == "virtual":
        layout = h5py.VirtualLayout(shape=(4,), dtype="float32")
        layout[:] = h5py.VirtualSource("outside.h5", "x", shape=(4,))
        file.create_virtual_dataset(name, layout)
    elif what == "external data":
        file.create_dataset(name, (4,), "float32", external=[("/etc/passwd", 0, 16)])
    elif what == "empty":
        file.create_dataset(name, shape, dtype)
    elif what == "group":
        file.create_group(name)
    if (
        what not in ("remove",)
        and rng.random() < 0.5
        and name in file
        and isinstance(file.get(name, getlink=True), h5py.HardLink)
    ):
        for key, value in attributes.items():
            file[name].attrs[key] = value
    return f"{what} {name}"


# ---- the others -----------------------------------------------------------------------------------------------------


def change_safetensors(rng: random.Random, content: bytes) -> tuple[bytes, str]:
    """A file with another header of the right length, or other bytes."""
    if rng.random() < 0.4:
        return change_bytes(rng, content)
    length = int.from_bytes(content[:8], "little")
    text, words = change_json_text(rng, content[8 : 8 + length])
    if rng.random() < 0.1:
        text = text[:1] + text[1:-1] + b"," + text[1:]  # every entry twice
    return struct.pack("<Q", len(text)) + text + content[8 + length :], words


def change_npy(rng: random.Random, content: bytes) -> tuple[bytes, str]:
    """A .npy with another shape, dtype or pickle."""
    if rng.random() < 0.5:
        return change_bytes(rng, content)
    end = 10 + int.from_bytes(content[8:10], "little")
    header = content[10:end].decode("latin1")
    old, new = rng.choice(
        (
            (
                "shape",
                rng.choice(
                    ("(10000000000,)", "(-1,)", "(2, -3)", "()", "(3.5,)", "'x'", "(2**30,)", "(0, 9999999999999)")
                ),
            ),
            ("descr", rng.choice(("'<f8'", "'|O'", "'S999999999'", "'<U9'", "[('a', '<f8')]", "'V1000000000'", "''"))),
            ("fortran_order", rng.choice(("True", "'x'", "[]"))),
        )
    )
    start = header.index(f"'{old}': ") + len(old) + 4
    stop = header.index(", 'fortran" if old == "descr" else ", 'shape" if old == "fortran_order" else ", }", start)
    header = f"{header[:start]}{new}{header[stop:].strip()}\n".encode("latin1")
    return content[:8] + struct.pack("<H", len(header)) + header + content[end:], f"{old} = {new}"


def change_sqlite(rng: random.Random, path) -> str:
    """Changes a cell, a table or bytes of a database, in place."""
    if rng.random() < 0.35:
        content, words = change_bytes(rng, path.read_bytes())
        path.write_bytes(content)
        return words
    database = sqlite3.connect(path)
    tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
    table = rng.choice([t for t in tables if t not in ("alembic_version", "version_info")] * 5 + tables)
    columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
    rows = [row[0] for row in database.execute(f"SELECT rowid FROM {table} ORDER BY rowid")]
    words = f"{table}: "
    if rng.random() < 0.1 or not rows:
        what = rng.choice((f"DELETE FROM {table}", f"DROP TABLE {table}", f"ALTER TABLE {table} RENAME TO gone"))
        database.execute(what)
        words += what
    elif rng.random() < 0.2:
        database.execute(f"DELETE FROM {table} WHERE rowid = ?", (rng.choice(rows),))
        words += "a row"
    else:
        column, row = rng.choice(columns * 1 + [c for c in columns if c.endswith("json")] * 6), rng.choice(rows)
        [(value,)] = database.execute(f"SELECT {column} FROM {table} WHERE rowid = ?", (row,))
        if column.endswith("json") and isinstance(value, str):
            value = change_json_text(rng, value.encode())[0].decode("utf-8", "replace")
        else:
            value = rng.choice((None, "", "x", -1, 10**9, 1.5, b"\xff\xfe", "COMPLETE", "RUNNING"))
        with contextlib.suppress(sqlite3.IntegrityError):  # what the schema does not allow stays as it was
            database.execute(f"UPDATE OR IGNORE {table} SET {column} = ? WHERE rowid = ?", (value, row))
        words += f"{column} = {value!r:.80}"
    database.commit()
    database.close()
    return words
