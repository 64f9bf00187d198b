"""Models: Sequential, functional and subclassed; the training loop; copies and files."""

from pydl.models.model import Functional, Model, clone_model, model_from_json
from pydl.models.seq2seq import Seq2Seq
from pydl.models.sequential import Sequential

__all__ = ["Functional", "Model", "Seq2Seq", "Sequential", "clone_model", "load_model", "model_from_json", "save_model"]


def load_model(filepath, custom_objects=None, compile=True, safe_mode=True):
    """The model saved in `filepath`; see `pydl.saving.load_model`."""
    from pydl import saving

    return saving.load_model(filepath, custom_objects=custom_objects, compile=compile, safe_mode=safe_mode)


def save_model(model, filepath, overwrite=True, zipped=None, **kwargs):
    """Saves `model`; see `pydl.saving.save_model`."""
    from pydl import saving

    saving.save_model(model, filepath, overwrite=overwrite, zipped=zipped, **kwargs)
