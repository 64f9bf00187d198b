"""Every row of tests/cases/ through the harness."""

import importlib
import pkgutil

import pytest

import cases
from harness import Case, LayerCase, check_case, check_layer


def rows(kind):
    for module in pkgutil.iter_modules(cases.__path__):
        for row in getattr(importlib.import_module(f"cases.{module.name}"), "CASES", ()):
            if isinstance(row, kind):
                yield pytest.param(row, id=f"{module.name}:{row}")


@pytest.mark.parametrize("case", list(rows(Case)))
def test_op(case):
    check_case(case)


@pytest.mark.parametrize("case", list(rows(LayerCase)))
def test_layer(case, tmp_path):
    check_layer(case, tmp_path)
