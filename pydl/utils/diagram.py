"""Boxes, frames and arrows as SVG text, as a picture of matplotlib, and as DOT text."""

from __future__ import annotations

import io
import os
from typing import NamedTuple

from pydl.atomic import atomic_write
from pydl.warning import warn

FONT = 12.0  # pixels, at 96 per inch
CHARACTER = 0.602 * FONT  # all are as wide as that: the font is monospaced
_FAMILY = "DejaVu Sans Mono, Menlo, Consolas, monospace"
_LARGEST = 65_000  # pixels along a side that matplotlib draws


class Rect(NamedTuple):
    x: float
    y: float
    width: float
    height: float
    fill: str
    dashed: bool = False


class Text(NamedTuple):
    x: float
    y: float
    text: str
    colour: str = "black"
    bold: bool = False
    centred: bool = True


class Line(NamedTuple):
    """A line through points to an arrow's tip; `curved` runs smoothly, the vertical axis first when `down`."""

    points: tuple
    curved: bool
    down: bool


class Diagram:
    """A drawing of boxes and arrows, what `model_to_dot` returns.

    Attributes:
        width, height: in pixels, at 96 per inch.
        shapes: list of Rect, Text and Line, in the order they are drawn.
        dpi: resolution of pictures made of pixels.
        source: the graph as DOT text.
    """

    def __init__(self, width: float, height: float, shapes: list, dpi: float, source: str):
        self.width = width
        self.height = height
        self.shapes = shapes
        self.dpi = dpi
        self.source = source

    def to_string(self) -> str:
        """The graph in Graphviz's DOT language."""
        return self.source

    def create(self, prog=None, format: str = "png") -> bytes:
        """The picture as bytes: "svg", "dot", or a format that matplotlib writes ("png", "pdf", "jpg", ...).

        Raises:
            ImportError: without matplotlib, but for "svg" and "dot".
            ValueError: for a format that does not exist.
        """
        if format == "svg":
            return self.svg().encode()
        if format in ("dot", "gv", "raw"):
            return self.source.encode()
        buffer = io.BytesIO()
        figure = self.figure()
        if format not in figure.canvas.get_supported_filetypes():
            raise ValueError(f"Expected a format among svg, dot, {', '.join(figure.canvas.get_supported_filetypes())};"
                             f" received {format!r}.")
        figure.savefig(buffer, format=format, dpi=self._fitting_dpi())
        return buffer.getvalue()

    def write(self, path, prog=None, format: str | None = None) -> None:
        """Saves the picture; the suffix of the path tells the format when none is given."""
        format = format or os.path.splitext(os.fspath(path))[1][1:].lower() or "png"
        data = self.create(prog, format)
        with atomic_write(path) as file:
            file.write(data)

    def _fitting_dpi(self) -> float:
        largest = _LARGEST * 96 / max(self.width, self.height)
        if self.dpi > largest:
            warn(f"A picture of {self.width / 96:.0f} x {self.height / 96:.0f} inches at {self.dpi} dpi is"
                 f" too large to draw; it is saved at {largest:.0f} dpi. An .svg file has no such limit.")
        return min(self.dpi, largest)

    # ---- SVG ---------------------------------------------------------------------------------------------------

    def svg(self) -> str:
        """The picture as SVG text."""
        parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width:.0f}" height="{self.height:.0f}"'
                 f' viewBox="0 0 {self.width:.0f} {self.height:.0f}" font-family="{_FAMILY}" font-size="{FONT:g}">',
                 f'<rect width="{self.width:.0f}" height="{self.height:.0f}" fill="white"/>']
        for shape in self.shapes:
            parts += self._as_svg(shape)
        return "\n".join([*parts, "</svg>\n"])

    def _as_svg(self, shape) -> list[str]:
        if isinstance(shape, Rect):
            dash = ' stroke-dasharray="6 4"' if shape.dashed else ""
            return [f'<rect x="{shape.x:.1f}" y="{shape.y:.1f}" width="{shape.width:.1f}" height="{shape.height:.1f}"'
                    f' fill="{shape.fill}" stroke="black"{dash}/>']
        if isinstance(shape, Text):
            from html import escape

            return [f'<text x="{shape.x:.1f}" y="{shape.y + 0.35 * FONT:.1f}" fill="{shape.colour}"'
                    + (' font-weight="bold"' if shape.bold else "")
                    + (' text-anchor="middle"' if shape.centred else "")
                    + f' xml:space="preserve">{escape(shape.text)}</text>']
        path = [f"M{shape.points[0][0]:.1f} {shape.points[0][1]:.1f}"]
        for a, b in zip(shape.points, shape.points[1:]):
            path.append("C" + " ".join(f"{x:.1f} {y:.1f}" for x, y in (*_handles(a, b, shape.down), b))
                        if shape.curved else f"L{b[0]:.1f} {b[1]:.1f}")
        corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in _arrow(shape))
        return [f'<path d="{"".join(path)}" fill="none" stroke="black" stroke-width="1.2"/>',
                f'<polygon points="{corners}"/>']

    def _repr_svg_(self) -> str:  # what a notebook shows
        return self.svg()

    # ---- matplotlib --------------------------------------------------------------------------------------------

    def figure(self):
        """The picture as a Figure of matplotlib.

        Raises:
            ImportError: when matplotlib is not installed.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise ImportError("Pictures other than .svg need matplotlib, which is not installed: pip install"
                              " 'pydl[viz]'.") from error
        from matplotlib import patches
        from matplotlib.path import Path

        figure = Figure(figsize=(self.width / 96, self.height / 96), dpi=96)
        cell = figure.add_axes((0, 0, 1, 1), xlim=(0, self.width), ylim=(self.height, 0))
        cell.axis("off")
        for z, shape in enumerate(self.shapes):
            if isinstance(shape, Rect):
                cell.add_patch(patches.Rectangle((shape.x, shape.y), shape.width, shape.height, facecolor=shape.fill,
                                                 edgecolor="black", linewidth=0.75, zorder=z,
                                                 linestyle=(0, (6, 4)) if shape.dashed else "-"))
            elif isinstance(shape, Text):
                cell.text(shape.x, shape.y, shape.text.replace("$", r"\$"), color=shape.colour, size=0.75 * FONT,
                          family="DejaVu Sans Mono", weight="bold" if shape.bold else "normal", zorder=z,
                          va="center", ha="center" if shape.centred else "left")
            else:
                points, codes = [shape.points[0]], [Path.MOVETO]
                for a, b in zip(shape.points, shape.points[1:]):
                    points += [*_handles(a, b, shape.down), b] if shape.curved else [b]
                    codes += [Path.CURVE4] * 3 if shape.curved else [Path.LINETO]
                cell.add_patch(patches.PathPatch(Path(points, codes), fill=False, linewidth=0.9, zorder=z))
                cell.add_patch(patches.Polygon(_arrow(shape), facecolor="black", linewidth=0, zorder=z))
        return figure


def _handles(a, b, down: bool):
    """Control points of a cubic curve that leaves `a` and reaches `b` along the direction of the ranks."""
    if down:
        middle = (a[1] + b[1]) / 2
        return (a[0], middle), (b[0], middle)
    middle = (a[0] + b[0]) / 2
    return (middle, a[1]), (middle, b[1])


def _arrow(line: Line, length: float = 8.0, half: float = 3.5):
    """Corners of the arrow's head at the last point."""
    (x, y), before = line.points[-1], next((p for p in line.points[-2::-1] if p != line.points[-1]), None)
    if before is None:
        return [(x, y)] * 3
    dx, dy = x - before[0], y - before[1]
    if line.curved:
        dx, dy = (0.0, dy or 1.0) if line.down else (dx or 1.0, 0.0)
    size = (dx * dx + dy * dy) ** 0.5
    dx, dy = dx / size, dy / size
    return [(x, y), (x - length * dx - half * dy, y - length * dy + half * dx),
            (x - length * dx + half * dy, y - length * dy - half * dx)]
