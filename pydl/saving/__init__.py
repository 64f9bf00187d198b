"""Saving and loading in Keras 3's own files: `.keras` (architecture + weights + optimizer) and `.weights.h5`.

A file is data: loading never runs anything from it. Files are replaced whole (`pydl/atomic.py`).
"""

from __future__ import annotations

import contextlib
import datetime
import io
import json
import os
from pathlib import Path

from pydl import process
from pydl.atomic import atomic_write
from pydl.reading import budget, naming, parse_json
from pydl.registry import (
    CustomObjectScope,
    custom_object_scope,
    deserialize_keras_object,
    get_custom_objects,
    get_registered_name,
    get_registered_object,
    register_keras_serializable,
    replacements,
    serialize_keras_object,
)
from pydl.saving import hdf5
from pydl.saving.archive import SIGNATURES, is_archive, new_archive, open_archive
from pydl.saving.safetensors import load_safetensors, read_safetensors, write_safetensors
from pydl.saving.state import is_saveable, load_state, save_state, walk
from pydl.saving.structures import read_structure, write_structure
from pydl.warning import warn

__all__ = ["CustomObjectScope", "custom_object_scope", "deserialize_keras_object", "get_custom_objects",
           "get_registered_name", "get_registered_object", "load_model", "load_weights",
           "read_safetensors", "register_keras_serializable", "save_model", "save_weights", "serialize_keras_object"]

KERAS_VERSION = "3.15.1"  # whose file layout this is
_TRAINING = "training-state"  # the group of a backup; no attribute of a model, after which groups are named, has a "-"


def _check_overwrite(filepath, overwrite: bool) -> None:
    if not overwrite and os.path.exists(filepath):
        raise FileExistsError(f"{filepath} exists; pass overwrite=True to replace it.")


def _weights_bytes(model, training=None, skipped=()) -> bytes:
    """A `.weights.h5` file, without `skipped` objects in the model; `training`, a structure of plain values and arrays,
    lies in a group of its own."""
    buffer = io.BytesIO()
    with process.uncovered(), hdf5.h5py().File(buffer, "w") as file:
        save_state(model, file, skipped)
        if training is not None:
            write_structure(file.create_group(_TRAINING), training)
    return buffer.getvalue()


def save_model(model, filepath, overwrite=True, zipped=None, **kwargs) -> None:
    """Writes a model to a `.keras` file, or to an `.h5` file as Keras 2 wrote them, with a warning: `.keras` is what
    keeps everything.

    Args:
        model: built or not; compiled state and optimizer slots are included.
        filepath: must end in ".keras", ".h5" or ".hdf5".
        overwrite: replace an existing file; with False an existing file raises FileExistsError.
        zipped: None or True; `.keras` files are archives.
        include_optimizer: whether the arguments of `compile` and the optimizer's state are written, True by default.

    Raises:
        ValueError: for another ending or argument, and where a weight has no place in the file.
    """
    include_optimizer = kwargs.pop("include_optimizer", True)
    is_legacy = str(filepath).endswith((".h5", ".hdf5"))
    if not is_legacy and not str(filepath).endswith(".keras"):
        why = ("The `save_format` argument is deprecated" if kwargs.get("save_format") else
               "Invalid filepath extension for saving")
        raise ValueError(f"{why}: the ending says the format; expected a path that ends in `.keras`, or in `.h5`."
                         f" Received: filepath={filepath}")
    if kwargs.pop("save_format", None):
        warn("The `save_format` argument is deprecated and has no effect: the ending of the path says the format.")
    if kwargs:
        raise ValueError(f"The following argument(s) are not supported: {list(kwargs)}")
    if zipped is not None and not zipped:
        raise ValueError(f"Models are written to archives; expected zipped=None or True, received {zipped!r}.")
    _check_overwrite(filepath, overwrite)
    if is_legacy:
        from pydl.saving.legacy_write import write_legacy_model  # imports h5py

        warn("A whole model in an HDF5 file is the legacy format of Keras 2; save it as `.keras`, which keeps more.")
        content = write_legacy_model(model, include_optimizer)
        with atomic_write(filepath) as file:
            file.write(content)
        return
    config = serialize_keras_object(model)
    if not include_optimizer:
        config.pop("compile_config", None)
    metadata = {"keras_version": KERAS_VERSION,
                "date_saved": datetime.datetime.now().strftime("%Y-%m-%d@%H:%M:%S")}
    skipped = () if include_optimizer or getattr(model, "optimizer", None) is None else (model.optimizer,)
    weights, assets = _weights_bytes(model, skipped=skipped), _assets(model)
    with atomic_write(filepath) as file, new_archive(file) as archive:
        archive.writestr("metadata.json", json.dumps(metadata))
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", weights)
        for name, content in assets.items():
            archive.writestr(name, content)


