"""The command `pydl`."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import pydl
from pydl import cli


def run(*arguments):
    # `-m` looks into the working directory first: that of the package under test, not that of the sources.
    return subprocess.run([sys.executable, "-m", "pydl", *arguments], capture_output=True, text=True, timeout=300,
                          cwd=Path(pydl.__file__).parent.parent)


def test_info_in_a_process_of_its_own():
    done = run("info")
    assert done.returncode == 0, done.stderr
    for part in (pydl.__version__, pydl.config.isa(), "threads", "numpy", "h5py", "tqdm"):
        assert part in done.stdout


def test_unknown_command_fails_with_usage(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["train"])
    assert caught.value.code == 2 and "usage: pydl" in capsys.readouterr().err


def test_demo_refuses_no_epochs(capsys):
    with pytest.raises(SystemExit):
        cli.main(["demo", "--epochs", "0"])
    assert "received 0" in capsys.readouterr().err


def test_demo_learns_and_reports(capsys):
    assert cli.main(["demo", "--epochs", "3"]) == 0
    shown = capsys.readouterr().out
    assert "Epoch 3/3" in shown
    pattern = r"test accuracy ([\d.]+)% after 3 epochs in [\d.]+ s: ([\d,]+) images/s"
    accuracy, images = re.search(pattern, shown).groups()
    assert float(accuracy) > 90
    assert int(images.replace(",", "")) > 0
