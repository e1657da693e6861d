"""The tables of a grid of separators, with the paper's figures beside ours."""

from collections.abc import Mapping, Sequence

import numpy as np

from jaxspk.errors import ArgumentError
from jaxspk.reports._tables import NOTHING, Cell, Table, format_cell
from jaxspk.systems import IDEAL_MASK, ORACLE_NMF, GridResult, MethodScore

Figures = Mapping[tuple[int, str, str], float]
"""What a paper printed: by number of the table, name of the row and name of the column."""

MISPRINTS: Mapping[tuple[int, str, str], str] = {
    (1, "oracle NMF", "closed_speakers_sdri_db"): "4.90 in Table 3",
    (1, "DC global k-means", "open_speakers_sdri_db"): "5.80 in Table 3",
    (2, "40/tanh", "open_dc_global_sdri_db"): "5.80 in Table 3",
    (3, "DC oracle permute/balanced", "open_fm_sdri_db"): "does not fit “all”, 6.41: about 8.45 would",
    (3, "DC oracle permute/balanced", "open_all_sdri_db"): "does not fit its parts, of which 6.32 is the mean",
}
"""Figures of the paper (as second-hand notes have them) that contradict others, and how."""

_SIZES = (5, 10, 20, 40, 60)

Row = tuple[str, str, str, str]
"""Label, name of the cell, method, and name of the paper's row (empty where it has none)."""

_TABLE_1: tuple[Row, ...] = (
    ("Oracle NMF", ORACLE_NMF, ORACLE_NMF, "oracle NMF"),
    ("Oracle k-means", "tanh-40", "oracle k-means", "DC oracle k-means"),
    ("Oracle spectral", "tanh-40", "oracle spectral", "DC oracle spectral"),
    ("Global k-means", "tanh-40", "global k-means", "DC global k-means"),
    ("Global spectral", "tanh-40", "global spectral", ""),
    ("Ideal binary mask", IDEAL_MASK, IDEAL_MASK, ""),
)
_TABLE_3: tuple[Row, ...] = (
    ("Oracle NMF", ORACLE_NMF, ORACLE_NMF, "oracle NMF/speaker dependent"),
    *(
        (f"{label}, {training}", cell, method, f"{paper}/{training}")
        for label, method, paper in (
            ("Oracle k-means", "oracle k-means", "DC oracle permute"),
            ("Global k-means", "global k-means", "DC global k-means"),
        )
        for training, cell in (("whole", "tanh-40"), ("balanced", "balanced"), ("female", "female"))
    ),
    ("Ideal binary mask", IDEAL_MASK, IDEAL_MASK, ""),
)
_TABLE_4: tuple[Row, ...] = (
    ("Oracle NMF", ORACLE_NMF, ORACLE_NMF, "oracle NMF"),
    ("Trained on two, oracle k-means", "tanh-40", "oracle k-means", "DC oracle"),
    ("Trained on two, global k-means", "tanh-40", "global k-means", "DC global"),
    ("Trained on three, oracle k-means", "three", "oracle k-means", ""),
    ("Trained on three, global k-means", "three", "global k-means", ""),
    ("Ideal binary mask", IDEAL_MASK, IDEAL_MASK, ""),
)

_WHO = ("closed", "open")

_INPUT_SDR = {"two": "the paper's 0.16 dB", "three": "the paper's −2.95 dB, printed without its sign"}


def paper_tables(results: Sequence[GridResult], figures: Figures) -> list[Table]:
    """The four tables of Hershey et al. 2016: SDR improvement in dB, ours and theirs side by side.

    Ours is the mean over mixtures ± half its 95 % interval; with several seeds of the training, over the means of
    a mixture's scores, followed by the lowest and highest mean of a seed. A dagger marks a figure that contradicts
    another of the paper.

    Args:
      results: of the grid; what is missing is left blank.
      figures: the paper's.
    """
    return [
        _of_methods(1, _TABLE_1, results, figures, "two", "Table 1: clustering methods."),
        _of_sizes(results, figures),
        *(_of_genders(who, results, figures) for who in _WHO),
        _of_methods(
            4,
            _TABLE_4,
            results,
            figures,
            "three",
            "Table 4: three speakers. Trained on three, the paper reports about 6.15 dB, without saying how clustered.",
        ),
    ]


