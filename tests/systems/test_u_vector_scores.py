"""Scores of a u-vector experiment: which rows there are, that noise knows nothing, and that tables read back."""

import numpy as np
import pytest

from jaxspk.audio import FrameFeatureConfig
from jaxspk.data import (
    SegmentConfig,
    Segments,
    SpeakerTruth,
    generated_noises,
    interval_statistics,
    label_segments,
)
from jaxspk.errors import CorpusError
from jaxspk.systems import (
    HELD_OUT_FRAMES,
    HELD_OUT_SPEAKERS,
    MFCC_STATISTICS,
    LinearDiscriminant,
    UVectorData,
    find_score,
    read_u_vector_scores,
    score_vectors,
    write_u_vector_scores,
)
from jaxspk.systems._u_vector_scores import score_cepstra

RATE = 8000
CUT = SegmentConfig(sample_rate=RATE, frame_seconds=0.1, frames=4)


def tones(speakers, segments, seed) -> Segments:
    """Each speaker has a colour of noise: a resonance of his own, moved a little in every frame."""
    rng = np.random.default_rng(seed)
    frames = []
    for speaker in range(speakers):
        for _ in range(segments):
            noise = rng.normal(size=(4, 800))
            spectrum = np.fft.rfft(noise)
            centre = 40 + 45 * speaker + rng.normal(scale=3, size=(4, 1))
            spectrum *= 0.05 + np.exp(-np.square((np.arange(401) - centre) / 25))
            frames.append(0.01 * np.fft.irfft(spectrum, 800))
    return Segments(
        frames=np.array(frames, np.float32),
        recordings=np.arange(speakers * segments),
        starts=np.zeros(speakers * segments, int),
        paths=(),
        config=CUT,
        statistics=interval_statistics([], CUT),
    )


def truth(speakers, segments) -> SpeakerTruth:
    return SpeakerTruth(tuple(map(str, range(speakers))), np.repeat(np.arange(speakers), segments))


@pytest.fixture(scope="module")
def made() -> UVectorData:
    segments = tones(6, 6, 0)
    labelled = label_segments(segments)
    return UVectorData(
        name="coloured noise",
        segments=segments,
        truth=truth(6, 6),
        labelled=labelled,
        held_out_frames=None,
        scored=labelled,
        scored_speakers=truth(6, 6).of_frames(4),
        unheard=np.tile(np.arange(4) >= 2, 36),
        others=(tones(5, 6, 1), truth(5, 6)),
        noises=generated_noises(1, RATE, seed=0, seconds=0.2),
        transductive=False,
    )


def spectra(frames):
    return np.log(np.abs(np.fft.rfft(frames)).reshape(len(frames), -1)[:, :400].reshape(len(frames), 20, 20).mean(-1))


@pytest.fixture(scope="module")
def scores(made):
    return list(score_vectors("spectra", spectra, made, unit=False))


def test_every_row_that_says_something_is_there_once(scores):
    rows = [(score.speech, score.labels, score.of, score.sampling) for score in scores]
    assert len(set(rows)) == len(rows) == 10
    for speech, labels, of in (
        ("clustered", "speakers", "segments"),
        ("clustered", "pseudo-labels", "frames"),
        (HELD_OUT_FRAMES, "speakers", "frames"),
        (HELD_OUT_FRAMES, "pseudo-labels", "frames"),
        (HELD_OUT_SPEAKERS, "speakers", "segments"),
    ):
        assert (speech, labels, of, "all") in rows
    assert {sampling for _, _, of, sampling in rows if of == "frames"} == {"all", "ten", "released"}


def test_the_items_and_clusters_are_as_many_as_they_should_be(scores):
    assert find_score(scores, "spectra").counts == {"items": 36, "classes": 6, "clusters": 6}
    pseudo = find_score(scores, "spectra", labels="pseudo-labels", of="frames")
    assert pseudo.counts == {"items": 144, "classes": 36, "clusters": 36}
    held = find_score(scores, "spectra", speech=HELD_OUT_FRAMES, of="frames")
    assert held.counts["items"] == 72
    assert find_score(scores, "spectra", sampling="ten", of="frames").counts["items"] == 60
    assert find_score(scores, "nobody") is None


def test_colours_are_found_and_noise_finds_none(scores):
    found = find_score(scores, "spectra")
    assert found.scores["ari"] > 0.9
    assert abs(found.scores["noise_ari"]) < 0.1


def test_vectors_without_directions_in_common_have_no_length_to_be_told_by(made):
    """Only directions count: scaling each vector by itself changes nothing."""
    rng = np.random.default_rng(0)

    def scaled(frames):
        return spectra(frames) * rng.uniform(0.1, 10, (len(frames), 1))

    first = next(score_vectors("spectra", spectra, made, unit=True))
    second = next(score_vectors("spectra", scaled, made, unit=True))
    assert first.scores == pytest.approx(second.scores)


def test_a_table_reads_back_as_it_was_written(scores, tmp_path):
    path = tmp_path / "scores.csv"
    write_u_vector_scores(path, scores)
    assert read_u_vector_scores(path) == scores
    header, *lines = path.read_text().splitlines()
    released = next(line for line in lines if ",released," in line)
    cells = dict(zip(header.split(","), released.split(","), strict=True))
    assert cells["ari"] == "" and float(cells["ari_two_a_class"]) <= 1
    path.write_text(path.read_text().replace("36", "many"))
    with pytest.raises(CorpusError, match="not a table of scores"):
        read_u_vector_scores(path)


@pytest.mark.slow
def test_the_discriminant_finds_by_pseudo_labels_what_tells_speakers(made):
    features = FrameFeatureConfig(
        sample_rate=RATE, n_fft=128, window_length=128, hop_length=64, num_mels=20, normalize=False
    )
    discriminant = LinearDiscriminant.fit(made.labelled, features, dim=5)
    vectors = discriminant.embed(made.segments.frames.reshape(-1, 800))
    assert vectors.shape == (144, 5)
    # Whitened: frames of a class scatter alike in all directions, up to what the shrinkage adds.
    means = vectors.reshape(36, 4, 5).mean(1)
    within = np.cov((vectors - np.repeat(means, 4, axis=0)).T, bias=True)
    np.testing.assert_allclose(within - np.diag(np.diag(within)), 0, atol=0.25 * np.diag(within).max())
    assert next(score_vectors("", discriminant.embed, made, unit=False)).scores["ari"] > 0.9


@pytest.mark.slow
def test_the_baseline_scores_the_same_rows_and_segments_by_all_of_their_sound(made, scores):
    baseline = list(score_cepstra(made))
    assert [(s.speech, s.labels, s.of, s.sampling) for s in baseline] == [
        (s.speech, s.labels, s.of, s.sampling) for s in scores
    ]
    assert {score.vectors for score in baseline} == {MFCC_STATISTICS}
