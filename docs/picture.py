"""Figures of matplotlib on a page: a code block with html="on" prints what `picture` returns."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import re
from pathlib import Path

import matplotlib

# The same bytes at every build; text stays text.
_SETTINGS = {"svg.fonttype": "none", "svg.hashsalt": "pydl"}
_WHITE = "max-width:100%;height:auto;background:white"


def picture(figure, caption: str) -> str:
    """A figure, or the text of an SVG picture, as <figure> with an inline SVG and its caption."""
    text = figure
    if not isinstance(figure, str):
        file = io.StringIO()
        with matplotlib.rc_context(_SETTINGS):
            figure.savefig(file, format="svg", metadata={"Date": None})
        text = file.getvalue()
    text = text[text.index("<svg"):]
    # Names are unique within a picture only; a page has several.
    own = "p" + hashlib.sha256((caption + text).encode()).hexdigest()[:8]
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{own}-", text)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, count=1, flags=re.DOTALL)
    text = text.replace("<svg ", f'<svg role="img" style="{_WHITE}" ', 1)
    return _framed(text, caption)


def animation(path, caption: str) -> str:
    """A GIF file as <figure>, inline."""
    content = base64.b64encode(Path(path).read_bytes()).decode()
    name = html.escape(caption, quote=True)
    return _framed(f'<img alt="{name}" style="{_WHITE}" src="data:image/gif;base64,{content}">', caption)


def _framed(content: str, caption: str) -> str:
    return f"<figure>{content}<figcaption>{html.escape(caption)}</figcaption></figure>"