def ladder_table(results: Sequence[GridResult], order: Sequence[str]) -> Table:
    """One rung a row: SDR improvement of global k-means in dB, by pair of genders, and the gain on the row before.

    Args:
      results: of the ladder.
      order: names of the rungs; what was not run is left out.
    """
    ran = [name for name in order if any(result.name == name for result in results)]
    rows: list[list[Cell]] = []
    before: float | None = None
    for name in ran:
        ours = _gains(results, name, "validation-2", "global k-means")
        now = None if ours is None else float(ours.mean())
        records = [result.record for result in results if result.name == name]
        rows.append(
            [
                name,
                str(records[0].get("about", "")),
                _spread(results, name, "validation-2", "global k-means"),
                None if now is None or before is None else now - before,
                *(_spread(results, name, "open-2", "global k-means", genders) for genders in ("", "FM", "FF", "MM")),
                int(np.mean([record["steps"] for record in records])),
                float(np.mean([record["minutes"] for record in records])),
            ]
        )
        before = now
    columns = (
        "Rung",
        "Change",
        "Validation speakers (dB)",
        "Gain (dB)",
        "Test speakers (dB)",
        "a woman and a man (dB)",
        "two women (dB)",
        "two men (dB)",
        "Steps",
        "Minutes",
    )
    return Table(columns, rows, "Each row is the one before it with one change.", formats={"Gain (dB)": "+.2f"})


def trainings_table(results: Sequence[GridResult], order: Sequence[str]) -> Table:
    """What was trained, how long, and how it ended."""
    rows: list[list[Cell]] = [
        [
            result.name,
            str(result.record["about"]),
            str(result.record["starts_from"] or NOTHING),
            result.seed,
            int(result.record["parameters"]),
            int(result.record["steps"]),
            float(result.record["minutes"]),
            int(result.record["best_step"]),
            result.record["validation_loss"],
            str(result.record["stopped"]),
        ]
        for name in order
        for result in results
        if result.name == name and result.record
    ]
    columns = (
        "Training", "What is special", "Begins with", "Seed", "Parameters", "Steps", "Minutes", "Best step",
        "Validation loss", "Ended by",
    )  # fmt: skip
    return Table(columns, rows, "All trainings behind these figures.", formats={"Validation loss": ".4f"})


def score_rows(results: Sequence[GridResult]) -> tuple[list[str], list[list[Cell]]]:
    """Everything the tables rest on: one row a mixture, one column of SDR improvements a network and method."""
    columns: list[str] = ["set", "mixture", "genders", "seconds", "sdr_input", "si_sdr_input"]
    rows: dict[tuple[str, str], dict[str, Cell]] = {}
    for result in results:
        for name, scores in sorted(result.scores.items()):
            for score in scores:
                row = rows.setdefault(
                    (name, score.mixture),
                    {
                        "set": name,
                        "mixture": score.mixture,
                        "genders": score.genders,
                        "seconds": round(score.seconds, 3),
                        "sdr_input": round(score.sdr_input, 3),
                        "si_sdr_input": round(score.si_sdr_input, 3),
                    },
                )
                what = score.method if not result.record else f"{result.name}, seed {result.seed}: {score.method}"
                if what not in columns:
                    columns.append(what)
                row[what] = round(score.improvement(), 3)
    return columns, [[row.get(column) for column in columns] for _, row in sorted(rows.items())]


def _of_methods(
    number: int, table: Sequence[Row], results: Sequence[GridResult], figures: Figures, many: str, caption: str
) -> Table:
    sets = {who: f"{who}-{'2' if many == 'two' else '3'}" for who in _WHO}
    rows: list[list[Cell]] = [
        [
            label,
            *(
                cell
                for who in _WHO
                for cell in (
                    _spread(results, name, sets[who], method),
                    _printed(figures, number, paper, f"{who}_speakers_sdri_db"),
                )
            ),
        ]
        for label, name, method, paper in table
    ]
    columns = ("Method", *(f"{who.capitalize()} speakers, {whose}" for who in _WHO for whose in ("ours", "paper")))
    heard = ", ".join(text for who in _WHO if (text := _input(results, sets[who], who)))
    notes = _notes(number)
    return Table(
        columns,
        rows,
        " ".join([caption, _UNIT, *([f"Unprocessed mixtures: {heard}; {_INPUT_SDR[many]}."] if heard else []), notes]),
    )


