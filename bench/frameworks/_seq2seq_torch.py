"""Encoder-decoders in PyTorch: whole-sequence modules where the recurrence allows it, a loop over cells where not."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from bench.workloads import SEQ2SEQ, pairs

STEPS, VOCABULARY, UNITS, END = (SEQ2SEQ[k] for k in ("steps", "vocabulary", "units", "end"))
WIDTH = SEQ2SEQ["embedding"]


class Encoder(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.rnn = (nn.LSTM if kind == "lstm" else nn.GRU)(WIDTH, UNITS, batch_first=True)

    def forward(self, source):
        return self.rnn(self.embedding(source))


class Plain(nn.Module):
    """An LSTM that begins with the encoder's states."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(WIDTH, UNITS, batch_first=True)

    def prepare(self, memory, state):
        return None, state

    def all_steps(self, x, memory, state):
        return self.rnn(x, state)[0]

    def step(self, x, memory, state):
        y, state = self.rnn(x[:, None], state)
        return y[:, 0], state


class Bahdanau(nn.Module):
    """Additive attention from the previous state; keys are projected once for all steps."""

    def __init__(self):
        super().__init__()
        self.query = nn.Linear(UNITS, UNITS, bias=False)
        self.key = nn.Linear(UNITS, UNITS, bias=False)
        self.score = nn.Linear(UNITS, 1, bias=False)
        self.cell = nn.GRUCell(WIDTH + UNITS, UNITS)

    def prepare(self, memory, state):
        return (memory, self.key(memory)), state[0]

    def step(self, x, memory, h):
        values, keys = memory
        scores = self.score(torch.tanh(self.query(h)[:, None] + keys)).squeeze(-1)
        context = torch.bmm(torch.softmax(scores, -1)[:, None], values)[:, 0]
        h = self.cell(torch.cat([x, context], -1), h)
        return h, h

    def all_steps(self, x, memory, h):
        outputs = []
        for x_t in x.unbind(1):
            y, h = self.step(x_t, memory, h)
            outputs.append(y)
        return torch.stack(outputs, 1)


class Luong(nn.Module):
    """The score "dot" without input feeding: the recurrence first, then one attention for all steps."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(WIDTH, UNITS, batch_first=True)
        self.out = nn.Linear(2 * UNITS, UNITS, bias=False)

    def prepare(self, memory, state):
        return memory, state

    def attend(self, h, memory):
        weights = torch.softmax(torch.bmm(h, memory.transpose(1, 2)), -1)
        return torch.tanh(self.out(torch.cat([torch.bmm(weights, memory), h], -1)))

    def all_steps(self, x, memory, state):
        return self.attend(self.rnn(x, state)[0], memory)

    def step(self, x, memory, state):
        h, state = self.rnn(x[:, None], state)
        return self.attend(h, memory)[:, 0], state


class EncoderDecoder(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.encoder = Encoder(kind)
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.decoder = {"lstm": Plain, "bahdanau": Bahdanau, "luong": Luong}[kind]()
        self.output = nn.Linear(UNITS, VOCABULARY)

    def forward(self, source, target):
        memory, state = self.decoder.prepare(*self.encoder(source))
        return self.output(self.decoder.all_steps(self.embedding(target), memory, state))

    @torch.inference_mode()
    def greedy(self, source):
        memory, state = self.decoder.prepare(*self.encoder(source))
        token = torch.ones(len(source), dtype=torch.long)
        finished = torch.zeros(len(source), dtype=torch.bool)
        tokens = []
        for _ in range(STEPS):
            y, state = self.decoder.step(self.embedding(token), memory, state)
            token = self.output(y).argmax(-1)
            tokens.append(token.masked_fill(finished, 0))
            finished |= token == END
            if finished.all():
                break
        return torch.stack(tokens, 1)


class Transformer(nn.Module):
    """PyTorch's own layers; what has been written is decoded from the beginning at each step, as they have no cache."""

    def __init__(self):
        super().__init__()
        width, inner = SEQ2SEQ["width"], SEQ2SEQ["inner"]

        def layer(kind):
            return kind(width, SEQ2SEQ["heads"], inner, 0.0, batch_first=True)

        self.source, self.target = nn.Embedding(VOCABULARY, width), nn.Embedding(VOCABULARY, width)
        self.source_places, self.target_places = nn.Embedding(STEPS, width), nn.Embedding(STEPS, width)
        self.encoder = nn.TransformerEncoder(layer(nn.TransformerEncoderLayer), 2, enable_nested_tensor=False)
        self.decoder = nn.TransformerDecoder(layer(nn.TransformerDecoderLayer), 2)
        self.output = nn.Linear(width, VOCABULARY)
        self.register_buffer("causal", nn.Transformer.generate_square_subsequent_mask(STEPS))

    def encode(self, source):
        return self.encoder(self.source(source) + self.source_places.weight[:source.shape[1]])

    def decode(self, target, memory):
        n = target.shape[1]
        return self.decoder(self.target(target) + self.target_places.weight[:n], memory,
                            tgt_mask=self.causal[:n, :n], tgt_is_causal=True)

    def forward(self, source, target):
        return self.output(self.decode(target, self.encode(source)))

    @torch.inference_mode()
    def greedy(self, source):
        memory = self.encode(source)
        tokens = torch.ones(len(source), 1, dtype=torch.long)
        finished = torch.zeros(len(source), dtype=torch.bool)
        for _ in range(STEPS):
            token = self.output(self.decode(tokens, memory)[:, -1]).argmax(-1)
            tokens = torch.cat([tokens, token.masked_fill(finished, 0)[:, None]], 1)
            finished |= token == END
            if finished.all():
                break
        return tokens[:, 1:]


def model(kind):
    return Transformer() if kind == "transformer" else EncoderDecoder(kind)


def seq2seq(kind, batch):
    steps = 40
    source, target_in, target = (torch.from_numpy(a) for a in pairs(steps * batch))
    m = model(kind)
    optimizer = torch.optim.Adam(m.parameters(), fused=True)

    def epoch():
        for rows in torch.randperm(len(source)).split(batch):
            optimizer.zero_grad(set_to_none=True)
            logits = m(source[rows], target_in[rows])
            cross_entropy(logits.flatten(0, 1), target[rows].flatten()).backward()
            optimizer.step()

    return epoch, steps


def decode(kind, batch):
    source = torch.from_numpy(pairs(1000)[0])
    m = model(kind).eval()
    with torch.no_grad():
        m.output.bias[END] = -1e9
    return lambda: torch.cat([m.greedy(rows) for rows in source.split(batch)]), 1000
