"""Names for voices that were found: each is compared with the people who are enrolled, as one recording would be."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from jaxspk import audio
from jaxspk.data import Turn
from jaxspk.errors import ModelError
from jaxspk.systems._decision import identify
from jaxspk.systems._heard_recording import RecordingSource, cut_pieces, open_blocks
from jaxspk.systems._recording_encoder import RecordingEncoder
from jaxspk.systems._verification import load_verification
from jaxspk.systems._voice_store import VoiceStore

_HEARD_SECONDS = 30.0
"""Of each voice, its longest turns: more says little more."""


class NamedVoice(NamedTuple):
    """The person whom a voice is taken for.

    Attributes:
      name: of the person.
      probability: that it is this person.
    """

    name: str
    probability: float


def name_voices(
    recordings: Sequence[tuple[RecordingSource, Sequence[Turn]]],
    encoder: RecordingEncoder,
    folder: Path,
    people: VoiceStore,
    *,
    channel: int | Literal["mean"] = "mean",
) -> dict[str, NamedVoice]:
    """The enrolled people among the voices; voices that fit nobody are left out.

    Two voices can be one person: then there were more voices than people, and both get the name.

    Args:
      recordings: each with its turns.
      encoder: with which people are enrolled.
      folder: its model directory, which says what scores mean.
      people: who is enrolled.
      channel: of files with several.

    Raises:
      ModelError: nobody is enrolled, the people were heard by another model, or scores of this one are not calibrated.
    """
    enrolled = people.people()
    if not enrolled:
        raise ModelError(f"{people.path}: knows nobody yet; begin with `jaxspk enroll NAME RECORDING`.")
    rules = load_verification(folder)
    if "whole" not in rules:
        raise ModelError(f"{folder}: holds no calibration, without which nobody can be named; see `jaxspk calibrate`.")
    found: dict[str, NamedVoice] = {}
    for voice, waveform in _longest_turns(recordings, encoder.sample_rate, channel).items():
        if len(waveform) < encoder.shortest_seconds * encoder.sample_rate or not waveform.any():
            continue
        vector = encoder.embed(waveform, encoder.sample_rate)
        known, scores = people.compare(np.asarray(vector))
        answer = identify(
            scores,
            [person.name for person in known],
            np.array([person.speech_seconds for person in known]),
            {voice: audio.recording_quality(waveform, encoder.sample_rate)},
            rules["whole"],
        )
        if answer.name is not None:
            found[voice] = NamedVoice(answer.name, answer.probability)
    return found


def _longest_turns(
    recordings: Sequence[tuple[RecordingSource, Sequence[Turn]]], sample_rate: int, channel: int | Literal["mean"]
) -> dict[str, np.ndarray]:
    """Half a minute of each voice."""
    turns = [(number, turn) for number, (_, of_one) in enumerate(recordings) for turn in of_one]
    chosen: dict[int, list[Turn]] = {}
    left: dict[str, float] = {}
    for number, turn in sorted(turns, key=lambda one: one[1].start - one[1].end):
        rest = left.get(turn.speaker, _HEARD_SECONDS)
        if rest > 0:
            end = min(turn.end, turn.start + rest)
            chosen.setdefault(number, []).append(turn._replace(end=end))
            left[turn.speaker] = rest - (end - turn.start)
    pieces: dict[str, list[np.ndarray]] = {}
    for number, of_one in chosen.items():
        of_one.sort()
        spans = np.array([[round(edge * sample_rate) for edge in turn[:2]] for turn in of_one])
        with open_blocks(recordings[number][0], sample_rate, channel=channel) as blocks:
            for turn, piece in zip(of_one, cut_pieces(blocks, spans), strict=True):
                pieces.setdefault(turn.speaker, []).append(piece)
    return {voice: np.concatenate(parts) for voice, parts in sorted(pieces.items())}
