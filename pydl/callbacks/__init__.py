"""What happens besides the training itself: stopping, saving, logging, learning rates."""

from pydl import exports
from pydl.callbacks.base import *
from pydl.callbacks.callback_list import *
from pydl.callbacks.checkpoint import *
from pydl.callbacks.monitor import *
from pydl.callbacks.progress import *
from pydl.callbacks.tensorboard import *

__all__ = exports.public(globals())
