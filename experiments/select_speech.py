"""Rebuilds the selection of speech that the project's figures rest on, from the corpora as downloaded.

    python -m experiments.select_speech --librispeech ~/LibriSpeech --speechocean ~/speechocean762 -o speech

What is selected stands in docs/data/ (docs/data.md explains it). FLAC files are copied bit for bit and
checked by their hash, or by the hash of their samples where a file was packed anew without loss. What the
selection keeps as Ogg Vorbis is encoded here from the original, with the same setting; such a file is never
the same twice (its stream has a random number), so its length in samples is checked and nothing more.
"""

import collections
import dataclasses
import hashlib
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from jaxtyping import Float

from jaxspk import audio, data
from jaxspk.errors import CorpusError, JaxspkError

TABLES = Path(__file__).parent.parent / "docs" / "data"
UTTERANCES, SPEAKERS, HELD_OUT = "utterances.csv", "speakers.csv", "HELD_OUT.txt"

VORBIS_LEVEL = 0.2
"""libsndfile's compression level: libVorbis quality 0.8, nominally 85.6 kbit/s at 16 kHz."""

_BLOCK = 1 << 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Rebuild the selection of speech; give the corpora that you have, or both."""

    librispeech: Path | None = None
    """LibriSpeech as unpacked: the folder with test-clean, test-other and train-clean-100."""
    speechocean: Path | None = None
    """speechocean762 as unpacked: the folder with WAVE."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder to make; what a run before has left in it is replaced."""
    tables: Path = TABLES
    """The tables that say what is selected."""


@dataclasses.dataclass(frozen=True)
class Result:
    """What became of one utterance."""

    path: str
    outcome: str
    """One of "the same file", "the same samples", "encoded"; anything else is a problem in words."""

    @property
    def good(self) -> bool:
        """Whether the file is there and right."""
        return self.outcome in ("the same file", "the same samples", "encoded")


def main(options: Options) -> list[Result]:
    """Selects, writes the tables for what was found, and returns what became of every utterance.

    Raises:
      CorpusError: no corpus is given, a folder is not there, or a table cannot be read.
    """
    roots = {"LibriSpeech": options.librispeech, "speechocean762": options.speechocean}
    given = {corpus: _folder(root) for corpus, root in roots.items() if root is not None}
    if not given:
        raise CorpusError("no corpus: give --librispeech, --speechocean, or both; docs/data.md says where they are.")
    required = ("path", "corpus", "speaker", "samples", "sha256", "samples_sha256")
    rows = [row.cells for row in data.read_table(options.tables / UTTERANCES, required)]
    chosen = [row for row in rows if row["corpus"] in given]
    originals = {
        **_librispeech(given.get("LibriSpeech"), chosen),
        **_speechocean(given.get("speechocean762"), chosen),
    }
    results = [_select(row, originals.get(row["path"]), options.output) for row in chosen]
    good = {result.path for result in results if result.good}
    _write_tables(options, [row for row in chosen if row["path"] in good], given)
    return results


def _folder(root: Path) -> Path:
    root = root.expanduser()
    if not root.is_dir():
        raise CorpusError(f"{root}: no such folder; unpack the corpus and name the folder it makes.")
    return root


# --- Finding the originals --------------------------------------------------------------------------------


def _librispeech(root: Path | None, rows: Iterable[Mapping[str, str]]) -> dict[str, Path]:
    """Original of each selected LibriSpeech file; a subset may have another name, as in Mini LibriSpeech."""
    if root is None:
        return {}
    base = root / "LibriSpeech" if (root / "LibriSpeech").is_dir() else root
    found = {}
    for row in rows:
        if row["corpus"] != "LibriSpeech":
            continue
        _, subset, *place = Path(row["path"]).with_suffix(".flac").parts
        anywhere = sorted(base.glob(str(Path("*", *place))))
        exact = base.joinpath(subset, *place)
        if exact.is_file() or anywhere:
            found[row["path"]] = exact if exact.is_file() else anywhere[0]
    return found


def _speechocean(root: Path | None, rows: Iterable[Mapping[str, str]]) -> dict[str, Path]:
    """Original of each selected speechocean762 file: WAVE/SPEAKER<number>/<utterance>.WAV."""
    if root is None:
        return {}
    originals = {(file.parent.name[-4:], file.stem): file for file in _wave_files(root)}
    selected = {row["path"]: Path(row["path"]) for row in rows if row["corpus"] == "speechocean762"}
    keys = {path: (place.parent.name, place.stem) for path, place in selected.items()}
    return {path: originals[key] for path, key in keys.items() if key in originals}


