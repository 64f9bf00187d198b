"""Optuna, imported late and kept quiet; where a study lives; the heartbeat of a worker."""

from __future__ import annotations

import contextlib
import functools
import os
import random
import re
import sqlite3
import threading
import time
import warnings
import weakref
from pathlib import Path

from pydl.process import uncovered
from pydl.reading import is_of_system, sentence

HEARTBEAT_SECONDS = 30  # how often a worker says that it lives
GRACE_SECONDS = 150  # after which silence a trial is taken from a worker on another machine
_OF_SYSTEM = "locked|busy|unable to open|readonly|full|I/O|interrupted|memory"  # SQLite, of what is not in the file


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


def check_sqlite(path) -> None:
    """Raises ValueError for a file that is no SQLite database or a damaged one; it is left as it is."""
    try:
        address = f"{Path(path).resolve().as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(address, uri=True, timeout=60)) as db:
            [(found,)] = db.execute("PRAGMA quick_check(1)").fetchall()
    except sqlite3.OperationalError:
        return  # somebody writes, or the system has something to say: whoever opens it to write hears it, too
    except sqlite3.DatabaseError as error:
        found = str(error)
    found = " ".join(found.split())
    if found != "ok":
        raise ValueError(f"{path} is damaged: {found}. It was left as it is: `sqlite3 study.db .recover` may save what"
                         " is in it, overwrite=True or another project begins anew.")


@contextlib.contextmanager
def naming_study(name, storage):
    """Context of reading a study: an error about what is stored is a ValueError that names it. What the system or a
    server says (locked, no permission, no connection) stays as it is."""
    try:
        with uncovered():
            yield
    except Exception as error:
        if is_of_system(error) or (isinstance(error, ValueError) and str(storage) in str(error)):
            raise
        wrapped = (getattr(e, "orig", None) for e in (error, error.__cause__))  # by SQLAlchemy, and that by Optuna
        cause = next(filter(None, wrapped), error)
        if isinstance(cause, sqlite3.Error):
            of_system = bool(re.search(_OF_SYSTEM, str(cause)))
        else:
            of_system = "OperationalError" in [c.__name__ for c in type(cause).__mro__]  # of a server
        if of_system:
            raise
        raise ValueError(f"The study {name!r} in {storage} is damaged: {sentence(cause)}") from error


def open_storage(storage, folder):
    """An Optuna storage from one, from an SQLAlchemy URL, or from None: an SQLite file in `folder`.

    Raises:
        ValueError: for an SQLite file that is damaged.
    """
    if storage is None:
        os.makedirs(folder, exist_ok=True)
        storage = f"sqlite:///{Path(folder).resolve() / 'study.db'}"
    path = str(storage).removeprefix("sqlite:///")
    if path != str(storage) and os.path.isfile(path):
        check_sqlite(path)
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
