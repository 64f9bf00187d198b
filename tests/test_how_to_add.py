"""What adding something costs: the examples of the table "How to add" lie in the files which it names."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SUFFIXES = {".py", ".pyx", ".pxi", ".pyi", ".h", ".cpp", ".def"}
# A unit and its row of tests; a loss with a kernel, which has four beside its rows, is the largest.
MOST_FILES = 4


def table() -> dict[str, tuple[set[str], list[str]]]:
    """Kind -> (patterns of files, words of the example), from docs/architecture.md; kinds without example left out."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = page[page.index("## How to add"):page.index("## Conventions")]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in section.splitlines() if line.startswith("| ")]
    named = {kind: (set(re.findall(r"`([\w/.<>]+)`", files)), re.findall(r"`(\w+)`", example))
             for kind, files, example, _ in rows if kind}
    return {kind: (files, words) for kind, (files, words) in named.items() if words}


TABLE = table()


def mentions(words) -> set[str]:
    """The files of the code, the build and the rows of tests in which one of the words stands."""
    pattern = re.compile(rf"\b(?:{'|'.join(words)})\b")
    files = [path for folder in ("pydl", "csrc", "tests/cases") for path in (ROOT / folder).rglob("*")
             if path.suffix in SUFFIXES]
    return {path.relative_to(ROOT).as_posix() for path in [*files, ROOT / "CMakeLists.txt"]
            if pattern.search(path.read_text(encoding="utf-8"))}


def fits(path: str, patterns) -> bool:
    return any(re.fullmatch(re.sub(r"<\w+>", r"\\w+", pattern.replace(".", r"\.")), path) for pattern in patterns)


def test_the_table_is_read():
    assert {"layer", "op made of ops", "op with a kernel", "loss", "metric", "optimizer", "ISA level",
            "element type"} <= set(TABLE)
    for patterns, _ in TABLE.values():
        for pattern in patterns:
            assert "<" in pattern or (ROOT / pattern).exists(), f"there is no {pattern}"


@pytest.mark.parametrize("kind", TABLE)
def test_an_example_is_where_the_table_says(kind):
    patterns, words = TABLE[kind]
    found = mentions(words)
    assert found, f"{kind}: nothing mentions {words}"
    wrong = {path for path in found if not fits(path, patterns)}
    assert not wrong, f"{kind}: {words} also stand in {sorted(wrong)}, which the table does not name"
    assert len([path for path in found if not path.startswith("tests/")]) <= MOST_FILES


def test_patterns():
    assert fits("pydl/ops/sorting.py", {"pydl/ops/<family>.py"}) and fits("csrc/isa.def", {"csrc/isa.def"})
    assert not fits("pydl/ops/a/b.py", {"pydl/ops/<family>.py"}) and not fits("csrc/isaxdef", {"csrc/isa.def"})
