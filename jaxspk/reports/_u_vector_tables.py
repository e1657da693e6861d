"""The tables of a grid of u-vectors, with the paper's figures beside ours, and the ladder of gains."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxspk.reports._tables import Cell, Table, format_cell
from jaxspk.reports._u_vector_measures import NUMBER, Measure, ari, marks, measure, spread
from jaxspk.systems import (
    DISCRIMINANT,
    HELD_OUT_FRAMES,
    HELD_OUT_SPEAKERS,
    MFCC_STATISTICS,
    TWINS,
    U_VECTORS,
    UNTRAINED_NETWORK,
    UVectorResult,
    score_columns,
)

Figures = Mapping[tuple[str, int, str, float], Mapping[str, float]]
"""What the paper printed: by data set, speakers, "train" or "ground" and impurity, its ACC, NMI and ARI."""

Durations = Sequence[Mapping[str, str]]
"""The rows of the paper's Table 2."""

PAPER_DATASETS: Mapping[str, str] = {
    "LibriSpeech": "LIBRI", "TIMIT": "TIMIT", "Bengali ASR": "ASR",
}  # fmt: skip
"""The paper's name of a corpus."""

DOUBTED = (("LIBRI", 146, "train", 0.0), ("TIMIT", 150, "train", 0.0))
"""Rows of the paper whose NMI lies below what noise reaches under the published code's sampling; likely misprints."""

_PAPER_TABLES = {"TIMIT": "3", "LIBRI": "4", "ASR": "5"}
_MEASURES = {"accuracy": "ACC", "nmi": "NMI", "ari": "ARI"}
_TRAIN, _GROUND = "train", "ground"


def duration_table(described: Mapping[str, Any], durations: Durations) -> Table:
    """Table 2: how long speech lasts between pauses, and how many words a sentence has.

    Args:
      described: what a grid's folder says of the corpus.
      durations: the paper's rows.
    """
    words = described["words"]
    ours: list[Cell] = [
        f"{described['corpus']}, ours",
        *(float(described[f"{name}_seconds"]) for name in ("mean", "median", "std")),
        *([float(np.mean(words)), float(np.median(words)), float(np.std(words))] if words else [None] * 3),
    ]
    names = [
        f"{what}_{name}{unit}" for what, unit in (("segment_duration", "_s"), ("words_per_sentence", ""))
        for name in ("mean", "median", "std")
    ]  # fmt: skip
    paper: list[list[Cell]] = [[f"{row['dataset']}, paper", *(float(row[name]) for name in names)] for row in durations]
    columns = ("Corpus", *(f"{what}, {name}" for what in ("Seconds", "Words") for name in ("mean", "median", "std")))
    lost = described["dropped_seconds"] / max(described["speech_seconds"], 1e-9)
    caption = (
        f"Table 2: stretches of speech between pauses; ours are {described['intervals']} in {described['recordings']} "
        f"recordings of {described['speakers']} speakers. Cut into whole segments, {lost:.0%} of the speech is left "
        "over. Words where the corpus tells them."
    )
    return Table(columns, [ours, *paper], caption)


def u_vector_tables(results: Sequence[UVectorResult], figures: Figures) -> list[Table]:
    """Tables 3 to 5 in the paper's layout, the same under the published code's sampling, and what is to be trusted.

    Args:
      results: of the paper's grid; what is missing is left out.
      figures: the paper's.
    """
    tables = []
    for key in _groups(results):
        of_group = [result for result in results if _group(result) == key]
        tables += [_paper_table(key, of_group, figures), _released_table(key, of_group)]
    return [*tables, honest_table(results)] if results else tables


