import threading

import numpy as np
import pytest

from jaxspk.audio import active_level, read_audio, write_audio
from jaxspk.data import Recordings
from jaxspk.errors import AudioError


def test_a_recording_is_decoded_once_at_the_rate_asked_for(tmp_path, write_voice):
    path = write_voice(tmp_path / "a.wav", rate=16000)
    recordings = Recordings(8000)
    first = recordings.get(path)
    path.unlink()
    again = recordings.get(path)
    assert again.waveform is first.waveform
    assert again.level == first.level
    assert first.waveform.shape == (16000,)
    assert first.waveform.dtype == np.float32


def test_level_is_the_active_level(tmp_path, write_voice):
    path = write_voice(tmp_path / "a.wav")
    waveform, rate = read_audio(path)
    assert Recordings(rate).get(path).level == active_level(waveform, rate)


def test_who_wants_the_samples_alone_does_not_wait_for_their_level(tmp_path, write_voice, monkeypatch):
    path = write_voice(tmp_path / "a.wav")
    monkeypatch.setattr("jaxspk.audio.active_level", None)
    np.testing.assert_array_equal(Recordings(8000).waveform(path), read_audio(path)[0])


def test_samples_cannot_be_written_into(tmp_path, write_voice):
    with pytest.raises(ValueError, match="read-only"):
        Recordings(8000).get(write_voice(tmp_path / "a.wav")).waveform[0] = 1.0


def test_memory_is_bounded_and_the_least_recently_used_goes_first(tmp_path, write_voice):
    paths = [write_voice(tmp_path / f"{name}.wav") for name in "abc"]
    recordings = Recordings(8000, max_bytes=2 * 4 * 16000)
    a, b = recordings.waveform(paths[0]), recordings.waveform(paths[1])
    assert recordings.waveform(paths[0]) is a
    recordings.waveform(paths[2])
    assert recordings.waveform(paths[0]) is a
    again = recordings.waveform(paths[1])
    assert again is not b
    np.testing.assert_array_equal(again, b)


def test_one_recording_larger_than_the_bound_still_works(tmp_path, write_voice):
    path = write_voice(tmp_path / "a.wav")
    recordings = Recordings(8000, max_bytes=1)
    assert recordings.waveform(path) is recordings.waveform(path)


def test_unusable_files_are_refused_and_remembered(tmp_path):
    write_audio(tmp_path / "hush.wav", np.zeros(8000, np.float32), 8000)
    (tmp_path / "empty.wav").touch()
    recordings = Recordings(8000)
    for name, reason in (("hush", "no active speech"), ("empty", "is empty")):
        for _ in range(2):
            with pytest.raises(AudioError, match=f"{name}.wav: .*{reason}"):
                recordings.get(tmp_path / f"{name}.wav")
    assert set(recordings.unusable) == {tmp_path / "hush.wav", tmp_path / "empty.wav"}


def test_threads_may_share_it(tmp_path, write_voice):
    paths = [write_voice(tmp_path / f"v{k}.wav", seconds=0.5) for k in range(6)]
    recordings = Recordings(8000, max_bytes=3 * 4 * 4000)
    expected = {path: Recordings(8000).get(path).waveform.sum() for path in paths}
    wrong = []

    def ask(seed):
        for k in np.random.default_rng(seed).integers(6, size=100):
            if recordings.get(paths[k]).waveform.sum() != expected[paths[k]]:
                wrong.append(k)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_gains_may_be_relative_to_other_levels(tmp_path, write_voice):
    path = write_voice(tmp_path / "a.wav")
    recordings = Recordings(8000)
    waveform = recordings.get(path).waveform
    assert recordings.level(path, "active") == active_level(waveform, 8000)
    assert recordings.level(path, "active_above_200_hz") == active_level(waveform, 8000, high_pass_hz=200)
    assert recordings.level(path, "recorded") == 1.0
