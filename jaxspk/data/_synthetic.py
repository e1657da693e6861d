"""The embedded corpus: English sentences that voices of espeak-ng speak, made on the user's machine."""

import concurrent.futures
import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int16

from jaxspk import _checks
from jaxspk.audio import resample, write_audio
from jaxspk.data import _espeak
from jaxspk.data._manifest import Manifest, Utterance
from jaxspk.data._sentences import sentence
from jaxspk.data._voices import Voice, choose_voices, read_variants
from jaxspk.errors import CorpusError, MissingExtraError

SAMPLE_RATE = 16_000
PEAK = 0.5
TABLE_NAME = "utterances.csv"

_RECIPE = 1
"""Goes up with every change of what is spoken, so that no stale cache is taken for the new corpus."""
_UTTERANCE_SECONDS = (3.6, 5.3)
_CHARACTERS_PER_WORD = 6.8
"""Measured on the engine's own words a minute, spaces and pauses included."""
_PATIENCE_SECONDS = 600
_CHUNK = 8
"""Speakers per child process."""


def synthetic_corpus(
    folder: Path | str | None = None, *, speakers: int | None = None, utterances: int = 8, seed: int = 0
) -> Manifest:
    """Speech of synthetic speakers, made once and kept on disk.

    Every speaker is a voice variant of espeak-ng with a pitch, vocal-tract length, accent, pace and
    liveliness of his own, and says made-up sentences, mostly of 3 to 6 seconds, each at a slightly different pitch
    and pace. Half of the speakers are female. Speakers carry ``split`` "train" (70 %), "validation" (10 %)
    or "test" (20 %), each with both genders, and variants that sound alike are never in two of them:
    ``split_speakers`` keeps that.

    Args:
      folder: where to keep the corpus, in a folder of its own; None for ``JAXSPK_CACHE`` or, where that is
        not set, the user's cache folder.
      speakers: how many, at least 6; 120 if None.
      utterances: sentences of each speaker. The first ones are the same whatever their number.
      seed: non-negative; decides voices and sentences. The same arguments give the same samples.

    Returns:
      A manifest with texts and genders; 16 kHz FLAC files.

    Raises:
      MissingExtraError: espeakng-loader is not installed.
      CorpusError: the folder cannot be written, or the engine fails.
    """
    speakers = 120 if speakers is None else speakers
    _checks.check_range("speakers", speakers, low=6)
    _checks.check_range("utterances", utterances, low=1)
    _checks.check_range("seed", seed, low=0)
    engine = _engine()
    base = default_cache() / "synthetic" if folder is None else Path(folder)
    home = base / _key(engine, speakers, utterances, seed)
    kept = _kept(home)
    if kept is not None:
        return kept
    try:
        base.mkdir(parents=True, exist_ok=True)
        workplace = Path(tempfile.mkdtemp(dir=base, prefix=".making-"))
        try:
            _make(engine, workplace, speakers, utterances, seed)
            _put_in_place(workplace, home)
        finally:
            shutil.rmtree(workplace, ignore_errors=True)
    except OSError as error:
        raise CorpusError(
            f"{base}: synthetic speech cannot be kept here ({error.strerror}); name another folder in JAXSPK_CACHE."
        ) from None
    made = _kept(home)
    if made is None:
        raise CorpusError(f"{home}: synthetic speech vanished while it was made; is another program clearing it?")
    return made


def default_cache() -> Path:
    """``JAXSPK_CACHE``, or else ``jaxspk`` in the user's cache folder (XDG_CACHE_HOME, or macOS's own)."""
    named = os.environ.get("JAXSPK_CACHE")
    if named:
        return Path(named).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "jaxspk"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxspk"


# --- The folder -------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Engine:
    library: Path
    data: Path
    version: str


def _engine() -> _Engine:
    try:
        import importlib.metadata

        import espeakng_loader
    except ImportError:
        raise MissingExtraError("synthetic speech", "synthetic") from None
    return _Engine(
        Path(espeakng_loader.get_library_path()),
        Path(espeakng_loader.get_data_path()),
        importlib.metadata.version("espeakng-loader"),
    )


def _key(engine: _Engine, speakers: int, utterances: int, seed: int) -> str:
    recipe = f"{_RECIPE} {engine.version} {speakers} {utterances} {seed}"
    return f"{speakers}x{utterances}-seed{seed}-{hashlib.sha256(recipe.encode()).hexdigest()[:8]}"


def _kept(home: Path) -> Manifest | None:
    """The corpus in a folder, or None if it is not all there."""
    table = home / TABLE_NAME
    if not table.is_file():
        return None
    try:
        manifest = Manifest.from_csv(table)
    except CorpusError:
        return None
    return manifest if all(utterance.path.is_file() for utterance in manifest) else None


def _put_in_place(workplace: Path, home: Path) -> None:
    """Renames the finished folder; one that another process has put there meanwhile is as good."""
    for _ in range(2):
        try:
            os.rename(workplace, home)
            return
        except OSError:
            if _kept(home) is not None:
                return
            # Something incomplete is in the way, the remains of a cache that was cleared by hand.
            shutil.rmtree(home, ignore_errors=True)
    os.rename(workplace, home)


