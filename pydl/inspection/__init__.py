"""What a network looks at, and how its training goes: arrays, and pictures of them.

Of a trained network: feature maps, filters, class activation maps, saliency, gates, the confusion of its classes. Of
training: gradients, updates and activations by layer (`TrainingMonitor`), dead units, weights, memory.

The functions return NumPy arrays, `plot_*` draw them with matplotlib (`pip install 'pydl[viz]'`). A model is used and
left as it was: weights, moving statistics, optimizer, trainable flags, random state, recorded programs.
"""

from pydl import exports
from pydl.inspection.attention import *
from pydl.inspection.attribution import *
from pydl.inspection.classifiers import *
from pydl.inspection.confusion import *
from pydl.inspection.curves import *
from pydl.inspection.drawing import *
from pydl.inspection.maps import *
from pydl.inspection.memory import *
from pydl.inspection.recurrent import *
from pydl.inspection.training import *
from pydl.inspection.units import *

__all__ = exports.public(globals())
