"""Weights files of Keras and of the package safetensors, read here and written there."""

import h5py
import numpy as np
import pytest

keras = pytest.importorskip("keras")

import pydl  # noqa: E402

pytestmark = pytest.mark.reference
rng = np.random.default_rng(4)
X = rng.normal(size=(5, 4)).astype("float32")


def network(library):
    inner = library.Sequential([library.Input((4,)), library.layers.Dense(4, name="d"),
                                library.layers.BatchNormalization(name="n1"),
                                library.layers.BatchNormalization(name="n2")], name="inner")
    x = library.Input((4,))
    y = library.layers.Embedding(7, 4, name="e")(library.layers.Lambda(lambda a: a[:, :1] * 0)(x))
    y = library.layers.Flatten()(y) + inner(x)
    return library.Model(x, library.layers.Dense(3, name="head")(library.layers.Dropout(0.5)(y)))


def filled():
    model = network(keras)
    model.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in model.get_weights()])
    return model


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("by_name", [False, True])
def test_whole_legacy_model(tmp_path, by_name, frozen):
    theirs, ours = filled(), network(pydl)
    theirs.get_layer("inner").trainable = not frozen
    theirs.save(tmp_path / "x.h5")
    ours.load_weights(tmp_path / "x.h5", by_name=by_name)
    np.testing.assert_allclose(ours.predict(X, verbose=0), theirs.predict(X, verbose=0), atol=1e-5)


@pytest.mark.parametrize("name", ["x.weights.h5", "x.keras"])
def test_files_of_keras_3(tmp_path, name):
    theirs, ours = filled(), network(pydl)
    (theirs.save_weights if name == "x.weights.h5" else theirs.save)(tmp_path / name)
    ours.load_weights(tmp_path / name)
    np.testing.assert_allclose(ours.predict(X, verbose=0), theirs.predict(X, verbose=0), atol=1e-5)


