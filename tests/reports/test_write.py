import os
import stat

import pytest

from jaxspk.reports import _write


def test_makes_missing_folders_and_leaves_nothing_else(tmp_path):
    path = _write.write_text(tmp_path / "new" / "page.html", "ä\n")
    assert path.read_bytes() == "ä\n".encode()
    assert [entry.name for entry in path.parent.iterdir()] == ["page.html"]


def test_a_failed_write_leaves_the_old_file_whole(tmp_path, monkeypatch):
    path = tmp_path / "page.html"
    path.write_text("old")

    def full_disk(*names: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(OSError, match="no space"):
        _write.write_text(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["page.html"]


def test_others_may_read_it(tmp_path):
    old = os.umask(0o022)
    try:
        path = _write.write_text(tmp_path / "page.html", "text")
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_names_that_are_no_text_can_be_written(tmp_path):
    path = _write.write_text(tmp_path / "list.csv", os.fsdecode(b"caf\xe9.wav"))
    assert path.read_text(encoding="utf-8") == "caf?.wav"
