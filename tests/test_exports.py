"""`__all__` drives every export: a name is written down once, in the file that defines it."""

import ast
import importlib
import sys
from collections import Counter
from pathlib import Path

import pytest

import pydl
from pydl import exports

FOLDER = Path(pydl.__file__).parent
PACKAGES = ("applications", "callbacks", "estimators", "inspection", "layers", "metrics", "models", "ops", "optimizers",
            "utils")
APART = {"models": {"outputs", "recipe", "steps", "trainer"}, "ops": {"image"}, "optimizers": {"fused", "schedules"}}
# Files that list the names of others a second time, under another path of Keras.
DOORS = {"ops": {"nn", "numpy"}, "applications": {"resnet50"}}


def listed(path: Path) -> list[str]:
    """The names written in the `__all__` of a file."""
    found = []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign)):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if ast.unparse(target) == "__all__" and node.value is not None:
                texts = [item.value for item in ast.walk(node.value) if isinstance(item, ast.Constant)]
                found += [text for text in texts if isinstance(text, str) and text.isidentifier()]
    return found


def public_files(package: str) -> list[Path]:
    return [path for path in sorted((FOLDER / package).glob("*.py")) if not path.name.startswith("_")]


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_hands_on_what_its_files_list(package):
    module = importlib.import_module(f"pydl.{package}")
    for path in public_files(package):
        if path.stem in APART.get(package, ()):
            continue
        file = importlib.import_module(f"pydl.{package}.{path.stem}")
        for name in getattr(file, "__all__", ()):
            if package == "applications" and not name[0].isupper():  # differs between the models: stays in their files
                continue
            assert name in module.__all__, f"{path.relative_to(FOLDER)} lists {name}, which pydl.{package} lacks"
            assert getattr(module, name) is getattr(file, name)


def test_type_checkers_see_every_file_of_ops():
    """What `pydl/ops/__init__.py` gathers at run time, its part for type checkers imports file by file."""
    tree = ast.parse((FOLDER / "ops" / "__init__.py").read_text(encoding="utf-8"))
    starred = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.names[0].name == "*"}
    files = {path.stem for path in public_files("ops")} - APART["ops"] - DOORS["ops"]
    assert starred == {f"pydl.ops.{file}" for file in files}


@pytest.mark.parametrize("package", PACKAGES)
def test_no_name_is_written_down_twice(package):
    files = [path for path in public_files(package) if path.stem not in DOORS.get(package, ())]
    names = Counter(name for path in [*files, FOLDER / package / "__init__.py"] for name in listed(path))
    repeated = {name for name, count in names.items() if count > 1}
    assert repeated <= {"decode_predictions", "preprocess_input", "deserialize", "serialize"}  # each file has its own


ROOMS = ("activations", "backend", "constraints", "dtype_policies", "initializers", "losses", "random", "regularizers",
         "saving", "tree", "optimizers.schedules")


@pytest.mark.parametrize("name", ["pydl", *(f"pydl.{room}" for room in (*PACKAGES, *ROOMS))])
def test_every_name_is_there_once(name):
    module = importlib.import_module(name)
    assert sorted(module.__all__) == sorted(set(module.__all__))
    assert all(hasattr(module, entry) for entry in module.__all__)


def test_the_package_lists_what_it_imports():
    """`pydl.__all__` is written down, for type checkers: it must not fall behind."""
    rooms = {name for name in pydl.__all__ if isinstance(getattr(pydl, name), type(pydl))}
    assert set(pydl.__all__) - rooms - {"__version__"} == set(exports.public(vars(pydl)))


def test_a_type_checker_sees_the_names(tmp_path):
    """To one that is strict, an import of a package is private unless it says otherwise."""
    api = pytest.importorskip("mypy.api")
    (tmp_path / "user.py").write_text(
        "import pydl as keras\nfrom pydl.callbacks import EarlyStopping\nfrom pydl.inspection import grad_cam\n"
        "from pydl.layers import Dense\nfrom pydl.metrics import AUC, mean_squared_error\n"
        "from pydl.models import Sequential, clone_model\nfrom pydl.optimizers import Adam, ewma, schedules\n"
        "from pydl.utils import register_keras_serializable, to_categorical\n"
        "used = keras.Sequential, keras.Tensor, keras.layers.Dense, keras.optimizers.schedules.CosineDecay\n")
    found, errors, _ = api.run(["--strict", "--follow-imports=silent", "--config-file=", "--cache-dir",
                                str(tmp_path / "cache"), str(tmp_path / "user.py")])
    assert not errors and "Success" in found, found + errors


def test_gather_refuses_one_name_for_two_things(tmp_path, monkeypatch):
    package = tmp_path / "shop"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "a.py").write_text("__all__ = ['x', 'Y']\nx, Y = object(), 1\n")
    (package / "b.py").write_text("from shop.a import x\n__all__ = ['x']\n")
    (package / "_inner.py").write_text("raise ImportError('inner files stay apart')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    shop = importlib.import_module("shop")
    try:
        assert list(exports.gather("shop", shop.__path__)) == ["x", "Y"]
        assert list(exports.gather("shop", shop.__path__, wanted=lambda file, name: name.isupper())) == ["Y"]
        (package / "c.py").write_text("__all__ = ['x']\nx = object()\n")
        importlib.invalidate_caches()
        with pytest.raises(ImportError, match=r"shop\.c lists 'x'"):
            exports.gather("shop", shop.__path__)
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == "shop"]:
            del sys.modules[name]


def test_public_leaves_out_modules_and_private_names():
    assert exports.public({"b": 1, "_c": 2, "ast": ast, "a": 3, "annotations": None}) == ["a", "b"]
