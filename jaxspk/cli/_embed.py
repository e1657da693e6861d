"""``jaxspk embed``."""

import dataclasses
import io
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from jaxspk.cli import _shards
from jaxspk.errors import ArgumentError, AudioError

_PIECE = 500


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Turn recordings into vectors that say who speaks: the nearer, the likelier one speaker.

    A file .npz holds `recordings` (their names) and `embeddings` (a row each, of length 1: the inner product of two
    rows is the similarity of the voices), and what they were made of. A file .csv holds a line a recording: its name,
    then the numbers. A recording that fails is named, the others go on, and the exit status is 1.

    A large collection is done in parts (`--shard 2/8`, each in a file of its own: embeddings-2-of-8.npz), and a command
    that was interrupted goes on (`--resume`). With --resume and without --shard it puts the parts together.

    Example: jaxspk embed interviews/ -o embeddings.npz

    Example: jaxspk embed archive/ -o archive.npz --resume --shard 2/8
    """

    recordings: tyro.conf.Positional[tuple[Path, ...]]
    """Files or folders of them."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("embeddings.npz")
    """The file to write: .npz or .csv."""
    channel: int | Literal["mean"] = "mean"
    """Of recordings with several channels: their mean, or the number of one, from 0."""
    model: Path | None = None
    """A model directory; by default the weights that come with jaxspk."""
    resume: bool = False
    """Take over what stands in OUTPUT or in files of its parts already, for recordings that have not changed since."""
    shard: str | None = None
    """Do only one of several equal parts of the recordings, such as 2/8, on this machine; under `jaxspk launch` each
    process does its part by itself."""
    json: bool = False
    """Print one JSON document instead of lines."""


def run(options: Options) -> int:
    """Embeds every recording; goes on past bad ones."""
    if not options.recordings:
        raise ArgumentError("name at least one recording or folder: jaxspk embed RECORDING -o embeddings.npz.")
    if options.output.suffix not in (".npz", ".csv"):
        raise ArgumentError(f"--output must end in .npz or .csv, got {str(options.output)!r}.")
    if options.resume and options.output.suffix != ".npz":
        raise ArgumentError("--resume needs an --output that ends in .npz, which says what it was made of.")
    from jaxspk import audio
    from jaxspk.cli import _voices
    from jaxspk.systems import weights_sha256

    part = _shards.choose(options.shard)
    recordings = part.of(audio.find_recordings(options.recordings))
    hearing = _voices.load_encoder(options.model)
    settings = f"{weights_sha256(hearing.folder)} channel {options.channel}"
    known = _known(options.output, settings) if options.resume else {}
    rows = {path: known[path] for path in recordings if path in known}
    before = len(rows)
    failed: list[tuple[Path, AudioError]] = []
    for piece in _pieces([path for path in recordings if path not in rows], before, whole=not options.resume):
        embedded = _voices.embed(hearing, piece, channel=options.channel, measure_quality=False)
        _voices.say_failed(embedded.failed)
        failed += embedded.failed
        rows |= dict(zip(embedded.paths, embedded.vectors[:, 0], strict=True))
        rows = {path: rows[path] for path in recordings if path in rows}
        _write(part.place(options.output), rows, settings)
    if not rows and failed:
        raise failed[0][1]
    if before == len(rows):
        _write(part.place(options.output), rows, settings)
    _tell(options, part.place(options.output), rows, len(recordings), before, failed)
    return 1 if failed else 0


def _tell(
    options: Options,
    place: Path,
    rows: Mapping[Path, np.ndarray],
    asked: int,
    before: int,
    failed: Sequence[tuple[Path, AudioError]],
) -> None:
    dim = len(next(iter(rows.values()))) if rows else 0
    if options.json:
        told = [{"recording": str(path), "error": str(error)} for path, error in failed]
        names = [str(path) for path in rows]
        print(json.dumps({"file": str(place), "recordings": names, "dim": dim, "failed": told}, indent=2))
    else:
        remark = f", {before} of them before" if before else ""
        print(f"{place}: {len(rows)} of {asked} recordings, {dim} numbers each{remark}")


def _pieces(recordings: Sequence[Path], before: int, *, whole: bool) -> Iterator[Sequence[Path]]:
    """All at once; or so many that what is written again and again is not much more than what is written at last."""
    start = 0
    while start < len(recordings):
        size = len(recordings) if whole else max(_PIECE, (before + start) // 4)
        yield recordings[start : start + size]
        start += size


def _known(output: Path, settings: str) -> dict[Path, np.ndarray]:
    """What files of this collection and its parts hold of the same model, for recordings that have not changed."""
    found = {}
    for place in _shards.all_places(output):
        try:
            with np.load(place, allow_pickle=False) as stored:
                if str(stored["settings"]) != settings:
                    continue
                columns = stored["recordings"], stored["stamps"], stored["embeddings"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            # Of an earlier version, or no file of ours: made anew.
            continue
        for name, stamp, vector in zip(*columns, strict=True):
            path = Path(str(name))
            if stamp and str(stamp) == _shards.stamp(path):
                found[path] = vector
    return found


def _write(place: Path, rows: Mapping[Path, np.ndarray], settings: str) -> None:
    if not rows:
        return
    from jaxspk._files import write_whole

    names, vectors = [str(path) for path in rows], np.stack(list(rows.values()))
    stamps = [_shards.stamp(path) for path in rows]
    content = _npz(names, vectors, stamps, settings) if place.suffix == ".npz" else _csv(names, vectors)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        write_whole(place, content)
    except OSError as error:
        raise AudioError(f"{place}: cannot be written ({error.strerror}).") from None


def _npz(names: list[str], vectors: np.ndarray, stamps: list[str], settings: str) -> bytes:
    file = io.BytesIO()
    np.savez(
        file,
        recordings=np.array(names),
        embeddings=vectors,
        stamps=np.array(stamps),
        settings=np.array(settings),
    )
    return file.getvalue()


def _csv(names: list[str], vectors: np.ndarray) -> bytes:
    import csv

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["recording", *(f"e{number}" for number in range(vectors.shape[1]))])
    # The shortest digits that give the same float32 back.
    writer.writerows([name, *map(str, vector)] for name, vector in zip(names, vectors, strict=True))
    return text.getvalue().encode()
