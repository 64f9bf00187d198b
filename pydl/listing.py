"""The steps of a recorded program as data: what each reads and writes, where it lies and how much of it there is."""

from __future__ import annotations

from dataclasses import dataclass

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
        elements: how many the kernel's contract demands; 0 where values and not sizes decide.
    """

    name: str
    access: str
    dtype: str
    arena: int | None
    outside: int | None
    elements: int

    @property
    def reads(self) -> bool:
        return self.access in ("in", "inout")

    @property
    def writes(self) -> bool:
        return self.access in ("out", "inout")

    def __str__(self):
        place = f"outside {self.outside}" if self.arena is None else f"arena {self.arena}"
        return f"{self.access} {self.name}: {self.dtype}[{self.elements}] at {place}"


@dataclass(frozen=True)
class Step:
    """One kernel call of a program.

    Attributes:
        label: of the layer or function that launched it, or "".
        kernel: name of its row in csrc/kernels.def.
        dtype: the row's T; "" for a kernel without buffers of type T.
        buffers: what it reads and writes, in the order of the row; an optional buffer that was not given is left out.
        numbers: sizes, flags, scalars and lists of sizes by parameter.
    """

    label: str
    kernel: str
    dtype: str
    buffers: tuple[Buffer, ...]
    numbers: dict[str, int | float | tuple[int, ...]]

    def __str__(self):
        head = f"{self.label}: " if self.label else ""
        numbers = "".join(f" {name}={value}" for name, value in self.numbers.items())
        return "\n".join([f"{head}{self.kernel} {self.dtype}{numbers}", *(f"    {buffer}" for buffer in self.buffers)])


def steps(program: _core.Program) -> list[Step]:
    """The steps of `program` in the order in which they run."""
    return [_step(*row) for row in program.steps()]


def describe(program: _core.Program) -> str:
    """The steps of `program` for readers: one line per step, and one below it per buffer."""
    return "\n".join(str(step) for step in steps(program))


def _step(label, kernel, dtype, arguments) -> Step:
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
    return Step(label, kernel, dtype, tuple(buffers), numbers)


def _buffer(name, access, item) -> Buffer:
    dtype, arena, outside, elements = item
    return Buffer(name, access, dtype, None if arena < 0 else arena, None if outside < 0 else outside, elements)
