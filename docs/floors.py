"""The floors of pydl: who may know whom. The one place that says it.

`tests/test_floors.py` walks imports and includes by these tables and compares them with the text of
`docs/architecture.md`, which draws them, too. A floor has steps, from the ground up: what stands on one step may know
each other and all that stands below. `python docs/floors.py` prints the tables for the page.
"""

from __future__ import annotations

from typing import NamedTuple
from xml.sax.saxutils import escape


class Floor(NamedTuple):
    """A floor of the package.

    Attributes:
        name: what its rooms are.
        purpose: what they are for, in a line.
        steps: rooms (packages and files of `pydl/`) that stand side by side, from the ground up.
    """

    name: str
    purpose: str
    steps: tuple[str, ...]


class Room(NamedTuple):
    """A folder of the C++ code.

    Attributes:
        name: of the folder in `csrc/`.
        purpose: what is in it.
        includes: what its files may include beside their own folder: folders, and files by name.
    """

    name: str
    purpose: str
    includes: str


PYTHON = (
    Floor("Ground", "compiled code, settings, and what knows no tensor", (
        "_core _perceptron _text", "dtypes exports process progbar reading tree warning watch",
        "atomic config configs")),
    Floor("Tensors", "values, the tape, symbolic values, names of classes", (
        "operators probes tape", "registry tensor", "autograd dtype_policies lookup symbolic")),
    Floor("Functions", "differentiable ops, programs recorded from them, random numbers", (
        "listing signature", "ops program", "random")),
    Floor("Parts", "what a layer or a training step is put together from", (
        "activations backend constraints initializers regularizers", "losses metrics optimizers")),
    Floor("Layers", "functions with state", ("layers",)),
    Floor("Models", "the fit loop, its data, what is written to files", ("data", "saving", "callbacks", "models")),
    Floor("Uses", "what works with public names only", (
        "utils", "preprocessing", "applications datasets", "estimators inspection", "tuner", "cli")),
)

CSRC = (
    Room("base", "types, memory, threads, the CPU's level", "build_lists.h isa.def types.def"),
    Room("simd", "vectors and their functions", "base/"),
    Room("kernels", "loops, compiled once per ISA level", "simd/ base/ kernels.def types.def"),
    Room("program", "recorded steps and their replay", "kernels/table.h base/ types.def"),
    Room("bind", "the face towards Python", "program/ kernels/table.h base/ kernels.def types.def build_lists.h"),
)


def python_table() -> str:
    """The floors as a table in Markdown, the highest first."""
    lines = ["| floor | rooms, from the ground up | |", "|---|---|---|"]
    for number, floor in reversed(list(enumerate(PYTHON))):
        steps = " < ".join(", ".join(f"`{room}`" for room in step.split()) for step in floor.steps)
        lines.append(f"| {number} {floor.name} | {steps} | {floor.purpose} |")
    return "\n".join(lines)


def csrc_table() -> str:
    """The folders of the C++ code as a table in Markdown, the highest first."""
    lines = ["| `csrc/` | may include | |", "|---|---|---|"]
    for room in reversed(CSRC):
        includes = ", ".join(f"`{name}`" for name in room.includes.split())
        lines.append(f"| `{room.name}/` | {includes} | {room.purpose} |")
    return "\n".join(lines)


def picture() -> str:
    """The floors as a house, in SVG: a row per floor, a box per room, boxes of one step under one line."""
    width, name_width, row, gap, letter = 1080, 90, 40, 6, 6.6
    height = len(PYTHON) * (row + gap) + gap
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif"'
             ' font-size="11">']
    for number, floor in enumerate(PYTHON):
        top = height - (number + 1) * (row + gap)
        parts.append(f'<rect x="0" y="{top}" width="{width}" height="{row}" fill="#eef2f7"/>'
                     f'<text x="8" y="{top + 24}" font-weight="bold">{number} {escape(floor.name)}</text>')
        x = float(name_width)
        for step in floor.steps:
            if x > name_width:
                parts.append(f'<text x="{x:.0f}" y="{top + 24}" fill="#5b6b80">&lt;</text>')
                x += 12
            for room in step.split():
                box = len(room) * letter + 12
                parts.append(f'<rect x="{x:.0f}" y="{top + 8}" width="{box:.0f}" height="{row - 16}" rx="3"'
                             f' fill="white" stroke="#5b6b80"/>'
                             f'<text x="{x + 6:.0f}" y="{top + 24}">{escape(room)}</text>')
                x += box + 6
    return "".join([*parts, "</svg>"])


if __name__ == "__main__":
    print(python_table(), csrc_table(), sep="\n\n")
