"""Every row of cases/initializers.py, and what all initializers promise."""

import random

import numpy as np
import pytest

import pydl
from cases.initializers import CASES
from pydl import initializers


@pytest.mark.parametrize("row", CASES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values(row, dtype):
    values = row.make()(row.shape, dtype=dtype).numpy()
    assert values.shape == row.shape and values.dtype == dtype
    if row.exact is not None:
        np.testing.assert_array_equal(values, row.exact(row.shape).astype(dtype))
        return
    n = values.size
    if row.bound is not None:
        assert np.abs(values).max() <= row.bound * (1 + 1e-6)
        assert np.abs(values).max() > row.bound * 0.98
    # 5 standard errors; that of the standard deviation is below stddev / sqrt(2 n) for all of these.
    assert abs(values.mean() - row.mean) < 5 * row.stddev / np.sqrt(n)
    assert abs(values.std() - row.stddev) < 5 * row.stddev / np.sqrt(2 * n)


@pytest.mark.parametrize("row", CASES, ids=str)
def test_round_trip(row):
    first = row.make()
    again = initializers.deserialize(initializers.serialize(first))
    assert type(again) is type(first) and again.get_config() == first.get_config()
    np.testing.assert_array_equal(again(row.shape).numpy(), first(row.shape).numpy())
    np.testing.assert_array_equal(first.clone()(row.shape).numpy(), first(row.shape).numpy())


def test_seeds():
    fixed = initializers.GlorotUniform(seed=3)
    np.testing.assert_array_equal(fixed((4, 5)).numpy(), fixed((4, 5)).numpy())
    assert not np.array_equal(fixed((4, 5)).numpy(), initializers.GlorotUniform(seed=4)((4, 5)).numpy())
    assert not np.array_equal(initializers.HeNormal()((4, 5)).numpy(), initializers.HeNormal()((4, 5)).numpy())
    random.seed(7)
    one = initializers.HeNormal()((4, 5)).numpy()
    random.seed(7)
    np.testing.assert_array_equal(initializers.HeNormal()((4, 5)).numpy(), one)

    class Counter:
        count = 0

        def next(self):
            self.count += 1
            return np.array([5, self.count], "uint32")

    moving = initializers.RandomNormal(seed=Counter())
    assert not np.array_equal(moving((3,)).numpy(), moving((3,)).numpy())
    with pytest.raises(ValueError, match="`seed` argument should be"):
        initializers.RandomNormal(seed="a")


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (2, 3, 4), (2, 3, 9)])
def test_orthogonal(shape):
    matrix = initializers.Orthogonal(gain=2.0, seed=1)(shape, dtype="float64").numpy().reshape(-1, shape[-1])
    product = matrix.T @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ matrix.T
    np.testing.assert_allclose(product, 4 * np.eye(min(matrix.shape)), atol=1e-12)


def test_orthogonal_is_uniform():
    # Each entry of a uniform orthogonal matrix is as often positive as negative; without the sign rule of the QR
    # decomposition it is not.
    corner = [initializers.Orthogonal(seed=s)((3, 3)).numpy()[0, 0] for s in range(400)]
    assert abs(np.mean(np.sign(corner))) < 5 / np.sqrt(400)


def test_get():
    assert initializers.get(None) is None
    assert isinstance(initializers.get("glorot_uniform"), initializers.GlorotUniform)
    assert isinstance(initializers.get("HeNormal"), initializers.HeNormal)
    assert isinstance(initializers.get("zero"), initializers.Zeros)
    assert isinstance(initializers.get(initializers.Ones), initializers.Ones)
    assert initializers.glorot_uniform is initializers.GlorotUniform
    assert initializers.get(len) is len
    assert isinstance(initializers.get({"class_name": "RandomNormal", "config": {"stddev": 1.0}}),
                      initializers.RandomNormal)
    fixed = initializers.get(np.arange(3.0))
    assert fixed((3,)).numpy().tolist() == [0, 1, 2] and fixed((3,)).dtype == "float32"
    with pytest.raises(ValueError, match=r"Expected `shape` to be \(3,\)"):
        fixed((4,))
    with pytest.raises(ValueError, match="Could not interpret initializer identifier: glorot. Did you mean 'glorot_"):
        initializers.get("glorot")
    with pytest.raises(ValueError, match="Could not interpret initializer identifier: 3"):
        initializers.get(3)


def test_registered_by_the_user():
    @pydl.registry.register_keras_serializable("mine")
    class Sevens(initializers.Initializer):
        def __call__(self, shape, dtype=None):
            return initializers.Constant(7.0)(shape, dtype)

    plain = initializers.serialize(Sevens())
    assert plain["registered_name"] == "mine>Sevens"
    assert isinstance(initializers.deserialize(plain), Sevens)


def test_errors():
    with pytest.raises(ValueError, match="only be used for 2D matrices"):
        initializers.Identity()((2, 2, 2))
    with pytest.raises(ValueError, match="at least two-dimensional"):
        initializers.Orthogonal()((3,))
    with pytest.raises(ValueError, match="`scale` must be positive"):
        initializers.VarianceScaling(scale=0.0)
    with pytest.raises(ValueError, match="Invalid `mode` argument: fan"):
        initializers.VarianceScaling(mode="fan")
    with pytest.raises(ValueError, match="Invalid `distribution` argument: cauchy"):
        initializers.VarianceScaling(distribution="cauchy")
    with pytest.raises(ValueError, match="give floats. Received: dtype=int32"):
        initializers.RandomNormal()((3,), dtype="int32")


def test_any_dtype_and_empty_shapes():
    assert initializers.Ones()((2,), dtype="int32").numpy().dtype == "int32"
    assert initializers.Zeros()((), dtype="bool").numpy().dtype == "bool"
    assert initializers.GlorotUniform()((0, 4)).shape == (0, 4)
    assert initializers.TruncatedNormal()(()).shape == ()
