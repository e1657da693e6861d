"""What a batch of speakers costs one core, without and with augmentation: 100 speakers x 2 crops of 2 s at 16 kHz."""

import dataclasses
import functools
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks._frame import Case, Comparison, Figure
from jaxspk import audio, data

_SAMPLE_RATE, _SPEAKERS, _RECORDING_SECONDS, _REPEATS = 16_000, 120, 8, 7
_RECIPE = data.one_of_five_augment()
_AUGMENTS = {
    "no augmentation": data.SpeechAugmentConfig(),
    "one of five": _RECIPE,
    "one of five, three speeds": dataclasses.replace(_RECIPE, speeds=(0.9, 1.1)),
    "room, noise, music and babble in all, three speeds": data.SpeechAugmentConfig(
        room_share=1.0, noise_share=1.0, music_share=1.0, babble_share=1.0, speeds=(0.9, 1.1)
    ),
}
_STEP_SECONDS = 5.0
"""About what a training step of Fast ResNet-34 on such a batch takes on two cores."""


@functools.cache
def _corpus() -> tuple[data.Manifest, data.Recordings, dict[str, list[data.Sound]]]:
    """Noise instead of voices: what is said makes no difference here. The recordings are decoded and kept."""
    rng = np.random.default_rng(0)

    def noise(seconds: float) -> np.ndarray:
        return rng.normal(size=round(seconds * _SAMPLE_RATE)).astype(np.float32) / 10

    recordings = data.Recordings(_SAMPLE_RATE)
    with tempfile.TemporaryDirectory() as folder:
        utterances = []
        for number in range(_SPEAKERS):
            path = Path(folder, f"{number}.wav")
            audio.write_audio(path, noise(_RECORDING_SECONDS), _SAMPLE_RATE)
            recordings.waveform(path)
            utterances.append(data.Utterance(path, f"{number:03d}", float(_RECORDING_SECONDS)))
    echo = noise(1.5) * np.exp(-np.arange(1.5 * _SAMPLE_RATE) / 4000).astype(np.float32)
    echo[0] = 1
    sounds = {"noises": noise(8), "music": noise(30), "rooms": echo}
    bank = {kind: [data.Sound(kind, kind, waveform)] for kind, waveform in sounds.items()}
    return data.Manifest(tuple(utterances)), recordings, bank


def _seconds_a_batch(name: str) -> float:
    """Processor time of this thread, the least of several batches: other work on the machine does not count."""
    manifest, recordings, bank = _corpus()
    source = data.SpeakerSource(
        manifest,
        data.SpeakerBatchConfig(),
        seed=0,
        augment=_AUGMENTS[name],
        recordings=recordings,
        noises=bank["noises"],
        music=bank["music"],
        rooms=bank["rooms"],
    )
    times = []
    for index in range(1 + _REPEATS):
        start = time.thread_time()
        source[index]
        times.append(time.thread_time() - start)
    return min(times[1:])


def _figures() -> Sequence[Figure]:
    return [
        Figure(
            name=f"a batch of 100 x 2 x 2 s, {name}",
            measure=functools.partial(_seconds_a_batch, name),
            unit="s",
            # Of what two cores have to give in a step.
            at_most=0.05 * 2 * _STEP_SECONDS,
        )
        for name in _AUGMENTS
    ]


def _no_cases() -> Sequence[Case]:
    return ()


COMPARISON = Comparison(title="Making a batch of speakers on one core", cases=_no_cases, figures=_figures)
