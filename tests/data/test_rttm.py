"""RTTM written and read again, and lines that cannot be right."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxspk.data import Turn, read_rttm, write_rttm
from jaxspk.errors import ArgumentError, CorpusError

times = st.integers(0, 5_000_000).map(lambda milliseconds: milliseconds / 1000)
turns = st.tuples(times, times, st.sampled_from(["ann", "bob", "3"])).map(
    lambda drawn: Turn(min(drawn[:2]), max(drawn[:2]), drawn[2])
)


@given(found=st.dictionaries(st.sampled_from(["one", "two"]), st.lists(turns, min_size=1, max_size=5)))
def test_what_is_written_is_read_again(tmp_path_factory, found):
    path = tmp_path_factory.mktemp("rttm") / "turns.rttm"
    write_rttm(path, found)
    read = read_rttm(path)
    assert {name: list(of_one) for name, of_one in read.items()} == {name: sorted(t) for name, t in found.items()}


def test_the_lines_are_those_of_nist(tmp_path):
    path = tmp_path / "folder" / "a.rttm"
    write_rttm(path, {"a meeting": [(2.5, 3.0, "bob"), (0.0, 1.23456, "ann  lee")]})
    assert path.read_text() == (
        "SPEAKER a_meeting 1 0.000 1.235 <NA> <NA> ann_lee <NA> <NA>\n"
        "SPEAKER a_meeting 1 2.500 0.500 <NA> <NA> bob <NA> <NA>\n"
    )


def test_other_lines_are_passed_over(tmp_path):
    path = tmp_path / "a.rttm"
    path.write_text(
        ";; a comment\nSPKR-INFO a 1 <NA> <NA> <NA> unknown ann <NA>\n\n"
        "SPEAKER a 1 1.5 0.5 <NA> <NA> ann <NA> <NA>\nSPEAKER a 1 0.1 0.2 <NA> <NA> bob <NA>\n"
    )
    assert read_rttm(path) == {"a": (Turn(0.1, 0.3, "bob"), Turn(1.5, 2.0, "ann"))}


@pytest.mark.parametrize(
    "line, message",
    [
        ("SPEAKER a 1 0.0", "line 2: 4 fields where a SPEAKER line"),
        ("SPEAKER a 1 0.0 x <NA> <NA> ann <NA>", "line 2: 'x' is no time"),
        ("SPEAKER a 1 -1.0 2.0 <NA> <NA> ann <NA>", r"line 2: '-1\.0' is no time"),
        ("SPEAKER a 1 nan 2.0 <NA> <NA> ann <NA>", "line 2: 'nan' is no time"),
    ],
)
def test_a_line_that_cannot_be_right_is_named(tmp_path, line, message):
    path = tmp_path / "a.rttm"
    path.write_text(f"SPEAKER a 1 0 1 <NA> <NA> ann <NA> <NA>\n{line}\n")
    with pytest.raises(CorpusError, match=message):
        read_rttm(path)


def test_files_that_cannot_be_read_or_written(tmp_path, as_a_user):
    with pytest.raises(CorpusError, match="cannot be read"):
        read_rttm(tmp_path / "none.rttm")
    (tmp_path / "latin.rttm").write_bytes(b"SPEAKER \xe9")
    with pytest.raises(CorpusError, match="not UTF-8"):
        read_rttm(tmp_path / "latin.rttm")
    with pytest.raises(ArgumentError, match="must end after it starts"):
        write_rttm(tmp_path / "a.rttm", {"a": [(2.0, 1.0, "ann")]})
    with pytest.raises(ArgumentError, match="must not be empty"):
        write_rttm(tmp_path / "a.rttm", {"a": [(0.0, 1.0, " ")]})
    with pytest.raises(CorpusError, match="cannot be written"):
        write_rttm(tmp_path, {"a": [(0.0, 1.0, "ann")]})
    assert not (tmp_path / "a.rttm").exists()
