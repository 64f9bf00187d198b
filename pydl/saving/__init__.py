"""Saving and loading in Keras 3's own files: `.keras` (architecture + weights + optimizer) and `.weights.h5`.

A file is data: loading never runs anything from it. Files are written under a temporary name and renamed.
"""

from __future__ import annotations

import contextlib
import datetime
import io
import json
import os
import tempfile
import zipfile
import zlib
from pathlib import Path

from pydl.registry import (
    CustomObjectScope,
    custom_object_scope,
    deserialize_keras_object,
    get_custom_objects,
    get_registered_name,
    get_registered_object,
    register_keras_serializable,
    serialize_keras_object,
)
from pydl.saving.safetensors import load_safetensors, write_safetensors
from pydl.saving.state import load_state, save_state, walk

__all__ = ["CustomObjectScope", "custom_object_scope", "deserialize_keras_object", "get_custom_objects",
           "get_registered_name", "get_registered_object", "load_model", "load_weights",
           "register_keras_serializable", "save_model", "save_weights", "serialize_keras_object"]

_KERAS_VERSION = "3.15.1"  # whose file layout this is


def _h5py():
    try:
        import h5py
    except ImportError as error:
        raise ImportError("Saving and loading weights needs the package h5py: `pip install h5py`.") from error
    return h5py


@contextlib.contextmanager
def atomic_write(filepath):
    """Context: a temporary path beside `filepath` that replaces it when the block ends without an error."""
    path = Path(filepath)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"Cannot write {path}: the folder {path.parent} does not exist.")
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def _check_overwrite(filepath, overwrite: bool) -> None:
    if not overwrite and os.path.exists(filepath):
        raise FileExistsError(f"{filepath} exists; pass overwrite=True to replace it.")


def _weights_bytes(model) -> bytes:
    buffer = io.BytesIO()
    with _h5py().File(buffer, "w") as file:
        save_state(model, file)
    return buffer.getvalue()


def save_model(model, filepath, overwrite=True, zipped=None, include_optimizer=True) -> None:
    """Writes a model to a `.keras` file.

    Args:
        model: built or not; compiled state and optimizer slots are included.
        filepath: must end in ".keras".
        overwrite: replace an existing file; with False an existing file raises FileExistsError.
    """
    if not str(filepath).endswith(".keras"):
        raise ValueError(f"Invalid filepath extension for saving: expected a path that ends in `.keras`. Received:"
                         f" filepath={filepath}")
    _check_overwrite(filepath, overwrite)
    config = serialize_keras_object(model)
    if not include_optimizer:
        config.pop("compile_config", None)
    metadata = {"keras_version": _KERAS_VERSION,
                "date_saved": datetime.datetime.now().strftime("%Y-%m-%d@%H:%M:%S")}
    weights = _weights_bytes(model)
    with atomic_write(filepath) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        archive.writestr("metadata.json", json.dumps(metadata))
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", weights)


def load_model(filepath, custom_objects=None, compile=True, safe_mode=True):
    """The model of a `.keras` file, written by pydl or by Keras 3, or of a whole-model `.h5` file of Keras 2 or 3.

    Args:
        filepath: path of the file.
        custom_objects: dict name -> class or function for what is not registered.
        compile: restore optimizer, losses and metrics.
        safe_mode: accepted; code in a file is never run.

    Raises:
        FileNotFoundError, ValueError: when the file is missing, damaged, or names something unknown.
    """
    path = Path(filepath)
    if not path.exists():
        raise ValueError(f"File not found: filepath={filepath}. Please ensure the file is an accessible `.keras` zip"
                         " file.")
    if _h5py().is_hdf5(path):
        from pydl.saving.legacy import load_legacy_model  # imports h5py

        with _naming(filepath), _open_weights(path, filepath) as file:
            return load_legacy_model(file, custom_objects, compile)
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{filepath} is not a `.keras` file (a zip archive with config.json and model.weights.h5).")
    parts = _read_parts(path, ("config.json", "model.weights.h5"))
    try:
        config = json.loads(parts["config.json"])
    except ValueError as error:
        raise ValueError(f"{filepath} is damaged: config.json is not JSON: {error}") from error
    if not isinstance(config, dict) or "class_name" not in config:
        raise ValueError(f"{filepath} is damaged: config.json describes no model.")
    if not compile:
        config.pop("compile_config", None)
    with CustomObjectScope(custom_objects):
        model = deserialize_keras_object(config, custom_objects)
    with _open_weights(io.BytesIO(parts["model.weights.h5"]), f"{filepath}: model.weights.h5") as file:
        load_state(model, file)
    _load_assets(model, path)
    return model


