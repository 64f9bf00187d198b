"""`python -m bench`: statistics, names, the networks of other frameworks against pydl's with the same weights."""

import importlib.util
import json
import os
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import pydl

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in map(str, map(Path, sys.path)):
    sys.path.append(str(ROOT))  # last: the installed package comes first

from bench import __main__ as program  # noqa: E402
from bench import cold, harness, parts, scaling, worker  # noqa: E402
from bench.frameworks import _script  # noqa: E402
from bench.workloads import FRAMEWORKS, NETS, ONE_ROW, WORKLOADS, data, sample_shape, samples  # noqa: E402

pytestmark = pytest.mark.once
CONVERTED = ("mlp", "lenet", "lstm", "text LSTM", "small resnet50", "small mobilenetv2")


def installed(*names):
    """Modules, or a skipped test; what they warn of while they are imported is not ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [pytest.importorskip(name) for name in names]


# ---- Statistics ------------------------------------------------------------------------------------------------------


def test_percentile_is_one_of_the_values():
    values = list(range(1, 1001))[::-1]
    assert [worker.percentile(values, p) for p in (500, 999, 1000, 1)] == [500, 999, 1000, 1]
    assert worker.percentile([3.0, 1.0, 2.0], 500) == 2.0 and worker.percentile([3.0, 1.0, 2.0], 999) == 3.0
    assert worker.percentile([7.0], 1) == 7.0


@pytest.mark.parametrize("values, permille", [([], 500), ([1.0], 0), ([1.0], 1001)])
def test_percentile_of_nothing(values, permille):
    with pytest.raises(ValueError, match=f"{len(values)} values and {permille}"):
        worker.percentile(values, permille)


def test_latencies_see_the_one_slow_call(monkeypatch):
    now, calls = [0.0], [0]

    def call():
        calls[0] += 1
        now[0] += 5.0 if calls[0] == 700 else 0.25

    monkeypatch.setattr(worker.time, "perf_counter", lambda: now[0])
    assert worker.latencies(call, 1000) == {"p50": 0.25, "p99.9": 0.25, "max": 5.0} and calls[0] == 1000


def test_measure_takes_one_call_of_what_is_slow_and_three_of_what_is_not(monkeypatch):
    for duration, expected in ((0.5, 2), (0.25, 4)):
        now, calls = [0.0], [0]

        def call():
            calls[0] += 1
            now[0] += duration

        monkeypatch.setattr(worker.time, "perf_counter", lambda: now[0])
        found = worker.measure(call, 4, 0.1)
        assert found["seconds"] == duration / 4 and calls[0] == expected
        calls[0] = 0
        worker.warm_up(call)
        assert calls[0] == (2 if duration == 0.5 else 3)


def test_efficiency():
    def row(name, threads, **seconds):
        return {"workload": name, "threads": threads, "seconds": seconds}

    report = {"rows": [row("a", 1, pydl=8.0, torch=1.0), row("b", 1, pydl=1.0), row("a", 4, pydl=4.0),
                       row("a", 2, pydl=4.0, torch=1.0), row("c", 2, pydl=1.0),
                       {"workload": "import and size", "seconds": 0.2}, {"workload": "peak memory mlp", "bytes": 1}]}
    found = scaling.efficiencies(report)
    assert found == {"pydl": {"a": {2: 1.0, 4: 0.5}}, "torch": {"a": {2: 0.5}}}
    assert list(found["pydl"]["a"]) == [2, 4]


def test_scaling_prints_a_file_or_says_that_there_is_nothing_in_it(tmp_path, capsys):
    path = tmp_path / "report.json"
    rows = [{"workload": "a", "threads": n, "seconds": {"pydl": 6.0 / n}} for n in (1, 2, 3)]
    path.write_text(json.dumps({"rows": rows}))
    assert scaling.main([str(path)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split() == ["a", "1.00", "1.00"]
    path.write_text(json.dumps({"rows": rows[:1]}))
    with pytest.raises(SystemExit):
        scaling.main([str(path)])
    assert "no row that was measured on one thread and on more" in capsys.readouterr().err


# ---- Names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments, sentence", [
    (["--frameworks", "pidl"], "unknown framework pidl; known: pydl"),
    (["--only", "no such row"], "no row has 'no such row' in its name"),
    (["--threads", "1,two"], "Received: 1,two"),
    (["--threads", "0"], "takes numbers from 1"),
    (["--threads", "4096"], "this process may use"),
])
def test_unknown_names_are_told(arguments, sentence, capsys):
    with pytest.raises(SystemExit) as stopped:
        program.main(arguments)
    assert stopped.value.code == 2 and sentence in capsys.readouterr().err


def test_threads_above_the_number_of_cores_are_left_out(capsys):
    assert program.thread_counts("1,2,4,8", 4) == [1, 2, 4]
    assert "8 threads" in capsys.readouterr().out


def test_only_chooses_rows_and_parts():
    names = [w.name for w in WORKLOADS]
    assert len(set(names)) == len(names) and ONE_ROW in names
    assert [w.name for w in program.chosen("one-ROW prediction, mlp", False)] == [ONE_ROW]
    assert program.chosen("", False) == WORKLOADS
    for part in parts.NAMES:
        assert program.chosen(part, False) == []
    run = parts.Run(type("Options", (), {"only": "cold fit"}), (), {"rows": []})
    assert run.chosen("cold", "cold fit, LeNet-5") and not run.chosen("cold", "cold predict from a file, LeNet-5")
    assert not run.chosen("peak", "peak memory mlp")


def test_the_short_run_has_small_networks():
    short = program.chosen("", True)
    assert {w.kind for w in short} >= {"matmul", "conv", "train", "predict", "gan", "seq2seq"}
    large = {net for net, shape in NETS.items() if "application" in shape and shape["image"][0] > 64}
    assert large and not [w.name for w in short if w.args.get("net") in large]


@pytest.mark.parametrize("net", NETS)
def test_data_fits_the_network(net):
    x = samples(net, 2)
    assert x.shape == (2, *sample_shape(net))
    if NETS[net]["outputs"]:  # what can be trained
        assert [len(a) for a in data(net, 2)] == [2, 2]
    first = samples(net, 2, channels_first=True)
    assert first.flags.c_contiguous and (first == (np.moveaxis(x, -1, 1) if "image" in NETS[net] else x)).all()


# ---- Processes -------------------------------------------------------------------------------------------------------


def test_a_worker_tells_what_it_cannot_do_and_goes_on():
    w = harness.Worker("pydl", 1, sys.executable)
    try:
        assert not w.missing
        assert not w.prepare("a row", "predict", {"net": "no such net"})
        assert w.failures == ["pydl, a row: KeyError: 'no such net'"]
        assert not w.prepare("another", "no_such_kind", {}) and len(w.failures) == 1
        assert w.prepare("tiny", "predict", {"net": "tiny", "rows": 3})
        found = w.ask(latencies=20)
        assert 0 < found["p50"] <= found["p99.9"] <= found["max"]
        assert w.ask(measure=0.01)["seconds"] > 0
    finally:
        w.close()


def test_a_framework_that_is_not_installed_is_left_out():
    assert harness.fresh_seconds(sys.executable, 1, "no_such_framework", "import", repeats=1) is None
    assert harness.fresh_seconds(sys.executable, 1, "no_such_framework", "fit", "tiny", repeats=1) is None


def test_cold_processes(tmp_path):
    path = str(tmp_path / "net")
    for task in (("import",), ("fit", "tiny"), ("save", "tiny", path), ("predict", "tiny", path)):
        assert harness.fresh_seconds(sys.executable, 1, "pydl", *task, repeats=1) > 0
    assert [p.name for p in tmp_path.iterdir()] == ["net.keras"]
    with pytest.raises(RuntimeError, match="expected nothing, import, fit, save or predict. Received: sleep"):
        harness.fresh_seconds(sys.executable, 1, "pydl", "sleep", repeats=1)
    with pytest.raises(RuntimeError, match="elsewhere"):
        harness.fresh_seconds(sys.executable, 1, "pydl", "predict", "tiny", str(tmp_path / "elsewhere"), repeats=1)
    assert cold.MISSING not in (0, 1, 2)  # codes of success, an exception, wrong arguments


def test_cores_are_as_many_as_asked_for():
    allowed = os.sched_getaffinity(0)
    assert sorted(harness.first_cores(len(allowed) + 5)) == sorted(allowed)
    assert len(set(harness.first_cores(1))) == 1 and set(harness.first_cores(1)) <= allowed


def test_the_program(tmp_path, capsys):
    path = tmp_path / "numbers.json"
    run = ["--smoke", "--frameworks", "pydl", "--threads", "1", "--json", str(path)]
    assert program.main([*run, "--only", "step MLP 2-16-1"]) == 0
    assert [row["workload"] for row in json.loads(path.read_text())["rows"]] == ["step MLP 2-16-1, b32"]
    assert program.main([*run, "--only", "tail"]) == 0
    row, = json.loads(path.read_text())["rows"]
    assert row["workload"] == f"tail: {ONE_ROW}" and row["alone"].keys() == {"p50", "p99.9", "max"}
    capsys.readouterr()


# ---- Networks of the other frameworks --------------------------------------------------------------------------------


def with_weights(net):
    """pydl's network with weights of which no two are alike, and what it predicts for two rows."""
    model = _script.model(pydl, net)
    rng = np.random.default_rng(3)
    drawn = []
    for variable in model.weights:
        w = variable.numpy()
        if w.ndim == 1:  # biases, shifts and means about zero; scales and variances about one
            w = w + rng.uniform(-0.3, 0.3, w.shape).astype(w.dtype)
        drawn.append(w)
    model.set_weights(drawn)
    return model, model.predict(samples(net, 2), verbose=0)


