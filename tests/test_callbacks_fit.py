"""Callbacks at work in fit, evaluate and predict."""

import csv

import numpy as np
import pytest

import pydl as keras
from pydl import layers

rng = np.random.default_rng(9)
X = rng.normal(size=(64, 4)).astype("float32")
Y = rng.normal(size=(64, 1)).astype("float32")


def regression(optimizer=None, **kwargs):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((4,)), layers.Dense(6, activation="tanh"), layers.Dense(1)])
    model.compile(optimizer or keras.optimizers.SGD(0.1), "mse", metrics=["mae"], **kwargs)
    return model


class Log(keras.callbacks.Callback):
    """Writes down every call."""

    def __init__(self):
        super().__init__()
        self.calls = []


def _logging(name):
    def method(self, *args, logs=None):
        logs = args[-1] if args and isinstance(args[-1], dict) else logs
        self.calls.append((name, args[0] if args and isinstance(args[0], int) else None, sorted(logs or {})))

    return method


for _name in [n for n in dir(keras.callbacks.Callback) if n.startswith("on_") and n not in ("on_batch_begin",
                                                                                            "on_batch_end")]:
    setattr(Log, _name, _logging(_name))


@pytest.mark.parametrize("eagerly", [False, True])
def test_order_and_arguments_of_all_calls(eagerly):
    log, names = Log(), ["loss", "mae"]
    regression(run_eagerly=eagerly).fit(X, Y, batch_size=32, epochs=1, verbose=0, callbacks=[log],
                                       validation_data=(X[:40], Y[:40]))
    kinds = [(name, index) for name, index, _ in log.calls]
    assert kinds == [
        ("on_train_begin", None), ("on_epoch_begin", 0),
        ("on_train_batch_begin", 0), ("on_train_batch_end", 0), ("on_train_batch_begin", 1), ("on_train_batch_end", 1),
        ("on_test_begin", None),
        ("on_test_batch_begin", 0), ("on_test_batch_end", 0), ("on_test_batch_begin", 1), ("on_test_batch_end", 1),
        ("on_test_end", None), ("on_epoch_end", 0), ("on_train_end", None)]
    logs = {name: keys for name, _, keys in log.calls}
    assert logs["on_train_batch_end"] == logs["on_test_batch_end"] == logs["on_test_end"] == names
    assert logs["on_epoch_end"] == sorted(names + ["val_" + n for n in names])


def test_calls_of_predict():
    log = Log()
    regression().predict(X, verbose=0, callbacks=[log])
    assert [c[:2] for c in log.calls] == [
        ("on_predict_begin", None), ("on_predict_batch_begin", 0), ("on_predict_batch_end", 0),
        ("on_predict_batch_begin", 1), ("on_predict_batch_end", 1), ("on_predict_end", None)]
    assert log.calls[2][2] == ["outputs"]


def test_params_and_model():
    log, model = keras.callbacks.Callback(), regression()
    model.fit(X, Y, epochs=3, verbose=0, callbacks=[log], validation_split=0.5)
    assert log.model is model and log.params["epochs"] == 3 and log.params["steps"] == 1
    assert log.params["validation"] is True
    model.fit(X, Y, verbose=0, callbacks=[log])
    assert log.params["validation"] is False


def test_batch_logs_are_running_means():
    seen = []
    model = regression(keras.optimizers.SGD(0.0))
    model.fit(X, Y, batch_size=10, shuffle=False, verbose=0, callbacks=[
        keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(logs["loss"]))])
    losses = (model.predict(X, verbose=0) - Y)[:, 0] ** 2
    np.testing.assert_allclose(seen, [losses[: min(10 * (i + 1), 64)].mean() for i in range(7)], rtol=1e-5)


@pytest.mark.parametrize("eagerly", [False, True])
def test_stop_training_in_the_middle_of_an_epoch(eagerly):
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 2:
                self.model.stop_training = True

    model = regression(run_eagerly=eagerly)
    history = model.fit(X, Y, batch_size=8, epochs=5, verbose=0, callbacks=[Stop()])
    assert int(model.optimizer.iterations) == 3 and len(history.epoch) == 1
    model.fit(X, Y, batch_size=8, epochs=1, verbose=0)  # stop_training is forgotten
    assert int(model.optimizer.iterations) == 11


def test_a_callback_that_raises_leaves_a_usable_model():
    def fail(batch, logs):
        raise RuntimeError("enough")

    model = regression()
    with pytest.raises(RuntimeError, match="enough"):
        model.fit(X, Y, verbose=0, callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=fail)])
    model.fit(X, Y, verbose=0)


def test_a_callback_changes_weights_between_batches():
    class Zero(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            self.model.set_weights([np.zeros_like(w) for w in self.model.get_weights()])

    model = regression(keras.optimizers.SGD(0.0))
    assert model.fit(X, Y, verbose=0, callbacks=[Zero()]).history["loss"][0] == pytest.approx(np.mean(Y**2), rel=1e-5)


def test_evaluate_and_predict_inside_a_callback():
    class Inside(keras.callbacks.Callback):
        values = []

        def on_epoch_end(self, epoch, logs=None):
            self.values.append(self.model.evaluate(X, Y, verbose=0)[0])
            self.model.predict(X[:3], verbose=0)

    inside, model = Inside(), regression()
    history = model.fit(X, Y, epochs=2, verbose=0, callbacks=[inside], validation_data=(X, Y)).history
    assert inside.values == history["val_loss"]


def test_learning_rate_scheduler():
    model = regression()
    history = model.fit(X, Y, epochs=3, verbose=0, callbacks=[
        keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.5)]).history
    np.testing.assert_allclose(history["learning_rate"], [0.05, 0.025, 0.0125], rtol=1e-6)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.0125)


