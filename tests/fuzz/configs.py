"""Mutated configs: of every layer of the conformance rows in a model, of models, optimizers, losses, metrics and more.
Each gives an object, or a ValueError.

    python -m tests.fuzz.configs --seed 0 --count 1000 --jobs 2
    python -m tests.fuzz.configs --seed 0 --index 17
"""

from __future__ import annotations

import importlib
import json
import pkgutil

import pydl
from pydl import constraints, initializers, layers, losses, metrics, optimizers, regularizers

from . import mutations, pool
from .files import MODELS
from .worker import Case


def layer_models() -> dict[str, dict]:
    """A config of a model for every row of a layer: its input and the layer."""
    import cases  # in the folder of the tests, which workers have in their path
    from harness import LayerCase, arguments

    found = {}
    for module in pkgutil.iter_modules(cases.__path__):
        for row in getattr(importlib.import_module(f"cases.{module.name}"), "CASES", ()):
            if isinstance(row, LayerCase):
                layer = row.make()
                inputs = [pydl.Input(x.shape[1:], dtype=str(x.dtype)) for x in row.draw(0, "float32")]
                try:
                    model = pydl.Model(inputs, layer(*arguments(layer, inputs)))
                    found[str(row)] = json.loads(model.to_json())
                except (TypeError, ValueError):  # not for graphs, such as layers that return no tensor
                    found[str(row)] = json.loads(json.dumps(layers.serialize(layer)))
    return found


def parts():
    """(module, config) of objects that layers and models hold."""
    made = [(optimizers,
             [getattr(optimizers, name)()
              for name in ("SGD", "Adam", "AdamW", "RMSprop", "Nadam", "Ftrl", "Lion", "Adagrad", "Adadelta",
                           "Adamax")]),
            (optimizers.schedules,
             [optimizers.schedules.CosineDecay(0.1, 10),
              optimizers.schedules.PiecewiseConstantDecay([1, 2], [0.1, 0.2, 0.3]),
              optimizers.schedules.PolynomialDecay(0.1, 10)]),
            (losses,
             [losses.Huber(), losses.CategoricalCrossentropy(label_smoothing=0.1), losses.Dice(),
              losses.MeanSquaredError()]),
            (metrics,
             [metrics.AUC(), metrics.F1Score(), metrics.MeanIoU(2), metrics.Precision(),
              metrics.TopKCategoricalAccuracy()]),
            (initializers,
             [initializers.VarianceScaling(), initializers.Orthogonal(), initializers.Constant(2.0),
              initializers.TruncatedNormal()]),
            (regularizers, [regularizers.L1L2(0.1, 0.2), regularizers.OrthogonalRegularizer()]),
            (constraints, [constraints.MaxNorm(2.0), constraints.MinMaxNorm()])]
    return [(module, json.loads(json.dumps(module.serialize(thing)))) for module, things in made for thing in things]


class Cases:
    """Valid configs, and mutated ones."""

    def __init__(self, folder):
        pydl.utils.set_random_seed(1)
        self._models = layer_models() | {name: json.loads(make().to_json()) for name, make in MODELS.items()}
        self._parts = parts()

    def valid(self, folder):
        for name, config in self._models.items():
            yield Case("model", name, lambda config=config: pydl.saving.deserialize_keras_object(config))
        for module, config in self._parts:
            yield Case("part", str(config), lambda module=module, config=config: module.deserialize(config))

    def case(self, rng, folder) -> Case:
        if rng.random() < 0.2:
            module, config = rng.choice(self._parts)
            changed, words = mutations.change_json(rng, config)
            return Case("part", f"{config['class_name']}: {words}", lambda: module.deserialize(changed))
        name = rng.choice(list(MODELS)) if rng.random() < 0.25 else rng.choice(list(self._models))
        changed, words = mutations.change_json(rng, self._models[name])
        if rng.random() < 0.5:
            return Case("model_from_json", f"{name}: {words}", lambda: self._from_json(json.dumps(changed)))
        if isinstance(changed, dict) and isinstance(cls := getattr(layers, str(changed.get("class_name")), None), type):
            return Case("from_config", f"{name}: {words}", lambda: cls.from_config(changed.get("config")))
        return Case("model", f"{name}: {words}", lambda: pydl.saving.deserialize_keras_object(changed))

    @staticmethod
    def _from_json(text):
        return pydl.models.model_from_json(text)


if __name__ == "__main__":
    pool.main("configs", __doc__)
