"""What is measured: one row each, with the aim (ratio = peer's time / ours) over PyTorch eager."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Workload:
    """One row of the table.

    Args:
        name: as printed, and what `--only` matches.
        kind: which setup function of a framework module makes it.
        args: for that function.
        flops: floating-point operations of one unit, to print GFLOP/s; 0 when time is what matters.
        aim: ratio to reach over PyTorch eager.
        smoke: part of the short run in CI; a dict: with these arguments in place of its own.
    """

    name: str
    kind: str
    args: dict = field(default_factory=dict)
    flops: float = 0.0
    aim: float = 1.0
    smoke: bool | dict = False


def _matmul(m, n, k):
    return {"m": m, "n": n, "k": k}


def _conv(shape, filters, size, padding="same", strides=1, direction="both"):
    """direction: "forward"; "weights", backwards without the gradient of the input, as in a first layer; "both"."""
    return {"shape": shape, "filters": filters, "size": size, "padding": padding, "strides": strides,
            "direction": direction}


def _conv_flops(a):
    batch, height, width, channels = a["shape"]
    cut = a["size"] - 1 if a["padding"] == "valid" else 0
    outputs = -(-(height - cut) // a["strides"]) * -(-(width - cut) // a["strides"])
    passes = {"forward": 1, "weights": 2, "both": 3}[a["direction"]]
    return 2.0 * passes * batch * outputs * a["size"] ** 2 * channels * a["filters"]


def _conv_rows(title, aims, smoke=False, first=False, **args):
    """Two rows: forward, forward + backward."""
    directions = (("fwd", "forward"), ("fwd+bwd", "weights" if first else "both"))
    for (word, direction), aim in zip(directions, aims):
        a = _conv(**args, direction=direction)
        yield Workload(f"conv {title} {word}", "conv", a, _conv_flops(a), aim, smoke)


def _large_rows(title, net):
    """Three rows: forward with 1 and 8 images, a training step with 8; the short run takes few small images."""
    small = {"net": f"small {net}"}
    for rows, word in ((1, "image"), (8, "images")):
        args = {"net": net, "rows": rows}
        yield Workload(f"forward {title}, {rows} {word}", "predict", args, smoke=rows == 1 and small)
    yield Workload(f"step {title}, b8", "train", {"net": net, "batch": 8}, smoke=small | {"batch": 2})


ONE_ROW = "one-row prediction, MLP 784-128-64-10"

WORKLOADS = [
    *[Workload(f"sgemm {s}x{s}x{s}", "matmul", _matmul(s, s, s), 2.0 * s**3, 1.0, s == 256)
      for s in (256, 512, 1024, 2048)],
    *[Workload(f"sgemm {m} rows, {k}x{n}", "matmul", _matmul(m, n, k), 2.0 * m * n * k, 1.0, m == 32 and k == 128)
      for k, n in ((128, 128), (512, 512), (784, 128)) for m in (32, 64, 128)],
    *[Workload(f"{f} 1M", "unary", {"function": f, "n": 1 << 20}, aim=1.0, smoke=f == "relu")
      for f in ("relu", "tanh", "sigmoid")],
    Workload("softmax 1024x1024", "unary", {"function": "softmax", "n": 1 << 20}),
    Workload("dropout 1M", "dropout", {"n": 1 << 20, "rate": 0.5}, aim=20.0),
    Workload("batch norm fwd+bwd 64x28x28x32", "batch_norm", {"shape": (64, 28, 28, 32)}, aim=2.0),
    *_conv_rows("5x5, 64x28x28x1 -> 6", (2.0, 3.0), True, first=True, shape=(64, 28, 28, 1), filters=6, size=5),
    *_conv_rows("5x5, 64x14x14x6 -> 16", (1.2, 2.5), shape=(64, 14, 14, 6), filters=16, size=5, padding="valid"),
    *_conv_rows("3x3, 32x32x32x3 -> 32", (1.5, 2.0), first=True, shape=(32, 32, 32, 3), filters=32, size=3),
    *_conv_rows("3x3, 16x56x56x64 -> 64", (1.5, 1.5), shape=(16, 56, 56, 64), filters=64, size=3),
    *_conv_rows("3x3, 16x28x28x128 -> 128", (1.5, 1.5), shape=(16, 28, 28, 128), filters=128, size=3),
    *_conv_rows("3x3, 8x14x14x256 -> 256", (1.5, 1.5), shape=(8, 14, 14, 256), filters=256, size=3),
    *_conv_rows("3x3 stride 2, 16x56x56x64 -> 128", (1.0, 1.0), shape=(16, 56, 56, 64), filters=128, size=3,
                strides=2),
    *_conv_rows("1x1, 16x28x28x128 -> 256", (1.0, 1.0), shape=(16, 28, 28, 128), filters=256, size=1),
    Workload("max pool fwd+bwd 64x28x28x32", "pool", {"mode": "max", "shape": (64, 28, 28, 32)}, aim=2.0, smoke=True),
    Workload("average pool fwd+bwd 64x28x28x32", "pool", {"mode": "average", "shape": (64, 28, 28, 32)}, aim=2.0),
    *[Workload(f"{'Bi' * both}{layer} {batch},{steps},{features},{units} fwd+bwd", "recurrent",
               {"layer": layer, "shape": (batch, steps, features), "units": units, "both_ways": both}, aim=aim)
      for layer, both, batch, steps, features, units, aim in (
          ("LSTM", False, 32, 50, 32, 64, 2.0), ("LSTM", False, 64, 100, 128, 128, 1.6),
          ("LSTM", False, 128, 100, 128, 256, 1.5), ("GRU", False, 32, 50, 32, 64, 5.0),
          ("GRU", False, 64, 100, 128, 128, 2.2), ("GRU", False, 128, 100, 128, 256, 1.6),
          ("SimpleRNN", False, 32, 100, 32, 64, 4.0), ("SimpleRNN", False, 64, 100, 128, 128, 2.0),
          ("LSTM", True, 32, 100, 32, 64, 2.0), ("LSTM", True, 64, 100, 128, 128, 1.6))],
    Workload("step MLP 2-16-1, b32", "train", {"net": "tiny", "batch": 32}, aim=45.0, smoke=True),
    Workload("step MLP 784-128-64-10, dropout, L2, b32", "train", {"net": "mlp", "batch": 32}, aim=4.0, smoke=True),
    Workload("step MLP 784-128-64-10, dropout, L2, b128", "train", {"net": "mlp", "batch": 128}, aim=3.0),
    Workload("step MLP 784-512-512-10, batch norm, b128", "train", {"net": "wide", "batch": 128}, aim=1.5),
    Workload(ONE_ROW, "predict", {"net": "mlp"}, aim=5.0, smoke=True),
    Workload("128-row prediction, MLP 784-128-64-10", "predict", {"net": "mlp", "rows": 128}),
    Workload("step LeNet-5, b64", "train", {"net": "lenet", "batch": 64}, aim=3.5, smoke=True),
    Workload("step LeNet-5, b128", "train", {"net": "lenet", "batch": 128}, aim=3.5),
    Workload("step small VGG 32x32x3, b32", "train", {"net": "vgg", "batch": 32}, aim=1.5),
    Workload("one-image prediction, LeNet-5", "predict", {"net": "lenet"}, aim=5.0, smoke=True),
    Workload("128-image prediction, LeNet-5", "predict", {"net": "lenet", "rows": 128}),
    *[Workload(f"step text classifier, {layer}, b32", "train", {"net": f"text {layer}", "batch": 32}, aim=aim,
               smoke=layer == "GRU")
      for layer, aim in (("SimpleRNN", 4.0), ("LSTM", 2.5), ("GRU", 6.0), ("BiLSTM", 2.5))],
    Workload("step GAN 16-64-64, judge 64-64-1, b32", "gan", {"batch": 32}, aim=4.0, smoke=True),
    *[Workload(f"step {title}, b64", "seq2seq", {"kind": kind, "batch": 64}, aim=aim, smoke=kind == "luong")
      for title, kind, aim in (("LSTM encoder-decoder", "lstm", 2.0), ("GRU + Bahdanau", "bahdanau", 4.0),
                               ("GRU + Luong dot", "luong", 3.0), ("Transformer 2 + 2", "transformer", 2.0))],
    *[Workload(f"greedy decoding, {title}, b{batch}, per word", "decode", {"kind": kind, "batch": batch}, aim=aim)
      for title, kind in (("GRU + Bahdanau", "bahdanau"), ("GRU + Luong dot", "luong"), ("Transformer", "transformer"))
      for batch, aim in ((1, 5.0), (64, 3.0))],
    Workload("one-text prediction, LSTM classifier", "predict", {"net": "text LSTM"}, aim=2.0, smoke=True),
    *[Workload(f"{word}-row prediction, LSTM 50 steps, 32 -> 64", "predict", {"net": "lstm", "rows": rows},
               smoke=rows == 1) for word, rows in (("one", 1), ("128", 128))],
    *_large_rows("ResNet-50", "resnet50"), *_large_rows("MobileNetV2", "mobilenetv2"),
]

# The networks: hidden sizes, and what is around them. Each framework module builds them its own way.
NETS = {
    "tiny": {"features": 2, "hidden": (16,), "outputs": 1, "dropout": 0.0, "l2": 0.0, "batch_norm": False},
    "mlp": {"features": 784, "hidden": (128, 64), "outputs": 10, "dropout": 0.2, "l2": 1e-4, "batch_norm": False},
    # Convolutions with relu (filters, size, padding), 2x2 max pools, dense layers with relu.
    "lenet": {"image": (28, 28, 1), "outputs": 10,
              "layers": [("conv", 6, 5, "same"), ("pool",), ("conv", 16, 5, "valid"), ("pool",), ("dense", 120),
                         ("dense", 84)]},
    "vgg": {"image": (32, 32, 3), "outputs": 10,
            "layers": [*[("conv", 32, 3, "same")] * 2, ("pool",), *[("conv", 64, 3, "same")] * 2, ("pool",),
                       *[("conv", 128, 3, "same")] * 2, ("pool",), ("dense", 128)]},
    "wide": {"features": 784, "hidden": (512, 512), "outputs": 10, "dropout": 0.0, "l2": 0.0, "batch_norm": True},
    # Texts of one class out of two: word numbers, an embedding, the last output of a recurrent layer (forwards, or both
    # ways), a dense output.
    **{f"text {layer}": {"vocabulary": 10000, "steps": 100, "embedding": 64, "layer": layer.removeprefix("Bi"),
                         "both_ways": layer.startswith("Bi"), "units": 64, "outputs": 1}
       for layer in ("SimpleRNN", "LSTM", "GRU", "BiLSTM")},
    # The last output of a recurrent layer, and nothing behind it.
    "lstm": {"steps": 50, "features": 32, "layer": "LSTM", "both_ways": False, "units": 64, "outputs": 0},
    # Published networks; the small ones, of small images, are for short runs and tests.
    **{prefix + name.lower(): {"image": image, "outputs": outputs, "application": name}
       for name in ("ResNet50", "MobileNetV2")
       for prefix, image, outputs in (("", (224, 224, 3), 1000), ("small ", (64, 64, 3), 10))},
}

# Of the stages of ResNet-50 (filters, strides of the first block, blocks), and of MobileNetV2 (filters, strides of each
# block), as published. The latter's convolutions are 3x3 in each channel between two 1x1, its first stage does not
# expand six-fold.
RESNET50 = ((64, 1, 3), (128, 2, 4), (256, 2, 6), (512, 2, 3))
MOBILENETV2 = ((16, (1,)), (24, (2, 1)), (32, (2, 1, 1)), (64, (2, 1, 1, 1)), (96, (1, 1, 1)), (160, (2, 1, 1)),
               (320, (1,)))

# Steps of an epoch where it is not the framework's own number.
STEPS = {"tiny": 4000, "vgg": 8, "lenet": 40} | {net: 1 for net, shape in NETS.items() if "application" in shape}


def sample_shape(net: str) -> tuple:
    """Shape of one input of a net."""
    shape = NETS[net]
    if "steps" in shape:
        return (shape["steps"], shape["features"]) if "features" in shape else (shape["steps"],)
    return shape.get("image") or (shape["features"],)


def samples(net: str, rows: int, channels_first: bool = False):
    """Random inputs of a net: numbers in [0, 1), or word numbers that are the rarer the larger they are."""
    import numpy as np

    rng = np.random.default_rng(0)
    if "vocabulary" in NETS[net]:
        size = NETS[net]["vocabulary"]
        frequency = 1 / np.arange(1, size + 1)
        return rng.choice(size, (rows, *sample_shape(net)), p=frequency / frequency.sum()).astype(np.int32)
    x = rng.random((rows, *sample_shape(net)), np.float32)
    return np.ascontiguousarray(np.moveaxis(x, -1, 1)) if channels_first and "image" in NETS[net] else x


# Encoder-decoders: places of the source, steps of the target, tokens on both sides, width of embeddings, units; what
# ends a text. The Transformer has 2 + 2 layers of that width (`width`), heads, and a network of `inner` units.
SEQ2SEQ = {"places": 20, "steps": 22, "vocabulary": 64, "embedding": 64, "units": 128, "end": 2,
           "width": 128, "heads": 4, "inner": 512}


def pairs(rows: int):
    """(source, target in, target out) of random tokens, none of them padding or the end."""
    import numpy as np

    rng = np.random.default_rng(0)
    source = rng.integers(3, SEQ2SEQ["vocabulary"], (rows, SEQ2SEQ["places"]))
    target = rng.integers(3, SEQ2SEQ["vocabulary"], (rows, SEQ2SEQ["steps"]))
    return source, np.concatenate([np.ones((rows, 1), target.dtype), target[:, :-1]], 1), target


# A generative adversarial network (Goodfellow et al. 2014): the judge learns from as many real samples as made ones,
# then the generator through the frozen judge. Widths of the noise, of the hidden layers (one each) and of a sample.
GAN = {"noise": 16, "hidden": 64, "sample": 64}


def gan_data(batch: int):
    """(noise, real samples) for one step."""
    import numpy as np

    rng = np.random.default_rng(0)
    return rng.normal(size=(batch, GAN["noise"])).astype(np.float32), rng.random((batch, GAN["sample"]), np.float32)


FRAMEWORKS = ("pydl", "base", "torch", "torch_compiled", "jax", "keras", "onnxruntime", "openvino", "sklearn", "numpy")


def data(net: str, rows: int):
    """(x, y) for a net: random features, and labels that depend on them."""
    import numpy as np

    shape, x = NETS[net], samples(net, rows)
    if "application" in shape:  # the weights of a dependence on every pixel would take a gigabyte
        return x, np.random.default_rng(1).integers(shape["outputs"], size=rows)
    flat = x.reshape(rows, -1).astype(np.float32)
    score = flat @ np.random.default_rng(1).normal(size=(flat.shape[1], shape["outputs"])).astype(np.float32)
    if shape["outputs"] == 1:
        return x, (score > np.median(score)).astype(np.float32)
    return x, score.argmax(-1).astype(np.int64)
