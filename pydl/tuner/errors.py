"""What may go wrong in a search: a failed trial is recorded and the search goes on, a fatal error ends it."""

__all__ = ["FailedTrialError", "FatalError", "FatalRuntimeError", "FatalTypeError", "FatalValueError"]


class FailedTrialError(Exception):
    """Raise it in `build`, `fit` or `run_trial`: these values cannot work. The trial is not tried again."""


class FatalError(Exception):
    """Raise it (or one of the classes below) to end the search: whatever the values, the code is wrong."""


class FatalValueError(FatalError, ValueError):
    """A fatal ValueError."""


class FatalTypeError(FatalError, TypeError):
    """A fatal TypeError."""


class FatalRuntimeError(FatalError, RuntimeError):
    """A fatal RuntimeError."""
