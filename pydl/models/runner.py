"""Runs a recorded step over the rows of arrays, many batches per visit to C++."""

from __future__ import annotations

import numpy as np

from pydl import _core, tree
from pydl.data.adapters import ArrayData
from pydl.ops.indexing import gather_rows_into
from pydl.program import Pool, RecordedFunction
from pydl.signature import rebuild, signature
from pydl.tensor import Tensor

_MAX_LOOPS = 16  # sizes of batches whose programs a runner keeps; each keeps the memory of its intermediate values


def _arrays(structure) -> list[np.ndarray]:
    """The arrays of a structure, in the order of a program's inputs."""
    found: list[np.ndarray] = []
    rebuild(structure, found.append)
    return found


class _Loop:
    """The programs of one batch size: gather the rows, then the step."""

    def __init__(self, capture, data: ArrayData, rows: int):
        self.capture = capture
        self.index = np.zeros(rows, np.int32)
        self.gather = _core.Program()
        with _core.Recording(self.gather):
            for source, buffer in zip(_arrays(data.structure), capture.inputs):
                gather_rows_into(Tensor(source), Tensor(self.index), buffer)
        self.gather.seal()


class ArrayRunner:
    """Feeds batches of rows to a recorded function, the gathering of rows included in what is replayed. For one thread
    at a time: it keeps an instance of the function's program to itself.

    Args:
        function: `RecordedFunction` of (x, y, sample_weight) that returns a dict of scalars.
        data: the arrays; they must stay unchanged in shape and place while the runner is used.
    """

    def __init__(self, function: RecordedFunction, data: ArrayData):
        self.function = function
        self.data = data
        self._loops: dict[int, _Loop] = {}
        self._last: _Loop | None = None

    def reads(self, data: ArrayData) -> bool:
        """Whether this runner already gathers from the very arrays of `data`, in its very structure."""
        (mine, arrays), (theirs, others) = (signature(d.structure, str) for d in (self.data, data))
        return mine == theirs and all(a.ctypes.data == b.ctypes.data for a, b in zip(arrays, others))

    def start(self, order: np.ndarray, batch_size: int, steps: int, done: int = 0) -> None:
        """Prepares `steps` batches of `batch_size` rows in the given order, of which `done` have run before. Raises
        IndexError for a row that is none: a replay does not look."""
        self._order = np.ascontiguousarray(order, np.int32)
        if self._order.size and not 0 <= self._order.min() <= self._order.max() < self.data.rows:
            raise IndexError(f"Rows {self._order.min()} to {self._order.max()} were asked for; there are rows 0 to"
                             f" {self.data.rows - 1}.")
        self._batch = batch_size
        self._steps = steps
        self._done = done

    def advance(self, seconds: float) -> int:
        """Runs batches for about `seconds` (at least one); returns how many are done since `start`."""
        start = self._done * self._batch
        full = min(self._steps, len(self._order) // self._batch)  # batches of full size
        rows = self._batch if self._done < full else len(self._order) - start
        loop = self._loops.get(rows)
        if loop is None or not loop.capture.dependencies.hold():
            # The first batch runs while it is recorded.
            capture = self.function.capture(self.data.take(self._order[start:start + rows]))
            self._loops.pop(rows, None)
            while len(self._loops) >= _MAX_LOOPS:  # the oldest
                del self._loops[next(iter(self._loops))]
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
        assert self._last is not None, "logs() before advance()"
        return as_floats(tree.map_structure(lambda y: y.data if isinstance(y, Tensor) else y,
                                            self._last.capture.outputs))


class Replay:
    """The program for one array of one shape, the short way of a prediction that is asked for again and again, where
    looking up the signature would cost more than the network.

    Args:
        function: whose only array input is the array.
        pool: its program's instances.
    """

    def __init__(self, function: RecordedFunction, pool: Pool):
        self._gate, self._places = function.gate, pool.places
        self._instances, self._holds = pool.instances, pool.dependencies.hold

    @classmethod
    def of(cls, function: RecordedFunction, args) -> Replay | None:
        """The short way for arguments like these; None when there is no program, or one
        of another form."""
        pool = function.pool(signature((args, {}), str)[0])
        if pool is None or pool.writes:
            return None
        capture = pool.last
        return cls(function, pool) if len(capture.inputs) == 1 and isinstance(capture.outputs, Tensor) else None

    def __call__(self, x) -> np.ndarray | None:
        """A fresh array with the output for `x`; None when it is no such array, or the program is stale or taken."""
        return _core.replay(self._gate, self._places, self._instances, x) if self._holds() else None


def as_floats(logs) -> dict:
    """The scalars of a step's result by name, those of nested dicts (a metric with several results) too."""
    if not isinstance(logs, dict):
        raise ValueError(f"A train or test step returns a dict of scalars; received {type(logs).__name__}.")
    flat = {}
    for k, v in logs.items():  # a metric may have several results, as all compiled ones together have
        flat.update(v if isinstance(v, dict) else {k: v})
    return {k: float(v) if np.ndim(v) == 0 else np.array(v) for k, v in flat.items()}
