r"""The metadata of LibriMix: which utterances of LibriSpeech are mixed, and by which factors.

A row names a path and a linear gain for each source. The recipe: multiply each utterance by its gain, resample, cut all
to the shortest ("min") or pad to the longest ("max"), add; nothing else is scaled. What the tables say of noise is
passed over: these are the mixtures called "mix_clean".

References:
  J. Cosentino et al., `LibriMix: an open-source dataset for generalizable speech separation
  <https://arxiv.org/abs/2005.11262>`_, 2020.
"""

import math
import re
from pathlib import Path
from typing import Literal

from jaxspk.data._layouts_librispeech import librispeech_genders, librispeech_split
from jaxspk.data._listed_speech import ListedSpeech, speaker_by_name, unique_name
from jaxspk.data._manifest import Gender, Utterance, parse_gender
from jaxspk.data._mixtures import MixtureConfig, MixtureList, MixturePlan
from jaxspk.data._recordings import Recordings
from jaxspk.data._tables import Row, read_table
from jaxspk.errors import CorpusError

_NAME = "mixture_ID"
_LOOKED_AT = 4096


def is_librimix(path: Path) -> bool:
    """Whether the header of a table names LibriMix's first column."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as stream:
            header = stream.readline(_LOOKED_AT)
    except OSError:
        return False
    return header.split(",")[0].strip() == _NAME


def read_librimix(
    path: Path | str,
    root: Path | str | None = None,
    *,
    sample_rate: int = 8000,
    length: Literal["shortest", "longest"] = "shortest",
    recordings: Recordings | None = None,
) -> MixtureList:
    """Reads a metadata table of LibriMix (``libri2mix_test-clean.csv``); needs no noise, writes nothing to disk.

    Speakers and sexes come from the table of the same name with ``_info.csv`` beside it, else from the names of the
    files and LibriSpeech's ``SPEAKERS.TXT``. Speakers of ``test-*`` and ``dev-*`` count as kept for testing and
    validation.

    Two things differ from the generated files: samples are not rounded to 16 bits (nor clipped there), and the
    resampling filter is soxr's, not SciPy's.

    Args:
      path: the table; one of those in ``metadata/``, not one that a generation wrote.
      root: LibriSpeech's folder (which holds ``test-clean``, say), or that of the table if it is None.
      sample_rate: of the mixtures, Hz; LibriMix has 8000 and 16000.
      length: "shortest" makes the files called "min", "longest" those called "max".
      recordings: at ``sample_rate``; sets over the same files may share one.

    Raises:
      CorpusError: a row has no sensible gain, stands twice, contradicts the info table, or names a recording that is
        not there or cannot be read; names table and line.
    """
    path = Path(path)
    base = path.parent if root is None else Path(root).expanduser()
    rows = read_table(path, required=(_NAME, "source_1_path", "source_1_gain", "source_2_path", "source_2_gain"))
    if not rows:
        raise CorpusError(f"{path}: lists no mixture.")
    speakers = sum(re.fullmatch(r"source_\d+_path", name) is not None for name in rows[0].cells)
    speech = ListedSpeech(path, base)
    people = _People(path, base)
    lines: dict[str, int] = {}
    plans = []
    for row in rows:
        name = unique_name(row.cells[_NAME], row.line, lines, path)
        utterances = tuple(_utterance(row, k, speech, people) for k in range(1, speakers + 1))
        gains_db = tuple(_gain_db(row, k, path) for k in range(1, speakers + 1))
        plans.append(MixturePlan(name, utterances, gains_db, (0,) * speakers))
    config = MixtureConfig(speakers=speakers, sample_rate=sample_rate, length=length)
    return MixtureList(plans, config, recordings, levels="recorded")


def _utterance(row: Row, source: int, speech: ListedSpeech, people: "_People") -> Utterance:
    name = row.cells.get(f"source_{source}_path", "")
    listed = Path(name)
    speaker, gender = people.of(row, source, speaker_by_name(listed))
    utterance = Utterance(
        path=speech.find(name, row.line),
        speaker=speaker,
        seconds=math.nan,
        gender=gender,
        corpus="LibriSpeech",
        split=librispeech_split(listed),
    )
    return speech.complete(utterance, row.line)


def _gain_db(row: Row, source: int, path: Path) -> float:
    text = row.cells.get(f"source_{source}_gain", "")
    try:
        gain = float(text)
    except ValueError:
        gain = math.nan
    if not 0 < gain < math.inf:
        raise CorpusError(f"{path}, line {row.line}: source_{source}_gain is {text!r}, expected a positive factor.")
    return 20 * math.log10(gain)


class _People:
    """Who speaks, by the info table beside the metadata; without one, sexes by LibriSpeech's own table."""

    def __init__(self, path: Path, root: Path) -> None:
        self._table = path
        self._info = path.with_name(f"{path.stem}_info.csv")
        self._rows: dict[str, Row] | None = None
        self._genders: dict[str, Gender | None] = {}
        if self._info.is_file():
            rows = read_table(self._info, required=(_NAME, "speaker_1_ID", "speaker_1_sex"))
            self._rows = {row.cells[_NAME]: row for row in rows}
        else:
            self._genders = librispeech_genders(root)

    def of(self, row: Row, source: int, named: str) -> tuple[str, Gender | None]:
        """Speaker and sex of a source whose file is named after ``named``."""
        if self._rows is None:
            return named, self._genders.get(named)
        about = self._rows.get(row.cells[_NAME])
        if about is None:
            raise CorpusError(
                f"{self._info}: no mixture {row.cells[_NAME]!r}, which is in line {row.line} of {self._table.name}."
            )
        # Some of the published tables write 1580.0.
        speaker = about.cells.get(f"speaker_{source}_ID", "").removesuffix(".0")
        if speaker != named:
            raise CorpusError(
                f"{self._info}, line {about.line}: speaker {source} is {speaker!r}, the recording is of {named!r}; "
                f"the two tables do not belong together."
            )
        try:
            return speaker, parse_gender(about.cells.get(f"speaker_{source}_sex", ""))
        except CorpusError as error:
            raise CorpusError(f"{self._info}, line {about.line}: {error}.") from None
