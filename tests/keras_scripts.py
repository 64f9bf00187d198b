"""Scripts in the manner of Keras's guides and of course notebooks. Each takes the module they import as `keras` and
returns what a reader of the script would look at; they import nothing but NumPy, so that the very same text runs
under pydl and under Keras."""

from __future__ import annotations

import numpy as np


def points(rows=96, features=8, seed=0):
    rng = np.random.RandomState(seed)
    x = rng.normal(size=(rows, features)).astype("float32")
    return x, (x @ rng.normal(size=features) > 0).astype("float32")


def same_start(model, seed=1):
    """Weights that do not depend on the library's own random numbers."""
    rng = np.random.RandomState(seed)
    model.set_weights([(rng.normal(size=w.shape) * 0.3).astype(w.dtype) if w.ndim > 1 else w
                       for w in model.get_weights()])
    return model


def sequential(keras):
    layers = keras.layers
    x, y = points()
    model = keras.Sequential([layers.Dense(4, activation="relu", name="hidden")], name="net")
    model.add(layers.Dense(1, name="out"))
    before = model.built
    model(x[:1])
    same_start(model)
    features = keras.Model(inputs=model.inputs, outputs=[model.get_layer("hidden").output])
    model.compile("sgd", "mse", metrics=["mae"])
    history = model.fit(x, y, epochs=2, verbose=0, shuffle=False, validation_split=0.25).history
    alone = [model.train_on_batch(x[:8], y[:8]) for _ in range(2)]
    return {"built": (before, model.built), "paths": [w.path for w in model.weights], "history": history,
            "features": tuple(features(x[:3]).shape), "evaluate": model.evaluate(x, y, verbose=0), "alone": alone}


def functional(keras):
    layers = keras.layers
    rng = np.random.RandomState(0)
    title, body, tags = (keras.Input((n,), name=k) for n, k in ((6, "title"), (6, "body"), (3, "tags")))
    shared = layers.Dense(5, activation="tanh")
    z = layers.concatenate([shared(title), shared(body), tags])
    priority, department = layers.Dense(1, name="priority")(z), layers.Dense(4, name="department")(z)
    model = same_start(keras.Model([title, body, tags], [priority, department]))
    model.compile(keras.optimizers.RMSprop(1e-2),
                  {"priority": keras.losses.BinaryCrossentropy(from_logits=True),
                   "department": keras.losses.CategoricalCrossentropy(from_logits=True)},
                  loss_weights={"priority": 1.0, "department": 0.2}, metrics={"department": ["accuracy"]})
    x = {"title": rng.rand(64, 6), "body": rng.rand(64, 6), "tags": rng.rand(64, 3)}
    y = {"priority": rng.randint(0, 2, (64, 1)).astype("float32"), "department": np.eye(4)[rng.randint(0, 4, 64)]}
    history = model.fit(x, y, epochs=2, verbose=0, shuffle=False).history
    return {"history": history, "predict": model.predict(x, verbose=0), "evaluate": model.evaluate(x, y, verbose=0)}


