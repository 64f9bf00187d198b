"""Which process something belongs to, whether it still runs, and whether it is being ended."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import sys
from collections.abc import Iterator
from typing import Any

__all__ = ["has_ended", "machine", "started", "this_process", "uncovered"]


@contextlib.contextmanager
def uncovered() -> Iterator[None]:
    """Context of calls that may put an error of their own in place of Ctrl-C, or of the end of the process, because
    what cleans up after it fails in turn: the interruption leaves it as what it is. One that the caller is handling
    already is no news."""
    handled = sys.exc_info()[1]
    try:
        yield
    except Exception as error:
        covered: BaseException | None = error
        while covered is not None and covered is not handled:
            if isinstance(covered, (KeyboardInterrupt, SystemExit)):
                raise covered from None
            covered = covered.__cause__ or covered.__context__
        raise


@functools.cache
def machine() -> str:
    """Tells machines, boots and containers apart: process ids mean something only within one."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            parts.append(file.read().strip())
    with contextlib.suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def started(pid: int) -> str | None:
    """When a process began, since ids are used again; None where the system does not say, or it has ended."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]  # a zombie has ended


def this_process() -> dict[str, Any]:
    """What tells this process from all others: "machine", "pid", "started"."""
    return {"machine": machine(), "pid": os.getpid(), "started": started(os.getpid())}


def has_ended(owner: dict[str, Any] | None) -> bool:
    """Whether the owner is a process of this machine that is no more. False when that cannot be known from here."""
    if not owner or owner["machine"] != machine() or os.name != "posix":
        return False
    try:
        os.kill(owner["pid"], 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return owner["started"] is not None and started(owner["pid"]) != owner["started"]