# --- Speaking ---------------------------------------------------------------------------------------------


def _make(engine: _Engine, folder: Path, speakers: int, utterances: int, seed: int) -> None:
    voices = choose_voices(read_variants(engine.data / "voices" / "!v"), speakers, seed=seed)
    jobs = [_job(voice, utterances, seed, number) for number, voice in enumerate(voices)]
    workers = min(8, os.cpu_count() or 1)
    with (
        tempfile.TemporaryDirectory(dir=folder, prefix=".engine-") as scratch,
        concurrent.futures.ThreadPoolExecutor(workers) as pool,
    ):
        data = _engine_data(engine, Path(scratch), voices)

        def speak(start: int) -> list[Utterance]:
            some = slice(start, start + _CHUNK)
            return _speak(engine, data, folder, voices[some], jobs[some])

        spoken = pool.map(speak, range(0, len(voices), _CHUNK))
        manifest = Manifest(tuple(utterance for part in spoken for utterance in part))
    manifest.to_csv(folder / TABLE_NAME)


def _job(voice: Voice, utterances: int, seed: int, number: int) -> dict[str, Any]:
    """What a speaker is to say and how, for the child process."""
    rng = np.random.default_rng((seed, number, 1))
    noise_seed = int(rng.integers(1, 2**31))
    said = []
    for _ in range(utterances):
        rate = voice.rate * float(np.exp(rng.uniform(-0.08, 0.08)))
        characters = rng.uniform(*_UTTERANCE_SECONDS) * rate * _CHARACTERS_PER_WORD / 60
        pitch = int(rng.integers(44, 57))
        said.append({"text": sentence(rng, characters), "rate": round(rate), "pitch": pitch})
    return {
        "name": voice.name,
        "voice": f"{voice.accent}+{voice.name}",
        "seed": noise_seed,
        "range": voice.range,
        "utterances": said,
    }


def _engine_data(engine: _Engine, scratch: Path, voices: Sequence[Voice]) -> Path:
    """The engine's own data, with the speakers' voices in place of its variants."""
    data = scratch / "espeak-ng-data"
    variants = data / "voices" / "!v"
    variants.mkdir(parents=True)
    for entry in engine.data.iterdir():
        if entry.name != "voices":
            (data / entry.name).symlink_to(entry)
    for voice in voices:
        (variants / voice.name).write_text(voice.definition, encoding="utf-8")
    return data


def _speak(
    engine: _Engine, data: Path, folder: Path, voices: Sequence[Voice], jobs: Sequence[dict[str, Any]]
) -> list[Utterance]:
    """Lets a child process speak for some speakers and writes what it said."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".raw-") as raw:
        request = {"library": str(engine.library), "data": str(data), "out": raw, "speakers": list(jobs)}
        rate = _run_engine(request)
        return [
            utterance
            for voice, job in zip(voices, jobs, strict=True)
            for utterance in _written(folder, Path(raw), voice, job, rate)
        ]


def _run_engine(request: dict[str, Any]) -> int:
    """Runs the child process on a request; returns the rate of what it spoke."""
    try:
        child = subprocess.run(
            [sys.executable, "-I", _espeak.__file__],
            input=json.dumps(request).encode(),
            capture_output=True,
            check=True,
            timeout=_PATIENCE_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise CorpusError(f"espeak-ng did not finish within {_PATIENCE_SECONDS} s; try again.") from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().splitlines()
        reason = said[-1] if said else f"exit status {error.returncode}"
        raise CorpusError(
            f"espeak-ng failed ({reason}); reinstall it: pip install --force-reinstall espeakng-loader."
        ) from None
    return int(child.stdout.split()[-1])


def _written(folder: Path, raw: Path, voice: Voice, job: dict[str, Any], rate: int) -> Iterator[Utterance]:
    for number, said in enumerate(job["utterances"]):
        samples = np.fromfile(raw / f"{voice.name}-{number}.raw", np.int16)
        waveform = _levelled(samples, rate)
        path = folder / voice.name / f"{voice.name}-{number:03d}.flac"
        path.parent.mkdir(exist_ok=True)
        write_audio(path, waveform, SAMPLE_RATE, subtype="PCM_16")
        yield Utterance(
            path=path,
            speaker=voice.name,
            seconds=len(waveform) / SAMPLE_RATE,
            gender=voice.gender,
            text=said["text"],
            corpus="espeak-ng",
            split=voice.split,
        )


def _levelled(samples: Int16[np.ndarray, " spoken"], rate: int) -> Float32[np.ndarray, " samples"]:
    """At the corpus's rate, with silent ends cut off and the peak at 0.5."""
    audible = np.flatnonzero(np.abs(samples.astype(np.int32)) > 32)
    if not audible.size:
        raise CorpusError("espeak-ng spoke silence; reinstall it: pip install --force-reinstall espeakng-loader.")
    spoken = samples[audible[0] : audible[-1] + 1].astype(np.float32) / 32768
    waveform = np.asarray(resample(spoken, rate, SAMPLE_RATE), np.float32)
    return waveform * np.float32(PEAK / np.abs(waveform).max())
