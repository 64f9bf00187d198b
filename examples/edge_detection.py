"""Edge detection: convolution as a filter, with kernels written by hand, on a photograph.

    python examples/edge_detection.py [--image PHOTO] [--output edges.png]

A convolution layer learns the numbers of its kernels. Here they are the classical ones, once through `ops.conv` and
once as the weights of a Conv2D layer, which computes the same. Without --image the photograph is that of Grace Hopper
which comes with matplotlib (public domain, US Navy). Needs matplotlib and Pillow: pip install 'pydl[viz,image]'.
"""

import argparse
from pathlib import Path

import numpy as np

import pydl as keras

# What a kernel gives at a pixel: the sum of its numbers times the pixels under them, row by row.
KERNELS = {
    "blur (Gauss)": [[1 / 16, 2 / 16, 1 / 16], [2 / 16, 4 / 16, 2 / 16], [1 / 16, 2 / 16, 1 / 16]],
    "sharpen": [[0, -1, 0], [-1, 5, -1], [0, -1, 0]],
    "emboss": [[-2, -1, 0], [-1, 1, 1], [0, 1, 2]],
    "Sobel x": [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]],  # brighter to the right: vertical edges
    "Sobel y": [[-1, -2, -1], [0, 0, 0], [1, 2, 1]],  # brighter downwards: horizontal edges
    "Prewitt x": [[-1, 0, 1], [-1, 0, 1], [-1, 0, 1]],
    "Prewitt y": [[-1, -1, -1], [0, 0, 0], [1, 1, 1]],
    "Laplace": [[0, 1, 0], [1, -4, 1], [0, 1, 0]],  # second derivative: both sides of an edge
}


def stacked(kernels):
    """The kernels as the weight of a convolution from one channel: (3, 3, 1, how many)."""
    return np.stack([np.array(k, "float32") for k in kernels.values()], axis=-1)[:, :, None, :]


def filtered(image, kernels=KERNELS):
    """An image (h, w) under every kernel: name -> (h - 2, w - 2)."""
    result = keras.ops.conv(image[None, :, :, None], stacked(kernels), padding="valid").numpy()
    return {name: result[0, :, :, i] for i, name in enumerate(kernels)}


def filter_layer(kernels=KERNELS):
    """A model of one Conv2D layer whose filters are the kernels, for images (batch, h, w, 1) of any size."""
    model = keras.Sequential([keras.Input((None, None, 1)),
                              keras.layers.Conv2D(len(kernels), 3, use_bias=False, name="edges")])
    model.set_weights([stacked(kernels)])
    return model


def magnitude(x, y):
    """Length of the gradient: edges in any direction."""
    return np.sqrt(x**2 + y**2)


def photograph(path=None):
    """A photograph as grey values in [0, 1], (h, w)."""
    if path is None:
        import matplotlib

        path = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    grey = keras.utils.load_img(path, color_mode="grayscale")
    return keras.utils.img_to_array(grey)[:, :, 0] / 255


def draw(image, results, path):
    """All results beside the photograph; a kernel whose numbers add up to 0 gives differences, of which 0 is grey."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 6), layout="constrained")
    for cell, (name, values) in zip(figure.subplots(2, 5).flat, {"photograph": image, **results}.items()):
        low, high = 0, 1
        if name in KERNELS and np.sum(KERNELS[name]) == 0:
            high = np.percentile(np.abs(values), 99.5)
            low = -high
        cell.imshow(values, cmap="gray", vmin=low, vmax=high)
        cell.set_title(name)
        cell.axis("off")
    figure.savefig(path)


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Edge detection with hand-written convolution kernels.")
    parser.add_argument("--image", help="a photograph; one that comes with matplotlib by default")
    parser.add_argument("--output", default="edges.png", help="where the picture goes (default edges.png)")
    options = parser.parse_args(arguments)

    image = photograph(options.image)
    results = filtered(image)
    layer = filter_layer()
    by_layer = layer.predict(image[None, :, :, None], verbose=0)[0]
    apart = max(float(np.abs(by_layer[:, :, i] - values).max()) for i, values in enumerate(results.values()))
    print(f"{image.shape[0]} x {image.shape[1]} pixels, {len(results)} kernels; ops.conv and Conv2D differ by at most"
          f" {apart:.1e}")

    outputs = by_layer.size
    print(f"Conv2D needs {layer.count_params()} weights for {outputs:,} outputs; a dense layer would need"
          f" {outputs * image.size:,}: the same few weights look at every position.")

    results["Sobel magnitude"] = magnitude(results["Sobel x"], results["Sobel y"])
    draw(image, results, options.output)
    print(f"saved {options.output}")
    return results


if __name__ == "__main__":
    main()
