"""PyTorch eager, as a user who cares for speed writes it: fused Adam, batches indexed from memory without a loader,
inference mode for prediction."""

from __future__ import annotations

import time

import torch
from torch import nn

from bench.frameworks._nets_torch import model
from bench.frameworks._seq2seq_torch import decode, seq2seq  # noqa: F401  what the worker asks for
from bench.workloads import GAN, NETS, STEPS, data, gan_data, samples

COMPILE = False


def set_threads(n):
    torch.set_num_threads(n)


def _maybe_compile(fn):
    return torch.compile(fn) if COMPILE else fn


def matmul(m, n, k):
    a, b, out = torch.rand(m, k), torch.rand(k, n), torch.empty(m, n)
    return lambda: torch.mm(a, b, out=out), 1


def unary(function, n):
    x = torch.randn(n)
    if function == "softmax":
        x = x.view(1024, -1)
        f = _maybe_compile(lambda t: torch.softmax(t, -1))
    else:
        f = _maybe_compile(getattr(torch, function))

    def call():
        with torch.inference_mode():
            return f(x)

    return call, 1


def dropout(n, rate):
    x = torch.rand(n)
    f = _maybe_compile(lambda t: nn.functional.dropout(t, rate, training=True))
    return lambda: f(x), 1


def batch_norm(shape):
    batch, height, width, channels = shape
    x = torch.rand(batch, channels, height, width).contiguous(memory_format=torch.channels_last).requires_grad_()
    layer = nn.BatchNorm2d(channels)
    ones = torch.ones_like(x)
    f = _maybe_compile(layer)

    def step():
        x.grad = None
        f(x).backward(ones)

    return step, 1


FORMATS = (torch.contiguous_format, torch.channels_last)


def _faster(setups):
    """The fastest of several (call, units): memory formats suit different sizes."""
    def seconds(made):
        made[0](), made[0]()
        times = []
        while len(times) < 5 and sum(times) < 1:
            start = time.perf_counter()
            made[0]()
            times.append(time.perf_counter() - start)
        return min(times)

    return min(setups, key=seconds) if len(setups) > 1 else setups[0]


def conv(shape, filters, size, padding, strides, direction):
    return _faster([_conv(shape, filters, size, padding, strides, direction, f) for f in FORMATS])


def _conv(shape, filters, size, padding, strides, direction, memory_format):
    batch, height, width, channels = shape
    pad = size // 2 if padding == "same" else 0
    layer = nn.Conv2d(channels, filters, size, strides, pad).to(memory_format=memory_format)
    x = torch.rand(batch, channels, height, width).contiguous(memory_format=memory_format)
    x.requires_grad_(direction == "both")
    f = _maybe_compile(layer)

    def forward():
        with torch.inference_mode():
            return f(x)

    ones = torch.ones_like(layer(x).detach())

    def step():
        layer.zero_grad(set_to_none=True)
        x.grad = None
        f(x).backward(ones)

    return forward if direction == "forward" else step, 1


def pool(mode, shape):
    return _faster([_pool(mode, shape, f) for f in FORMATS])


def _pool(mode, shape, memory_format):
    batch, height, width, channels = shape
    x = torch.rand(batch, channels, height, width).contiguous(memory_format=memory_format).requires_grad_()
    f = _maybe_compile(nn.MaxPool2d(2) if mode == "max" else nn.AvgPool2d(2))
    ones = torch.ones_like(f(x).detach())

    def step():
        x.grad = None
        f(x).backward(ones)

    return step, 1


def recurrent(layer, shape, units, both_ways):
    x = torch.rand(shape).requires_grad_()
    kind = {"SimpleRNN": nn.RNN}.get(layer) or getattr(nn, layer)
    f = made = kind(shape[-1], units, batch_first=True, bidirectional=both_ways)
    ones = torch.ones_like(made(x)[0].detach())

    def step():
        made.zero_grad(set_to_none=True)
        x.grad = None
        f(x)[0].backward(ones)

    return step, 1


