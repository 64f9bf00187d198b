"""What a trained network looks at: feature maps, filters, class activation maps, saliency, attention, and their
pictures.

The functions return NumPy arrays, `plot_*` draw them with matplotlib (`pip install 'pydl[viz]'`). A model is used in
inference mode and left as it was: weights, moving statistics, trainable flags, random state, recorded programs.
"""

from pydl.inspection.attention import attention_heatmap, attention_weights
from pydl.inspection.attribution import grad_cam, saliency
from pydl.inspection.drawing import (
    plot_feature_maps,
    plot_filters,
    plot_grad_cam,
    plot_history,
    plot_predictions,
    plot_saliency,
)
from pydl.inspection.maps import feature_maps, filters
from pydl.inspection.recurrent import gates

__all__ = ["attention_heatmap", "attention_weights", "feature_maps", "filters", "gates", "grad_cam",
           "plot_feature_maps", "plot_filters", "plot_grad_cam", "plot_history", "plot_predictions", "plot_saliency",
           "saliency"]
