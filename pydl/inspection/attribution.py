"""Which parts of an image speak for a class: class activation maps and saliency."""

from __future__ import annotations

import numpy as np

from pydl import activations, ops, tree
from pydl.autograd import GradientTape, no_grad, watch
from pydl.dtypes import holds_integers
from pydl.inspection.watching import (
    checked,
    constant_weights,
    find_layer,
    is_convolution,
    layers_by_path,
    replaced,
    trace,
    watching,
)
from pydl.layers import Softmax
from pydl.tensor import Tensor, from_numpy

__all__ = ["grad_cam", "saliency"]

# What turns scores into probabilities. Its gradient vanishes where the model is sure, the scores' does not.
_SQUASHING = (activations.softmax, activations.sigmoid, ops.softmax, ops.sigmoid)


def grad_cam(model, x, layer=None, class_index=None, resize: bool = False) -> np.ndarray:
    """Class activation maps (Grad-CAM, Selvaraju et al. 2017): where a layer saw what speaks for a class.

    With the feature maps A^k of the layer and the score y^c of class c (before a last softmax or sigmoid), the weights
    are alpha_k = mean over positions of dy^c / dA^k (eq. 1), and the map is relu(sum_k alpha_k A^k) (eq. 2), here
    divided by its maximum per sample. A map of zeros means that nothing in the layer speaks for the class.

    Args:
        model: a built model with one output (batch, classes).
        x: batch of inputs.
        layer: name, path or layer, with outputs (batch, h, w, channels) or (batch, steps, channels); the last
            convolution when None.
        class_index: int, or one int per sample; the class of the highest score when None.
        resize: enlarge the maps to the height and width of `x`, bilinearly.

    Returns:
        Array (batch, h, w), or (batch, steps), in [0, 1].

    Raises:
        ValueError: for a layer without positions, one the model does not have or the score does not depend on, a class
            the model does not have, an `x` that does not fit.
    """
    x = checked(model, x, "grad_cam")
    steps, result = trace(model, x)
    chosen = find_layer(model, layer) if layer is not None else _last_convolution(model, steps)
    seen = []

    def see(_, output):
        if not isinstance(output, Tensor) or output.ndim < 3:
            shape = output.shape if isinstance(output, Tensor) else f"of {type(output).__name__}"
            raise ValueError(f'grad_cam: layer "{chosen.name}" has no positions to map: expected an output of shape'
                             f" (batch, h, w, channels) or (batch, steps, channels); received {shape}.")
        seen.append(_leaf(output.data))  # nothing below the layer takes part in the gradient
        return seen[-1]

    scores_only = replaced(*_up_to_scores(steps, result))
    with constant_weights(model), watching([chosen], see), scores_only, GradientTape() as tape:
        scores = _scores(model, x, "grad_cam")
    if not seen:
        raise ValueError(f'grad_cam: model "{model.name}" does not use its layer "{chosen.name}".')
    maps = seen[-1]
    gradient = tape.gradient(scores, maps, _one_hot(scores, _classes(scores, class_index, "grad_cam")))
    if gradient is None:
        raise ValueError(f'grad_cam: the scores of model "{model.name}" do not depend on layer "{chosen.name}".')
    channels = 1 if getattr(chosen, "data_format", None) == "channels_first" else -1
    positions = tuple(axis for axis in range(1, maps.ndim) if axis != channels % maps.ndim)
    alpha = gradient.numpy().mean(positions, keepdims=True)
    cam = np.maximum((alpha * maps.numpy()).sum(channels), 0)
    highest = cam.max(tuple(range(1, cam.ndim)), keepdims=True)
    cam /= np.where(highest > 0, highest, 1)
    return _enlarged(cam, x) if resize else cam


