"""``jaxspk enroll``."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Literal

import tyro

from jaxspk.errors import ArgumentError, AudioError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Remember somebody's voice under a name, from one recording or several; nothing leaves this machine.

    What is kept is a vector of numbers a person, in one file that only you can read; the sound is not kept. More
    recordings of the same person, now or later, make the voice better known: ten seconds of speech and two occasions
    are a good beginning. Ask people before you enroll them.

    Example: jaxspk enroll Ann ann1.wav ann2.wav
    """

    name: tyro.conf.Positional[str]
    """Of the person; somebody already known under it gets the recordings added."""
    recordings: tyro.conf.Positional[tuple[Path, ...]]
    """Files or folders of them."""
    store: Path | None = None
    """The file of voices; by default JAXSPK_PEOPLE, or people.safetensors in your data folder."""
    channel: int | Literal["mean"] = "mean"
    """Of recordings with several channels: their mean, or the number of one, from 0."""
    model: Path | None = None
    """A model directory; by default the weights that come with jaxspk."""
    json: bool = False
    """Print one JSON document instead of lines."""


def run(options: Options) -> int:
    """Enrolls from the recordings that are good enough; 1 where some are not."""
    if not options.recordings:
        raise ArgumentError("name at least one recording: jaxspk enroll NAME RECORDING.")
    from jaxspk import audio
    from jaxspk.cli import _voices
    from jaxspk.systems import UNDECIDABLE, load_verification, person_name, quality_remarks

    person_name(options.name)
    recordings = audio.find_recordings(options.recordings)
    hearing = _voices.load_encoder(options.model)
    rules = load_verification(hearing.folder)
    limits = rules["whole"].undecidable if "whole" in rules else UNDECIDABLE
    store = _voices.open_store(options.store, hearing)
    store.people()  # A store that cannot be used shows before the work is done.
    embedded = _voices.embed(hearing, recordings, channel=options.channel)
    remarks = [
        quality_remarks({str(path): quality}, limits)
        for path, quality in zip(embedded.paths, embedded.qualities, strict=True)
    ]
    good = [place for place, found in enumerate(remarks) if not found]
    refused = [str(error) for _, error in embedded.failed] + [remark for found in remarks for remark in found]
    if not good:
        raise AudioError(f"{refused[0]}; nobody was enrolled.")
    speech = sum(embedded.qualities[place].speech_seconds for place in good)
    person = store.enroll(options.name, embedded.vectors[good, 0], speech)
    for message in refused:
        print(f"jaxspk: left out: {message}", file=sys.stderr)
    if options.json:
        print(json.dumps({**dataclasses.asdict(person), "added": len(good), "left_out": refused}, indent=2))
    else:
        plural = "recording" if person.recordings == 1 else "recordings"
        print(
            f"{person.name}: known from {person.recordings} {plural}, {person.speech_seconds:.1f} s of speech "
            f"({store.path})"
        )
    return 1 if refused else 0
