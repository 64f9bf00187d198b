"""Logs for TensorBoard: scalars, histograms, images, the graph, embeddings."""

from __future__ import annotations

import io
import os
import time
import weakref

import numpy as np

from pydl import tree
from pydl.atomic import atomic_write
from pydl.callbacks.base import Callback
from pydl.dtypes import holds_floats
from pydl.layers import Embedding
from pydl.optimizers import Optimizer
from pydl.tensor import Tensor

__all__ = ["TensorBoard"]

_IMAGES = 3  # per weight, as many as TensorFlow's `image` writes


class TensorBoard(Callback):
    """Writes event files that TensorBoard shows: `tensorboard --logdir logs` (`pip install 'pydl[tensorboard]'`).

    Below `log_dir` there are the runs "train" and "validation". Tags and steps are those of Keras: "epoch_loss",
    "epoch_learning_rate", ... at the number of the epoch from 0; with a number as `update_freq` also "batch_loss", ...
    at the number of the batch since the start of `fit`, from 1; "evaluation_loss_vs_iterations", ... after each
    evaluation at the number of weight updates.

    Args:
        log_dir: folder of the logs, made when missing.
        histogram_freq: every so many epochs a histogram of each weight is written, "<path of the weight>/histogram";
            0 for never.
        write_graph: whether the layers and what connects them are written, for the Graphs page. (Keras writes the
            model's config instead.)
        write_images: whether, together with histograms, weights are drawn, "<path of the weight>/image", stretched to
            their range. A kernel (h, w, channels) gives one picture for each of its first 3 channels.
        write_steps_per_second: whether "steps_per_second" is written, by epoch and, with a number as `update_freq`, by
            batch.
        update_freq: "epoch"; or "batch" or a number n: also write logs of every n-th batch. This calls Python after
            every batch.
        profile_batch: 0; the steps of a recorded program are timed by its `profile` instead.
        embeddings_freq: every so many epochs the tables of Embedding layers are written for the Projector page, over
            the last ones; 0 for never.
        embeddings_metadata: path of the file with a label per row (relative to `log_dir`), or dict layer name -> path.

    Raises:
        ImportError: when tensorboard is not installed.
        ValueError: for arguments out of range.
    """

    _kept = ("_batch", "_graph_due")

    def __init__(self, log_dir="logs", histogram_freq=0, write_graph=True, write_images=False,
                 write_steps_per_second=False, update_freq="epoch", profile_batch=0, embeddings_freq=0,
                 embeddings_metadata=None):
        super().__init__()
        update_freq = 1 if update_freq == "batch" else update_freq
        if update_freq != "epoch" and (not isinstance(update_freq, int) or update_freq < 1):
            raise ValueError("TensorBoard: expected update_freq to be 'epoch', 'batch' or a number of batches;"
                             f" received {update_freq!r}.")
        for name, value in (("histogram_freq", histogram_freq), ("embeddings_freq", embeddings_freq)):
            if not isinstance(value, int) or value < 0:
                raise ValueError(f"TensorBoard: expected {name} to be a number of epochs, or 0; received {value!r}.")
        if profile_batch:
            raise ValueError(f"TensorBoard: profiling is not available; received profile_batch={profile_batch} (must be"
                             " 0). The steps of a recorded program are timed by its `profile` method.")
        _Library()
        self.log_dir = os.fspath(log_dir)
        self.histogram_freq = histogram_freq
        self.write_graph = write_graph
        self.write_images = write_images
        self.write_steps_per_second = write_steps_per_second
        self.update_freq = update_freq
        self.embeddings_freq = embeddings_freq
        self.embeddings_metadata = embeddings_metadata
        self.needs_every_batch = update_freq != "epoch"
        self._writers: dict = {}
        self._closers: list = []
        self._batch = 0

    # ---- when --------------------------------------------------------------------------------------------------

    def on_train_begin(self, logs=None):
        self._batch = 0
        self._graph_due = self.write_graph
        if self.embeddings_freq:
            self._check_metadata()

    def on_train_batch_begin(self, batch, logs=None):
        self._batch += 1
        self._batch_start = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        if self.update_freq == "epoch" or self._batch % self.update_freq:
            return
        values = {f"batch_{name}": value for name, value in (logs or {}).items()}
        if self.write_steps_per_second:
            values["batch_steps_per_second"] = 1 / max(time.perf_counter() - self._batch_start, 1e-9)
        self._scalars("train", values, self._batch)

    def on_test_end(self, logs=None):
        optimizer = getattr(self.model, "optimizer", None)
        if optimizer is not None:
            values = {f"evaluation_{name}_vs_iterations": value for name, value in (logs or {}).items()}
            self._scalars("validation", values, int(optimizer.iterations))
            self._writers["validation"].flush()

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch_start = time.perf_counter(), int(self.model.optimizer.iterations)

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        if self._graph_due:  # now, because a model may be built by its first batch
            self._graph_due = False
            self._write_graph()
        train = {name: value for name, value in logs.items() if not name.startswith("val_")}
        optimizer = self.model.optimizer
        if isinstance(optimizer, Optimizer):
            train["learning_rate"] = float(optimizer.learning_rate)
        if self.write_steps_per_second:
            start, iterations = self._epoch_start
            train["steps_per_second"] = (int(optimizer.iterations) - iterations) / (time.perf_counter() - start)
        self._scalars("train", {f"epoch_{name}": value for name, value in train.items()}, epoch)
        self._scalars("validation", {f"epoch_{name[4:]}": value for name, value in logs.items()
                                     if name.startswith("val_")}, epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            self._write_weights(epoch)
        if self.embeddings_freq and epoch % self.embeddings_freq == 0:
            self._write_embeddings()
        for writer in self._writers.values():
            writer.flush()

    def on_train_end(self, logs=None):
        for close in self._closers:
            close()
        self._writers, self._closers = {}, []

    # ---- what --------------------------------------------------------------------------------------------------

    def _write(self, run: str, step: int, **content) -> None:
        """Appends an event (summary=..., graph_def=...) to the file of a run."""
        tb = _Library()
        if run not in self._writers:
            self._writers[run] = writer = tb.EventFileWriter(os.path.join(self.log_dir, run))
            # A writer has a thread, which keeps it alive: after a `fit` that failed nobody else would close it.
            self._closers.append(weakref.finalize(self, writer.close))
        self._writers[run].add_event(tb.Event(wall_time=time.time(), step=step, **content))

    def _scalars(self, run: str, values: dict, step: int) -> None:
        for tag, value in values.items():
            if np.ndim(value) == 0:
                self._write(run, step, summary=_Library().scalar_pb(tag, value))

    def _write_weights(self, epoch: int) -> None:
        for layer in self.model.layers:
            for weight in layer.weights:
                tag, values = weight.path.replace(":", "_"), weight.numpy()
                self._write("train", epoch, summary=_Library().histogram_pb(f"{tag}/histogram", values))
                pictures = _pictures(values) if self.write_images else None
                if pictures is not None:
                    self._write("train", epoch, summary=_image(f"{tag}/image", pictures))

    def _write_graph(self) -> None:
        graph = getattr(self.model, "_graph", None)
        if graph is None:
            return
        tb = _Library()
        found = tb.GraphDef()
        for operation in graph.operations:
            node = found.node.add(name=operation.name, op=type(operation).__name__)
            sources = (t.node.operation.name for call in graph.nodes if call.operation is operation
                       for t in call.inputs if t.node is not None)
            node.input.extend(dict.fromkeys(sources))
            shapes = node.attr["_output_shapes"].list.shape
            for call in graph.nodes:
                if call.operation is operation:
                    for t in tree.flatten(call.outputs):
                        shape = shapes.add()
                        for size in t.shape:
                            shape.dim.add(size=-1 if size is None else size)
        self._write("train", 0, graph_def=found.SerializeToString())

    def _embeddings(self) -> list:
        return [layer for layer in self.model._flatten_layers() if isinstance(layer, Embedding)]

    def _check_metadata(self) -> None:
        names = [layer.name for layer in self._embeddings()]
        if isinstance(self.embeddings_metadata, dict) and not self.embeddings_metadata.keys() <= set(names):
            unknown = sorted(self.embeddings_metadata.keys() - set(names))
            raise ValueError(f"Unrecognized `Embedding` layer names passed to `embeddings_metadata`: {unknown}. The"
                             f" model's are {names}.")

    def _write_embeddings(self) -> None:
        """The tables as text, and the file that tells the Projector where they are."""
        blocks = []
        for layer in self._embeddings():
            table = f"{layer.name}.tsv"
            with atomic_write(os.path.join(self.log_dir, table), "w", encoding="latin1") as file:
                np.savetxt(file, layer.embeddings.numpy(), fmt="%.7g", delimiter="\t")
            metadata = self.embeddings_metadata
            label = metadata.get(layer.name) if isinstance(metadata, dict) else metadata
            labels = f'  metadata_path: "{label}"\n' if label else ""
            blocks.append(f'embeddings {{\n  tensor_name: "{layer.name}"\n  tensor_path: "{table}"\n{labels}}}\n')
        with atomic_write(os.path.join(self.log_dir, "projector_config.pbtxt"), "w", encoding="utf-8") as file:
            file.write("".join(blocks))


class _Library:
    """The parts of tensorboard that write its files; they need no TensorFlow."""

    def __init__(self):
        try:
            from tensorboard.compat.proto.event_pb2 import Event
            from tensorboard.compat.proto.graph_pb2 import GraphDef
            from tensorboard.plugins.histogram.summary_v2 import histogram_pb
            from tensorboard.plugins.scalar.summary_v2 import scalar_pb
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        except ImportError as error:
            raise ImportError("The TensorBoard callback needs tensorboard, which is not installed: pip install"
                              " 'pydl[tensorboard]'.") from error
        self.Event, self.GraphDef, self.EventFileWriter = Event, GraphDef, EventFileWriter
        self.histogram_pb, self.scalar_pb = histogram_pb, scalar_pb


def _pictures(weight) -> np.ndarray | None:
    """A weight as grey pictures (count, h, w) of uint8; None for one of another form."""
    values = np.squeeze(weight.numpy() if isinstance(weight, Tensor) else weight)
    if values.ndim == 1:  # a bias
        values = values[None, :, None]
    elif values.ndim == 2:  # a dense kernel, the long side across
        values = (values.T if values.shape[0] > values.shape[1] else values)[None]
    elif values.ndim == 3:
        values = np.moveaxis(values, -1, 0)
    if values.ndim != 3 or not holds_floats(values) or not np.isfinite(values).all():
        return None
    low, high = values.min(), values.max()
    return ((values[:_IMAGES] - low) * (255 / (high - low) if high > low else 0)).astype("uint8")


def _image(tag: str, pictures: np.ndarray):
    """The summary of grey pictures (count, h, w)."""
    from PIL import Image  # tensorboard depends on it
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.image import metadata
    from tensorboard.util.tensor_util import make_tensor_proto

    parts = [str(pictures.shape[2]).encode(), str(pictures.shape[1]).encode()]
    for picture in pictures:
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "PNG")
        parts.append(buffer.getvalue())
    summary = Summary()
    summary.value.add(tag=tag, tensor=make_tensor_proto(parts),
                      metadata=metadata.create_summary_metadata(display_name=None, description=None))
    return summary
