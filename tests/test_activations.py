"""Names, arguments and configs of the activations; values against NumPy in float64."""

import math

import numpy as np
import pytest

import pydl
from pydl import activations
from pydl.tensor import Variable

X = np.linspace(-6, 6, 49).reshape(7, 7)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softplus(x):
    return np.logaddexp(x, 0)


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def elu(x, alpha=1.0):
    return np.where(x > 0, x, alpha * np.expm1(x))


def np_relu(x, negative_slope=0.0, max_value=None, threshold=0.0):
    y = np.where(x >= threshold, x, negative_slope * (x - threshold))
    return y if max_value is None else np.minimum(y, max_value)


erf = np.vectorize(math.erf)
SELU = 1.0507009873554805, 1.6732632423543772
ROWS = [
    ("relu", {}, np_relu), ("relu", {"negative_slope": 0.1, "max_value": 3.0}, np_relu),
    ("relu", {"threshold": 1.3, "negative_slope": 0.2}, np_relu),
    ("leaky_relu", {}, lambda x: np.where(x > 0, x, 0.2 * x)),
    ("relu6", {}, lambda x: np.clip(x, 0, 6)), ("softmax", {}, softmax), ("softmax", {"axis": 0}, softmax),
    ("log_softmax", {}, lambda x: np.log(softmax(x))), ("elu", {"alpha": 0.5}, elu),
    ("celu", {"alpha": 2.0}, lambda x, alpha: np.maximum(x, 0) + np.minimum(alpha * np.expm1(x / alpha), 0)),
    ("selu", {}, lambda x: SELU[0] * elu(x, SELU[1])), ("softplus", {}, softplus),
    ("softsign", {}, lambda x: x / (1 + np.abs(x))), ("squareplus", {}, lambda x: (x + np.sqrt(x * x + 4)) / 2),
    ("soft_shrink", {}, lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.5, 0)),
    ("hard_shrink", {"threshold": 1.1}, lambda x, threshold: np.where(np.abs(x) > threshold, x, 0)),
    ("sparse_plus", {}, lambda x: np.where(x <= -1, 0, np.where(x >= 1, x, (x + 1) ** 2 / 4))),
    ("sparse_sigmoid", {}, lambda x: np.clip((x + 1) / 2, 0, 1)), ("silu", {}, lambda x: x * sigmoid(x)),
    ("swish", {}, lambda x: x * sigmoid(x)), ("gelu", {}, lambda x: x * (1 + erf(x / np.sqrt(2))) / 2),
    ("gelu", {"approximate": True},
     lambda x, approximate: x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))),
    ("hard_sigmoid_of_keras_2", {}, lambda x: np.clip(0.2 * x + 0.5, 0, 1)),
    ("tanh", {}, np.tanh), ("scaled_tanh", {}, lambda x: 1.7159 * np.tanh(2 * x / 3)),
    ("tanh_shrink", {}, lambda x: x - np.tanh(x)),
    ("threshold", {"threshold": 1.1, "default_value": -2.0},
     lambda x, threshold, default_value: np.where(x > threshold, x, default_value)),
    ("sigmoid", {}, sigmoid), ("log_sigmoid", {}, lambda x: -softplus(-x)), ("exponential", {}, np.exp),
    ("hard_sigmoid", {}, lambda x: np.clip(x / 6 + 0.5, 0, 1)),
    ("hard_silu", {}, lambda x: x * np.clip(x / 6 + 0.5, 0, 1)), ("hard_tanh", {}, lambda x: np.clip(x, -1, 1)),
    ("linear", {}, lambda x: x), ("mish", {}, lambda x: x * np.tanh(softplus(x))),
]


@pytest.mark.parametrize("name, args, reference", ROWS, ids=lambda v: v if isinstance(v, str) else None)
def test_values(name, args, reference):
    received = getattr(activations, name)(pydl.tensor.from_numpy(X.copy()), **args).numpy()
    np.testing.assert_allclose(received, reference(X, **args), rtol=1e-13, atol=1e-13)


def test_glu():
    x = np.random.default_rng(0).normal(size=(3, 6))
    np.testing.assert_allclose(activations.glu(pydl.tensor.from_numpy(x)).numpy(), x[:, :3] * sigmoid(x[:, 3:]))


def test_every_activation_has_a_row():
    assert set(activations.OBJECTS) <= {name for name, _, _ in ROWS} | {"glu", "hard_swish"}


