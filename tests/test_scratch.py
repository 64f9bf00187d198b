"""No kernel reaches two functions that take the same slot of scratch memory (csrc/base/slots.h).

A call graph from the text of csrc/kernels/*.h: its nodes are the functions and structs of namespace level, its edges
the names that a node mentions, of its own header or one it includes. Coarser than C++ (functions of one name are one
node), so it finds more paths than there are."""

import re
from functools import cache
from pathlib import Path

import pytest

CSRC = Path(__file__).resolve().parent.parent / "csrc"
SLOTS = re.findall(r"^    (\w+),?", (CSRC / "base" / "slots.h").read_text(encoding="utf-8"), re.MULTILINE)[:-1]
ROWS = re.findall(r"^(?:FLOAT|NUMBER|DATA|CHECK)\((\w+),", (CSRC / "kernels.def").read_text(encoding="utf-8"),
                  re.MULTILINE)
HEAD = re.compile(r"(?:struct|class|enum)\s+(\w+)|(\w+)\s*(?:\(|=\s*\[\])")


def blocks(text: str) -> dict[str, str]:
    """The text of each function and struct by its name."""
    found: dict[str, str] = {}
    lines = re.sub(r"//.*", "", text).splitlines()
    chunk: list[str] = []
    for line in lines:
        if line.startswith(("namespace", "#", "}  //")) or not line.strip():
            continue
        chunk.append(line)
        # What stands at the left margin ends with its own brace or semicolon.
        if line.startswith("}") or (not line.startswith(" ") and line.rstrip().endswith((";", "}", ")"))):
            whole = re.sub(r"template <.*?>\n|\[\[.*?\]\]|PYDL_\w+ ", "", "\n".join(chunk))
            match = HEAD.search(whole)
            if match:
                name = match[1] or match[2]
                found[name] = found.get(name, "") + whole
            chunk = []
    return found


TEXTS = {path.name: path.read_text(encoding="utf-8") for path in (CSRC / "kernels").glob("*.h")}
BLOCKS = {name: blocks(text) for name, text in TEXTS.items()}
INCLUDES = {name: re.findall(r'#include "kernels/(\w+\.h)"', text) for name, text in TEXTS.items()}
WORDS = {(header, name): set(re.findall(r"\w+", text)) - {name}
         for header, found in BLOCKS.items() for name, text in found.items()}


@cache
def visible(header: str) -> frozenset[str]:
    return frozenset([header]).union(*map(visible, INCLUDES[header]))


def reached(header: str, name: str) -> set[tuple[str, str]]:
    found, waiting = set(), [(header, name)]
    while waiting:
        node = waiting.pop()
        if node in found:
            continue
        found.add(node)
        waiting += [(other, word) for other in visible(node[0]) for word in WORDS[node] & BLOCKS[other].keys()]
    return found


def taken(header: str, name: str) -> list[str]:
    return re.findall(r"Slot::(\w+)", BLOCKS[header][name])


def kernel_of(row: str) -> tuple[str, str] | None:
    places = [(header, row) for header, found in BLOCKS.items() if row in found]
    return places[0] if places else None  # rows that a macro defines take no scratch: see the last test


@pytest.mark.parametrize("row", ROWS)
def test_a_kernel_takes_each_slot_in_one_place(row):
    kernel = kernel_of(row)
    if kernel is None:
        return
    owners: dict[str, tuple[str, str]] = {}
    for node in sorted(reached(*kernel)):
        for slot in taken(*node):
            assert slot not in owners, f"{row}: Slot::{slot} is taken in {owners[slot]} and in {node}"
            owners[slot] = node


def test_all_slots_are_seen_and_used():
    seen = {slot for header, found in BLOCKS.items() for name in found for slot in taken(header, name)}
    written = {slot for text in TEXTS.values() for slot in re.findall(r"Slot::(\w+)", re.sub(r"//.*", "", text))}
    assert seen == written == set(SLOTS)
    reachable = {slot for row in ROWS if kernel_of(row) for node in reached(*kernel_of(row)) for slot in taken(*node)}
    assert reachable == set(SLOTS)
    assert not any("scratch" in text for text in re.findall(r"^#define.*(?:\\\n.*)*", "\n".join(TEXTS.values()), re.M))