def _assets(model) -> dict[str, bytes]:
    """The files that layers of the user's store beside the weights, by their names in the archive. (Vocabularies of
    the layers here are in their configs, where a term may hold a line break.)"""
    from tempfile import TemporaryDirectory

    found = {}
    for place, item in walk(model):
        if hasattr(item, "save_assets") and not type(item).save_assets.__module__.startswith("pydl."):
            with TemporaryDirectory() as folder:
                item.save_assets(folder)
                for path in sorted(p for p in Path(folder).rglob("*") if p.is_file()):
                    name = path.relative_to(folder).as_posix()
                    found["/".join(part for part in ("assets", place, name) if part)] = path.read_bytes()
    return found


def load_model(filepath, custom_objects=None, compile=True, safe_mode=True):
    """The model of a `.keras` file, written by pydl or by Keras 3, or of a whole-model `.h5` file of Keras 2 or 3.

    Args:
        filepath: path of the file.
        custom_objects: dict name -> class or function for what is not registered.
        compile: restore optimizer, losses and metrics.
        safe_mode: accepted; code in a file is never run.

    Raises:
        ValueError: when the file is missing, damaged, hostile, or names something unknown; the message has the path and
            the place in the file.
    """
    path = Path(filepath)
    if not path.exists():
        raise ValueError(f"File not found: filepath={filepath}. Please ensure the file is an accessible `.keras` zip"
                         " file.")
    first = _first_bytes(path)
    if first == hdf5.SIGNATURE:
        from pydl.saving.legacy import load_legacy_model  # imports h5py

        with naming(filepath), hdf5.open_hdf5(path, filepath) as file:
            hdf5.check_heaps(path)
            with budget(os.path.getsize(path)):
                return load_legacy_model(file, custom_objects, compile)
    if not first.startswith(SIGNATURES) or not is_archive(path):
        raise ValueError(f"{filepath} is not a `.keras` file (a zip archive with config.json and model.weights.h5), or"
                         f" it is truncated; it starts with {first!r}.")
    with naming(filepath), open_archive(path) as archive:
        weights = io.BytesIO(_member(archive, "model.weights.h5"))
        with replacements() as replaced:
            with budget(len(weights.getbuffer())):
                model = _model_of(_member(archive, "config.json"), custom_objects, compile)
        with hdf5.open_hdf5(weights, "model.weights.h5") as file, _under_former_names(replaced):
            load_state(model, file)
            _load_assets(model, archive)
    return model


@contextlib.contextmanager
def _under_former_names(replaced):
    """Context: layers of a class that took another's place are looked for where the file has that one's."""
    replaced = [(layer, name) for layer, name in replaced if hasattr(layer, "_name_in_files")]
    for layer, name in replaced:
        object.__setattr__(layer, "_name_in_files", name)
    try:
        yield
    finally:
        for layer, _ in replaced:
            object.__delattr__(layer, "_name_in_files")


def _first_bytes(path) -> bytes:
    """By which a format is told. (A name may be wrong, and the end of a zip archive, or the beginning of an HDF5 file,
    may lie inside of anything.)"""
    with open(path, "rb") as file:
        return file.read(8)


def _member(archive, name) -> bytes:
    if name not in archive.namelist():
        raise ValueError(f"it is not a complete `.keras` file: it lacks {name}.")
    return archive.read(name)


def _model_of(text, custom_objects, compile):
    """The model of a config.json, without its weights."""
    config = parse_json(text, "config.json")
    if not isinstance(config, dict) or "class_name" not in config:
        raise ValueError("config.json describes no model.")
    if not compile:
        config.pop("compile_config", None)
    with CustomObjectScope(custom_objects):
        model = deserialize_keras_object(config, custom_objects)
    if not is_saveable(model):
        raise ValueError(f"config.json describes no model, but {model!r}"[:200])
    return model


def _load_assets(model, archive) -> None:
    """Gives layers the files that Keras stores for them beside the weights, such as a learned vocabulary."""
    from tempfile import TemporaryDirectory

    names = [name for name in archive.namelist() if name.startswith("assets/") and not name.endswith("/")]
    for place, item in walk(model) if names else ():
        root = "/".join(part for part in ("assets", place) if part)
        own = [name for name in names if os.path.dirname(name) == root]
        if own and hasattr(item, "load_assets"):
            with TemporaryDirectory() as folder, naming(root):
                for name in own:
                    Path(folder, os.path.basename(name)).write_bytes(archive.read(name))
                item.load_assets(folder)


def save_weights(model, filepath, overwrite=True, max_shard_size=None, objects_to_skip=None) -> None:
    """Writes a model's weights to one `.weights.h5` or `.safetensors` file.

    Args:
        max_shard_size: must stay None.
        objects_to_skip: layers and the like whose weights are left out, with what only they hold.

    Raises:
        ValueError: for another ending, a model that has no weights yet, and where a weight has no place in the file.
    """
    if max_shard_size is not None:
        raise ValueError(f"save_weights writes one file; expected max_shard_size=None, received {max_shard_size!r}.")
    if not str(filepath).endswith((".weights.h5", ".safetensors")):
        raise ValueError("The filename must end in `.weights.h5` or `.safetensors`. Received:"
                         f" filepath={filepath}")
    if not model.built:
        raise ValueError(f'Model "{model.name}" is not built and has no weights to save. Call it on data first.')
    _check_overwrite(filepath, overwrite)
    if str(filepath).endswith(".safetensors"):
        with atomic_write(filepath) as file:
            write_safetensors(model, file, objects_to_skip or ())
        return
    weights = _weights_bytes(model, skipped=objects_to_skip or ())
    with atomic_write(filepath) as file:
        file.write(weights)


