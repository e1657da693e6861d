"""The tables of a grid, made of made-up results."""

import dataclasses

import pytest

from jaxspk.errors import ArgumentError
from jaxspk.reports import ladder_table, paper_tables, score_rows, trainings_table
from jaxspk.systems import IDEAL_MASK, GridResult, MethodScore

FIGURES = {
    (1, "DC oracle k-means", "closed_speakers_sdri_db"): 6.54,
    (1, "DC global k-means", "open_speakers_sdri_db"): 5.81,
    (2, "5/tanh", "closed_dc_global_sdri_db"): -0.96,
    (3, "DC oracle permute/balanced", "open_fm_sdri_db"): 8.27,
    (4, "DC global", "open_speakers_sdri_db"): 2.22,
}
RECORD = {
    "about": "a cell", "starts_from": None, "parameters": 1234567, "steps": 100, "minutes": 2.5, "best_step": 90,
    "validation_loss": 0.125, "stopped": "steps",
}  # fmt: skip


def score(mixture, genders, method, improvement, sdr_input=0.5):
    return MethodScore(
        mixture=mixture, genders=genders, seconds=3.0, method=method, sdr_input=sdr_input,
        sdr_output=sdr_input + improvement, si_sdr_input=0.0, si_sdr_output=improvement - 1,
    )  # fmt: skip


def result(name, seed, shift, sets=("closed-2", "open-2")):
    scores = [
        score(mixture, genders, method, value + shift)
        for method, value in (("oracle k-means", 6.0), ("global k-means", 4.0))
        for mixture, genders, value in (("m1", "FM", value + 2), ("m2", "FF", value - 1), ("m3", "MM", value - 1))
    ]
    return GridResult(name, seed, {which: scores for which in sets}, RECORD if name != IDEAL_MASK else {})


@pytest.fixture
def results():
    return [result("tanh-40", 0, 0.0), result("tanh-40", 1, 1.0), result("balanced", 0, 0.0)]


def rows_of(table):
    return {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}


def test_ours_stand_beside_the_paper_with_their_spread(results):
    table = paper_tables(results, FIGURES)[0]
    row = rows_of(table)["Oracle k-means"]
    # Means of the seeds are 6 and 7; over the means of the mixtures 8.5, 5.5, 5.5 the error is 1.
    assert row["Closed speakers, ours"] == "6.50 ± 1.96 (seeds 6.00 to 7.00)"
    assert row["Closed speakers, paper"] == "6.54"
    assert row["Open speakers, paper"] is None
    assert "SDR 0.50 dB (closed)" in table.caption and "0.16 dB" in table.caption


def test_misprints_are_marked_and_explained(results):
    one, _, closed, open_, _ = paper_tables(results, FIGURES)
    assert rows_of(one)["Global k-means"]["Open speakers, paper"] == "5.81†"
    assert "5.80 in Table 3" in one.caption
    assert rows_of(open_)["Oracle k-means, balanced"]["mixed, paper"] == "8.27†"
    assert "8.45" in open_.caption and "†" not in closed.caption


def test_pairs_of_genders_are_apart(results):
    closed = rows_of(paper_tables(results, FIGURES)[2])["Oracle k-means, balanced"]
    assert (closed["mixed, ours"], closed["two men, ours"]) == ("8.00", "5.00")
    assert closed["all, ours"].startswith("6.00 ± ")


def test_what_was_not_run_is_blank(results):
    sizes = rows_of(paper_tables(results, FIGURES)[1])
    assert sizes["5, tanh"]["Closed, global, ours"] is None
    assert sizes["5, tanh"]["Closed, global, paper"] == "−0.96"
    assert paper_tables([], {})[0].rows[0][1:] == [None] * 4


def test_a_rung_is_compared_with_the_one_before():
    sets = ("validation-2", "open-2")
    rungs = [result("plain", 0, 0.0, sets), result("dropout", 0, 0.75, sets)]
    table = ladder_table(rungs, ["plain", "augmentation", "dropout"])
    rows = rows_of(table)
    assert list(rows) == ["plain", "dropout"]
    assert rows["plain"]["Gain (dB)"] is None
    assert rows["dropout"]["Gain (dB)"] == pytest.approx(0.75)
    assert rows["dropout"]["a woman and a man (dB)"] == "6.75"


def test_trainings_and_rows_for_the_files(results):
    trainings = trainings_table(results, ["tanh-40", "balanced"])
    assert [row[0] for row in trainings.rows] == ["tanh-40", "tanh-40", "balanced"]
    ideal = dataclasses.replace(result(IDEAL_MASK, 0, 0.0), record={})
    columns, rows = score_rows([*results, ideal])
    assert "tanh-40, seed 1: oracle k-means" in columns
    assert len(rows) == 6
    first = dict(zip(columns, rows[0], strict=True))
    assert first["set"] == "closed-2" and first["tanh-40, seed 1: oracle k-means"] == 9.0


def test_seeds_scored_on_different_mixtures_are_refused(results):
    fewer = dataclasses.replace(results[1], scores={k: v[:2] + v[3:5] for k, v in results[1].scores.items()})
    with pytest.raises(ArgumentError, match="tanh-40: its seeds were scored on different mixtures of closed-2"):
        paper_tables([results[0], fewer], FIGURES)
