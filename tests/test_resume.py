"""Training that goes on elsewhere: from files, and after an interruption. The same bits as if nothing had been."""

import copy
import itertools
import os
import pickle
import shutil
import signal
import subprocess
import sys

import h5py
import numpy as np
import pytest

import pydl as keras
import trainings
from harness import PYDL_FOLDER
from pydl import layers, saving
from trainings import BATCH, BATCHES, EPOCHS, MODELS, compare, outcome, start, state

HOOKS = ["on_epoch_begin", "on_epoch_end", "on_train_batch_begin", "on_train_batch_end", "on_test_begin", "on_test_end",
         "on_test_batch_begin", "on_test_batch_end", "on_train_begin", "on_train_end"]


class Stop(keras.callbacks.Callback):
    """Raises at the `count`-th call of a hook."""

    def __init__(self, hook, count):
        super().__init__()
        self.left = count
        setattr(self, hook, self.call)

    def call(self, *_, **__):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


# ---- files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("kind", ["keras", "weights.h5"])
def test_a_file_holds_what_the_next_step_draws(tmp_path, name, kind):
    model, x, y = start(name)
    options = {"batch_size": BATCH, "shuffle": False, "verbose": 0}
    model.fit(x, y, epochs=2, **options)
    path = tmp_path / f"m.{kind}"
    model.save(path) if kind == "keras" else model.save_weights(path)
    model.fit(x, y, epochs=2, **options)
    if kind == "keras":
        again = keras.models.load_model(path)
    else:
        again, *_ = start(name, seed=8)
        again.optimizer.build(again.trainable_variables)
        again.load_weights(path)
    again.fit(x, y, epochs=2, **options)
    compare({"state": state(again)}, {"state": state(model)})