def reached(results: Sequence[UVectorResult], figures: Figures) -> str:
    """In words: how often ours reach the paper's ARI against the speakers, and what stands between the two.

    Args:
      results: of the paper's grid.
      figures: the paper's.
    """
    said = []
    for key in _groups(results):
        pairs = []
        for speakers, impurity in _cells_of([r for r in results if _group(r) == key]):
            own = _of([r for r in results if _group(r) == key], speakers, impurity)
            printed = figures.get((paper_dataset(key.corpus), speakers, _GROUND, impurity))
            if printed:
                means = [
                    float(np.mean([value for result in own if (value := wanted(result)) is not None]))
                    for wanted in (_as_printed(_GROUND, "ari"), ari(U_VECTORS))
                ]
                pairs.append((means, printed["ARI"]))
        if pairs:
            frames, segments = (sum(means[of] >= theirs for means, theirs in pairs) for of in (0, 1))
            marked = " (USES SPEAKER LABELS)" if key.protocol == "as_released" else ""
            said.append(
                f"{TWINS[key.twin]}{marked}: of {len(pairs)} ARI that the paper printed for the pairwise loss, "
                f"clusters of ten frames a speaker reach {frames}, clusters of segments {segments}"
            )
    if not said:
        return ""
    return (
        f"Against the speakers: {'; '.join(said)}. Where ours stay below: the paper does not tell how many frames of "
        "0.2 s a cluster was scored by, nor the step it took; its code chooses the step by the speakers' names, begins "
        "with a network trained on photographs, and makes must-links of a speaker's frames from anywhere, which is the "
        "protocol “as released” here; ours train small networks for a minute. The ladder and the tables by sampling "
        "hold an experiment for each of these but the photographs."
    )


def honest_table(results: Sequence[UVectorResult]) -> Table:
    """Adjusted Rand indices against the speakers: of segments and frames, heard and not, beside all baselines."""
    measures: list[tuple[str, Measure]] = [
        ("Segments", ari(U_VECTORS)),
        ("Segments, MFCC statistics", ari(MFCC_STATISTICS)),
        ("Segments, linear discriminant", ari(DISCRIMINANT)),
        ("Segments, untrained network", ari(UNTRAINED_NETWORK)),
        ("Segments, noise", ari(U_VECTORS, noise=True)),
        ("Frames", ari(U_VECTORS, of="frames")),
        ("Frames, MFCC statistics", ari(MFCC_STATISTICS, of="frames")),
        ("Held-out frames", ari(U_VECTORS, speech=HELD_OUT_FRAMES, of="frames")),
        ("Other speakers' segments", ari(U_VECTORS, speech=HELD_OUT_SPEAKERS)),
        ("Other speakers' segments, MFCC statistics", ari(MFCC_STATISTICS, speech=HELD_OUT_SPEAKERS)),
    ]
    names = list(dict.fromkeys(result.name for result in results))
    names.sort(key=lambda name: _order(next(result for result in results if result.name == name)))
    rows: list[list[Cell]] = []
    for name in names:
        own = [result for result in results if result.name == name]
        rows.append([name, marks(own[0]), len(own), *(spread(own, wanted) for _, wanted in measures)])
    caption = (
        "Adjusted Rand index against the speakers, all items, k-means with the number of speakers given; a segment is "
        "the mean of its frames, of MFCC statistics that of all its sound. Random clusters have 0. Mean ± standard "
        "deviation over draws of speakers and trainings."
    )
    return Table(("Cell", "Marks", "Draws", *(name for name, _ in measures)), rows, caption)


def u_vector_rows(results: Sequence[UVectorResult]) -> tuple[list[str], list[list[Cell]]]:
    """Everything the tables rest on: one row a cell, seed and score, unrounded."""
    about = ("corpus", "protocol", "uses_labels", "transductive", "speakers", "segments", "impurity", "twin", "network")
    names = list(score_columns(results[0].scores[0])) if results else []
    columns = ["cell", "seed", *about, "steps", "minutes", *names]
    rows: list[list[Cell]] = []
    for result in results:
        record = result.record
        shared: list[Cell] = [result.name, result.seed, *(_plain(record[name]) for name in about)]
        shared += [int(record["steps"]), round(float(record["minutes"]), 2)]
        for score in result.scores:
            rows.append([*shared, *(_plain(value) for value in score_columns(score).values())])
    return columns, rows


def paper_dataset(corpus: str) -> str:
    """The paper's data set of a corpus; of one that it does not have, nothing."""
    return PAPER_DATASETS.get(corpus, "")


# --- Tables 3 to 5. ---


@dataclasses.dataclass(frozen=True, order=True)
class _Group:
    """Cells that belong in one table."""

    twin: str
    protocol: str
    corpus: str
    transductive: bool


def _group(result: UVectorResult) -> _Group:
    record = result.record
    return _Group(record["twin"], record["protocol"], record["corpus"], record["transductive"])


