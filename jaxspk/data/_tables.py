"""Tables on disk: comma-separated, UTF-8, a header line; written beside and renamed into place."""

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from jaxspk._files import write_whole
from jaxspk.errors import CorpusError


class Row(NamedTuple):
    """One line of a table."""

    line: int
    """Number of the line in its file, from 1, for messages."""
    cells: dict[str, str]
    """Column name to text; every column of the header is there."""


def read_table(path: Path, required: Sequence[str]) -> list[Row]:
    """Reads a table whose header must name the ``required`` columns; blank lines are passed over.

    Raises:
      CorpusError: the file is missing, is no UTF-8 text, lacks a column, or holds a line with too many or too
        few cells.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            header = [name.strip() for name in next(reader, [])]
            missing = [name for name in required if name not in header]
            if missing:
                raise CorpusError(
                    f"{path}: no column {missing[0]!r}; the header must name {', '.join(required)}, "
                    f"found {_on_one_line(', '.join(header)) or 'nothing'}."
                )
            rows = []
            for cells in reader:
                if not any(cell.strip() for cell in cells):
                    continue
                if len(cells) != len(header):
                    raise CorpusError(
                        f"{path}, line {reader.line_num}: {len(cells)} cells where the header names "
                        f"{len(header)} columns; put double quotes round a cell that holds a comma."
                    )
                if any("\0" in cell for cell in cells):
                    raise CorpusError(f"{path}, line {reader.line_num}: holds a NUL character; the table is damaged.")
                rows.append(Row(reader.line_num, {n: c.strip() for n, c in zip(header, cells, strict=True)}))
            return rows
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path}: not UTF-8 text (byte {error.start}); save the table as UTF-8.") from None
    except csv.Error as error:
        raise CorpusError(f"{path}: not a comma-separated table ({error}).") from None
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror}).") from None


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Writes a table; ``None`` and missing cells become empty, floats keep every digit (``repr``).

    Raises:
      CorpusError: the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(row.get(name)) for name in columns} for row in rows)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text.getvalue().encode())
    except OSError as error:
        raise CorpusError(f"{path}: cannot be written ({error.strerror}).") from None


def relative_name(path: Path, folder: Path) -> str:
    """``path`` as a table in ``folder`` names it: relative where it lies below, else absolute."""
    path, folder = Path(os.path.abspath(path)), Path(os.path.abspath(folder))
    return (path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix()


def _cell(value: object) -> str:
    if value is None:
        return ""
    return repr(float(value)) if isinstance(value, float) else str(value)


def _on_one_line(text: str) -> str:
    """A quoted cell may hold line breaks, a message not."""
    line = " ".join(text.split())
    return line if len(line) <= 200 else f"{line[:197]}..."