@pytest.mark.parametrize("net", CONVERTED)
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_onnx_graphs_are_the_network(net, runtime):
    installed("onnx", runtime)
    from bench.frameworks import _onnx

    model, expected = with_weights(net)
    made = _onnx.model(net, 2, model.get_weights()).SerializeToString()
    module = __import__(f"bench.frameworks.{runtime}", fromlist=["_serve"])
    made = module.openvino.Core().read_model(made) if runtime == "openvino" else made
    call, _ = module._serve(made, net, 2)
    np.testing.assert_allclose(call()[0], expected, rtol=2e-4, atol=2e-6)


def test_onnx_graphs_want_the_weights_of_the_network():
    installed("onnx")
    from bench.frameworks import _onnx

    weights = _script.model(pydl, "mlp").get_weights()
    with pytest.raises(ValueError, match=r"expected a weight of shape \(784, 128\). Received: \(64, 10\)"):
        _onnx.model("mlp", 1, [weights[-2], *weights[1:]])
    with pytest.raises(ValueError, match=r"expected a weight of shape \(10,\). Received: \(\)"):
        _onnx.model("mlp", 1, weights[:-1])
    with pytest.raises(ValueError, match="mlp: 2 weights more than the network has"):
        _onnx.model("mlp", 1, [*weights, *weights[-2:]])
    for net in ("wide", "text GRU", "text BiLSTM"):
        with pytest.raises(ValueError, match="no ONNX form"):
            _onnx.model(net, 1)