def _groups(results: Sequence[UVectorResult]) -> list[_Group]:
    order = list(TWINS)
    return sorted({_group(result) for result in results}, key=lambda key: (key.protocol, order.index(key.twin), key))


def _cells_of(results: Sequence[UVectorResult]) -> list[tuple[int, float]]:
    return sorted({(result.record["speakers"], result.record["impurity"]) for result in results})


def _of(results: Sequence[UVectorResult], speakers: int, impurity: float) -> list[UVectorResult]:
    return [r for r in results if (r.record["speakers"], r.record["impurity"]) == (speakers, impurity)]


def _paper_table(key: _Group, results: Sequence[UVectorResult], figures: Figures) -> Table:
    dataset = paper_dataset(key.corpus) if key.twin == "pairwise" else ""
    rows: list[list[Cell]] = []
    doubted = False
    for speakers in sorted({speakers for speakers, _ in _cells_of(results)}):
        for labels in (_TRAIN, _GROUND):
            for impurity in sorted({impurity for count, impurity in _cells_of(results) if count == speakers}):
                own = _of(results, speakers, impurity)
                printed = figures.get((dataset, speakers, labels, impurity), {})
                mark = "†" if (dataset, speakers, labels, impurity) in DOUBTED else ""
                doubted = doubted or bool(mark)
                row: list[Cell] = [speakers, labels, f"{impurity:g}"]
                for name, short in _MEASURES.items():
                    row.append(spread(own, _as_printed(labels, name)))
                    if dataset:
                        row.append(format_cell(printed[short], NUMBER) + mark if short in printed else None)
                    if name != "ari":
                        row.append(spread(own, _as_printed(labels, f"noise_{name}")))
                rows.append(row)
    columns = ["Speakers", "Labels", "Impurity"]
    for name, short in _MEASURES.items():
        columns += [short, *([f"{short}, paper"] if dataset else []), *([f"{short}, noise"] if name != "ari" else [])]
    number = f"Table {_PAPER_TABLES[dataset]}" if dataset else "As Tables 3 to 5"
    caption = (
        f"{number}: {key.corpus}, {TWINS[key.twin]}. {_protocol(results[0])} Clusters of frames, against the "
        "pseudo-labels (train, all frames) and the speakers (ground, ten frames of each as the paper has it); noise: "
        "the same of random vectors."
    )
    if doubted:
        caption += " † The NMI as printed lies below that of noise under the published code's sampling."
    return Table(columns, rows, caption)


def _released_table(key: _Group, results: Sequence[UVectorResult]) -> Table:
    rows: list[list[Cell]] = []
    for speakers, impurity in _cells_of(results):
        own = _of(results, speakers, impurity)
        for labels, items in (("pseudo-labels", _TRAIN), ("speakers", _GROUND)):
            cells: list[Cell] = []
            for name in _MEASURES:
                for prefix in ("", "noise_"):
                    wanted = measure(U_VECTORS, f"{prefix}{name}", labels=labels, of="frames", sampling="released")
                    cells.append(spread(own, wanted))
            rows.append([speakers, items, f"{impurity:g}", *cells])
    columns = ["Speakers", "Labels", "Impurity"]
    columns += [f"{short}, two a class{noise}" for short in _MEASURES.values() for noise in ("", ", noise")]
    caption = (
        f"The same cells under the published code's sampling, which draws two frames a class on average: noise scores "
        f"high there, and nothing compares with the other tables. {key.corpus}, {TWINS[key.twin]}."
    )
    return Table(columns, rows, caption, folded=True)


def _as_printed(labels: str, name: str) -> Measure:
    if labels == _TRAIN:
        return measure(U_VECTORS, name, labels="pseudo-labels", of="frames")
    return measure(U_VECTORS, name, of="frames", sampling="ten")


def _protocol(result: UVectorResult) -> str:
    notes = "; ".join(str(note) for note in result.record["notes"])
    return f"{notes[0].upper()}{notes[1:]}."


def _order(result: UVectorResult) -> tuple[Any, ...]:
    record = result.record
    twins = list(TWINS)
    twin = twins.index(record["twin"]) if record["twin"] in twins else len(twins)
    return record["protocol"], record["transductive"], twin, record["speakers"], record["impurity"], result.name


def _plain(value: Any) -> Cell:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return None if value == "" else value
