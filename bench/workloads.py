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
        smoke: part of the short run in CI.
    """

    name: str
    kind: str
    args: dict = field(default_factory=dict)
    flops: float = 0.0
    aim: float = 1.0
    smoke: bool = False


def _matmul(m, n, k):
    return {"m": m, "n": n, "k": k}


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
    Workload("step MLP 2-16-1, b32", "train", {"net": "tiny", "batch": 32}, aim=45.0, smoke=True),
    Workload("step MLP 784-128-64-10, dropout, L2, b32", "train", {"net": "mlp", "batch": 32}, aim=4.0, smoke=True),
    Workload("step MLP 784-128-64-10, dropout, L2, b128", "train", {"net": "mlp", "batch": 128}, aim=3.0),
    Workload("step MLP 784-512-512-10, batch norm, b128", "train", {"net": "wide", "batch": 128}, aim=1.5),
    Workload("one-row prediction, MLP 784-128-64-10", "predict", {"net": "mlp"}, aim=5.0, smoke=True),
]

# The networks: hidden sizes, and what is around them. Each framework module builds them its own way.
NETS = {
    "tiny": {"features": 2, "hidden": (16,), "outputs": 1, "dropout": 0.0, "l2": 0.0, "batch_norm": False},
    "mlp": {"features": 784, "hidden": (128, 64), "outputs": 10, "dropout": 0.2, "l2": 1e-4, "batch_norm": False},
    "wide": {"features": 784, "hidden": (512, 512), "outputs": 10, "dropout": 0.0, "l2": 0.0, "batch_norm": True},
}

FRAMEWORKS = ("pydl", "torch", "torch_compiled", "jax", "keras", "sklearn", "numpy")


def data(net: str, rows: int):
    """(x, y) for a net: random features, and labels that depend on them."""
    import numpy as np

    shape = NETS[net]
    rng = np.random.default_rng(0)
    x = rng.random((rows, shape["features"]), np.float32)
    score = x @ rng.normal(size=(shape["features"], shape["outputs"])).astype(np.float32)
    if shape["outputs"] == 1:
        return x, (score > np.median(score)).astype(np.float32)
    return x, score.argmax(-1).astype(np.int64)
