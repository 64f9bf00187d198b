"""Recorded functions: Python describes a step once, C++ runs it a million times.

A `RecordedFunction` keeps programs by the signature of its arguments (`signature.py`) and by the state of the owners
that were read while recording (`watch.py`). For each it has a pool of instances, each with buffers of its own: a call
leases one, copies its arguments in, runs it, copies the results out and gives it back, so calls from several threads
share nothing.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import itertools
import threading
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from pydl import _core, watch
from pydl._core import Gate
from pydl.signature import rebuild, signature
from pydl.tensor import Tensor, from_numpy, paused_recording, variables_at
from pydl.watch import Dependencies

__all__ = ["Capture", "Gate", "Pool", "RecordedFunction", "function"]

# Programs per function. Each keeps the memory of its intermediate values: more than the first number are kept as long
# as they take no more bytes than that, so that batches of many sizes (sequences by length) are not recorded again.
_FEW_PROGRAMS, _MANY_PROGRAMS, _MANY_BYTES = 16, 32, 256 << 20
_MAX_INSTANCES = 8  # per program: how many threads run it at once; further calls wait for one to end

_clock = itertools.count()

# One recording at a time: layers are built, and collect their losses, while Python runs.
_recording = threading.RLock()


class Capture:
    """One recorded program with its input buffers and outputs.

    Attributes:
        program: the steps.
        inputs: tensors whose memory the program reads; write them before `run()`.
        outputs: structure of tensors whose memory each run overwrites.
        dependencies: the owners it has read and their states.
    """

    def __init__(self, fn: Callable[..., Any], args: Iterable[Any], kwargs: dict[str, Any] | None = None) -> None:
        """Records `fn(*args, **kwargs)` while running it, on buffers in place of all arrays and tensors."""
        self.program = _core.Program()
        self.inputs: list[Tensor] = []

        def to_buffer(x: np.ndarray | Tensor) -> Tensor:
            data = x.data if isinstance(x, Tensor) else from_numpy(x).data
            buffer = Tensor(_core.empty(data.shape, data.dtype.name))
            np.copyto(buffer.data, data)
            self.inputs.append(buffer)
            return buffer

        with _recording, watch.foreign_changes() as disturbed:
            with paused_recording():
                args, kwargs = rebuild((tuple(args), kwargs or {}), to_buffer)
            with watch.reading() as reading:
                with _core.Recording(self.program):
                    outputs = fn(*args, **kwargs)
            self.program.seal()
            # Detached: the outputs must not keep the tape alive.
            self.outputs = rebuild(outputs, _detached)
            owners = [watch.EPOCH, *reading.owners, *variables_at(self.program.outside())]
            self.dependencies = Dependencies(owners, disturbed)

    @functools.cached_property
    def one_array(self) -> tuple[np.ndarray, _core.Program, np.ndarray]:
        """(input buffer, program, output), where there is one of each, for `_core.replay`."""
        (buffer,) = self.inputs
        return buffer.data, self.program, self.outputs.data

    def run(self) -> None:
        self.program.run()


def _detached(y: Any) -> Any:
    return Tensor(y.data) if isinstance(y, Tensor) else y


class Pool:
    """The instances of one program: a call leases one.

    Programs of one function that write variables take turns: each sees what the one before has written (the state of a
    random generator or of a stateful layer, a counter).

    Attributes:
        dependencies: of the program.
        writes: whether it writes variables.
        instances: captures, or None where none has been recorded yet.
        last: the one that ran last.
        places: those of `instances`. `with pool.places.lease() as place` waits when all are lent; then
            `instances[place]` belongs to the call.
        used: when a call asked for the program last, in calls of the process.
    """

    def __init__(self, capture: Capture) -> None:
        self.dependencies = capture.dependencies
        self.writes = capture.program.writes_outside
        self.instances: list[Capture | None] = [None] * (1 if self.writes else _MAX_INSTANCES)
        self.last = capture
        self.places = _core.Places(len(self.instances))
        self.used = next(_clock)


class RecordedFunction:
    """A function that is recorded at its first call with a signature and replayed afterwards.

    The signature is the structure of the arguments with its types and keys, shape and dtype of every tensor or array
    in it, and type and value of everything else. A program is also recorded anew when an owner it has read (a layer, an
    optimizer, a setting ...) is in a state it has no program for; see `watch`. The results are fresh tensors. Python in
    the function runs at recording time only: side effects on Python objects happen once; values that must change from
    call to call live in tensors and variables.

    Several threads may call it at once, each with its own buffers; calls that write variables take turns.

    Args:
        fn: the function.
        name: for messages.
        guard: makes the context in which `fn` is recorded (and run for the first time), e.g. to undo a failure.
        gate: keeps calls out while somebody else writes the variables that are read here.
    """

    def __init__(self, fn: Callable[..., Any], name: str | None = None,
                 guard: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext,
                 gate: Gate | None = None) -> None:
        self.fn = fn
        self.guard = guard
        self.gate = gate or Gate()
        self.__name__ = name or getattr(fn, "__name__", "function")
        self._pools: dict[tuple[Any, ...], list[Pool]] = {}
        self._turn = threading.RLock()  # of the programs that write variables

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if _core.is_recording() or _core.is_dry_run():  # part of a larger recording
            return self.fn(*args, **kwargs)
        return self.run(args, _copied, kwargs)

    def __reduce__(self) -> tuple[Any, ...]:  # programs point into memory of this process: a copy records its own
        return (RecordedFunction, (self.fn, self.__name__, self.guard))

    def run(self, args: tuple[Any, ...], use: Callable[[Any], Any], kwargs: dict[str, Any] | None = None) -> Any:
        """`use(outputs)` of a run on these arguments. The outputs belong to the call until `use` returns."""
        key, arrays = signature((args, kwargs or {}), self._describe)
        with self.gate.reading:
            pool = self.pool(key)
            fresh = None
            if pool is None:
                with self._turn, _recording:
                    pool = self.pool(key)  # another thread may just have recorded it
                    if pool is None:
                        fresh = self._record(args, kwargs)
                        pool = self._enter(key, fresh)
            with pool.places.lease() as place:
                capture = pool.instances[place]
                if capture is None:
                    if fresh is None:
                        fresh = self._record(args, kwargs)
                        if fresh.dependencies.numbers != pool.dependencies.numbers:  # an owner has changed meanwhile
                            self._enter(key, fresh)
                            return use(fresh.outputs)
                    pool.instances[place] = fresh
                if fresh is not None:  # it ran while it was recorded
                    capture = fresh
                else:
                    assert capture is not None
                    for buffer, x in zip(capture.inputs, arrays):
                        np.copyto(buffer.data, x, casting="unsafe")
                    if pool.writes:
                        with self._turn:
                            capture.program.run()
                    else:
                        capture.program.run()
                pool.last = capture
                return use(capture.outputs)

    def pool(self, key: tuple[Any, ...]) -> Pool | None:
        """The up-to-date program of a signature, or None."""
        for pool in self._pools.get(key, ()):
            if pool.dependencies.hold():
                pool.used = next(_clock)
                return pool
        return None

    def _record(self, args: tuple[Any, ...], kwargs: dict[str, Any] | None) -> Capture:
        with self._turn, _recording, self.guard():  # nobody writes its variables, or records, meanwhile
            return Capture(self.fn, args, kwargs)

    def _enter(self, key: tuple[Any, ...], capture: Capture) -> Pool:
        """A pool for the program; `capture` is not in a place of it yet."""
        pool = Pool(capture)
        with _recording:
            self._pools.setdefault(key, []).append(pool)
            self._forget_oldest()
        return pool

    def _forget_oldest(self) -> None:
        """Keeps the number of programs bounded; those of the signature used last go last."""
        pools = self._pools  # `clear` puts another in its place
        while (count := sum(map(len, pools.values()))) > _FEW_PROGRAMS and (
                count > _MANY_PROGRAMS or sum(c.program.arena_bytes for c in self.captures) > _MANY_BYTES):
            key = min(pools, key=lambda k: max(pool.used for pool in pools[k]))
            pools[key].pop(0)
            if not pools[key]:
                del pools[key]

    def _describe(self, path: tuple[Any, ...]) -> str:
        """ "function 'step': argument `x`['mask']" for a place in (args, kwargs)."""
        where, name, *rest = path
        if where == 0:
            try:
                name = list(inspect.signature(self.fn).parameters)[name]
            except (ValueError, TypeError, IndexError):
                name = f"number {name + 1}"
        return f"function '{self.__name__}': argument `{name}`" + "".join(f"[{part!r}]" for part in rest)

    def capture(self, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> Capture:
        """The up-to-date instance for these arguments, after one run on them: to look at, or for a caller that has the
        function to itself."""
        key, _ = signature((args, kwargs or {}), self._describe)
        pool = None
        while pool is None:  # another thread may change an owner, or clear
            self.run(args, lambda outputs: None, kwargs)
            pool = self.pool(key)
        return pool.last

    def clear(self) -> None:
        """Forgets all programs and frees their memory."""
        self._pools = {}

    @property
    def captures(self) -> list[Capture]:
        """All instances."""
        return [c for pools in list(self._pools.values()) for pool in pools for c in pool.instances if c is not None]


def _copied(outputs: Any) -> Any:
    return rebuild(outputs, lambda y: Tensor(y.data.copy()) if isinstance(y, Tensor) else y)


def function(fn: Callable[..., Any]) -> RecordedFunction:
    """Decorator: records `fn` once per signature and replays it in C++; see `RecordedFunction`."""
    return RecordedFunction(fn)
