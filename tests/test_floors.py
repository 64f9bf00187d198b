"""Imports and includes go down only (docs/architecture.md), and the objects of an ISA level are sealed."""

import ast
import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pydl import config

ROOT = Path(__file__).resolve().parent.parent


def table():
    """`docs/floors.py`, the table that the page of the architecture shows."""
    spec = importlib.util.spec_from_file_location("floors", ROOT / "docs" / "floors.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TABLE = table()
STEPS = [step.split() for floor in TABLE.PYTHON for step in floor.steps]
STEP = {room: number for number, rooms in enumerate(STEPS) for room in rooms}
LAUNCHERS = {"ops", "random", "optimizers"}  # random is the room of the random ops
MAY_INCLUDE = {room.name: (f"{room.name}/", *room.includes.split()) for room in TABLE.CSRC}
# Headers of types and intrinsics only: whatever holds code would be compiled for a CPU the user may not have.
KERNELS_MAY_INCLUDE = {"cstddef", "cstdint", "utility", "immintrin.h", "arm_neon.h"}

# Imports inside functions: which files have them of whom, and why they are not at the head of the file.
LATE = {
    ("cli", "pydl"): "`pydl --help` is answered without loading the package",
    ("cli", "inspection"): "as above",
    ("ops", "ops"): "another family of ops, whose file may not be loaded yet: `ops.name` is looked up at call time",
    ("ops", "_core"): "reached by one function only",
    ("registry", "tensor"): "a config may hold a tensor, and tensors stand beside the registry",
    ("saving", "saving"): "saving/legacy.py imports h5py, which is loaded at the first file",
    ("callbacks", "saving"): "archives, JSON and what they need are loaded at the first file, not by `import pydl`",
    ("models", "saving"): "as above",
    ("applications", "utils"): "nothing is fetched unless published weights or names of classes are asked for",
}


# ---- Python ----------------------------------------------------------------------------------------------------------


def room_of(path: Path) -> str:
    return path.relative_to(ROOT / "pydl").parts[0].removesuffix(".py")


def python_files():
    return sorted((ROOT / "pydl").rglob("*.py"))


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


FILES = {module_of(path): path for path in python_files()}
COMPILED = {"pydl._core", "pydl._text", "pydl._perceptron"}


def imports(source: str):
    """(module, name or None, whether inside a function) of every import from pydl that runs."""
    tree = ast.parse(source)
    inside = {id(child) for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.Lambda))
              for child in ast.walk(node)}
    typing_only = {id(child) for node in ast.walk(tree) if isinstance(node, ast.If)
                   and ast.unparse(node.test).endswith("TYPE_CHECKING") for child in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "pydl":
            for alias in node.names:
                yield node.module, alias.name, id(node) in inside
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "pydl":
                    yield alias.name, None, id(node) in inside


def targets(source: str):
    """(file or room, whether inside a function) of every import: "pydl.ops.loss", "pydl._core", "pydl"."""
    for module, name, late in imports(source):
        full = f"{module}.{name}"
        yield (full if full in FILES or full in COMPILED else module), late


def upward(room: str, source: str) -> list[str]:
    rooms = [(target.split(".") + [""])[1] for target, _ in targets(source)]
    return [target for target in rooms if target and STEP[target] > STEP[room]]


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """The groups of files each of which leads to all others of the group."""
    def reached(start):
        found, waiting = set(), [start]
        while waiting:
            for target in edges.get(waiting.pop(), ()):
                if target not in found:
                    found.add(target)
                    waiting.append(target)
        return found

    reach = {file: reached(file) for file in edges}
    groups = {frozenset(other for other in reach[file] if file in reach.get(other, ())) for file in edges
              if file in reach[file]}
    return sorted(sorted(group) for group in groups)


def file_edges() -> dict[str, set[str]]:
    """File -> the files it imports when it is loaded; a package that gathers its files imports them all. Ops are left
    out: their files hold the package and look `ops.name` up at call time, so that any op may use any other."""
    edges = {}
    for name, path in FILES.items():
        source = path.read_text(encoding="utf-8")
        edges[name] = {target for target, late in targets(source) if not late and target != name} & FILES.keys()
        if "_gather(__name__" in source and path.name == "__init__.py" and name != "pydl.ops":
            edges[name] |= {other for other in FILES if re.fullmatch(rf"{re.escape(name)}\.[a-z]\w*", other)}
    return edges


INNER_FILES = [path for path in python_files()
               if path.parent != ROOT / "pydl" or path.name not in ("__init__.py", "__main__.py")]


def test_every_room_has_a_floor():
    assert {room_of(path) for path in INNER_FILES} <= STEP.keys()
    assert STEP.keys() <= {room_of(path) for path in INNER_FILES} | {name.removeprefix("pydl.") for name in COMPILED}


@pytest.mark.parametrize("path", INNER_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_python_imports_go_down(path):
    source = path.read_text(encoding="utf-8")
    assert not upward(room_of(path), source), f"{path.relative_to(ROOT)} knows a higher floor"
    if room_of(path) not in LAUNCHERS:
        assert not any(module == "pydl._core" and name == "kernels" for module, name, _ in imports(source)), \
            f"{path.relative_to(ROOT)} launches kernels"


def test_no_two_files_import_each_other():
    assert not circles(file_edges())


def test_imports_inside_functions_have_a_reason():
    """Each of them may hide a circle from the test above; a room and the room it reaches stand in LATE, or it fails."""
    found = {(room_of(path), (target.split(".") + ["pydl"])[1] if target != "pydl" else "pydl")
             for path in INNER_FILES for target, late in targets(path.read_text(encoding="utf-8")) if late}
    assert found == LATE.keys()


def test_the_walk_sees_what_it_must():
    assert upward("ops", "def f():\n    from pydl.layers.base import Layer") == ["layers"]
    assert upward("tensor", "from pydl import config, ops") == ["ops"]
    assert upward("tensor", "import pydl.models.trainer") == ["models"]
    assert ("pydl._core", "kernels", False) in imports("from pydl._core import kernels")
    assert list(targets("def f():\n    from pydl import ops\nfrom pydl.ops import softmax")) == [
        ("pydl.ops.softmax", False), ("pydl.ops", True)]
    assert not list(targets("if TYPE_CHECKING:\n    from pydl import ops"))


def test_circles_are_seen():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": {"e"}}) == [["a", "b", "c"], ["e"]]
    assert not circles({"a": {"b", "c"}, "b": {"c"}, "c": set()})


def test_the_lower_floors_are_typed():
    """The strict part of mypy's configuration names every file of floors 0 to 2."""
    rooms = {room for floor in TABLE.PYTHON[:3] for step in floor.steps for room in step.split()}
    wanted = {f"pydl.{room}" + ".*" * (ROOT / "pydl" / room).is_dir() for room in rooms
              if f"pydl.{room}" not in COMPILED}
    policy = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    strict = policy[policy.index("[[tool.mypy.overrides]]"):policy.index("disallow_untyped_defs = true")]
    assert set(re.findall(r'"(pydl\.[\w.*]+)"', strict)) == wanted


def test_the_page_shows_the_table():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for text in (TABLE.python_table(), TABLE.csrc_table()):
        assert text in page, f"docs/architecture.md should say (python docs/floors.py prints it):\n{text}"
    assert "floors.picture()" in page


def test_the_picture_holds_every_room():
    picture = TABLE.picture()
    for room in STEP:
        assert f">{room}</text>" in picture
    width = int(re.search(r'viewBox="0 0 (\d+)', picture)[1])
    ends = [float(x) + float(w) for x, w in re.findall(r'<rect x="([\d.]+)" y="\d+" width="([\d.]+)"', picture)]
    assert max(ends) <= width


# ---- C++ -------------------------------------------------------------------------------------------------------------


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
OBJECT = re.compile(rf"CMakeFiles/\w+_(?:{'|'.join(LEVELS)})\.dir/csrc/kernels/(?:unit|tiles)\.cpp\.o$")


def kernel_objects():
    return sorted(path for path in (ROOT / "build").rglob("*.cpp.o") if path.parent.name == "kernels"
                  and path.parent.parent.name == "csrc")


def built_objects():
    """The objects in build/, from `pip install .` in this folder or a development build. (A sanitizer's have
    constructors.)"""
    return [path for path in kernel_objects()
            if OBJECT.search(path.as_posix()) and not {"sanitize", "thread"} & {*path.parts}]


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
    unnamed = [path for path in kernel_objects() if not OBJECT.search(path.as_posix())]
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
    for name in ("unit.cpp", "tiles.cpp"):
        assert not leaks(compiled(tmp_path, ROOT / "csrc" / "kernels" / name, "-O0"))


@needs_binutils
@needs_compiler
@pytest.mark.parametrize("code", ["#include <vector>\nvoid grow(std::vector<int>& x) { x.resize(9); }",
                                  "int f();\nstatic int value = f();\nint g() { return value; }"])
def test_the_seal_sees_leaks(tmp_path, code):
    (tmp_path / "leak.cpp").write_text(code)
    assert leaks(compiled(tmp_path, tmp_path / "leak.cpp"))
