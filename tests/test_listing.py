"""The steps of a recorded program as data."""

import importlib.util
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import pydl
from pydl import _core, layers, listing

ROOT = Path(__file__).resolve().parent.parent


def recorded(launch) -> _core.Program:
    program = _core.Program()
    before = _core.open_recording(program)
    try:
        launch()
    finally:
        _core.open_recording(before)
    program.seal()
    return program


def test_a_tiny_program_reads_well():
    x, out = np.ones((2, 3), "float32"), np.empty(2, "float32")

    def launch():
        y = _core.empty((2, 3), "float32")
        _core.kernels.leaky_relu(x, y, 0.5, 6)
        _core.kernels.reduce_sum(y, out, 2, 3, 1)

    assert listing.describe(recorded(launch)) == """\
leaky_relu float32 slope=0.5 n=6
    in x: float32[6] at outside 0
    out y: float32[6] at arena 0
reduce_sum float32 outer=2 n=3 inner=1
    in x: float32[2, 3, 1] at arena 0
    out y: float32[2, 1] at outside 1"""


def page_of_kernels() -> str:
    for name in ("mkdocs", "latex2mathml"):
        pytest.importorskip(name)
    spec = importlib.util.spec_from_file_location("build_hooks", ROOT / "docs" / "build_hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.kernels_page()


def test_listing_profile_and_the_page_of_kernels_have_one_source():
    """What a row says in words is what a step's shape says in numbers."""
    page = page_of_kernels()
    model = pydl.Sequential([layers.Input((6, 6, 2)), layers.Conv2D(3, 3, activation="relu"),
                             layers.BatchNormalization(), layers.Flatten(), layers.Dense(2)])
    model.compile("adam", "mse")
    model.fit(np.ones((4, 6, 6, 2), "float32"), np.ones((4, 2), "float32"), epochs=1, verbose=0)
    compared = 0
    for step in listing.profile(model.make_train_function().captures[-1].program):
        kernel = getattr(_core.kernels, step.kernel)
        holds = {name: text for name, _, dtype, text in kernel.params if dtype}
        section = page.split(f"### {kernel.name}\n")[1].split("###")[0]
        assert all(re.search(rf"^{name} .* {re.escape(text)}$", section, re.MULTILINE) for name, text in holds.items())
        for buffer in step.buffers:
            words = holds[buffer.name.split("[")[0]].split()
            if all(word.isdigit() or word in step.numbers for word in words):
                assert buffer.shape == tuple(int(word) if word.isdigit() else step.numbers[word] for word in words)
                compared += 1
    assert compared > 20


@pytest.mark.parametrize("build", [
    lambda: [layers.Input((4,)), layers.Dense(8, "relu"), layers.Dense(1)],
    lambda: [layers.Input((5, 4)), layers.LSTM(3), layers.Dense(1)],
], ids=["mlp", "lstm"])
def test_every_step_of_a_train_step_lists_what_it_reads_and_writes(build):
    model = pydl.Sequential(build())
    model.compile("adam", "mse")
    model.fit(np.ones((8, *model.input_shape[1:]), "float32"), np.ones((8, 1), "float32"), epochs=1, verbose=0)
    program = model.make_train_function().captures[-1].program
    steps = listing.steps(program)
    profile = listing.profile(program, repeats=2)
    assert all(step.seconds > 0 for step in profile)
    assert [replace(step, seconds=None) for step in profile] == steps
    written = set()
    for step in steps:
        rows = {name: access for name, access, *_ in getattr(_core.kernels, step.kernel).params}
        assert any(buffer.writes for buffer in step.buffers) or getattr(_core.kernels, step.kernel).is_check
        given = {buffer.name.split("[")[0] for buffer in step.buffers} | step.numbers.keys()
        assert all(name in given or access.endswith(("?", "[]")) for name, access in rows.items())
        for buffer in step.buffers:
            assert (buffer.arena is None) != (buffer.outside is None)
            if buffer.reads and buffer.arena is not None and buffer.elements:
                assert buffer.arena in written, f"{step.kernel} reads {buffer} before anything wrote it"
            if buffer.writes:
                written.add(buffer.arena)
    adam = next(step for step in steps if step.kernel == "adam")
    parameters = [buffer for buffer in adam.buffers if buffer.name.startswith("params[")]
    assert [buffer.elements for buffer in parameters] == [v.size for v in model.trainable_variables]
