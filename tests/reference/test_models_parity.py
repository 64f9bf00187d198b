"""Whole models against Keras 3 and PyTorch: 50 steps of fit, files both ways, gradients.

Keras runs in this process, on its torch backend. Run with `-m reference`.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np
import pytest

keras = pytest.importorskip("keras")
torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.reference,
    # Keras on jax compiles every model (minutes) and loses masks between the step and its metrics.
    pytest.mark.skipif(keras.config.backend() != "torch", reason="compares with Keras on its torch backend"),
    # 2026-11: Keras 3.15 with NumPy 2.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning"),
]

import pydl  # noqa: E402

rng = np.random.default_rng(21)
EPS = np.finfo("float32").eps
X = rng.normal(size=(80, 6)).astype("float32")
IDS = rng.integers(0, 9, (80, 5)).astype("int32")
TARGETS = rng.normal(size=(80, 2)).astype("float32")
LABELS = rng.integers(0, 3, 80)


# ---- the same model in both libraries: each takes the library `k` ---------------------------------------------------


def mlp(k):
    return k.Sequential([k.Input((6,)), k.layers.Dense(16, activation="relu"), k.layers.Dense(8, activation="tanh"),
                         k.layers.Dense(2)])


def regularized(k):
    return k.Sequential([
        k.Input((6,)), k.layers.Dense(16, activation="gelu", kernel_regularizer=k.regularizers.L2(0.01)),
        k.layers.BatchNormalization(), k.layers.LayerNormalization(),
        k.layers.Dense(3, activation="softmax", activity_regularizer=k.regularizers.L1(1e-3))])


def embedded(k):
    return k.Sequential([k.Input((5,), dtype="int32"), k.layers.Embedding(9, 4), k.layers.Flatten(),
                         k.layers.Dense(3, activation="softmax")])


def masked(k):
    return k.Sequential([k.Input((5,), dtype="int32"), k.layers.Embedding(9, 4, mask_zero=True),
                         k.layers.Dense(3, activation="softmax")])


def shared_nested(k):
    a, b = k.Input((6,), name="a"), k.Input((6,), name="b")
    shared = k.layers.Dense(5, activation="tanh", name="shared")
    i = k.Input((5,), name="i")
    inner = k.Model(i, k.ops.relu(k.layers.Dense(5, name="inside")(i)) * 0.5 + i, name="inner")
    left, right = inner(shared(a)), inner(shared(b))
    joined = k.ops.concatenate([left, right, a[:, 1:3], k.ops.mean(b, axis=-1, keepdims=True)], axis=-1)
    score = k.layers.Dense(1, name="score")(k.layers.Subtract(name="less")([left, right]))
    return k.Model([a, b], [k.layers.Dense(2, name="sum")(joined), score], name="two")


def dict_ends(k):
    a, b = k.Input((6,), name="a"), k.Input((6,), name="b")
    h = k.layers.Concatenate(name="join")([a, b])
    return k.Model({"a": a, "b": b}, {"u": k.layers.Dense(2, name="u")(h), "v": k.layers.Dense(1, name="v")(h)})


def many_ops(k):
    ops, x = k.ops, k.Input((6,), name="x")
    parts = [x + 1.5, 1 - x, x / (ops.abs(x) + 1), x**2, -x, ops.leaky_relu(x, negative_slope=0.1),
             ops.gelu(x, approximate=False), ops.softmax(x, axis=-1), ops.clip(x, -1, 1), ops.maximum(x, 0.0),
             ops.where(x > 0, x, 2.0), ops.take(x, [0, 2], axis=1), ops.tile(x, (1, 2)), ops.repeat(x, 2, axis=1),
             ops.pad(x, ((0, 0), (1, 1))), ops.cumsum(x, axis=1), ops.flip(x, axis=1), ops.square(x),
             ops.reshape(ops.transpose(ops.reshape(x, (-1, 2, 3)), (0, 2, 1)), (-1, 6)),
             ops.expand_dims(ops.sum(x, axis=1), 1), ops.max(x, axis=-1, keepdims=True),
             ops.expand_dims(x[..., 0], -1), ops.split(x, 2, axis=-1)[1], ops.one_hot(ops.argmax(x, axis=-1), 6),
             ops.expand_dims(ops.logsumexp(x, axis=-1), -1), ops.einsum("ij,ik->ij", x, x),
             ops.expand_dims(ops.std(x, axis=1), 1), ops.squeeze(ops.stack([x, x], axis=1)[:, :1], 1),
             ops.cast(ops.cast(x, "int32"), "float32"), ops.normalize(x, axis=-1), ops.top_k(x, 2)[0],
             ops.log1p(ops.exp(x)), ops.expand_dims(ops.norm(x, axis=-1), -1),
             ops.swapaxes(ops.swapaxes(x, 0, 1), 0, 1)]
    return k.Model(x, ops.concatenate(parts, axis=-1))


class KerasNet(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first = keras.layers.Dense(8, activation="relu")
        self.blocks = [keras.layers.BatchNormalization(), keras.layers.Dense(4, activation="tanh")]
        self.heads = {"only": keras.layers.Dense(2)}

    def call(self, x, training=None):  # Keras trains a model without this argument in inference mode; pydl does not
        x = self.first(x)
        for block in self.blocks:
            x = block(x, training=training) if "batch" in block.name else block(x)
        return self.heads["only"](x)


class PydlNet(pydl.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first = pydl.layers.Dense(8, activation="relu")
        self.blocks = [pydl.layers.BatchNormalization(), pydl.layers.Dense(4, activation="tanh")]
        self.heads = {"only": pydl.layers.Dense(2)}

    def call(self, x, training=None):  # Keras trains a model without this argument in inference mode; pydl does not
        x = self.first(x)
        for block in self.blocks:
            x = block(x, training=training) if "batch" in block.name else block(x)
        return self.heads["only"](x)


def subclassed(k):
    model = KerasNet() if k is keras else PydlNet()
    model(np.zeros((1, 6), "float32"))
    return model


CASES = {  # model, x, y, loss
    mlp: (X, TARGETS, "mse"),
    regularized: (X, LABELS, "sparse_categorical_crossentropy"),
    embedded: (IDS, LABELS, "sparse_categorical_crossentropy"),
    masked: (IDS, rng.integers(0, 3, (80, 5)), "sparse_categorical_crossentropy"),
    shared_nested: ([X, -X], [TARGETS, X[:, :1]], ["mse", "mae"]),
    dict_ends: ({"a": X, "b": -X}, {"u": TARGETS, "v": X[:, :1]}, {"u": "mse", "v": "mae"}),
    subclassed: (X, TARGETS, "mse"),
}
METRICS = {mlp: ["mae"], regularized: ["accuracy"], embedded: ["accuracy"], masked: ["accuracy"]}


def pair(make):
    """The model in pydl and in Keras with the same weights."""
    ours, theirs = make(pydl), make(keras)
    theirs.set_weights(ours.get_weights())
    return ours, theirs


def flat(y):
    return [np.asarray(a) for a in pydl.tree.flatten(y)]


def close(ours, theirs, terms=200):
    """Equal up to the rounding of `terms` additions of numbers of the size of the largest."""
    ours, theirs = flat(ours), flat(theirs)
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=0, atol=terms * EPS * max(1.0, np.abs(b).max()))


# ---- 50 steps -------------------------------------------------------------------------------------------------------


OPTIMIZERS = {
    "sgd": lambda k: k.optimizers.SGD(0.05),
    "momentum": lambda k: k.optimizers.SGD(0.02, momentum=0.9, nesterov=True),
    "rmsprop": lambda k: k.optimizers.RMSprop(1e-3),
    "adam": lambda k: k.optimizers.Adam(1e-3),
    "adamw": lambda k: k.optimizers.AdamW(1e-3, weight_decay=0.01, clipnorm=1.0),
    "adagrad": lambda k: k.optimizers.Adagrad(0.01),
}


def train_both(make, optimizer, **kwargs):
    x, y, loss = CASES[make]
    pairs = []
    for model, k in zip(pair(make), (pydl, keras)):
        model.compile(OPTIMIZERS[optimizer](k), loss, metrics=METRICS.get(make))
        history = model.fit(x, y, batch_size=16, epochs=10, shuffle=False, verbose=0, **kwargs).history
        pairs.append((model, history))
    return pairs


# The rounding of one step is that of a few hundred additions. It grows over 50 steps; methods that divide by the root
# of small squared gradients turn a relative error of a gradient near 0 into one of the size of a whole step, so they
# are compared by losses more than by single weights.
@pytest.mark.parametrize("make, optimizer", [(mlp, name) for name in OPTIMIZERS] + [
    (make, "sgd") for make in CASES if make is not mlp] + [(regularized, "adam"), (embedded, "adam")])
def test_fifty_steps(make, optimizer):
    (ours, a), (theirs, b) = train_both(make, optimizer)
    assert set(a) == set(b)
    for name in b:
        np.testing.assert_allclose(a[name], b[name], rtol=2e-4, atol=2e-5, err_msg=name)
    steps = 50 if optimizer in ("sgd", "momentum", "adagrad") else 500
    close(ours.get_weights(), theirs.get_weights(), terms=100 * steps)
    x = CASES[make][0]
    close(ours.predict(x, verbose=0), theirs.predict(x, verbose=0), terms=100 * steps)


@pytest.mark.parametrize("arguments", [
    {"sample_weight": np.linspace(0, 2, 80)}, {"class_weight": {0: 1.0, 1: 2.0, 2: 0.3}}, {"validation_split": 0.25}])
def test_fifty_weighted_steps(arguments):
    (ours, a), (theirs, b) = train_both(regularized, "sgd", **arguments)
    assert set(a) == set(b)
    for name in b:
        np.testing.assert_allclose(a[name], b[name], rtol=2e-4, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("make", CASES)
def test_names_of_results_are_keras_own(make):
    x, y, loss = CASES[make]
    found = []
    for model in pair(make):
        metrics = {"loss": loss, "metrics": METRICS.get(make)} if not isinstance(loss, (list, dict)) else {
            "loss": loss, "metrics": [["mae"], ["mse"]] if isinstance(loss, list) else {"u": ["mae"]}}
        model.compile("sgd", **metrics)
        result = model.evaluate(x, y, verbose=0, return_dict=True)
        found.append((set(result), np.array(model.evaluate(x, y, verbose=0)),
                      set(model.fit(x, y, verbose=0).history)))
    assert found[0][0] == found[1][0] and found[0][2] == found[1][2]
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-4)  # in the same order


# ---- files ----------------------------------------------------------------------------------------------------------


FILED = [mlp, regularized, embedded, masked, shared_nested, dict_ends, many_ops]


def inputs_of(make):
    return CASES[make][0] if make in CASES else X


@pytest.mark.parametrize("make", FILED)
@pytest.mark.parametrize("writer", ["pydl", "keras"])
def test_model_files_both_ways(make, writer, tmp_path):
    first, second = (pydl, keras) if writer == "pydl" else (keras, pydl)
    model = make(first)
    x = inputs_of(make)
    if make in CASES:
        model.compile("adam", CASES[make][2], metrics=METRICS.get(make))
        model.fit(x, CASES[make][1], verbose=0)
    model.save(tmp_path / "m.keras")
    again = second.saving.load_model(tmp_path / "m.keras")
    close(again.predict(x, verbose=0), model.predict(x, verbose=0))
    if make in CASES:  # goes on training with the same optimizer state
        histories = [m.fit(x, CASES[make][1], epochs=3, shuffle=False, verbose=0).history for m in (model, again)]
        for name in histories[0]:
            np.testing.assert_allclose(*(h[name] for h in histories), rtol=2e-4, atol=2e-5, err_msg=name)
        assert int(again.optimizer.iterations) == int(model.optimizer.iterations) > 3
        for a, b in zip(model.optimizer.variables, again.optimizer.variables):
            np.testing.assert_allclose(_value(a), _value(b), rtol=1e-3, atol=1e-4)


def _value(variable):
    value = variable.value if hasattr(variable, "value") else variable
    return value.detach().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)


@pytest.mark.parametrize("make", [*FILED, subclassed])
@pytest.mark.parametrize("writer", ["pydl", "keras"])
def test_weight_files_both_ways(make, writer, tmp_path):
    ours, theirs = make(pydl), make(keras)
    model, other = (ours, theirs) if writer == "pydl" else (theirs, ours)
    model.save_weights(tmp_path / "m.weights.h5")
    other.load_weights(tmp_path / "m.weights.h5")
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    x = inputs_of(make)
    close(ours.predict(x, verbose=0), theirs.predict(x, verbose=0))


@pytest.mark.parametrize("optimizer", [
    "SGD", "RMSprop", "Adam", "AdamW", "Adagrad", "Adadelta", "Adamax", "Nadam", "Ftrl", "Lion"])
@pytest.mark.parametrize("writer", ["pydl", "keras"])
def test_optimizer_state_both_ways(optimizer, writer, tmp_path):
    first, second = (pydl, keras) if writer == "pydl" else (keras, pydl)
    model = mlp(first)
    model.compile(getattr(first.optimizers, optimizer)(0.01), "mse")
    model.fit(X, TARGETS, epochs=2, verbose=0)
    model.save(tmp_path / "m.keras")
    again = second.saving.load_model(tmp_path / "m.keras")
    for a, b in zip(model.optimizer.variables, again.optimizer.variables, strict=True):
        np.testing.assert_allclose(_value(a), _value(b), rtol=1e-6)
    losses = [m.fit(X, TARGETS, epochs=3, shuffle=False, verbose=0).history["loss"] for m in (model, again)]
    np.testing.assert_allclose(*losses, rtol=2e-4)


def test_json_both_ways():
    for make in FILED:
        ours, theirs = make(pydl), make(keras)
        assert [w.shape for w in keras.models.model_from_json(ours.to_json()).get_weights()] == [
            w.shape for w in theirs.get_weights()]
        assert [w.shape for w in pydl.models.model_from_json(theirs.to_json()).get_weights()] == [
            w.shape for w in ours.get_weights()]


def test_keras_lambda_with_byte_code_is_refused(tmp_path):
    model = keras.Sequential([keras.Input((6,)), keras.layers.Lambda(lambda x: x * 2)])
    model.save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match="never runs code from a file"):
        pydl.saving.load_model(tmp_path / "m.keras")


# ---- gradients against PyTorch --------------------------------------------------------------------------------------


def test_gradients_against_pytorch():
    w1, b1, gamma, beta, w2, b2 = (rng.normal(size=s) for s in ((6, 16), (16,), (16,), (16,), (16, 3), (3,)))
    model = pydl.Sequential([
        pydl.Input((6,), dtype="float64"), pydl.layers.Dense(16, activation="gelu", dtype="float64"),
        pydl.layers.LayerNormalization(dtype="float64"), pydl.layers.Dense(3, dtype="float64")])
    model.set_weights([w1, b1, gamma, beta, w2, b2])
    x = X.astype("float64")
    with pydl.GradientTape() as tape:
        logits = model(pydl.ops.convert_to_tensor(x), training=True)
        loss = pydl.losses.SparseCategoricalCrossentropy(from_logits=True, dtype="float64")(LABELS, logits)
    found = tape.gradient(loss, model.trainable_variables)
    leaves = [torch.tensor(v, requires_grad=True) for v in (w1, b1, gamma, beta, w2, b2)]
    t1, c1, g, e, t2, c2 = leaves
    h = torch.nn.functional.gelu(torch.tensor(x) @ t1 + c1, approximate="none")
    h = torch.nn.functional.layer_norm(h, (16,), g, e, eps=1e-3) @ t2 + c2
    want = torch.nn.functional.cross_entropy(h, torch.tensor(LABELS))
    want.backward()
    np.testing.assert_allclose(float(loss), float(want.detach()), rtol=1e-12)
    for ours, leaf in zip(found, leaves):
        np.testing.assert_allclose(ours.numpy(), leaf.grad.numpy(), rtol=1e-10, atol=1e-13)
