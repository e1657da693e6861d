"""What the commands about speakers share: the encoder, what its scores mean, recordings with their quality."""

import dataclasses
import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from jaxspk.errors import AudioError, ModelError

if TYPE_CHECKING:
    from jaxspk.audio import RecordingQuality
    from jaxspk.systems import EmbeddedRecordings, Embedder, Verification, VoiceStore

SYSTEM = "metric_learning"
_FEWEST_FOR_A_BAR = 10


class Hearing(NamedTuple):
    """An encoder, and where its weights lie."""

    encoder: "Embedder"
    folder: Path


def load_encoder(model: Path | None) -> Hearing:
    """The model of a directory, or the one that comes with the package."""
    from jaxspk import systems

    folder = systems.packaged_model(SYSTEM) if model is None else model
    return Hearing(systems.load_encoder(folder), folder)


def embed(
    hearing: Hearing,
    recordings: Sequence[Path],
    *,
    protocol: str = "whole",
    channel: int | Literal["mean"] = "mean",
    measure_quality: bool = True,
) -> "EmbeddedRecordings":
    """Embeds recordings, with a bar on a terminal where there are many."""
    from jaxspk.systems import embed_recordings

    run = functools.partial(
        embed_recordings,
        hearing.encoder,
        recordings,
        protocol=protocol,
        channel=channel,
        measure_quality=measure_quality,
    )
    if not sys.stderr.isatty() or len(recordings) < _FEWEST_FOR_A_BAR:
        return run()
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("embedding", total=len(recordings))
        return run(progress=lambda done: bar.update(task, completed=done))


def embed_all(
    hearing: Hearing,
    recordings: Sequence[Path],
    *,
    protocol: str = "whole",
    channel: int | Literal["mean"] = "mean",
) -> "EmbeddedRecordings":
    """Embeds recordings of which none may be missing.

    Raises:
      AudioError: one cannot be embedded.
    """
    embedded = embed(hearing, recordings, protocol=protocol, channel=channel)
    if embedded.failed:
        raise embedded.failed[0][1]
    return embedded


def say_failed(failed: Sequence[tuple[Path, AudioError]]) -> None:
    """Names the recordings that could not be embedded, a line each."""
    for _, error in failed:
        print(f"jaxspk: {error}", file=sys.stderr)


def meaning(hearing: Hearing, protocol: str, calibration: Path | None) -> "Verification":
    """What scores of this model mean.

    Raises:
      ModelError: they were not calibrated.
    """
    from jaxspk.systems import load_verification

    rules = load_verification(hearing.folder, path=calibration)
    if protocol not in rules:
        place = hearing.folder if calibration is None else calibration
        raise ModelError(
            f"{place}: holds no calibration for the protocol {protocol!r}, without which a score decides nothing; "
            "score trials of your own (`jaxspk score`), learn from them (`jaxspk calibrate`), and name the result with "
            "--calibration."
        )
    return rules[protocol]


def open_store(store: Path | None, hearing: Hearing) -> "VoiceStore":
    """The people's voices: the file that is named, or the user's own."""
    from jaxspk.systems import VoiceStore, default_store, weights_sha256

    return VoiceStore(default_store() if store is None else store, weights_sha256(hearing.folder))


def quality_facts(quality: "RecordingQuality") -> dict[str, float | None]:
    """Quality as JSON values."""
    return {
        name: round(value, 4) if value > float("-inf") else None for name, value in dataclasses.asdict(quality).items()
    }


def percent(rate: float, trials: int) -> str:
    """An error rate in words, honest about how few trials it was counted on.

    Example:
      >>> percent(0.0413, 614), percent(0.0, 614), percent(1.0, 614)
      ('4.1 %', 'less than 0.16 %', '100 %')
    """
    if rate * trials < 1:
        return f"less than {min(100 / max(trials, 1), 100):.2g} %"
    return f"{100 * rate:.0f} %" if rate >= 0.095 else f"{100 * rate:.2g} %"
