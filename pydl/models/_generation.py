"""Writing sequences token by token: two recorded programs, one that begins a batch and one for every step."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pydl import _core, ops, tree
from pydl.autograd import no_grad
from pydl.program import Capture
from pydl.tensor import Tensor, Variable

# Steps that run between two looks at what is finished.
_STEPS = 4


class Options(NamedTuple):
    """The arguments of `generate`."""

    length: int
    beam: int
    penalty: float
    best: int
    start: int
    end: int | None
    pad: int
    scores: bool
    attention: bool


def check_options(model, length, beam, penalty, best, start, end, pad, scores, attention) -> Options:
    """Raises a ValueError for what `generate` cannot do."""
    for name, value, low, high in (("max_length", length, 1, None), ("beam_width", beam, 1, None),
                                   ("n_best", best, 1, beam)):
        if not isinstance(value, (int, np.integer)) or value < low or (high is not None and value > high):
            raise ValueError(f"generate: expected {name} to be an int of at least {low}"
                             f"{'' if high is None else f' and at most beam_width={high}'}; received {value!r}.")
    tokens = {"start_token": start, "end_token": end, "pad_token": pad}
    for name, value in tokens.items():
        if not (value is None and name == "end_token") and not 0 <= value < model.target_vocabulary:
            raise ValueError(f"generate: expected {name} in 0..{model.target_vocabulary - 1}, the target vocabulary;"
                             f" received {value!r}.")
    return Options(int(length), int(beam), float(penalty), int(best), int(start), end, int(pad), bool(scores),
                   bool(attention))


class Writer:
    """The programs of one batch size and one set of options. All steps share one, which reads its number."""

    def __init__(self, model, batch: int, places: int, options: Options):
        self.model, self.options = model, options
        self.batch, self.rows = batch, batch * options.beam
        self.position = np.zeros(1, np.int32)  # what `run_loop` writes in front of every step
        self.order = np.arange(options.length, dtype=np.int32)
        self.attention: Variable | None = None
        self.state = None
        length, beam = options.length, options.beam

        def variable(shape, dtype):
            return Variable(np.zeros(shape, dtype), dtype=dtype, trainable=False)

        self.token = variable((self.rows,), "int32")
        self.written = variable((self.rows, length), "int32")
        self.finished = variable((self.rows,), "bool")
        self.total = variable((batch, beam), model.dtype)  # log probabilities
        self.score = variable((batch, beam), model.dtype)  # the same over lp
        self.count = variable((batch, beam), "int32")
        with no_grad():
            self.begin = Capture(self._begin, [np.full((batch, places), min(1, model.source_vocabulary - 1), "int32")])
            self.fixed = self.begin.outputs
            self.step = Capture(self._step, [])

    def is_current(self) -> bool:
        """Whether the model is as it was when the programs were recorded."""
        return self.begin.dependencies.hold() and self.step.dependencies.hold()

    # ---- recorded ------------------------------------------------------------------------------------------------

    def _begin(self, source):
        o = self.options
        memory, mask, states = self.model.encode(source)
        fixed, state = self.model._decoding.begin(memory, mask, states, o.length)
        if o.beam > 1:
            fixed, state = tree.map_structure(
                lambda x: ops.repeat(x, o.beam, 0) if isinstance(x, Tensor) else x, (fixed, state))
        if self.state is None:
            self.state = tree.map_structure(
                lambda x: Variable(np.zeros(x.shape, x.dtype), dtype=x.dtype, trainable=False), state)
            if o.attention:
                self.attention = Variable(np.zeros((self.rows, o.length, memory.shape[1])), dtype=self.model.dtype,
                                          trainable=False)
        _assign(self.state, state)
        self.token.assign(ops.full((self.rows,), o.start, "int32"))
        self.written.assign(ops.full(self.written.shape, o.pad, "int32"))
        self.finished.assign(ops.zeros((self.rows,), "bool"))
        self.count.assign(ops.zeros(self.count.shape, "int32"))
        first = np.full(self.total.shape, -np.inf, self.total.dtype)  # at first all of a beam are the same
        first[:, 0] = 0
        self.total.assign(ops.convert_to_tensor(first))
        self.score.assign(ops.convert_to_tensor(first))
        if self.attention is not None:
            self.attention.assign(ops.zeros(self.attention.shape, self.attention.dtype))
        return fixed

    def _step(self):
        model, position = self.model, Tensor(self.position)
        x = model._embedded(self.token, position)
        features, state, weights = model._decoding.step(x, self.fixed, self.state, position)
        if weights is None and self.attention is not None:
            raise ValueError(f"generate: the decoder {model.decoder!r} has no attention weights to return.")
        logits = model._without_padding(model.output_layer(features))
        here = ops.equal(ops.arange(self.options.length), position)
        if self.options.beam == 1:
            self._take_best(logits, here, weights)
        else:
            state = self._take_beam(logits, here, weights, state)
        _assign(self.state, state)

    def _take_best(self, logits, here, weights) -> None:
        o = self.options
        token = ops.argmax(logits, -1)
        if o.scores:
            chosen = ops.take_along_axis(ops.log_softmax(logits), ops.expand_dims(token, -1), -1)
            running = ops.logical_not(ops.reshape(self.finished, self.total.shape))
            total = ops.add(self.total, ops.where(running, chosen, 0))
            count = ops.add(self.count, ops.cast(running, "int32"))
            self.score.assign(self._normalised(total, count))
            self.total.assign(total)
            self.count.assign(count)
        self._write(token, here, weights, self.finished, self.written, self.attention)

    def _take_beam(self, logits, here, weights, state):
        o = self.options
        batch, beam, classes = self.batch, o.beam, logits.shape[-1]
        finished = ops.reshape(self.finished, (batch, beam, 1))
        stay = np.full(classes, -np.inf, logits.dtype)  # a finished hypothesis goes on with padding, at no cost
        stay[o.pad] = 0
        gains = ops.where(finished, stay, ops.reshape(ops.log_softmax(logits), (batch, beam, classes)))
        total = ops.add(ops.expand_dims(self.total, -1), gains)
        count = ops.add(self.count, ops.cast(ops.logical_not(ops.squeeze(finished, -1)), "int32"))
        scores = self._normalised(total, ops.expand_dims(count, -1))
        score, index = ops.top_k(ops.reshape(scores, (batch, beam * classes)), beam)
        parent, token = ops.floor_divide(index, classes), ops.mod(index, classes)
        total = ops.take_along_axis(ops.reshape(total, (batch, beam * classes)), index, -1)
        rows = ops.reshape(ops.add(parent, np.arange(0, self.rows, beam, dtype="int32")[:, None]), (-1,))

        def of_parents(x):
            return ops.take(x, rows, 0)

        self.score.assign(score)
        self.total.assign(total)
        count = ops.take_along_axis(count, parent, -1)
        before = of_parents(self.finished)
        written = of_parents(self.written)
        history = None if self.attention is None else of_parents(self.attention)
        weights = None if self.attention is None else of_parents(weights)
        self.count.assign(count)
        self._write(ops.reshape(token, (-1,)), here, weights, before, written, history)
        return tree.map_structure(of_parents, state)

    def _write(self, token, here, weights, finished, written, history) -> None:
        """The new token (rows,) and weights (rows, places) where they belong, `finished` being those before it."""
        o = self.options
        token = ops.where(finished, o.pad, token)
        written = ops.where(here, ops.expand_dims(token, -1), written)
        if history is not None and self.attention is not None:
            weights = ops.where(ops.expand_dims(finished, -1), 0, weights)
            self.attention.assign(ops.where(ops.expand_dims(here, -1), ops.expand_dims(weights, 1), history))
        if o.end is not None:
            finished = ops.logical_or(finished, ops.equal(token, o.end))
        self.written.assign(written)
        self.token.assign(token)
        self.finished.assign(finished)

    def _normalised(self, total, count):
        """log p / lp, the length penalty of Wu et al. 2016, eq. 14."""
        if self.options.penalty == 0:
            return total
        lp = ops.power(ops.divide(ops.cast(ops.add(count, 5), total.dtype), 6.0), self.options.penalty)
        return ops.divide(total, lp)

    # ---- replayed ------------------------------------------------------------------------------------------------

    def write(self, source: np.ndarray) -> list[np.ndarray]:
        """Tokens (batch, best, length), then scores (batch, best) and weights (batch, best, length, places) as the
        options say."""
        o = self.options
        np.copyto(self.begin.inputs[0].data, source)
        self.begin.run()
        done, finished, total = 0, self.finished.data, self.total.data.reshape(-1)
        while done < o.length:
            stop = min(done + _STEPS, o.length)
            _core.run_loop([self.step.program], self.position, self.order, done, stop, 1e9)
            done = stop
            if o.end is not None and (finished | (total == -np.inf)).all():
                break
        results = [self.written] + [self.score] * o.scores + ([] if self.attention is None else [self.attention])
        shapes = [(o.length,), (), (o.length, source.shape[1])]
        shapes = [shapes[0]] + [shapes[1]] * o.scores + shapes[2:]
        return [y.data.reshape(self.batch, o.beam, *shape)[:, :o.best].copy() for y, shape in zip(results, shapes)]


def _assign(variables, values) -> None:
    for variable, value in zip(tree.flatten(variables), tree.flatten(values), strict=True):
        if value is not variable:
            variable.assign(value)
