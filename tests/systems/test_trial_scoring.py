import numpy as np
import pytest

from jaxspk import audio, metrics
from jaxspk.errors import ArgumentError, AudioError
from jaxspk.systems import (
    PROTOCOLS,
    embed_recordings,
    mean_by_speaker,
    normalize_with_cohort,
    score_matrix,
    score_pairs,
)


class BandEncoder:
    """Log powers of eight bands, of unit length: enough to tell tones apart."""

    sample_rate = 8000
    shortest_seconds = 0.1

    def __init__(self):
        self.batches = []

    def embed(self, waveform, sample_rate):
        assert sample_rate == self.sample_rate
        self.batches.append(len(waveform))
        return np.stack([self._one(recording) for recording in waveform])

    def embed_crops(self, waveform, sample_rate, *, seconds, count):
        samples = round(seconds * sample_rate)
        wrapped = np.resize(waveform, max(len(waveform), samples))
        starts = np.linspace(0, len(wrapped) - samples, count).astype(int)
        return self.embed([wrapped[start : start + samples] for start in starts], sample_rate)

    @staticmethod
    def _one(waveform):
        power = np.square(np.abs(np.fft.rfft(waveform, 8192)))
        bands = np.log(np.array([band.mean() for band in np.array_split(power, 8)]) + 1e-3)
        bands -= bands.mean()
        return (bands / np.linalg.norm(bands)).astype(np.float32)


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    paths = []
    for number, (hz, rate) in enumerate([(200, 8000), (210, 16000), (2500, 8000), (2600, 8000)]):
        time = np.arange(2 * rate) / rate
        waveform = 0.3 * np.sin(2 * np.pi * hz * time) + 0.01 * rng.standard_normal(len(time))
        paths.append(tmp_path / f"{number}.wav")
        audio.write_audio(paths[-1], waveform.astype(np.float32), rate)
    return paths


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
def test_near_sounds_score_higher(files, protocol):
    embedded = embed_recordings(BandEncoder(), files, protocol=protocol, measure_quality=True)
    assert embedded.paths == tuple(files) and not embedded.failed
    assert embedded.vectors.shape == (4, PROTOCOLS[protocol].crops, 8)
    assert [round(quality.seconds) for quality in embedded.qualities] == [2] * 4
    enrol, test = np.array([0, 2, 0, 3, 1]), np.array([1, 3, 2, 1, 2])
    scores = score_pairs(embedded.vectors, enrol, test, protocol=protocol)
    assert scores[:2].min() > scores[2:].max()


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
def test_scores_are_those_of_each_pair_by_itself(protocol):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(9, PROTOCOLS[protocol].crops, 5))
    enrol, test = rng.integers(9, size=(2, 40))
    expected = [float(PROTOCOLS[protocol].score(vectors[a], vectors[b])) for a, b in zip(enrol, test, strict=True)]
    np.testing.assert_allclose(score_pairs(vectors, enrol, test, protocol=protocol), expected)
    np.testing.assert_allclose(score_matrix(vectors, vectors, protocol=protocol)[enrol, test], expected)
    assert score_pairs(vectors, enrol[:0], test[:0], protocol=protocol).shape == (0,)


def test_the_whole_protocol_is_the_cosine():
    vectors = np.random.default_rng(0).normal(size=(2, 1, 5))
    expected = metrics.cosine_scores(vectors[0, 0], vectors[1, 0])
    np.testing.assert_allclose(score_pairs(vectors, np.array([0]), np.array([1])), [expected])


def test_bad_files_do_not_stop_the_others(files, tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"nothing of the kind")
    audio.write_audio(tmp_path / "silent.wav", np.zeros(8000, np.float32), 8000)
    audio.write_audio(tmp_path / "short.wav", np.full(10, 0.5, np.float32), 8000)
    bad = [tmp_path / name for name in ("bad.wav", "silent.wav", "short.wav", "nowhere.wav")]
    embedded = embed_recordings(BandEncoder(), [bad[0], files[0], *bad[1:], files[1]])
    assert embedded.paths == tuple(files[:2])
    assert [path for path, _ in embedded.failed] == bad
    for path, error in embedded.failed:
        assert isinstance(error, AudioError) and str(path) in str(error)
    nothing = embed_recordings(BandEncoder(), bad)
    assert len(nothing.vectors) == 0 and len(nothing.failed) == 4


def test_many_files_are_embedded_in_groups(files):
    encoder, told = BandEncoder(), []
    embedded = embed_recordings(encoder, files * 20, progress=told.append)
    assert encoder.batches == [32, 32, 16] and told == [32, 64, 80]
    np.testing.assert_array_equal(embedded.vectors[:4], embedded.vectors[-4:])


def test_speakers_have_the_mean_of_their_recordings():
    vectors = np.array([[[1.0, 0.0]], [[0.0, 2.0]], [[0.0, 1.0]]])
    means = mean_by_speaker(vectors, ["b", "a", "b"])
    np.testing.assert_allclose(means, [[[0, 1]], [[np.sqrt(0.5), np.sqrt(0.5)]]])


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
def test_normalised_scores_are_those_of_the_definition(protocol):
    rng = np.random.default_rng(1)
    vectors, cohort = (rng.normal(size=(n, PROTOCOLS[protocol].crops, 5)) for n in (4, 12))
    enrol, test = np.array([0, 1, 3]), np.array([1, 2, 0])
    scores = score_pairs(vectors, enrol, test, protocol=protocol)
    actual = normalize_with_cohort(scores, vectors, enrol, test, cohort, protocol=protocol, top=5)
    for trial, sides in enumerate(zip(enrol, test, strict=True)):
        tops = [np.sort(score_matrix(vectors[[side]], cohort, protocol=protocol)[0])[-5:] for side in sides]
        expected = np.mean([(scores[trial] - top.mean()) / top.std() for top in tops])
        np.testing.assert_allclose(actual[trial], expected)


def test_wrong_arguments_are_refused(as_a_user, files):
    with pytest.raises(ArgumentError, match="`protocol` must be one of 'whole', 'ten_crops'"):
        embed_recordings(BandEncoder(), files, protocol="half")
    with pytest.raises(ArgumentError, match="`test` must hold rows from 0 to 1"):
        score_pairs(np.ones((2, 1, 3)), np.array([0]), np.array([2]))
