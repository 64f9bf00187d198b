"""Pictures of models: what is drawn, where, and that nothing lies on anything else."""

import importlib.util
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest

import pydl as keras
from pydl import layers
from pydl.utils import model_to_dot, plot_model
from pydl.utils.diagram import Line, Rect, Text
from pydl.utils.layered_layout import GAP, layered

draws = pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="draws with matplotlib")


def branches():
    """Two inputs, a shared layer, a nested model used twice, an op, two outputs, a way past it all."""
    inner = keras.Sequential([keras.Input((8,)), layers.Dense(16, "relu", name="up"), layers.Dense(4, name="down")],
                             name="encoder")
    a, b = keras.Input((8,), name="a"), keras.Input((8,), name="b")
    shared = layers.Dense(8, name="shared")
    joined = layers.Concatenate(name="join")([inner(shared(a)), inner(shared(b))]) * 2.0
    age = layers.Dense(1, name="age")(joined)
    kind = layers.Dense(3, "softmax", name="kind")(layers.Add(name="skip")([joined, layers.Dense(8, name="side")(a)]))
    return keras.Model([a, b], [age, kind], name="whole")


def texts(diagram):
    return [shape.text for shape in diagram.shapes if isinstance(shape, Text)]


def arrows(diagram):
    return [shape for shape in diagram.shapes if isinstance(shape, Line)]


def boxes(diagram):
    """Rectangles of layers (frames left out), rows of one layer joined."""
    found = []
    for shape in diagram.shapes:
        if isinstance(shape, Rect) and not shape.dashed:
            if shape.fill == "black":
                found.append([shape.x, shape.y, shape.x + shape.width, shape.y + shape.height])
            else:
                found[-1][3] = max(found[-1][3], shape.y + shape.height)
    return found


def edges_of(diagram):
    """Pairs of titles, from the DOT text."""
    source = re.sub(r"multiply_\d+", "multiply", diagram.to_string())  # ops count their names through
    titles = dict(re.findall(r'^(n\w*) \[label="([^"\\]*)', source, re.M))
    return {(titles[a], titles[b]) for a, b in re.findall(r"^(n\w*) -> (n\w*);$", source, re.M)}


def test_what_is_connected():
    diagram = model_to_dot(branches())
    assert edges_of(diagram) == {
        ("a (InputLayer)", "shared (Dense)"), ("b (InputLayer)", "shared (Dense)"),
        ("shared (Dense)", "encoder (Sequential)"), ("encoder (Sequential)", "join (Concatenate)"),
        ("join (Concatenate)", "multiply (Multiply)"), ("multiply (Multiply)", "age (Dense)"),
        ("multiply (Multiply)", "skip (Add)"), ("a (InputLayer)", "side (Dense)"), ("side (Dense)", "skip (Add)"),
        ("skip (Add)", "kind (Dense)")}
    assert len(arrows(diagram)) == 10
    inside = model_to_dot(branches(), expand_nested=True)
    assert {("shared (Dense)", "up (Dense)"), ("up (Dense)", "down (Dense)"),
            ("down (Dense)", "join (Concatenate)")} <= edges_of(inside)
    assert "encoder" in texts(inside) and len(arrows(inside)) == 11
    assert inside.to_string().count("subgraph cluster") == 1


