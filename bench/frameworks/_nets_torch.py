"""The networks in PyTorch, written by hand; images are channels first, as everywhere in PyTorch."""

from __future__ import annotations

import torch
from torch import nn

from bench.workloads import MOBILENETV2, NETS, RESNET50


def images(shape):
    size, _, channels = shape["image"]
    layers, features = [], 0
    for kind, *args in shape["layers"]:
        if kind == "conv":
            filters, taps, padding = args
            layers += [nn.Conv2d(channels, filters, taps, padding=padding), nn.ReLU()]
            channels, size = filters, size if padding == "same" else size - taps + 1
        elif kind == "pool":
            layers.append(nn.MaxPool2d(2))
            size //= 2
        else:
            if not features:
                layers.append(nn.Flatten())
                features = channels * size * size
            layers += [nn.Linear(features, args[0]), nn.ReLU()]
            features = args[0]
    return nn.Sequential(*layers, nn.Linear(features, shape["outputs"]))


class Sequences(nn.Module):
    """A recurrent network of NETS: of word numbers, or of rows of numbers."""

    def __init__(self, shape):
        super().__init__()
        kind = {"SimpleRNN": nn.RNN}.get(shape["layer"]) or getattr(nn, shape["layer"])
        words = "vocabulary" in shape
        self.embedding = nn.Embedding(shape["vocabulary"], shape["embedding"]) if words else nn.Identity()
        self.layer = kind(shape["embedding"] if words else shape["features"], shape["units"], batch_first=True,
                          bidirectional=shape["both_ways"])
        width = shape["units"] * (1 + shape["both_ways"])
        self.output = nn.Linear(width, shape["outputs"]) if shape["outputs"] else nn.Identity()

    def forward(self, x):
        _, last = self.layer(self.embedding(x))
        h = last[0] if isinstance(last, tuple) else last
        return self.output(torch.cat([*h], -1))


def normalized(channels, filters, size, stride=1, groups=1, bias=False, epsilon=1e-3):
    """A convolution that pads evenly, and its batch normalisation."""
    return [nn.Conv2d(channels, filters, size, stride, size // 2, groups=groups, bias=bias),
            nn.BatchNorm2d(filters, epsilon)]


class Residual(nn.Module):
    """relu(shortcut + convolutions 1x1, 3x3, 1x1); modules in the order in which Keras counts weights."""

    def __init__(self, channels, filters, stride, widen):
        super().__init__()
        settings = {"bias": True, "epsilon": 1.001e-5}
        self.body = nn.Sequential(*normalized(channels, filters, 1, stride, **settings), nn.ReLU(True),
                                  *normalized(filters, filters, 3, **settings), nn.ReLU(True))
        shortcut = normalized(channels, 4 * filters, 1, stride, **settings) if widen else [nn.Identity()] * 2
        last = normalized(filters, 4 * filters, 1, **settings)
        self.shortcut, self.last, self.shortcut_norm, self.last_norm = shortcut[0], last[0], shortcut[1], last[1]

    def forward(self, x):
        shortcut = self.shortcut_norm(self.shortcut(x))
        return torch.relu_(self.last_norm(self.last(self.body(x))).add_(shortcut))


def resnet50(outputs):
    layers = [*normalized(3, 64, 7, 2, bias=True, epsilon=1.001e-5), nn.ReLU(True), nn.MaxPool2d(3, 2, 1)]
    channels = 64
    for filters, stride, blocks in RESNET50:
        for i in range(blocks):
            layers.append(Residual(channels, filters, stride if i == 0 else 1, i == 0))
            channels = 4 * filters
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, outputs))


class Inverted(nn.Module):
    """Expand (not in the first block of all), filter 3x3 in each channel, project; plus the input where shapes allow.

    Keras pads at the end where strides are 2, which would cost a copy here; padding evenly is the same on mirrored
    images.
    """

    def __init__(self, channels, filters, stride, expand):
        super().__init__()
        wide = 6 * channels if expand else channels
        self.body = nn.Sequential(
            *([*normalized(channels, wide, 1), nn.ReLU6(True)] if expand else []),
            *normalized(wide, wide, 3, stride, groups=wide), nn.ReLU6(True), *normalized(wide, filters, 1))
        self.add = stride == 1 and channels == filters

    def forward(self, x):
        return x + self.body(x) if self.add else self.body(x)


def mobilenetv2(outputs):
    layers, channels = [*normalized(3, 32, 3, 2), nn.ReLU6(True)], 32
    for stage, (filters, strides) in enumerate(MOBILENETV2):
        for stride in strides:
            layers.append(Inverted(channels, filters, stride, stage > 0))
            channels = filters
    return nn.Sequential(*layers, *normalized(channels, 1280, 1), nn.ReLU6(True), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(1280, outputs))


def dense(shape):
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


def model(net):
    """The network of that name; it gives logits."""
    shape = NETS[net]
    if "application" in shape:
        return {"ResNet50": resnet50, "MobileNetV2": mobilenetv2}[shape["application"]](shape["outputs"])
    return (Sequences if "steps" in shape else images if "image" in shape else dense)(shape)
