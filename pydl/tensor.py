"""Tensor and Variable: a NumPy array, and the tape node that tells where it came from."""

from __future__ import annotations

import bisect
import itertools
import threading
import weakref
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from pydl import _core, config, watch
from pydl.dtypes import NAMES, STORED_AS, holds_floats, is_float_dtype, require_range
from pydl.operators import Operators
from pydl.tape import CONSTANT, Node, accumulate
from pydl.warning import user_frame

if TYPE_CHECKING:
    from typing_extensions import Self


class RecordingError(RuntimeError):
    """A value was read or changed on the host while a program was being recorded."""


def standardize_dtype(dtype: Any) -> str:
    """The name of a dtype given as name, NumPy dtype, Python type or None (`config.floatx()`)."""
    if dtype is None:
        return config.floatx()
    if isinstance(dtype, str) and dtype in STORED_AS:
        return dtype
    if dtype is int:
        return "int32"
    if dtype is float:
        return config.floatx()
    name = getattr(dtype, "name", None)  # a NumPy dtype, a DTypePolicy
    if not isinstance(name, str):
        try:
            name = np.dtype(dtype).name
        except TypeError:
            name = str(dtype)
    if name not in STORED_AS:
        raise ValueError(f"Invalid dtype: {dtype!r}. Expected one of {', '.join(STORED_AS)}.")
    return name


def holds_strings(value: Any) -> bool:
    """Whether `value` is an array of strings (str or bytes, by its first element)."""
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    return kind in ("U", "S") or kind == "O" and value.size > 0 and isinstance(value.flat[0], (str, bytes))


def as_array(value: Any, dtype: Any, what: str = "The data") -> np.ndarray:
    """`value` as an array of numbers of a dtype. NumPy alone makes NaN of None.

    Raises:
        ValueError: for Python objects that are no numbers, None and pandas's NA among them.
    """
    array = np.asarray(value)
    if array.dtype != object:
        return np.asarray(value, dtype)
    for i, item in enumerate(array.flat):
        if item is None or type(item).__name__ in ("NAType", "NaTType"):
            place = tuple(map(int, np.unravel_index(i, array.shape)))
            raise ValueError(f"{what} holds {item} (first at {list(place)}); expected numbers. Leave such rows out, or"
                             " put numbers in the place of what is missing.")
    try:
        return array.astype(dtype)
    except (TypeError, ValueError):
        raise ValueError(f"{what} holds Python objects of mixed type; expected numbers. First element:"
                         f" {array.flat[0]!r}") from None


class Tensor(Operators["Tensor"]):
    """One C-contiguous array on the CPU.

    Attributes:
        data: the NumPy array itself, C-contiguous and aligned (`ops.convert_to_tensor` copies any other; kernels refuse
            it). Kernels read and write it; treat it as read-only elsewhere.
        node: the tape node that produced the tensor, or None when no gradient flows through it.
        slot: which output of `node` this is.
        grad: filled by `backward()` on variables and watched tensors.
    """

    __slots__ = ("data", "node", "slot", "grad", "_keras_mask", "__weakref__")
    __array_priority__ = 100  # NumPy leaves `array * tensor` to us

    _keras_mask: Tensor

    def __init__(self, data: np.ndarray, node: Node | None = None, slot: int = 0) -> None:
        self.data = data
        self.node = node
        self.slot = slot
        self.grad: Tensor | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def dtype(self) -> str:
        return NAMES[self.data.dtype]

    @property
    def ndim(self) -> int:
        return self.data.ndim

    @property
    def size(self) -> int:
        return self.data.size

    def backward(self, gradient: Any = None) -> None:
        """Adds d(self)/d(v) to `v.grad` of every variable and watched tensor this one depends on.

        Args:
            gradient: tensor of self's shape, the gradient of something with respect to self; ones by default.
        """
        with paused_recording():
            seed = seed_of(self, gradient)
        accumulate(self, seed)

    def with_node(self, node: Node) -> Tensor:
        """A tensor over the same memory that `node` is said to have produced."""
        return Tensor(self.data, node)

    def numpy(self) -> np.ndarray:
        """The values as a NumPy array that shares memory with the tensor."""
        _refuse_host_read("its value was read (.numpy(), float(), print, a comparison in `if` ...)")
        return self.data

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        _refuse_host_read("it was turned into a NumPy array")
        if dtype is not None and np.dtype(dtype) != self.data.dtype:
            return self.data.astype(dtype)
        return self.data.copy() if copy else self.data

    def item(self) -> Any:
        """The one element, whatever the rank, as a Python number. Raises ValueError when there are others."""
        if self.size != 1:
            raise ValueError(f"Only a tensor of one element is a number; this one has shape {self.shape}.")
        return self.numpy().item()

    def tolist(self) -> Any:
        return self.numpy().tolist()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        return self.numpy().__index__()

    def __bool__(self) -> bool:
        return bool(self.numpy())

    def __len__(self) -> int:
        if self.data.ndim == 0:
            raise TypeError("len() of a tensor of rank 0")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if self.data.ndim == 0:
            raise TypeError("iteration over a tensor of rank 0")
        return (self[i] for i in range(self.data.shape[0]))

    def __hash__(self) -> int:
        return id(self)

    def __setitem__(self, key: object, value: object) -> None:
        raise TypeError(
            "Tensors do not change in place. Use ops.slice_update / ops.scatter_update, or Variable.assign."
        )

    def __format__(self, spec: str) -> str:
        return format(self.numpy().item(), spec) if self.size == 1 and spec else str(self)

    def __repr__(self) -> str:
        if _core.is_recording():
            return f"<Tensor shape={self.shape}, dtype={self.dtype}, being recorded>"
        if _core.is_dry_run():
            return f"<Tensor shape={self.shape}, dtype={self.dtype}, without a value>"
        return f"<Tensor shape={self.shape}, dtype={self.dtype}, numpy={np.array_repr(self.data)}>"