def test_what_is_written():
    model = branches()
    model.get_layer("side").trainable = False
    everything = texts(model_to_dot(model, show_shapes=True, show_dtype=True, show_layer_activations=True,
                                    show_trainable=True))
    assert "Output shape: (None, 8)" in everything and "Output dtype: float32" in everything
    assert "Input shape: [(None, 4), (None, 4)]" in everything
    assert "Activation: softmax" in everything and everything.count("Non-trainable") == 1
    assert texts(model_to_dot(model, show_layer_names=False)).count("Dense") == 4
    assert texts(model_to_dot(model, subgraph=True))[0] == "whole"
    shared = layers.Dense(2, name="both")
    x, y = keras.Input((3, 5)), keras.Input((5,))
    twice = texts(model_to_dot(keras.Model([x, y], [shared(x), shared(y)]), show_shapes=True))
    assert "Input shape: (None, 3, 5) | (None, 5)" in twice
    recurrent = keras.Sequential([keras.Input((5,), dtype="int32"), layers.Embedding(9, 3),
                                  layers.Bidirectional(layers.LSTM(4)), layers.Dense(1)])
    assert texts(model_to_dot(recurrent, show_layer_names=False)) == ["Embedding", "Bidirectional", "Dense"]


@pytest.mark.parametrize("rankdir", ["TB", "LR", "BT", "RL"])
@pytest.mark.parametrize("splines", ["ortho", "curved", "polyline"])
def test_nothing_lies_on_anything(rankdir, splines):
    diagram = model_to_dot(branches(), show_shapes=True, expand_nested=True, rankdir=rankdir, splines=splines)
    found = boxes(diagram)
    for i, (left, top, right, bottom) in enumerate(found):
        assert left >= 0 and top >= 0 and right <= diagram.width and bottom <= diagram.height
        for left2, top2, right2, bottom2 in found[:i]:
            assert right <= left2 or right2 <= left or bottom <= top2 or bottom2 <= top
    for line in arrows(diagram):
        (x, y), (x2, y2) = line.points[0], line.points[-1]
        forward = {"TB": y2 - y, "BT": y - y2, "LR": x2 - x, "RL": x - x2}[rankdir]
        assert forward > 0
        if splines == "ortho":
            for (x, y), (x2, y2) in zip(line.points, line.points[1:]):
                assert abs(x - x2) < 0.6 or abs(y - y2) < 0.6
                for left, top, right, bottom in found:  # no arrow runs through a box
                    crossed = (min(x, x2) < right - 1 and max(x, x2) > left + 1 and min(y, y2) < bottom - 1
                               and max(y, y2) > top + 1)
                    assert not crossed


def test_large_models():
    resnet = model_to_dot(keras.applications.ResNet50(weights=None), show_shapes=True)
    assert len(boxes(resnet)) == 177 and len(arrows(resnet)) == 192
    assert resnet.width < 1200  # two branches beside each other, not sixteen
    vgg = model_to_dot(keras.applications.VGG16(weights=None))
    centres = {round((left + right) / 2) for left, _, right, _ in boxes(vgg)}
    assert len(boxes(vgg)) == 23 and len(centres) == 1  # one straight column


def test_layouts():
    square = {key: (10, 10) for key in "abcdef"}
    layout = layered(square, [("a", "c"), ("b", "d"), ("a", "d"), ("b", "c")])
    assert layout.ranks["c"] == 1 and layout.centres["a"][1] < layout.centres["c"][1]
    crossed = layered(square, [("a", "d"), ("b", "c"), ("a", "e")])  # c must come to stand below b
    place = {key: x for key, (x, _) in crossed.centres.items()}
    assert (place["a"] < place["b"]) == (place["d"] < place["c"])
    loop = layered(square, [("a", "b"), ("b", "c"), ("c", "a")])
    assert len(loop.turned) == 1
    long = layered(square, [("a", "b"), ("b", "c"), ("c", "d"), ("a", "d")])
    assert len(long.bends["a", "d"]) == 4 and not long.bends["a", "b"]
    assert all(abs(x - long.centres["b"][0]) >= GAP for x, _ in long.bends["a", "d"])
    late = layered(square, [("a", "b"), ("b", "c"), ("e", "c")])
    assert late.ranks["e"] == 1  # an input used late stands near its reader
    assert layered({}, []).width == 0


