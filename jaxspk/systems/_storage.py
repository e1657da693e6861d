"""Model directories: ``config.json``, ``model.safetensors`` and ``MODEL_CARD.md``.

Loading executes nothing: JSON and safetensors hold only data. The configuration carries the size and the sha-256
of the weights, so that a damaged, truncated or foreign directory is refused with a reason.
"""

import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxspk import training
from jaxspk.errors import ArgumentError, ModelError

_Config = TypeVar("_Config")
_Model = TypeVar("_Model", bound=nnx.Module)

FORMAT = "jaxspk-model"
FORMAT_VERSION = 1

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "MODEL_CARD.md"

# Far above any model of ours; a damaged length field must not make us allocate the machine away.
_LARGEST_CONFIG = 1 << 20


@dataclasses.dataclass(frozen=True)
class StoredModel:
    """A model directory, read and verified.

    Attributes:
      folder: where it was read from.
      system: the system that the model belongs to, for instance ``"deep_clustering"``.
      config: the system's configuration as plain JSON values.
      weights: arrays by dotted name, as stored (half precision where the file is).
    """

    folder: Path
    system: str
    config: Mapping[str, Any]
    weights: Mapping[str, np.ndarray]

    @property
    def num_parameters(self) -> int:
        """Number of stored values."""
        return sum(array.size for array in self.weights.values())


def save_model(
    folder: str | Path,
    *,
    system: str,
    config: Mapping[str, Any],
    weights: Mapping[str, np.ndarray],
    card: str,
) -> Path:
    """Writes a model directory beside its place and renames it there; an older one is replaced whole.

    Args:
      folder: the directory to make or replace. An existing directory that holds no model is refused.
      system: the system's name.
      config: plain JSON values.
      weights: arrays by name; the dtype is kept, so cast to float16 first for a small file.
      card: the text of ``MODEL_CARD.md``.

    Returns:
      The folder.

    Raises:
      ModelError: ``folder`` exists and is no model directory, or cannot be written.
    """
    from safetensors.numpy import save

    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()) and not (folder / CONFIG_FILE).is_file():
        raise ModelError(f"{folder}: exists and is no model directory; give a new folder.")
    data = save({name: np.ascontiguousarray(array) for name, array in weights.items()})
    described = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "system": system,
        "config": dict(config),
        "weights": {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()},
    }
    described["checksum"] = _checksum(described)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            (beside / WEIGHTS_FILE).write_bytes(data)
            (beside / CARD_FILE).write_text(card, encoding="utf-8")
            (beside / CONFIG_FILE).write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
            beside.chmod(0o755)
            _swap(beside, folder)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    except OSError as error:
        raise ModelError(f"{folder}: cannot be written ({error.strerror}).") from error
    return folder


