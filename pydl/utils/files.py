"""Files from the network, kept below PYDL_HOME. HTTP, TLS and archives are loaded when one is fetched or unpacked."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from pydl.atomic import atomic_folder, atomic_write
from pydl.reading import naming

__all__ = ["get_file"]

BLOCK = 1 << 16
TIMEOUT = 30.0  # seconds without a byte


def home() -> Path:
    """The folder of cached files: the environment variable PYDL_HOME, else ~/.pydl."""
    return Path(os.environ.get("PYDL_HOME") or "~/.pydl").expanduser()


def get_file(fname=None, origin=None, untar=False, md5_hash=None, file_hash=None, cache_subdir="datasets",
             hash_algorithm="auto", extract=False, archive_format="auto", cache_dir=None, force_download=False) -> str:
    """Downloads a file once and returns where it is.

    Args:
        fname: name in the cache; the last part of `origin` when None.
        origin: URL (http, https, ftp or file).
        untar: older name of `extract` for tar archives.
        md5_hash: older name of `file_hash`.
        file_hash: expected SHA-256 or MD5 in hexadecimal digits. A cached file that does not match is fetched again.
        cache_subdir: folder below `cache_dir`, or an absolute path.
        hash_algorithm: "sha256", "md5" or "auto" (told by the length of `file_hash`).
        extract: whether the file is an archive to unpack.
        archive_format: "tar", "zip", "auto" or a list of them.
        cache_dir: PYDL_HOME, else ~/.pydl, when None.
        force_download: whether to fetch again what is in the cache.

    Returns:
        Path of the file, or of the folder it was unpacked into.

    Raises:
        ValueError: without `origin` or a name, or when the download does not match `file_hash`.
        OSError: when the file cannot be fetched or written. Nothing incomplete stays behind.
    """
    import shutil
    from urllib.parse import urlsplit

    if not origin:
        raise ValueError("get_file: expected `origin`, the URL of the file.")
    if md5_hash and not file_hash:
        file_hash, hash_algorithm = md5_hash, "md5"
    unpack = extract or untar
    name = os.fspath(fname) if fname else os.path.basename(urlsplit(origin).path)
    if not name or os.path.basename(name) != name or name in (".", ".."):
        raise ValueError(f"get_file: expected `fname` to be the name of a file, without folders; received {name!r}.")
    folder = Path(cache_dir).expanduser() if cache_dir else home()
    folder = folder / cache_subdir
    # As in Keras: "x.tar.gz" is kept under its name and unpacked into "x_extracted"; "x" is the name of the folder.
    given_suffix = fname and "." in name
    target = folder / (f"{name}_archive" if unpack and not given_suffix else name)
    unpacked = folder / (f"{name.split('.')[0]}_extracted" if given_suffix else name)
    if force_download or not target.exists() or (file_hash and digest(target, file_hash, hash_algorithm) != file_hash):
        download(origin, target, file_hash, hash_algorithm)
        if unpack:
            shutil.rmtree(unpacked, ignore_errors=True)
    if not unpack:
        return str(target)
    unpack_archive(target, unpacked, "tar" if untar else archive_format)
    return str(unpacked)


def digest(path, expected: str = "", algorithm: str = "auto") -> str:
    """Checksum of a file in hexadecimal digits; "auto" chooses the algorithm by the length of `expected`."""
    hasher = new_hasher(expected, algorithm)
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            hasher.update(block)
    return hasher.hexdigest()


def new_hasher(expected: str | None, algorithm: str):
    import hashlib

    if algorithm not in ("auto", "sha256", "md5"):
        raise ValueError(f"get_file: expected `hash_algorithm` 'auto', 'sha256' or 'md5'; received {algorithm!r}.")
    if algorithm == "auto":
        algorithm = "md5" if len(expected or "") == 32 else "sha256"
    return hashlib.new(algorithm, usedforsecurity=False)


def download(origin: str, target: Path, file_hash: str | None = None, hash_algorithm: str = "auto") -> None:
    """Fetches `origin`, checks it, and puts it at `target`."""
    hasher = new_hasher(file_hash, hash_algorithm)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(target) as file:
            for block in _blocks(origin):
                file.write(block)
                hasher.update(block)
            if file_hash and hasher.hexdigest() != file_hash:
                raise ValueError(f"Incomplete or corrupted file: {origin} has the checksum {hasher.hexdigest()}, "
                                 f"expected {file_hash}. Nothing was kept.")
    except OSError as error:
        if error.errno is None:  # of the connection
            raise
        raise OSError(error.errno, f"Cannot write to {target.parent}: {error.strerror} Set PYDL_HOME to a folder you"
                                   " own, on a disk with room.") from error


def _blocks(origin: str) -> Iterator[bytes]:
    """The bytes behind a URL. Raises OSError, without an `errno`, when they do not come."""
    from urllib.request import urlopen

    from tqdm import tqdm

    try:
        with urlopen(origin, timeout=TIMEOUT) as response:
            length = response.headers.get("Content-Length")
            total, done = int(length) if length else None, 0
            with tqdm(desc=origin, total=total, unit="B", unit_scale=True) as bar:
                while block := response.read(BLOCK):
                    yield block
                    done += len(block)
                    bar.update(len(block))
            if total is not None and done != total:
                raise OSError(f"the connection ended after {done} of {total} bytes")
    except OSError as error:  # URLError, HTTPError and time-outs are OSErrors
        raise OSError(f"URL fetch failure on {origin}: {getattr(error, 'reason', error)}") from error


def unpack_archive(archive, folder, formats="auto") -> None:
    """Unpacks a tar or zip archive; no member lands outside `folder`, whatever its name is.

    A folder of that name is always complete.

    Raises:
        ValueError: for a damaged archive, or one whose members or links lead out of the folder.
    """
    if formats == "auto":
        formats = ["tar", "zip"]
    formats = [formats] if isinstance(formats, str) else list(formats or [])
    folder = Path(folder)
    if folder.exists():
        return
    with atomic_folder(folder) as fresh, naming(archive):
        _unpack(archive, fresh, formats)


def _unpack(archive, fresh, formats) -> None:
    import tarfile
    import zipfile

    if "tar" in formats and tarfile.is_tarfile(archive):
        with tarfile.open(archive) as tar:
            if not hasattr(tarfile, "data_filter"):
                raise OSError(errno.ENOSYS, f"Cannot unpack {archive} safely: Python {sys.version.split()[0]} has no "
                                            "tarfile.data_filter; a newer bug-fix release has.")
            tar.extractall(fresh, filter="data")
    elif "zip" in formats and zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as members:
            members.extractall(fresh)  # drops absolute and upward parts of names
    else:
        raise ValueError(f"{archive} is no archive of the formats {formats}.")
