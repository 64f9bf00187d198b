"""Files are replaced whole: written under another name beside their own, brought to the disk, renamed.

So there is the old file or the new one under a name, whatever ends the writer: an exception, a full disk, SIGKILL, a
power cut. What a killed writer leaves behind is removed by the next one of the same file.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import stat
import time
import zlib
from collections.abc import Iterator
from typing import IO, Any

from pydl import process

__all__ = ["append_to", "atomic_folder", "atomic_write", "remove_leftovers"]

_ABANDONED = 86400.0  # seconds without a change after which a file of another machine, or boot, counts as left behind
_NAME_MAX = 255  # bytes in the name of a file

_serial = itertools.count()
_open: set[str] = set()  # temporary paths that threads of this process are writing


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = "wb", encoding: str | None = None,
                 newline: str | None = None) -> Iterator[IO[Any]]:
    """Context: a file, open for writing, that takes the place of `path` when the block ends without an error.

    A link stays a link: the file it leads to is replaced. A pipe or a device is written to as it is.

    Args:
        path: of the file; its folder must exist.
        mode: "wb" or "w".
        encoding, newline: as those of `open`, for mode "w".

    Raises:
        OSError: of the kind at hand (a full disk, a folder that is read-only ...); the message has the path and the
            reason. What was at `path` is still there then, and nothing else.
    """
    target = os.path.realpath(path)
    with _naming(path):
        before = _status(target)
        if before is not None and not stat.S_ISREG(before.st_mode):
            with open(target, mode, encoding=encoding, newline=newline) as file:  # a folder raises here
                yield file
            return
        if before is not None and not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, "the file is read-only")
        with _temporary(target) as temporary:
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o666)
            try:
                with open(handle, mode, encoding=encoding, newline=newline) as file:
                    yield file
                    file.flush()
                    os.fsync(file.fileno())  # some 10 ms; else the name may come to the disk before the content
                if before is not None:
                    os.chmod(temporary, stat.S_IMODE(before.st_mode))
                os.replace(temporary, target)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
                raise


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[str]:
    """Context: a new folder that gets the name `path`, which nothing has yet, when the block ends without an error.

    Raises:
        OSError: as `atomic_write`.
    """
    target = os.path.realpath(path)
    with _naming(path), _temporary(target) as temporary:
        os.mkdir(temporary)
        try:
            yield temporary
            os.replace(temporary, target)
        except BaseException:
            _remove(temporary)
            raise


def append_to(path: str | os.PathLike[str], data: bytes) -> None:
    """Adds bytes to the end of a file, which is made where there is none: all of them, or none and an error.

    Raises:
        OSError: as `atomic_write`.
    """
    with _naming(path), open(path, "ab", buffering=0) as file:
        end = os.fstat(file.fileno()).st_size
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[file.write(rest):]
        except BaseException:
            with contextlib.suppress(OSError):  # a pipe has no length
                file.truncate(end)
            raise


def remove_leftovers(path: str | os.PathLike[str]) -> None:
    """Removes what writers of `path` that were killed have left in its folder; never what a living one writes."""
    folder, name = os.path.split(os.path.realpath(path))
    pattern = re.compile(re.escape(_prefix(name)) + r"([0-9a-f]{8})-(\d+)-(\d+)-\d+")
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = pattern.fullmatch(entry.name)
            if found and _is_leftover(entry.path, found[1], int(found[2]), found[3]):
                _remove(entry.path)


def _is_leftover(path: str, machine: str, pid: int, started: str) -> bool:
    if machine != _machine():  # whether its process lives cannot be asked here
        status = _status(path)
        return status is not None and time.time() - status.st_mtime > _ABANDONED
    if pid == os.getpid():  # of this process, or of one that had its id before, as the first one of a container has
        return path not in _open
    return process.has_ended({"machine": process.machine(), "pid": pid,
                              "started": None if started == "0" else started})


@contextlib.contextmanager
def _temporary(target: str) -> Iterator[str]:
    """Context: a path beside `target` that nothing has, known as this process's own."""
    folder, name = os.path.split(target)
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, f"the folder {folder} does not exist")
    remove_leftovers(target)
    pid = os.getpid()
    temporary = os.path.join(folder, f"{_prefix(name)}{_machine()}-{pid}-{process.started(pid) or 0}-{next(_serial)}")
    _open.add(temporary)
    try:
        yield temporary
    finally:
        _open.discard(temporary)


def _prefix(name: str) -> str:
    """What the temporary names of a file begin with; a long name stands in it as its hash."""
    if len(os.fsencode(name)) > _NAME_MAX - 80:
        import hashlib

        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return f".{name}.pydl-"


def _machine() -> str:
    return f"{zlib.crc32(process.machine().encode()):08x}"


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


def _remove(path: str) -> None:
    """Removes a file or a folder, as far as that is possible."""
    if os.path.isdir(path) and not os.path.islink(path):
        import shutil

        shutil.rmtree(path, ignore_errors=True)
        return
    with contextlib.suppress(OSError):
        os.unlink(path)


@contextlib.contextmanager
def _naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Context: an OSError of the system gets a message with the path and the reason; Ctrl-C stays what it is, also
    where closing what was being written fails after it (an archive in the middle of a member)."""
    try:
        with process.uncovered():
            yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, f"Cannot write {os.fspath(path)}: {error.strerror}.") from error
