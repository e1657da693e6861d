r"""The lists of wsj0-2mix and wsj0-3mix: which utterances of WSJ0 are mixed, and at which levels.

A line is a path and a gain in dB for each source, between spaces. The recipe: resample to 8 kHz, divide each utterance
by its active speech level (ITU-T P.56, of the whole utterance at 8 kHz, of what lies above 200 Hz), multiply by
:math:`10^{g/20}`, cut all to the shortest ("min") or pad to the longest ("max"), add, and scale so that the largest
sample of mixture and sources is 0.9. The band is that of Voicebox's ``activlev``, which the scripts call: low voices
come out louder than by the level of all that is heard.

References:
  J. R. Hershey et al., *Deep clustering*, ICASSP 2016, and the scripts published with it.
"""

import math
import re
from pathlib import Path
from typing import Literal, NamedTuple

from jaxspk.data._layouts_ldc import wsj0_genders, wsj0_speaker, wsj0_split
from jaxspk.data._layouts_librispeech import librispeech_genders
from jaxspk.data._listed_speech import ListedSpeech, speaker_by_name, unique_name
from jaxspk.data._listing import read_lines
from jaxspk.data._manifest import Gender, Utterance
from jaxspk.data._mixtures import MixtureConfig, MixtureList, MixturePlan
from jaxspk.data._recordings import Recordings
from jaxspk.errors import CorpusError

SAMPLE_RATE = 8000
_LOOKED_AT = 4096


class _Source(NamedTuple):
    path: str
    gain: str

    @property
    def gain_db(self) -> float:
        return float(self.gain)


def is_wsj0_mix(path: Path) -> bool:
    """Whether a file is a text, or its first line is paths and gains between spaces."""
    if path.suffix.lower() == ".txt":
        return True
    try:
        with path.open(encoding="utf-8", errors="replace") as stream:
            words = stream.readline(_LOOKED_AT).split()
    except OSError:
        return False
    return len(words) >= 4 and len(words) % 2 == 0 and not any("," in word for word in words) and _is_number(words[1])


def read_wsj0_mix(
    path: Path | str,
    root: Path | str | None = None,
    *,
    length: Literal["shortest", "longest"] = "shortest",
    recordings: Recordings | None = None,
) -> MixtureList:
    """Reads a list of wsj0-2mix or wsj0-3mix (``mix_2_spk_tt.txt``); nothing is written to disk.

    Speakers come from the names of the files, genders from WSJ0's ``spkrinfo.txt`` below or above the root or beside
    the list. Speakers of ``si_dt_*`` and ``si_et_*`` count as kept for testing. A list of the same form over another
    corpus is read alike: its speakers are the names of folders, or what names of LibriSpeech begin with.

    Three things differ a little from the published files: samples are not rounded to 16 bits, the resampling filter is
    soxr's, not Matlab's, and the active level is measured without the standard's interpolation (see
    :func:`jaxspk.audio.speech_level`), which makes 0.1 dB.

    Args:
      path: the list.
      root: the folder that holds ``wsj0/`` or ``si_tr_s/`` (or the discs), or that of the list if it is None.
        Recordings may be ``.wv1``, ``.wav`` or any other format, whatever ending the list names.
      length: "shortest" makes the files called "min", "longest" those called "max".
      recordings: at 8000 Hz; sets over the same files may share one.

    Raises:
      CorpusError: a line is not paths and gains, stands twice, or names a recording that is not there or cannot be
        read; names list and line.
    """
    path = Path(path)
    base = path.parent if root is None else Path(root).expanduser()
    rows = [(number, _sources(line, path, number)) for number, line in read_lines(path)]
    if not rows:
        raise CorpusError(f"{path}: lists no mixture.")
    speech = ListedSpeech(path, base)
    genders = wsj0_genders(base, path.parent) or librispeech_genders(base)
    first_line, first = rows[0]
    lines: dict[str, int] = {}
    plans = []
    for number, sources in rows:
        if len(sources) != len(first):
            raise CorpusError(
                f"{path}, line {number}: {len(sources)} sources, line {first_line} has {len(first)}; "
                f"make a list for each number of speakers."
            )
        name = "_".join(f"{Path(source.path).stem}_{source.gain}" for source in sources)
        utterances = tuple(_utterance(source, number, speech, genders) for source in sources)
        gains_db = tuple(source.gain_db for source in sources)
        name = unique_name(name, number, lines, path)
        plans.append(MixturePlan(name, utterances, gains_db, (0,) * len(sources)))
    config = MixtureConfig(speakers=len(first), sample_rate=SAMPLE_RATE, length=length)
    return MixtureList(plans, config, recordings, levels="active_above_200_hz")


def _sources(line: str, path: Path, number: int) -> list[_Source]:
    words = line.split()
    if len(words) < 4 or len(words) % 2:
        raise CorpusError(
            f"{path}, line {number}: {len(words)} fields, expected a path and a gain in dB for each of two or more "
            f"sources."
        )
    sources = [_Source(*pair) for pair in zip(words[::2], words[1::2], strict=True)]
    for source in sources:
        if not _is_number(source.gain):
            raise CorpusError(f"{path}, line {number}: the gain of {source.path} is {source.gain!r}, expected dB.")
    return sources


def _utterance(source: _Source, line: int, speech: ListedSpeech, genders: dict[str, Gender | None]) -> Utterance:
    file = speech.find(source.path, line)
    # The name in the list, not that of the file: links and converted copies may be called otherwise.
    listed = Path(source.path)
    wsj0 = wsj0_speaker(listed)
    speaker = wsj0 or speaker_by_name(listed)
    utterance = Utterance(
        path=file,
        speaker=speaker,
        seconds=math.nan,
        gender=genders.get(speaker),
        corpus="WSJ0" if wsj0 else None,
        split=wsj0_split(listed) if wsj0 else None,
    )
    return speech.complete(utterance, line)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,2})?", text) is not None
