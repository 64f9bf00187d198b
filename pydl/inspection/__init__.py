"""What a network looks at, and how its training goes: arrays, and pictures of them.

Of a trained network: feature maps, filters, class activation maps, saliency, gates, the confusion of its classes. Of
training: gradients, updates and activations by layer (`TrainingMonitor`), dead units, weights, memory.

The functions return NumPy arrays, `plot_*` draw them with matplotlib (`pip install 'pydl[viz]'`). A model is used and
left as it was: weights, moving statistics, optimizer, trainable flags, random state, recorded programs.
"""

from pydl.inspection.attention import attention_heatmap, attention_weights
from pydl.inspection.attribution import grad_cam, saliency
from pydl.inspection.classifiers import (
    animate_line,
    decision_regions,
    descent_curves,
    line_ends,
    loss_surface,
    plot_decision_regions,
    plot_descent_curves,
    plot_loss_surface,
)
from pydl.inspection.confusion import confusion_matrix
from pydl.inspection.curves import (
    plot_backprop_memory,
    plot_confusion_matrix,
    plot_dead_units,
    plot_monitor,
    plot_weight_histograms,
)
from pydl.inspection.drawing import (
    plot_feature_maps,
    plot_filters,
    plot_grad_cam,
    plot_history,
    plot_predictions,
    plot_saliency,
)
from pydl.inspection.maps import feature_maps, filters
from pydl.inspection.memory import backprop_memory
from pydl.inspection.recurrent import gates
from pydl.inspection.training import TrainingMonitor, gradient_problems, monitored, training_statistics
from pydl.inspection.units import dead_units, weight_histograms

__all__ = ["TrainingMonitor", "animate_line", "attention_heatmap", "attention_weights", "backprop_memory",
           "confusion_matrix", "dead_units", "decision_regions", "descent_curves", "feature_maps", "filters", "gates",
           "grad_cam", "gradient_problems", "line_ends", "loss_surface", "monitored", "plot_backprop_memory",
           "plot_confusion_matrix", "plot_dead_units", "plot_decision_regions", "plot_descent_curves",
           "plot_feature_maps", "plot_filters", "plot_grad_cam", "plot_history", "plot_loss_surface", "plot_monitor",
           "plot_predictions", "plot_saliency", "plot_weight_histograms", "saliency", "training_statistics",
           "weight_histograms"]
