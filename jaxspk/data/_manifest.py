"""What a corpus holds: utterances, who speaks them, and which speakers may be trained on."""

import dataclasses
import functools
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from jaxspk import _checks
from jaxspk.data._tables import Row, read_table, relative_name, write_table
from jaxspk.errors import ArgumentError, CorpusError

Gender = Literal["F", "M"]

HELD_OUT_SPLITS = ("test", "validation")
"""Splits a corpus may fix itself; a speaker marked with one of them never enters another part."""

COLUMNS = ("path", "speaker", "gender", "seconds", "text", "session", "corpus", "split")

_GENDERS: Mapping[str, Gender | None] = {
    "": None, "u": None, "unknown": None, "f": "F", "female": "F", "m": "M", "male": "M",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Utterance:
    """One recording of one speaker.

    Args:
      path: the audio file.
      speaker: name of the speaker, unique in the manifest.
      seconds: duration.
      gender: "F", "M", or None where it is not known.
      text: what is said, where it is known.
      session: recordings made together share one (a chapter of LibriSpeech, say).
      corpus: where the recording comes from.
      split: the part its corpus puts the speaker in. "test" and "validation" bind: see
        :func:`split_speakers`.
    """

    path: Path
    speaker: str
    seconds: float
    gender: Gender | None = None
    text: str | None = None
    session: str | None = None
    corpus: str | None = None
    split: str | None = None


@dataclasses.dataclass(frozen=True, repr=False)
class Manifest:
    """An ordered set of utterances, each file once, whose speakers each have one gender and one split.

    Raises:
      CorpusError: a file stands twice, or a speaker has two genders or two splits.

    Example:
      >>> ann, bob = Utterance(Path("a.wav"), "ann", 2.0, "F"), Utterance(Path("b.wav"), "bob", 3.0)
      >>> manifest = Manifest((ann, bob))
      >>> manifest.speakers, manifest.seconds, len(manifest.where(gender="F"))
      (('ann', 'bob'), 5.0, 1)
    """

    utterances: tuple[Utterance, ...]

    def __post_init__(self) -> None:
        for path, count in Counter(utterance.path for utterance in self.utterances).items():
            if count > 1:
                raise CorpusError(f"{path} stands {count} times in the manifest; list each file once.")
        for field in ("gender", "split"):
            seen: dict[str, str | None] = {}
            for utterance in self.utterances:
                value = getattr(utterance, field)
                if seen.setdefault(utterance.speaker, value) != value:
                    raise CorpusError(
                        f"speaker {utterance.speaker!r} has two values of {field}, "
                        f"{seen[utterance.speaker]!r} and {value!r} ({utterance.path}); "
                        f"give two people two names."
                    )

    def __repr__(self) -> str:
        return f"<Manifest: {len(self)} utterances of {len(self.speakers)} speakers, {self.seconds:.0f} s>"

    def __len__(self) -> int:
        return len(self.utterances)

    def __iter__(self) -> Iterator[Utterance]:
        return iter(self.utterances)

    @functools.cached_property
    def speakers(self) -> tuple[str, ...]:
        """Names of the speakers, sorted."""
        return tuple(sorted(self._grouped))

    @functools.cached_property
    def seconds(self) -> float:
        """Duration of all utterances together."""
        return float(sum(utterance.seconds for utterance in self.utterances))

    @functools.cached_property
    def genders(self) -> Mapping[str, Gender | None]:
        """The gender of each speaker."""
        return {speaker: self._grouped[speaker][0].gender for speaker in self.speakers}

    @functools.cached_property
    def splits(self) -> Mapping[str, str | None]:
        """The split of each speaker."""
        return {speaker: self._grouped[speaker][0].split for speaker in self.speakers}

    @functools.cached_property
    def _grouped(self) -> dict[str, tuple[Utterance, ...]]:
        groups: dict[str, list[Utterance]] = {}
        for utterance in self.utterances:
            groups.setdefault(utterance.speaker, []).append(utterance)
        return {speaker: tuple(group) for speaker, group in groups.items()}

    def by_speaker(self) -> dict[str, tuple[Utterance, ...]]:
        """Utterances of each speaker, in the manifest's order; speakers in order of their names."""
        return {speaker: self._grouped[speaker] for speaker in self.speakers}

    def where(
        self,
        keep: Callable[[Utterance], bool] | None = None,
        *,
        speakers: Collection[str] | None = None,
        gender: Gender | None = None,
        corpus: str | None = None,
        split: str | None = None,
        min_seconds: float = 0.0,
        max_seconds: float = float("inf"),
    ) -> "Manifest":
        """The utterances that meet every condition given; ``keep`` is any condition of one's own."""
        wanted = None if speakers is None else frozenset(speakers)
        return Manifest(
            tuple(
                utterance
                for utterance in self.utterances
                if (wanted is None or utterance.speaker in wanted)
                and (gender is None or utterance.gender == gender)
                and (corpus is None or utterance.corpus == corpus)
                and (split is None or utterance.split == split)
                and min_seconds <= utterance.seconds <= max_seconds
                and (keep is None or keep(utterance))
            )
        )

    def to_csv(self, path: Path | str) -> None:
        """Writes the manifest as a table that :func:`jaxspk.data.read_corpus` and :meth:`from_csv` read.

        Files below the table's folder are named relative to it, so that the folder can be moved.
        """
        path = Path(path)
        write_table(
            path,
            COLUMNS,
            ({**vars(utterance), "path": relative_name(utterance.path, path.parent)} for utterance in self),
        )

    @classmethod
    def from_csv(cls, path: Path | str) -> "Manifest":
        """Reads a table with at least path, speaker and seconds. The audio files are not looked at.

        Raises:
          CorpusError: the table cannot be read, or a line of it cannot be right.
        """
        path = Path(path)
        return cls(tuple(_utterance(path, row) for row in read_table(path, required=("path", "speaker", "seconds"))))


def split_speakers(manifest: Manifest, fractions: Mapping[str, float], *, seed: int) -> dict[str, Manifest]:
    """Divides the speakers among named parts; no speaker is in two of them.

    Speakers whose corpus marks them "test" or "validation" go to the part of that name, which then holds
    nobody else, whether ``fractions`` names it or not: there is no way to train on a held-out speaker through
    this function. All other speakers are shared out among the remaining parts in proportion to ``fractions``,
    women, men and speakers of unknown gender each by themselves, so that the parts are alike; every part gets
    at least one of each gender that has enough speakers. The utterances returned carry their part as
    ``split``.

    Args:
      manifest: what to divide.
      fractions: name of a part to its share, for instance ``{"train": 0.9, "validation": 0.1}``; positive,
        of any sum.
      seed: decides who goes where.

    Returns:
      A manifest for every part named, then for those the corpus marks itself.

    Raises:
      ArgumentError: ``fractions`` is empty or holds a share that is not positive.
      CorpusError: there are too few speakers for so many parts.
    """
    if not fractions:
        raise ArgumentError("`fractions` must name at least one part, for instance {'train': 1.0}.")
    for part, fraction in fractions.items():
        _checks.check_range(f"fractions[{part!r}]", fraction, low=0.0, high=1e9, low_open=True)
    fixed = {name: [s for s, split in manifest.splits.items() if split == name] for name in HELD_OUT_SPLITS}
    shares = {part: fraction for part, fraction in fractions.items() if not fixed.get(part)}
    free = [s for s, split in manifest.splits.items() if split not in HELD_OUT_SPLITS]
    parts = _share_out(free, manifest.genders, shares, seed) if shares else {}
    parts |= {name: speakers for name, speakers in fixed.items() if speakers}
    empty = [part for part in fractions if not parts[part]]
    if empty:
        raise CorpusError(
            f"no speaker is left for {empty[0]!r}: {len(free)} speakers that are not held out cannot be "
            f"divided into {', '.join(shares)}; name fewer parts or add speakers."
        )
    order = [*fractions, *(name for name in parts if name not in fractions)]
    return {part: _as_part(manifest, part, parts[part]) for part in order}


def _share_out(
    speakers: list[str], genders: Mapping[str, Gender | None], shares: Mapping[str, float], seed: int
) -> dict[str, list[str]]:
    """Each gender in a random order, one speaker after the other to the part that lacks most."""
    rng = np.random.default_rng(seed)
    total = sum(shares.values())
    parts: dict[str, list[str]] = {part: [] for part in shares}
    for gender in ("F", "M", None):
        group = [speaker for speaker in speakers if genders[speaker] == gender]
        taken = dict.fromkeys(shares, 0)
        for index in rng.permutation(len(group)):
            part = _neediest(shares, total, taken, len(group), parts)
            taken[part] += 1
            parts[part].append(group[index])
    return parts


def _neediest(
    shares: Mapping[str, float],
    total: float,
    taken: Mapping[str, int],
    size: int,
    parts: Mapping[str, list[str]],
) -> str:
    """The part furthest below its share of a group of ``size``; one that has nobody of it comes first."""

    def lack(part: str) -> tuple[bool, float, float]:
        share = shares[part] / total
        return taken[part] == 0 and size >= len(shares), share * size - taken[part], -len(parts[part]) / share

    return max(shares, key=lack)


def _as_part(manifest: Manifest, part: str, speakers: list[str]) -> Manifest:
    chosen = manifest.where(speakers=speakers)
    return Manifest(tuple(dataclasses.replace(utterance, split=part) for utterance in chosen))


def parse_gender(text: str) -> Gender | None:
    """Any usual spelling as "F" or "M", an empty cell as None; CorpusError for anything else."""
    try:
        return _GENDERS[text.strip().lower()]
    except KeyError:
        raise CorpusError(f"gender {text!r} is not one of F, M or empty") from None


def _utterance(table: Path, row: Row) -> Utterance:
    cells = row.cells
    where = f"{table}, line {row.line}"
    if not cells["speaker"]:
        raise CorpusError(f"{where}: no speaker; name one for every file.")
    try:
        seconds = float(cells["seconds"])
    except ValueError:
        raise CorpusError(f"{where}: seconds is {cells['seconds']!r}, expected a number.") from None
    if not 0 <= seconds < float("inf"):
        raise CorpusError(f"{where}: seconds is {seconds}, expected a duration.")
    try:
        gender = parse_gender(cells.get("gender", ""))
    except CorpusError as error:
        raise CorpusError(f"{where}: {error}.") from None
    optional = {name: cells.get(name) or None for name in ("text", "session", "corpus", "split")}
    return Utterance(table.parent / cells["path"], cells["speaker"], seconds, gender, **optional)
