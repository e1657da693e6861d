import dataclasses
import json
import subprocess
import sys
import time

import pytest

from benchmarks.__main__ import main
from benchmarks._frame import Case, Comparison, Figure, Peer, Result, Spread, measure
from benchmarks._table import describe, from_json, to_json, to_markdown


def comparison(peer: Peer, check=None) -> Comparison:
    case = Case(name="nap", ours=lambda: time.sleep(0.001) or "ours", peers=[peer], check=check)
    figure = Figure(name="size", measure=lambda: 3, unit="× V", at_most=2.5)
    return Comparison(title="Naps", cases=lambda: [case], figures=lambda: [figure])


def not_there():
    raise ModuleNotFoundError("No module named 'other'", name="other")


def test_the_slower_side_is_slower_by_the_ratio_of_the_turns():
    peer = Peer(name="other", prepare=lambda: lambda: time.sleep(0.02), at_least=2)
    naps, size = measure(comparison(peer), seconds=0.1)
    assert naps.ratio.median > 2 and naps.ratio.lower <= naps.ratio.median <= naps.ratio.upper
    assert naps.peer_seconds.median > naps.ours_seconds.median
    assert naps.turns >= 5 and not naps.missed
    assert size.value == 3 and size.missed


def test_a_peer_that_is_not_installed_is_skipped_visibly():
    peer = Peer(name="theirs", prepare=not_there, install="pip install other")
    naps, _ = measure(comparison(peer), seconds=0.1)
    assert "against theirs SKIPPED, other is not installed: pip install other" in describe(naps)
    assert not naps.missed


def test_sides_that_disagree_are_not_timed():
    def check(ours, theirs):
        assert ours == theirs

    with pytest.raises(AssertionError):
        list(measure(comparison(Peer(name="other", prepare=lambda: lambda: "theirs"), check), seconds=0.1))


@pytest.mark.parametrize(
    "bounds, missed",
    [({}, False), ({"at_least": 2}, False), ({"at_least": 4}, True), ({"at_most": 4}, False), ({"at_most": 2}, True)],
)
def test_a_required_number_is_reached_or_missed(bounds: dict, missed: bool):
    result = Result(name="a", peer="b", ratio=Spread(3, 2, 5), **bounds)
    assert result.missed == missed
    assert Result(name="a", peer="b", skipped="not installed", **bounds).missed is False


def test_tables_hold_every_row_and_where_it_comes_from():
    times = {"ours_seconds": Spread(0.01, 0.009, 0.011), "peer_seconds": Spread(0.2, 0.1, 0.3)}
    rows = [
        Result(name="two|three", peer="other", ratio=Spread(20, 10, 30), at_least=5, turns=7, **times),
        Result(name="bandwidth", value=12.5, unit="GB/s"),
        Result(name="two", peer="absent", skipped="torch is not installed: pip install torch"),
    ]
    results = {"naps": ("Naps", rows)}
    page = to_markdown([("Date", "today")], results, 10)
    assert "- Date: today" in page and "`python -m benchmarks naps`" in page
    assert "| two\\|three | other | 10 [9, 11] ms | 200 [100, 300] ms | 20 [10, 30] | at least 5: reached |" in page
    assert "| bandwidth |  | 12.5 GB/s |" in page and "| two | absent | skipped |" in page
    stored = json.loads(to_json([("Date", "today")], results, 10))
    assert [from_json(row) for row in stored["comparisons"]["naps"]["results"]] == rows
    assert from_json(dataclasses.asdict(rows[0])) == rows[0]


def test_an_unknown_comparison_is_refused_with_the_known_ones(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["naps"])
    assert "there are bss_eval, " in capsys.readouterr().err


@pytest.mark.slow
def test_a_comparison_runs_and_writes_both_files(tmp_path):
    command = [sys.executable, "-m", "benchmarks", "bss_eval", "--seconds", "0.1", "-o", str(tmp_path / "results")]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode in (0, 1), finished.stderr
    assert "times faster than mir_eval" in finished.stdout
    rows = json.loads((tmp_path / "results.json").read_text())["comparisons"]["bss_eval"]["results"]
    assert [row["name"] for row in rows] == ["1 source", "2 sources", "3 sources", "4 sources"]
    assert "BSS-eval" in (tmp_path / "results.md").read_text()
