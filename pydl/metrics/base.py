"""The base of all metrics: named state variables, an update and a result."""

from __future__ import annotations

from pydl import config, initializers, ops, registry
from pydl.configs import checked
from pydl.dtypes import COMPUTED_IN
from pydl.tensor import Variable, name_scope, standardize_dtype
from pydl.watch import Owner

__all__ = ["Metric"]


def _state_dtype(dtype) -> str:
    """Counts and sums are kept in what `floatx` is computed in: a float16 count ends at 2048."""
    return COMPUTED_IN[config.floatx()] if dtype is None else standardize_dtype(dtype)


class Metric(Owner):
    """A number (or several) accumulated over batches: subclass it and write `update_state` and `result`.

    Make the state in `__init__` with `add_variable`; change it with `Variable.assign` and `assign_add`, and compute
    with `pydl.ops` only: updates and results are recorded and replayed without Python.

    Args:
        dtype: float dtype of the values and of `add_variable` (name or dtype policy); by default `config.floatx()`,
            float32 when that is float16. What the metrics here add up over batches is float64.
        name: name of the instance and of its entry in the logs; made from the class name by default.
    """

    _direction: str | None = None  # "up" where more is better, "down" where less is, None where that is not known

    def __init__(self, dtype=None, name=None):
        self.name = name or registry.auto_name(registry.to_snake_case(type(self).__name__))
        self._dtype = _state_dtype(getattr(dtype, "compute_dtype", dtype))
        self._metrics: list[Metric] = []
        self._variables: list[Variable] = []

    @property
    def dtype(self) -> str:
        return self._dtype

    @property
    def variables(self) -> list[Variable]:
        """The state, that of metrics kept as attributes included."""
        return [*self._variables, *(v for metric in self._metrics for v in metric.variables)]

    def add_variable(self, shape, initializer, dtype=None, aggregation="sum", name=None) -> Variable:
        """A state variable of this shape, called `<metric>/<name>`.

        Args:
            initializer: anything `initializers.get` understands.
            dtype: as that of the metric by default.
        """
        self._check_super_called()
        with name_scope(self.name.replace("/", ">")):
            variable = Variable(initializers.get("zeros" if initializer is None else initializer), shape=tuple(shape),
                                dtype=_state_dtype(dtype), trainable=False, aggregation=aggregation, name=name)
        self._track(variable)
        return variable

    def _add_tally(self, shape, name) -> Variable:
        """A variable that batches are added to: float64 whatever the dtype of the metric, since counting by ones in
        float32 stops at 2^24. `_rounded` gives what is computed of it the metric's dtype."""
        return self.add_variable(shape, "zeros", dtype="float64", name=name)

    def _rounded(self, value):
        return ops.cast(value, self.dtype)

    def add_weight(self, shape=(), initializer=None, dtype=None, name=None) -> Variable:
        """As `add_variable`; zeros by default."""
        return self.add_variable(shape=shape, initializer=initializer, dtype=dtype, name=name)

    def reset_state(self) -> None:
        """Sets all state to zero; called at the start of every epoch and evaluation."""
        for variable in self.variables:
            variable.assign(0)

    def update_state(self, *args, **kwargs):
        """Takes a batch into account."""
        raise NotImplementedError(f"{type(self).__name__} has no `update_state`.")

    def result(self):
        """The value so far: a tensor, or a dict of tensors."""
        raise NotImplementedError(f"{type(self).__name__} has no `result`.")

    def __call__(self, *args, **kwargs):
        self._check_super_called()
        self.update_state(*args, **kwargs)
        return self.result()

    def get_config(self) -> dict:
        return {"name": self.name, "dtype": self.dtype}

    @classmethod
    @checked
    def from_config(cls, config: dict):
        return cls(**config)

    def __setattr__(self, name, value):
        if "_variables" in self.__dict__ and name not in ("_variables", "_metrics"):
            self._track(value)
        super().__setattr__(name, value)

    def _track(self, value) -> None:
        if isinstance(value, Variable):
            if not any(v is value for v in self._variables):
                self._variables.append(value)
        elif isinstance(value, Metric):
            if not any(m is value for m in self._metrics):
                self._metrics.append(value)
        elif isinstance(value, (list, tuple)):
            for item in value:
                self._track(item)
        elif isinstance(value, dict):
            self._track(list(value.values()))

    def _check_super_called(self) -> None:
        if "_variables" not in self.__dict__:
            raise RuntimeError(f"{type(self).__name__}.__init__ did not call super().__init__() first.")

    def __repr__(self):
        return f"<{type(self).__name__} name={self.name}>"
