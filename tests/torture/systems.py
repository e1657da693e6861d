"""Stops the training of every system and resumes it: `python -m tests.torture.systems --minutes 2`.

Each case is one of the four systems, stopped (SIGKILL) at one of fifty places of its log, resumed with another number
of workers, stopped again later, and resumed with yet another number: parameters, optimiser, random state, place in the
data and log must be, bit by bit, those of a training left alone.
"""

import dataclasses
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orbax.checkpoint  # noqa: F401  # before the forks, not in each of them

from jaxspk import audio
from jaxspk.audio import CepstraConfig, FrameFeatureConfig, MelConfig
from jaxspk.data import NoiseConfig, PseudoLabelled, SegmentConfig, SpeakerBatchConfig
from jaxspk.systems import (
    BandConfig,
    ClasswiseConfig,
    DeepClusteringConfig,
    EncoderConfig,
    FrameNetworkConfig,
    NetworkConfig,
    PairwiseConfig,
    PretrainingConfig,
    SeparationTraining,
    SiameseConfig,
    SiameseTraining,
    SpeakerConfig,
    SpeakerTraining,
    SpeechConfig,
    StageConfig,
    UVectorConfig,
    UVectorTraining,
    load_speech,
    train_separator,
    train_siamese,
    train_speaker_encoder,
    train_u_vectors,
)
from jaxspk.training import Checkpoints, FitConfig, OptimizerConfig, Run, read_metrics
from tests.torture import ledger, processes

RATE = 8000
PLACES = 50
WORKERS = (1, 2, 0)
"""Of the training left alone and of a run before its first stop; after it; after the second."""


def fit_config(**changes: Any) -> FitConfig:
    """Something of everything within a few steps."""
    return FitConfig(**{"steps": 10, "log_every": 1, "validate_every": 4, "checkpoint_every": 3, **changes})


def train_deep_clustering(corpus: Path, folder: Path, workers: int) -> None:
    fit = fit_config(steps=6)
    config = SeparationTraining(
        data=SpeechConfig(path=corpus, validation=0.25, test=0.25),
        system=DeepClusteringConfig(network=NetworkConfig(layers=1, units=4, dim=3, dropout=0.2)),
        stages=(StageConfig(frames=20, batch_size=2, fit=fit), StageConfig(frames=40, batch_size=2, fit=fit)),
        validation_mixtures=3,
        workers=workers,
    )
    with Run(folder, config) as run:
        train_separator(config, load_speech(config.data), run, progress=False)


def train_metric_learning(corpus: Path, folder: Path, workers: int) -> None:
    mel = MelConfig(sample_rate=RATE, n_fft=256, window_length=200, hop_length=80, num_mels=20)
    config = SpeakerTraining(
        data=SpeechConfig(path=corpus, validation=0.25, test=0.25),
        system=SpeakerConfig(
            features=BandConfig(mel=mel), encoder=EncoderConfig(network="tdnn", dim=8, pooling="asp", width=8)
        ),
        batches=SpeakerBatchConfig(speakers=2, utterances=2, seconds=0.5),
        fit=fit_config(score="eer"),
        workers=workers,
    )
    with Run(folder, config) as run:
        train_speaker_encoder(config, load_speech(config.data), run, progress=False)


def train_frames(corpus: Path, folder: Path, workers: int) -> None:
    config = UVectorTraining(
        system=UVectorConfig(
            segments=SegmentConfig(sample_rate=RATE),
            features=FrameFeatureConfig(sample_rate=RATE, n_fft=256, window_length=160, hop_length=80, num_mels=24),
            network=FrameNetworkConfig(layers=(1,), growth=4, dim=4),
        ),
        pairwise=PairwiseConfig(pairs=8, alpha=4.0, clip_must_link=False),
        classwise=ClasswiseConfig(classes=8, frames=3),
        noise=NoiseConfig(share=0.0),
        fit=fit_config(optimizer=OptimizerConfig(learning_rate=3e-3), score="link_error"),
        workers=workers,
    )
    rng = np.random.default_rng(0)
    moments = np.arange(1600) / RATE
    frames = np.array(
        [
            0.05 * sum(np.sin(2 * np.pi * k * pitch * moments + rng.uniform(0, 6)) for k in range(1, 6))
            for pitch in np.geomspace(90, 400, 8)
            for _ in range(6)
        ],
        np.float32,
    )
    labelled = PseudoLabelled(
        frames=frames, labels=np.repeat(np.arange(8), 6), apart=np.arange(8), protocol="as_described"
    )
    with Run(folder, config) as run:
        train_u_vectors(config, labelled, run, progress=False)