def _of_sizes(results: Sequence[GridResult], figures: Figures) -> Table:
    variants = [(f"{size}, tanh", f"tanh-{size}", f"{size}/tanh") for size in _SIZES]
    variants.append(("40, logistic", "logistic-40", "40/logistic"))
    ways = [(who, how) for who in _WHO for how in ("oracle", "global")]
    rows: list[list[Cell]] = [
        [
            label,
            *(
                shown
                for who, how in ways
                for shown in (
                    _spread(results, name, f"{who}-2", f"{how} k-means"),
                    _printed(figures, 2, paper, f"{who}_dc_{how}_sdri_db"),
                )
            ),
        ]
        for label, name, paper in variants
    ]
    columns = ("Embedding", *(f"{w.capitalize()}, {h}, {whose}" for w, h in ways for whose in ("ours", "paper")))
    caption = "Table 2: size of the embeddings and their activation, k-means, closed and open speakers."
    return Table(columns, rows, " ".join([caption, _UNIT, _notes(2)]))


def _of_genders(who: str, results: Sequence[GridResult], figures: Figures) -> Table:
    pairs = (("two men", "MM", "mm"), ("two women", "FF", "ff"), ("mixed", "FM", "fm"), ("all", "", "all"))
    rows: list[list[Cell]] = [
        [
            label,
            *(
                shown
                for _, genders, column in pairs
                for shown in (
                    _spread(results, name, f"{who}-2", method, genders),
                    _printed(figures, 3, paper, f"{who}_{column}_sdri_db"),
                )
            ),
        ]
        for label, name, method, paper in _TABLE_3
    ]
    columns = ("Method, training set", *(f"{pair[0]}, {whose}" for pair in pairs for whose in ("ours", "paper")))
    caption = f"Table 3, {who} speakers: pairs of genders and training sets."
    return Table(columns, rows, " ".join([caption, _UNIT, _notes(3) if who == "open" else ""]).strip())


_UNIT = "SDR improvement in dB, mean ± half its 95 % interval over mixtures."


def _scores(results: Sequence[GridResult], name: str, which: str, method: str, genders: str) -> list[list[MethodScore]]:
    """The scores of each seed."""
    found = [
        [s for s in result.scores.get(which, ()) if s.method == method and genders in ("", s.genders)]
        for result in results
        if result.name == name
    ]
    return [scores for scores in found if scores]


def _gains(results: Sequence[GridResult], name: str, which: str, method: str, genders: str = "") -> np.ndarray | None:
    """Improvements ``[seeds, mixtures]``, None where there is none."""
    by_seed = _scores(results, name, which, method, genders)
    if len({tuple(score.mixture for score in scores) for scores in by_seed}) > 1:
        raise ArgumentError(f"{name}: its seeds were scored on different mixtures of {which}; score them anew alike.")
    return np.array([[score.improvement() for score in scores] for scores in by_seed]) if by_seed else None


def _spread(results: Sequence[GridResult], name: str, which: str, method: str, genders: str = "") -> str | None:
    """The mean, half its 95 % interval over mixtures, and its range over seeds where there are several."""
    gains = _gains(results, name, which, method, genders)
    if gains is None:
        return None
    means = gains.mean(0)
    text = format_cell(float(means.mean()))
    if means.size > 1:
        text += f" ± {format_cell(float(1.96 * means.std(ddof=1) / np.sqrt(means.size)))}"
    if len(gains) > 1:
        low, high = gains.mean(1).min(), gains.mean(1).max()
        text += f" (seeds {format_cell(float(low))} to {format_cell(float(high))})"
    return text


def _printed(figures: Figures, number: int, row: str, column: str) -> str | None:
    value = figures.get((number, row, column))
    if value is None:
        return None
    return format_cell(value) + ("†" if (number, row, column) in MISPRINTS else "")


def _notes(number: int) -> str:
    notes = [
        f"{row.replace('/', ', ')}, {column.removesuffix('_sdri_db').replace('_', ' ')}: {note}"
        for (table, row, column), note in MISPRINTS.items()
        if table == number
    ]
    return f"† As printed, but {'; '.join(notes)}." if notes else ""


def _input(results: Sequence[GridResult], which: str, who: str) -> str | None:
    """The mean SDR of the unprocessed mixtures, in words."""
    for result in results:
        scores = result.scores.get(which)
        if scores:
            ours = np.mean([score.sdr_input for score in {s.mixture: s for s in scores}.values()])
            return f"SDR {format_cell(float(ours))} dB ({who})"
    return None
