"""What attention looks at, and its picture."""

from __future__ import annotations

import numpy as np

from pydl.autograd import no_grad
from pydl.inspection.drawing import _near_square, _new_figure, _saved
from pydl.inspection.watching import checked, find_layer, layers_by_path, replaced
from pydl.layers import Attention, GroupQueryAttention, MultiHeadAttention

__all__ = ["attention_heatmap", "attention_weights"]

_HEADS = (MultiHeadAttention, GroupQueryAttention)


def attention_weights(model, x, layer=None) -> np.ndarray:
    """The probabilities of an attention layer.

    Args:
        model: a built model.
        x: batch of its inputs.
        layer: Attention, AdditiveAttention, MultiHeadAttention or GroupQueryAttention of the model, by name, path
            ("transformer_encoder/self_attention_layer") or itself; not needed when there is one.

    Returns:
        (batch, queries, keys), of layers with heads (batch, heads, queries, keys).

    Raises:
        ValueError: when the layer is not told apart, not used, or no attention.
    """
    x = checked(model, x, "attention_weights")
    found = {path: part for path, part in layers_by_path(model).items() if isinstance(part, (Attention, *_HEADS))}
    if layer is None and len(found) != 1:
        raise ValueError(f'attention_weights: model "{model.name}" has {len(found)} attention layers: {list(found)}.'
                         " Name one of them by `layer`.")
    chosen = next(iter(found.values())) if layer is None else find_layer(model, layer)
    if not isinstance(chosen, (Attention, *_HEADS)):
        raise ValueError(f"attention_weights: expected an attention layer; {chosen!r} is none.")
    attend, seen = chosen._attend, []

    def watched(query, key, value, mask, *rest):
        if isinstance(chosen, _HEADS):
            training, _, causal = rest
            result = attend(query, key, value, mask, training, True, causal)
        else:
            result = attend(query, key, value, mask, *rest)
        seen.append(np.array(result[1].numpy()))
        return result

    with no_grad(), replaced((chosen, "_attend", watched)):
        model(x, training=False)
    if not seen:
        raise ValueError(f'attention_weights: model "{model.name}" does not use its layer "{chosen.name}".')
    return seen[-1]


def attention_heatmap(weights, keys=None, queries=None, titles=None, path=None, figure=None):
    """Each query's row of probabilities over the keys, dark where they are high, tokens on both axes.

    Args:
        weights: (queries, keys), or (heads, queries, keys) for one picture per head.
        keys, queries: the tokens of either side, strings or numbers. Fewer than rows or columns: those are shown only
            (the rest is padding).
        titles: one per picture; heads are numbered by default.
        path: saves the figure, its suffix tells the format.
        figure: a Figure or SubFigure to draw into.

    Returns:
        The Figure.

    Raises:
        ValueError: for weights of another rank, or more tokens than weights.
    """
    weights = np.asarray(weights)
    if weights.ndim not in (2, 3) or 0 in weights.shape:
        raise ValueError("attention_heatmap: expected weights (queries, keys) or (heads, queries, keys); received shape"
                         f" {weights.shape}.")
    maps = weights[None] if weights.ndim == 2 else weights
    sides = []
    for name, tokens, size in (("queries", queries, maps.shape[1]), ("keys", keys, maps.shape[2])):
        tokens = [str(t) for t in (range(size) if tokens is None else tokens)]
        if len(tokens) > size:
            raise ValueError(f"attention_heatmap: {len(tokens)} {name} for {size} rows or columns of weights.")
        sides.append(tokens)
    rows, columns = (len(tokens) for tokens in sides)
    if titles is None:
        titles = [f"head {i}" for i in range(len(maps))] if weights.ndim == 3 else [None]
    high, wide = _near_square(len(maps))
    figure = figure if figure is not None else _new_figure(wide * max(2.0, 0.28 * columns + 0.8),
                                                           high * max(2.0, 0.28 * rows + 0.8))
    axes = figure.subplots(high, wide, squeeze=False)
    for cell in axes.flat[len(maps):]:
        cell.axis("off")
    for values, title, cell in zip(maps, titles, axes.flat):
        cell.imshow(values[:rows, :columns], cmap="Greys", vmin=0, vmax=1)
        cell.set_xticks(range(columns), sides[1], rotation=90, fontsize=8)
        cell.set_yticks(range(rows), sides[0], fontsize=8)
        if title is not None:
            cell.set_title(str(title), fontsize=9)
    return _saved(figure, path)
