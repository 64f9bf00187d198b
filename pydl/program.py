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
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from pydl import _core, watch
from pydl.signature import rebuild, signature
from pydl.tensor import Tensor, from_numpy, paused_recording, variables_at
from pydl.watch import Dependencies

__all__ = ["Capture", "Gate", "Pool", "RecordedFunction", "function"]

_MAX_PROGRAMS = 16  # per function; each keeps the memory of its intermediate values
_MAX_INSTANCES = 8  # per program: how many threads run it at once; further calls wait for one to end

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

        with _recording:
            with paused_recording():
                args, kwargs = rebuild((tuple(args), kwargs or {}), to_buffer)
            with watch.reading() as reading:
                before = _core.open_recording(self.program)
                try:
                    outputs = fn(*args, **kwargs)
                finally:
                    _core.open_recording(before)
            self.program.seal()
            # Detached: the outputs must not keep the tape alive.
            self.outputs = rebuild(outputs, _detached)
            self.dependencies = Dependencies([watch.EPOCH, *reading.owners, *variables_at(self.program.outside())])

    @functools.cached_property
    def one_array(self) -> tuple[np.ndarray, Callable[[], None], np.ndarray]:
        """(input buffer, run, output), where there is one of each."""
        (buffer,) = self.inputs
        return buffer.data, self.program.run, self.outputs.data

    def run(self) -> None:
        self.program.run()


def _detached(y: Any) -> Any:
    return Tensor(y.data) if isinstance(y, Tensor) else y


class Gate:
    """Lets many calls read some variables at once, and one write them while nobody reads.

    Readers are those between `enter` and `leave`; `with gate:` waits until they have left and keeps others out. Who
    waits while it is closed reads before it closes again, so that writing without a pause starves nobody. The thread
    that has closed the gate may enter.
    """

    def __init__(self) -> None:
        self.inside: list[None] = []  # as many as read
        self.closed_by: int | None = None
        self._moved = threading.Condition()
        self._closings = 0
        self._waiting = 0  # readers that came while it is closed
        self._admitted = 0  # those of former closings that have not moved on yet

    def enter(self) -> None:
        self.inside.append(None)  # before looking whether it is closed: who closes it looks here afterwards
        if self.closed_by is not None and self.closed_by != threading.get_ident():
            self._wait()

    def _wait(self) -> None:
        with self._moved:
            if self.closed_by is None:
                return
            closing = self._closings
            self._waiting += 1
            self.leave()
            try:
                while self._closings == closing:
                    self._moved.wait()
                self.inside.append(None)
            finally:  # also when an exception (an interrupt) ends the wait
                if self._closings == closing:
                    self._waiting -= 1
                else:
                    self._admitted -= 1
                    self._moved.notify_all()

    def leave(self) -> None:
        self.inside.pop()
        if self.closed_by is not None:
            self.wake()

    def wake(self) -> None:
        """Tells who waits that somebody has left."""
        with self._moved:
            self._moved.notify_all()

    def __enter__(self) -> None:
        with self._moved:
            while self.closed_by is not None or self._admitted:
                self._moved.wait()
            self.closed_by = threading.get_ident()
            try:
                while self.inside:
                    self._moved.wait()
            except BaseException:
                self._open()
                raise

    def __exit__(self, *_: object) -> None:
        with self._moved:
            self._open()

    def _open(self) -> None:
        self.closed_by = None
        self._closings += 1
        self._admitted += self._waiting
        self._waiting = 0
        self._moved.notify_all()


