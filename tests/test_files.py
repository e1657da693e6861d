import os

import pytest

from jaxspk._files import is_unfinished, write_whole


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("name", ["plain.txt", "\N{SNOWMAN}" * 80], ids=["plain", "long"])
def test_a_file_is_written_with_the_rights_of_any_new_file(tmp_path, name, durable):
    (tmp_path / "any").write_text("")
    write_whole(tmp_path / name, b"1", durable=durable)
    assert (tmp_path / name).read_bytes() == b"1"
    assert (tmp_path / name).stat().st_mode == (tmp_path / "any").stat().st_mode


def test_a_failure_leaves_what_was_there_and_nothing_beside(tmp_path, monkeypatch):
    write_whole(tmp_path / "file", b"before")

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(tmp_path / "file", b"after")
    assert (tmp_path / "file").read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert not is_unfinished(tmp_path / "file")
