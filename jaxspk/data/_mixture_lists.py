"""Fixed lists of mixtures on disk, so that every evaluation hears the same ones."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from jaxspk.data._manifest import Utterance, parse_gender
from jaxspk.data._mixtures import MixtureConfig, MixturePlan, Mixtures, digest
from jaxspk.data._recordings import Recordings
from jaxspk.data._tables import Row, read_table, relative_name, write_table
from jaxspk.errors import ArgumentError, CorpusError

_COMMON = ("name", "sample_rate", "length", "seconds")
_OF_A_SOURCE = ("path", "speaker", "gender", "split", "utterance_seconds", "gain_db", "start")


class MixtureList(Mixtures):
    """Mixtures by their plans, as read from a list.

    Args:
      plans: one per mixture.
      config: rate and lengths.
      recordings: where samples come from; sets over the same files may share one.
    """

    def __init__(
        self, plans: Sequence[MixturePlan], config: MixtureConfig, recordings: Recordings | None = None
    ) -> None:
        super().__init__(config, recordings)
        self._plans = tuple(plans)

    def __len__(self) -> int:
        return len(self._plans)

    def plan(self, index: int) -> MixturePlan:
        """What mixture ``index`` is made of."""
        return self._plans[self._checked(index)]

    @property
    def held_out(self) -> tuple[str, ...]:
        """Speakers in it that are kept for testing."""
        return tuple(sorted({u.speaker for plan in self._plans for u in plan.utterances if u.split == "test"}))

    @property
    def fingerprint(self) -> str:
        """Changes when a mixture changes; does not depend on the folder the files lie in."""
        files = ((p.name, p.gains_db, p.starts, *(u.path.name for u in p.utterances)) for p in self._plans)
        return digest(self.config, *files)


def write_mixture_list(path: Path | str, mixtures: Mixtures, *, root: Path | str | None = None) -> None:
    """Writes what a set of mixtures is made of; :func:`read_mixture_list` makes bit-identical ones of it.

    One row a mixture: name, sample_rate, length, seconds, and for every source ``source_<k>_`` path, speaker,
    gender, split, utterance_seconds, gain_db, start (samples at ``sample_rate``).

    Args:
      path: the table.
      mixtures: what to write.
      root: paths are written relative to this folder, or to that of the table if it is None.
    """
    path = Path(path)
    base = path.parent if root is None else Path(root)
    columns = [
        *_COMMON,
        *(_column(k, name) for k in range(mixtures.config.speakers) for name in _OF_A_SOURCE),
    ]
    rows = (_to_row(mixtures.plan(index), mixtures.config, base) for index in range(len(mixtures)))
    write_table(path, columns, rows)


def read_mixture_list(
    path: Path | str, *, root: Path | str | None = None, recordings: Recordings | None = None
) -> MixtureList:
    """Reads a list of mixtures.

    Args:
      path: the table.
      root: folder that its paths are relative to, or that of the table if it is None.
      recordings: where samples come from; sets over the same files may share one.

    Raises:
      CorpusError: the table cannot be read, names files that are not there, or mixes rates or lengths.
    """
    path = Path(path)
    base = path.parent if root is None else Path(root)
    rows = read_table(path, required=(*_COMMON, *(_column(0, name) for name in _OF_A_SOURCE)))
    if not rows:
        raise CorpusError(f"{path}: lists no mixture.")
    speakers = sum(name.startswith("source_") and name.endswith("_path") for name in rows[0].cells)
    try:
        configs = {_config_of(row, speakers) for row in rows}
        plans = [_plan_of(row, speakers, base) for row in rows]
    except (KeyError, ValueError, ArgumentError) as error:
        raise CorpusError(f"{path}: not a list of mixtures ({error}).") from None
    if len(configs) > 1:
        raise CorpusError(f"{path}: rows differ in sample_rate, length or seconds; write one list for each.")
    lost = next((u.path for plan in plans for u in plan.utterances if not u.path.is_file()), None)
    if lost is not None:
        raise CorpusError(f"{path}: names {lost}, which is not there; give the folder of the speech as `root`.")
    return MixtureList(plans, configs.pop(), recordings)


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