def load_model(folder: str | Path, *, system: str | None = None) -> StoredModel:
    """Reads a model directory and verifies its weights against the hash in its configuration.

    Args:
      folder: a directory written by :func:`save_model`.
      system: refuse a model of another system.

    Raises:
      ModelError: the directory is missing, damaged, truncated, of a newer format, or of another system.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such model directory.")
    described = _read_config(folder / CONFIG_FILE)
    found = described["system"]
    if system is not None and found != system:
        raise ModelError(f"{folder}: is a model for {found!r}, expected one for {system!r}.")
    return StoredModel(folder, found, described["config"], _read_weights(folder, described["weights"]))


def model_weights(model: nnx.Module, *, dtype: np.dtype | type | None = None) -> dict[str, np.ndarray]:
    """All variables of a module as arrays by dotted path, floating ones cast to ``dtype``."""
    arrays = {}
    for path, variable in nnx.to_flat_state(_persistent_state(model)):
        array = np.asarray(variable[...])
        cast = dtype is not None and np.issubdtype(array.dtype, np.floating)
        arrays[".".join(map(str, path))] = array.astype(dtype) if cast else array
    return arrays


def restore_weights(model: nnx.Module, stored: StoredModel) -> None:
    """Puts stored weights into a module of the same structure, in place, in the module's own dtypes.

    The module may be a shape alone, as ``nnx.eval_shape`` makes it.

    Raises:
      ModelError: a name is missing or superfluous, or a shape differs.
    """
    state = _persistent_state(model)
    flat = {".".join(map(str, path)): variable for path, variable in nnx.to_flat_state(state)}
    missing, foreign = (
        sorted(flat.keys() - stored.weights.keys()),
        sorted(stored.weights.keys() - flat.keys()),
    )
    if missing or foreign:
        name, trouble = (missing[0], "lacks") if missing else (foreign[0], "holds an unknown")
        raise ModelError(f"{stored.folder / WEIGHTS_FILE}: {trouble} {name!r}; it does not fit its {CONFIG_FILE}.")
    for name, variable in flat.items():
        array, expected = stored.weights[name], variable.get_value()
        if array.shape != expected.shape:
            raise ModelError(
                f"{stored.folder / WEIGHTS_FILE}: {name!r} has shape {array.shape}, "
                f"its {CONFIG_FILE} asks for {expected.shape}."
            )
        variable.set_value(jnp.asarray(array, expected.dtype))
    nnx.update(model, state)


def save_with_config(
    folder: str | Path,
    system: str,
    config: Any,
    model: nnx.Module,
    *,
    card: str,
    dtype: type[np.floating[Any]] = np.float32,
) -> Path:
    """Writes a module and the dataclass it was built from; ``dtype=np.float16`` halves it (the card should say so)."""
    weights = model_weights(model, dtype=dtype)
    return save_model(folder, system=system, config=training.config_to_dict(config), weights=weights, card=card)


def load_with_config(
    folder: str | Path, system: str, kind: type[_Config], build: Callable[[_Config], _Model]
) -> tuple[_Config, _Model]:
    """What :func:`save_with_config` wrote: the configuration, and the module that ``build`` makes of it.

    Args:
      folder: a model directory.
      system: whose it must be.
      kind: the dataclass of the configuration.
      build: makes a module of the right structure; its own weights are never computed.
    """
    stored = load_model(folder, system=system)
    try:
        config = training.config_from_dict(kind, stored.config, where=str(stored.folder / CONFIG_FILE))
        model: _Model = nnx.eval_shape(lambda: build(config))
    except ArgumentError as error:
        message = str(error).removeprefix(f"{stored.folder / CONFIG_FILE}: ")
        raise ModelError(f"{stored.folder / CONFIG_FILE}: describes no model of ours: {message}") from None
    except (ArithmeticError, MemoryError, TypeError, ValueError) as error:
        # Sizes beyond reason, which libraries refuse in words of their own.
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelError(f"{stored.folder / CONFIG_FILE}: describes no model that can be built: {reason}") from error
    restore_weights(model, stored)
    return config, model


def _persistent_state(model: nnx.Module) -> nnx.State[Any, Any]:
    """Everything but random streams: what makes the model the model."""
    return nnx.state(model, nnx.Not(nnx.RngState))


def _read_config(path: Path) -> dict[str, Any]:
    try:
        size = path.stat().st_size
        text = path.read_bytes() if size <= _LARGEST_CONFIG else None
    except FileNotFoundError:
        raise ModelError(f"{path.parent}: holds no {CONFIG_FILE}, so it is no model directory.") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}).") from None
    if text is None:
        raise ModelError(f"{path}: is {size} bytes; no configuration of ours is.")
    try:
        described = json.loads(text.decode())
    except (ValueError, RecursionError):
        raise ModelError(f"{path}: is not valid JSON; the file is damaged.") from None
    if not isinstance(described, dict) or described.get("format") != FORMAT:
        raise ModelError(f'{path}: lacks "format": "{FORMAT}"; it was not written by jaxspk.')
    version = described.get("format_version")
    if version != FORMAT_VERSION:
        raise ModelError(f"{path}: has format version {version!r}, this jaxspk reads {FORMAT_VERSION}; update it.")
    weights = described.get("weights")
    sound = (
        isinstance(described.get("system"), str)
        and isinstance(described.get("config"), dict)
        and isinstance(weights, dict)
        and isinstance(weights.get("bytes"), int)
        and isinstance(weights.get("sha256"), str)
    )
    if not sound:
        raise ModelError(f'{path}: lacks "system", "config" or the size and hash of its weights; it is damaged.')
    if described.pop("checksum", None) != _checksum(described):
        raise ModelError(f"{path}: its content does not match its checksum; it was damaged or edited.")
    return described


def _checksum(described: Mapping[str, Any]) -> str:
    canonical = json.dumps(described, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _read_weights(folder: Path, described: Mapping[str, Any]) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    path = folder / WEIGHTS_FILE
    try:
        size = path.stat().st_size
        if size != described["bytes"]:
            raise ModelError(
                f"{path}: is {size} bytes, {CONFIG_FILE} says {described['bytes']}; it is truncated or foreign."
            )
        data = path.read_bytes()
    except FileNotFoundError:
        raise ModelError(f"{folder}: holds no {WEIGHTS_FILE}.") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}).") from None
    if hashlib.sha256(data).hexdigest() != described["sha256"]:
        raise ModelError(f"{path}: its sha-256 is not the one in {CONFIG_FILE}; the file is damaged.")
    try:
        weights = load(data)
    except (SafetensorError, ValueError, KeyError, TypeError):
        raise ModelError(f"{path}: is no safetensors file.") from None
    for name, array in weights.items():
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            raise ModelError(f"{path}: {name!r} holds values that are not finite.")
    return dict(weights)


def _swap(new: Path, place: Path) -> None:
    """Moves ``new`` to ``place``; what was there is put aside first and removed last."""
    if not place.exists():
        os.rename(new, place)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{place.name}.old.", dir=place.parent))
    os.rename(place, aside / place.name)
    try:
        os.rename(new, place)
    except OSError:
        os.rename(aside / place.name, place)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