def _formats(net, training):
    """Memory formats to try. Large networks train in the one that suits convolutions: trying both would take minutes,
    and memory for both."""
    if "image" not in NETS[net]:
        return (None,)
    return FORMATS[1:] if training and "application" in NETS[net] else FORMATS


def train(net, batch, steps=None):
    if steps:  # the first step is waited for, or memory counted: no other format is tried beside this one
        return _train(net, batch, _formats(net, True)[0], steps)
    steps = 100 if net == "tiny" else STEPS.get(net, 100)
    return _faster([_train(net, batch, f, steps) for f in _formats(net, True)])


def _train(net, batch, memory_format, steps):
    shape = NETS[net]
    m = model(net)
    rows = steps * batch
    x, y = (torch.from_numpy(a) for a in data(net, rows))
    if memory_format:
        m = m.to(memory_format=memory_format)
        x = x.movedim(-1, 1).contiguous(memory_format=memory_format)
    decayed = [p for p in m.parameters() if p.ndim == 2][:-1]
    optimizer = torch.optim.Adam(m.parameters(), fused=True)
    loss_of = nn.BCEWithLogitsLoss() if shape["outputs"] == 1 else nn.CrossEntropyLoss()

    def forward(x, y):
        loss = loss_of(m(x), y)
        if shape.get("l2"):
            loss = loss + shape["l2"] * sum((w * w).sum() for w in decayed)
        return loss

    f = _maybe_compile(forward)

    def epoch():
        for rows_of_batch in torch.randperm(rows).split(batch):
            optimizer.zero_grad(set_to_none=True)
            f(x[rows_of_batch], y[rows_of_batch]).backward()
            optimizer.step()

    return epoch, steps


def predict(net, rows=1):
    return _faster([_serve(model(net), net, rows, f) for f in _formats(net, False)])


def _serve(m, net, rows, memory_format):
    m = m.eval()
    x = torch.from_numpy(samples(net, rows))
    if memory_format:
        m, x = m.to(memory_format=memory_format), x.movedim(-1, 1).contiguous(memory_format=memory_format)
    f = _maybe_compile(m)

    def call():
        with torch.inference_mode():
            return f(x)

    return call, 1


def save(net, path):
    torch.save(model(net).state_dict(), f"{path}.pt")


def load(net, path):
    m = model(net)
    m.load_state_dict(torch.load(f"{path}.pt", weights_only=True))
    return _serve(m, net, 1, _formats(net, False)[0])


def gan(batch):
    """One step: the judge on real and made samples, then the generator through the judge."""
    hidden, sample = GAN["hidden"], GAN["sample"]
    generator = nn.Sequential(nn.Linear(GAN["noise"], hidden), nn.ReLU(), nn.Linear(hidden, sample), nn.Sigmoid())
    judge = nn.Sequential(nn.Linear(sample, hidden), nn.ReLU(), nn.Linear(hidden, 1))
    of_judge, of_generator = (torch.optim.Adam(m.parameters(), 2e-4, fused=True) for m in (judge, generator))
    noise, real = (torch.from_numpy(a) for a in gan_data(batch))
    labels = torch.cat([torch.ones(batch, 1), torch.zeros(batch, 1)])
    loss_of = nn.BCEWithLogitsLoss()

    def loss_of_judge(noise, real):
        with torch.no_grad():
            made = generator(noise)
        return loss_of(judge(torch.cat([real, made])), labels)

    def loss_of_generator(noise):
        return loss_of(judge(generator(noise)), labels[:batch])

    first, second = _maybe_compile(loss_of_judge), _maybe_compile(loss_of_generator)

    def step():
        of_judge.zero_grad(set_to_none=True)
        first(noise, real).backward()
        of_judge.step()
        of_generator.zero_grad(set_to_none=True)
        judge.requires_grad_(False)
        second(noise).backward()
        judge.requires_grad_(True)
        of_generator.step()

    return step, 1
