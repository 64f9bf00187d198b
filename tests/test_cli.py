"""The command `pydl`."""

import importlib.util
import re
import subprocess
import sys

import numpy as np
import pytest

import pydl
from harness import PYDL_FOLDER
from pydl import cli


def run(*arguments):
    # `-m` looks into the working directory first: that of the package under test, not that of the sources.
    return subprocess.run([sys.executable, "-m", "pydl", *arguments], capture_output=True, text=True, timeout=300,
                          cwd=PYDL_FOLDER)


def test_info_in_a_process_of_its_own():
    done = run("info")
    assert done.returncode == 0, done.stderr
    for part in (pydl.__version__, pydl.config.isa(), "threads", pydl.config.threading_layer(),
                 pydl.config.threading_runtime(), "numpy", "h5py", "tqdm"):
        assert part in done.stdout


def test_unknown_command_fails_with_usage(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["train"])
    assert caught.value.code == 2 and "usage: pydl" in capsys.readouterr().err


@pytest.mark.parametrize(("option", "value"), [("--epochs", "0"), ("--output", "no_such_folder/a.png")])
def test_demo_refuses(option, value, capsys):
    with pytest.raises(SystemExit):
        cli.main(["demo", option, value])
    assert f"received {value}" in capsys.readouterr().err


def test_demo_learns_reports_and_draws(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["demo", "--epochs", "2"]) == 0
    shown = capsys.readouterr().out
    assert "Epoch 2/2" in shown and "LeNet-5" in shown
    pattern = r"test accuracy ([\d.]+)% after 2 epochs in [\d.]+ s, tests included: ([\d,]+) images/s"
    accuracy, images = re.search(pattern, shown).groups()
    assert float(accuracy) > 85
    assert int(images.replace(",", "")) > 0
    if importlib.util.find_spec("matplotlib"):
        assert (tmp_path / "pydl-demo.png").read_bytes().startswith(b"\x89PNG")
    else:
        assert "pip install 'pydl[viz]'" in shown


@pytest.fixture
def results():
    """(history, images, labels, predictions) with one mistake."""
    images, labels = np.zeros((40, 28, 28, 1), "float32"), np.arange(40) % 10
    predictions = np.eye(10)[labels]
    predictions[3] = np.eye(10)[0]
    return {"loss": [1.0, 0.5], "val_loss": [1.0, 0.6]}, images, labels, predictions


def test_picture_goes_where_it_is_told(results, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    target = tmp_path / "here.png"
    cli.draw(*results, str(target))
    assert target.read_bytes().startswith(b"\x89PNG") and str(target) in capsys.readouterr().out


def test_no_picture_without_matplotlib(results, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    cli.draw(*results, str(tmp_path / "here.png"))
    assert "pip install 'pydl[viz]'" in capsys.readouterr().out and not list(tmp_path.iterdir())


@pytest.mark.parametrize(("arguments", "expected"), [
    ([], (10, 0, "pydl-demo.png")),
    (["--epochs", "2", "--seed", "7", "--output", "a.png"], (2, 7, "a.png")),
    (["--no-picture"], (10, 0, None)),
])
def test_options_of_the_demo(arguments, expected, monkeypatch):
    given = []
    monkeypatch.setattr(cli, "demo", lambda *options: given.append(options))
    assert cli.main(["demo", *arguments]) == 0
    assert given == [expected]
