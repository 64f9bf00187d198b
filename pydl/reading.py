"""What every reader of files shares: one kind of error, how deep data may be nested, how far it may expand.

A file is data, and data may be damaged or lie. Whatever is wrong with it, a reader raises ValueError with the name of
the file and the place in it; OSError is left to what the system says (no such file, no permission). Nothing is
allocated because a file says so: a size is compared with the bytes that are there first (`check_expansion`).
"""

from __future__ import annotations

import contextlib
import errno
import math
import threading
from collections.abc import Iterable, Iterator
from typing import Any

from pydl.process import uncovered

MAX_DEPTH = 200  # lists and dicts inside each other; a model inside a model takes four
EXPANSION = 16  # what is compressed may become so many times as large; Keras and pydl do not compress at all
UNASKED = 64 * 2**20  # bytes that anything may become
_LONGEST = 1500  # characters of another error that are repeated; some hold the whole of what they complain about


def is_of_system(error: BaseException) -> bool:
    """Whether an error tells nothing about what was read: the system's, a missing package, a warning made an error.
    (EINVAL is what the system says to a position in a file that the file names.)"""
    return isinstance(error, (ImportError, Warning)) or (
        isinstance(error, OSError) and error.errno not in (None, errno.EINVAL))


def sentence(error: BaseException) -> str:
    """What an error says, where its text alone ("'units'", "") would not be understood."""
    text = str(error)
    if isinstance(error, KeyError) and len(error.args) == 1:
        text = str(error.args[0])
        text = text if " " in text else f"{text!r} is missing."
    if isinstance(error, RecursionError):
        text = "it is nested too deep."
    if isinstance(error, MemoryError):
        text = text or "it asks for more memory than there is."
    text = text or type(error).__name__
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


@contextlib.contextmanager
def naming(what: Any) -> Iterator[None]:
    """Context of reading: an error about what is read leaves it as a ValueError that names `what`, a file."""
    try:
        with uncovered():
            yield
    except Exception as error:
        text = sentence(error)
        if is_of_system(error) or (isinstance(error, ValueError) and str(what) in text):
            raise
        middle = "" if isinstance(error, ValueError) else " is damaged or does not fit"
        raise ValueError(f"{what}{middle}: {text}") from error


def check_depth(value: Any, what: str = "it") -> None:
    """Raises ValueError when lists, tuples and dicts lie deeper inside each other than `MAX_DEPTH`."""
    level = [value]
    for _ in range(MAX_DEPTH):
        held = [v for v in level if isinstance(v, (list, tuple, dict))]
        if not held:
            return
        nested = {id(v): v for h in held for v in (h.values() if isinstance(h, dict) else h)
                  if isinstance(v, (list, tuple, dict))}
        level = list(nested.values())
    if level:
        raise ValueError(f"{what} is nested deeper than {MAX_DEPTH} lists and dicts.")


def parse_json(text: str | bytes, what: str, **options: Any) -> Any:
    """The value of a JSON text. Raises ValueError for what is not JSON or nested too deep.

    Args:
        text: of JSON.
        what: the text is, for errors.
        **options: for `json.loads`.
    """
    import json

    try:
        value = json.loads(text, **options)
    except RecursionError as error:
        raise ValueError(f"{what} is nested deeper than {MAX_DEPTH} lists and dicts.") from error
    except (ValueError, TypeError) as error:
        raise ValueError(f"{what} is not JSON: {error}") from error
    check_depth(value, what)
    return value


def read_json(path: Any) -> Any:
    """The value of a JSON file. Raises ValueError, which names the file, for what is not JSON or nested too deep."""
    with open(path, "rb") as file:
        return parse_json(file.read(), str(path))


class _Budget(threading.local):
    """What the variables of a model may take while it is made from a file; None: anything."""

    held: int | None = None
    left = 0


_budget = _Budget()


@contextlib.contextmanager
def budget(held: int) -> Iterator[None]:
    """Context in which a model is made of which a file holds `held` bytes of weights: `spend` refuses many more."""
    before = _budget.held, _budget.left
    _budget.held, _budget.left = held, UNASKED + 2 * held
    try:
        yield
    finally:
        _budget.held, _budget.left = before


def spend(shape: Iterable[Any], itemsize: int) -> None:
    """Called before a variable is made. Raises ValueError when the model asks for much more than its file holds."""
    if _budget.held is not None:
        sizes = tuple(shape)
        _budget.left -= math.prod(n for n in sizes if isinstance(n, int)) * itemsize
        if _budget.left < 0:
            raise ValueError(f"a variable of shape {sizes} makes the model much larger than the weights in the file,"
                             f" which have {_budget.held} bytes.")


def check_expansion(declared: int, stored: int, what: str) -> None:
    """Raises ValueError when `what` is declared to be much larger than the bytes it is made of; see `EXPANSION`."""
    if declared > max(UNASKED, EXPANSION * stored):
        raise ValueError(f"{what} is declared as {declared} bytes, of which the file holds {stored}; at most"
                         f" {EXPANSION} times as many, or {UNASKED}, are read.")
