"""What a program depends on: the structure of its arguments, and the owners its recording has read."""

import collections
import copy
import pickle

import numpy as np
import pytest

import pydl as keras
from pydl import config, layers, ops, watch
from pydl.tensor import Variable

ONES = np.ones((2, 3), "float32")


def records(fn):
    """`fn` with a list that grows by one at each recording."""
    recorded = []

    def noted(*args, **kwargs):
        recorded.append(1)
        return fn(*args, **kwargs)

    return keras.function(noted), recorded


# ---- signatures --------------------------------------------------------------------------------------------------


def test_keys_of_a_dict_are_part_of_the_signature():
    f = keras.function(lambda d: d["a"] - d["b"] if "a" in d else d["c"] * 10 + d["d"])
    one, two = ops.ones(()), ops.ones(()) * 2
    assert float(f({"a": one, "b": two})) == -1
    assert float(f({"c": one, "d": two})) == 12
    assert float(f({"b": two, "a": one})) == -1


Pair = collections.namedtuple("Pair", "left right")


@pytest.mark.parametrize("first, second", [
    ((1,), (1.0,)), ((1,), (True,)), ((0.0,), (-0.0,)), ((0,), (False,)), (("1",), (b"1",)), (([1, 2],), ((1, 2),)),
    ((None,), (0,)), (({1: 2},), ({1.0: 2},)), (([[1], 2],), ([1, [2]],)), ((np.float32(1),), (np.float64(1),)),
    ((Pair(1, 2),), ((1, 2),)), ((1,), (1, None)),
], ids=repr)
def test_values_that_are_equal_but_differ(first, second):
    f, recorded = records(lambda x, *rest: x * 1.0)
    f(ONES, *first)
    f(ONES, *second)
    f(ONES, *first)
    assert len(recorded) == 2


@pytest.mark.parametrize("value", [float("nan"), 2.5, "text", (1, (2.0, None)), [1], {"k": [1]}, np.float32(2), len,
                                   frozenset((1, 2))], ids=repr)
def test_the_same_value_replays(value):
    f, recorded = records(lambda x, v: x * 1.0)
    for _ in range(3):
        f(ONES, copy.deepcopy(value))
    assert len(recorded) == 1


def test_the_type_of_a_number_decides():
    g = keras.function(lambda t, n: t / n if isinstance(n, float) else t + n)
    assert float(g(ops.ones(()), 2)) == 3
    assert float(g(ops.ones(()), 2.0)) == 0.5


def test_what_cannot_be_compared_is_refused_by_name():
    f = keras.function(lambda x, table: x)
    with pytest.raises(TypeError, match=r"argument `table`\['rows'\]\[1\] is of type set"):
        f(ONES, {"rows": [1, {2}]})
    with pytest.raises(TypeError, match=r"argument `table` is of type bytearray"):
        f(ONES, table=bytearray(b"a"))


def test_keyword_arguments():
    f, recorded = records(lambda x, scale=1.0, shift=None: x * scale if shift is None else x * scale + shift)
    np.testing.assert_array_equal(f(ONES, scale=3.0), ONES * 3)
    np.testing.assert_array_equal(f(ONES, scale=3.0, shift=ONES), ONES * 4)
    np.testing.assert_array_equal(f(x=ONES * 2, scale=3.0), ONES * 6)
    assert len(recorded) == 3


def test_a_variable_as_argument_is_the_variable_itself():
    def add(v):
        v.assign_add(1.0)
        return v * 1.0

    f, recorded = records(add)
    a, b = Variable(1.0), Variable(10.0)
    assert [float(f(a)), float(f(a)), float(f(b)), float(f(a))] == [2, 3, 11, 4]
    assert float(a) == 4 and float(b) == 11 and len(recorded) == 2


def test_two_inputs_by_position_and_by_name():
    a, b = keras.Input((4,), name="num"), keras.Input((4,), name="cat")
    model = keras.Model([a, b], layers.Subtract()([a, b]))
    five, one = np.full((2, 4), 5.0, "float32"), np.full((2, 4), 1.0, "float32")
    for _ in range(2):
        assert model.predict([five, one], verbose=0)[0, 0] == 4
        assert model.predict({"num": five, "cat": one}, verbose=0)[0, 0] == 4
        assert model.predict({"cat": one, "num": five}, verbose=0)[0, 0] == 4
        assert model.predict_on_batch({"num": five, "cat": one})[0, 0] == 4
    model.compile("sgd", "mse")
    zeros = np.zeros((2, 4), "float32")
    expected = model.evaluate([five, one], zeros, verbose=0)
    assert expected == model.evaluate({"num": five, "cat": one}, zeros, verbose=0) == 16
    assert model.test_on_batch({"cat": one, "num": five}, zeros) == 16
    with pytest.raises(ValueError, match='missing data for input "cat"'):
        model.predict({"num": five, "dog": one}, verbose=0)


