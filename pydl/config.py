"""Global settings: float type, image layout, ISA level, threads, version; and the structure counter of programs."""

from __future__ import annotations

from pydl import _core

__version__ = "0.1.0"

_floatx = "float32"
_epsilon = 1e-7
_image_data_format = "channels_last"
_structure = 0
_interactive_logging = True


def floatx() -> str:
    """The default float dtype: "float32" or "float64"."""
    return _floatx


def set_floatx(value: str) -> None:
    """Sets the default float dtype. Raises ValueError for anything but "float32" and "float64"."""
    global _floatx
    if value not in ("float32", "float64"):
        raise ValueError(f"Unknown `floatx` value: {value}. Expected 'float32' or 'float64'.")
    _floatx = value


def epsilon() -> float:
    """The small number that guards divisions and logarithms in losses and metrics."""
    return _epsilon


def set_epsilon(value: float) -> None:
    global _epsilon
    _epsilon = float(value)


def image_data_format() -> str:
    """"channels_last" or "channels_first"."""
    return _image_data_format


def set_image_data_format(data_format: str) -> None:
    global _image_data_format
    if data_format not in ("channels_last", "channels_first"):
        raise ValueError(f"Unknown data format: {data_format}. Expected 'channels_last' or 'channels_first'.")
    _image_data_format = data_format


def backend() -> str:
    """The name Keras scripts ask for; ours."""
    return "pydl"


def isa() -> str:
    """The instruction-set level in use: "baseline", "avx2", "avx512" or "neon". `PYDL_ISA` forces one."""
    return _core.isa()


def supported_isas() -> list[str]:
    """The levels this machine and this build both have, weakest first."""
    return list(_core.supported_isas())


def threads() -> int:
    """How many threads kernels may use. `PYDL_NUM_THREADS` sets the start value."""
    return _core.threads()


def set_threads(count: int) -> None:
    """Sets the number of threads; results do not depend on it. Raises ValueError below 1."""
    _core.set_threads(count)


def structure() -> int:
    """Grows whenever something changes that a recorded program may have baked in (a trainable flag, a layer's
    attribute): part of every program's key."""
    return _structure


def bump_structure() -> None:
    global _structure
    _structure += 1


def disable_traceback_filtering() -> None:
    """Accepted for Keras scripts: pydl never filters tracebacks."""


def enable_traceback_filtering() -> None:
    """Accepted for Keras scripts: pydl never filters tracebacks."""


def is_traceback_filtering_enabled() -> bool:
    """False: pydl never filters tracebacks."""
    return False


def enable_interactive_logging() -> None:
    """Progress bars are drawn (`verbose="auto"` means 1). The default."""
    global _interactive_logging
    _interactive_logging = True


def disable_interactive_logging() -> None:
    """`verbose="auto"` means 2, one line per epoch."""
    global _interactive_logging
    _interactive_logging = False


def is_interactive_logging_enabled() -> bool:
    """Whether `verbose="auto"` draws progress bars."""
    return _interactive_logging


def show() -> str:
    """One line: version, ISA level, threads."""
    return f"pydl {__version__}, ISA {isa()} of {', '.join(supported_isas())}, {threads()} threads"