class Drawing(keras.layers.Layer):
    """Generators in an attribute, a list, and a dict inside of a list."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        make = keras.random.SeedGenerator
        self.one, self.several, self.nested = make(1), [make(2), make(3)], [{"a": make(4)}]

    def call(self, x):
        for generator in (self.one, *self.several, self.nested[0]["a"]):
            x = x + keras.random.normal(x.shape, seed=generator)
        return x


def test_generators_anywhere_in_a_layer(tmp_path):
    def make():
        return keras.Sequential([keras.Input((3,)), Drawing()])

    model, again = make(), make()
    x = np.zeros((2, 3), "float32")
    first = np.array(model(x))
    model.save_weights(tmp_path / "m.weights.h5")
    second = np.array(model(x))
    again.load_weights(tmp_path / "m.weights.h5")
    np.testing.assert_array_equal(np.array(again(x)), second)
    assert len(model.variables) == 4 and not np.array_equal(first, second)
    with h5py.File(tmp_path / "m.weights.h5") as file:
        found = []
        file.visit(lambda name: found.append(name) if name.endswith("vars/0") else None)
    assert [name.removeprefix("layers/drawing/") for name in found] == [
        "nested/container/seed_generator/vars/0", "one/vars/0", "several/seed_generator/vars/0",
        "several/seed_generator_1/vars/0"]


def test_layers_in_lists_of_lists_are_saved(tmp_path):
    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.towers = [[layers.Dense(3), layers.Dense(3)], [layers.Dense(3)]]

        def call(self, x):
            for tower in self.towers:
                for layer in tower:
                    x = layer(x)
            return x

    model, again = Net(), Net()
    x = trainings.numbers(2, 3)
    wanted = np.array(model(x))
    again(x)
    model.save_weights(tmp_path / "m.weights.h5")
    again.load_weights(tmp_path / "m.weights.h5")
    np.testing.assert_array_equal(np.array(again(x)), wanted)


def test_a_file_without_generators_leaves_them_alone(tmp_path):
    """As those of Keras, and of pydl before."""
    model, *_ = start("mlp")
    model.save_weights(tmp_path / "m.weights.h5")
    with h5py.File(tmp_path / "m.weights.h5", "a") as file:
        del file["layers/dropout/seed_generator"], file["layers/gaussian_noise/seed_generator"]
    other, *_ = start("mlp", seed=8)
    before = [np.array(v) for v in other.variables if "seed" in v.name]
    other.load_weights(tmp_path / "m.weights.h5")
    compare({"state": other.get_weights()}, {"state": model.get_weights()})
    compare({"state": [np.array(v) for v in other.variables if "seed" in v.name]}, {"state": before})


@pytest.mark.parametrize("value", [np.zeros(3, "int64"), np.zeros(2, "float32"), np.zeros((), "int64")])
def test_what_is_no_state_of_a_generator(tmp_path, value):
    model, *_ = start("mlp")
    model.save_weights(tmp_path / "m.weights.h5")
    with h5py.File(tmp_path / "m.weights.h5", "a") as file:
        del file["layers/dropout/seed_generator/vars/0"]
        file["layers/dropout/seed_generator/vars/0"] = value
    before = state(model)
    with pytest.raises(ValueError, match="m.weights.h5.*layers/dropout/seed_generator.*two integers"):
        model.load_weights(tmp_path / "m.weights.h5")
    compare({"state": state(model)}, {"state": before})


def test_structures(tmp_path):
    value = {"a": [1, 2.5, None, True, "x", {"b": []}], "c": np.arange(3), "d": np.zeros((0, 2), "float16"),
             "array": {"array": 0}, "e": [np.array(True)], "inf": float("inf"), "big": 2**100}
    with h5py.File(tmp_path / "s.h5", "w") as file:
        saving.write_structure(file.create_group("g"), value)
        found = saving.read_structure(file["g"])
        assert found.keys() == value.keys() and found["a"] == value["a"] and found["array"] == {"array": 0}
        assert (found["inf"], found["big"]) == (float("inf"), 2**100)
        for a, b in ((found["c"], value["c"]), (found["d"], value["d"]), (found["e"][0], value["e"][0])):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype
        for wrong in ({1: 2}, {"a": [object()]}, np.array(["x"])):
            with pytest.raises(TypeError, match="expected plain values"):
                saving.write_structure(file.create_group(str(id(wrong))), wrong)


# ---- interruptions --------------------------------------------------------------------------------------------------


def run(name, folder, stop=None, save_freq="epoch", backup=True, eager=False, seed=7, epochs=EPOCHS):
    """Trains as a process that was started anew would; returns the outcome."""
    model, x, y = start(name, seed)
    model.run_eagerly = eager
    hooks = [stop] if stop is not None else []
    if backup:  # somewhere in the list
        hooks.insert(0, keras.callbacks.BackupAndRestore(folder / "backup", save_freq=save_freq))
    history = model.fit(x, y, batch_size=BATCH, epochs=epochs, verbose=0,
                        callbacks=[*hooks, *trainings.callbacks(model, folder)])
    assert not (folder / "backup").exists()
    return outcome(model, history, folder)


@pytest.fixture(scope="module")
def wanted(tmp_path_factory):
    """Outcomes of trainings that were not interrupted."""
    known = {}

    def of(name):
        if name not in known:
            known[name] = run(name, tmp_path_factory.mktemp(name), backup=False)
        return known[name]

    return of


@pytest.mark.parametrize("name", MODELS)
def test_interrupted_at_the_end_of_an_epoch(tmp_path, name, wanted):
    with pytest.raises(KeyboardInterrupt):
        run(name, tmp_path, Stop("on_epoch_begin", 3))
    compare(run(name, tmp_path, seed=8), wanted(name))


@pytest.mark.parametrize("name", MODELS)
def test_interrupted_between_batches(tmp_path, name, wanted):
    with pytest.raises(KeyboardInterrupt):
        run(name, tmp_path, Stop("on_train_batch_end", BATCHES + 3), save_freq=2)
    with pytest.raises(KeyboardInterrupt):
        run(name, tmp_path, Stop("on_train_batch_begin", BATCHES + 1), save_freq=2, seed=8)
    compare(run(name, tmp_path, save_freq=2, seed=9), wanted(name))


@pytest.mark.parametrize("save_freq, eager", [
    (3, True), (BATCHES, False), (1, False), pytest.param(3, False, marks=pytest.mark.slow),
    pytest.param(BATCHES + 1, False, marks=pytest.mark.slow), pytest.param(1, True, marks=pytest.mark.slow)])
def test_interrupted_at_every_batch(tmp_path, save_freq, eager, wanted):
    for seed in range(7, 30):
        try:
            found = run("mlp", tmp_path, Stop("on_train_batch_begin", save_freq + 2), save_freq, eager=eager, seed=seed)
            break
        except KeyboardInterrupt:
            pass
    compare(found, wanted("mlp"))


@pytest.mark.parametrize("hook", HOOKS)
def test_an_exception_in_any_hook(tmp_path, hook, wanted):
    """In the same process, with the same model: what it has learned since the backup is taken back."""
    model, x, y = start("mlp")
    options = {"batch_size": BATCH, "epochs": EPOCHS, "verbose": 0, "validation_data": (x, y)}
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup", save_freq=3)
    for count in (1, 1 if "train_" in hook and "batch" not in hook else 6 if "batch" in hook else 3):
        with pytest.raises(KeyboardInterrupt):
            model.fit(x, y, callbacks=[backup, *trainings.callbacks(model, tmp_path), Stop(hook, count)], **options)
    history = model.fit(x, y, callbacks=[backup, *trainings.callbacks(model, tmp_path)], **options)
    found = outcome(model, history, tmp_path)
    (tmp_path / "whole").mkdir()
    model, x, y = start("mlp")
    history = model.fit(x, y, callbacks=trainings.callbacks(model, tmp_path / "whole"), **options)
    compare(found, outcome(model, history, tmp_path / "whole"))


def test_early_stopping_and_the_best_weights(tmp_path):
    def train(stop=()):
        model, x, y = start("mlp")
        stopping = keras.callbacks.EarlyStopping("loss", patience=2, min_delta=10.0, restore_best_weights=True)
        history = model.fit(x, y, batch_size=BATCH, epochs=9, verbose=0, callbacks=[
            keras.callbacks.BackupAndRestore(tmp_path / "b"), stopping, *stop])
        return {"epochs": history.epoch, "state": state(model), "stopped": stopping.stopped_epoch}

    right = train()
    assert right["epochs"] == [0, 1, 2]
    for hook, count in (("on_epoch_begin", 3), ("on_train_end", 1)):
        with pytest.raises(KeyboardInterrupt):
            train([Stop(hook, count)])
        compare(train(), right)


def test_swapped_averages(tmp_path):
    def train(stop=()):
        model, x, y = start("lstm")
        callbacks = [keras.callbacks.BackupAndRestore(tmp_path / "b"),
                     keras.callbacks.SwapEMAWeights(swap_on_epoch=True), *stop]
        history = model.fit(x, y, batch_size=BATCH, epochs=4, verbose=0, validation_data=(x, y), callbacks=callbacks)
        return {"history": history.history, "state": state(model)}

    right = train()
    with pytest.raises(KeyboardInterrupt):
        train([Stop("on_epoch_begin", 3)])
    compare(train(), right)


def test_a_schedule_that_looks_at_the_rate_is_asked_once_an_epoch(tmp_path):
    def train(stop=()):
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.Input((5,)), layers.Dense(3)])
        model.compile(keras.optimizers.SGD(0.1), "mse")
        x = trainings.numbers(24, 5)
        model.fit(x, x[:, :3], batch_size=BATCH, epochs=3, verbose=0, callbacks=[
            keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.5),
            keras.callbacks.BackupAndRestore(tmp_path / "b", save_freq=2), *stop])
        return {"state": state(model)}

    right = train()
    with pytest.raises(KeyboardInterrupt):
        train([Stop("on_train_batch_end", 6)])
    compare(train(), right)


def test_stateful_layers(tmp_path):
    def train(stop=()):
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.Input(batch_shape=(4, 3, 2)), layers.GRU(5, stateful=True), layers.Dense(1)])
        model.compile("sgd", "mse")
        model.fit(trainings.numbers(16, 3, 2), trainings.numbers(16, 1), batch_size=4, epochs=3, verbose=0,
                  shuffle=False, callbacks=[keras.callbacks.BackupAndRestore(tmp_path / "b", save_freq=3), *stop])
        return {"state": [*state(model), *(np.array(s) for s in model.layers[0].states)]}

    right = train()
    with pytest.raises(KeyboardInterrupt):
        train([Stop("on_train_batch_end", 8)])
    compare(train(), right)


class Remembering(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(float(np.float32(logs["loss"])))

    def get_state(self):
        return {"seen": self.seen, "array": np.array(self.seen)}

    def set_state(self, state):
        assert state["array"].tolist() == state["seen"]
        self.seen = state["seen"]


def test_callbacks_of_ones_own_have_a_memory_too(tmp_path):
    def train(stop=()):
        model, x, y = start("mlp")
        memory = Remembering()
        model.fit(x, y, batch_size=BATCH, epochs=3, verbose=0, callbacks=[
            keras.callbacks.BackupAndRestore(tmp_path / "b", save_freq=3), memory, *stop])
        return memory.seen

    right = train()
    with pytest.raises(KeyboardInterrupt):
        train([Stop("on_train_batch_end", 8)])
    assert train() == right and len(right) == 3 * BATCHES


def test_logs_of_any_kind(tmp_path):
    """What cannot be written is left out; it does not end the training."""
    class Odd(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs.update(text="a", array=np.arange(3), strange=object())

    model, x, y = start("mlp")
    with pytest.warns(UserWarning, match="Left out of the backup: The value of 'strange'.*object"):
        history = model.fit(x, y, epochs=2, verbose=0, callbacks=[
            keras.callbacks.BackupAndRestore(tmp_path / "b"), Odd()])
    assert history.history["text"] == ["a", "a"] and len(history.history["strange"]) == 2


# ---- data -----------------------------------------------------------------------------------------------------------


class Sequence(keras.utils.PyDataset):
    """Batches with noise of NumPy's global generator."""

    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y

    def __len__(self):
        return BATCHES

    def __getitem__(self, index):
        rows = slice(index * BATCH, (index + 1) * BATCH)
        return self.x[rows] + np.random.normal(size=(1, 5)).astype("float32"), self.y[rows]