def _refuse_host_read(what: str) -> None:
    if _core.is_recording() or _core.is_dry_run():
        state = "a program was being recorded" if _core.is_recording() else "shapes were being inferred"
        raise RecordingError(
            f"The value of a tensor is not known here: {what} while {state}, at {_user_line()}. A recorded step runs"
            " many times without Python, so a value read now would be stale later. Express the decision with ops"
            " (ops.where), or compile the model with run_eagerly=True."
        )


def _user_line() -> str:
    """file:line of the innermost frame outside this package."""
    frame, _ = user_frame()
    return f"{frame.f_code.co_filename}, line {frame.f_lineno}"


def empty(shape: Iterable[int], dtype: str = "float32") -> Tensor:
    """An uninitialised tensor, from the arena of the open recording or from the heap."""
    return Tensor(_core.empty(shape if isinstance(shape, tuple) else tuple(shape), dtype))


def from_numpy(array: np.ndarray) -> Tensor:
    """A tensor over `array`: shares its memory when it lies as kernels read it (C-contiguous, every element at a
    multiple of its size) and is of a dtype they know, else copies."""
    name = NAMES.get(array.dtype)
    if name is None:
        if array.dtype == object:
            as_array(array, np.float64, "The array")  # says where None is
        raise TypeError(f"Cannot make a tensor of NumPy dtype {array.dtype}. Expected numbers or bools.")
    if STORED_AS[name] != name or not array.flags.c_contiguous or not array.flags.aligned:
        array = stored(array, STORED_AS[name])
    return Tensor(array)


def stored(array: np.ndarray, dtype: str) -> np.ndarray:
    """`array` as kernels read it, in the stored `dtype`: the one door for arrays from outside. Raises OverflowError for
    unsigned integers of 64 bits that int64, which stores them, does not hold."""
    if array.dtype == np.uint64 and dtype == "int64" and array.size and array.max() >= 2**63:
        raise OverflowError(f"uint64 is stored as int64, which holds integers below 2^63; received {array.max()}.")
    return np.require(array, dtype, ("C", "A"))


def stored_dtype(dtype: Any) -> str:
    """What values of a dtype (as `standardize_dtype` takes it) are stored as: itself, or the next wider that has
    kernels."""
    return STORED_AS[standardize_dtype(dtype)]


class paused_recording:
    """Context: what happens inside runs now, once, and is no part of an open recording or dry run (e.g. creating a
    variable)."""

    def __enter__(self) -> None:
        self._program = _core.open_recording(None)
        self._dry = _core.set_dry_run(False)

    def __exit__(self, *_: object) -> None:
        _core.open_recording(self._program)
        _core.set_dry_run(self._dry)