def _wave_files(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        folders.sort()
        yield from (Path(folder, name) for name in sorted(names) if name.lower().endswith(".wav"))


# --- Copying and encoding ---------------------------------------------------------------------------------


def _select(row: Mapping[str, str], original: Path | None, output: Path) -> Result:
    path = row["path"]
    if original is None:
        return Result(path, "not in the corpus given")
    target = output / path
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if target.suffix == ".flac":
            _copy(original, target)
            return Result(path, _compared(target, row))
        waveform, rate = audio.read_audio(original)
        if len(waveform) != int(row["samples"]):
            return Result(path, f"{len(waveform)} samples, expected {row['samples']}: another edition of the corpus?")
        _encode(waveform, rate, target)
        return Result(path, "encoded")
    except (JaxspkError, OSError) as error:
        return Result(path, str(error))


def _compared(file: Path, row: Mapping[str, str]) -> str:
    if hashlib.sha256(file.read_bytes()).hexdigest().startswith(row["sha256"]):
        return "the same file"
    if samples_hash(file).startswith(row["samples_sha256"] or "none"):
        return "the same samples"
    return "other samples than were selected: another edition of the corpus?"


def samples_hash(file: Path) -> str:
    """SHA-256 of a recording's samples as 16-bit little-endian integers, whatever container they come in."""
    waveform, _ = audio.read_audio(file)
    return hashlib.sha256(np.round(waveform * 32768).astype("<i2").tobytes()).hexdigest()


def _copy(original: Path, target: Path) -> None:
    temporary = target.with_name(f".{target.name}")
    shutil.copyfile(original, temporary)
    os.replace(temporary, target)


def _encode(waveform: Float[np.ndarray, " samples"], rate: int, target: Path) -> None:
    import soundfile

    temporary = target.with_name(f".{target.name}")
    with soundfile.SoundFile(
        temporary, "w", rate, 1, format="OGG", subtype="VORBIS", compression_level=VORBIS_LEVEL
    ) as file:
        # libsndfile's Vorbis writer overflows its stack when it is given long recordings in one piece.
        for start in range(0, len(waveform), _BLOCK):
            file.write(waveform[start : start + _BLOCK])
    os.replace(temporary, target)


# --- Tables -----------------------------------------------------------------------------------------------


def _write_tables(options: Options, rows: list[dict[str, str]], given: Mapping[str, Path]) -> None:
    for row in rows:
        row["sha256"] = hashlib.sha256((options.output / row["path"]).read_bytes()).hexdigest()[:16]
    if not rows:
        return
    data.write_table(options.output / UTTERANCES, list(rows[0]), rows)
    known = [row.cells for row in data.read_table(options.tables / SPEAKERS, ("corpus", "speaker", "split"))]
    present = {(row["corpus"], row["speaker"]) for row in rows}
    people = [row for row in known if (row["corpus"], row["speaker"]) in present]
    data.write_table(options.output / SPEAKERS, list(known[0]), people)
    # Whole, even where only one corpus was given: a held-out speaker is held out everywhere.
    _copy(options.tables / HELD_OUT, options.output / HELD_OUT)
    for corpus, root in given.items():
        for name in ("SPEAKERS.TXT", "LICENSE.TXT"):
            file = next((file for file in (root / name, root / corpus / name) if file.is_file()), None)
            if file is not None:
                _copy(file, options.output / corpus / name)


def report(results: list[Result]) -> str:
    """Counts of what went well, then every problem on a line of its own."""
    counts = collections.Counter(result.outcome for result in results if result.good)
    lines = [f"{count:5} {outcome}" for outcome, count in sorted(counts.items())]
    problems = [result for result in results if not result.good]
    lines.append(f"{len(problems):5} problems")
    return "\n".join(lines + [f"  {result.path}: {result.outcome}" for result in problems])


if __name__ == "__main__":
    try:
        outcome = main(tyro.cli(Options, description=__doc__))
    except JaxspkError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print(report(outcome))
    sys.exit(any(not result.good for result in outcome))
