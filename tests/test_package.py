"""What is handed out: the source distribution, the installed files, and what both say about themselves."""

import re
import tarfile
from importlib import metadata
from pathlib import Path

import pytest

import pydl

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = Path(pydl.__file__).resolve().parent


@pytest.fixture(scope="module")
def project():
    tomllib = pytest.importorskip("tomllib")  # Python 3.11
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory, project):
    """(names below the folder of the archive, text of PKG-INFO); made while a build product lies among the sources."""
    backend = pytest.importorskip("scikit_build_core.build")
    folder = tmp_path_factory.mktemp("sdist")
    product = ROOT / "pydl" / "_left_over.so"
    product.touch()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(ROOT)
            path = folder / backend.build_sdist(str(folder))
    finally:
        product.unlink()
    with tarfile.open(path) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
        info = archive.extractfile(f"{path.name.removesuffix('.tar.gz')}/PKG-INFO").read().decode()
    return names, info


def files(folder: str) -> set[str]:
    """The sources of a folder: what is there but products of builds."""
    return {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*")
            if path.is_file() and path.suffix != ".so" and "__pycache__" not in path.parts}


def test_sdist_has_all_that_a_build_needs(sdist):
    names, _ = sdist
    assert files("pydl") | files("csrc") | {"CMakeLists.txt", "pyproject.toml", "README.md", "LICENSE"} <= names
    assert {"csrc/kernels.def", "csrc/isa.def", "csrc/types.def", "pydl/_text.pyx", "pydl/py.typed"} <= names


def test_sdist_has_nothing_else(sdist):
    names, _ = sdist
    beside = {name for name in names if not name.startswith(("pydl/", "csrc/"))}
    assert beside == {"CHANGELOG.md", "CITATION.cff", "CMakeLists.txt", "LICENSE", "PKG-INFO", "README.md",
                      "pyproject.toml"}
    assert not [name for name in names if name.endswith((".so", ".pyc", ".o"))]


def test_the_version_stands_in_one_place(sdist, project):
    _, info = sdist
    assert re.search(r"^Version: (.+)$", info, re.MULTILINE)[1] == pydl.__version__
    assert "version" not in project["project"]
    for path in ("pyproject.toml", "CITATION.cff", "CMakeLists.txt", "pydl/__init__.py"):
        assert pydl.__version__ not in re.findall(r"\d+\.\d+\.\d+", (ROOT / path).read_text(encoding="utf-8")), path


def test_wheels_are_made_for_the_versions_that_are_promised(project):
    classifiers = project["project"]["classifiers"]
    promised = [re.search(r":: (3\.\d+)$", line) for line in classifiers]
    built = [re.fullmatch(r"cp(3)(\d+)-\*", pattern) for pattern in project["tool"]["cibuildwheel"]["build"]]
    versions = [match[1] for match in promised if match]
    assert [".".join(match.groups()) for match in built] == versions
    assert project["project"]["requires-python"] == f">={versions[0]}"


def test_the_workflow_builds_what_cibuildwheel_is_told(project):
    yaml = pytest.importorskip("yaml")
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "wheels.yml").read_text(encoding="utf-8"))
    rows = workflow["jobs"]["wheels"]["strategy"]["matrix"]["include"]
    settings = project["tool"]["cibuildwheel"]
    for platform in ("linux", "macos"):
        assert [row["arch"] for row in rows if row["platform"] == platform] == settings[platform]["archs"]
    assert {row["platform"] for row in rows} == {"linux", "macos"}


def test_the_citation_has_what_its_format_demands():
    yaml = pytest.importorskip("yaml")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert all("name" in author or "family-names" in author for author in citation["authors"])


def test_type_checkers_find_the_annotations():
    assert (PACKAGE / "py.typed").is_file()
    assert {path.stem for path in PACKAGE.glob("*.pyi")} == {"_core", "_perceptron", "_text"}


@pytest.fixture
def installed():
    """Distribution whose files are the ones imported; the tests of it pass over a development build."""
    try:
        distribution = metadata.distribution("pydl")
    except metadata.PackageNotFoundError:
        pytest.skip("pydl is not installed here")
    if Path(distribution.locate_file("pydl")).resolve() != PACKAGE:
        pytest.skip("the package under test is not the installed one")
    return distribution


def test_what_is_installed(installed):
    names = {path.as_posix() for path in installed.files}
    sources = {name for name in files("pydl") if not name.endswith((".pyx", ".pxi"))}
    assert sources <= names
    inside = {name for name in names if name.startswith("pydl/") and "__pycache__" not in name} - sources
    assert {re.sub(r"\..*", "", name) for name in inside} == {"pydl/_core", "pydl/_perceptron", "pydl/_text"}
    assert not [name for name in names if name.startswith(("tests/", "csrc/", "bench/"))]
    assert installed.version == pydl.__version__


def test_licences_are_installed(installed):
    texts = [path.read_text(encoding="utf-8") for path in installed.files if "licenses" in path.parts]
    assert any("Apache License" in text for text in texts) and any("CC BY-SA 3.0" in text for text in texts)
