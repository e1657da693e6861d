"""``jaxspk embed``."""

import dataclasses
import io
import json
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from jaxspk.errors import ArgumentError, AudioError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Turn recordings into vectors that say who speaks: the nearer, the likelier one speaker.

    A file .npz holds two arrays, `recordings` (their names) and `embeddings` (a row each, of length 1: the inner
    product of two rows is the similarity of the voices). A file .csv holds a line a recording: its name, then the
    numbers. A recording that fails is named, the others go on, and the exit status is 1.

    Example: jaxspk embed interviews/ -o embeddings.npz
    """

    recordings: tyro.conf.Positional[tuple[Path, ...]]
    """Files or folders of them."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("embeddings.npz")
    """The file to write: .npz or .csv."""
    channel: int | Literal["mean"] = "mean"
    """Of recordings with several channels: their mean, or the number of one, from 0."""
    model: Path | None = None
    """A model directory; by default the weights that come with jaxspk."""
    json: bool = False
    """Print one JSON document instead of lines."""


def run(options: Options) -> int:
    """Embeds every recording; goes on past bad ones."""
    if not options.recordings:
        raise ArgumentError("name at least one recording or folder: jaxspk embed RECORDING -o embeddings.npz.")
    if options.output.suffix not in (".npz", ".csv"):
        raise ArgumentError(f"--output must end in .npz or .csv, got {str(options.output)!r}.")
    from jaxspk import audio
    from jaxspk._files import write_whole
    from jaxspk.cli import _voices

    recordings = audio.find_recordings(options.recordings)
    hearing = _voices.load_encoder(options.model)
    embedded = _voices.embed(hearing, recordings, channel=options.channel, measure_quality=False)
    if not embedded.paths:
        raise embedded.failed[0][1]
    _voices.say_failed(embedded.failed)
    names, vectors = [str(path) for path in embedded.paths], embedded.vectors[:, 0]
    content = _npz(names, vectors) if options.output.suffix == ".npz" else _csv(names, vectors)
    try:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        write_whole(options.output, content)
    except OSError as error:
        raise AudioError(f"{options.output}: cannot be written ({error.strerror}).") from None
    if options.json:
        failed = [{"recording": str(path), "error": str(error)} for path, error in embedded.failed]
        facts = {"file": str(options.output), "recordings": names, "dim": vectors.shape[1], "failed": failed}
        print(json.dumps(facts, indent=2))
    else:
        print(f"{options.output}: {len(names)} of {len(recordings)} recordings, {vectors.shape[1]} numbers each")
    return 1 if embedded.failed else 0


def _npz(names: list[str], vectors: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, recordings=np.array(names), embeddings=vectors)
    return file.getvalue()


def _csv(names: list[str], vectors: np.ndarray) -> bytes:
    import csv

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["recording", *(f"e{number}" for number in range(vectors.shape[1]))])
    # The shortest digits that give the same float32 back.
    writer.writerows([name, *map(str, vector)] for name, vector in zip(names, vectors, strict=True))
    return text.getvalue().encode()
