"""PyTorch eager, as a user who cares for speed writes it: fused Adam, batches indexed from memory without a loader,
inference mode for prediction."""

from __future__ import annotations

import torch
from torch import nn

from bench.workloads import NETS, data

COMPILE = False
STEPS = 100  # per epoch of shuffled batches from arrays in memory


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


def model(net):
    shape = NETS[net]
    layers, features = [], shape["features"]
    for units in shape["hidden"]:
        layers.append(nn.Linear(features, units, bias=not shape["batch_norm"]))
        if shape["batch_norm"]:
            layers.append(nn.BatchNorm1d(units))
        layers.append(nn.ReLU())
        if shape["dropout"]:
            layers.append(nn.Dropout(shape["dropout"]))
        features = units
    return nn.Sequential(*layers, nn.Linear(features, shape["outputs"]))


def train(net, batch):
    shape = NETS[net]
    m = model(net)
    rows = STEPS * batch
    x, y = (torch.from_numpy(a) for a in data(net, rows))
    decayed = [p for p in m.parameters() if p.ndim == 2][:-1]
    optimizer = torch.optim.Adam(m.parameters(), fused=True)
    loss_of = nn.BCEWithLogitsLoss() if shape["outputs"] == 1 else nn.CrossEntropyLoss()

    def forward(x, y):
        loss = loss_of(m(x), y)
        if shape["l2"]:
            loss = loss + shape["l2"] * sum((w * w).sum() for w in decayed)
        return loss

    f = _maybe_compile(forward)

    def epoch():
        for rows_of_batch in torch.randperm(rows).split(batch):
            optimizer.zero_grad(set_to_none=True)
            f(x[rows_of_batch], y[rows_of_batch]).backward()
            optimizer.step()

    return epoch, STEPS


def predict(net):
    m = model(net).eval()
    x = torch.rand(1, NETS[net]["features"])
    f = _maybe_compile(m)

    def call():
        with torch.inference_mode():
            return f(x)

    return call, 1
