"""Recorded functions: Python describes a step once, C++ runs it a million times."""

from __future__ import annotations

import contextlib
from collections import OrderedDict

import numpy as np

from pydl import _core, config, tree
from pydl.tensor import Tensor, from_numpy, paused_recording

_MAX_PROGRAMS = 16  # per function; each keeps the memory of its intermediate values


class Capture:
    """One recorded program with its input buffers and outputs.

    Attributes:
        program: the steps.
        inputs: tensors whose memory the program reads; write them before `run()`.
        outputs: structure of tensors whose memory each run overwrites.
    """

    def __init__(self, fn, args):
        """Records `fn(*args)` while running it; `args` is a list of structures of tensors / arrays / other values."""
        self.program = _core.Program()
        self.inputs: list[Tensor] = []

        def to_buffer(x):
            if not isinstance(x, (Tensor, np.ndarray)):
                return x
            data = x.data if isinstance(x, Tensor) else from_numpy(x).data
            buffer = Tensor(_core.empty(data.shape, data.dtype))
            np.copyto(buffer.data, data)
            self.inputs.append(buffer)
            return buffer

        with paused_recording():
            buffers = tree.map_structure(to_buffer, list(args))
        before = _core.open_recording(self.program)
        try:
            outputs = fn(*buffers)
        finally:
            _core.open_recording(before)
        self.program.seal()
        # Detached: the outputs must not keep the tape alive.
        self.outputs = tree.map_structure(lambda y: Tensor(y.data) if isinstance(y, Tensor) else y, outputs)
        self.structure = config.structure()

    def run(self) -> None:
        self.program.run()


class RecordedFunction:
    """A function that is recorded at its first call with a signature and replayed afterwards.

    The signature is the shape and dtype of every tensor or array among the arguments, and the value of everything
    else. The results are fresh tensors. Python in the function runs at recording time only: side effects on Python
    objects happen once; values that must change from call to call live in tensors and variables.

    Args:
        fn: the function.
        name: for messages.
        guard: makes the context in which `fn` is recorded (and run for the first time), e.g. to undo a failure.
    """

    def __init__(self, fn, name: str | None = None, guard=contextlib.nullcontext):
        self.fn = fn
        self.guard = guard
        self.__name__ = name or getattr(fn, "__name__", "function")
        self._captures: OrderedDict = OrderedDict()

    def __call__(self, *args):
        if _core.is_recording() or _core.is_dry_run():  # part of a larger recording
            return self.fn(*args)
        capture = self.capture(args)
        return tree.map_structure(_copy_out, capture.outputs)

    def capture(self, args) -> Capture:
        """The up-to-date capture for these arguments, after one run on them."""
        flat = tree.flatten(list(args))
        key = tuple((x.shape, x.dtype if isinstance(x, Tensor) else x.dtype.str)
                    if isinstance(x, (Tensor, np.ndarray)) else _hashable(x) for x in flat)
        capture = self._captures.get(key)
        if capture is None or capture.structure != config.structure():
            with self.guard():
                self._captures[key] = capture = Capture(self.fn, args)
            while len(self._captures) > _MAX_PROGRAMS:
                self._captures.popitem(last=False)
            return capture
        self._captures.move_to_end(key)
        arrays = (x for x in flat if isinstance(x, (Tensor, np.ndarray)))
        for buffer, x in zip(capture.inputs, arrays):
            np.copyto(buffer.data, x.data if isinstance(x, Tensor) else x, casting="unsafe")
        capture.run()
        return capture

    def clear(self) -> None:
        """Forgets all programs and frees their memory."""
        self._captures.clear()

    @property
    def captures(self) -> list[Capture]:
        return list(self._captures.values())


def _hashable(value):
    try:
        hash(value)
    except TypeError:
        return id(value)
    return value


def _copy_out(y):
    return Tensor(y.data.copy()) if isinstance(y, Tensor) else y


def function(fn) -> RecordedFunction:
    """Decorator: records `fn` once per signature and replays it in C++; see `RecordedFunction`."""
    return RecordedFunction(fn)
