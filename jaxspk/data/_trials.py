"""Lists of trials on disk, bare and scored: which recordings are compared, and whether one speaker made both."""

import codecs
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int

from jaxspk._files import write_whole
from jaxspk.errors import ArgumentError, CorpusError

_BYTES_AT_ONCE = 1 << 18  # Within the cache.


@dataclasses.dataclass(frozen=True, eq=False)
class Trials:
    """Pairs of recordings.

    Attributes:
      enrol: name of the first recording of each trial.
      test: name of the second.
      labels: whether both are of one speaker; None where that is not told.

    Raises:
      ArgumentError: the three differ in length.

    Example:
      >>> trials = Trials(("a.wav", "a.wav"), ("b.wav", "c.wav"), np.array([True, False]))
      >>> trials.names, trials.test_index
      (('a.wav', 'b.wav', 'c.wav'), array([1, 2], dtype=int32))
    """

    enrol: tuple[str, ...]
    test: tuple[str, ...]
    labels: Bool[np.ndarray, " trials"] | None = None

    def __post_init__(self) -> None:
        lengths = [len(self.enrol), len(self.test), *([] if self.labels is None else [len(self.labels)])]
        if len(set(lengths)) > 1:
            raise ArgumentError(f"`enrol`, `test` and `labels` must have one entry a trial, got {lengths}.")

    def __len__(self) -> int:
        return len(self.enrol)

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """The recordings, each once: all first ones in order of appearance, then what is new among the second."""
        return tuple(dict.fromkeys((*self.enrol, *self.test)))

    @functools.cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.names)}

    @functools.cached_property
    def enrol_index(self) -> Int[np.ndarray, " trials"]:
        """Where the first recording of each trial stands in :attr:`names`."""
        return np.fromiter(map(self._numbers.__getitem__, self.enrol), np.int32, len(self))

    @functools.cached_property
    def test_index(self) -> Int[np.ndarray, " trials"]:
        """Where the second recording of each trial stands in :attr:`names`."""
        return np.fromiter(map(self._numbers.__getitem__, self.test), np.int32, len(self))

    def select(self, keep: Bool[np.ndarray, " trials"]) -> "Trials":
        """The trials that are marked."""
        chosen = np.flatnonzero(keep).tolist()
        labels = None if self.labels is None else self.labels[keep]
        return Trials(tuple(self.enrol[i] for i in chosen), tuple(self.test[i] for i in chosen), labels)


@dataclasses.dataclass(frozen=True, eq=False)
class ScoredTrials:
    """Trials and a score for each.

    Attributes:
      trials: the pairs.
      scores: higher for more similar voices.

    Raises:
      ArgumentError: there is not one score a trial.
    """

    trials: Trials
    scores: Float64[np.ndarray, " trials"]

    def __post_init__(self) -> None:
        if len(self.scores) != len(self.trials):
            raise ArgumentError(f"`scores` must have one value a trial, got {len(self.scores)} for {len(self.trials)}.")

    def __len__(self) -> int:
        return len(self.trials)


def read_trials(path: Path | str) -> Trials:
    """Reads a list of trials, one a line, in either of the usual forms.

    VoxCeleb's ``1 A B`` (1 same speaker, 0 different), Kaldi's ``A B target`` (or ``nontarget``), or ``A B`` where the
    answer is not told. Names hold no spaces; fields are separated by spaces or tabs; blank lines are passed over. The
    first line decides the form of all.

    Raises:
      CorpusError: the file cannot be read, holds no trial, or a line has another form, named by its number.

    Note:
      A million lines take less than a second.
    """
    form, columns = _read(
        Path(path), _form_of_trials, "a trial, `1 A B` or `0 A B`, `A B target` or `A B nontarget`, or `A B`"
    )
    enrol, test = (tuple(columns[place]) for place in form.names)
    return Trials(enrol, test, None if form.label is None else np.array(columns[form.label], bool))


