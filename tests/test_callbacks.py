"""Callbacks against a model that only keeps accounts; with the real `fit` in test_training.py."""

import csv
import io
import sys

import numpy as np
import pytest

from pydl import callbacks
from pydl.progbar import Progbar


class Optimizer:
    learning_rate = 1.0
    built = True


class Metric:
    def __init__(self, name, direction):
        self.name, self._direction = name, direction


class Model:
    """`weights` is the number of the epoch."""

    def __init__(self, *metrics):
        self.metrics = list(metrics)
        self.optimizer = Optimizer()
        self.stop_training = False
        self.weights = 0
        self.saved = []
        self.built = True

    def get_weights(self):
        return [self.weights]

    def set_weights(self, weights):
        self.weights = weights[0]

    def save(self, path, overwrite=True):
        self.saved.append(str(path))

    def save_weights(self, path, overwrite=True):
        self.saved.append(str(path))
        with open(path, "w") as file:
            file.write(str(self.weights))

    def load_weights(self, path):
        with open(path) as file:
            self.weights = int(file.read())


def train(callback, values, model=None, batches=0, initial_epoch=0, **params):
    """Plays a `fit` whose logs of epoch i are values[i]; returns the model and the number of epochs."""
    model = model or Model()
    params = {"verbose": 0, "epochs": len(values), "steps": batches, **params}
    calls = callbacks.CallbackList(callback, add_history=True, model=model, **params)
    calls.on_train_begin()
    done = 0
    for epoch in range(initial_epoch, len(values)):
        calls.on_epoch_begin(epoch)
        model.weights = epoch
        logs = values[epoch] if isinstance(values[epoch], dict) else {"loss": 0.0, "val_loss": values[epoch]}
        for batch in range(batches):
            calls.on_train_batch_begin(batch)
            calls.on_train_batch_end(batch, logs)
        calls.on_epoch_end(epoch, dict(logs))
        done += 1
        if model.stop_training:
            break
    calls.on_train_end()
    return model, done


