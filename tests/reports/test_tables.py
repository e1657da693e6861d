import csv
import math

import numpy as np
import pytest

from jaxspk import reports
from jaxspk.errors import ArgumentError
from jaxspk.reports import _tables


@pytest.mark.parametrize(
    "cell, specification, text",
    [
        ("plain", "", "plain"),
        (None, "", "–"),
        (3, "", "3"),
        (12345678, "", "12\u202f345\u202f678"),
        (1.005, "", "1.00"),
        (-1.5, "", "−1.50"),
        (-0.001, "", "0.00"),
        (0.0, "", "0.00"),
        (1e-9, ".1e", "1.0e-09"),
        (0.125, ".1%", "12.5%"),
        (math.nan, "", "NaN"),
        (math.inf, "", "∞"),
        (-math.inf, "", "−∞"),
        (True, "", "yes"),
        (np.float32(0.1), ".3f", "0.100"),
        (np.int64(-7), "", "−7"),
    ],
)
def test_cells_are_printed_for_people(cell, specification, text):
    assert _tables.format_cell(cell, specification) == text


def test_columns_of_numbers_and_gaps_are_numeric():
    table = reports.Table(["name", "sdr", "mixed", "empty"], [["a", 1.0, 1, None], ["b", None, "x", None]])
    assert table.numeric == (False, True, False, False)


def best_cells(table: reports.Table) -> list[list[bool]]:
    return [[cell.best for cell in row] for row in table.shown()]


def test_the_best_is_the_highest_or_lowest_and_ties_after_rounding_share_it():
    table = reports.Table(
        ["system", "sdr", "eer"],
        [["a", 1.001, 0.3], ["b", 1.004, 0.1], ["c", 0.5, math.nan]],
        best={"sdr": "highest", "eer": "lowest"},
    )
    assert best_cells(table) == [[False, True, False], [False, True, True], [False, False, False]]


def test_baselines_do_not_compete():
    table = reports.Table(
        ["system", "sdr"], [["oracle", 9.0], ["a", 2.0], ["b", 1.0]], best={"sdr": "highest"}, baselines=["oracle"]
    )
    assert best_cells(table) == [[False, False], [False, True], [False, False]]
    assert [table.is_baseline(row) for row in range(3)] == [True, False, False]


def test_nothing_is_best_without_a_competitor():
    table = reports.Table(["system", "sdr"], [["a", 2.0], ["b", None]], best={"sdr": "highest"})
    assert best_cells(table) == [[False, False], [False, False]]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"columns": ["a", "a"], "rows": []}, "different names"),
        ({"columns": [], "rows": []}, "at least one"),
        ({"columns": ["a", "b"], "rows": [[1, 2], [3]]}, r"rows\[1\].*2 cells.*got 1"),
        ({"columns": ["a"], "rows": [], "best": {"b": "highest"}}, "best or formats"),
        ({"columns": ["a"], "rows": [], "formats": {"b": ".1f"}}, "best or formats"),
        ({"columns": ["a"], "rows": [["x"]], "baselines": ["y"]}, "baselines"),
        ({"columns": ["a"], "rows": [], "best": {"a": "largest"}}, "'highest', 'lowest'"),
    ],
)
def test_what_does_not_fit_is_refused(as_a_user, arguments, message):
    with pytest.raises(ArgumentError, match=message):
        reports.Table(**arguments)


def test_csv_reads_back_with_all_digits(tmp_path):
    rows = [
        ['comma, "quote"\nline', 0.1 + 0.2, 3, None, True],
        ["é", np.float64(1 / 3), np.int32(-4), np.float32(0.1), False],
    ]
    path = reports.write_csv(tmp_path / "results.csv", ["a", "b", "c", "d", "e"], rows)
    with path.open(newline="", encoding="utf-8") as file:
        read = list(csv.reader(file))
    assert read[0] == ["a", "b", "c", "d", "e"]
    assert read[1][:1] == rows[0][:1]
    assert float(read[1][1]) == 0.1 + 0.2
    assert read[1][3] == ""
    assert float(read[2][1]) == 1 / 3
    assert read[2][2:4] == ["-4", "0.1"]


def test_csv_refuses_a_short_row(tmp_path):
    with pytest.raises(ArgumentError, match="2 cells"):
        reports.write_csv(tmp_path / "results.csv", ["a", "b"], [["x"]])
    assert not list(tmp_path.iterdir())
