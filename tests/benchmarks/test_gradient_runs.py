"""The page of long runs: its rows, and that only complete runs are read."""

import pytest

from benchmarks.__main__ import comparisons
from benchmarks.gradient_runs import complete, main, summary_row
from jaxspk.testing import Certificate
from jaxspk.testing._mutants import Outcome
from jaxspk.testing._suite import LONG, RowResult


def outcome(size, *, caught, dtype="float64"):
    return Outcome(kind="sign", group="sign", share=size, dtype=dtype, size=size, caught=caught)


def certificate(*outcomes, problems=()):
    row = RowResult(
        name="loss", family="family", reference="", seed=4, examples=560, errors={"reverse mode": 3e-9},
        outcomes=list(outcomes), problems=list(problems), seconds=90.0,
    )  # fmt: skip
    return Certificate(results=[row], effort=LONG, seed=4, command="", seconds=90.0)


def test_a_row_counts_what_was_planted_above_the_line_and_survived():
    row = summary_row(certificate(outcome(1e-3, caught=True), outcome(1e-7, caught=False), outcome(0.0, caught=False)))
    assert (row["Seed"], row["Verdict"], row["Correct checks"]) == (4, "passed", 560)
    # What has no size changes nothing and is not counted.
    assert (row["Mistakes planted"], row["above the line"], row["survived"]) == (2, 1, 0)
    assert row["all caught from"] == pytest.approx(1e-7) and row["Minutes, one process"] == 1.5


def test_a_survivor_above_the_line_fails_the_run():
    row = summary_row(certificate(outcome(2e-6, caught=False)))
    assert (row["Verdict"], row["survived"]) == ("FAILED", 1)


def test_a_false_alarm_fails_the_run():
    row = summary_row(certificate(outcome(1e-3, caught=True), problems=["wrong"]))
    assert (row["Verdict"], row["false alarms"]) == ("FAILED", 1)


def test_a_run_that_is_not_complete_is_left_out(tmp_path, capsys):
    assert not complete(tmp_path, 1)
    assert main(["--seeds", "1", "--folder", str(tmp_path), "--only-read", "-o", str(tmp_path / "page")]) == 1
    assert "seed 1: not complete" in capsys.readouterr().err
    assert not (tmp_path / "page.md").exists()


def test_pages_of_their_own_are_no_comparisons():
    assert "bss_eval" in comparisons() and "gradient_runs" not in comparisons()
