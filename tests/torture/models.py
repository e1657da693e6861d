"""Damages model directories and loads them: `python -m tests.torture.models --minutes 2`.

Half of the cases are damage as disks and downloads make it: bytes of config.json or model.safetensors changed, cut or
doubled. Loading must refuse them, or give the very model that was saved (where what changed means nothing, as a space
in JSON). The other half is damage whose checksums were made right again, which reaches what lies behind them: loading
must refuse it in one line, or give a model of finite weights.
"""

import dataclasses
import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from jaxspk.audio import MelConfig
from jaxspk.errors import JaxspkError
from jaxspk.systems import (
    BandConfig,
    DeepClusteringConfig,
    DeepClusteringModel,
    EncoderConfig,
    NetworkConfig,
    SpeakerConfig,
    SpeakerModel,
    load_deep_clustering,
    load_model,
    load_speaker_model,
    save_deep_clustering,
    save_speaker_model,
)
from tests.torture import ledger, mutations

CONFIG, WEIGHTS = "config.json", "model.safetensors"

Load = Callable[[Path], tuple[Any, nnx.Module]]


@dataclasses.dataclass(frozen=True)
class Stored:
    """A model directory: the bytes of its files, how it is loaded, and what it holds."""

    folder: Path
    files: dict[str, bytes]
    load: Load
    described: str


def begin(folder: Path, systems: int = 2) -> list[Stored]:
    """A tiny model of each of the first systems, as saved."""
    made = [_separator, _speaker_encoder][:systems]
    return [
        Stored(place, {name: (place / name).read_bytes() for name in (CONFIG, WEIGHTS)}, load, described(load(place)))
        for make in made
        for place, load in [make(folder)]
    ]


def _separator(folder: Path) -> tuple[Path, Load]:
    config = DeepClusteringConfig(network=NetworkConfig(layers=1, units=4, dim=3))
    model = DeepClusteringModel(config, rngs=nnx.Rngs(0))
    return save_deep_clustering(folder / "deep_clustering", config, model, card="# Tiny\n"), load_deep_clustering


def _speaker_encoder(folder: Path) -> tuple[Path, Load]:
    mel = MelConfig(sample_rate=8000, n_fft=256, window_length=200, hop_length=80, num_mels=20)
    encoder = EncoderConfig(network="tdnn", dim=8, pooling="asp", width=8)
    config = SpeakerConfig(features=BandConfig(mel=mel), encoder=encoder)
    model = SpeakerModel(config, rngs=nnx.Rngs(0))
    return save_speaker_model(folder / "metric_learning", config, model, card="# Tiny\n"), load_speaker_model


def outcome(prepared: list[Stored], seed: int, number: int) -> str:
    """Damages one file of one model and loads it."""
    rng = np.random.default_rng([seed, number])
    stored = prepared[int(rng.integers(len(prepared)))]
    name = CONFIG if rng.random() < 0.5 else WEIGHTS
    repaired = rng.random() < 0.5
    files = dict(stored.files)
    if repaired:
        files[CONFIG], files[WEIGHTS] = _repaired(files, name, rng)
    elif rng.random() < 0.02:
        del files[name]
    else:
        files[name] = mutations.damaged_bytes(files[name], rng, header=256)
    try:
        for one in (CONFIG, WEIGHTS):
            place = stored.folder / one
            if one in files:
                place.write_bytes(files[one])
            else:
                place.unlink()
        kind = f"{name}{', checksums right' if repaired else ''}"
        try:
            # The quick half first: most damage ends here.
            load_model(stored.folder)
            loaded = stored.load(stored.folder)
        except JaxspkError as error:
            what = ledger.refused(error, str(stored.folder))
            return what if what.startswith("BROKEN") else f"{kind}: {what}"
        if not repaired:
            return f"{kind}: the same model" if described(loaded) == stored.described else "BROKEN another model"
        arrays = [np.asarray(leaf) for leaf in jax.tree.leaves(nnx.state(loaded[1], nnx.Param))]
        sound = all(np.isfinite(array).all() for array in arrays)
        return f"{kind}: loaded" if sound else "BROKEN weights that are not finite"
    finally:
        if not stored.folder.is_dir():
            shutil.rmtree(stored.folder, ignore_errors=True)
            stored.folder.mkdir()
        for one, content in stored.files.items():
            (stored.folder / one).write_bytes(content)


def described(loaded: tuple[Any, nnx.Module]) -> str:
    """Configuration and weights as one sum."""
    config, model = loaded
    digest = hashlib.sha256(repr(config).encode())
    for leaf in jax.tree.leaves(nnx.state(model, nnx.Not(nnx.RngState))):
        array = np.asarray(leaf)
        digest.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    return digest.hexdigest()


def _repaired(files: dict[str, bytes], name: str, rng: np.random.Generator) -> tuple[bytes, bytes]:
    """Damage behind right checksums: of the configuration's values, or of the weights' bytes."""
    config, weights = json.loads(files[CONFIG]), files[WEIGHTS]
    if name == CONFIG:
        # The whole description now and then, the system's own configuration mostly.
        if rng.random() < 0.2:
            changed = mutations.damaged_values(config, rng)
            config = changed if isinstance(changed, dict) else config
        else:
            config["config"] = mutations.damaged_values(config["config"], rng)
    else:
        weights = mutations.damaged_bytes(weights, rng, header=512)
        config["weights"] = {"bytes": len(weights), "sha256": hashlib.sha256(weights).hexdigest()}
    return with_checksum(config), weights


def with_checksum(described: dict[str, Any]) -> bytes:
    """A configuration whose checksum is right."""
    content = {key: value for key, value in described.items() if key != "checksum"}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return json.dumps({**content, "checksum": hashlib.sha256(canonical.encode()).hexdigest()}).encode()


TORTURE = ledger.Torture(
    name="models",
    what="damaged model directories, half of them with right checksums: refused in one line that names the folder, "
    "else the very model, or (right checksums) a model of finite weights",
    total=1_000_000,
    chunk=2_000,
    begin=begin,
    outcome=outcome,
)

if __name__ == "__main__":
    sys.exit(ledger.main(TORTURE, __doc__))
