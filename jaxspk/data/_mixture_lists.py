"""Lists of mixtures on disk, so that every evaluation hears the same ones: our own tables, and published lists."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import cast, get_args

from jaxspk.data._librimix import is_librimix, read_librimix
from jaxspk.data._manifest import Utterance, parse_gender
from jaxspk.data._mixtures import MixtureConfig, MixtureList, MixturePlan, Mixtures
from jaxspk.data._recordings import Levels, Recordings
from jaxspk.data._tables import Row, read_table, relative_name, write_table
from jaxspk.data._wsj0_mix import is_wsj0_mix, read_wsj0_mix
from jaxspk.errors import ArgumentError, CorpusError

_COMMON = ("name", "sample_rate", "length", "seconds")
_LEVELS = "levels"
_OF_A_SOURCE = ("path", "speaker", "gender", "split", "utterance_seconds", "gain_db", "start")


def write_mixture_list(path: Path | str, mixtures: Mixtures, *, root: Path | str | None = None) -> None:
    """Writes what a set of mixtures is made of; :func:`read_mixture_list` makes bit-identical ones of it.

    One row a mixture: name, sample_rate, length, seconds, and for every source ``source_<k>_`` path, speaker,
    gender, split, utterance_seconds, gain_db, start (samples at ``sample_rate``); and ``levels`` where gains are not
    relative to active levels.

    Args:
      path: the table.
      mixtures: what to write.
      root: paths are written relative to this folder, or to that of the table if it is None.
    """
    path = Path(path)
    base = path.parent if root is None else Path(root)
    columns = [
        *_COMMON,
        *([] if mixtures.levels == "active" else [_LEVELS]),
        *(_column(k, name) for k in range(mixtures.config.speakers) for name in _OF_A_SOURCE),
    ]
    rows = (_to_row(mixtures.plan(index), mixtures.config, base) for index in range(len(mixtures)))
    write_table(path, columns, ({**row, _LEVELS: mixtures.levels} for row in rows))


def read_mixture_list(
    path: Path | str, *, root: Path | str | None = None, recordings: Recordings | None = None
) -> MixtureList:
    """Reads a list of mixtures: our own, or a published one with its own recipe.

    A table as :func:`write_mixture_list` writes it; a list of wsj0-2mix or wsj0-3mix (:func:`read_wsj0_mix` at its
    defaults); a metadata table of LibriMix (:func:`read_librimix` at its defaults, or at the rate of ``recordings``).
    Which it is shows in its first line.

    Args:
      path: the list.
      root: folder that its paths are relative to, or that of the list if it is None.
      recordings: where samples come from; sets over the same files may share one.

    Raises:
      CorpusError: the table cannot be read, names files that are not there, or mixes rates or lengths.
    """
    path = Path(path)
    root = None if root is None else Path(root).expanduser()
    if is_librimix(path):
        rate = 8000 if recordings is None else recordings.sample_rate
        return read_librimix(path, root, sample_rate=rate, recordings=recordings)
    if is_wsj0_mix(path):
        return read_wsj0_mix(path, root, recordings=recordings)
    base = root or path.parent
    rows = read_table(path, required=(*_COMMON, *(_column(0, name) for name in _OF_A_SOURCE)))
    if not rows:
        raise CorpusError(f"{path}: lists no mixture.")
    speakers = sum(name.startswith("source_") and name.endswith("_path") for name in rows[0].cells)
    try:
        configs = {(_config_of(row, speakers), _levels_of(row)) for row in rows}
        plans = [_plan_of(row, speakers, base) for row in rows]
    except (KeyError, ValueError, ArgumentError) as error:
        raise CorpusError(f"{path}: not a list of mixtures ({error}).") from None
    if len(configs) > 1:
        raise CorpusError(f"{path}: rows differ in sample_rate, length, seconds or levels; write one list for each.")
    lost = next((u.path for plan in plans for u in plan.utterances if not os.path.isfile(u.path)), None)
    if lost is not None:
        raise CorpusError(f"{path}: names {lost}, which is not there; give the folder of the speech as `root`.")
    config, levels = configs.pop()
    return MixtureList(plans, config, recordings, levels=levels)


def _column(source: int, name: str) -> str:
    return f"source_{source + 1}_{name}"


def _to_row(plan: MixturePlan, config: MixtureConfig, base: Path) -> dict[str, object]:
    row: dict[str, object] = {
        "name": plan.name,
        "sample_rate": config.sample_rate,
        "length": config.length,
        "seconds": config.seconds,
    }
    for k, (utterance, gain_db, start) in enumerate(zip(plan.utterances, plan.gains_db, plan.starts, strict=True)):
        cells = (
            relative_name(utterance.path, base), utterance.speaker, utterance.gender, utterance.split,
            utterance.seconds, gain_db, start,
        )  # fmt: skip
        row |= {_column(k, name): cell for name, cell in zip(_OF_A_SOURCE, cells, strict=True)}
    return row


def _config_of(row: Row, speakers: int) -> MixtureConfig:
    length = row.cells["length"]
    if length not in ("shortest", "longest"):
        raise CorpusError(f"length {length!r}")
    seconds = row.cells["seconds"]
    return MixtureConfig(
        speakers=speakers,
        sample_rate=int(row.cells["sample_rate"]),
        length="shortest" if length == "shortest" else "longest",
        seconds=float(seconds) if seconds else None,
    )


def _levels_of(row: Row) -> Levels:
    levels = row.cells.get(_LEVELS, "active")
    for known in get_args(Levels):
        if levels == known:
            return cast(Levels, known)
    raise CorpusError(f"levels {levels!r}")


def _plan_of(row: Row, speakers: int, base: Path) -> MixturePlan:
    sources = [{name: row.cells[_column(k, name)] for name in _OF_A_SOURCE} for k in range(speakers)]
    return MixturePlan(
        row.cells["name"],
        tuple(_utterance_of(cells, base) for cells in sources),
        tuple(float(cells["gain_db"]) for cells in sources),
        tuple(int(cells["start"]) for cells in sources),
    )


def _utterance_of(cells: Mapping[str, str], base: Path) -> Utterance:
    return Utterance(
        path=base / cells["path"],
        speaker=cells["speaker"],
        seconds=float(cells["utterance_seconds"]),
        gender=parse_gender(cells["gender"]),
        split=cells["split"] or None,
    )