_FORMATS = "`.keras` and `.weights.h5` of pydl and Keras 3, `.h5` of Keras 1 and 2, `.safetensors`"
_ADVICE = {
    ".npz": " Arrays of a NumPy archive become weights by `model.set_weights([a[name] for name in a.files])`.",
    ".onnx": " ONNX files hold computations, not layers.",
    **dict.fromkeys((".pth", ".pt", ".bin", ".ckpt"), " PyTorch's own files hold pickled code; there,"
                    " `safetensors.torch.save_file(model.state_dict(), path)` writes what `name_map` reads."),
}


def _unsupported(filepath) -> ValueError:
    advice = _ADVICE.get(Path(filepath).suffix, "")
    return ValueError(f"File format not supported: filepath={filepath}. Weights are read from {_FORMATS}.{advice}")


def load_weights(model, filepath, skip_mismatch=False, by_name=False, name_map=None, objects_to_skip=None) -> None:
    """Reads weights into a built model; all or, on an error, nothing.

    Args:
        filepath: `.weights.h5` or `.keras` of Keras 3, `.h5` of Keras 1 and 2 (weights or a whole model),
            `.safetensors`.
        skip_mismatch: warn about layers that do not fit instead of raising.
        by_name: match layers by name and leave others alone (`.h5` of Keras 1 and 2, `.safetensors`); warns when no
            name matches.
        name_map: names of a `.safetensors` file -> names in the model, or how they become those; see
            `load_safetensors`.
        objects_to_skip: layers and the like that stay as they are (`.weights.h5`, `.keras`).

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it is of an unknown format, damaged or does not fit; the message has the path.
    """
    path = Path(filepath)
    if not path.exists():
        if path.suffix not in (".keras", ".h5", ".hdf5", ".safetensors"):
            raise _unsupported(filepath)
        raise FileNotFoundError(f"No weights file at {filepath}.")
    with naming(filepath):
        first = _first_bytes(path)
        source: Path | io.BytesIO = path
        if first.startswith(SIGNATURES):
            with open_archive(path) as archive:
                if path.suffix != ".keras" and "model.weights.h5" not in archive.namelist():
                    raise _unsupported(filepath)
                source = io.BytesIO(_member(archive, "model.weights.h5"))
        elif path.suffix == ".safetensors" and first != hdf5.SIGNATURE:
            if objects_to_skip:
                raise ValueError("`objects_to_skip` is for `.weights.h5` and `.keras` files; here, `name_map` may leave"
                                 " arrays out, with by_name=True.")
            return load_safetensors(model, path, by_name=by_name, skip_mismatch=skip_mismatch, name_map=name_map)
        elif first != hdf5.SIGNATURE and path.suffix not in (".keras", ".h5", ".hdf5"):
            raise _unsupported(filepath)
        if name_map is not None:
            raise ValueError("`name_map` is for `.safetensors` files.")
        with hdf5.open_hdf5(source, filepath) as file:
            from pydl.saving.legacy import is_legacy, load_legacy_weights  # imports h5py

            if is_legacy(file):
                if objects_to_skip:
                    raise ValueError("`objects_to_skip` is for `.weights.h5` and `.keras` files.")
                hdf5.check_heaps(source)
                return load_legacy_weights(model, file, by_name=by_name, skip_mismatch=skip_mismatch)
            if by_name:
                raise ValueError("by_name=True is only supported by the legacy HDF5 format of Keras 2, and by"
                                 " `.safetensors` files.")
            load_state(model, file, skip_mismatch=skip_mismatch, skipped=objects_to_skip or ())


def save_backup(model, filepath, training, previous=None) -> None:
    """Writes the weights of a model and where its training stands to one `.weights.h5` file.

    Args:
        training: structure of plain values and arrays, see `write_structure`.
        previous: path that the file which is there now gets, before the new one takes its place.
    """
    content = _weights_bytes(model, training)
    with atomic_write(filepath) as file:
        file.write(content)
        if previous is not None and os.path.exists(filepath):
            file.flush()
            os.fsync(file.fileno())  # before the file that is there leaves its place
            os.replace(filepath, previous)


def load_backup(model, filepath):
    """Reads the weights that `save_backup` wrote into a built model, all or nothing; returns its `training`.

    Raises:
        ValueError: for a file that is damaged or does not fit; the message has the path.
    """
    with naming(filepath), hdf5.open_hdf5(filepath, filepath) as file:
        group = hdf5.subgroup(file, _TRAINING)
        if group is None:
            raise ValueError("the file holds weights, but not where the training of them stands.")
        training = read_structure(group)
        load_state(model, file)
        return training
