"""Pseudo-labels: what they are made of, and what they cannot be made of."""

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from jaxspk.data import (
    Manifest,
    SegmentConfig,
    Segments,
    SpeakerTruth,
    Utterance,
    cut_corpus,
    first_of_each_speaker,
    group_by_speaker,
    interval_statistics,
    label_segments,
    permute_some,
    true_impurity,
)
from jaxspk.errors import CorpusError

CONFIG = SegmentConfig(sample_rate=100)


def segments_of(recordings: list[int], frames: int = 5) -> Segments:
    """One segment for each number, of the recording of that number; frame f of segment s holds 10 s + f."""
    count = len(recordings)
    values = 10.0 * np.arange(count)[:, None, None] + np.arange(frames)[:, None]
    return Segments(
        frames=np.broadcast_to(values, (count, frames, 20)).astype(np.float32),
        recordings=np.array(recordings),
        starts=np.arange(count) * 100,
        paths=tuple(Path(f"{number}.wav") for number in range(max(recordings) + 1)),
        config=CONFIG,
        statistics=interval_statistics([], CONFIG),
    )


def truth_of(segments: Segments, names: str) -> SpeakerTruth:
    """A letter for each recording."""
    manifest = Manifest(tuple(Utterance(path, name, 1.0) for path, name in zip(segments.paths, names, strict=True)))
    return SpeakerTruth.of(segments, manifest)


def test_each_segment_is_a_class_of_its_own():
    data = label_segments(segments_of([0, 0, 1]))
    assert data.labels.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    assert data.apart.tolist() == [0, 1, 2]
    assert data.frames[:, 0].tolist() == [*range(5), *range(10, 15), *range(20, 25)]
    assert not data.uses_labels


def test_recordings_may_be_believed_to_hold_one_speaker():
    segments = segments_of([0, 0, 2])
    assert label_segments(segments, apart="recording").apart.tolist() == [0, 0, 2]
    data = label_segments(segments, belong="recording", apart="recording")
    assert data.labels.tolist() == [0] * 10 + [1] * 5
    assert data.apart.tolist() == [0, 2]


def test_what_a_training_gets_holds_sounds_and_numbers_only():
    """No name and no path, by which speakers could be told, reaches it."""
    data = label_segments(segments_of([0, 1, 2]))
    held = [getattr(data, field.name) for field in dataclasses.fields(data)]
    assert {type(value) for value in held} == {np.ndarray, str, float}
    assert data.protocol == "as_described"


def test_the_protocol_with_labels_says_so():
    segments = segments_of([0, 1])
    data, _ = group_by_speaker(segments, truth_of(segments, "ab"))
    assert data.uses_labels
    assert "USES SPEAKER LABELS" in data.note
    assert "without labels" in label_segments(segments).note


def test_groups_are_of_one_speaker_and_from_anywhere():
    segments = segments_of([0, 1, 2, 3, 0, 1], frames=5)
    truth = truth_of(segments, "abab")
    data, speakers = group_by_speaker(segments, truth, size=4, seed=3)
    assert speakers.speakers == ("a", "b")
    assert Counter(data.labels.tolist()) == dict.fromkeys(range(6), 4)
    for label in range(6):
        inside = data.labels == label
        assert len(set(speakers.labels[inside])) == 1
    taken = data.frames[:, 0]
    assert len(set(taken)) == len(taken) == 24  # Of 30 frames, 15 a speaker: 3 whole groups of 4 each.
    # The speaker of each frame is that of its segment.
    np.testing.assert_array_equal(speakers.labels, truth.labels[(taken // 10).astype(int)])
    assert any(len({int(frame) // 10 for frame in taken[data.labels == label]}) > 1 for label in range(6))


def test_too_few_frames_for_a_group_are_refused():
    segments = segments_of([0, 1], frames=3)
    with pytest.raises(CorpusError, match="no speaker has 5 frames"):
        group_by_speaker(segments, truth_of(segments, "ab"))


@pytest.mark.parametrize("impurity, chosen", [(0.0, 0), (0.05, 50), (0.1, 100), (1.0, 1000)])
def test_impurity_permutes_labels_of_so_many_frames(impurity, chosen):
    labels = np.repeat(np.arange(200), 5)
    permuted = permute_some(labels, impurity, seed=7)
    np.testing.assert_array_equal(np.bincount(permuted), np.bincount(labels))
    wrong = true_impurity(permuted, labels)
    assert wrong <= impurity
    # With 200 classes hardly any gets its own label back.
    assert np.sum(permuted != labels) >= 0.9 * chosen
    np.testing.assert_array_equal(permuted, permute_some(labels, impurity, seed=7))
    if chosen:
        assert (permuted != permute_some(labels, impurity, seed=8)).any()


def test_the_truth_is_that_of_the_recordings():
    segments = segments_of([2, 0, 1])
    truth = truth_of(segments, "bab")
    assert truth.speakers == ("a", "b")
    assert truth.labels.tolist() == [1, 1, 0]
    assert truth.of_frames(2).tolist() == [1, 1, 1, 1, 0, 0]
    some = truth.select(np.array([2]))
    assert (some.speakers, some.labels.tolist()) == (("a",), [0])


def test_a_recording_without_a_speaker_is_refused():
    segments = segments_of([0, 1])
    with pytest.raises(CorpusError, match=r"1\.wav: not in the manifest"):
        SpeakerTruth.of(segments, Manifest((Utterance(Path("0.wav"), "a", 1.0),)))


def test_a_corpus_is_cut_but_for_held_out_speakers(make_manifest):
    config = SegmentConfig(sample_rate=8000, threshold_db=60.0)
    segments, truth = cut_corpus(make_manifest({"ann": "F", "bob": "M"}), config)
    assert truth.speakers == ("ann", "bob")
    assert [segments.paths[number].stem[:3] for number in segments.recordings] == [
        truth.speakers[label] for label in truth.labels
    ]
    held_out = make_manifest({"eve": "F"}, split="test")
    with pytest.raises(CorpusError, match="held out for testing"):
        cut_corpus(held_out, config)
    assert cut_corpus(held_out, config, allow_held_out=True)[1].speakers == ("eve",)


def test_the_first_segments_of_each_speaker_with_enough():
    segments = segments_of([0, 1, 0, 2, 1, 0])
    truth = truth_of(segments, "abc")
    assert first_of_each_speaker(truth, 2).tolist() == [0, 1, 2, 3, 4]
    assert first_of_each_speaker(truth, 2, fewest=2).tolist() == [0, 1, 2, 4]
    one = first_of_each_speaker(truth, 3, speakers=1, seed=5)
    two = first_of_each_speaker(truth, 3, speakers=2, seed=5)
    assert set(one) < set(two)
    with pytest.raises(CorpusError, match="2 speakers have at least 2 segments, 3 are asked for"):
        first_of_each_speaker(truth, 2, fewest=2, speakers=3)


def test_the_fingerprint_follows_labels_and_frames():
    segments = segments_of([0, 1, 2])
    prints = {
        label_segments(segments).fingerprint,
        label_segments(segments, impurity=0.5).fingerprint,
        label_segments(segments.select(np.array([0, 2, 1]))).fingerprint,
        label_segments(segments, apart="recording").fingerprint,
    }
    assert len(prints) == 3  # Each recording has one segment here, so `apart` changes nothing.
