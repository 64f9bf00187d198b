"""The networks in JAX: parameters as plain lists, functions of them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from bench.workloads import NETS


def absent(net):
    """Whether the network is not written here: published ones, and recurrent ones of words."""
    return "application" in NETS[net] or "vocabulary" in NETS[net]


def conv2d(x, w, padding, strides=1):
    return jax.lax.conv_general_dilated(x, w, (strides, strides), padding.upper(),
                                        dimension_numbers=("NHWC", "HWIO", "NHWC"))


def max_pool(x):
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def init_images(net):
    shape, params, rng = NETS[net], [], np.random.default_rng(0)
    x = jnp.zeros((1, *shape["image"]))
    for kind, *args in [*shape["layers"], ("dense", shape["outputs"])]:
        if kind == "pool":
            params.append(())
            x = max_pool(x)
            continue
        if kind == "conv":
            size = (args[1], args[1], x.shape[-1], args[0])
        else:
            x = x.reshape(1, -1)
            size = (x.shape[-1], args[0])
        w = jnp.asarray(rng.normal(0, (2 / np.prod(size[:-1])) ** 0.5, size).astype(np.float32))
        params.append((w, jnp.zeros(size[-1])))
        x = conv2d(x, w, args[2]) if kind == "conv" else x @ w
    return params


def forward_images(net, params, x):
    for (kind, *args), p in zip(NETS[net]["layers"], params):
        if kind == "pool":
            x = max_pool(x)
        elif kind == "conv":
            x = jax.nn.relu(conv2d(x, p[0], args[2]) + p[1])
        else:
            x = jax.nn.relu(x.reshape(len(x), -1) @ p[0] + p[1])
    w, b = params[-1]
    return x @ w + b


def init_sequence(net):
    """Of an LSTM: kernel, recurrent kernel, bias; gates input, forget, candidate, output."""
    shape, rng = NETS[net], np.random.default_rng(0)
    units = shape["units"]
    return [jnp.asarray(rng.normal(0, (2 / (n + units)) ** 0.5, (n, 4 * units)).astype(np.float32))
            for n in (shape["features"], units)] + [jnp.zeros(4 * units)]


def forward_sequence(params, x):
    kernel, recurrent, bias = params

    def step(state, z):
        h, c = state
        i, f, candidate, o = jnp.split(z + h @ recurrent, 4, -1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(candidate)
        return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

    zeros = jnp.zeros((len(x), len(recurrent)))
    return jax.lax.scan(step, (zeros, zeros), jnp.swapaxes(x @ kernel + bias, 0, 1))[0][0]


def init(net):
    if "steps" in NETS[net]:
        return init_sequence(net)
    if "image" in NETS[net]:
        return init_images(net)
    shape, params, rng = NETS[net], [], np.random.default_rng(0)
    sizes = (shape["features"], *shape["hidden"], shape["outputs"])
    for a, b in zip(sizes, sizes[1:]):
        params.append((jnp.asarray(rng.normal(0, (2 / (a + b)) ** 0.5, (a, b)).astype(np.float32)), jnp.zeros(b)))
    return params


def forward(net, params, x, key, training):
    """Logits; of a network without an output layer, its last output."""
    shape = NETS[net]
    if "steps" in shape:
        return forward_sequence(params, x)
    if "image" in shape:
        return forward_images(net, params, x)
    for i, (w, b) in enumerate(params[:-1]):
        x = x @ w + b
        if shape["batch_norm"]:
            x = (x - x.mean(0)) * jax.lax.rsqrt(x.var(0) + 1e-3)
        x = jax.nn.relu(x)
        if shape["dropout"] and training:
            keep = 1 - shape["dropout"]
            x = jnp.where(jax.random.bernoulli(jax.random.fold_in(key, i), keep, x.shape), x / keep, 0.0)
    w, b = params[-1]
    return x @ w + b
