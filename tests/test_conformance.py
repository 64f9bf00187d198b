"""Every row of tests/cases/ through the harness: one test for each property of each row."""

import importlib
import pkgutil

import pytest

import cases
from harness import ONCE, Case, LayerCase, properties


def rows(kind):
    """(name of its module, row) of every row of a kind."""
    for module in pkgutil.iter_modules(cases.__path__):
        for row in getattr(importlib.import_module(f"cases.{module.name}"), "CASES", ()):
            if isinstance(row, kind):
                yield module.name, row


def checks(kind):
    for module, row in rows(kind):
        for name in properties(row):
            marks = pytest.mark.once if name in ONCE else ()
            yield pytest.param(row, name, id=f"{module}:{row}-{name}", marks=marks)


@pytest.mark.parametrize("case, name", list(checks(Case)))
def test_op(case, name):
    properties(case)[name](case)


@pytest.mark.parametrize("case, name", list(checks(LayerCase)))
def test_layer(case, name, tmp_path):
    properties(case)[name](case, tmp_path)