def test_keys_of_targets():
    x = keras.Input((2,))
    model = keras.Model(x, {"a": layers.Dense(1, kernel_initializer="zeros", name="a")(x),
                            "b": layers.Dense(1, kernel_initializer="ones", name="b")(x)})
    model.compile(keras.optimizers.SGD(0.0), {"a": "mse", "b": "mse"}, loss_weights={"a": 1.0, "b": 10.0})
    ins, one, two = np.ones((4, 2), "float32"), np.ones((4, 1), "float32"), np.full((4, 1), 2.0, "float32")
    for targets, loss in (({"a": one, "b": two}, 1), ({"b": two, "a": one}, 1), ({"a": two, "b": one}, 14)):
        assert model.fit(ins, targets, verbose=0).history["loss"] == [loss]
        assert model.evaluate(ins, targets, verbose=0, return_dict=True)["loss"] == loss
        assert model.train_on_batch(ins, targets, return_dict=True)["loss"] == loss
    with pytest.raises(ValueError, match="key 'c' does not correspond"):
        model.fit(ins, {"a": one, "c": two}, verbose=0)


# ---- settings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value, change", [
    (config.epsilon, lambda: config.set_epsilon(0.5)), (config.floatx, lambda: config.set_floatx("float64")),
    (config.image_data_format, lambda: config.set_image_data_format("channels_first"))])
def test_the_configuration(value, change):
    f, recorded = records(lambda x: x * float(len(str(value()))))
    other, others = records(lambda x: x * 2.0)
    f(ONES), other(ONES)
    try:
        change()
        np.testing.assert_array_equal(f(ONES), ONES * len(str(value())))
        other(ONES)
    finally:
        config.set_epsilon(1e-7), config.set_floatx("float32"), config.set_image_data_format("channels_last")
    f(ONES)
    assert len(recorded) == 2 and len(others) == 1  # the former state has its program still


class Holder(layers.Layer):
    def __init__(self):
        super().__init__()
        self._k = 1.0
        self.gains = [1.0, {"deep": [1.0]}]
        self.table = {"a": 1.0}
        self.kinds = {"x"}
        self.pair = ([1.0], 2)
        self.unused = 0

    def call(self, x):
        kinds = len(self.kinds)
        return x * self._k * self.gains[0] * self.gains[1]["deep"][0] * self.table["a"] * float(kinds) * self.pair[0][0]


@pytest.mark.parametrize("change, factor", [
    (lambda h: setattr(h, "_k", 2.0), 2), (lambda h: h.gains.__setitem__(0, 3.0), 3),
    (lambda h: h.gains[1]["deep"].append(0.0), 1), (lambda h: h.gains[1]["deep"].insert(0, 4.0), 4),
    (lambda h: h.table.update(a=5.0), 5), (lambda h: h.kinds.add("y"), 2), (lambda h: h.pair[0].__setitem__(0, 6.0), 6),
    (lambda h: h.gains.reverse() or h.gains.reverse(), 1), (lambda h: setattr(h, "gains", [7.0, {"deep": [1.0]}]), 7),
])
def test_attributes_and_containers_of_layers(change, factor):
    holder = Holder()
    f, recorded = records(holder)
    f(ONES)
    change(holder)
    np.testing.assert_array_equal(f(ONES), ONES * factor)
    before = len(recorded)
    f(ONES)
    assert len(recorded) == before


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda h: pickle.loads(pickle.dumps(h))])
def test_copies_are_watched_by_themselves(copied):
    holder = Holder()
    f, recorded = records(holder)
    f(ONES)
    twin = copied(holder)
    twin.gains[0] = 9.0
    f(ONES)
    assert len(recorded) == 1
    g, again = records(twin)
    np.testing.assert_array_equal(g(ONES), ONES * 9)
    twin.gains[0] = 2.0
    np.testing.assert_array_equal(g(ONES), ONES * 2)
    assert len(again) == 2 and type(twin.gains) is watch.TrackedList and twin.gains == [2.0, {"deep": [1.0]}]


def test_what_was_not_read_re_records_nothing():
    holder, other = Holder(), Holder()
    f, recorded = records(holder)
    f(ONES)
    holder.unused, holder.brand_new, other._k, other.trainable = 5, 6, 7.0, False
    other.gains.append(3)
    f(ONES)
    assert len(recorded) == 1


def test_class_attributes_and_plain_objects_need_rerecord():
    class Settings:
        k = 2.0

    f = keras.function(lambda x: x * Settings.k)
    f(ONES)
    Settings.k = 3.0
    np.testing.assert_array_equal(f(ONES), ONES * 2)  # nobody has told
    keras.rerecord()
    np.testing.assert_array_equal(f(ONES), ONES * 3)


