"""Small trainings that draw random numbers wherever they can, for tests that interrupt them.

`start(name)` seeds everything and gives a fresh model with its data; `outcome` gathers all that an uninterrupted
training and a resumed one must have in common, bit for bit.
"""

import hashlib

import numpy as np

import pydl as keras
from pydl import layers

EPOCHS = 4
BATCH = 8
ROWS = 28  # the last batch of an epoch is smaller
BATCHES = -(-ROWS // BATCH)


def numbers(*shape):
    return np.random.default_rng(5).normal(size=shape).astype("float32")


def classes(*shape, count=3):
    return np.random.default_rng(6).integers(0, count, shape).astype("int32")


def tokens(*shape, count=9):
    return np.random.default_rng(8).integers(3, count, shape).astype("int32")


def mlp():
    model = keras.Sequential([keras.Input((5,)), layers.GaussianNoise(0.1), layers.Dense(8, "relu"),
                              layers.BatchNormalization(), layers.Dropout(0.3), layers.Dense(3)])
    model.compile(keras.optimizers.Adam(0.02),
                  keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model, numbers(ROWS, 5), classes(ROWS)


def lenet():
    model = keras.Sequential([keras.Input((28, 28, 1)), layers.RandomTranslation(0.1, 0.1), layers.RandomRotation(0.05),
                              keras.applications.LeNet5(classes=3)])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model, numbers(ROWS, 28, 28, 1), classes(ROWS)


def lstm():
    model = keras.Sequential([keras.Input((6, 4)), layers.LSTM(5, dropout=0.2, recurrent_dropout=0.2,
                                                               return_sequences=True),
                              layers.SpatialDropout1D(0.2), layers.LSTM(4), layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9, use_ema=True, ema_overwrite_frequency=3), "mse")
    return model, numbers(ROWS, 6, 4), numbers(ROWS, 1)


def transformer():
    x = keras.Input((6,), dtype="int32")
    y = layers.TokenAndPositionEmbedding(9, 6, 8)(x)
    y = layers.TransformerEncoder(16, 2, dropout=0.2)(y)
    y = layers.Dense(3, "softmax")(layers.GlobalAveragePooling1D()(y))
    model = keras.Model(x, y)
    model.compile(keras.optimizers.AdamW(keras.optimizers.schedules.ExponentialDecay(0.02, 3, 0.9)),
                  "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model, tokens(ROWS, 6), classes(ROWS)


def seq2seq():
    model = keras.models.Seq2Seq(layers.GRU(6, return_sequences=True, return_state=True, dropout=0.2),
                                 layers.BahdanauDecoder(6), 9, 9, embedding=4, sampling=0.5)
    source, target = tokens(ROWS, 5), tokens(ROWS, 5)
    model([source[:2], target[:2, :-1]])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model, (source, target[:, :-1]), target[:, 1:]


MODELS = {make.__name__: make for make in (mlp, lenet, lstm, transformer, seq2seq)}


def start(name, seed=7):
    """(model, x, y) of a training, as a process that was started anew would make them."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(seed)
    return MODELS[name]()


def state(model):
    """Copies of everything a training step changes."""
    return [np.array(v) for v in [*model.variables, *model.optimizer.variables]]


def callbacks(model, folder):
    """Callbacks with a memory."""
    rate = model.optimizer.learning_rate
    reduce = keras.callbacks.ReduceLROnPlateau("loss", patience=1, cooldown=1, min_delta=10.0)
    return [keras.callbacks.EarlyStopping("loss", patience=50, restore_best_weights=True),
            *([reduce] if isinstance(rate, keras.Variable) else []),
            keras.callbacks.ModelCheckpoint(folder / "best.keras", "loss", save_best_only=True),
            keras.callbacks.ModelCheckpoint(folder / "{epoch}-{batch}.weights.h5", save_weights_only=True, save_freq=3),
            keras.callbacks.CSVLogger(folder / "log.csv")]


def outcome(model, history, folder) -> dict:
    """What there is in the end: variables, History, the files of `callbacks`."""
    found = {"history": history.history, "epochs": history.epoch, "state": state(model),
             "generator": np.array(keras.random.global_seed_generator().state), "numpy": np.random.random(3)}
    if folder is not None:
        found["log"] = (folder / "log.csv").read_text()
        found["files"] = sorted(p.name for p in folder.iterdir() if p.is_file())
        found["best"] = keras.models.load_model(folder / "best.keras").get_weights()
    return found


def digest(found: dict) -> str:
    """A hash of an outcome."""
    hashed = hashlib.sha256()

    def visit(value):
        if isinstance(value, dict):
            for key in sorted(value):
                hashed.update(key.encode())
                visit(value[key])
        elif isinstance(value, list):
            for item in value:
                visit(item)
        else:
            hashed.update(value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode())

    visit(found)
    return hashed.hexdigest()


def compare(found: dict, wanted: dict) -> None:
    """Asserts that two outcomes are the same, bit for bit."""
    assert found.keys() == wanted.keys()
    for key in wanted:
        if key in ("state", "best"):
            assert len(found[key]) == len(wanted[key])
            for i, (a, b) in enumerate(zip(found[key], wanted[key])):
                np.testing.assert_array_equal(a, b, err_msg=f"{key}, array {i}")
        elif isinstance(wanted[key], np.ndarray):
            np.testing.assert_array_equal(found[key], wanted[key], err_msg=key)
        else:
            assert found[key] == wanted[key], key