class TestEarlyStopping:
    def test_stops_after_patience(self):
        stop = callbacks.EarlyStopping(patience=2)
        _, epochs = train(stop, [3.0, 2.0, 2.5, 2.4, 1.0])
        assert (epochs, stop.stopped_epoch, stop.best, stop.best_epoch) == (4, 3, 2.0, 1)

    def test_restores_best_weights_when_stopped(self):
        model, _ = train(callbacks.EarlyStopping(patience=2, restore_best_weights=True), [3.0, 2.0, 2.5, 2.4, 1.0])
        assert model.weights == 1

    def test_restores_best_weights_when_it_runs_to_the_end(self):
        model, epochs = train(callbacks.EarlyStopping(patience=9, restore_best_weights=True), [3.0, 1.0, 2.0])
        assert (epochs, model.weights) == (3, 1)

    def test_min_delta(self):
        _, epochs = train(callbacks.EarlyStopping(patience=1, min_delta=0.5), [3.0, 2.8, 2.6])
        assert epochs == 2

    def test_start_from_epoch(self):
        _, epochs = train(callbacks.EarlyStopping(patience=1, start_from_epoch=3), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
        assert epochs == 5

    def test_baseline(self):
        _, epochs = train(callbacks.EarlyStopping(patience=2, baseline=0.5), [0.9, 0.8, 0.4])
        assert epochs == 3
        _, epochs = train(callbacks.EarlyStopping(patience=2, baseline=0.5), [0.9, 0.95, 0.8, 0.99])
        assert epochs == 2

    def test_nan_is_not_the_best(self):
        stop = callbacks.EarlyStopping(patience=3, restore_best_weights=True)
        model, epochs = train(stop, [float("nan"), 2.0, 1.0, float("nan")])
        assert (epochs, stop.best, model.weights) == (4, 1.0, 2)

    @pytest.mark.parametrize("direction, epochs", [("up", 3), ("down", 2)])
    def test_auto_asks_the_metric(self, direction, epochs):
        logs = [{"val_score": v} for v in (1.0, 2.0, 1.5, 3.0)]
        stop = callbacks.EarlyStopping("val_score", patience=1)
        assert train(stop, logs, Model(Metric("score", direction)))[1] == epochs

    def test_auto_of_an_unknown_metric(self):
        with pytest.raises(ValueError, match="maximized or minimized"):
            train(callbacks.EarlyStopping("val_score"), [{"val_score": 1.0}])

    def test_metric_that_is_not_there(self):
        with pytest.raises(ValueError, match="`acc`, which is not available. Available metrics are: loss, val_loss"):
            train(callbacks.EarlyStopping("acc", mode="max"), [1.0])
        with pytest.raises(ValueError, match="There is no validation data"):
            train(callbacks.EarlyStopping("val_loss"), [{"loss": 1.0}], validation=False)
        with pytest.raises(ValueError, match="There is no validation data"):
            train(callbacks.EarlyStopping("val_loss"), [{"loss": 1.0}] * 2)

    def test_validation_every_second_epoch(self):
        logs = [{"loss": 1.0}, {"loss": 1.0, "val_loss": 2.0}] * 2
        assert train(callbacks.EarlyStopping(patience=3), logs)[1] == 4


class TestReduceLROnPlateau:
    def test_reduces_and_cools_down(self):
        reduce = callbacks.ReduceLROnPlateau(patience=2, factor=0.5, cooldown=2, min_lr=0.2)
        model, _ = train(reduce, [1.0] * 20)
        assert model.optimizer.learning_rate == 0.2
        assert model.history.history["learning_rate"][:8] == [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25]

    def test_factor(self):
        with pytest.raises(ValueError, match="factor >= 1.0"):
            callbacks.ReduceLROnPlateau(factor=1.0)


class TestLearningRateScheduler:
    @pytest.mark.parametrize("schedule", [lambda epoch, rate: rate * 0.5, lambda epoch: 0.5 ** (epoch + 1)])
    def test_sets_and_logs(self, schedule):
        model, _ = train(callbacks.LearningRateScheduler(schedule), [1.0] * 3)
        assert model.history.history["learning_rate"] == [0.5, 0.25, 0.125]

    def test_wrong_result(self):
        with pytest.raises(ValueError, match="should be a float. Got: no"):
            train(callbacks.LearningRateScheduler(lambda epoch: "no"), [1.0])

    def test_an_error_inside_is_not_swallowed(self):
        def schedule(epoch, rate):
            raise TypeError("mine")

        with pytest.raises(TypeError, match="mine"):
            train(callbacks.LearningRateScheduler(schedule), [1.0])


class TestModelCheckpoint:
    def test_every_epoch(self, tmp_path):
        model, _ = train(callbacks.ModelCheckpoint(tmp_path / "a" / "m{epoch:02d}-{val_loss:.1f}.keras"), [3.0, 2.0])
        assert model.saved == [str(tmp_path / "a" / name) for name in ("m01-3.0.keras", "m02-2.0.keras")]

    def test_best_only(self, tmp_path):
        save = callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras", save_best_only=True, initial_value_threshold=4.0)
        model, _ = train(save, [5.0, 3.0, 3.5, 2.0])
        assert model.saved == [str(tmp_path / "2.keras"), str(tmp_path / "4.keras")]

    def test_every_n_batches(self, tmp_path):
        save = callbacks.ModelCheckpoint(tmp_path / "{epoch}-{batch}.keras", save_freq=3)
        model, _ = train(save, [1.0, 1.0], batches=5)
        assert model.saved == [str(tmp_path / f"{n}.keras") for n in ("1-3", "2-1", "2-4")]

    def test_unknown_name_in_path(self, tmp_path):
        with pytest.raises(KeyError, match="val_acc"):
            train(callbacks.ModelCheckpoint(tmp_path / "{val_acc}.keras"), [1.0])

    def test_endings(self):
        with pytest.raises(ValueError, match=r"end in `.weights.h5`"):
            callbacks.ModelCheckpoint("a.keras", save_weights_only=True)
        with pytest.raises(ValueError, match=r"end in `.keras`"):
            callbacks.ModelCheckpoint("a")
        with pytest.raises(ValueError, match="save_freq"):
            callbacks.ModelCheckpoint("a.keras", save_freq="batch")

    def test_metric_that_is_not_there(self, tmp_path):
        checkpoint = callbacks.ModelCheckpoint(tmp_path / "a{epoch}.keras", "acc", mode="max", save_best_only=True)
        with pytest.warns(UserWarning, match="`acc`, which is not available") as found:
            model, _ = train(checkpoint, [1.0, 2.0])
        assert len(found) == 1
        assert [path[-8:] for path in model.saved] == ["a1.keras", "a2.keras"]  # as Keras: better than none

    def test_validation_every_second_epoch(self, tmp_path):
        logs = [{"loss": 1.0}, {"loss": 1.0, "val_loss": 2.0}, {"loss": 1.0}, {"loss": 1.0, "val_loss": 3.0}]
        model, _ = train(callbacks.ModelCheckpoint(tmp_path / "a{epoch}.keras", save_best_only=True), logs,
                         validation=True)
        assert [path[-8:] for path in model.saved] == ["a2.keras"]


def test_terminate_on_nan():
    model, epochs = train(callbacks.TerminateOnNaN(), [{"loss": 1.0}, {"loss": float("inf")}, {"loss": 1.0}], batches=2)
    assert (epochs, model.stop_training) == (2, True)
    with pytest.raises(RuntimeError, match="NaN or Inf loss encountered at batch 0"):
        train(callbacks.TerminateOnNaN(raise_error=True), [{"loss": float("nan")}], batches=2)


def test_csv_logger(tmp_path):
    path = tmp_path / "log.csv"
    train(callbacks.CSVLogger(path), [{"loss": 1.0, "val_loss": 2.0}, {"loss": 0.5}])
    train(callbacks.CSVLogger(path, append=True), [{"loss": 0.25, "val_loss": np.array([1, 2])}])
    with open(path) as file:
        assert list(csv.reader(file)) == [["epoch", "loss", "val_loss"], ["0", "1.0", "2.0"], ["1", "0.5", "NA"],
                                          ["0", "0.25", '"[1, 2]"']]
    train(callbacks.CSVLogger(path, separator=";"), [{"loss": 1.0, "learning_rate": 0.5}, {"loss": 2.0}])
    assert path.read_text() == "epoch;learning_rate;loss\n0;0.5;1.0\n1;NA;2.0\n"
    train(callbacks.CSVLogger(path), [{"loss": 1.0, "learning_rate": 0.5}], validation=True)  # in a later epoch
    assert path.read_text() == "epoch,learning_rate,loss,val_loss\n0,0.5,1.0,NA\n"


def test_csv_logger_keeps_every_number_under_its_own_column(tmp_path):
    path = tmp_path / "log.csv"
    train(callbacks.CSVLogger(path), [{"learning_rate": 0.5, "loss": 1.0}])
    train(callbacks.CSVLogger(path, append=True), [{"loss": 2.0}, {"acc": 0.25, "loss": 3.0}, {"loss": 4.0}])
    assert path.read_text() == "epoch,learning_rate,loss,acc\n0,0.5,1.0,NA\n0,NA,2.0,NA\n1,NA,3.0,0.25\n2,NA,4.0,NA\n"


def test_csv_logger_goes_on_where_a_state_was_taken(tmp_path):
    path = tmp_path / "log.csv"
    logger = callbacks.CSVLogger(path)
    train(logger, [{"loss": 1.0}])
    state = logger.get_state()
    logger.on_epoch_end(1, {"loss": 2.0, "acc": 0.5})
    again = callbacks.CSVLogger(path)
    again.on_train_begin()
    again.set_state(state)
    again.on_epoch_end(1, {"loss": 2.5})
    assert path.read_text() == "epoch,loss,acc\n0,1.0,NA\n1,2.5,NA\n"


@pytest.mark.parametrize("left, kept", [
    ("epoch,loss\n0,1.0\n1,0", "epoch,loss\n0,1.0\n"), ("epoch,lo", ""), ("epoch,loss\n", "epoch,loss\n"),
    ("epoch," + "x" * 9000 + "\n" + "y" * 5000, "epoch," + "x" * 9000 + "\n")])
def test_csv_logger_after_a_killed_process(tmp_path, left, kept):
    path = tmp_path / "log.csv"
    path.write_text(left)
    callbacks.CSVLogger(path, append=True).on_train_begin()
    assert path.read_text() == kept


@pytest.mark.parametrize("left", ["time,loss\n0,1", "epoch;loss\n0;1\n", "\n"])
def test_csv_logger_refuses_another_table(tmp_path, left):
    path = tmp_path / "log.csv"
    path.write_text(left)
    with pytest.raises(ValueError, match="first column is 'epoch', separated by ','"):
        callbacks.CSVLogger(path, append=True).on_train_begin()
    assert path.read_text() == left


def test_lambda_callback_and_history():
    seen = []
    callback = callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append((epoch, logs["val_loss"])),
                                        on_train_batch_end=lambda batch, logs: seen.append(batch),
                                        on_test_begin=lambda logs: None, note="kept")
    model, _ = train(callback, [2.0, 1.0], batches=1)
    assert seen == [0, (0, 2.0), 0, (1, 1.0)]
    assert callback.note == "kept"
    assert model.history.epoch == [0, 1]
    assert model.history.history == {"loss": [0.0, 0.0], "val_loss": [2.0, 1.0]}


