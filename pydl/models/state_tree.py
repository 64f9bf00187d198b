"""All variables of a model by their paths, as nested dicts."""

from __future__ import annotations

import numpy as np

from pydl.tensor import Tensor, Variable


def _groups(model) -> dict[str, list]:
    """The variables that Keras has under each key; those of optimizer and metrics once they exist."""
    optimizer = getattr(model, "optimizer", None)
    return {"trainable_variables": model.trainable_variables,
            "non_trainable_variables": model.non_trainable_variables,
            "optimizer_variables": [] if optimizer is None else list(optimizer.variables),
            "metrics_variables": model.metrics_variables}


def _by_path(variables) -> dict[tuple[str, ...], Variable]:
    """Variables of one path (states of random generators) are told apart by a number."""
    found: dict[tuple[str, ...], Variable] = {}
    for variable in variables:
        *scopes, name = variable.path.split("/")
        path, number = (*scopes, name), 0
        while path in found:
            number += 1
            path = (*scopes, f"{name}_{number}")
        found[path] = variable
    return found


def get_state_tree(model, value_format: str) -> dict:
    if value_format not in ("backend_tensor", "numpy_array"):
        raise ValueError('get_state_tree: expected value_format to be "backend_tensor" or "numpy_array"; received'
                         f" {value_format!r}.")
    result: dict = {}
    for group, variables in _groups(model).items():
        result[group] = {}
        for path, variable in _by_path(variables).items():
            level = result[group]
            for part in path[:-1]:
                level = level.setdefault(part, {})
            value = variable.numpy().copy()
            level[path[-1]] = value if value_format == "numpy_array" else Tensor(value)
    return result


def set_state_tree(model, state) -> None:
    groups = _groups(model)
    unknown = [group for group in state if group not in groups]
    if unknown:
        raise ValueError(f"set_state_tree: expected the keys {list(groups)}; received {unknown}.")
    values = []
    for group, given in state.items():
        variables, received = _by_path(groups[group]), dict(_leaves(given, ()))
        missing, extra = variables.keys() - received.keys(), received.keys() - variables.keys()
        if missing or extra:
            raise ValueError(f"set_state_tree: the {group} of model '{model.name}' do not fit: missing"
                             f" {sorted('/'.join(p) for p in missing)}, unknown {sorted('/'.join(p) for p in extra)}.")
        for path, variable in variables.items():
            value = received[path]
            array = np.asarray(value.data if isinstance(value, Tensor) else value)
            if array.shape != variable.shape:
                raise ValueError(f"set_state_tree: variable '{'/'.join(path)}' has shape"
                                 f" {variable.shape}; received {array.shape}.")
            values.append((variable, array))
    for variable, array in values:
        variable.assign(array)


def _leaves(level, path):
    for key, value in level.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key), value