def _load_assets(model, path) -> None:
    """Gives layers the files that Keras stores for them beside the weights, such as a learned vocabulary."""
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.startswith("assets/") and not name.endswith("/")]
        for place, item in walk(model) if names else ():
            own = [name for name in names if os.path.dirname(name) == f"assets/{place}"]
            if own and hasattr(item, "load_assets"):
                with tempfile.TemporaryDirectory() as folder:
                    for name in own:
                        Path(folder, os.path.basename(name)).write_bytes(archive.read(name))
                    item.load_assets(folder)


def _read_parts(path, names) -> dict[str, bytes]:
    """Contents of members of a zip archive. Raises ValueError when one is missing or damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            missing = set(names) - set(archive.namelist())
            if missing:
                raise ValueError(f"{path} is not a complete `.keras` file: it lacks {', '.join(sorted(missing))}.")
            return {name: archive.read(name) for name in names}
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def _open_weights(source, what):
    """An open HDF5 file. Raises ValueError when it is none."""
    try:
        return _h5py().File(source, "r")
    except OSError as error:
        raise ValueError(f"{what} is not an HDF5 file: {error}") from error


@contextlib.contextmanager
def _naming(filepath):
    """Context: errors of reading become ValueErrors with the path."""
    try:
        yield
    except (OSError, KeyError, RuntimeError, UnicodeDecodeError) as error:
        raise ValueError(f"{filepath} is damaged or incomplete: {error}") from error
    except ValueError as error:
        raise error if str(filepath) in str(error) else ValueError(f"{filepath}: {error}") from error


def save_weights(model, filepath, overwrite=True, max_shard_size=None) -> None:
    """Writes a model's weights to one `.weights.h5` or `.safetensors` file; `max_shard_size` must stay None."""
    if max_shard_size is not None:
        raise ValueError(f"save_weights writes one file; expected max_shard_size=None, received {max_shard_size!r}.")
    if not str(filepath).endswith((".weights.h5", ".safetensors")):
        raise ValueError("The filename must end in `.weights.h5` or `.safetensors`. Received:"
                         f" filepath={filepath}")
    _check_overwrite(filepath, overwrite)
    if str(filepath).endswith(".safetensors"):
        with atomic_write(filepath) as temporary:
            write_safetensors(model, temporary)
        return
    weights = _weights_bytes(model)
    with atomic_write(filepath) as temporary, open(temporary, "wb") as file:
        file.write(weights)


def load_weights(model, filepath, skip_mismatch=False, by_name=False, name_map=None) -> None:
    """Reads weights into a built model; all or, on an error, nothing.

    Args:
        filepath: `.weights.h5` or `.keras` of Keras 3, `.h5` of Keras 1 and 2 (weights or a whole model),
            `.safetensors`.
        skip_mismatch: warn about layers that do not fit instead of raising.
        by_name: match layers by name and leave others alone (`.h5` of Keras 1 and 2, `.safetensors`).
        name_map: names of a `.safetensors` file -> names in the model, see `load_safetensors`.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it is damaged or does not fit; the message has the path.
    """
    path = Path(filepath)
    if not path.exists():
        raise FileNotFoundError(f"No weights file at {filepath}.")
    with _naming(filepath):
        if path.suffix == ".safetensors":
            return load_safetensors(model, path, by_name=by_name, skip_mismatch=skip_mismatch, name_map=name_map)
        if name_map is not None:
            raise ValueError("`name_map` is for `.safetensors` files.")
        source: Path | io.BytesIO = path
        if zipfile.is_zipfile(path):
            source = io.BytesIO(_read_parts(path, ("model.weights.h5",))["model.weights.h5"])
        with _open_weights(source, filepath) as file:
            from pydl.saving.legacy import is_legacy, load_legacy_weights  # imports h5py

            if is_legacy(file):
                return load_legacy_weights(model, file, by_name=by_name, skip_mismatch=skip_mismatch)
            if by_name:
                raise ValueError("by_name=True is only supported by the legacy HDF5 format of Keras 2, and by"
                                 " `.safetensors` files.")
            load_state(model, file, skip_mismatch=skip_mismatch)
