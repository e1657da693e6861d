"""A fixed amount of speech of every speaker: what is kept, in which order, and what is never read."""

import numpy as np
import pytest

from jaxspk.audio import write_audio
from jaxspk.data import (
    Manifest,
    SegmentConfig,
    Utterance,
    corpus_statistics,
    cut_corpus,
    cut_first_segments,
    cut_segments,
    join_segments,
)
from jaxspk.errors import ArgumentError, CorpusError

RATE = 8000
CONFIG = SegmentConfig(sample_rate=RATE)


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """Ann has 2 + 1 + 3 segments in three recordings, Bob 4 in one and a file that cannot be read."""
    folder = tmp_path_factory.mktemp("spoken")
    rng = np.random.default_rng(0)
    utterances = []
    for name, speaker, seconds in (("a1", "ann", 2.4), ("a2", "ann", 1.3), ("a3", "ann", 3.2), ("b1", "bob", 4.1)):
        path = folder / f"{name}.wav"
        write_audio(path, 0.1 * rng.normal(size=round(seconds * RATE)).astype(np.float32), RATE)
        utterances.append(Utterance(path, speaker, seconds))
    (folder / "b2.wav").write_text("no sound")
    return Manifest((*utterances, Utterance(folder / "b2.wav", "bob", 1.0)))


def test_the_first_segments_of_each_are_those_of_a_cut_of_all(spoken):
    segments, truth = cut_first_segments(spoken, 3, CONFIG)
    assert truth.speakers == ("ann", "bob")
    assert truth.labels.tolist() == [0, 0, 0, 1, 1, 1]
    everything, whole = cut_corpus(spoken, CONFIG)
    ann, bob = (everything.frames[whole.labels == number][:3] for number in (0, 1))
    np.testing.assert_array_equal(segments.frames, np.concatenate([ann, bob]))
    assert [segments.paths[number].stem for number in segments.recordings] == ["a1", "a1", "a2", "b1", "b1", "b1"]


def test_no_recording_is_read_beyond_what_is_needed(spoken):
    segments, _ = cut_first_segments(spoken, 3, CONFIG)
    assert "a3.wav" not in [path.name for path in segments.paths]
    assert not segments.problems
    more, truth = cut_first_segments(spoken, 10, CONFIG)
    assert np.bincount(truth.labels).tolist() == [6, 4]
    assert [problem.path.name for problem in more.problems] == ["b2.wav"]


def test_held_out_speakers_are_refused_unless_allowed(spoken):
    held = Manifest(tuple(Utterance(u.path, u.speaker, u.seconds, split="test") for u in spoken))
    with pytest.raises(CorpusError, match="held out for testing"):
        cut_first_segments(held, 3, CONFIG)
    assert len(cut_first_segments(held, 3, CONFIG, allow_held_out=True)[0]) == 6


def test_nobody_with_a_whole_segment_is_an_error(spoken):
    with pytest.raises(CorpusError, match="none of 5 recordings has 10 s"):
        cut_first_segments(spoken, 3, SegmentConfig(sample_rate=RATE, frames=50))


def test_overlapping_frames_are_windows_of_the_segment(spoken):
    segments, _ = cut_first_segments(spoken, 2, CONFIG)
    dense = segments.overlapping(400)
    sound = segments.frames.reshape(len(segments), -1)
    assert dense.frames.shape == (4, 17, 1600)
    for number in (0, 3, 16):
        np.testing.assert_array_equal(dense.frames[:, number], sound[:, number * 400 : number * 400 + 1600])
    np.testing.assert_array_equal(dense.frames[:, ::4], segments.frames)


def test_joined_cuts_name_their_recordings_anew(spoken):
    first, second = (cut_segments([u.path], CONFIG) for u in (spoken.utterances[0], spoken.utterances[3]))
    joined = join_segments([first, second])
    assert joined.recordings.tolist() == [0, 0, 1, 1, 1, 1]
    assert joined.paths == (*first.paths, *second.paths)
    with pytest.raises(ArgumentError, match="cut by one configuration"):
        join_segments([first, cut_segments([spoken.utterances[0].path], SegmentConfig(sample_rate=RATE, frames=2))])


def test_statistics_pass_over_what_cannot_be_read(spoken):
    found = corpus_statistics(spoken, CONFIG)
    assert found.recordings == 4
    assert found.speech_seconds == pytest.approx(2.4 + 1.3 + 3.2 + 4.1, abs=0.5)
