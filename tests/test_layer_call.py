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


@pytest.mark.parametrize("inputs", [X, pydl.Input((3,))], ids=["tensor", "symbolic"])
@pytest.mark.parametrize("setting", [True, 2, "name", [1.0, X]], ids=str)
def test_only_tensors_are_given_by_place(inputs, setting):
    with pytest.raises(ValueError, match="Only input tensors may be passed as positional arguments"):
        Outer()(inputs, setting)


class Around(pydl.layers.Layer):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def call(self, inputs, training=None):
        return self.layer(inputs, training=False)


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
        pydl.layers.Conv2D(2, 3)(inputs=5)
    with pytest.raises(ValueError, match="'conv'.*Only input tensors.*pass 5"):
        pydl.layers.Conv2D(2, 3, name="conv")(5)


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


class Keeping(pydl.layers.Layer):
    """Keeps the masks it was given."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs, mask=None):
        self.seen = mask
        return pydl.tree.map_structure(lambda x: x + 1, inputs)


class KeepingTwo(Keeping):
    def call(self, left, right, left_mask=None, right_mask=None):
        self.seen = left_mask, right_mask
        return pydl.tree.flatten(left)[0] + right


def carrying(mask, shape=(2, 3)):
    x = from_numpy(np.ones(shape, "float32"))
    x._keras_mask = None if mask is None else from_numpy(mask)
    return x


ROWS = np.array([True, False])


@pytest.mark.parametrize("mask", [ROWS, from_numpy(ROWS)], ids=["array", "tensor"])
def test_a_mask_that_is_given_goes_on(mask):
    """It takes the place of the one that the inputs carry, for `call` and for the output."""
    for x in (carrying(None), carrying(~ROWS)):
        layer = Keeping()
        y = layer(x, mask=mask)
        assert layer.seen.numpy().tolist() == y._keras_mask.numpy().tolist() == [True, False]
        assert y._keras_mask.dtype == "bool"


def test_masks_of_nested_inputs():
    layer = Keeping()
    y = layer([carrying(ROWS), carrying(None)])
    assert isinstance(layer.seen, list) and layer.seen[1] is None
    np.testing.assert_array_equal(layer.seen[0].numpy(), ROWS)
    assert [getattr(t, "_keras_mask", None) is not None for t in y] == [True, False]
    layer({"a": carrying(None), "b": carrying(ROWS)})
    assert layer.seen["a"] is None and layer.seen["b"].numpy().tolist() == [True, False]
    layer([carrying(None), carrying(None)])
    assert layer.seen == [None, None]
    layer([carrying(None), carrying(None)], mask=[ROWS, ~ROWS])
    assert [m.numpy().tolist() for m in layer.seen] == [[True, False], [False, True]]
    two = KeepingTwo()
    two((carrying(ROWS), carrying(~ROWS)), carrying(ROWS))
    (first, second), right = two.seen
    assert [m.numpy().tolist() for m in (first, second, right)] == [[True, False], [False, True], [True, False]]
    two((carrying(None), carrying(None)), carrying(None), left_mask=(ROWS, ROWS), right_mask=ROWS)
    assert len(two.seen[0]) == 2 and two.seen[1].tolist() == [True, False]


def test_a_mask_that_call_has_set_stays():
    class Own(Keeping):
        def call(self, inputs, mask=None):
            y = inputs + 1
            y._keras_mask = from_numpy(~ROWS)
            return y

    assert Own()(carrying(ROWS))._keras_mask.numpy().tolist() == [False, True]


def test_the_end_of_a_mask_is_said():
    with pytest.warns(UserWarning, match='Flag "end" was given an input that has a mask'):
        y = Flag(name="end")(carrying(ROWS))
    with pytest.warns(UserWarning, match="does not support masks"):
        y = pydl.layers.Flatten()(carrying(ROWS))
    assert getattr(y, "_keras_mask", None) is None
    pydl.Sequential([pydl.Input((3,)), pydl.layers.Dense(2)])(carrying(ROWS))  # in a model each layer decides


def test_a_class_with_compute_mask_supports_masks():
    class Shifting(pydl.layers.Layer):
        def compute_mask(self, inputs, previous_mask):
            return pydl.ops.logical_not(previous_mask)

        def call(self, inputs):
            return inputs + 1

    assert Shifting().supports_masking
    assert Shifting()(carrying(ROWS))._keras_mask.numpy().tolist() == [False, True]


class Mode(pydl.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._register_call_context_args("mode")

    def call(self, inputs, mode=0):
        return inputs + mode


def test_registered_arguments_reach_inner_calls():
    """As `training` does: through layers that do not know them, from the outermost call that names them."""
    class Between(pydl.layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = Mode()

        def call(self, inputs):
            return self.inner(inputs)

    outer = Around(Between())
    outer._register_call_context_args("mode")
    for mode in (0, 1, 5):
        assert outer(X, mode=mode).numpy()[0, 0] == 1 + mode
    assert outer(X).numpy()[0, 0] == 1
    assert Mode()(X, mode=3).numpy()[0, 0] == 4
    with pytest.raises(RuntimeError, match="after the layer has been called"):
        outer._register_call_context_args("other")


def test_build_of_several_parameters_names_arguments_of_call():
    class Suffix(pydl.layers.Layer):
        def build(self, left_shape, right):
            pass

        def call(self, left, right):
            return left

    class Unknown(Suffix):
        def build(self, left_shape, middle_shape):
            pass

    with pytest.raises(ValueError, match="`right` does not end in `_shape`"):
        Suffix()(X, X)
    with pytest.raises(ValueError, match="does not have argument `middle`"):
        Unknown()(X, X)


def test_add_weight_takes_the_shape_first():
    with pytest.raises(ValueError, match="name as a keyword argument, name='kernel'"):
        Flag().add_weight("kernel")


def test_masks_of_symbolic_tensors_are_outputs_of_models_too():
    left, right = pydl.Input((4, 2)), pydl.Input((4, 2))
    joined = pydl.layers.Concatenate(axis=1)([pydl.layers.Masking()(left), right])
    model = pydl.Model([left, right], [joined, pydl.ops.cast(joined._keras_mask, "float32")])
    x = np.array([[[0, 0], [1, 2], [0, 0], [3, 4]]], "float32")
    for run in (model, model.predict_on_batch):
        assert np.array(run([x, x])[1]).tolist() == [[0, 1, 0, 1, 1, 1, 1, 1]]


@pytest.mark.parametrize("kind", ["sequential", "functional", "nested"])
def test_registered_arguments_reach_the_layers_of_models(kind):
    inputs = pydl.Input((3,))
    model = pydl.Sequential([Mode()]) if kind == "sequential" else pydl.Model(inputs, Mode()(inputs))
    if kind == "nested":
        model = pydl.Sequential([pydl.Input((3,)), model])
    model._register_call_context_args("mode")
    for mode in (1, 0, 2):
        assert model(X, mode=mode).numpy()[0, 0] == 1 + mode
    assert model(X).numpy()[0, 0] == 1
    with pytest.raises(TypeError, match="other"):
        model(X, other=1)