class Pool:
    """The instances of one program: those in `free` wait for a call.

    Programs of one function that write variables take turns: each sees what the one before has written (the state of a
    random generator or of a stateful layer, a counter).
    """

    def __init__(self, capture: Capture):
        self.dependencies = capture.dependencies
        self.free: list[Capture] = []
        self.count = 1
        self.writes = capture.program.writes_outside
        self.limit = 1 if self.writes else _MAX_INSTANCES
        self.waiting = 0
        self._returned = threading.Condition()

    def take(self) -> Capture | None:
        """A free instance; None when the caller shall record another one. Waits when there are as many as may be."""
        with contextlib.suppress(IndexError):
            return self.free.pop()
        with self._returned:
            self.waiting += 1  # before looking again: `give` looks after it has returned one
            try:
                while True:
                    with contextlib.suppress(IndexError):
                        return self.free.pop()
                    if self.count < self.limit:
                        self.count += 1
                        return None
                    self._returned.wait()
            finally:
                self.waiting -= 1

    def give(self, capture: Capture | None) -> None:
        """Takes an instance back; None: the one that was to be recorded has failed."""
        if capture is None:
            with self._returned:
                self.count -= 1
                self._returned.notify()
            return
        self.free.append(capture)
        if self.waiting:
            self.wake()

    def wake(self) -> None:
        """Tells one that waits that an instance has been returned."""
        with self._returned:
            self._returned.notify()


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
        self.gate = gate
        self.__name__ = name or getattr(fn, "__name__", "function")
        self._pools: OrderedDict[tuple[Any, ...], list[Pool]] = OrderedDict()
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
        if self.gate is not None:
            self.gate.enter()
        try:
            pool, capture, fresh = self._lease(key, args, kwargs)
            try:
                if not fresh:  # else the call ran it while recording
                    for buffer, x in zip(capture.inputs, arrays):
                        np.copyto(buffer.data, x, casting="unsafe")
                    if pool.writes:
                        with self._turn:
                            capture.program.run()
                    else:
                        capture.program.run()
                return use(capture.outputs)
            finally:
                pool.give(capture)
        finally:
            if self.gate is not None:
                self.gate.leave()

    def pool(self, key: tuple[Any, ...]) -> Pool | None:
        """The up-to-date program of a signature, or None."""
        for pool in self._pools.get(key, ()):
            if pool.dependencies.hold():
                self._pools.move_to_end(key)
                return pool
        return None

    def _lease(self, key: tuple[Any, ...], args: tuple[Any, ...],
               kwargs: dict[str, Any] | None) -> tuple[Pool, Capture, bool]:
        """An instance for this call with its pool, and whether it was recorded, and so has run, just now."""
        pool = self.pool(key)
        capture = pool.take() if pool is not None else None
        if pool is not None and capture is not None:
            return pool, capture, False
        try:
            with self._turn, _recording:  # nobody writes its variables, or records the same program, meanwhile
                other = self.pool(key) if pool is None else None
                if other is None:
                    with self.guard():
                        capture = Capture(self.fn, args, kwargs)
                    if pool is None or capture.dependencies.numbers != pool.dependencies.numbers:
                        if pool is not None:
                            pool.give(None)
                        pool = Pool(capture)
                        self._pools.setdefault(key, []).append(pool)
                        self._pools.move_to_end(key)
                        self._forget_oldest()
                    return pool, capture, True
        except BaseException:
            if pool is not None and capture is None:
                pool.give(None)
            raise
        return self._lease(key, args, kwargs)  # another thread has just recorded it

    def _forget_oldest(self) -> None:
        """Keeps the number of programs bounded; those of the signature used last go last."""
        while sum(map(len, self._pools.values())) > _MAX_PROGRAMS:
            key, pools = next(iter(self._pools.items()))
            pools.pop(0)
            if not pools:
                del self._pools[key]

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
        self.run(args, lambda outputs: None, kwargs)
        key, _ = signature((args, kwargs or {}), self._describe)
        pool = self.pool(key)
        assert pool is not None
        return pool.free[-1]

    def clear(self) -> None:
        """Forgets all programs and frees their memory."""
        self._pools.clear()

    @property
    def captures(self) -> list[Capture]:
        """The instances that wait for a call."""
        return [capture for pools in list(self._pools.values()) for pool in pools for capture in pool.free]


def _copied(outputs: Any) -> Any:
    return rebuild(outputs, lambda y: Tensor(y.data.copy()) if isinstance(y, Tensor) else y)


def function(fn: Callable[..., Any]) -> RecordedFunction:
    """Decorator: records `fn` once per signature and replays it in C++; see `RecordedFunction`."""
    return RecordedFunction(fn)
