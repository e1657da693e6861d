"""Segments against librosa's split and against arithmetic by hand."""

import librosa
import numpy as np
import pytest

from jaxspk.audio import write_audio
from jaxspk.data import SegmentConfig, cut_segments, interval_statistics, segment_starts, speech_intervals
from jaxspk.errors import ArgumentError, CorpusError

RATE = 8000
CONFIG = SegmentConfig(sample_rate=RATE)


def bursts(*seconds: float) -> np.ndarray:
    """Noise and pauses in turn, noise first."""
    rng = np.random.default_rng(0)
    pieces = [
        rng.normal(scale=0.1 if number % 2 == 0 else 1e-4, size=round(length * RATE))
        for number, length in enumerate(seconds)
    ]
    return np.concatenate(pieces).astype(np.float32)


@pytest.fixture
def files(tmp_path):
    """Three recordings: one with two stretches of speech, one too short, one that is no recording."""
    write_audio(tmp_path / "a.wav", bursts(2.5, 1.0, 1.3), RATE)
    write_audio(tmp_path / "b.wav", bursts(0.4), RATE)
    (tmp_path / "c.wav").write_text("not a recording")
    return [tmp_path / f"{name}.wav" for name in "abc"]


@pytest.mark.parametrize("seed", range(3))
def test_the_split_is_librosas_with_the_papers_settings(seed):
    rng = np.random.default_rng(seed)
    envelope = np.repeat(rng.choice([0.001, 0.02, 0.3], size=40), 1600)
    waveform = (envelope * rng.normal(size=envelope.size)).astype(np.float32)
    expected = librosa.effects.split(waveform, top_db=16, frame_length=3200, hop_length=1600)
    np.testing.assert_array_equal(speech_intervals(waveform), expected)


def test_the_split_of_real_speech_is_librosas(speech):
    path = sorted((speech / "LibriSpeech").rglob("*.*"))
    path = next(file for file in path if file.suffix in (".flac", ".opus", ".ogg", ".wav"))
    waveform, _ = librosa.load(path, sr=16_000)
    expected = librosa.effects.split(waveform, top_db=16, frame_length=3200, hop_length=1600)
    np.testing.assert_array_equal(speech_intervals(waveform), expected)


def test_segments_follow_each_other_from_the_start_of_each_interval(files):
    segments = cut_segments(files[:1], CONFIG)
    waveform = bursts(2.5, 1.0, 1.3)
    intervals = speech_intervals(waveform, CONFIG)
    assert segments.frames.shape == (len(segments), 5, 1600)
    assert segments.starts.tolist() == segment_starts(intervals, RATE).tolist()
    for frames, start in zip(segments.frames, segments.starts, strict=True):
        np.testing.assert_array_equal(frames.reshape(-1), waveform[start : start + RATE])
        assert any(first <= start and start + RATE <= last for first, last in intervals)


def test_what_cannot_be_used_is_listed_and_passed_over(files):
    segments = cut_segments(files, CONFIG)
    assert [problem.path for problem in segments.problems] == files[2:]
    assert set(segments.recordings) == {0}
    assert segments.statistics.recordings == 2
    with pytest.raises(CorpusError, match=r"none of 1 recordings has 1 s between two pauses"):
        cut_segments(files[1:2], CONFIG)


def test_what_is_cut_and_what_is_dropped_make_up_the_speech(files):
    found = cut_segments(files, CONFIG)
    statistics = found.statistics
    assert statistics.segment_seconds == len(found)
    assert statistics.segment_seconds + statistics.dropped_seconds == pytest.approx(statistics.speech_seconds)


def test_statistics_of_intervals():
    seconds = np.array([0.5, 1.0, 2.5])
    ends = (seconds * RATE).astype(int)
    intervals = [np.stack([0 * ends[:2], ends[:2]], 1), np.stack([0 * ends[2:], ends[2:]], 1)]
    found = interval_statistics(intervals, CONFIG)
    assert (found.recordings, found.intervals) == (2, 3)
    assert found.mean_seconds == pytest.approx(4 / 3)
    assert found.median_seconds == 1.0
    assert found.std_seconds == pytest.approx(np.std(seconds))
    assert (found.segment_seconds, found.dropped_seconds, found.dropped) == (3.0, 1.0, 2)
    none = interval_statistics([np.zeros((0, 2), int)], CONFIG)
    assert (none.recordings, none.intervals, none.mean_seconds) == (1, 0, 0.0)


def test_as_the_published_code_cuts_an_exact_multiple_loses_its_last_frame():
    def frames(interval: int) -> int:
        """Of the code, as its loop reads."""
        count, start = 0, 0
        while start + 3200 < interval:
            count, start = count + 1, start + 3200
        return count

    for length in (1, 3199, 3200, 3201, 6400, 9599, 9600, 16_001):
        interval = np.array([[0, length]]) - np.array([0, 1])
        assert len(segment_starts(interval, 3200)) == frames(length)
    config = SegmentConfig(frames=1, keep_exact=False)
    found = interval_statistics([np.array([[0, 9600]])], config)
    assert (found.segment_seconds, found.dropped_seconds) == (0.4, pytest.approx(0.2))


def test_the_first_segments_only(files):
    assert cut_segments(files[:1], CONFIG, max_segments=2).starts.tolist() == [0, RATE]


def test_selected_segments_keep_their_places(files):
    segments = cut_segments(files[:1], CONFIG)
    chosen = segments.select(np.array([2, 0]))
    assert chosen.starts.tolist() == segments.starts[[2, 0]].tolist()
    np.testing.assert_array_equal(chosen.frames, segments.frames[[2, 0]])


def test_impossible_settings_are_refused(as_a_user):
    with pytest.raises(ArgumentError, match="`threshold_db` must lie in"):
        SegmentConfig(threshold_db=0)
    with pytest.raises(ArgumentError, match="`frames` must lie in"):
        SegmentConfig(frames=0)