class Lines:
    """An iterable that draws while it is read."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __iter__(self):
        for i in range(0, len(self.x), BATCH):
            yield self.x[i:i + BATCH] + np.random.normal(size=(1, 5)).astype("float32"), self.y[i:i + BATCH]


def dataset(x, y):
    left, _ = keras.utils.split_dataset((x, y), left_size=len(x) - 1)
    return left.shuffle(9, seed=3).batch(4).shuffle(5, seed=4)


DATA = {
    "arrays": lambda x, y: (x, y),
    "sequence": lambda x, y: (Sequence(x, y),),
    "iterable": lambda x, y: (Lines(x, y),),
    "dataset": lambda x, y: (dataset(x, y),),
    "dataset, one order": lambda x, y: (dataset(x, y).shuffle(3, seed=1, reshuffle_each_iteration=False),),
    "cached": lambda x, y: (dataset(x, y).cache(),),
    "cached, shuffled": lambda x, y: (dataset(x, y).cache().shuffle(4, seed=2),),
    "windows": lambda x, y: (keras.utils.timeseries_dataset_from_array(
        x[:, 0], y, 5, batch_size=4, shuffle=True, seed=3).map(lambda x, y: (x, y)),),
}


@pytest.mark.parametrize("kind", ["arrays", "sequence", "cached, shuffled", "windows",
                                  *(pytest.param(kind, marks=pytest.mark.slow)
                                    for kind in ("iterable", "dataset", "dataset, one order", "cached"))])
@pytest.mark.parametrize("steps, save_freq", [
    (None, 2), (3, "epoch"), pytest.param(None, "epoch", marks=pytest.mark.slow),
    pytest.param(3, 2, marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore:Your input ran out of data")  # as some do after 3 of their steps
def test_any_data(tmp_path, kind, steps, save_freq):
    def train(stop=None, seed=1):
        model, x, y = start("mlp")
        keras.utils.set_random_seed(seed)
        data = DATA[kind](x, y)
        batch_size = BATCH if len(data) == 2 else None
        callbacks = [keras.callbacks.BackupAndRestore(tmp_path / "b", save_freq=save_freq)]
        history = model.fit(*data, batch_size=batch_size, epochs=4, steps_per_epoch=steps, verbose=0,
                            callbacks=callbacks + [stop] * (stop is not None))
        return outcome(model, history, None)

    right = train()
    with pytest.raises(KeyboardInterrupt):
        train(Stop("on_train_batch_begin", 6))
    try:
        found = train(Stop("on_train_batch_begin", 3), seed=2)
    except KeyboardInterrupt:
        found = train(seed=3)
    compare(found, right)


def test_validation_data_with_a_memory(tmp_path):
    def train(stop=()):
        model, x, y = start("mlp")
        return model.fit(x, y, batch_size=BATCH, epochs=4, verbose=0, validation_data=dataset(x, y).take(2), callbacks=[
            keras.callbacks.BackupAndRestore(tmp_path / "b", save_freq=3), *stop]).history

    right = train()
    with pytest.raises(KeyboardInterrupt):
        train([Stop("on_test_batch_begin", 6)])
    assert train() == right and len(set(right["val_loss"])) == 4


def test_class_weights_of_batches_hold_for_every_epoch():
    model, x, y = start("mlp")
    history = model.fit(Sequence(x, y), epochs=3, class_weight={0: 2.0}, shuffle=False, verbose=0)
    assert history.epoch == [0, 1, 2]


def test_a_data_set_hears_of_each_epoch_once(tmp_path):
    heard = []

    class Listening(Sequence):
        def on_epoch_begin(self):
            heard.append("begin")

        def on_epoch_end(self):
            heard.append("end")

    model, x, y = start("mlp")
    backup = keras.callbacks.BackupAndRestore(tmp_path / "b", save_freq=2)
    with pytest.raises(KeyboardInterrupt):
        model.fit(Listening(x, y), epochs=2, verbose=0, callbacks=[backup, Stop("on_train_batch_end", BATCHES + 3)])
    model.fit(Listening(x, y), epochs=2, verbose=0, callbacks=[backup])
    assert heard == ["begin", "end"] * 2


def test_a_cache_is_filled_by_fit():
    read = []

    def count(x, y):
        read.append(1)
        return x, y

    model, x, y = start("mlp")
    left, _ = keras.utils.split_dataset((x, y), left_size=20)
    model.fit(left.batch(5).map(count).cache(), epochs=3, verbose=0)
    assert len(read) == 4


# ---- the backup -----------------------------------------------------------------------------------------------------


def test_one_file_that_load_weights_takes(tmp_path):
    model, x, y = start("mlp")
    model.fit(x, y, epochs=1, verbose=0, callbacks=[
        keras.callbacks.BackupAndRestore(tmp_path / "b", delete_checkpoint=False)])
    assert os.listdir(tmp_path / "b") == ["latest.weights.h5"]
    again, *_ = start("mlp", seed=8)
    again.optimizer.build(again.trainable_variables)
    again.load_weights(tmp_path / "b" / "latest.weights.h5")
    compare({"state": state(again)}, {"state": state(model)})


def test_the_backup_before_the_last_one(tmp_path):
    def train(epochs):
        model, x, y = start("mlp")
        model.fit(x, y, epochs=epochs, verbose=0, callbacks=[keras.callbacks.BackupAndRestore(
            tmp_path / "b", double_checkpoint=True, delete_checkpoint=False)])
        return {"state": state(model)}

    right = train(4)
    assert sorted(os.listdir(tmp_path / "b")) == ["latest.weights.h5", "latest.weights.h5.bkp"]
    last = tmp_path / "b" / "latest.weights.h5"
    last.write_bytes(last.read_bytes()[:3000])
    compare(train(4), right)
    last.unlink()
    compare(train(4), right)
    for path in (last, last.with_name("latest.weights.h5.bkp")):
        path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="latest.weights.h5"):
        train(4)


def test_a_backup_that_does_not_fit(tmp_path):
    model, x, y = start("mlp")
    make = lambda: keras.callbacks.BackupAndRestore(tmp_path / "b", save_freq=2)  # noqa: E731
    with pytest.raises(KeyboardInterrupt):
        model.fit(x, y, batch_size=BATCH, verbose=0, callbacks=[make(), Stop("on_train_batch_end", 3)])
    with pytest.raises(ValueError, match="latest.weights.h5.*28 rows in batches of 8; received 27 rows"):
        model.fit(x[1:], y[1:], batch_size=BATCH, verbose=0, callbacks=[make()])
    with pytest.raises(ValueError, match="in batches of 4"):
        model.fit(x, y, batch_size=4, verbose=0, callbacks=[make()])
    with pytest.raises(ValueError, match="latest.weights.h5"):
        start("lstm")[0].fit(trainings.numbers(4, 6, 4), trainings.numbers(4, 1), verbose=0, callbacks=[make()])
    model.save_weights(tmp_path / "b" / "latest.weights.h5")
    with pytest.raises(ValueError, match="not where the training of them stands"):
        model.fit(x, y, verbose=0, callbacks=[make()])


class Slices(keras.utils.PyDataset):
    num_batches = 7

    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y

    def __getitem__(self, i):
        return self.x[4 * i:4 * i + 4], self.y[4 * i:4 * i + 4]


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden, self.out = layers.Dense(4, activation="tanh"), layers.Dense(1)

    def call(self, x):
        return self.out(self.hidden(x))


def stack():
    return keras.Sequential([layers.Dense(4, activation="tanh"), layers.Dropout(0.3), layers.Dense(1)])


@pytest.mark.parametrize("form", ["arrays", "sequence", "generator"])
@pytest.mark.parametrize("make", [stack, Subclassed])
def test_a_model_that_is_not_built_goes_on(tmp_path, make, form):
    x, y = trainings.numbers(28, 3), trainings.numbers(28, 1)

    def run(folder, *callbacks):
        keras.utils.set_random_seed(4)
        model = make()
        model.compile(keras.optimizers.Adam(0.01), "mse")
        batches = Slices(x, y)
        data = {"arrays": (x, y), "sequence": (batches, None),
                "generator": ((batches[i % 7] for i in itertools.count()), None)}[form]
        steps = {"steps_per_epoch": 7} if form == "generator" else {}
        model.fit(*data, epochs=3, batch_size=4, shuffle=False, verbose=0, **steps,
                  callbacks=[*([keras.callbacks.BackupAndRestore(tmp_path / folder)] if folder else []), *callbacks])
        return model.get_weights()

    want = run(None)
    for a, b in zip(want, run("whole")):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(KeyboardInterrupt):
        run("parts", Stop("on_epoch_begin", 2))
    for a, b in zip(want, run("parts")):
        np.testing.assert_array_equal(a, b)


def test_files_of_others_stay(tmp_path):
    model, x, y = start("mlp")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "notes.txt").write_text("mine")
    model.fit(x, y, verbose=0, callbacks=[keras.callbacks.BackupAndRestore(tmp_path / "b")])
    assert os.listdir(tmp_path / "b") == ["notes.txt"]


def test_training_that_is_stopped_before_it_begins():
    class Never(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.model.stop_training = True

    model, x, y = start("mlp")
    before = model.get_weights()
    assert model.fit(x, y, verbose=0, callbacks=[Never()]).epoch == []
    compare({"state": model.get_weights()}, {"state": before})


# ---- killed processes -----------------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from pathlib import Path
import pydl as keras, trainings

name, folder, kill_at = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])

class Kill(keras.callbacks.Callback):
    left = kill_at

    def on_train_batch_begin(self, batch, logs=None):
        Kill.left -= 1
        if Kill.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

model, x, y = trainings.start(name)
history = model.fit(x, y, batch_size=trainings.BATCH, epochs=trainings.EPOCHS, verbose=0, callbacks=[
    keras.callbacks.BackupAndRestore(folder / "backup", save_freq=3), *trainings.callbacks(model, folder), Kill()])
print(trainings.digest(trainings.outcome(model, history, folder)))
"""


