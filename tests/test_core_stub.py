"""`pydl/_core.pyi` says what the compiled module has: the same names, attributes, methods and argument counts."""

import ast
import inspect
import re
from pathlib import Path

import pytest

from pydl import _core

STUB = ast.parse((Path(__file__).resolve().parent.parent / "pydl" / "_core.pyi").read_text(encoding="utf-8"))
DEFINITIONS = {node.name: node for node in STUB.body if isinstance(node, (ast.ClassDef, ast.FunctionDef))}
CLASSES = [name for name, node in DEFINITIONS.items() if isinstance(node, ast.ClassDef) and not name.startswith("_")]
FUNCTIONS = [name for name, node in DEFINITIONS.items() if isinstance(node, ast.FunctionDef)]
VALUES = [node.target.id for node in STUB.body if isinstance(node, ast.AnnAssign)]


def arity(signature: str) -> int:
    """Number of arguments in the first line of a pybind11 docstring, `name(a: int, b: list[int] = 1) -> int`."""
    inside = signature[signature.index("(") + 1:signature.rindex(") ->")]
    while "[" in inside:
        inside = re.sub(r"\[[^\[\]]*\]", "", inside)
    return len(inside.split(",")) if inside.strip() else 0


def test_the_module_and_the_stub_have_the_same_names():
    assert {name for name in dir(_core) if not name.startswith("_")} == {*CLASSES, *FUNCTIONS, *VALUES}


@pytest.mark.parametrize("name", CLASSES)
def test_classes_have_the_same_members(name):
    members = {node.name for node in DEFINITIONS[name].body if isinstance(node, ast.FunctionDef)}
    known = {"__call__", "__enter__", "__exit__", "__init__", "__len__"}
    of_pybind = set(dir(type("Empty", (), {}))) | {"_pybind11_conduit_v1_"}
    assert {m for m in vars(getattr(_core, name)) if m not in of_pybind or m == "__init__"} - {"__init__"} == (
        members - {"__init__"})
    assert all(m in known for m in members if m.startswith("__"))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_take_as_many_arguments(name):
    assert arity(inspect.getdoc(getattr(_core, name)).splitlines()[0]) == len(DEFINITIONS[name].args.args)


@pytest.mark.parametrize("name", CLASSES)
def test_methods_take_as_many_arguments(name):
    for node in DEFINITIONS[name].body:
        if isinstance(node, ast.FunctionDef) and not node.decorator_list and node.name != "__call__":  # Kernel's: any
            assert arity(inspect.getdoc(vars(getattr(_core, name))[node.name]).splitlines()[0]) == len(
                node.args.args) + (node.args.vararg is not None), node.name


def test_every_kernel_is_a_kernel():
    names = [name for name in dir(_core.kernels) if not name.startswith("__")]
    assert len(names) > 100
    assert all(isinstance(getattr(_core.kernels, name), _core.Kernel) for name in names)