def trained(layer=None, loss="mse", metrics=None, optimizer=None):
    model = keras.Sequential([keras.Input((3,)), layer or layers.Dense(1, kernel_initializer="ones", use_bias=False)])
    model.compile(optimizer or keras.optimizers.SGD(0.0), loss, metrics=metrics)
    return model


class Scaled(keras.losses.Loss):
    def __init__(self):
        super().__init__()
        self.k = 1.0

    def call(self, y_true, y_pred):
        return self.k * ops.mean(ops.square(y_true - y_pred), -1)


class Counted(keras.metrics.Metric):
    def __init__(self):
        super().__init__(name="counted")
        self.k = 1.0
        self.total = self.add_weight(name="total")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.total.assign(self.k)

    def result(self):
        return self.total * 1.0


def dense(**kwargs):
    return layers.Dense(1, kernel_initializer="ones", use_bias=False, **kwargs)


def test_regularizers_losses_and_metrics():
    x, y = np.ones((8, 3), "float32"), np.zeros((8, 1), "float32")
    weights, activity, loss, metric = dense(kernel_regularizer=keras.regularizers.L2(0.0)), dense(
        activity_regularizer=keras.regularizers.L2(0.0)), Scaled(), Counted()
    for model, change in (
            (trained(weights), lambda: setattr(weights.kernel_regularizer, "l2", 1.0)),
            (trained(weights), lambda: setattr(weights.kernel, "regularizer", None)),
            (trained(activity), lambda: setattr(activity.activity_regularizer, "l2", 1.0)),
            (trained(loss=loss), lambda: setattr(loss, "k", 2.0)),
            (trained(metrics=[metric]), lambda: setattr(metric, "k", 2.0))):
        before = model.fit(x, y, batch_size=8, verbose=0).history
        change()
        after = model.fit(x, y, batch_size=8, verbose=0).history
        assert {k: v[0] for k, v in after.items()} == model.evaluate(x, y, verbose=0, return_dict=True)
        assert after != before


def test_constraints_and_optimizers():
    x, y = np.ones((8, 3), "float32"), np.zeros((8, 1), "float32")
    layer = dense(kernel_constraint=keras.constraints.MaxNorm(9.0))
    model = trained(layer)
    model.fit(x, y, verbose=0)
    layer.kernel_constraint.max_value = 0.1
    model.fit(x, y, verbose=0)
    assert np.linalg.norm(layer.get_weights()[0]) < 0.11
    schedule = keras.optimizers.schedules.ExponentialDecay(0.0, 10, 0.5)
    model = trained(optimizer=keras.optimizers.SGD(schedule, momentum=0.5))
    model.fit(x, y, verbose=0)
    before = model.get_weights()[0]
    schedule.initial_learning_rate = 0.01
    model.fit(x, y, verbose=0)
    assert (model.get_weights()[0] != before).all()
    function = model.make_train_function()
    pools = len(function.captures)
    model.optimizer.momentum = 0.25
    model.fit(x, y, verbose=0)
    model.optimizer.momentum = 0.5  # former state: its program is there
    model.fit(x, y, verbose=0)
    assert len(function.captures) == pools + 1


def test_a_gan_that_toggles_records_nothing_after_its_second_round():
    generator = keras.Sequential([keras.Input((4,)), layers.Dense(8, "relu"), layers.Dense(3)])
    judge = keras.Sequential([keras.Input((3,)), layers.Dense(8, "relu"), layers.Dense(1)])
    judge.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True))
    both = keras.Sequential([keras.Input((4,)), generator, judge])
    judge.trainable = False
    both.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True))
    noise, real = np.ones((6, 4), "float32"), np.ones((6, 3), "float32")
    frozen, counts = [], []
    for _ in range(5):
        judge.trainable = True
        judge.train_on_batch(real, np.ones((6, 1)))
        judge.train_on_batch(generator.predict_on_batch(noise), np.zeros((6, 1)))
        judge.trainable = False
        before = judge.get_weights()
        both.train_on_batch(noise, np.ones((6, 1)))
        frozen.append(all(np.array_equal(a, b) for a, b in zip(before, judge.get_weights())))
        counts.append([len(m.make_train_function().captures) for m in (judge, both)])
    assert all(frozen) and counts[1] == counts[-1]


def test_an_unrelated_model_makes_nothing_stale():
    model, other = trained(), trained()
    x, y = np.ones((8, 3), "float32"), np.zeros((8, 1), "float32")
    for m in (model, other):
        m.train_on_batch(x, y)
    programs = model.make_train_function().captures
    other.trainable = False
    other.layers[0].use_bias = False
    model.train_on_batch(x, y)
    assert model.make_train_function().captures == programs