def subclassing(keras):
    layers, ops = keras.layers, keras.ops

    class Linear(layers.Layer):
        def __init__(self, units, **kwargs):
            super().__init__(**kwargs)
            self.units = units

        def build(self, input_shape):
            self.w = self.add_weight(shape=(input_shape[-1], self.units), initializer="random_normal", name="w")
            self.b = self.add_weight(shape=(self.units,), initializer="zeros", name="b")

        def call(self, inputs):
            return ops.matmul(inputs, self.w) + self.b

    class Activity(layers.Layer):
        def call(self, inputs):
            self.add_loss(0.01 * ops.mean(ops.square(inputs)))
            return inputs

    class Net(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.blocks = [Linear(6, name="first"), Linear(1, name="second")]
            self.activity = Activity()
            self.dropout = layers.Dropout(0.5)

        def call(self, inputs, training=False):
            x = self.activity(keras.activations.relu(self.blocks[0](inputs)))
            return self.blocks[1](self.dropout(x, training=training))

    x, y = points()
    model = Net(name="net")
    model.compile("adam", "mse")
    model(x[:1])
    same_start(model)
    out = {"evaluate": model.evaluate(x, y, verbose=0), "paths": [w.path for w in model.weights]}
    model.fit(x, y, verbose=0)
    return {**out, "weights": len(model.weights), "variables": len(model.variables)}


def train_step(keras):
    class Custom(keras.Model):
        def train_step(self, data):
            x, y = data
            y_pred = self(x, training=True)
            loss = self.compute_loss(x=x, y=y, y_pred=y_pred)
            self.zero_grad()
            loss.backward()
            weights = self.trainable_weights
            self.optimizer.apply([w.value.grad for w in weights], weights)
            for metric in self.metrics:
                if metric.name == "loss":
                    metric.update_state(loss)
                else:
                    metric.update_state(y, y_pred)
            return {m.name: m.result() for m in self.metrics}

    x, y = points()
    inputs = keras.Input((8,))
    model = same_start(Custom(inputs, keras.layers.Dense(1)(keras.layers.Dense(4, activation="tanh")(inputs))))
    model.compile("adam", "mse", metrics=["mae"])
    history = model.fit(x, y, epochs=3, verbose=0, shuffle=False).history
    return {"history": dict(sorted(history.items())), "evaluate": model.evaluate(x, y, verbose=0)}


def two_optimizers(keras):
    layers, ops = keras.layers, keras.ops

    class GAN(keras.Model):
        def __init__(self, critic, maker):
            super().__init__()
            self.critic, self.maker = critic, maker
            self.seed = keras.random.SeedGenerator(1)
            self.loss_of = [keras.metrics.Mean(name="d_loss"), keras.metrics.Mean(name="g_loss")]
            self.built = True

        def compile(self, d_optimizer, g_optimizer, loss_fn):
            super().compile()
            self.d_optimizer, self.g_optimizer, self.loss_fn = d_optimizer, g_optimizer, loss_fn

        @property
        def metrics(self):
            return self.loss_of

        def update(self, part, optimizer, loss):
            self.zero_grad()
            loss.backward()
            weights = part.trainable_weights
            optimizer.apply([w.value.grad for w in weights], weights)

        def train_step(self, real):
            rows = ops.shape(real)[0]
            fake = self.maker(keras.random.normal((rows, 4), seed=self.seed))
            labels = ops.concatenate([ops.ones((rows, 1)), ops.zeros((rows, 1))], axis=0)
            d_loss = self.loss_fn(labels, self.critic(ops.concatenate([fake, real], axis=0)))
            self.update(self.critic, self.d_optimizer, d_loss)
            fake = self.maker(keras.random.normal((rows, 4), seed=self.seed))
            g_loss = self.loss_fn(ops.zeros((rows, 1)), self.critic(fake))
            self.update(self.maker, self.g_optimizer, g_loss)
            for metric, value in zip(self.metrics, (d_loss, g_loss)):
                metric.update_state(value)
            return {m.name: m.result() for m in self.metrics}

    critic = keras.Sequential([keras.Input((2,)), layers.Dense(16), layers.LeakyReLU(negative_slope=0.2),
                               layers.Dense(1)])
    maker = keras.Sequential([keras.Input((4,)), layers.Dense(16, activation="relu"), layers.Dense(2)])
    gan = GAN(critic, maker)
    gan.compile(keras.optimizers.Adam(1e-3), keras.optimizers.Adam(1e-3),
                keras.losses.BinaryCrossentropy(from_logits=True))
    before = [critic.get_weights()[0], maker.get_weights()[0]]
    history = gan.fit(np.random.RandomState(0).normal(3, 1, (64, 2)).astype("float32"), epochs=2, verbose=0).history
    moved = [bool(np.any(a != m.get_weights()[0])) for a, m in zip(before, (critic, maker))]
    return {"keys": sorted(history), "moved": moved,
            "updates": [int(gan.d_optimizer.iterations), int(gan.g_optimizer.iterations)]}


def weights_and_batches(keras):
    layers = keras.layers
    rng = np.random.RandomState(0)
    x, y = rng.rand(120, 5).astype("float32"), rng.randint(0, 3, 120)

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, i):
            return x[i * 40:(i + 1) * 40], y[i * 40:(i + 1) * 40]

    out = {}
    for name, arguments in (
            ("class_weight", {"x": x, "y": y, "class_weight": {0: 1.0, 1: 2.0, 2: 0.5}, "shuffle": False}),
            ("sample_weight", {"x": x, "y": y, "sample_weight": y + 0.5, "shuffle": False}),
            ("dataset", {"x": Batches(), "validation_data": Batches(), "shuffle": False})):
        model = same_start(keras.Sequential([keras.Input((5,)), layers.Dense(3, activation="softmax")]))
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], weighted_metrics=["accuracy"])
        out[name] = model.fit(**arguments, epochs=2, verbose=0).history
    return out


