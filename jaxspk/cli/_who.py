"""``jaxspk who``."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import tyro

from jaxspk.errors import ArgumentError, ModelError

if TYPE_CHECKING:
    from jaxspk.systems import Identification


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Say who of the people you enrolled speaks in a recording, or that it is nobody of them.

    A recording is taken for one voice. The more people are enrolled, the better a voice has to fit one of them. Nothing
    leaves this machine. A recording that fails is named, the others go on, and the exit status is 1.

    Example: jaxspk who call.wav
    """

    recordings: tyro.conf.Positional[tuple[Path, ...]]
    """Files or folders of them; each is answered by itself."""
    known: float = 0.5
    """Which share of recordings is of enrolled people, before anything is heard."""
    store: Path | None = None
    """The file of voices; by default JAXSPK_PEOPLE, or people.safetensors in your data folder."""
    calibration: Path | None = None
    """What scores mean, from `jaxspk calibrate`; by default what comes with the model."""
    channel: int | Literal["mean"] = "mean"
    """Of recordings with several channels: their mean, or the number of one, from 0."""
    model: Path | None = None
    """A model directory; by default the weights that come with jaxspk."""
    json: bool = False
    """Print one JSON document, when all is done, instead of lines."""


def run(options: Options) -> int:
    """Identifies every recording; goes on past bad ones."""
    if not options.recordings:
        raise ArgumentError("name at least one recording: jaxspk who RECORDING.")
    if not 0 < options.known < 1:
        raise ArgumentError(f"--known must lie between 0 and 1, got {options.known!r}.")
    from jaxspk import audio
    from jaxspk.cli import _voices
    from jaxspk.systems import UNKNOWN, identify

    recordings = audio.find_recordings(options.recordings)
    hearing = _voices.load_encoder(options.model)
    store = _voices.open_store(options.store, hearing)
    if not store.people():
        raise ModelError(f"{store.path}: knows nobody yet; begin with `jaxspk enroll NAME RECORDING`.")
    verification = _voices.meaning(hearing, "whole", options.calibration)
    embedded = _voices.embed(hearing, recordings, channel=options.channel)
    if embedded.failed and len(recordings) == 1:
        raise embedded.failed[0][1]
    _voices.say_failed(embedded.failed)
    answers: list[dict[str, Any]] = []
    for path, vectors, quality in zip(embedded.paths, embedded.vectors, embedded.qualities, strict=True):
        people, scores = store.compare(vectors[0])
        answer = identify(
            scores,
            [person.name for person in people],
            np.array([person.speech_seconds for person in people]),
            {str(path): quality},
            verification,
            known_prior=options.known,
        )
        if options.json:
            facts = {**dataclasses.asdict(answer), "quality": _voices.quality_facts(quality)}
            answers.append({"recording": str(path), **facts, "name": answer.name or UNKNOWN})
        else:
            print(_describe(path, answer))
    if options.json:
        failed = [{"recording": str(path), "error": str(error)} for path, error in embedded.failed]
        print(json.dumps({"done": answers, "failed": failed}, indent=2))
    return 1 if embedded.failed else 0


def _describe(path: Path, answer: "Identification") -> str:
    from jaxspk.cli._voices import percent
    from jaxspk.systems import UNKNOWN

    best = answer.candidates[0]
    if not answer.decided:
        lines = [f"{path}: undecided", *(f"  because {obstacle}" for obstacle in answer.obstacles)]
    else:
        lines = [f"{path}: {answer.name or UNKNOWN}, probability {100 * answer.probability:.1f} %"]
    if answer.name is None:
        lines.append(f"  nearest is {best.name}, probability {100 * best.probability:.1f} %")
    else:
        others = [f"{one.name} {100 * one.probability:.1f} %" for one in answer.candidates[1:3]]
        lines.append(f"  else: {', '.join([*others, f'{UNKNOWN} {100 * answer.unknown_probability:.1f} %'])}")
    lines.append(
        f"  such answers miss {percent(answer.miss_rate, answer.targets)} of the people enrolled, and take at most "
        f"{percent(answer.false_alarm_rate, answer.nontargets // len(answer.candidates))} of all others for one of them"
    )
    lines += [f"  doubtful: {remark}" for remark in answer.remarks]
    return "\n".join(lines)