def seed_of(target: Tensor, gradient: Any = None) -> Tensor:
    """The gradient a backward pass starts from: `gradient` (tensor or array of the shape of `target`), or ones."""
    if gradient is not None:
        seed = gradient if isinstance(gradient, Tensor) else from_numpy(np.asarray(gradient, target.dtype))
        if seed.shape != target.shape:
            raise ValueError(f"The gradient of a target has the target's shape: expected {target.shape}; "
                             f"received {seed.shape}.")
        if seed.node is None:
            seed.slot = CONSTANT
        return seed
    seed = empty(target.shape, target.dtype)
    seed.slot = CONSTANT
    seed.data.fill(1)  # a constant: recorded programs keep it alive, outside their arena
    return seed


class _Names(threading.local):
    def __init__(self) -> None:
        self.stack: list[str] = []


_names = _Names()


class name_scope:
    """Context: variables created inside get `name/` in front of their path.

    Args:
        name: of the scope; a whole path with `absolute=True`.
        absolute: forget the scopes outside.
    """

    def __init__(self, name: str, absolute: bool = False) -> None:
        self.name = name
        self._absolute = absolute

    def __enter__(self) -> Self:
        self._before = _names.stack
        _names.stack = [self.name] if self._absolute else [*self._before, self.name]
        return self

    def __exit__(self, *_: object) -> None:
        _names.stack = self._before


def current_path() -> str:
    return "/".join(_names.stack)


def _watched_setting(slot: str) -> property:
    """A property over `slot` of a variable; programs that were recorded with another value do not replay."""

    def get(self: Any) -> Any:
        if watch.watching():
            watch.note(self)
        return getattr(self, slot)

    def set(self: Any, value: Any) -> None:
        began = watch.recordings
        setattr(self, slot, value)
        if self._watch is not None:
            self._watch.touch(began)

    return property(get, set)


class Variable(Tensor):
    """A tensor with a name whose memory stays where it is: recorded programs read and write it in place.

    Args:
        initializer: a value (array, tensor, number) or a callable `initializer(shape, dtype)`.
        shape: tuple of ints; required with a callable.
        dtype: name; by default the value's (floats become `floatx`), `floatx` for a callable.
        trainable: whether gradients are computed for it.
        name: last part of `path`; `"variable"` by default.
        regularizer: callable on the variable that gives a scalar penalty, or None.
        constraint: callable on the variable, applied by the optimizer after each update, or None.
    """

    __slots__ = ("name", "path", "_trainable", "_regularizer", "_constraint", "initializer",
                 "_overwrite_with_gradient", "aggregation", "_owner", "_watch", "__dict__")

    _watch: watch.Watch | None
    _regularizer: Any
    _constraint: Any
    _overwrite_with_gradient: bool
    regularizer = _watched_setting("_regularizer")
    constraint = _watched_setting("_constraint")
    overwrite_with_gradient = _watched_setting("_overwrite_with_gradient")

    def __init__(self, initializer: Any, shape: Iterable[int] | None = None, dtype: Any = None, trainable: bool = True,
                 autocast: bool = True, aggregation: str = "none", synchronization: str = "auto",
                 name: str | None = None, layout: Any = None, regularizer: Any = None,
                 constraint: Any = None) -> None:
        with paused_recording():
            array = _initial_value(initializer, shape, dtype)
        super().__init__(array)
        self._watch = None
        _alive[array.ctypes.data] = self
        if name is not None and "/" in str(name):
            raise ValueError(f"Argument `name` must not contain '/'. Received: name={name}")
        self.name = name or _auto_name()
        scope = current_path()
        self.path = f"{scope}/{self.name}" if scope else self.name
        self.regularizer = regularizer
        self.constraint = constraint
        self.initializer = initializer if callable(initializer) and not isinstance(initializer, Tensor) else None
        self.overwrite_with_gradient = False
        self.aggregation = aggregation
        self._trainable: bool | None = None
        self.trainable = trainable

    @property
    def trainable(self) -> bool:
        if watch.watching():
            watch.note(self)
        return bool(self._trainable)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        value = bool(value)
        if value == self._trainable:
            return
        began = watch.recordings
        self._trainable = value
        self.node = Node.leaf(self) if value and is_float_dtype(self.dtype) else None
        if self._watch is not None:
            self._watch.touch(began)

    def _start_watch(self) -> watch.Watch:
        self._watch = watch.Watch()
        return self._watch

    def _watched_state(self, book: watch.Watch) -> tuple[Any, ...]:
        return tuple(map(watch.token, (self._trainable, self._regularizer, self._constraint,
                                       self._overwrite_with_gradient)))

    @property
    def value(self) -> Tensor:
        return self

    def assign(self, value: Any) -> Variable:
        """Copies `value` (same shape, or broadcastable) into the variable's memory."""
        _assign(self, value, "assign")
        return self

    def assign_add(self, value: Any) -> Variable:
        _assign(self, value, "assign_add")
        return self

    def assign_sub(self, value: Any) -> Variable:
        _assign(self, value, "assign_sub")
        return self

    def numpy(self) -> np.ndarray:
        """A copy of the values: the variable itself changes in place."""
        return np.array(super().numpy())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = super().__array__(dtype)
        return array.copy() if array is self.data else array

    def __deepcopy__(self, memo: dict[int, Any]) -> Variable:
        copy = Variable(self.data.copy(), dtype=self.dtype, trainable=self.trainable, name=self.name,
                        regularizer=self.regularizer, constraint=self.constraint)
        copy.path = self.path
        memo[id(self)] = copy
        return copy

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild_variable, (self.data.copy(), self.dtype, self.trainable, self.name, self.path,
                                    self.regularizer, self.constraint))

    def __repr__(self) -> str:
        shown = "being recorded" if _core.is_recording() else f"value={np.array_repr(self.data)}"
        return f"<Variable path={self.path}, shape={self.shape}, dtype={self.dtype}, {shown}>"