def test_safetensors(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    theirs, ours = filled(), network(pydl)
    # The package takes contiguous arrays only, and writes names in its own order.
    safetensors.save_file({"/".join(v.path.split("/")[-2:]): np.ascontiguousarray(keras.ops.convert_to_numpy(v))
                           for v in theirs.weights}, tmp_path / "x.safetensors", {"made": "here"})
    ours.load_weights(tmp_path / "x.safetensors")
    np.testing.assert_allclose(ours.predict(X, verbose=0), theirs.predict(X, verbose=0), atol=1e-5)
    ours.save_weights(tmp_path / "y.safetensors")
    again = safetensors.load_file(tmp_path / "y.safetensors")
    assert len(again) == len(ours.weights)
    np.testing.assert_array_equal(again["layers/dense/kernel"], ours.get_layer("head").kernel.numpy())


@pytest.mark.parametrize("kind", ["sequential", "functional"])
def test_load_legacy_model(tmp_path, kind):
    if kind == "sequential":
        theirs = keras.Sequential([keras.Input((4,)), keras.layers.Dense(6, "relu", kernel_regularizer="l2"),
                                   keras.layers.BatchNormalization(), keras.layers.Dense(2)])
    else:
        x = keras.Input((4,))
        y = keras.layers.Dense(4, "relu")(x)
        inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
        y = keras.layers.Concatenate()([keras.layers.Add()([inner(y), x]), y])
        theirs = keras.Model(x, keras.layers.Dense(2)(y))
    theirs.compile(keras.optimizers.Adam(0.01), "mse", metrics=["mae"])
    target = rng.normal(size=(5, 2)).astype("float32")
    theirs.fit(X, target, verbose=0)
    theirs.save(tmp_path / "x.h5")
    ours = pydl.saving.load_model(tmp_path / "x.h5")
    np.testing.assert_allclose(ours.predict(X, verbose=0), theirs.predict(X, verbose=0), atol=1e-5)
    for model in (ours, theirs):  # with the optimizer's state
        model.fit(X, target, epochs=3, verbose=0)
    np.testing.assert_allclose(ours.predict(X, verbose=0), theirs.predict(X, verbose=0), atol=1e-4)


def whole_models(library):
    """Models of every kind that the legacy format has a place for, with an input."""
    layers = library.layers
    plain = library.Sequential([library.Input((4,)), layers.Dense(3, "relu", kernel_regularizer="l2"),
                                layers.BatchNormalization(), layers.Dense(2)], name="plain")
    plain.compile(library.optimizers.Adam(library.optimizers.schedules.ExponentialDecay(0.1, 3, 0.5)),
                  "mean_squared_error", metrics=["mae", library.metrics.MeanSquaredError(name="q")])
    x, y = library.Input((4,), name="x"), library.Input((4,), name="y")
    inner = library.Sequential([library.Input((4,)), layers.Dense(4), layers.BatchNormalization()], name="inner")
    h = layers.Add()([inner(x), layers.Dropout(0.5)(y, training=False)])
    shared = layers.Dense(2, name="shared")
    nested = library.Model({"x": x, "y": y}, [shared(h), layers.Dense(1, name="o")(shared(x))], name="nested")
    nested.compile("sgd", ["mean_squared_error", library.losses.Huber()], loss_weights=[1.0, 2.0])
    steps = library.Sequential([library.Input((4, 1)), layers.TimeDistributed(layers.Dense(3, "tanh")),
                                layers.Bidirectional(layers.GRU(2, return_sequences=True)), layers.LSTM(2)])
    steps.compile("rmsprop", "mean_squared_error")
    z = library.Input((3, 4), name="z")
    attending = library.Model(z, layers.MultiHeadAttention(2, 2)(z, value=z))
    return [(plain, X), (nested, {"x": X, "y": X}), (steps, X[..., None]), (attending, np.stack([X, X, X], 1))]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("direction", ["to Keras", "from Keras"])
@pytest.mark.parametrize("number", range(4))
def test_whole_models_as_h5(tmp_path, number, direction):
    libraries = (pydl, keras) if direction == "to Keras" else (keras, pydl)
    writer, reader = libraries
    model, x = whole_models(writer)[number]
    if model.compiled:
        targets = model.predict(x, verbose=0)
        model.fit(x, [t + 1 for t in targets] if isinstance(targets, list) else targets + 1, verbose=0)
    model.save(tmp_path / "m.h5")
    again = reader.models.load_model(tmp_path / "m.h5")
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(*(pydl.tree.flatten(m.predict(x, verbose=0)) for m in (model, again)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    assert again.compiled == model.compiled
    if model.compiled and reader is pydl:  # Keras 3 forgets the optimizer's state of `.h5` files, its own too
        for a, b in zip(model.optimizer.variables, again.optimizer.variables, strict=True):
            np.testing.assert_array_equal(*(np.asarray(v.numpy() if isinstance(v, pydl.Variable) else v)
                                            for v in (a, b)))


def drawing(library):
    """A model in which much draws random numbers."""
    layers = library.layers
    model = library.Sequential([
        library.Input((6, 6, 1)), layers.RandomFlip(), layers.RandomTranslation(0.1, 0.1), layers.Conv2D(2, 3),
        layers.SpatialDropout2D(0.2), layers.Reshape((4, 8)), layers.GaussianNoise(0.1),
        layers.Bidirectional(layers.LSTM(3, dropout=0.2, return_sequences=True)),
        layers.GRU(3, dropout=0.1), layers.AlphaDropout(0.1), layers.Dense(2)])
    model.compile(library.optimizers.Adam(0.01), "mse")
    model.optimizer.build(model.trainable_variables)
    return model


IMAGES, ANSWERS = rng.normal(size=(8, 6, 6, 1)).astype("float32"), rng.normal(size=(8, 2)).astype("float32")


@pytest.mark.parametrize("name", ["x.weights.h5", "x.keras", "backup"])
def test_keras_passes_over_the_states_of_generators(tmp_path, name):
    ours, theirs = drawing(pydl), drawing(keras)
    backup = pydl.callbacks.BackupAndRestore(tmp_path / "b", delete_checkpoint=False)
    ours.fit(IMAGES, ANSWERS, epochs=2, verbose=0, callbacks=[backup])
    if name == "x.keras":
        ours.save(tmp_path / name)
        theirs = keras.models.load_model(tmp_path / name)
        for a, b in zip(theirs.optimizer.variables, ours.optimizer.variables, strict=True):
            np.testing.assert_array_equal(keras.ops.convert_to_numpy(a), b.numpy())
    else:
        path = tmp_path / "b" / "latest.weights.h5" if name == "backup" else tmp_path / name
        ours.save_weights(tmp_path / "x.weights.h5")
        theirs.load_weights(path)
    for a, b in zip(theirs.get_weights(), ours.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    theirs.fit(IMAGES, ANSWERS, verbose=0)


@pytest.mark.parametrize("name", ["x.weights.h5", "x.keras"])
def test_files_of_keras_hold_no_states_of_generators(tmp_path, name):
    theirs, ours = drawing(keras), drawing(pydl)
    theirs.fit(IMAGES, ANSWERS, epochs=2, verbose=0)
    before = [v.numpy() for v in ours.variables if "seed" in v.name]
    (theirs.save if name == "x.keras" else theirs.save_weights)(tmp_path / name)
    ours.load_weights(tmp_path / name)
    for a, b in zip(theirs.get_weights(), ours.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    after = [v.numpy() for v in ours.variables if "seed" in v.name]
    assert len(before) > 5
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)
    if name == "x.keras":
        pydl.models.load_model(tmp_path / name).fit(IMAGES, ANSWERS, verbose=0)


def containers(library):
    """A model whose layers lie in everything that can hold them, under names before and after "layers"."""
    layers = library.layers

    class Block(layers.Layer):
        def __init__(self):
            super().__init__()
            self.towers = [[layers.Dense(3), layers.Dense(3)], [layers.Dense(3)]]
            self.named = {"z": [layers.Dense(3)], "a": ({"q": layers.Dense(3)}, layers.Dense(3))}
            self.weighted = [library.Variable(np.ones(3, "float32")), {"v": library.Variable(np.ones(3, "float32"))}]

        def build(self, shape):
            for layer in parts(self):
                layer.build((None, 3))

        def call(self, x):
            return run(parts(self), x) * self.weighted[0] + self.weighted[1]["v"]

    def parts(block):
        named = block.named
        return [*block.towers[0], *block.towers[1], *named["z"], named["a"][0]["q"], named["a"][1]]

    class Net(library.Model):
        def __init__(self):
            super().__init__()
            self.a_block = Block()
            self.out = layers.Dense(3)
            self._private = layers.Dense(3)
            self.mixed = [layers.Dense(3), [layers.Dense(3), {"k": layers.Dense(3)}], layers.Dense(3)]
            self.loop = [layers.Dense(3)]
            self.loop.append(self.loop)
            self._hidden = layers.Dense(3)
            self.stack = library.Sequential([library.Input((3,)), layers.Dense(3)])
            self._again, self.bound = 2 * (layers.Dense(3),)
            self._few = {layers.Dense(3)}
            self.stages, self.table = [layers.Dense(3)], {}
            self.zero = None
            self.tail = layers.Dense(3)
            self.table["late"] = layers.Dense(3)
            self.zero = layers.Dense(3)
            self.stages += [layers.Dense(3), [layers.Dense(3)]]

        @property
        def hidden(self):
            return self._hidden

        def call(self, x):
            mixed = self.mixed
            return run([self.a_block, self.out, self._private, mixed[0], *mixed[1][:1], mixed[1][1]["k"], mixed[2],
                        self.loop[0], self._hidden, self.stack, self.bound, *self._few,
                        *self.stages[:2], self.stages[2][0], self.tail, self.zero, self.table["late"]], x)

    def run(steps, x):
        for step in steps:
            x = step(x)
        return x

    model = Net()
    model(X[:, :3])
    model.compile(library.optimizers.SGD(0.1), "mse")
    return model


def values_in(path):
    """All arrays in an HDF5 file by their place in it."""
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()]} if isinstance(item, h5py.Dataset) else {}))
    return found


