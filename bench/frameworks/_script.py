"""The networks as a Keras script writes them: one text for Keras and for pydl."""

from __future__ import annotations

from bench.workloads import NETS


def model(keras, net):
    """The compiled network of that name, made with the module `keras`."""
    shape = NETS[net]
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
    binary = shape["outputs"] == 1
    layers.append(keras.layers.Dense(shape["outputs"], activation="sigmoid" if binary else "softmax"))
    made = keras.Sequential(layers)
    made.compile(optimizer="adam", loss="binary_crossentropy" if binary else "sparse_categorical_crossentropy",
                metrics=["accuracy"])
    return made
