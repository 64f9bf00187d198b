"""Global settings: float type, image layout, ISA level, threads, version."""

from __future__ import annotations

from pydl import _core, dtypes
from pydl.watch import Owner

__version__ = "0.1.0"


class _Settings(Owner):
    """What programs may have baked in: they depend on the settings they read."""

    def __init__(self) -> None:
        self.floatx = "float32"
        self.epsilon = 1e-7
        self.image_data_format = "channels_last"
        self.flash_attention: bool | None = None


_settings = _Settings()
_interactive_logging = True


def floatx() -> str:
    """The default float dtype, one of `dtypes.FLOATS`; "float32" at first."""
    return _settings.floatx


def set_floatx(value: str) -> None:
    """Sets the default float dtype. Raises ValueError for anything but `dtypes.FLOATS`."""
    if value not in dtypes.FLOATS:
        raise ValueError(f"Unknown `floatx` value: {value}. Expected {' or '.join(map(repr, dtypes.FLOATS))}.")
    _settings.floatx = value


def epsilon() -> float:
    """The small number that guards divisions and logarithms in losses and metrics."""
    return _settings.epsilon


def set_epsilon(value: float) -> None:
    """Sets it; programs that read the former value record anew."""
    _settings.epsilon = float(value)


def image_data_format() -> str:
    """"channels_last" or "channels_first"."""
    return _settings.image_data_format


def set_image_data_format(data_format: str) -> None:
    if data_format not in ("channels_last", "channels_first"):
        raise ValueError(f"Unknown data format: {data_format}. Expected 'channels_last' or 'channels_first'.")
    _settings.image_data_format = data_format


def backend() -> str:
    """The name Keras scripts ask for; ours."""
    return "pydl"


def isa() -> str:
    """The instruction-set level in use, "baseline" for one; `supported_isas` has the others. `PYDL_ISA` forces one."""
    return _core.isa()


def supported_isas() -> list[str]:
    """The levels this machine and this build both have, weakest first."""
    return list(_core.supported_isas())


def threads() -> int:
    """How many threads kernels use, the calling one included.

    At first as many as `PYDL_NUM_THREADS` says, else `OMP_NUM_THREADS`, else the cores this process may use (affinity,
    `OMP_PLACES`, the time a container is allowed), and never more than `OMP_THREAD_LIMIT`. The threads are made by the
    first call of this function or of a kernel that shares its work; where the system grants fewer, their number is it.
    """
    return _core.threads()


def set_threads(count: int) -> None:
    """Sets the number of threads; results do not depend on it. Raises ValueError below 1.

    When the next kernel shares its work, threads that were there end and new ones are made (with 1 they sleep);
    `threads` tells how many were granted.
    """
    _core.set_threads(count)


def threading_layer() -> str:
    """Who makes the threads: "openmp", or "std" (the C++ library) in a build with `PYDL_THREADS=std`."""
    return _core.threading_layer()


def threading_runtime() -> str:
    """The file of the OpenMP library that makes the threads; empty for the layer "std"."""
    return _core.threading_runtime()


def enable_flash_attention() -> None:
    """Accepted for Keras scripts: pydl computes attention in one way, a kernel that keeps no scores."""
    _settings.flash_attention = None


def disable_flash_attention() -> None:
    """Accepted for Keras scripts, as `enable_flash_attention`; `is_flash_attention_enabled` remembers it."""
    _settings.flash_attention = False


def is_flash_attention_enabled() -> bool | None:
    """False after `disable_flash_attention`, None (as layers decide) otherwise; as in Keras, and without effect."""
    return _settings.flash_attention


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
    """One line: version, ISA level, threads and who made them."""
    return (f"pydl {__version__}, ISA {isa()} of {', '.join(supported_isas())}, "
            f"{threads()} threads ({threading_layer()})")
