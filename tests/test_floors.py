"""Imports and includes go down only (docs/architecture.md), and the objects of an ISA level are sealed."""

import ast
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pydl import config

ROOT = Path(__file__).resolve().parent.parent

# From the ground up; rooms of one line may know each other.
FLOORS = [
    {"_core", "_perceptron", "_text"},
    {"dtypes", "progbar", "tree", "watch"},
    {"config"},
    {"autograd", "dtype_policies", "lookup", "operators", "registry", "symbolic", "tape", "tensor"},
    {"listing", "ops", "program", "signature"},
    {"random"},  # of floor 2 as well: made of ops, which do not know it
    {"activations", "backend", "constraints", "initializers", "regularizers"},
    {"losses", "metrics", "optimizers"},
    {"layers"},
    {"data"},
    {"saving"},
    {"callbacks"},
    {"models"},
    {"utils"},
    {"preprocessing"},
    {"applications", "datasets"},
    {"estimators", "inspection"},
    {"tuner"},
    {"cli"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
LAUNCHERS = {"ops", "random", "optimizers"}  # random is the room of the random ops

MAY_INCLUDE = {
    "base": ("base/", "build_lists.h", "isa.def", "types.def"),
    "simd": ("simd/", "base/"),
    "kernels": ("kernels/", "kernels.def", "types.def", "simd/", "base/"),
    "program": ("program/", "kernels/table.h", "types.def", "base/"),
    "bind": ("bind/", "program/", "kernels/table.h", "kernels.def", "types.def", "build_lists.h", "base/"),
}
# Headers of types and intrinsics only: whatever holds code would be compiled for a CPU the user may not have.
KERNELS_MAY_INCLUDE = {"cstddef", "cstdint", "utility", "immintrin.h", "arm_neon.h"}


def room_of(path: Path) -> str:
    return path.relative_to(ROOT / "pydl").parts[0].removesuffix(".py")


def imports(source: str):
    """(room, name or None) of every import from pydl, also inside functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "pydl":
            for alias in node.names:
                parts = [*node.module.split("."), alias.name]
                yield parts[1], parts[2] if len(parts) > 2 else None
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("pydl."):
                    yield alias.name.split(".")[1], None


def upward(room: str, source: str) -> list[str]:
    return [target for target, _ in imports(source) if FLOOR[target] > FLOOR[room]]


def python_files():
    return [path for path in sorted((ROOT / "pydl").rglob("*.py"))
            if path.parent != ROOT / "pydl" or path.name not in ("__init__.py", "__main__.py")]


def test_every_room_has_a_floor():
    assert {room_of(path) for path in python_files()} <= FLOOR.keys()


@pytest.mark.parametrize("path", python_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_python_imports_go_down(path):
    source = path.read_text(encoding="utf-8")
    assert not upward(room_of(path), source), f"{path.relative_to(ROOT)} knows a higher floor"
    if room_of(path) not in LAUNCHERS:
        assert ("_core", "kernels") not in imports(source), f"{path.relative_to(ROOT)} launches kernels"


def test_the_walk_sees_what_it_must():
    assert upward("ops", "def f():\n    from pydl.layers.base import Layer") == ["layers"]
    assert upward("tensor", "from pydl import config, ops") == ["ops"]
    assert upward("tensor", "import pydl.models.trainer") == ["models"]
    assert ("_core", "kernels") in imports("from pydl._core import kernels")


def cpp_files():
    return sorted(path for path in (ROOT / "csrc").rglob("*") if path.suffix in (".h", ".cpp"))


@pytest.mark.parametrize("path", cpp_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_includes_go_down(path):
    room = path.relative_to(ROOT / "csrc").parts[0]
    text = path.read_text(encoding="utf-8")
    for name in re.findall(r'#\s*include\s*"(.+?)"', text):
        assert name.startswith(MAY_INCLUDE[room]), f"{path.name} of {room}/ includes {name}"
    if room in ("kernels", "simd"):
        assert set(re.findall(r"#\s*include\s*<(.+?)>", text)) <= KERNELS_MAY_INCLUDE


# ---- seal --------------------------------------------------------------------------------------------------------

LEVELS = re.findall(r"^ISA\(\w+, (\w+),", (ROOT / "csrc" / "isa.def").read_text(encoding="utf-8"), re.MULTILINE)
OBJECT = re.compile(rf"CMakeFiles/(?P<family>\w+)_(?P<isa>{'|'.join(LEVELS)})\.dir/csrc/kernels/unit\.cpp\.o$")


def built_objects():
    """The objects in build/, from `pip install .` in this folder or a development build."""
    return [path for path in sorted((ROOT / "build").rglob("unit.cpp.o"))
            if OBJECT.search(path.as_posix()) and "sanitize" not in path.parts]  # a sanitizer adds constructors


def leaks(path) -> list[str]:
    """What an ISA object must not have: exported code, weak symbols, code that runs before the CPU is known."""
    symbols = subprocess.run(["nm", "-g", "--defined-only", path], capture_output=True, text=True, check=True).stdout
    sections = subprocess.run(["readelf", "-S", "-W", path], capture_output=True, text=True, check=True).stdout
    found = [line for line in symbols.splitlines() if not re.search(r" [DR] _ZN4pydl\w+_tablesE$", line)]
    return found + re.findall(r"\.(?:init_array|ctors)\S*", sections)


needs_binutils = pytest.mark.skipif(not (shutil.which("nm") and shutil.which("readelf")),
                                    reason="nm and readelf read the objects; install binutils")


def test_the_list_of_levels_is_the_one_that_runs():
    """isa.def as read here, by CMake and by the compiler."""
    assert {"baseline", "avx2", "avx512"} < set(LEVELS)
    assert [level for level in LEVELS if level in config.supported_isas()] == config.supported_isas()
    unnamed = [path for path in (ROOT / "build").rglob("unit.cpp.o") if not OBJECT.search(path.as_posix())]
    assert not unnamed, "objects of a level that isa.def does not have"


@needs_binutils
@pytest.mark.skipif(not built_objects(), reason="no objects in build/, where `pip install .` in this folder puts them")
def test_built_isa_objects_are_sealed():
    wrong = {str(path.relative_to(ROOT)): found for path in built_objects() if (found := leaks(path))}
    assert not wrong


def compiled(tmp_path, source: Path, *flags) -> Path:
    target = tmp_path / "unit.o"
    subprocess.run(["c++", "-std=gnu++20", "-fPIC", "-Wno-psabi", "-fno-exceptions", "-fno-rtti", f"-I{ROOT / 'csrc'}",
                    f"-I{source.parent}", "-DPYDL_FAMILY=softmax", "-DPYDL_UNIT_softmax=1", "-DPYDL_ISA=level", *flags,
                    "-c", source, "-o", target], check=True, timeout=600)
    return target


needs_compiler = pytest.mark.skipif(not shutil.which("c++"), reason="compiles a unit; install a C++ compiler")


@needs_binutils
@needs_compiler
def test_a_debug_build_is_sealed(tmp_path):
    """Without optimisation even std::max stays a weak function, which an optimised build hides."""
    assert not leaks(compiled(tmp_path, ROOT / "csrc" / "kernels" / "unit.cpp", "-O0"))


@needs_binutils
@needs_compiler
@pytest.mark.parametrize("code", ["#include <vector>\nvoid grow(std::vector<int>& x) { x.resize(9); }",
                                  "int f();\nstatic int value = f();\nint g() { return value; }"])
def test_the_seal_sees_leaks(tmp_path, code):
    (tmp_path / "leak.cpp").write_text(code)
    assert leaks(compiled(tmp_path, tmp_path / "leak.cpp"))