def train_codes(corpus: Path, folder: Path, workers: int) -> None:
    mel = MelConfig(sample_rate=RATE, n_fft=256, window_length=200, hop_length=80, num_mels=20)
    config = SiameseTraining(
        data=SpeechConfig(path=corpus, validation=0.25, test=0.25),
        system=SiameseConfig(
            features=CepstraConfig(mel=mel, coefficients=8),
            segment_frames=20,
            hidden=(8,),
            code_units=8,
            speaker_units=4,
        ),
        pairs=4,
        comparisons=4,
        pretraining=PretrainingConfig(steps=4),
        fit=fit_config(score="eer"),
        workers=workers,
    )
    with Run(folder, config) as run:
        train_siamese(config, load_speech(config.data), run, progress=False)


SYSTEMS: dict[str, Callable[[Path, Path, int], None]] = {
    "deep_clustering": train_deep_clustering,
    "metric_learning": train_metric_learning,
    "u_vectors": train_frames,
    "regularized_siamese": train_codes,
}


@dataclasses.dataclass(frozen=True)
class Alone:
    """What comes of a training left alone, and how many lines its log has."""

    sums: dict[str, str]
    lines: int


class Prepared:
    """Made-up speech, and each system's training left alone, trained when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.corpus = folder, folder / "corpus"
        self._alone: dict[str, Alone] = {}

    def alone(self, name: str) -> Alone:
        if name not in self._alone:
            for place in ("compiling", "alone"):
                folder = self.folder / f"{name}-{place}"
                processes.finish(
                    processes.start(lambda folder=folder: SYSTEMS[name](self.corpus, folder, WORKERS[0])), name
                )
            sums = processes.result_of(lambda: processes.digests(folder, Checkpoints, read_metrics))
            self._alone[name] = Alone(sums, processes.lines_of(folder))
        return self._alone[name]


def begin(folder: Path) -> Prepared:
    """Eight voices of two short recordings each."""
    processes.keep_compiled(folder / "compiled")
    moments = np.arange(round(1.6 * RATE)) / RATE
    for number in range(8):
        for take in range(2):
            rng = np.random.default_rng([number, take])
            phase = 2 * np.pi * (100 + 25 * number) * (moments + 0.01 * np.sin(2 * np.pi * 3 * moments + take))
            tones = sum(np.sin(k * phase + rng.uniform(0, 6)) / k for k in range(1, 8))
            loud = np.clip(np.sin(2 * np.pi * 1.2 * moments + take) + 0.5, 0, 1)
            path = folder / "corpus" / f"speaker{number}" / f"take{take}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            audio.write_audio(
                path, (0.1 * loud * tones + 1e-4 * rng.normal(size=moments.size)).astype(np.float32), RATE
            )
    return Prepared(folder)


def outcome(prepared: Prepared, seed: int, number: int) -> str:
    """One system, stopped at two places."""
    name = list(SYSTEMS)[number % len(SYSTEMS)]
    folder = prepared.folder / f"case-{number}"
    draw = random.Random(f"{seed} {number}")
    try:
        alone = prepared.alone(name)
        # Fifty places, one after the other, spread over the log; the second stop is somewhere behind the first.
        first = (number // len(SYSTEMS) % PLACES + 0.5) / PLACES * alone.lines
        stops = [first, draw.uniform(first, alone.lines)]
        stopped = []
        for workers, stop in zip(WORKERS, [*stops, None], strict=True):
            process = processes.start(lambda workers=workers: SYSTEMS[name](prepared.corpus, folder, workers))
            while stop is not None and process.is_alive() and processes.lines_of(folder) < int(stop):
                time.sleep(0.001)
            if stop is not None:
                time.sleep(stop % 1 * 0.02)
                process.kill()
                process.join()
                stopped.append(process.exitcode == -signal.SIGKILL)
                processes.last_words(process)
            else:
                processes.finish(process, f"{name}, resumed twice,")
        sums = processes.result_of(lambda: processes.digests(folder, Checkpoints, read_metrics))
    except processes.Failed as failure:
        return f"BROKEN {failure}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    names = sorted(key for key in sums.keys() | alone.sums.keys() if sums.get(key) != alone.sums.get(key))
    if names:
        where = " and ".join(f"{stop:.1f}" for stop in stops)
        return f"BROKEN {name} stopped after lines {where}: different {', '.join(names)}"
    return f"{name}: stopped {'twice' if all(stopped) else 'once' if any(stopped) else 'never'}, identical"


TORTURE = ledger.Torture(
    name="systems",
    what="all four systems, each stopped at fifty places (SIGKILL), resumed, stopped and resumed again, with 1, 2 and "
    "0 workers: all they save and log is bit by bit that of a training left alone",
    total=4 * PLACES,
    chunk=12,
    begin=begin,
    outcome=outcome,
    seconds=600.0,
)

if __name__ == "__main__":
    sys.exit(ledger.main(TORTURE, __doc__))