@pytest.mark.parametrize("name", ["mlp", *(pytest.param(name, marks=pytest.mark.slow) for name in MODELS
                                           if name != "mlp")])
def test_killed(tmp_path, name, wanted):
    def process(kill_at):
        return subprocess.run([sys.executable, "-c", KILLED, name, tmp_path, str(kill_at)], capture_output=True,
                              text=True, cwd=PYDL_FOLDER, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})

    for kill_at in (7, 5):
        assert process(kill_at).returncode == -signal.SIGKILL
    last = process(0)
    assert last.stdout.strip() == trainings.digest(wanted(name)), last.stderr


# ---- a full disk ----------------------------------------------------------------------------------------------------

FULL = """
import os, sys
from pathlib import Path
import pydl as keras, trainings

disk = Path(sys.argv[1])

def train():
    model, x, y = trainings.start("mlp")
    history = model.fit(x, y, batch_size=trainings.BATCH, epochs=trainings.EPOCHS, verbose=0, callbacks=[
        keras.callbacks.BackupAndRestore(disk / "backup", save_freq=1), *trainings.callbacks(model, disk), fill])
    return trainings.digest(trainings.outcome(model, history, disk))

class Fill(keras.callbacks.Callback):
    left = 8

    def on_train_batch_begin(self, batch, logs=None):  # somebody else needs all the room there is
        Fill.left -= 1
        if Fill.left == 0:
            try:
                with open(disk / "..filler", "wb") as file:
                    while True:
                        file.write(bytes(4096))
            except OSError:
                pass

fill = Fill()
try:
    train()
except OSError as error:
    print(error)
assert os.statvfs(disk).f_bavail < 10
for path in disk.rglob("*.weights.h5"):
    trainings.start("mlp")[0].load_weights(path)
assert not [path for path in disk.rglob("*") if ".pydl-" in path.name]
(disk / "..filler").unlink()
print(train())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mounts a file system in memory")
def test_a_full_disk(tmp_path, wanted):
    (tmp_path / "disk").mkdir()
    mount = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=2m tmpfs "$1" && shift && exec "$@"', "sh",
             tmp_path / "disk"]
    if shutil.which("unshare") is None or subprocess.run([*mount, "true"], capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    found = subprocess.run([*mount, sys.executable, "-c", FULL, tmp_path / "disk"], capture_output=True, text=True,
                           cwd=PYDL_FOLDER, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    lines = found.stdout.splitlines()
    assert len(lines) == 2, found.stderr
    assert "Cannot write" in lines[0] and "No space left on device" in lines[0]
    assert lines[1] == trainings.digest(wanted("mlp"))


# ---- estimators -----------------------------------------------------------------------------------------------------


def test_estimators(tmp_path):
    estimators = pytest.importorskip("pydl.estimators")
    x, y = trainings.numbers(40, 5), trainings.classes(40)

    def build(features, outputs):
        return keras.Sequential([keras.Input((features,)), layers.Dense(6, "relu"), layers.Dropout(0.3),
                                 layers.Dense(outputs, "softmax")])

    def fit(stop=()):
        callbacks = [keras.callbacks.BackupAndRestore(tmp_path / "b", save_freq=3), *stop]
        found = estimators.NeuralClassifier(build, epochs=4, batch_size=8, random_state=3, verbose=0,
                                            validation_split=0.2, callbacks=callbacks).fit(x, y)
        return {"state": state(found.model_), "history": found.history_}

    right = fit()
    with pytest.raises(KeyboardInterrupt):
        fit([Stop("on_train_batch_end", 9)])
    compare(fit(), right)


@pytest.mark.parametrize("how", [lambda e: pickle.loads(pickle.dumps(e)), copy.deepcopy])
def test_estimators_that_were_put_away(how):
    estimators = pytest.importorskip("pydl.estimators")
    x, y = trainings.numbers(40, 5), trainings.classes(40)
    for make in (lambda: estimators.MLPClassifier((6,), random_state=0),
                 lambda: estimators.Perceptron(random_state=0),
                 lambda: estimators.NeuralClassifier(random_state=0, epochs=2, verbose=0, warm_start=True)):
        def train(estimator):
            return estimator.partial_fit(x, y, classes=[0, 1, 2]) if hasattr(estimator, "partial_fit") else (
                estimator.fit(x, y))

        whole = train(train(make()))
        again = train(how(train(make())))
        for name in ("coefs_", "coef_", "model_"):
            if hasattr(whole, name):
                a, b = getattr(whole, name), getattr(again, name)
                a, b = (m.get_weights() if name == "model_" else list(m) for m in (a, b))
                compare({"state": b}, {"state": a})