def _rebuild_variable(data: np.ndarray, dtype: str, trainable: bool, name: str, path: str, regularizer: Any,
                      constraint: Any) -> Variable:
    variable = Variable(data, dtype=dtype, trainable=trainable, name=name, regularizer=regularizer,
                        constraint=constraint)
    variable.path = path
    return variable


_alive: weakref.WeakValueDictionary[int, Variable] = weakref.WeakValueDictionary()  # by address


def variables_at(addresses: list[int]) -> list[Variable]:
    """The variables whose memory one of these addresses lies in."""
    # Of a list: other threads may make variables meanwhile.
    alive = {v.data.ctypes.data: v for reference in _alive.valuerefs() if (v := reference()) is not None}
    starts = sorted(alive)
    found = []
    for address in addresses:
        at = bisect.bisect_right(starts, address) - 1
        variable = alive[starts[at]] if at >= 0 else None
        if variable is not None and address - starts[at] < max(variable.data.nbytes, 1):
            found.append(variable)
    return found


_variable_count = itertools.count()


def _auto_name() -> str:
    number = next(_variable_count)
    return f"variable_{number}" if number else "variable"


def _initial_value(initializer: Any, shape: Iterable[int] | None, dtype: Any) -> np.ndarray:
    """A fresh aligned array, never shared with the caller's."""
    if callable(initializer) and not isinstance(initializer, Tensor):
        if shape is None:
            raise ValueError("When creating a Variable from an initializer, the `shape` argument should be specified."
                             f" Received: initializer={initializer} and shape={shape}")
        shape, dtype = tuple(shape), standardize_dtype(dtype)
        _core.require_room(shape, STORED_AS[dtype])  # before the initializer asks NumPy
        value = initializer(shape, dtype=dtype)
    else:
        value = initializer
    if type(value) is int:
        require_range((value,), "int64" if dtype is None else standardize_dtype(dtype))
    value = np.asarray(value.data if isinstance(value, Tensor) else value)
    if dtype is None:
        dtype = config.floatx() if holds_floats(value) else value.dtype
    dtype = stored_dtype(dtype)
    if shape is not None and tuple(shape) != value.shape:
        raise ValueError(f"Variable: the initial value has shape {value.shape}; expected shape {tuple(shape)}.")
    array = _core.empty(value.shape, dtype)
    np.copyto(array, stored(value, dtype) if value.dtype == np.uint64 else value, casting="unsafe")
    return array


def _assign(variable: Variable, value: Any, how: str) -> None:
    # Replaced by ops._operators, which knows the kernels.
    raise NotImplementedError("pydl.ops is not imported")
