"""The tour: what the library is for, in the order in which a newcomer meets it. Read it as an introduction."""

import numpy as np

import pydl as keras
from pydl import layers, ops


def test_1_tensors_and_gradients():
    x = keras.Variable([1.0, 2.0, 3.0])
    y = ops.sum(x**2)
    y.backward()
    np.testing.assert_array_equal(x.grad.numpy(), [2, 4, 6])
    assert float(keras.grad(lambda v: ops.sin(v))(0.0)) == 1.0


def test_2_a_network_learns_xor():
    keras.utils.set_random_seed(0)
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], "float32")
    y = np.array([[0], [1], [1], [0]], "float32")
    model = keras.Sequential([keras.Input((2,)), layers.Dense(16, activation="tanh"),
                              layers.Dense(1, activation="sigmoid")])
    model.compile(keras.optimizers.Adam(0.05), "binary_crossentropy", metrics=["accuracy"])
    model.fit(x, y, epochs=200, verbose=0)
    assert model.evaluate(x, y, verbose=0, return_dict=True)["accuracy"] == 1
    np.testing.assert_array_equal(model.predict(x, verbose=0).round(), y)


def test_3_the_functional_way_with_two_inputs():
    text, age = keras.Input((6,), dtype="int32", name="text"), keras.Input((1,), name="age")
    words = layers.Flatten()(layers.Embedding(20, 4)(text))
    model = keras.Model([text, age], layers.Dense(1)(layers.Concatenate()([words, age / 100])))
    model.compile("adam", "mse")
    people = {"text": np.ones((8, 6), int), "age": np.full((8, 1), 30)}
    history = model.fit(people, np.ones((8, 1)), epochs=5, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]


def test_4_a_layer_of_ones_own_and_a_loop_of_ones_own():
    class Scale(layers.Layer):
        def build(self, input_shape):
            self.factor = self.add_weight((input_shape[-1],), "ones", name="factor")

        def call(self, x):
            return x * self.factor

    model, optimizer = keras.Sequential([Scale()]), keras.optimizers.SGD(0.1)
    x = ops.ones((4, 3))
    model(x)

    @keras.function
    def step(x):
        with keras.GradientTape() as tape:
            loss = ops.mean((model(x) - 2.0) ** 2)
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss

    losses = [float(step(x)) for _ in range(50)]
    assert losses[0] == 1 and losses[-1] < 0.1
    assert len(step.captures) == 1  # Python described the step once


def test_5_validation_callbacks_and_files(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3)).astype("float32")
    y = (x.sum(axis=1) > 0).astype("int32")
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), layers.Dense(8, activation="relu"), layers.Dropout(0.1),
                              layers.Dense(2, activation="softmax")])
    model.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(x, y, epochs=30, validation_split=0.25, verbose=0, callbacks=[
        keras.callbacks.EarlyStopping("val_loss", patience=3, restore_best_weights=True),
        keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", save_best_only=True)])
    assert max(history.history["val_accuracy"]) > 0.9
    best = keras.models.load_model(tmp_path / "best.keras")
    np.testing.assert_array_equal(best.predict(x, verbose=0), model.predict(x, verbose=0))


def test_6_a_mistake_is_explained():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, name="out")], name="small")
    model.compile("sgd", "mse")
    try:
        model.fit(np.ones((4, 5)), np.ones((4, 2)), verbose=0)
    except ValueError as error:
        assert all(part in str(error) for part in ("small", '"out"', "value 3", "(4, 5)"))
    else:
        raise AssertionError("a wrong shape was accepted")


def test_7_the_same_seed_gives_the_same_bits():
    def run():
        keras.utils.set_random_seed(42)
        model = keras.Sequential([keras.Input((3,)), layers.Dense(4), layers.Dropout(0.5), layers.Dense(1)])
        model.compile("adam", "mse")
        x = np.random.normal(size=(50, 3))
        model.fit(x, x[:, :1], epochs=3, verbose=0)
        return model.get_weights()

    for a, b in zip(run(), run()):
        np.testing.assert_array_equal(a, b)
