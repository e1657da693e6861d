"""A clusterer that learned from the very recordings it is to cluster: u-vectors, trained without any label.

Results are transductive: the recordings were heard in training. How long it trains is fixed beforehand, and nothing
that is known of the speakers goes into it.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from jaxspk import _checks, data
from jaxspk.data import PseudoLabelled
from jaxspk.errors import AudioError
from jaxspk.systems._clusterer import SpeakerClusterer, UVectorWindows
from jaxspk.systems._heard_recording import RecordingSource, WindowConfig, cut_pieces, open_blocks
from jaxspk.systems._speech_activity import active_stretches, band_levels
from jaxspk.systems._u_vector_presets import U_VECTOR_PRESETS, with_u_vector_budget
from jaxspk.systems._u_vector_training import UVectorTraining, train_u_vectors
from jaxspk.systems._u_vectors import save_u_vectors
from jaxspk.training import Run

# Forty minutes of speech, evenly spread over all recordings: memory stays bounded, and more says little more.
_MOST_SEGMENTS = 2400
_FEWEST_SEGMENTS = 20
_NOISES = 8

_CARD = """\
# U-vectors of some recordings

Trained without labels on {segments} seconds of the recordings that they are to cluster (`jaxspk cluster --adapt`), for
{steps} steps with seed {seed}. What they say of these recordings is transductive; of other recordings and other people
they know nothing.
"""


def adapt_clusterer(
    recordings: Sequence[RecordingSource],
    folder: Path,
    *,
    minutes: float = 3.0,
    seed: int = 0,
    base: SpeakerClusterer | None = None,
    channel: int | Literal["mean"] = "mean",
    progress: bool = True,
    say: Callable[[str], None] = lambda line: None,
) -> SpeakerClusterer:
    """Trains u-vectors on recordings; called again with the same ones, it goes on where it stopped.

    Args:
      recordings: what will be clustered; those that cannot be used are passed over and told.
      folder: the run directory. The model is put into ``model`` in it.
      minutes: after which training stops at the latest; with more, another call goes on.
      seed: everything random derives from it.
      base: hears beside the new model, says how many voices there are and names them; none by default.
      channel: of files with several.
      progress: show a bar on a terminal, lines elsewhere.
      say: told in a line what there is.

    Raises:
      AudioError: there is too little speech to learn from.
      TrainingError: the loss stays non-finite, or the folder holds a run on other recordings.
    """
    _checks.check_range("minutes", minutes, low=0.0, low_open=True)
    windows = base.windows if base else WindowConfig()
    preset = with_u_vector_budget(U_VECTOR_PRESETS["cpu"](), minutes=minutes)
    training, hop = preset.training, preset.speech.hop_seconds or preset.training.system.segments.frame_seconds
    segments = _segments(recordings, training, windows, channel, say)
    if len(segments) < _FEWEST_SEGMENTS:
        raise AudioError(
            f"{len(segments)} whole seconds of speech in {len(recordings)} recordings, at least {_FEWEST_SEGMENTS} are "
            "needed to learn from; give longer ones, or leave out --adapt."
        )
    classwise = dataclasses.replace(training.classwise, classes=min(training.classwise.classes, len(segments)))
    training = dataclasses.replace(training, classwise=classwise, seed=seed)
    labelled = _labelled(segments, training, round(hop * training.system.segments.sample_rate))
    say(f"learning from {len(segments)} seconds of speech, {labelled.note}")
    noises = data.generated_noises(_NOISES, training.system.segments.sample_rate, seed=seed)
    with Run(folder, training) as run:
        trained = train_u_vectors(training, labelled, run, noises=noises, progress=progress)
    card = _CARD.format(segments=len(segments), steps=trained.result.step, seed=seed)
    save_u_vectors(folder / "model", training.system, trained.model, card=card)
    adapted = UVectorWindows(training.system, trained.model)
    if base is None:
        return SpeakerClusterer(adapted)
    if base.model.sample_rate != adapted.sample_rate:
        return dataclasses.replace(base, model=adapted, space=None, adapted=None)
    return dataclasses.replace(base, adapted=adapted)


def _segments(
    recordings: Sequence[RecordingSource],
    training: UVectorTraining,
    windows: WindowConfig,
    channel: int | Literal["mean"],
    say: Callable[[str], None],
) -> np.ndarray:
    """``[segments, samples]``: whole seconds of speech of all recordings, thinned out evenly where there are many."""
    config = training.system.segments
    found: list[tuple[RecordingSource, np.ndarray]] = []
    for recording in recordings:
        try:
            with open_blocks(recording, config.sample_rate, channel=channel) as blocks:
                stretches = active_stretches(band_levels(blocks, config.sample_rate), windows.activity)
        except AudioError as error:
            say(str(error))
            continue
        starts = data.segment_starts(stretches, config.segment_samples)
        found.append((recording, np.stack([starts, starts + config.segment_samples], axis=1)))
    total = sum(len(spans) for _, spans in found)
    chosen = np.linspace(0, max(total - 1, 0), min(total, _MOST_SEGMENTS)).round().astype(int)
    pieces = [np.zeros((0, config.segment_samples), np.float32)]
    before = 0
    for recording, spans in found:
        mine = spans[chosen[(chosen >= before) & (chosen < before + len(spans))] - before]
        before += len(spans)
        if len(mine):
            with open_blocks(recording, config.sample_rate, channel=channel) as blocks:
                pieces.append(np.stack(list(cut_pieces(blocks, mine))))
    return np.concatenate(pieces)


def _labelled(segments: np.ndarray, training: UVectorTraining, hop: int) -> PseudoLabelled:
    """Overlapping frames; each second is a class of its own."""
    frames = np.lib.stride_tricks.sliding_window_view(segments, training.system.segments.frame_samples, axis=1)[
        :, ::hop
    ]
    return PseudoLabelled(
        frames=np.ascontiguousarray(frames).reshape(-1, frames.shape[2]),
        labels=np.repeat(np.arange(len(segments)), frames.shape[1]),
        apart=np.arange(len(segments)),
        protocol="as_described",
    )