@pytest.mark.parametrize("name", sorted(activations.OBJECTS))
def test_names(name):
    function = activations.get(name)
    assert function is getattr(activations, name)
    assert activations.get(function) is function
    assert activations.deserialize(activations.serialize(function)) is function


def test_get():
    assert activations.get(None) is activations.linear
    assert activations.get(abs) is abs
    assert activations.serialize(activations.relu) == "relu"
    with pytest.raises(ValueError, match="Could not interpret activation function identifier: rleu. Did you mean"):
        activations.get("rleu")
    with pytest.raises(ValueError, match="Could not interpret activation function identifier: 3"):
        activations.get(3)


def test_registered_by_the_user():
    @pydl.registry.register_keras_serializable("mine")
    def cube(x):
        return x**3

    assert activations.deserialize(activations.serialize(cube)) is cube
    assert activations.get("mine>cube") is cube
    with pydl.registry.custom_object_scope({"cube": cube}):
        assert activations.get("cube") is cube


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "number"), [("relu", 1), ("sigmoid", 2), ("tanh", 3)])
def test_slopes_keep_their_digits_and_kernels_agree_on_them(name, number, dtype):
    """csrc/kernels/derivatives.h: dy f'(x) from y = f(x), also where f saturates and the slope is a difference."""
    eps = np.finfo(dtype).eps
    ends = np.concatenate([1 - eps * np.arange(1, 200), 1 - np.geomspace(1e-5, 0.5, 200), [0, 0.5, 1]])
    y = (ends if name == "sigmoid" else np.concatenate([ends, -ends])).astype(dtype)
    dy, found, dense = np.ones_like(y), np.empty_like(y), np.empty_like(y)
    getattr(pydl._core.kernels, f"{name}_grad")(y, dy, found, y.size)
    pydl._core.kernels.dense_dz(y, dy, dense, None, 1, y.size, number)
    exact = np.longdouble(y)
    exact = {"relu": exact > 0, "sigmoid": exact * (1 - exact), "tanh": (1 - exact) * (1 + exact)}[name]
    np.testing.assert_allclose(found, exact.astype(dtype), rtol=2 * eps, atol=0)
    np.testing.assert_array_equal(found, dense)


@pytest.mark.parametrize("name, options, at, slope", [
    ("squareplus", {}, 0.0, 0.5), ("squareplus", {"b": 1}, 0.0, 0.5), ("squareplus", {}, -0.0, 0.5),
    ("sparse_plus", {}, 1.0, 1.0), ("sparse_plus", {}, -1.0, 0.0), ("sparse_plus", {}, 0.0, 0.5),
    ("elu", {}, 0.0, 1.0), ("softplus", {}, 0.0, 0.5), ("mish", {}, 0.0, 0.6), ("silu", {}, 0.0, 0.5),
    ("softsign", {}, 0.0, 1.0), ("gelu", {}, 0.0, 0.5), ("celu", {"alpha": 2.0}, 0.0, 1.0),
])
def test_slopes_where_pieces_meet_smoothly(name, options, at, slope):
    x = Variable(np.array([at, at, 7.0]), dtype="float64")
    with pydl.GradientTape() as tape:
        y = pydl.ops.sum(getattr(pydl.activations, name)(x, **options)[:2])
    np.testing.assert_allclose(tape.gradient(y, x).numpy(), [slope, slope, 0], rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("options, want", [
    ({"threshold": 2.0}, [0, 0, 0, 0, 5, np.nan]), ({"threshold": 2.0, "max_value": 1.0}, [0, 0, 0, 0, 1, np.nan]),
    ({"threshold": -2.0}, [0, -1, 0, 2, 5, np.nan]), ({"threshold": -2.0, "max_value": 3.0}, [0, 0, 0, 2, 3, np.nan]),
    ({"threshold": 2.0, "negative_slope": 0.5, "max_value": 4.0}, [-np.inf, -1.5, -1, 0, 4, np.nan]),
    ({"max_value": 6.0}, [0, 0, 0, 2, 5, np.nan]), ({"max_value": -1.0}, [-1, -1, -1, -1, -1, np.nan]),
])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_relu_at_its_edges(options, want, dtype):
    """What lies at the threshold is 0, a ceiling below the threshold holds, infinities and NaN stay what they are."""
    x = np.array([-np.inf, -1, 0, 2, 5, np.nan], dtype)
    np.testing.assert_array_equal(pydl.activations.relu(x, **options).numpy(), np.array(want, dtype))
