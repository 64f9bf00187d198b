"""Helpers under Keras's names: files, arrays, progress bar, seeds."""

from pydl.progbar import Progbar
from pydl.utils.arrays import normalize, pad_sequences, to_categorical
from pydl.utils.files import get_file
from pydl.utils.session import clear_session, set_random_seed

__all__ = ["Progbar", "clear_session", "get_file", "normalize", "pad_sequences", "set_random_seed", "to_categorical"]