@pytest.mark.filterwarnings("ignore:.*build:UserWarning")
def test_layers_in_containers(tmp_path):
    theirs, ours = containers(keras), containers(pydl)
    ours.set_weights([rng.normal(size=w.shape) for w in ours.get_weights()])
    ours.save_weights(tmp_path / "ours.weights.h5")
    theirs.load_weights(tmp_path / "ours.weights.h5")
    wanted = ours(X[:, :3]).numpy()
    np.testing.assert_allclose(keras.ops.convert_to_numpy(theirs(X[:, :3])), wanted, rtol=1e-4, atol=1e-5)
    theirs.save_weights(tmp_path / "theirs.weights.h5")
    for ours_, theirs_ in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(ours_, theirs_)
    a, b = values_in(tmp_path / "ours.weights.h5"), values_in(tmp_path / "theirs.weights.h5")
    assert a.keys() == b.keys()
    for name, value in a.items():
        if not name.startswith("optimizer"):  # its name for the learning rate is another one's
            np.testing.assert_array_equal(value, b[name], err_msg=name)
    again = containers(pydl)
    again.load_weights(tmp_path / "theirs.weights.h5")
    np.testing.assert_array_equal(again(X[:, :3]).numpy(), wanted)


def modules(torch):
    """(module, the layer that it is, layout, input as the layer has it); the module takes channels first."""
    nn, layers = torch.nn, pydl.layers
    wave, image, volume = (rng.normal(size=(2, *(6, 5, 4)[:n], 4)).astype("float32") for n in (1, 2, 3))

    def conv(rank, transposed=False, **kwargs):
        name = f"Conv{'Transpose' * transposed}{rank}d"
        layer = getattr(layers, f"Conv{rank}D{'Transpose' * transposed}")
        groups, stride = kwargs.get("groups", 1), kwargs.get("stride", 1)
        return (getattr(nn, name)(4, 6, 2, **kwargs), layer(6, 2, strides=stride, **(
            {} if transposed else {"groups": groups})), name, (wave, image, volume)[rank - 1])

    def recurrent(name, cls, both=False, **kwargs):
        layer = cls(3, return_sequences=True)
        return (getattr(nn, name)(4, 3, batch_first=True, bidirectional=both, **kwargs),
                layers.Bidirectional(layer) if both else layer, name, wave)

    attention = nn.MultiheadAttention(4, 2, batch_first=True)
    torch.nn.init.normal_(attention.in_proj_bias)
    norm = nn.BatchNorm2d(4)
    torch.nn.init.normal_(norm.running_mean)
    return [
        (nn.Linear(4, 3), layers.Dense(3), "Linear", X), (nn.Linear(4, 4, bias=False), layers.Dense(
            4, use_bias=False), "Linear", X),
        *(conv(rank, transposed) for rank in (1, 2, 3) for transposed in (False, True)), conv(2, groups=2),
        conv(2, True, stride=2),
        (nn.Conv2d(4, 8, 2, groups=4), layers.DepthwiseConv2D(2, depth_multiplier=2), "Conv2d", image),
        (nn.Embedding(9, 3), layers.Embedding(9, 3), "Embedding", rng.integers(0, 9, (3, 5))),
        (nn.LayerNorm(4), layers.LayerNormalization(epsilon=1e-5), "LayerNorm", X),
        (nn.GroupNorm(2, 4), layers.GroupNormalization(2, epsilon=1e-5), "GroupNorm", image),
        (norm.eval(), layers.BatchNormalization(epsilon=1e-5), "BatchNorm2d", image),
        (attention, layers.MultiHeadAttention(2, 2), "MultiheadAttention", wave),
        *(recurrent(*pair, both) for both in (False, True) for pair in (
            ("LSTM", layers.LSTM), ("GRU", layers.GRU), ("RNN", layers.SimpleRNN))),
    ]


