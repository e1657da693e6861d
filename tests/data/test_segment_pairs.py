"""Pairs of segments: balanced, of different recordings where there are two, the same whoever asks for them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxspk.audio import SpeechFrames
from jaxspk.data import SegmentPairConfig, SegmentPairSource, SpokenRecording, segment_pair_batches
from jaxspk.errors import ArgumentError, CheckpointError, CorpusError


def recordings(counts, *, frames=40):
    """Speakers with so many recordings; frame i of recording r holds (r, i)."""
    made = []
    for speaker, count in enumerate(counts):
        for _ in range(count):
            number = len(made)
            cepstra = np.stack([np.full(frames, number), np.arange(frames)], axis=1).astype(np.float32)
            # Every fourth frame is a pause.
            made.append(SpokenRecording(f"s{speaker}", SpeechFrames(cepstra, np.flatnonzero(np.arange(frames) % 4))))
    return made


def source(counts=(1, 2, 3, 1), *, seed=0, frames=40, **changes):
    config = SegmentPairConfig(**{"pairs": 8, "frames": 10, **changes})
    return SegmentPairSource(recordings(counts, frames=frames), config, seed=seed)


@given(counts=st.lists(st.integers(1, 4), min_size=2, max_size=6), index=st.integers(0, 30), seed=st.integers(0, 5))
def test_half_are_of_one_speaker_in_two_recordings_where_there_are_two(counts, index, seed):
    made = source(counts, seed=seed)
    plan = made.plan(index)
    owners = np.repeat(np.arange(len(counts)), counts)
    speakers = owners[plan.recordings]
    same = speakers[:, 0] == speakers[:, 1]
    np.testing.assert_array_equal(same, plan.same_speaker)
    assert same.sum() == 4
    for (first, second), speaker in zip(plan.recordings[same], speakers[same, 0], strict=True):
        assert (first != second) == (counts[speaker] > 1)
    assert (plan.starts >= 0).all() and (plan.starts <= 30 - 10).all()


@given(spoken=st.integers(10, 35), index=st.integers(0, 20))
def test_two_segments_of_one_recording_lie_as_far_apart_as_they_can(spoken, index):
    frames = SpeechFrames(np.zeros((spoken, 1), np.float32), np.arange(spoken))
    made = SegmentPairSource(
        [SpokenRecording("a", frames), SpokenRecording("b", frames)], SegmentPairConfig(pairs=4, frames=10), seed=1
    )
    plan = made.plan(index)
    gaps = np.abs(np.diff(plan.starts[plan.same_speaker]))
    assert (gaps >= min(10, spoken - 10)).all()


def test_every_speaker_comes_before_any_comes_again():
    made = source((1, 1, 1, 1, 2), pairs=4)
    firsts = np.concatenate([made[index]["speaker_1"][:2] for index in range(5)])
    assert sorted(firsts[:5]) == [0, 1, 2, 3, 4] and sorted(firsts[5:]) == [0, 1, 2, 3, 4]
    assert sorted(np.concatenate([made[index]["speaker_1"][2:] for index in range(5)])[:5]) == [0, 1, 2, 3, 4]


def test_segments_are_speech_in_order_with_their_neighbours():
    made = source(context=1)
    batch, plan = made[3], made.plan(3)
    speech = np.flatnonzero(np.arange(40) % 4)
    for side, name in enumerate(("frames_1", "frames_2")):
        for segment, number, start in zip(batch[name], plan.recordings[:, side], plan.starts[:, side], strict=True):
            np.testing.assert_array_equal(segment[:, [0, 2, 4]], number)
            np.testing.assert_array_equal(segment[:, 3], speech[start : start + 10])
            np.testing.assert_array_equal(segment[:, 1], np.maximum(speech[start : start + 10] - 1, 0))
    assert batch["frames_1"].shape == (8, 10, 6)


def test_a_filter_is_one_constant_a_segment_and_changes_nothing_else():
    plain, filtered = source(context=1), source(context=1, filter_deviation=2.0)
    moved = filtered[2]["frames_1"] - plain[2]["frames_1"]
    np.testing.assert_allclose(moved, np.broadcast_to(moved[:, :1], moved.shape), atol=1e-5)
    np.testing.assert_allclose(moved[..., :2], moved[..., 2:4], atol=1e-5)
    assert moved[:, 0, 0].std() > 0.5
    # The second coefficient has the same mean in all recordings: there is no deviation to take a share of.
    np.testing.assert_array_equal(moved[..., 1], 0)
    assert plain.fingerprint != filtered.fingerprint


def test_speakers_of_one_recording_can_be_left_to_pairs_with_others():
    made = source((1, 3, 1, 1), single_recording="skip")
    for index in range(5):
        plan = made.plan(index)
        assert set(plan.recordings[plan.same_speaker].ravel()) <= {1, 2, 3}
    with pytest.raises(CorpusError, match="nobody has two"):
        source((1, 1), single_recording="skip")


def test_short_recordings_are_left_out_and_too_few_refused():
    long, short = recordings((1, 1, 1)), recordings((1,), frames=10)
    made = SegmentPairSource([*long, *short], SegmentPairConfig(pairs=2, frames=10), seed=0)
    assert len(made.recordings) == 3
    with pytest.raises(CorpusError, match="two speakers with 31 frames"):
        SegmentPairSource(long, SegmentPairConfig(pairs=2, frames=31), seed=0)


def test_the_stream_goes_on_where_it_was_and_refuses_another():
    with segment_pair_batches(source(), workers=0) as batches:
        next(batches)
        state = batches.get_state()
        expected = next(batches)
    with segment_pair_batches(source(), workers=1) as again:
        again.set_state(state)
        for name, array in next(again).items():
            np.testing.assert_array_equal(array, expected[name])
    with segment_pair_batches(source(seed=1), workers=0) as other, pytest.raises(CheckpointError, match="fingerprint"):
        other.set_state(state)


@pytest.mark.parametrize(
    "changes, message", [({"pairs": 7}, "even"), ({"frames": 1}, "frames"), ({"context": -1}, "co")]
)
def test_refuses_settings_that_make_no_pairs(changes, message):
    with pytest.raises(ArgumentError, match=message):
        SegmentPairConfig(**changes)
