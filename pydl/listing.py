"""The steps of a recorded program as data: what each reads and writes, where it lies, its shape, the time it takes.

Shapes are those of the contracts of csrc/kernels.def, evaluated with the numbers of the step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydl import _core


@dataclass(frozen=True)
class Buffer:
    """Memory that a step uses.

    Attributes:
        name: the parameter; of a list with its place, `params[2]`.
        access: "in", "out" or "inout".
        dtype: of its elements.
        arena: bytes from the start of the program's memory; None for memory outside of it.
        outside: number of a buffer outside of the program's memory, by first use; None inside.
        shape: the factors of what the kernel's contract demands: (rows, n) for "rows n", the elements alone where
            the contract has a sum or a function; 0 stands where values and not sizes decide.
    """

    name: str
    access: str
    dtype: str
    arena: int | None
    outside: int | None
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def reads(self) -> bool:
        return self.access in ("in", "inout")

    @property
    def writes(self) -> bool:
        return self.access in ("out", "inout")

    def __str__(self) -> str:
        place = f"outside {self.outside}" if self.arena is None else f"arena {self.arena}"
        return f"{self.access} {self.name}: {self.dtype}[{', '.join(map(str, self.shape))}] at {place}"


@dataclass(frozen=True)
class Step:
    """One kernel call of a program.

    Attributes:
        label: of the layer or function that launched it, or "".
        kernel: name of its row in csrc/kernels.def.
        dtype: the row's T; "" for a kernel without buffers of type T.
        buffers: what it reads and writes, in the order of the row; an optional buffer that was not given is left out.
        numbers: sizes, flags, scalars and lists of sizes by parameter.
        seconds: that it takes; None where nobody measured.
    """

    label: str
    kernel: str
    dtype: str
    buffers: tuple[Buffer, ...]
    numbers: dict[str, int | float | tuple[int, ...]]
    seconds: float | None = None

    def __str__(self) -> str:
        head = f"{self.seconds * 1e6:.1f} us " if self.seconds is not None else ""
        head += f"{self.label}: " if self.label else ""
        numbers = "".join(f" {name}={value}" for name, value in self.numbers.items())
        return "\n".join([f"{head}{self.kernel} {self.dtype}{numbers}", *(f"    {buffer}" for buffer in self.buffers)])


def steps(program: _core.Program) -> list[Step]:
    """The steps of `program` in the order in which they run."""
    return [_step(*row) for row in program.steps()]


def profile(program: _core.Program, repeats: int = 1) -> list[Step]:
    """The steps with the least `seconds` that each took in `repeats` runs of the program, which does its work."""
    return [_step(*row) for row in program.profile(repeats)]


def describe(program: _core.Program) -> str:
    """The steps of `program` for readers: one line per step, and one below it per buffer."""
    return "\n".join(str(step) for step in steps(program))


def _step(label: str, kernel: str, dtype: str, arguments: Iterable[tuple[str, str, Any]],
          seconds: float | None) -> Step:
    buffers: list[Buffer] = []
    numbers: dict[str, int | float | tuple[int, ...]] = {}
    for name, access, value in arguments:
        if access == "sizes":
            numbers[name] = tuple(value)
        elif access in ("size", "scalar"):
            numbers[name] = value
        else:
            plain = access.rstrip("?[]")
            given = {f"{name}[{i}]": item for i, item in enumerate(value)} if access.endswith("[]") else {name: value}
            buffers += [_buffer(one, plain, item) for one, item in given.items() if item is not None]
    return Step(label, kernel, dtype, tuple(buffers), numbers, seconds)


def _buffer(name: str, access: str, item: tuple[str, int, int, tuple[int, ...]]) -> Buffer:
    dtype, arena, outside, shape = item
    return Buffer(name, access, dtype, None if arena < 0 else arena, None if outside < 0 else outside, shape)
