"""Optimizer: what all methods share (Keras 3's constructor, `apply`, clipping, decay, averages, accumulation)."""

from __future__ import annotations

import re

import numpy as np

from pydl import _core, config, initializers, ops, registry
from pydl.configs import checked
from pydl.dtypes import COMPUTED_IN
from pydl.ops import optimizer as launch
from pydl.ops._common import as_tensor
from pydl.optimizers.schedules import LearningRateSchedule
from pydl.tape import no_grad
from pydl.tensor import RecordingError, Tensor, Variable, name_scope
from pydl.warning import warn
from pydl.watch import Owner

__all__ = ["Optimizer"]


class Optimizer(Owner):
    """Base of all optimizers; subclass it with `update_step` to write one.

    A custom method creates its state in `build` (`add_variable_from_reference`) and changes variables in
    `update_step` with `assign`, `assign_add`, `assign_sub` and ops. It then works eagerly and recorded.

    Args:
        learning_rate: float, `LearningRateSchedule`, or a callable without arguments. Recorded training needs the
            callable to return a tensor (computed by ops); a number that Python computes asks for run_eagerly=True.
        weight_decay: None or factor: w -= w * weight_decay * learning_rate before the update.
        clipnorm: each gradient gets at most this norm.
        clipvalue: each element of a gradient is clipped to [-clipvalue, clipvalue].
        global_clipnorm: all gradients together get at most this norm.
        use_ema: keep an exponential moving average of the weights.
        ema_momentum: weight of the past in that average, 0 to 1.
        ema_overwrite_frequency: every so many steps the weights are set to their average; None: only at the end
            (`finalize_variable_values`).
        loss_scale_factor: the loss was multiplied by it; gradients are divided by it.
        gradient_accumulation_steps: int >= 2: update in every so-manieth call only, with the mean gradient.
        name: name of the optimizer.

    Raises:
        ValueError: for values out of range and unknown arguments.
    """

    built = False  # until __init__ has run
    _variables: list[Variable]

    def __init__(self, learning_rate, weight_decay=None, clipnorm=None, clipvalue=None, global_clipnorm=None,
                 use_ema=False, ema_momentum=0.99, ema_overwrite_frequency=None, loss_scale_factor=None,
                 gradient_accumulation_steps=None, name=None, **kwargs):
        object.__setattr__(self, "_variables", [])
        if kwargs.pop("decay", None) is not None:
            warn("Argument `decay` is no longer supported and will be ignored.")
        if kwargs:
            raise ValueError(f"Argument(s) not recognized: {kwargs}")
        for argument, value in (("learning_rate", learning_rate), ("weight_decay", weight_decay),
                                ("clipnorm", clipnorm), ("clipvalue", clipvalue), ("global_clipnorm", global_clipnorm),
                                ("loss_scale_factor", loss_scale_factor), ("ema_momentum", ema_momentum)):
            _check_number(argument, value)
        if loss_scale_factor is not None and not loss_scale_factor > 0:
            raise ValueError("`loss_scale_factor` must be above 0. Received:"
                             f" loss_scale_factor={loss_scale_factor}")
        if gradient_accumulation_steps and not (isinstance(gradient_accumulation_steps, (int, np.integer))
                                                and gradient_accumulation_steps >= 2):
            raise ValueError("`gradient_accumulation_steps` must be an integer >= 2. Received:"
                             f" gradient_accumulation_steps={gradient_accumulation_steps}")
        if use_ema:
            if not 0 <= ema_momentum <= 1:
                raise ValueError(f"`ema_momentum` must be in the range [0, 1]. Received: ema_momentum={ema_momentum}")
            if ema_overwrite_frequency and (not isinstance(ema_overwrite_frequency, int)
                                            or ema_overwrite_frequency < 1):
                raise ValueError("`ema_overwrite_frequency` must be an integer >= 1 or None. Received:"
                                 f" ema_overwrite_frequency={ema_overwrite_frequency}")
        if sum(a is not None for a in (clipnorm, clipvalue, global_clipnorm)) > 1:
            raise ValueError("Only one of `clipnorm`, `clipvalue` and `global_clipnorm` can be set. Received:"
                             f" clipnorm={clipnorm}, clipvalue={clipvalue}, global_clipnorm={global_clipnorm}")
        self.name = name or registry.auto_name(registry.to_snake_case(type(self).__name__))
        self.weight_decay = weight_decay
        self.clipnorm = clipnorm
        self.global_clipnorm = global_clipnorm
        self.clipvalue = clipvalue
        self.use_ema = use_ema
        self.loss_scale_factor = loss_scale_factor
        self.gradient_accumulation_steps = gradient_accumulation_steps
        self.ema_momentum = ema_momentum
        self.ema_overwrite_frequency = ema_overwrite_frequency
        self._indices: dict[int, int] = {}
        self._trainable_variables: list = []
        self._excluded: list = []
        self._excluded_names = None
        with name_scope(self.name):
            self._iterations = Variable(0, dtype="int64", trainable=False, name="iteration")
        if isinstance(learning_rate, LearningRateSchedule) or callable(learning_rate):
            self._learning_rate = learning_rate
        elif isinstance(learning_rate, float):
            with name_scope(self.name):
                self._learning_rate = Variable(learning_rate, dtype=COMPUTED_IN[config.floatx()], trainable=False,
                                               name="learning_rate")
        else:
            raise ValueError("Argument `learning_rate` should be float, or an instance of LearningRateSchedule, or a"
                             " callable (that takes in the current iteration value and returns the corresponding"
                             f" learning rate value). Received instead: learning_rate={learning_rate}")
        self.built = False

    # ------------------------------------------------------------------------------------- state

    def __setattr__(self, name, value):
        if "_variables" not in self.__dict__:
            raise RuntimeError(f"In optimizer '{type(self).__name__}', you forgot to call `super().__init__()` as the"
                               " first statement in the `__init__()` method.")
        super().__setattr__(name, value)
        for item in value if isinstance(value, (list, tuple)) and name != "_trainable_variables" else (value,):
            if isinstance(item, Variable):
                self._track_variable(item)

    def _track_variable(self, variable) -> None:
        if all(v is not variable for v in self._variables):
            self._variables.append(variable)

    @property
    def variables(self) -> list[Variable]:
        """The optimizer's own variables: iteration, learning rate, then the state in order of creation."""
        return self._variables[:]

    @property
    def iterations(self):
        """Number of finished updates."""
        if self.gradient_accumulation_steps:
            return ops.floor_divide(self._iterations, self.gradient_accumulation_steps)
        return self._iterations

    def __setstate__(self, state) -> None:
        self.__dict__.update(state)
        if self.built:  # a copy knows the variables that were copied with it
            self._indices = {id(v): i for i, v in enumerate(self._trainable_variables)}

    def build(self, variables) -> None:
        """Creates the state for these trainable variables."""
        variables = list(variables)
        if self.use_ema:
            self._averages = self.add_optimizer_variables(variables, "average")
        if self.gradient_accumulation_steps:
            self._accumulated = [self.add_variable_from_reference(v, name="gradient_accumulator") for v in variables]
        self._indices = {id(v): i for i, v in enumerate(variables)}
        self._trainable_variables = variables
        self.built = True

    def add_variable(self, shape, initializer="zeros", dtype=None, aggregation="none", layout=None, name=None):
        """A new variable of the optimizer's state.

        Args:
            shape: tuple of ints.
            initializer: "zeros", another name or object of `pydl.initializers`, or a callable (shape, dtype).
            dtype: name; what `floatx` is computed in by default.
            aggregation, layout: accepted for Keras scripts.
            name: name of the variable.
        """
        if initializer == "zeros":
            initializer = np.zeros
        elif not callable(initializer):
            initializer = initializers.get(initializer)
        with name_scope(self.name):
            variable = Variable(initializer, shape=tuple(shape), dtype=dtype or COMPUTED_IN[config.floatx()],
                                trainable=False, name=name)
        self._track_variable(variable)
        return variable

    def add_variable_from_reference(self, reference_variable, name=None, initializer="zeros"):
        """A new variable of the shape of a model's variable, named after both, of the dtype which that is computed in:
        squares of small float16 gradients would be zero in float16."""
        path = getattr(reference_variable, "path", reference_variable.name).replace("/", "_")
        return self.add_variable(reference_variable.shape, initializer, COMPUTED_IN[reference_variable.dtype],
                                 name=f"{path}_{name or 'var'}")

    def add_optimizer_variables(self, trainable_variables, name, initializer="zeros"):
        """One variable per trainable variable and name.

        Args:
            trainable_variables: the model's variables.
            name: a name, or a list of names.
            initializer: one for all, or a list, one per name.

        Returns:
            A list of variables, or a tuple of lists when `name` is a list.
        """
        names = [name] if isinstance(name, str) else list(name)
        each = list(initializer) if isinstance(initializer, (list, tuple)) else [initializer] * len(names)
        if len(names) != len(each):
            raise ValueError("The number of provided names must match the number of provided initializers. Received"
                             f" name='{name}', initializer='{initializer}'")
        columns = tuple([] for _ in names)
        for v in trainable_variables:  # variable by variable: the order of Keras's files
            for column, part, start in zip(columns, names, each):
                column.append(None if v.overwrite_with_gradient
                              else self.add_variable_from_reference(v, part, start))
        return columns[0] if isinstance(name, str) else columns

    def _tracks(self, variable) -> bool:
        """Whether the optimizer was built with this variable."""
        return id(variable) in self._indices

    def _get_variable_index(self, variable) -> int:
        return self._indices[id(variable)]

    def assign(self, variable, value) -> None:
        variable.assign(value)

    def assign_add(self, variable, value) -> None:
        variable.assign_add(value)

    def assign_sub(self, variable, value) -> None:
        variable.assign_sub(value)

    # ------------------------------------------------------------------------------- learning rate

    @property
    def learning_rate(self):
        """The current learning rate: the variable itself, or what the schedule gives for this iteration."""
        rate = self._learning_rate
        if isinstance(rate, Variable):
            return rate
        if isinstance(rate, LearningRateSchedule):
            return rate(self._iterations)
        value = rate()
        if _core.is_recording() and not isinstance(value, Tensor):
            raise RecordingError(f"learning_rate is a callable that returned the Python number {value!r} while a"
                                 " program was being recorded; a replay would not call it again. Use a"
                                 " LearningRateSchedule, assign optimizer.learning_rate, return a tensor computed by"
                                 " ops, or compile the model with run_eagerly=True.")
        return value

    @learning_rate.setter
    def learning_rate(self, value):
        if isinstance(value, LearningRateSchedule) or (callable(value) and not isinstance(value, Tensor)):
            if isinstance(self._learning_rate, Variable):
                object.__setattr__(self, "_variables", [v for v in self._variables if v is not self._learning_rate])
            self._learning_rate = value
        elif not isinstance(self._learning_rate, Variable):
            raise TypeError("This optimizer was created with a `LearningRateSchedule` object or a callable as its"
                            " `learning_rate` constructor argument, hence its learning rate is not settable. If you"
                            " need the learning rate to be settable, you should instantiate the optimizer with a float"
                            " `learning_rate` argument.")
        else:
            self._learning_rate.assign(value)

    # -------------------------------------------------------------------------------------- update

    def update_step(self, gradient, variable, learning_rate) -> None:
        """Changes one variable. Subclasses override it.

        Args:
            gradient: tensor of the variable's shape; scaled, clipped.
            variable: the variable; already decayed.
            learning_rate: scalar tensor.
        """
        raise NotImplementedError(f"Optimizer '{type(self).__name__}' must override `update_step(gradient, variable,"
                                  " learning_rate)`.")

    def apply_gradients(self, grads_and_vars):
        """`apply` on pairs (gradient, variable). Returns the iteration counter."""
        pairs = list(grads_and_vars)
        self.apply([g for g, _ in pairs], [v for _, v in pairs])
        return self._iterations

    def apply(self, grads, trainable_variables=None) -> None:
        """One step.

        Args:
            grads: gradients, one per variable; None leaves a variable as it is, with a warning.
            trainable_variables: the variables; by default those the optimizer was built with. The first call builds.

        Raises:
            ValueError: when all gradients are None, or a variable is not one the optimizer was built with.
        """
        grads = list(grads)
        if not grads:
            return
        with no_grad():
            variables = self._variables_of(grads, trainable_variables)
            grads, variables = _without_missing(grads, variables)
            for g, v in zip(grads, variables):
                if v.overwrite_with_gradient:
                    v.assign(g)
            kept = [(g, v) for g, v in zip(grads, variables) if not v.overwrite_with_gradient]
            if kept:
                grads, variables = [g for g, _ in kept], [v for _, v in kept]
                self._update(grads, variables)
                for v in variables:
                    if v.constraint is not None:
                        v.assign(v.constraint(v))
            launch.advance(self._iterations)

    def _variables_of(self, grads, variables):
        if variables is None:
            if not self.built:
                raise ValueError("When passing `grads` without `variables`, the optimizer must already be built on a"
                                 " list of variables. Call `optimizer.build(trainable_variables)` first.")
            variables = self._trainable_variables
            if len(grads) != len(variables):
                raise ValueError("When passing `grads` as a list of gradient tensors, the gradients must match"
                                 f" `optimizer.variables` one-to-one. Received a list of {len(grads)} gradients, but"
                                 f" the optimizer is tracking {len(variables)} trainable variables.")
            return variables
        variables = list(variables)
        if not self.built:
            self.build(variables)
            self.built = True
        for v in variables:
            if not self._tracks(v):
                raise ValueError(f"Unknown variable: {v}. This optimizer can only be called for the variables it was"
                                 " originally built with. When working with a new set of variables, you should"
                                 " recreate a new optimizer instance.")
        return variables

    def _update(self, grads, variables) -> None:
        every = self.gradient_accumulation_steps or 1
        grads = [as_tensor(g) for g in grads]
        grads = [g if g.dtype == v.dtype else ops.cast(g, v.dtype) for g, v in zip(grads, variables)]
        for g, v in zip(grads, variables):
            if g.shape != v.shape:
                raise ValueError(f"Optimizer '{self.name}': expected a gradient of shape {v.shape} for variable"
                                 f" '{v.path}'; received shape {g.shape}.")
        unscale = 1 / (self.loss_scale_factor or 1)
        if every > 1:
            totals = [self._accumulated[self._get_variable_index(v)] for v in variables]
            launch.accumulate(totals, grads, unscale)
            grads, unscale = totals, 1 / every
        rate = as_tensor(self.learning_rate)
        self._run_rule([self._prepare(g, v, rate, unscale, every) for v, g in launch.by_dtype(variables, grads)], every)
        if every > 1:
            launch.clear_accumulated(self._accumulated, self._iterations, every)
        if self.use_ema:
            pairs = [(a, v) for a, v in zip(self._averages, self._trainable_variables) if a is not None]
            launch.update_averages([a for a, _ in pairs], [v for _, v in pairs], self._iterations, every,
                                   self.ema_momentum, self.ema_overwrite_frequency or 0)

    def _prepare(self, grads, variables, rate, factor, every) -> launch.Update:
        """The shared arguments of a rule, for variables of one dtype; the gradients will be multiplied by `factor`."""
        computed = COMPUTED_IN[variables[0].dtype]
        rate = rate if rate.dtype == computed else ops.cast(rate, computed)
        decays = [int(self._use_weight_decay(v)) for v in variables] if self.weight_decay else None
        u = launch.Update(variables, grads, rate, self._iterations, every, decays, self.weight_decay or 0.0)
        if self.clipnorm and self.clipnorm > 0:
            u.clip_by_norm(self.clipnorm, factor)
            return u
        if self.global_clipnorm and self.global_clipnorm > 0:
            u.clip_by_global_norm(self.global_clipnorm, factor)
            return u
        u.scale(factor)
        if self.clipvalue and self.clipvalue > 0:
            u.clip = float(self.clipvalue)
        return u

    def _run_rule(self, updates, every) -> None:
        """Calls `update_step` for each variable. With accumulation it runs in every call, and is undone in those that
        only accumulate: a recorded program has no branches."""
        touched: list[Variable] = []
        saved: list[Tensor] = []
        if every > 1:
            fixed = [self._iterations, self._learning_rate, *self._accumulated, *getattr(self, "_averages", ())]
            ids = {id(v) for v in fixed}
            touched = [v for u in updates for v in u.variables] + [v for v in self._variables if id(v) not in ids]
            saved = launch.save(touched)
        for u in updates:
            u.decay_weights()
            for gradient, variable in zip(u.prepared(), u.variables):
                self.update_step(gradient, variable, u.learning_rate)
        if every > 1:
            launch.restore_unless_due(touched, saved, self._iterations, every)

    def scale_loss(self, loss):
        """The loss times `loss_scale_factor`, to be differentiated."""
        return loss if self.loss_scale_factor is None else loss * self.loss_scale_factor

    def finalize_variable_values(self, var_list) -> None:
        """With `use_ema`: sets the variables to their averages, once a step was made. `fit` calls it at the end."""
        if not self.use_ema or not self._averaged:
            return
        if len(var_list) != len(self._averages):
            raise ValueError(f"The length of model variables ({len(var_list)}) to override does not match the length of"
                             f" model variables stored in the optimizer ({len(self._averages)}). Please check if the"
                             " optimizer was called on your model.")
        for v, average in zip(var_list, self._averages):
            if average is not None:
                v.assign(average)

    @property
    def _averaged(self) -> bool:
        """Whether there are averages of weights: before the first step they would be zeros."""
        return self.built and int(self._iterations.data) > 0

    # -------------------------------------------------------------------------------- weight decay

    def exclude_from_weight_decay(self, var_list=None, var_names=None) -> None:
        """Exempts variables from weight decay. Call it before training.

        Args:
            var_list: variables.
            var_names: regular expressions; a variable in whose name one is found is exempt, e.g. ["bias"].
        """
        self._excluded = list(var_list or ())
        self._excluded_names = re.compile("|".join(sorted(set(var_names)))) if var_names else None

    def _use_weight_decay(self, variable) -> bool:
        return not any(v is variable for v in self._excluded) and not (
            self._excluded_names is not None and self._excluded_names.search(variable.name))

    # ------------------------------------------------------------------------------ config, files

    def get_config(self) -> dict:
        rate = self._learning_rate
        if isinstance(rate, Variable):
            rate = float(rate.data)
        else:
            rate = registry.serialize_keras_object(rate)
        return {
            "name": self.name, "learning_rate": rate, "weight_decay": self.weight_decay, "clipnorm": self.clipnorm,
            "global_clipnorm": self.global_clipnorm, "clipvalue": self.clipvalue, "use_ema": self.use_ema,
            "ema_momentum": self.ema_momentum, "ema_overwrite_frequency": self.ema_overwrite_frequency,
            "loss_scale_factor": self.loss_scale_factor,
            "gradient_accumulation_steps": self.gradient_accumulation_steps,
        }

    @classmethod
    @checked
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        if isinstance(config.get("learning_rate"), dict):
            config["learning_rate"] = registry.deserialize_keras_object(config["learning_rate"], custom_objects)
        return cls(**config)

    def set_weights(self, weights) -> None:
        """Sets all variables of the optimizer, in the order of `variables`."""
        if not self.built:
            raise ValueError("You are calling `set_weights()` on an optimizer that has not yet been built. Please call"
                             " `optimizer.build(trainable_variables)` to create the optimizer weights before calling"
                             " `set_weights()`.")
        for variable, weight in zip(self._variables, weights):
            if tuple(variable.shape) != np.shape(weight):
                raise ValueError(f"Optimizer variable {variable.path} has shape {variable.shape} not compatible with"
                                 f" provided weight shape {np.shape(weight)}.")
            variable.assign(weight)

    def save_own_variables(self, store) -> None:
        """Writes the variables to a mapping under "0", "1", ..."""
        for i, variable in enumerate(self.variables):
            store[str(i)] = variable.numpy()

    def load_own_variables(self, store) -> None:
        """Reads what `save_own_variables` wrote; a different number of variables is skipped with a warning."""
        count = len(store.keys())
        if count != len(self.variables):
            warn(f"Skipping variable loading for optimizer '{self.name}', because it has"
                 f" {len(self.variables)} variables whereas the saved optimizer has {count} variables.")
            return
        for i, variable in enumerate(self.variables):
            variable.assign(np.asarray(store[str(i)]))


def _check_number(name: str, value) -> None:
    """Raises for a string, a list, NaN where a number is expected; what is no number at all, a schedule or a tensor,
    is left to others."""
    if isinstance(value, (str, bytes, list, tuple, dict, set)) or isinstance(value, (float, np.floating)) and (
            np.isnan(value)):
        raise ValueError(f"`{name}` must be a number. Received: {name}={value!r}")


def _without_missing(grads, variables):
    """Gradients and variables without the pairs whose gradient is None."""
    missing = [v.path for g, v in zip(grads, variables) if g is None]
    if len(missing) == len(grads):
        raise ValueError("No gradients provided for any variable.")
    if not missing:
        return grads, variables
    warn(f"Gradients do not exist for variables {missing} when minimizing the loss. If using"
         " `model.compile()`, did you forget to provide a `loss` argument?")
    pairs = [(g, v) for g, v in zip(grads, variables) if g is not None]
    return [g for g, _ in pairs], [v for _, v in pairs]