def write_trials(path: Path | str, trials: Trials) -> None:
    """Writes ``1 A B`` and ``0 A B``, or ``A B`` where the answer is not told.

    Raises:
      CorpusError: a name holds a space, or the file cannot be written.
    """
    _check_names(trials)
    if trials.labels is None:
        lines = [f"{a} {b}\n" for a, b in zip(trials.enrol, trials.test, strict=True)]
    else:
        truths = trials.labels.astype(int).tolist()
        lines = [f"{t} {a} {b}\n" for t, a, b in zip(truths, trials.enrol, trials.test, strict=True)]
    _write(Path(path), lines)


def read_scores(path: Path | str) -> ScoredTrials:
    """Reads scored trials, one a line: ``A B SCORE LABEL``, or ``A B SCORE`` where the answer is not told.

    LABEL is 1 or ``target`` for the same speaker, 0 or ``nontarget`` for different ones.

    Raises:
      CorpusError: the file cannot be read, holds no trial, or a line has another form or a score that is no finite
        number, named by its number.
    """
    form, columns = _read(Path(path), _form_of_scores, "a scored trial, `A B SCORE LABEL` or `A B SCORE`")
    enrol, test = (tuple(columns[place]) for place in form.names)
    labels = None if form.label is None else np.array(columns[form.label], bool)
    return ScoredTrials(Trials(enrol, test, labels), np.array(columns[2], np.float64))


def write_scores(path: Path | str, scored: ScoredTrials) -> None:
    """Writes ``A B SCORE LABEL`` with LABEL 1 or 0, or ``A B SCORE`` where the answer is not told; whole or not at all.

    Scores keep every digit: :func:`read_scores` gives them back bit by bit.

    Raises:
      CorpusError: a name holds a space, or the file cannot be written.
    """
    trials = scored.trials
    _check_names(trials)
    values = scored.scores.tolist()
    if trials.labels is None:
        lines = [f"{a} {b} {s!r}\n" for a, b, s in zip(trials.enrol, trials.test, values, strict=True)]
    else:
        truths = trials.labels.astype(int).tolist()
        lines = [f"{a} {b} {s!r} {t}\n" for a, b, s, t in zip(trials.enrol, trials.test, values, truths, strict=True)]
    _write(Path(path), lines)


# --- Reading: whole columns of many lines at once; only where one is wrong is it looked for. ---


class _Form(NamedTuple):
    """One form of lines: what is in each field."""

    text: str
    fields: int
    names: tuple[int, int]
    """Where the names of the recordings stand."""
    label: int | None
    values: Mapping[int, "_Column"]
    """What the other fields mean; KeyError or ValueError where one is wrong."""


_Column = Callable[[Sequence[bytes]], list[Any]]


def _finite(texts: Sequence[bytes]) -> list[float]:
    values = list(map(float, texts))
    if not np.isfinite(values).all():
        raise ValueError
    return values


def _labels(meanings: Mapping[bytes, bool]) -> _Column:
    return lambda texts: list(map(meanings.__getitem__, texts))


_DIGITS, _WORDS = {b"1": True, b"0": False}, {b"target": True, b"nontarget": False}
_VOXCELEB = _Form("`1 A B` or `0 A B`", 3, (1, 2), 0, {0: _labels(_DIGITS)})
_KALDI = _Form("`A B target` or `A B nontarget`", 3, (0, 1), 2, {2: _labels(_WORDS)})
_BLIND = _Form("`A B`", 2, (0, 1), None, {})
_SCORED = _Form(
    "`A B SCORE LABEL`, a finite score and 1, 0, target or nontarget",
    4, (0, 1), 3, {2: _finite, 3: _labels(_DIGITS | _WORDS)},
)  # fmt: skip
_SCORED_BLIND = _Form("`A B SCORE`, a finite score", 3, (0, 1), None, {2: _finite})


def _form_of_trials(first: Sequence[bytes]) -> _Form | None:
    if len(first) == 3 and first[2] in _WORDS:
        return _KALDI
    if len(first) == 3 and first[0] in _DIGITS:
        return _VOXCELEB
    return _BLIND if len(first) == 2 else None


def _form_of_scores(first: Sequence[bytes]) -> _Form | None:
    return {3: _SCORED_BLIND, 4: _SCORED}.get(len(first))