def test_modules_of_pytorch(tmp_path):
    torch = pytest.importorskip("torch")
    save_file = pytest.importorskip("safetensors.torch").save_file
    torch.manual_seed(3)
    for module, layer, layout, x in modules(torch):
        channels_first = "Conv" in layout or layout in ("GroupNorm", "BatchNorm2d")
        given = torch.as_tensor(np.moveaxis(x, -1, 1).copy() if channels_first else x)
        with torch.no_grad():
            for p in module.parameters():  # LayerNorm and its kin begin with ones and zeros
                p.add_(torch.randn_like(p) * 0.3)
            wanted = module(*(given,) * (3 if layout == "MultiheadAttention" else 1))
        wanted = (wanted[0] if isinstance(wanted, tuple) else wanted).numpy()
        wanted = np.moveaxis(wanted, 1, -1) if channels_first else wanted
        save_file(torch.nn.ModuleDict({"m": module}).state_dict(), tmp_path / "x.safetensors", {"format": "pt"})
        inputs = pydl.Input(x.shape[1:], dtype="int32" if x.dtype.kind == "i" else "float32")
        outputs = layer(inputs, inputs) if layout == "MultiheadAttention" else layer(inputs)
        model = pydl.Model(inputs, outputs)
        model.load_weights(tmp_path / "x.safetensors", name_map={"m": (layer.name, f"torch.{layout}")})
        np.testing.assert_allclose(model.predict(x, verbose=0), wanted, rtol=1e-4, atol=1e-5, err_msg=layout)


def test_a_recurrent_module_of_two_layers(tmp_path):
    torch = pytest.importorskip("torch")
    save_file = pytest.importorskip("safetensors.torch").save_file
    module = torch.nn.GRU(4, 3, num_layers=2, batch_first=True)
    save_file(module.state_dict(), tmp_path / "x.safetensors", {"format": "pt"})
    model = pydl.Sequential([pydl.Input((None, 4)), pydl.layers.GRU(3, return_sequences=True, name="a"),
                             pydl.layers.GRU(3, return_sequences=True, name="b")])
    x = rng.normal(size=(2, 5, 4)).astype("float32")
    with pytest.raises(ValueError, match="leave out .*_l1"):
        model.load_weights(tmp_path / "x.safetensors", name_map={"": ("a", "torch.GRU")}, by_name=True)
    model.load_weights(tmp_path / "x.safetensors", name_map={"": [("a", "torch.GRU[0]"), ("b", "torch.GRU[1]")]})
    with torch.no_grad():
        np.testing.assert_allclose(model.predict(x, verbose=0), module(torch.as_tensor(x))[0].numpy(), atol=1e-5)


def test_a_layer_that_stands_twice(tmp_path):
    """Keras leaves it out of its own config the second time and cannot open the file; what pydl writes it can."""
    shared = pydl.layers.Dense(4)
    model = pydl.Sequential([pydl.Input((4,)), shared, pydl.layers.Dense(4, "tanh"), shared, pydl.layers.Dense(2)])
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    assert again.layers[0] is again.layers[2]
    np.testing.assert_allclose(again.predict(X, verbose=0), model.predict(X, verbose=0), rtol=1e-4, atol=1e-5)
