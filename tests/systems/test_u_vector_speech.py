"""The speech of a u-vector experiment: who is drawn, what is trained on, and that nobody's name is among it."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from jaxspk.data import SegmentConfig, Segments, SpeakerTruth, interval_statistics
from jaxspk.errors import ArgumentError, CorpusError
from jaxspk.systems import SpeakerSegments, SpeechConfig, UVectorSpeech, prepare_u_vector_data, read_speaker_segments

RATE = 8000
CUT = SegmentConfig(sample_rate=RATE, frame_seconds=0.1, window_seconds=0.05, hop_seconds=0.025, frames=4)


def speech(**changes) -> UVectorSpeech:
    return UVectorSpeech(**{"speakers": 3, "segments": 4, **changes})


@pytest.fixture(scope="module")
def there() -> SpeakerSegments:
    """Six speakers of four segments of four frames, each frame filled with its own number; a seventh has two."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(7), [4] * 6 + [2])
    frames = np.arange(len(labels) * 4).reshape(-1, 4, 1) + rng.uniform(0, 0.5, (1, 1, 800))
    segments = Segments(
        frames=frames.astype(np.float32),
        recordings=np.arange(len(labels)) // 2,
        starts=np.zeros(len(labels), int),
        paths=tuple(Path(f"{number}.wav") for number in range(len(labels))),
        config=CUT,
        statistics=interval_statistics([], CUT),
    )
    return SpeakerSegments("made up", segments, SpeakerTruth(tuple("abcdefg"), labels), None)


def test_speakers_are_drawn_from_those_with_enough_and_fewer_are_among_more(there):
    three, five = (prepare_u_vector_data(speech(speakers=count, seed=1), there) for count in (3, 5))
    assert set(three.truth.speakers) < set(five.truth.speakers) <= set("abcdef")
    assert len(three.segments) == 12
    everybody = prepare_u_vector_data(speech(speakers=None, fewest=2), there)
    assert everybody.truth.speakers == tuple("abcdefg")
    with pytest.raises(CorpusError, match="6 speakers have at least 4 segments"):
        prepare_u_vector_data(speech(speakers=7), there)


def test_as_described_each_segment_is_a_class_and_its_frames_are_trained_on(there):
    made = prepare_u_vector_data(speech(), there)
    assert made.labelled.classes == 12 and not made.labelled.uses_labels
    np.testing.assert_array_equal(made.labelled.labels, np.repeat(np.arange(12), 4))
    np.testing.assert_array_equal(made.labelled.frames, made.segments.frames.reshape(48, 800))
    assert made.held_out_frames is None and not made.unheard.any()
    assert "without labels" in made.describe()


def test_what_is_held_out_is_not_trained_on(there):
    made = prepare_u_vector_data(speech(hold_out=2, hop_seconds=0.05), there)
    held = made.held_out_frames
    assert held is not None and len(held) == 24
    # The first two frames of each segment, three windows of them with an overlap of half.
    assert len(made.labelled) == 36
    np.testing.assert_array_equal(made.scored.frames[made.unheard], held.frames)
    own = {float(np.floor(frame[0])) for frame in held.frames}
    assert not own & {float(np.floor(frame[-1])) for frame in made.labelled.frames}
    for wrong in (1, 3):
        with pytest.raises(ArgumentError, match="`hold_out` must be 0, or at least 2"):
            prepare_u_vector_data(speech(hold_out=wrong), there)


def test_other_speakers_are_not_trained_on_unless_asked(there):
    made = prepare_u_vector_data(speech(), there)
    segments, truth = made.others
    assert len(truth.speakers) == 3 and not set(truth.speakers) & set(made.truth.speakers)
    heard = set(made.labelled.frames[:, 0].tolist())
    assert not heard & set(segments.frames[:, :, 0].reshape(-1).tolist())
    more = prepare_u_vector_data(speech(more=True), there)
    assert more.others is None
    assert len(more.labelled) == 26 * 4
    np.testing.assert_array_equal(more.labelled.frames[:48], made.labelled.frames)
    assert len(more.scored) == 48


def test_as_released_the_groups_are_of_one_speaker_and_say_so(there):
    made = prepare_u_vector_data(speech(protocol="as_released", hold_out=2), there)
    assert made.labelled.uses_labels and "USES SPEAKER LABELS" in made.describe()
    for group in range(made.scored.classes):
        assert len(set(made.scored_speakers[made.scored.labels == group].tolist())) == 1
    np.testing.assert_array_equal(made.scored.frames[made.unheard], made.held_out_frames.frames)
    with pytest.raises(ArgumentError, match="leave `more`"):
        speech(protocol="as_released", hop_seconds=0.05)


def test_impurity_permutes_what_is_trained_on(there):
    pure, impure = (prepare_u_vector_data(speech(impurity=share), there) for share in (0.0, 0.5))
    assert (pure.labelled.labels != impure.labelled.labels).any()
    np.testing.assert_array_equal(np.bincount(impure.labelled.labels), [4] * 12)
    np.testing.assert_array_equal(impure.scored.labels, impure.labelled.labels)
    np.testing.assert_array_equal(pure.scored_speakers, impure.scored_speakers)
    assert "50% of the labels permuted" in impure.describe()


def test_training_sees_numbers_and_sounds_only(there):
    """Neither names nor paths nor the truth can be reached from what a training is given."""
    made = prepare_u_vector_data(speech(hold_out=2), there)
    for given in (made.labelled, made.held_out_frames):
        for field in dataclasses.fields(given):
            value = getattr(given, field.name)
            assert isinstance(value, np.ndarray | float) or field.name == "protocol"


def test_a_corpus_is_read_cut_and_drawn_from(corpus):
    config = UVectorSpeech(
        data=SpeechConfig(path=corpus, validation=0.2, test=0.3), speakers=2, segments=2, fewest=1, seed=3
    )
    there = read_speaker_segments(config, CUT)
    made = prepare_u_vector_data(config, there)
    assert made.segments.frames.shape[1:] == (4, 800)
    assert np.bincount(made.truth.labels).max() <= 2
    assert len(made.noises) > 0
    tested = read_speaker_segments(dataclasses.replace(config, held_out=True), CUT)
    assert not set(tested.truth.speakers) & set(there.truth.speakers)
    transductive = prepare_u_vector_data(dataclasses.replace(config, held_out=True), tested)
    assert transductive.transductive and "transductive" in transductive.describe()