def test_swap_ema_weights():
    import pydl

    model = Model()
    model.optimizer._trainable_variables = [pydl.Variable(np.ones(2, "float32"))]
    model.optimizer._averages = [pydl.Variable(np.zeros(2, "float32"), trainable=False)]
    model.optimizer._averaged = True
    callback = callbacks.SwapEMAWeights()
    callback.set_model(model)
    weights = model.optimizer._trainable_variables[0]
    callback.on_test_begin()
    assert weights.numpy().tolist() == [0, 0]
    callback.on_test_end()
    assert weights.numpy().tolist() == [1, 1]
    callback.set_model(Model())
    with pytest.raises(ValueError, match="use_ema=True"):
        callback.on_test_begin()


class TestCallbackList:
    def test_who_needs_every_batch(self):
        class Old(callbacks.Callback):
            def on_batch_end(self, batch, logs=None):
                pass

        def needs(*items):
            found = callbacks.CallbackList(list(items), add_history=True, add_progbar=True)
            return [phase for phase in ("train", "test", "predict") if found.needs_batches(phase)]

        assert needs() == []
        assert needs(callbacks.EarlyStopping(), callbacks.TerminateOnNaN(), callbacks.CSVLogger("x")) == []
        assert needs(callbacks.ModelCheckpoint("a.keras"), callbacks.BackupAndRestore("b")) == []
        assert needs(callbacks.ModelCheckpoint("a.keras", save_freq=5)) == ["train"]
        assert needs(Old()) == ["train"]
        assert needs(callbacks.LambdaCallback(on_test_batch_begin=lambda batch, logs: None)) == ["test"]
        assert needs(callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None)) == ["train"]
        assert needs(callbacks.LambdaCallback(on_predict_batch_end=lambda batch, logs: None)) == ["predict"]

    def test_nested_lists_and_strangers(self):
        a, b = callbacks.Callback(), callbacks.Callback()
        assert callbacks.CallbackList([a, [b]]).callbacks == [a, b]
        assert callbacks.CallbackList(a).callbacks == [a]
        with pytest.raises(TypeError, match="instances of Callback"):
            callbacks.CallbackList([3])

    def test_logs_are_python_numbers(self):
        import pydl

        seen = []
        callback = callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(logs))
        calls = callbacks.CallbackList(callback)
        calls.on_epoch_end(0, {"loss": pydl.Variable(np.float32(0.5)), "a": np.float32(1), "m": {"x": 1, "y": 2}})
        assert seen == [{"a": 1.0, "loss": 0.5, "x": 1, "y": 2}]
        assert type(seen[0]["loss"]) is float and type(seen[0]["a"]) is float

    def test_logs_of_one_callback_reach_the_next(self):
        model, _ = train(callbacks.LearningRateScheduler(lambda epoch: 0.5), [1.0])
        assert model.history.history["learning_rate"] == [0.5]


