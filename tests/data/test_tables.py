import math
import os
import stat

import pytest

from jaxspk.data import read_table, write_table
from jaxspk.errors import CorpusError


def test_what_is_written_is_read_back(tmp_path):
    rows = [{"a": 'x, "y"\nz', "b": 0.1 + 0.2, "c": None}, {"a": "ü", "b": 1}]
    write_table(tmp_path / "new" / "t.csv", ["a", "b", "c"], rows)
    cells = [row.cells for row in read_table(tmp_path / "new" / "t.csv", ["a"])]
    assert cells == [{"a": 'x, "y"\nz', "b": repr(0.1 + 0.2), "c": ""}, {"a": "ü", "b": "1", "c": ""}]


def test_a_failed_write_leaves_the_old_table_and_no_litter(tmp_path):
    path = tmp_path / "t.csv"
    write_table(path, ["a"], [{"a": 1}])

    def rows():
        yield {"a": 2}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_table(path, ["a"], rows())
    assert path.read_text() == "a\n1\n"
    assert os.listdir(tmp_path) == ["t.csv"]


def test_a_table_is_as_readable_as_other_files(tmp_path):
    (tmp_path / "other").touch()
    write_table(tmp_path / "t.csv", ["a"], [])
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("other", "t.csv")]
    assert modes[0] == modes[1]


def test_numbers_keep_every_digit(tmp_path):
    write_table(tmp_path / "t.csv", ["a"], [{"a": math.pi}])
    (row,) = read_table(tmp_path / "t.csv", ["a"])
    assert float(row.cells["a"]) == math.pi


def test_byte_order_mark_blank_lines_and_line_numbers(tmp_path):
    (tmp_path / "t.csv").write_bytes("\ufeffa, b\r\n\r\n1,2\r\n".encode())
    (row,) = read_table(tmp_path / "t.csv", ["a", "b"])
    assert (row.line, row.cells) == (3, {"a": "1", "b": "2"})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no column 'path'; the header must name path, found nothing"),
        (b"file\nx\n", "no column 'path'.*found file"),
        (b"path,b\nx\n", "line 2: 1 cells where the header names 2"),
        (b"path\nx,y\n", "line 2: 2 cells where the header names 1"),
        (b"path\n\xff\n", "not UTF-8 text"),
        (b'path\n"x\n', "not a comma-separated table"),
        (None, "cannot be read"),
    ],
)
def test_unusable_tables_are_refused_in_one_line(tmp_path, content, message):
    path = tmp_path / "t.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CorpusError, match=message) as caught:
        read_table(path, ["path"])
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unwritable_place_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CorpusError, match="cannot be written"):
        write_table(tmp_path / "file" / "t.csv", ["a"], [])
