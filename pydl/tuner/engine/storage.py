"""Optuna, imported late and kept quiet; where a study lives; which process a trial belongs to."""

from __future__ import annotations

import contextlib
import functools
import os
import random
import re
import socket
import threading
import time
import warnings
import weakref
from pathlib import Path

HEARTBEAT_SECONDS = 30  # how often a worker says that it lives
GRACE_SECONDS = 150  # after which silence a trial is taken from a worker on another machine


def optuna():
    """The package.

    Raises:
        ImportError: with the group to install.
    """
    try:
        import optuna
    except ImportError as error:
        raise ImportError("Searching needs Optuna, which is not installed: pip install 'pydl[tune]'.") from error
    return optuna


@contextlib.contextmanager
def quiet():
    """Without Optuna's announcements of every study, and its warnings of experimental features."""
    package = optuna()
    before = package.logging.get_verbosity()
    package.logging.set_verbosity(max(before, package.logging.WARNING))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", package.exceptions.ExperimentalWarning)
            yield package
    finally:
        package.logging.set_verbosity(before)


def open_storage(storage, folder):
    """An Optuna storage from one, from an SQLAlchemy URL, or from None: an SQLite file in `folder`."""
    if storage is None:
        os.makedirs(folder, exist_ok=True)
        storage = f"sqlite:///{Path(folder).resolve() / 'study.db'}"
    with quiet() as package:
        if not isinstance(storage, (str, os.PathLike)):
            return storage
        # SQLite locks its file while somebody writes; the others wait.
        options = {"connect_args": {"timeout": 60}} if str(storage).startswith("sqlite") else {"pool_pre_ping": True}
        for attempt in range(10):
            try:
                opened = package.storages.RDBStorage(str(storage), engine_kwargs=options, grace_period=GRACE_SECONDS,
                                                     heartbeat_interval=HEARTBEAT_SECONDS)
                break
            except Exception as error:
                # Workers that begin at the same time all find no tables, and only one of them can make them.
                if attempt == 9 or not re.search("exists|unique|locked", str(error), re.IGNORECASE):
                    raise
                time.sleep(random.uniform(0.1, 0.5))
        weakref.finalize(opened, opened.engine.dispose)  # Optuna leaves its connections open
        return opened


# ---- owners ----------------------------------------------------------------------------------------------------------


@functools.cache
def _machine() -> str:
    """Tells machines, boots and containers apart: process ids mean something only within one."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    with contextlib.suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def _started(pid: int) -> str | None:
    """When a process began, since ids are used again; None where the system does not say."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]  # a zombie has ended


def this_process() -> dict:
    """What the owner of a trial writes into it."""
    return {"machine": _machine(), "pid": os.getpid(), "started": _started(os.getpid())}


def has_ended(owner: dict | None) -> bool:
    """Whether the owner is a process of this machine that is no more. False when that cannot be known from here."""
    if not owner or owner["machine"] != _machine() or os.name != "posix":
        return False
    try:
        os.kill(owner["pid"], 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return owner["started"] is not None and _started(owner["pid"]) != owner["started"]


class Heartbeat:
    """Says every while that the owner of a trial lives, where the storage keeps that."""

    def __init__(self, storage, trial_id):
        interval = getattr(storage, "get_heartbeat_interval", lambda: None)()
        self._beat = functools.partial(storage.record_heartbeat, trial_id) if interval else None
        self._interval = interval
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self):
        if self._beat is not None:
            self._beat()
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()
        return self

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            with contextlib.suppress(Exception):  # the next one may get through; the grace is five of them
                self._beat()

    def __exit__(self, *error):
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