def test_a_rate_of_zero_from_the_scheduler_stops_learning():
    model = regression()
    weights = []
    model.fit(X, Y, epochs=3, verbose=0, callbacks=[
        keras.callbacks.LearningRateScheduler(lambda epoch: 0.1 if epoch == 0 else 0.0),
        keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: weights.append(model.get_weights()))])
    np.testing.assert_array_equal(weights[0][0], weights[2][0])


def test_reduce_lr_on_plateau():
    model = regression(keras.optimizers.SGD(1e-9))
    history = model.fit(X, Y, epochs=5, verbose=0, callbacks=[
        keras.callbacks.ReduceLROnPlateau("loss", factor=0.1, patience=2, min_delta=1e-3)]).history
    np.testing.assert_allclose(history["learning_rate"], [1e-9, 1e-9, 1e-9, 1e-10, 1e-10], rtol=1e-5)


def test_early_stopping_stops():
    stop = keras.callbacks.EarlyStopping("loss", patience=2, min_delta=10.0)
    history = regression().fit(X, Y, epochs=50, verbose=0, callbacks=[stop])
    assert len(history.epoch) == 3 and stop.stopped_epoch == 2


def test_terminate_on_nan(capsys):
    model = regression(keras.optimizers.SGD(1e30))
    history = model.fit(X, Y, batch_size=8, epochs=20, verbose=0, callbacks=[keras.callbacks.TerminateOnNaN()])
    assert len(history.epoch) == 1 and "Invalid loss" in capsys.readouterr().out


def test_model_checkpoint_keeps_the_best(tmp_path):
    path = tmp_path / "best.keras"
    model = regression(keras.optimizers.SGD(0.5))
    history = model.fit(X, Y, epochs=8, verbose=0, validation_split=0.3, callbacks=[
        keras.callbacks.ModelCheckpoint(path, save_best_only=True)]).history
    best = keras.models.load_model(path)
    loss, _ = best.evaluate(X[44:], Y[44:], verbose=0)
    assert loss == pytest.approx(min(history["val_loss"]), rel=1e-6)


def test_model_checkpoint_of_every_epoch_and_batch(tmp_path):
    regression().fit(X, Y, epochs=2, verbose=0, callbacks=[
        keras.callbacks.ModelCheckpoint(tmp_path / "e{epoch:02d}-{loss:.2f}.keras"),
        keras.callbacks.ModelCheckpoint(tmp_path / "b{batch}.weights.h5", save_weights_only=True, save_freq=1)])
    names = sorted(p.name for p in tmp_path.iterdir())
    assert len(names) == 4 and names[:2] == ["b1.weights.h5", "b2.weights.h5"] and names[2].startswith("e01-")


def test_csv_logger(tmp_path):
    path = tmp_path / "log.csv"
    history = regression().fit(X, Y, epochs=3, verbose=0, callbacks=[keras.callbacks.CSVLogger(path)],
                               validation_split=0.5).history
    with open(path) as file:
        rows = list(csv.DictReader(file))
    assert [int(r["epoch"]) for r in rows] == [0, 1, 2]
    np.testing.assert_allclose([float(r["val_loss"]) for r in rows], history["val_loss"], rtol=1e-6)


def test_backup_and_restore_goes_on_after_an_interruption(tmp_path):
    class Interrupt(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    def run(callbacks, epochs=4):
        model = regression(keras.optimizers.Adam(0.01))
        history = model.fit(X, Y, epochs=epochs, verbose=0, shuffle=False, callbacks=callbacks)
        return model, history

    want, _ = run([])
    backup = lambda: keras.callbacks.BackupAndRestore(tmp_path / "backup")  # noqa: E731
    with pytest.raises(KeyboardInterrupt):
        run([backup(), Interrupt()])
    got, history = run([backup()])
    assert history.epoch == [0, 1, 2, 3]
    for a, b in zip(want.get_weights(), got.get_weights()):
        np.testing.assert_array_equal(a, b)


def test_swap_ema_weights():
    model = regression(keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5))
    history = model.fit(X, Y, epochs=2, verbose=0, validation_data=(X, Y),
                        callbacks=[keras.callbacks.SwapEMAWeights()]).history
    # The validation saw the averages, which `fit` leaves in the model at its end.
    assert history["val_loss"][-1] == model.evaluate(X, Y, verbose=0)[0]
    plain = regression()
    plain.fit(X, Y, epochs=2, verbose=0)
    assert not np.array_equal(plain.get_weights()[0], model.get_weights()[0])


def test_tensors_do_not_reach_the_user():
    kinds = set()
    regression().fit(X, Y, verbose=0, callbacks=[keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: kinds.update(type(v) for v in logs.values()),
        on_epoch_end=lambda epoch, logs: kinds.update(type(v) for v in logs.values()))])
    assert kinds == {float}
