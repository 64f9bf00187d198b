"""Models: Sequential, functional and subclassed; the training loop; copies and files."""

from pydl import exports
from pydl.models.cloning import *
from pydl.models.model import *
from pydl.models.seq2seq import *
from pydl.models.sequential import *

__all__ = [*exports.public(globals()), "load_model", "save_model"]


def load_model(filepath, custom_objects=None, compile=True, safe_mode=True):
    """The model saved in `filepath`; see `pydl.saving.load_model`."""
    from pydl import saving

    return saving.load_model(filepath, custom_objects=custom_objects, compile=compile, safe_mode=safe_mode)


def save_model(model, filepath, overwrite=True, zipped=None, **kwargs):
    """Saves `model`; see `pydl.saving.save_model`."""
    from pydl import saving

    saving.save_model(model, filepath, overwrite=overwrite, zipped=zipped, **kwargs)
