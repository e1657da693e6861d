"""A table: one class for the page, for Markdown, and (unrounded) for CSV."""

import csv
import dataclasses
import io
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jaxspk import _checks
from jaxspk.errors import ArgumentError
from jaxspk.reports import _write

Cell = str | int | float | np.number[Any] | None
"""A table's cell: text, a number (Python's or NumPy's), or ``None`` for nothing measured."""

MINUS, NARROW_SPACE, NOTHING = "\N{MINUS SIGN}", "\N{NARROW NO-BREAK SPACE}", "\N{EN DASH}"


@dataclasses.dataclass(frozen=True)
class Shown:
    """A cell as it is printed: its text, its number if it is one, whether it is the best of its column."""

    text: str
    value: float | None
    best: bool


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows under named columns; the first column names the row.

    Attributes:
      columns: the headings, all different, with their units: ``"SDR (dB)"``.
      rows: one sequence of cells a row. A column of numbers and ``None`` is set flush right.
      caption: what the table says, one or two sentences.
      best: columns in which the best number is set in bold, and which one that is. What prints the same is
        the same: ties after rounding are all bold.
      baselines: names of rows (first cells) that do not compete for the best, such as an oracle.
      formats: format specifications of numbers by column, ``{"p": ".1e"}``. Integers are printed whole unless
        named here; other numbers with two decimals.
      folded: the page shows the caption only, until it is clicked. For long tables.

    Raises:
      ArgumentError: a row is too long or too short, or a name in ``best``, ``formats`` or ``baselines`` is
        unknown.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    best: Mapping[str, Literal["highest", "lowest"]] = dataclasses.field(default_factory=dict)
    baselines: Collection[str] = ()
    formats: Mapping[str, str] = dataclasses.field(default_factory=dict)
    folded: bool = False

    def __post_init__(self) -> None:
        if len(set(self.columns)) != len(self.columns) or not self.columns:
            raise ArgumentError(f"`columns` must be different names, at least one, got {list(self.columns)}.")
        for number, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ArgumentError(
                    f"`rows[{number}]` must have {len(self.columns)} cells, one a column, "
                    f"got {len(row)}: {list(row)!r}."
                )
        for name in (*self.best, *self.formats):
            _checks.check_choice("a column named in best or formats", name, self.columns)
        for name in self.baselines:
            _checks.check_choice("a row named in baselines", name, [row[0] for row in self.rows])
        for wanted in self.best.values():
            _checks.check_choice("best", wanted, ("highest", "lowest"))

    @property
    def numeric(self) -> tuple[bool, ...]:
        """For each column, whether it holds numbers (and ``None``) only."""
        return tuple(
            any(_is_number(cell) for cell in cells) and all(_is_number(cell) or cell is None for cell in cells)
            for cells in self._by_column()
        )

    def is_baseline(self, row: int) -> bool:
        """Whether a row does not compete for the best."""
        return self.rows[row][0] in self.baselines

    def shown(self) -> list[list[Shown]]:
        """All cells as they are printed, row by row."""
        best = [self._best_text(name, cells) for name, cells in zip(self.columns, self._by_column(), strict=True)]
        return [
            [
                Shown(text, _number(cell), text == best_text and not self.is_baseline(index))
                for cell, text, best_text in zip(row, self._texts(row), best, strict=True)
            ]
            for index, row in enumerate(self.rows)
        ]

    def _by_column(self) -> list[list[Cell]]:
        return [[row[index] for row in self.rows] for index in range(len(self.columns))]

    def _texts(self, row: Sequence[Cell]) -> list[str]:
        return [format_cell(cell, self.formats.get(name, "")) for name, cell in zip(self.columns, row, strict=True)]

    def _best_text(self, name: str, cells: Sequence[Cell]) -> str | None:
        """The printed form of a column's best number; ``None`` where none is asked for or none competes."""
        if name not in self.best:
            return None
        competing = [cell for index, cell in enumerate(cells) if not self.is_baseline(index)]
        numbers = [(_number(cell), cell) for cell in competing]
        finite = [(value, cell) for value, cell in numbers if value is not None and not math.isnan(value)]
        if len(finite) < 2:
            return None
        choose = max if self.best[name] == "highest" else min
        return format_cell(choose(finite, key=lambda pair: pair[0])[1], self.formats.get(name, ""))


def format_cell(cell: Cell, specification: str = "") -> str:
    """A cell as people read it: real minus signs, no negative zero, thousands apart, a dash for nothing."""
    if cell is None:
        return NOTHING
    if isinstance(cell, str):
        return cell
    if isinstance(cell, bool | np.bool_):
        return "yes" if cell else "no"
    if not specification:
        specification = "," if isinstance(cell, int | np.integer) else ",.2f"
    value = int(cell) if isinstance(cell, int | np.integer) else float(cell)
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    text = format(value, specification).replace(",", NARROW_SPACE)
    if text.startswith("-"):
        text = text[1:] if not text.strip("-0.% ") else MINUS + text[1:]
    return text


def write_csv(path: Path | str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Path:
    """Writes rows under a line of headings, numbers unrounded, ``None`` empty; whole or not at all.

    Returns:
      The path.

    Raises:
      ArgumentError: a row does not have as many cells as there are columns.
    """
    table = Table(columns, rows)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows([_plain(cell) for cell in row] for row in table.rows)
    return _write.write_text(path, text.getvalue())


def _plain(cell: Cell) -> str | int | float | None:
    """NumPy's numbers as Python's, which print all their digits and no more."""
    if isinstance(cell, np.number):
        # A float32 becomes the shortest decimal that reads back as the same float32, not its widened digits.
        return float(str(cell)) if isinstance(cell, np.floating) else int(cell)
    return cell


def _is_number(cell: Cell) -> bool:
    return isinstance(cell, int | float | np.number) and not isinstance(cell, bool)


def _number(cell: Cell) -> float | None:
    return float(cell) if _is_number(cell) else None  # type: ignore[arg-type]