def saliency(model, x, class_index=None, absolute: bool = True, channels: str | None = "max", smooth: int = 0,
             noise: float = 0.15, seed: int | None = None) -> np.ndarray:
    """How much each pixel moves the score of a class: |d score / d pixel| (Simonyan et al. 2014, section 3).

    Args:
        model: a built model with one output (batch, classes); the score is the one before a last softmax or sigmoid.
        x: batch of inputs, one float array.
        class_index: int, or one int per sample; the class of the highest score when None.
        absolute: False keeps the sign.
        channels: "max" takes the value of largest magnitude over the last axis of images (batch, h, w, channels); None
            keeps all.
        smooth: average the gradient over that many noisy copies of x (SmoothGrad, Smilkov et al. 2017); 0 for x itself.
        noise: standard deviation of that noise as a part of the range of each sample's values.
        seed: of that noise; different at each call when None.

    Returns:
        Array of the shape of `x`; images lose their last axis with `channels="max"`.

    Raises:
        ValueError: for an argument out of range, a class the model does not have, an `x` that does not fit or that the
            score does not depend on in a differentiable way.
    """
    x = checked(model, x, "saliency")
    if not isinstance(x, np.ndarray):
        raise ValueError(f"saliency: expected one array; received {type(x).__name__} of {len(tree.flatten(x))}.")
    if channels not in ("max", None):
        raise ValueError(f"saliency: expected channels to be 'max' or None; received {channels!r}.")
    if not isinstance(smooth, int) or smooth < 0:
        raise ValueError(f"saliency: expected smooth to be a number of copies, at least 0; received {smooth!r}.")
    if not noise >= 0:
        raise ValueError(f"saliency: expected noise of at least 0; received {noise!r}.")
    x = x.astype(model.compute_dtype)
    with constant_weights(model), replaced(*_up_to_scores(*trace(model, x))):
        if not smooth:
            gradient = _input_gradient(model, x, class_index)
        else:
            with no_grad():
                chosen = _classes(_scores(model, x, "saliency"), class_index, "saliency")
            samples = tuple(range(1, x.ndim))
            deviation = noise * (x.max(samples, keepdims=True) - x.min(samples, keepdims=True))
            draw = np.random.default_rng(seed)
            gradient = np.zeros_like(x)
            for _ in range(smooth):
                noisy = x + deviation * draw.standard_normal(x.shape, x.dtype)
                gradient += _input_gradient(model, noisy, chosen) / smooth
    if channels == "max" and gradient.ndim == 4:
        gradient = np.take_along_axis(gradient, np.abs(gradient).argmax(-1)[..., None], -1)[..., 0]
    return np.abs(gradient) if absolute else gradient


def _input_gradient(model, x: np.ndarray, class_index) -> np.ndarray:
    leaf = _leaf(x)
    with GradientTape() as tape:
        scores = _scores(model, leaf, "saliency")
    gradient = tape.gradient(scores, leaf, _one_hot(scores, _classes(scores, class_index, "saliency")))
    if gradient is None:
        raise ValueError(f'saliency: the scores of model "{model.name}" do not depend on x in a differentiable way'
                         " (integers, as an Embedding takes them, have no gradient).")
    return np.array(gradient.numpy())


def _leaf(array: np.ndarray) -> Tensor:
    leaf = from_numpy(array)
    watch(leaf)
    return leaf


def _up_to_scores(steps, result) -> list:
    """The changes (see `replaced`) that take a softmax or sigmoid off the end of a model."""
    last = next((operation for operation, output in steps if output is result), None)
    if isinstance(last, Softmax):
        return [(last, "call", lambda inputs, mask=None: inputs)]
    if getattr(last, "fn", None) in _SQUASHING:
        return [(last, "fn", lambda inputs, *args, **kwargs: inputs)]
    if getattr(last, "activation", None) in _SQUASHING:
        return [(last, "activation", activations.linear)]
    return []


def _scores(model, x, what: str) -> Tensor:
    scores = model(x, training=False)
    if not isinstance(scores, Tensor) or scores.ndim != 2:
        shape = [y.shape for y in tree.flatten(scores)] if not isinstance(scores, Tensor) else scores.shape
        raise ValueError(f'{what}: expected model "{model.name}" to have one output of shape (batch, classes); received'
                         f" {shape}. A model of one output is Model(model.inputs, model.outputs[i]).")
    return scores


def _classes(scores: Tensor, class_index, what: str) -> np.ndarray:
    """The class of each sample whose score is meant, checked."""
    batch, classes = scores.shape
    if class_index is None:
        return scores.numpy().argmax(1)
    index = np.asarray(class_index)
    if not holds_integers(index) or index.shape not in ((), (batch,)):
        raise ValueError(f"{what}: expected class_index to be an int or {batch} ints, one per sample; received"
                         f" {class_index!r}.")
    outside = index[(index < 0) | (index >= classes)]
    if outside.size:
        raise ValueError(f"{what}: expected class_index in 0 .. {classes - 1}; received {outside.flat[0]}.")
    return np.broadcast_to(index, (batch,))


def _one_hot(scores: Tensor, chosen: np.ndarray) -> np.ndarray:
    return np.eye(scores.shape[1], dtype=scores.dtype)[chosen]


def _last_convolution(model, steps):
    convolutions = [operation for operation, _ in steps if is_convolution(operation)]
    if not convolutions:
        raise ValueError(f'grad_cam: model "{model.name}" has no convolution layer. Name one of its layers:'
                         f" {list(layers_by_path(model))}.")
    return convolutions[-1]


def _enlarged(cam: np.ndarray, x) -> np.ndarray:
    if not isinstance(x, np.ndarray) or x.ndim != 4 or cam.ndim != 3:
        raise ValueError("grad_cam: resize=True is for one input of images (batch, h, w, channels) and maps"
                         f" (batch, h, w); received maps of shape {cam.shape}.")
    return np.array(ops.image.resize(cam[..., None], x.shape[1:3], interpolation="bilinear").numpy()[..., 0])