def test_a_layer_on_its_own_output_and_around():
    x = keras.Input((4,))
    own, other = layers.Dense(4, name="own"), layers.Dense(4, name="other")
    model = keras.Model(x, own(other(own(own(x)))))
    diagram = model_to_dot(model)
    assert {("own (Dense)", "own (Dense)"), ("own (Dense)", "other (Dense)"), ("other (Dense)", "own (Dense)")} <= (
        edges_of(diagram))
    assert all(np.isfinite(line.points).all() for line in arrows(diagram))
    ET.fromstring(diagram.svg())


def test_svg(tmp_path):
    plot_model(branches(), tmp_path / "m.svg", show_shapes=True, expand_nested=True, splines="curved")
    root = ET.parse(tmp_path / "m.svg").getroot()
    space = "{http://www.w3.org/2000/svg}"
    assert root.tag == space + "svg" and len(root.findall(space + "path")) == 11
    assert "Concatenate" in [t.text for t in root.findall(space + "text")]
    odd = keras.Sequential([keras.Input((2,)), layers.Dense(1, name='less<&"more')])
    assert 'less<&"more (Dense)' in [t.text for t in ET.fromstring(model_to_dot(odd).svg()).iter(space + "text")]
    assert model_to_dot(odd)._repr_svg_().startswith("<svg")


@draws
def test_pixels(tmp_path):
    plot_model(branches(), tmp_path / "m.png", dpi=96)
    from matplotlib.image import imread

    picture = imread(tmp_path / "m.png")
    diagram = model_to_dot(branches(), show_layer_names=False)
    assert abs(picture.shape[0] - diagram.height) <= 1 and abs(picture.shape[1] - diagram.width) <= 1
    left, top, right, bottom = map(int, boxes(diagram)[0])
    assert picture[top + 2, left + 2, :3].max() < 0.1 and picture[2, 2, :3].min() == 1
    plot_model(branches(), tmp_path / "bare")  # no suffix: PNG, as Keras
    assert (tmp_path / "bare").read_bytes().startswith(b"\x89PNG")
    plot_model(branches(), tmp_path / "m.pdf")
    assert (tmp_path / "m.pdf").read_bytes().startswith(b"%PDF")
    plot_model(branches(), tmp_path / "m.dot")
    assert (tmp_path / "m.dot").read_text().startswith("digraph {")
    with pytest.raises(ValueError, match="received 'doc'"):
        plot_model(branches(), tmp_path / "m.doc")
    assert not (tmp_path / "m.doc").exists()
    tall = model_to_dot(keras.Sequential([keras.Input((1,)), *(layers.Dense(1) for _ in range(3))]), dpi=90_000)
    with pytest.warns(UserWarning, match="too large to draw"):
        assert tall._fitting_dpi() < 90_000


def test_other_models_and_wrong_arguments():
    class Own(keras.Model):
        def __init__(self):
            super().__init__(name="own")
            self.inner = layers.Dense(2)

        def call(self, x):
            return self.inner(x)

    model = Own()
    with pytest.raises(ValueError, match="not yet been built"):
        plot_model(model)
    model(np.ones((1, 3), "float32"))
    assert texts(model_to_dot(model, show_shapes=True)) == ["own (Own)", "Input shape: ?", "Output shape: ?"]
    for wrong in ({"rankdir": "up"}, {"splines": "round"}, {"layer_range": 1}, {"colour": 1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            model_to_dot(branches(), **wrong)


@pytest.mark.reference
def test_the_arguments_are_those_of_keras():
    if importlib.util.find_spec("keras") is None or importlib.util.find_spec("torch") is None:
        pytest.skip("compares with Keras")
    code = """
import inspect, os
os.environ["KERAS_BACKEND"] = "torch"
import keras, pydl
for name in ("plot_model", "model_to_dot"):
    a, b = (inspect.signature(getattr(m.utils, name)).parameters for m in (keras, pydl))
    assert [(p.name, p.default) for p in a.values()] == [(p.name, p.default) for p in b.values()], name
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=120,
                   cwd=keras.__path__[0] + "/..")
