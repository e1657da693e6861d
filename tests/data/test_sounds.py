"""Sounds from any folder; those of the project's tables are tested with what is made of them."""

import numpy as np
import pytest

from jaxspk.audio import write_audio
from jaxspk.data import read_sounds
from jaxspk.errors import AudioError, CorpusError

RATE = 8000


@pytest.fixture
def folder(tmp_path):
    for name, seconds in (
        ("waltz/a", 1.0),
        ("waltz/b", 0.2),
        ("march/c", 0.5),
        ("rain/d", 0.5),
        ("halls/Basement", 0.5),
    ):
        path = tmp_path / f"{name}.wav"
        path.parent.mkdir(exist_ok=True)
        time = np.arange(round(seconds * RATE)) / RATE
        write_audio(path, (time / 2).astype(np.float32), RATE, subtype="FLOAT")
    return tmp_path


def test_a_sound_is_named_by_its_file_and_its_kind_by_the_folder(folder):
    sounds = read_sounds(folder, "training", RATE)
    assert [(sound.kind, sound.name) for sound in sounds] == [("march", "c"), ("waltz", "a"), ("waltz", "b")]
    assert [sound.waveform.size for sound in sounds] == [4000, 8000, 1600]


def test_what_is_for_tests_is_never_trained_with(folder):
    assert [sound.name for sound in read_sounds(folder, "test", RATE)] == ["Basement", "d"]
    with pytest.raises(CorpusError, match="rain: holds nothing for training; for tests are coffee-shop"):
        read_sounds(folder / "rain", "training", RATE)


def test_they_are_resampled_and_cut_to_their_middle(folder):
    first, second, third = read_sounds(str(folder), "training", RATE // 2, seconds=0.25)
    assert (first.waveform.size, second.waveform.size, third.waveform.size) == (1000, 1000, 800)
    np.testing.assert_allclose(second.waveform[::100], np.arange(0.375, 0.625, 0.025) / 2, atol=1e-3)
    with pytest.raises(ValueError, match="read-only"):
        first.waveform[0] = 1


def test_a_folder_without_recordings_is_refused(tmp_path):
    with pytest.raises(AudioError, match="holds no recordings"):
        read_sounds(tmp_path, "training", RATE)
    with pytest.raises(AudioError, match="no such file or folder"):
        read_sounds(tmp_path / "nowhere", "training", RATE)