def files(keras, folder):
    layers = keras.layers

    class Scale(layers.Layer):
        def __init__(self, factor, **kwargs):
            super().__init__(**kwargs)
            self.factor = factor

        def call(self, inputs):
            return inputs * self.factor

        def get_config(self):
            return {**super().get_config(), "factor": self.factor}

    x, y = points()
    model = same_start(keras.Sequential([keras.Input((8,)), Scale(0.5), layers.Dense(4, "relu"), layers.Dense(1)]))
    model.compile("adam", "mse")
    model.fit(x, y, verbose=0, shuffle=False)
    model.save(folder / "m.keras")
    with keras.utils.custom_object_scope({"Scale": Scale}):
        again = keras.models.load_model(folder / "m.keras")
    more = [m.fit(x, y, verbose=0, shuffle=False).history["loss"][0] for m in (model, again)]
    return {"predict": again.predict(x, verbose=0), "goes on the same": more[0] == more[1]}


def structured(keras):
    layers = keras.layers
    rng = np.random.RandomState(0)
    age, hours = rng.rand(100, 1).astype("float32") * 50 + 20, rng.rand(100, 1).astype("float32")
    kind = rng.randint(0, 5, (100, 1))
    scale = layers.Normalization()
    scale.adapt(age)
    inputs = {"age": keras.Input((1,), name="age"), "hours": keras.Input((1,), name="hours"),
              "kind": keras.Input((1,), dtype="int32", name="kind")}
    kinds = layers.Flatten()(layers.Embedding(5, 3)(inputs["kind"]))
    z = layers.concatenate([scale(inputs["age"]), inputs["hours"], kinds])
    model = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(z))
    rng = np.random.RandomState(5)
    for layer in model.layers:
        if layer.trainable_weights:
            layer.set_weights([rng.normal(size=w.shape).astype("float32") for w in layer.get_weights()])
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    data = {"age": age, "hours": hours, "kind": kind}
    history = model.fit(data, (age[:, 0] > 45).astype("int32"), epochs=2, verbose=0, shuffle=False).history
    return {"history": history, "mean": np.asarray(scale.mean), "variance": np.asarray(scale.variance)}


def freezing(keras):
    layers = keras.layers
    x, y = points()
    base = same_start(keras.Sequential([keras.Input((8,)), layers.Dense(6, activation="relu"),
                                        layers.BatchNormalization(), layers.Dense(5, activation="relu")]))
    base.trainable = False
    inputs = keras.Input((8,))
    model = keras.Model(inputs, layers.Dense(1)(base(inputs, training=False)))
    model.layers[-1].set_weights([np.full((5, 1), 0.2, "float32"), np.zeros(1, "float32")])
    before = base.get_weights()
    model.compile(keras.optimizers.Adam(1e-2), keras.losses.BinaryCrossentropy(from_logits=True))
    history = model.fit(x, y, epochs=2, verbose=0, shuffle=False).history
    kept = all(np.array_equal(a, b) for a, b in zip(before, base.get_weights()))
    base.trainable = True
    return {"history": history, "kept": kept, "counts": [len(base.trainable_weights), len(base.non_trainable_weights)]}


def optimizers(keras):
    layers, o = keras.layers, keras.optimizers
    x, y = points()
    out = {}
    for name, optimizer in (("sgd", o.SGD(0.1, momentum=0.9, nesterov=True)),
                            ("adamw", o.AdamW(1e-2, weight_decay=0.01)),
                            ("rmsprop", o.RMSprop(1e-2)), ("adam", o.Adam(1e-2, clipnorm=1.0, use_ema=True)),
                            ("schedule", o.SGD(o.schedules.CosineDecay(0.1, 20)))):
        model = same_start(keras.Sequential([
            keras.Input((8,)),
            layers.Dense(6, activation="tanh", kernel_regularizer=keras.regularizers.L1L2(1e-3, 1e-3)),
            layers.BatchNormalization(),
            layers.Dense(6, activation="selu", kernel_constraint=keras.constraints.MaxNorm(1.0)),
            layers.Dense(1, activation="sigmoid")]))
        model.compile(optimizer, "binary_crossentropy", metrics=["accuracy"])
        plateau = keras.callbacks.ReduceLROnPlateau("loss", 0.5, patience=1, min_delta=1.0)
        out[name] = model.fit(x, y, epochs=3, verbose=0, shuffle=False, validation_split=0.2,
                              callbacks=[] if name == "schedule" else [plateau]).history
    return out


SCRIPTS = [sequential, functional, subclassing, train_step, two_optimizers, weights_and_batches, files, structured,
           freezing, optimizers]
