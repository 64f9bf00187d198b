"""Runs a recorded step over the rows of arrays, many batches per visit to C++."""

from __future__ import annotations

import numpy as np

from pydl import _core, config, tree
from pydl.data.adapters import ArrayData
from pydl.ops.indexing import gather_rows_into
from pydl.tensor import Tensor


class _Loop:
    """The programs of one batch size: gather the rows, then the step."""

    def __init__(self, capture, data: ArrayData, rows: int):
        self.capture = capture
        self.index = np.zeros(rows, np.int32)
        self.gather = _core.Program()
        sources = [a for a in tree.flatten(data.structure) if a is not None]
        before = _core.open_recording(self.gather)
        try:
            for source, buffer in zip(sources, capture.inputs):
                gather_rows_into(Tensor(source), Tensor(self.index), buffer)
        finally:
            _core.open_recording(before)
        self.gather.seal()


class ArrayRunner:
    """Feeds batches of rows to a recorded function, the gathering of rows included in what is replayed.

    Args:
        function: `RecordedFunction` of (x, y, sample_weight) that returns a dict of scalars.
        data: the arrays; they must stay unchanged in shape and place while the runner is used.
    """

    def __init__(self, function, data: ArrayData):
        self.function = function
        self.data = data
        self._loops: dict[int, _Loop] = {}
        self._last: _Loop | None = None

    def reads(self, data: ArrayData) -> bool:
        """Whether this runner already gathers from the very arrays of `data`."""
        mine, theirs = tree.flatten(self.data.structure), tree.flatten(data.structure)
        return len(mine) == len(theirs) and all(
            a is b or (a is not None and b is not None and a.ctypes.data == b.ctypes.data and a.shape == b.shape
                       and a.dtype == b.dtype) for a, b in zip(mine, theirs))

    def start(self, order: np.ndarray, batch_size: int, steps: int) -> None:
        """Prepares `steps` batches of `batch_size` rows in the given order."""
        self._order = np.ascontiguousarray(order, np.int32)
        self._batch = batch_size
        self._steps = steps
        self._done = 0

    def advance(self, seconds: float) -> int:
        """Runs batches for about `seconds` (at least one); returns how many are done since `start`."""
        start = self._done * self._batch
        full = min(self._steps, len(self._order) // self._batch)  # batches of full size
        rows = self._batch if self._done < full else len(self._order) - start
        loop = self._loops.get(rows)
        if loop is None or loop.capture.structure != config.structure():
            # The first batch runs while it is recorded.
            capture = self.function.capture(self.data.take(self._order[start:start + rows]))
            self._loops[rows] = self._last = _Loop(capture, self.data, rows)
            self._done += 1
            return self._done
        self._last = loop
        order = self._order[start:]
        rounds = full - self._done if rows == self._batch else 1
        self._done += _core.run_loop([loop.gather, loop.capture.program], loop.index, order, 0, rounds, seconds)
        return self._done

    def logs(self) -> dict:
        """The result of the last batch that ran, as floats."""
        from pydl.models.steps import as_floats

        assert self._last is not None, "logs() before advance()"
        return as_floats(tree.map_structure(lambda y: y.data if isinstance(y, Tensor) else y,
                                             self._last.capture.outputs))


class Replay:
    """One recorded program for one array of one shape: the short way of a prediction that is asked for again and
    again, where looking up the signature would cost more than the network.

    Args:
        capture: of a function whose only array input is the array.
    """

    def __init__(self, capture):
        self.capture = capture
        self._input = capture.inputs[0].data
        self._run = capture.program.run
        self._output = capture.outputs.data

    def fits(self, x) -> bool:
        """Whether `x` is an array of this program's shape and dtype, and the program is up to date."""
        return (type(x) is np.ndarray and x.shape == self._input.shape and x.dtype == self._input.dtype
                and self.capture.structure == config.structure())

    def __call__(self, x: np.ndarray) -> np.ndarray:
        np.copyto(self._input, x)
        self._run()
        return self._output.copy()