def test_a_new_layer_is_noticed():
    class Growing(keras.Model):
        def __init__(self):
            super().__init__()
            self.parts = [layers.Dense(3, kernel_initializer="identity")]

        def call(self, x):
            for part in self.parts:
                x = part(x)
            return x

    model = Growing()
    np.testing.assert_array_equal(model.predict(ONES, verbose=0), ONES)
    model.parts.append(layers.Rescaling(3.0))
    np.testing.assert_array_equal(model.predict(ONES, verbose=0), ONES * 3)
    np.testing.assert_array_equal(model.predict_on_batch(ONES), ONES * 3)


def test_steady_training_records_once():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(4, kernel_regularizer="l2"), layers.BatchNormalization(),
                              layers.Dropout(0.5), layers.Dense(1)])
    model.compile("adam", "mse", metrics=["mae"])
    x, y = np.ones((64, 3), "float32"), np.zeros((64, 1), "float32")
    model.fit(x, y, epochs=2, batch_size=16, verbose=0, validation_data=(x, y))
    counts = [len(getattr(model, f"make_{kind}_function")().captures) for kind in ("train", "test", "predict")]
    for _ in range(2):
        model.fit(x, y, epochs=2, batch_size=16, verbose=0, validation_data=(x, y),
                  callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=lambda e, logs: setattr(model, "epoch", e))])
        model(x)
        model.evaluate(x, y, batch_size=16, verbose=0)
        model.get_config(), model.summary(print_fn=lambda text: None)
    assert counts == [len(getattr(model, f"make_{kind}_function")().captures) for kind in ("train", "test", "predict")]


def test_states_have_numbers():
    holder = Holder()
    with watch.reading() as reading:
        holder._k
    dependencies = watch.Dependencies(reading.owners)
    assert reading.owners == [holder] and dependencies.hold()
    holder._k = 2.0
    assert not dependencies.hold()
    holder._k = 1.0
    assert dependencies.hold()
    holder._k = 1  # another type
    assert not dependencies.hold()
    assert "__getattribute__" not in vars(watch.Owner)  # outside of recordings reading costs nothing


def test_large_containers_are_told_apart_by_counting():
    holder = Holder()
    holder.gains = [1.0, {"deep": [1.0]}, *range(1000)]
    f, recorded = records(holder)
    f(ONES)
    holder.gains[0] = 2.0
    np.testing.assert_array_equal(f(ONES), ONES * 2)


def test_parts_of_a_layer_are_found_after_every_kind_of_change():
    """Lists of layers, metrics and weights are kept between changes: each way of changing what there is must show."""
    class Holder(layers.Layer):
        pass

    def part():
        return layers.Dense(1)

    holder, outer = Holder(), Holder()
    outer.held = holder
    found = lambda: [layer for layer in outer._flatten_layers() if layer not in (outer, holder)]  # noqa: E731
    assert found() == []
    holder.one = one = part()
    assert found() == [one]
    holder.many = [part()]
    holder.many.append(part())
    assert found() == [one, *holder.many]
    holder.many.pop()
    holder.named = {"a": part()}
    holder.named["b"] = part()
    holder.pair = (part(), [part()])
    holder.pair[1].append(part())
    assert found() == [one, *holder.many, *holder.named.values(), holder.pair[0], *holder.pair[1]]
    del holder.named, holder.pair
    holder.many = None
    holder.one = other = part()
    assert found() == [other]
    metric = keras.metrics.Mean()
    other.metric = metric
    assert outer.metrics == [metric]
    other.metric = keras.metrics.Sum()
    assert outer.metrics == [other.metric]
    kept = outer._flatten_layers()
    kept.clear()
    assert found() == [other], "what callers do with the list is their own affair"
    twin = copy.deepcopy(outer)
    assert twin.held.one is not other and twin._flatten_layers()[-1] is twin.held.one


def test_a_state_is_told_by_all_that_was_read_of_it():
    """Numbers of states: the same for the same values, also when several attributes change in turn."""
    layer = layers.Dense(2)
    with watch.reading() as reading:
        layer.units, layer.use_bias, layer.name  # noqa: B018  reads
    assert reading.owners == [layer]
    dependencies = watch.Dependencies(reading.owners)
    layer.units = 3
    assert not dependencies.hold()
    layer.use_bias = False
    layer.units = 2
    assert not dependencies.hold()
    layer.use_bias = True
    assert dependencies.hold()
    layer.activity = "not read"
    assert dependencies.hold()
    with watch.reading() as reading:
        layer.activity  # noqa: B018  more names, the same state
    assert dependencies.hold() and watch.Dependencies(reading.owners).hold()
    layer.activity = "now read"
    assert not dependencies.hold()
    layer.activity = "not read"
    assert dependencies.hold()
    del layer.activity
    assert not dependencies.hold()
