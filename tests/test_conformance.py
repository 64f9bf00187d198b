"""Every row of tests/cases/ through the harness."""

import importlib
import pkgutil

import pytest

import cases
from harness import Case, check_case


def rows():
    for module in pkgutil.iter_modules(cases.__path__):
        for row in getattr(importlib.import_module(f"cases.{module.name}"), "CASES", ()):
            if isinstance(row, Case):
                yield pytest.param(row, id=f"{module.name}:{row}")


@pytest.mark.parametrize("case", list(rows()))
def test_op(case):
    check_case(case)
