"""What the documentation is built with beside plugins: pages of the API reference, one for each public module, and
formulas as MathML, which browsers show without a script."""

from __future__ import annotations

import ast
import html
import importlib
import inspect
import re
import sys
import textwrap
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.structure.files import File

MODULES = {
    "models": "Models, `fit` and what belongs to it.", "layers": "Layers.", "ops": "Differentiable functions.",
    "activations": "Activations.", "losses": "Losses.", "metrics": "Metrics.", "optimizers": "Optimizers.",
    "optimizers.schedules": "Learning rates over time.", "initializers": "Initial weights.",
    "regularizers": "Penalties.", "constraints": "Constraints on weights.", "callbacks": "Callbacks.",
    "random": "Random numbers.", "inspection": "Looking inside.", "estimators": "Estimators of scikit-learn's kind.",
    "tuner": "Hyper-parameter search.", "applications": "Published architectures.", "datasets": "Data sets.",
    "utils": "Helpers.", "saving": "Files.", "config": "Settings.",
}


def public_names(module) -> list[str]:
    """Classes and functions that users reach as `module.name`."""
    names = getattr(module, "__all__", None) or [n for n in vars(module) if not n.startswith("_")]
    return sorted((n for n in names if inspect.isclass(getattr(module, n, None))
                   or inspect.isfunction(inspect.unwrap(getattr(module, n, None) or 0))), key=str.lower)


def is_written(value) -> bool:
    """Whether the docstring stands in the source of a class or function itself."""
    (first, *_) = ast.parse(textwrap.dedent(inspect.getsource(value))).body
    return isinstance(first, (ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(first) is not None


def api_page(path: str, summary: str) -> str:
    """Markdown of the page of `pydl.<path>`."""
    module = importlib.import_module(f"pydl.{path}")
    lines = [f"# pydl.{path}", "", summary, ""]
    seen: dict[int, str] = {}
    for name in public_names(module):
        value = inspect.unwrap(getattr(module, name))
        home, real = getattr(value, "__module__", "") or "", getattr(value, "__qualname__", name)
        if not home.startswith("pydl.") or not inspect.getdoc(value) or "<" in real:
            continue
        if id(value) in seen:
            lines += [f"## pydl.{path}.{name}", "", f"Another name of `{seen[id(value)]}`.", ""]
            continue
        seen[id(value)] = name
        lines += [f"::: {home}.{real}", "    options:", f"      heading: pydl.{path}.{name}",
                  f"      toc_label: {name}", "      show_root_full_path: false", ""]
        if not is_written(value):  # a docstring that is put together, or a parent's: the parser does not see it
            lines += ["```text", inspect.getdoc(value), "```", ""]
    return "\n".join(lines)


def kernels_page() -> str:
    """Markdown of the reference of kernels: each row with its element types and its contract."""
    from pydl import _core

    lines = ["# Kernels", "", "The rows of `csrc/kernels.def`: of each buffer its access, its element type, and what it"
             " holds at least, in terms of the other parameters; then what the numbers have to obey. The grammar stands"
             " at the head of that file.", ""]
    family = ""
    for kernel in sorted((getattr(_core.kernels, name) for name in dir(_core.kernels) if not name.startswith("_")),
                         key=lambda kernel: (kernel.family, kernel.name)):
        if kernel.family != family:
            family = kernel.family
            lines += [f"## {family}", ""]
        raises = f" Raises {kernel.error} for a bad element." if kernel.is_check else ""
        buffers = [row for row in kernel.params if row[2]]
        width = [max(len(row[i]) for row in buffers) for i in range(3)]
        relations = [clause for clause in kernel.contract.split("; ") if ":" not in clause or clause.startswith("any:")]
        lines += [f"### {kernel.name}", "", f"T = {', '.join(kernel.dtypes)}.{raises}", "", "```text",
                  f"{kernel.name}{kernel.signature}", "",
                  *("  ".join([*(text.ljust(width[i]) for i, text in enumerate(row[:3])), row[3]]) for row in buffers),
                  *relations, "```", ""]
    return "\n".join(lines)


def on_startup(**_):
    """Makes docs/picture.py known. At the end: an installed pydl comes before the one in the source folder."""
    sys.path.append(str(Path(__file__).parents[1]))


def on_files(files, config):
    entries = ["api/index.md"]
    index = ["# API reference", "", "From the docstrings of the package: shapes, ranges, errors, sources.", ""]
    for path, summary in MODULES.items():
        try:
            text = api_page(path, summary)
        except ModuleNotFoundError as error:
            if error.name == f"pydl.{path}":
                continue
            raise
        name = f"api/{path.replace('.', '_')}.md"
        files.append(File.generated(config, name, content=text))
        entries.append({f"pydl.{path}": name})
        index.append(f"* [`pydl.{path}`]({name.removeprefix('api/')}): {summary}")
    files.append(File.generated(config, "api/index.md", content="\n".join(index) + "\n"))
    files.append(File.generated(config, "kernels.md", content=kernels_page()))
    for entry in config.nav:
        if "API" in entry:
            entry["API"] = entries
    return files


def on_page_content(content, **_):
    for display, pattern in (("inline", r'<span class="arithmatex">\\\((.*?)\\\)</span>'),
                             ("block", r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>')):
        content = re.sub(pattern, lambda m, d=display: convert(html.unescape(m[1]), display=d), content,
                         flags=re.DOTALL)
    return content