def fill(torch, module, weights, mirrored):
    """Weights in Keras's order and layout into a PyTorch network whose modules come in the same order."""
    weights = iter(weights)
    for layer in module.modules():
        slots = [getattr(layer, name, None) for name in ("weight", "bias", "running_mean", "running_var")]
        for slot in slots if isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear, torch.nn.BatchNorm2d)) else ():
            if slot is None:
                continue
            w = next(weights)
            if w.ndim == 4:
                w = w[::-1, ::-1] if mirrored else w
                w = w.transpose(2, 3, 0, 1) if slot.shape[1] == 1 and w.shape[3] == 1 else w.transpose(3, 2, 0, 1)
            with torch.no_grad():
                slot.copy_(torch.from_numpy(np.ascontiguousarray(w.T if w.ndim == 2 else w)))
    assert next(weights, None) is None


@pytest.mark.parametrize("net", ["mlp", "small resnet50", "small mobilenetv2"])
def test_torch_networks_are_the_network(net):
    torch, = installed("torch")
    from bench.frameworks import _nets_torch

    model, expected = with_weights(net)
    mirrored = "mobilenet" in net  # it pads at the end, PyTorch's at the beginning where it matters
    peer = _nets_torch.model(net).eval()
    fill(torch, peer, model.get_weights(), mirrored)
    x = samples(net, 2, channels_first=True)
    with torch.inference_mode():
        found = torch.softmax(peer(torch.from_numpy(x[..., ::-1, ::-1].copy() if mirrored else x)), -1).numpy()
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-6)


def test_jax_lstm_is_the_network():
    installed("jax")
    import jax.numpy as jnp

    from bench.frameworks import _nets_jax

    model, expected = with_weights("lstm")
    found = _nets_jax.forward("lstm", [jnp.asarray(w) for w in model.get_weights()], samples("lstm", 2), None, False)
    np.testing.assert_allclose(np.asarray(found), expected, rtol=2e-4, atol=2e-6)


@pytest.mark.parametrize("framework", ["torch", "jax", "keras", "onnxruntime", "openvino"])
@pytest.mark.slow
def test_peers_have_the_new_rows(framework, tmp_path):
    w = harness.Worker(framework, 1, sys.executable)
    try:
        if w.missing or (framework in ("onnxruntime", "openvino") and not importlib.util.find_spec("onnx")):
            pytest.skip(f"{framework} is not installed, or `onnx`, which writes its files")
        for net, rows in (("mlp", 128), ("lenet", 3), ("lstm", 1), ("lstm", 3)):
            assert w.prepare(net, "predict", {"net": net, "rows": rows}), w.failures
    finally:
        w.close()
    path = str(tmp_path / "net")
    for task in ("save", "predict"):
        assert harness.fresh_seconds(sys.executable, 1, framework, task, "lenet", path, repeats=1) is not None
    assert framework in FRAMEWORKS and list(tmp_path.iterdir())