class TestProgress:
    def test_bar_by_time(self, monkeypatch):
        stream = io.StringIO()
        stream.isatty = lambda: True
        monkeypatch.setattr(sys, "stdout", stream)
        bar = Progbar(1000, interval=60)
        for step in range(1, 1001):
            bar.update(step, [("loss", float(step))])
        lines = stream.getvalue().split("\r")
        assert len(lines) == 3  # nothing, the first step, the last
        assert lines[-1].startswith("1000/1000 ━━━━━━━━━━━━━━━━━━━━")
        assert lines[-1].rstrip().endswith("loss: 500.5000")

    def test_stateful_and_two_steps_at_once(self, capsys):
        bar = Progbar(4, stateful_metrics=["a"], verbose=2)
        bar.update(3, [("a", 1.0), ("b", 1.0)])
        bar.add(1, [("a", 2.0), ("b", 5.0)])
        assert capsys.readouterr().out.endswith("a: 2.0000 - b: 2.0000\n")

    def test_logger(self, capsys):
        train(callbacks.ProgbarLogger(), [2.0, 1.0], batches=3, verbose=2)
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == "Epoch 1/2" and lines[1].startswith("3/3 - 0s") and lines[1].endswith("val_loss: 2.0000")
        assert lines[2] == "Epoch 2/2" and lines[3].endswith("val_loss: 1.0000")

    def test_silent(self, capsys):
        train(callbacks.ProgbarLogger(), [2.0], batches=3, verbose=0)
        assert capsys.readouterr().out == ""
