"""The networks as a Keras script writes them: one text for Keras and for pydl."""

from __future__ import annotations

import numpy as np

from bench.workloads import GAN, NETS, gan_data


def model(keras, net):
    """The compiled network of that name, made with the module `keras`."""
    shape = NETS[net]
    made = application(keras, shape) if "application" in shape else sequential(keras, shape)
    loss = "binary_crossentropy" if shape["outputs"] == 1 else "sparse_categorical_crossentropy"
    made.compile(optimizer="adam", loss=loss, metrics=["accuracy"])
    return made


def application(keras, shape):
    """A published network with random weights."""
    make = getattr(keras.applications, shape["application"])
    return make(weights=None, input_shape=shape["image"], classes=shape["outputs"])


def sequential(keras, shape):
    layers = (sequences if "steps" in shape else images if "image" in shape else dense)(keras, shape)
    if shape["outputs"]:
        activation = "sigmoid" if shape["outputs"] == 1 else "softmax"
        layers.append(keras.layers.Dense(shape["outputs"], activation=activation))
    return keras.Sequential(layers)


def images(keras, shape):
    """Layers in front of the output of a convolutional network."""
    layers = [keras.Input(shape["image"])]
    for kind, *args in shape["layers"]:
        if kind == "conv":
            layers.append(keras.layers.Conv2D(*args[:2], padding=args[2], activation="relu"))
        elif kind == "pool":
            layers.append(keras.layers.MaxPooling2D())
        else:
            flat = any(isinstance(layer, keras.layers.Dense) for layer in layers[1:])
            layers += ([] if flat else [keras.layers.Flatten()]) + [keras.layers.Dense(*args, activation="relu")]
    return layers


def dense(keras, shape):
    """Layers in front of the output of a dense network."""
    layers = [keras.Input((shape["features"],))]
    l2 = keras.regularizers.L2(shape["l2"]) if shape["l2"] else None
    for units in shape["hidden"]:
        if shape["batch_norm"]:
            layers += [keras.layers.Dense(units, use_bias=False), keras.layers.BatchNormalization(),
                       keras.layers.Activation("relu")]
        else:
            layers.append(keras.layers.Dense(units, activation="relu", kernel_regularizer=l2))
        if shape["dropout"]:
            layers.append(keras.layers.Dropout(shape["dropout"]))
    return layers


def sequences(keras, shape):
    """Layers in front of the output of a recurrent network: of texts, or of rows of numbers."""
    layer = getattr(keras.layers, shape["layer"])(shape["units"])
    layer = keras.layers.Bidirectional(layer) if shape["both_ways"] else layer
    if "features" in shape:
        return [keras.Input((shape["steps"], shape["features"])), layer]
    return [keras.Input((shape["steps"],), dtype="int32"),
            keras.layers.Embedding(shape["vocabulary"], shape["embedding"]), layer]


def gan(keras, batch):
    """A training step of a GAN as in the books: the judge alone, then frozen behind the generator."""
    hidden, sample = GAN["hidden"], GAN["sample"]
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    generator = keras.Sequential([keras.Input((GAN["noise"],)), keras.layers.Dense(hidden, activation="relu"),
                                  keras.layers.Dense(sample, activation="sigmoid")])
    judge = keras.Sequential([keras.Input((sample,)), keras.layers.Dense(hidden, activation="relu"),
                              keras.layers.Dense(1)])
    judge.compile(keras.optimizers.Adam(2e-4), loss)
    judge.trainable = False
    both = keras.Sequential([keras.Input((GAN["noise"],)), generator, judge])
    both.compile(keras.optimizers.Adam(2e-4), loss)
    noise, real = gan_data(batch)
    labels = np.repeat(np.float32([[1], [0]]), batch, 0)

    def step():
        made = generator.predict_on_batch(noise)
        judge.trainable = True
        judge.train_on_batch(np.concatenate([real, np.asarray(made)]), labels)
        judge.trainable = False
        both.train_on_batch(noise, labels[:batch])

    return step, 1