class _Names(dict[bytes, str]):
    """One string a name, however many lines it stands in."""

    def __missing__(self, raw: bytes) -> str:
        text = self[raw] = raw.decode("utf-8")
        return text

    def column(self, raws: Sequence[bytes]) -> list[str]:
        return list(map(self.__getitem__, raws))


def _read(
    path: Path, form_of: Callable[[Sequence[bytes]], _Form | None], expected: str
) -> tuple[_Form, list[list[Any]]]:
    """The form of the first line, and the fields of all lines by column."""
    form: _Form | None = None
    names = _Names()
    columns: list[list[Any]] = []
    for first_line, counts, fields in _blocks(path):
        lines = np.flatnonzero(counts) + first_line
        if not len(lines):
            continue
        form = form or form_of(fields[: counts[lines[0] - first_line]])
        if form is None:
            raise CorpusError(f"{path}, line {lines[0]}: expected {expected}, got {_shown(fields[: max(counts)])}.")
        columns = columns or [[] for _ in range(form.fields)]
        wrong = np.flatnonzero(counts[lines - first_line] != form.fields)
        if len(wrong):
            before = int(counts[: lines[wrong[0]] - first_line].sum())
            found = fields[before : before + counts[lines[wrong[0]] - first_line]]
            raise _other_form(path, int(lines[wrong[0]]), form, found)
        for place, column in enumerate(columns):
            convert = form.values.get(place, names.column)
            raw = fields[place :: form.fields]
            try:
                column += convert(raw)
            except (KeyError, ValueError):
                row = _first_wrong(convert, raw)
                found = fields[row * form.fields : (row + 1) * form.fields]
                raise _other_form(path, int(lines[row]), form, found) from None
    if form is None:
        raise CorpusError(f"{path}: holds nothing; expected {expected} a line.")
    return form, columns


def _blocks(path: Path) -> Iterator[tuple[int, Int[np.ndarray, " lines"], list[bytes]]]:
    """Many lines at once: the number of the first, from 1, how many fields each has, and all fields."""
    line = 1
    try:
        with path.open("rb") as stream:
            if stream.read(3) != codecs.BOM_UTF8:
                stream.seek(0)
            while block := stream.read(_BYTES_AT_ONCE):
                block += stream.readline()
                counts = _fields_by_line(block)
                yield line, counts, block.split()
                line += len(counts)
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror}).") from None


_IS_SPACE = np.array([bytes([value]).isspace() for value in range(256)])


def _fields_by_line(block: bytes) -> Int[np.ndarray, " lines"]:
    """How many fields ``bytes.split`` finds in each line."""
    codes = np.frombuffer(block, np.uint8)
    space = _IS_SPACE[codes]
    begins = ~space & np.concatenate([[True], space[:-1]])
    ends = np.flatnonzero(codes == ord("\n"))
    if not len(ends) or ends[-1] != len(codes) - 1:
        ends = np.append(ends, len(codes) - 1)
    return np.diff(np.cumsum(begins)[ends], prepend=0)


def _first_wrong(convert: _Column, raw: Sequence[bytes]) -> int:
    for row, text in enumerate(raw):
        try:
            convert([text])
        except (KeyError, ValueError):
            return row
    raise AssertionError("no field of a refused column is wrong")


def _other_form(path: Path, line: int, form: _Form, found: Sequence[bytes]) -> CorpusError:
    return CorpusError(f"{path}, line {line}: expected {form.text}, as on the first line, got {_shown(found)}.")


def _shown(fields: Sequence[bytes]) -> str:
    text = b" ".join(fields).decode("utf-8", "backslashreplace")
    return repr(text if len(text) <= 80 else f"{text[:77]}...")


def _check_names(trials: Trials) -> None:
    for name in trials.names:
        if len(name.split()) != 1 or name != name.strip():
            raise CorpusError(f"{name!r}: cannot stand in a list of trials, whose names hold no spaces; rename it.")


def _write(path: Path, lines: Sequence[str]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, "".join(lines).encode())
    except OSError as error:
        raise CorpusError(f"{path}: cannot be written ({error.strerror}).") from None
