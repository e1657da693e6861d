"""Finding recordings in files and folders."""

import pytest

from jaxspk.audio import AUDIO_SUFFIXES, find_recordings
from jaxspk.errors import AudioError


def tree(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_a_folder_is_walked_and_sorted(tmp_path):
    tree(tmp_path, "b/2.FLAC", "b/1.mp3", "a.wav", "c/d/e.Ogg", "notes.txt", ".hidden.wav", ".git/x.wav", "b/._1.mp3")
    found = [str(path.relative_to(tmp_path)) for path in find_recordings(tmp_path)]
    assert found == ["a.wav", "b/1.mp3", "b/2.FLAC", "c/d/e.Ogg"]


def test_every_known_suffix_is_found(tmp_path):
    tree(tmp_path, *(f"x{suffix}" for suffix in AUDIO_SUFFIXES))
    assert len(find_recordings(tmp_path)) == len(AUDIO_SUFFIXES)


def test_files_are_taken_as_named_and_once(tmp_path):
    tree(tmp_path, "z.wav", "a.wav", "odd.name")
    order = [tmp_path / "z.wav", tmp_path / "odd.name", tmp_path, tmp_path / "z.wav"]
    assert [path.name for path in find_recordings(order)] == ["z.wav", "odd.name", "a.wav"]
    assert find_recordings(str(tmp_path / "z.wav")) == [tmp_path / "z.wav"]


def test_links_in_a_circle_end(tmp_path):
    tree(tmp_path, "a/x.wav")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "other").symlink_to(tmp_path / "a")
    assert [str(path.relative_to(tmp_path)) for path in find_recordings(tmp_path)] == ["a/x.wav"]


def test_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(AudioError, match=r"none: there is no such file or folder\.$"):
        find_recordings([tmp_path / "none"])
    with pytest.raises(AudioError, match=r"holds no recordings: no name ends in \.flac, "):
        find_recordings(tmp_path)
