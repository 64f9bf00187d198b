"""How the arguments of a layer's call become those of its `call`, given by place or by name."""

import numpy as np
import pytest

import pydl
from pydl.layers._call import CallSignature, CallSpec
from pydl.tensor import from_numpy


class Flag(pydl.layers.Layer):
    """Keeps the flag it was called with."""

    def call(self, inputs, training=None):
        self.seen = training
        return inputs


class Outer(pydl.layers.Layer):
    """Does not tell the flag to the layer inside."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = Flag()

    def call(self, inputs, training=None):
        return self.inner(inputs)


class Plain(Outer):
    """Knows no flag."""

    def call(self, inputs):
        return self.inner(inputs)


class Demanding(Flag):
    """A flag without a default."""

    def call(self, inputs, training):
        self.seen = training
        return inputs


X = np.ones((2, 3), "float32")


@pytest.mark.parametrize("make", [Outer, Plain])
def test_inner_calls_get_the_flag(make):
    layer = make()
    layer(X, training=True)
    assert layer.inner.seen is True
    layer(X)
    assert layer.inner.seen is False


def test_a_flag_given_by_place_reaches_inner_calls():
    layer = Outer()
    layer(X, True)
    assert layer.inner.seen is True
    around = Around(layer)
    around(X, training=True)
    assert layer.inner.seen is False


class Around(pydl.layers.Layer):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def call(self, inputs, training=None):
        return self.layer(inputs, False)


def test_none_leaves_the_flag_of_the_call_around():
    class Passing(Outer):
        def __init__(self):
            super().__init__()
            self.plain = Plain()

        def call(self, inputs, training=None):
            self.inner(inputs, None)
            return self.plain(inputs, training=None)

    layer = Passing()
    layer(X, training=True)
    assert layer.inner.seen is True and layer.plain.inner.seen is True


def test_a_flag_without_default_is_false():
    layer = Demanding()
    layer(X)
    assert layer.seen is False


def test_the_default_of_a_class_holds_outside_of_other_calls():
    class Training(Flag):
        def call(self, inputs, training=True):
            self.seen = training
            return inputs

    layer = Training()
    layer(X)
    assert layer.seen is True
    Around(layer)(X)
    assert layer.seen is False


def masked(x):
    x = from_numpy(x)
    x._keras_mask = from_numpy(np.array([[True, False, True], [True, True, False]]))
    return x


class Masked(pydl.layers.Layer):
    def __init__(self):
        super().__init__()
        self.supports_masking = True

    def call(self, inputs, other=None, mask=None, other_mask=None):
        self.seen = mask, other_mask
        return inputs * 2.0


@pytest.mark.parametrize("by_name", [False, True])
def test_masks_come_with_the_inputs(by_name):
    layer, x, other = Masked(), masked(np.ones((2, 3, 4), "f4")), masked(np.ones((2, 3), "f4"))
    y = layer(other=other, inputs=x) if by_name else layer(x, other)
    assert layer.seen[0] is x._keras_mask and layer.seen[1] is other._keras_mask
    assert y._keras_mask is x._keras_mask
    layer(x, other, None)
    assert layer.seen[0] is x._keras_mask  # None is no mask
    given = from_numpy(np.ones((2, 3), bool))
    layer(x, other, given, given)
    assert layer.seen == (given, given)


def test_inputs_given_by_name_are_checked():
    with pytest.raises(ValueError, match="min_ndim=2"):
        pydl.layers.Dense(2)(training=False, inputs=np.ones(3, "f4"))
    with pytest.raises(ValueError, match="number of channels"):
        pydl.layers.Conv2D(2, 3)(inputs=pydl.Input((8, 8, None)))
    with pytest.raises(ValueError, match="expected an array or tensor; received 5"):
        pydl.layers.Conv2D(2, 3)(5)


def test_the_innermost_layer_is_named_once():
    class Failing(pydl.layers.Layer):
        def call(self, inputs):
            raise ValueError("does not work.")

    class Holding(Outer):
        def __init__(self):
            super().__init__()
            self.inner = Failing(name="culprit")

    with pytest.raises(ValueError, match=r'^Failing "culprit": does not work\. Received input shape \(2, 3\)\.$'):
        Holding()(X)


def test_signature():
    def call(self, query, value, training, query_mask=None, attention_mask=None, *args, **kwargs):
        pass

    signature = CallSignature(call)
    assert list(signature.places) == ["query", "value", "training", "query_mask", "attention_mask"]
    assert signature.defaults == {"query_mask": None, "attention_mask": None}
    assert signature.takes_any and signature.masks == [("query_mask", "query"), ("attention_mask", "attention")]


def test_spec():
    layer = Masked()
    spec = CallSpec(layer, (1,), {"other_mask": 4})
    assert [spec.value(name) for name in ("inputs", "other", "other_mask", "nothing")] == [1, None, 4, None]
    spec.set("inputs", 2)
    spec.set("mask", 3)
    assert (spec.first, spec.args, spec.kwargs) == (2, (2,), {"other_mask": 4, "mask": 3})
    assert CallSpec(layer, (), {}).first is None
