import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxspk.audio import active_level, read_audio, write_audio
from jaxspk.data import (
    Manifest,
    MixtureConfig,
    MixtureSource,
    Recording,
    Recordings,
    Utterance,
    mix,
    read_corpus,
    split_speakers,
)
from jaxspk.errors import ArgumentError, CorpusError


class NoFiles(Recordings):
    """Two seconds of ones for every name: for tests of what is drawn, not of what is heard."""

    def get(self, path):
        return Recording(np.ones(2 * self.sample_rate, np.float32), 1.0)


NO_FILES = NoFiles(8000)
CROWD = Manifest(tuple(Utterance(Path(f"{k}-{n}.wav"), f"s{k}", 2.0, "FM"[k % 2]) for k in range(8) for n in range(3)))


def source(manifest, *, seed=0, size=200, recordings=None, **config):
    return MixtureSource(manifest, MixtureConfig(**config), seed=seed, size=size, recordings=recordings)


def plans(count=2000, **config):
    drawn = source(CROWD, size=count, recordings=NO_FILES, **config)
    return [drawn.plan(index) for index in range(count)]


def same(first, second):
    return (
        first.plan == second.plan
        and np.array_equal(first.mixture, second.mixture)
        and np.array_equal(first.sources, second.sources)
    )


# --- What is heard ----------------------------------------------------------------------------------------


def test_the_mixture_is_exactly_the_sum_of_its_sources_and_peaks_at_nine_tenths(people):
    for made in source(people, size=20, speakers=3, seconds=0.5):
        np.testing.assert_array_equal(made.mixture, made.sources.sum(0))
        assert max(np.abs(made.mixture).max(), np.abs(made.sources).max()) == pytest.approx(0.9, rel=1e-6)
        assert made.mixture.dtype == made.sources.dtype == np.float32
        assert made.sources.shape == (3, 4000)


def test_sources_are_the_recordings_at_their_levels(people):
    """The formula at the head of the module, written out again: only the common factor is open."""
    for made in source(people, size=10, length="longest"):
        factors = []
        for utterance, gain_db, heard in zip(made.utterances, made.gains_db, made.sources, strict=True):
            waveform, rate = read_audio(utterance.path)
            expected = 10 ** (gain_db / 20) * waveform / active_level(waveform, rate)
            factors.append(heard[: len(expected)] @ expected / (expected @ expected))
            np.testing.assert_allclose(heard[: len(expected)], factors[-1] * expected, atol=1e-5)
            assert not heard[len(expected) :].any()
        assert factors[0] == pytest.approx(factors[1], rel=1e-5)


@pytest.mark.parametrize(("length", "samples"), [("shortest", 16000), ("longest", 20000)])
def test_cut_to_the_shortest_or_padded_to_the_longest(make_manifest, length, samples):
    short, long = make_manifest({"a": None}, [2.0]), make_manifest({"b": None}, [2.5])
    made = source(Manifest(short.utterances + long.utterances), length=length)[0]
    assert made.sources.shape == (2, samples)


def test_crops_have_the_length_asked_for_and_begin_where_the_plan_says(people):
    drawn = source(people, seconds=0.824)
    for made in list(drawn)[:20]:
        assert made.sources.shape == (2, 6592)
        for utterance, start, heard in zip(made.utterances, made.plan.starts, made.sources, strict=True):
            crop = read_audio(utterance.path)[0][start : start + 6592]
            assert np.corrcoef(crop, heard)[0, 1] == pytest.approx(1.0, abs=1e-6)
    assert len({start for index in range(50) for start in drawn.plan(index).starts}) > 90


def test_recordings_shorter_than_a_crop_are_padded_where_a_speaker_has_no_longer_one(make_manifest):
    drawn = source(make_manifest({"a": "F", "b": "M"}, [0.5, 1.0]), seconds=2.0)
    made = drawn[0]
    assert made.sources.shape == (2, 16000)
    assert not made.sources[:, 8000:].any()
    longer = source(make_manifest({"a": "F", "b": "M"}, [0.5, 1.0]), seconds=0.9)
    assert {u.seconds for index in range(30) for u in longer.plan(index).utterances} == {1.0}


def test_crops_avoid_pauses(tmp_path):
    rng = np.random.default_rng(0)
    waveform = (1e-4 * rng.normal(size=40000)).astype(np.float32)
    waveform[30000:38000] += (0.1 * rng.normal(size=8000)).astype(np.float32)
    for name in "ab":
        write_audio(tmp_path / f"{name}.wav", waveform, 8000)
    manifest = Manifest(tuple(Utterance(tmp_path / f"{name}.wav", name, 5.0) for name in "ab"))
    starts = [start for plan in map(source(manifest, seconds=0.5).plan, range(100)) for start in plan.starts]
    # A random half second misses the one second of speech seven times in ten.
    assert np.mean([26000 < start < 38000 for start in starts]) > 0.9


def test_another_rate(people):
    assert source(people, sample_rate=16000, seconds=0.5)[0].sources.shape == (2, 8000)


def test_silence_in_every_crop_stays_silence(tmp_path):
    waveform = np.zeros(16000, np.float32)
    waveform[-2000:] = 0.1 * np.random.default_rng(0).normal(size=2000)
    write_audio(tmp_path / "late.wav", waveform, 8000)
    write_audio(tmp_path / "short.wav", waveform[-2000:], 8000)
    late, short = (Utterance(tmp_path / f"{name}.wav", name, 1.0) for name in ("late", "short"))
    made = source(Manifest((late, short)))[0]
    assert made.mixture.shape == (2000,)
    assert np.isfinite(made.mixture).all()


# --- What is drawn ----------------------------------------------------------------------------------------


def test_a_mixture_is_a_function_of_seed_and_index(people):
    one, two = source(people, seconds=0.7), source(people, seconds=0.7)
    backwards = {index: two[index] for index in reversed(range(30))}
    assert all(same(one[index], backwards[index]) for index in range(30))
    other = source(people, seed=1, seconds=0.7)
    assert not any(same(one[index], other[index]) for index in range(30))
    assert len({one[index].name for index in range(30)}) == 30


def test_the_size_changes_no_mixture_and_bounds_the_index(people):
    small, large = source(people, size=3), source(people, size=2**31 - 1)
    assert same(small[2], large[2])
    assert len(list(small)) == 3
    for index in (-1, 3):
        with pytest.raises(IndexError):
            small[index]


@given(speakers=st.integers(1, 8), index=st.integers(0, 10**6), seed=st.integers(0, 10**9))
def test_never_the_same_speaker_twice(speakers, index, seed):
    drawn = source(CROWD, seed=seed, size=10**6 + 1, speakers=speakers, recordings=NO_FILES)
    assert len({utterance.speaker for utterance in drawn.plan(index).utterances}) == speakers


def test_levels_are_uniform_and_either_speaker_may_be_the_louder():
    gains = np.array([plan.gains_db for plan in plans()])
    np.testing.assert_allclose(gains.sum(1), 0, atol=1e-12)
    difference = np.abs(gains[:, 0] - gains[:, 1])
    assert difference.max() <= 5.0
    # Of a uniform draw; four standard errors at 2000 draws.
    assert np.mean(difference) == pytest.approx(2.5, abs=0.13)
    assert np.mean(difference < 1.0) == pytest.approx(0.2, abs=0.036)
    assert np.mean(gains[:, 0] > 0) == pytest.approx(0.5, abs=0.045)


@pytest.mark.parametrize("speakers", [3, 4])
def test_more_speakers_lie_evenly_between_the_loudest_and_the_softest(speakers):
    for plan in plans(50, speakers=speakers, level_range_db=(3.0, 3.0)):
        np.testing.assert_allclose(sorted(plan.gains_db), np.linspace(-1.5, 1.5, speakers), atol=1e-12)
    first = [int(np.argmax(plan.gains_db)) for plan in plans(600, speakers=speakers)]
    assert min(Counter(first).values()) > 600 / speakers / 2


def test_every_speaker_and_utterance_is_drawn_alike():
    drawn = [utterance for plan in plans() for utterance in plan.utterances]
    assert all(count == pytest.approx(500, abs=90) for count in Counter(u.speaker for u in drawn).values())
    assert len(Counter(u.path for u in drawn)) == 24


def test_combinations_of_genders():
    assert {plan.genders for plan in plans(200)} == {"FF", "FM", "MM"}
    mixed = plans(400, genders=("FM",))
    assert {plan.genders for plan in mixed} == {"FM"}
    assert 140 < sum(plan.utterances[0].gender == "F" for plan in mixed) < 260
    assert Counter(plan.genders for plan in plans(600, genders=("FF", "MM"))).keys() == {"FF", "MM"}
    assert {plan.genders for plan in plans(20, speakers=3, genders=("MFM",))} == {"FMM"}


def test_an_unknown_gender_makes_the_combination_unknown(make_manifest):
    assert source(make_manifest({"a": "F", "b": None}))[0].genders is None


def test_unusable_recordings_are_passed_over(people, tmp_path):
    write_audio(tmp_path / "hush.wav", np.zeros(16000, np.float32), 8000)
    manifest = Manifest((*people.utterances, Utterance(tmp_path / "hush.wav", "hush", 2.0)))
    drawn = source(manifest)
    used = {u.speaker for index in range(60) for u in drawn[index].utterances}
    assert used == set(people.speakers)
    assert list(drawn.recordings.unusable) == [tmp_path / "hush.wav"]


def test_nothing_but_unusable_recordings_is_an_error(tmp_path):
    manifest = Manifest(tuple(Utterance(tmp_path / f"{name}.wav", name, 2.0) for name in "ab"))
    with pytest.raises(CorpusError, match=r"no usable speech in 50 draws .*no such file"):
        source(manifest)[0]


def test_the_fingerprint_tells_data_and_settings_apart_but_not_folders(people, tmp_path):
    moved = Manifest(tuple(Utterance(Path("/else") / u.path.name, u.speaker, u.seconds, u.gender) for u in people))
    first = source(people).fingerprint
    assert first == source(people).fingerprint == source(moved).fingerprint
    others = [source(people, seed=1), source(people, seconds=1.0), source(people.where(gender="F"))]
    assert len({first, *(other.fingerprint for other in others)}) == 4


# --- What is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"speakers": 0}, "speakers"),
        ({"level_range_db": (5.0, 0.0)}, r"level_range_db\[1\]"),
        ({"level_range_db": (-1.0, 1.0)}, r"level_range_db\[0\]"),
        ({"seconds": 0.0}, "seconds"),
        ({"genders": ("FX",)}, "combinations of 2 letters F or M.*'FX'"),
        ({"genders": ("F",)}, "combinations of 2"),
        ({"sample_rate": 0}, "sample_rate"),
        ({"length": "middle"}, "`length` must be one of 'shortest', 'longest'"),
    ],
)
def test_senseless_settings_are_refused(as_a_user, config, message):
    with pytest.raises(ArgumentError, match=message):
        MixtureConfig(**config)


def test_too_few_speakers_are_refused(people):
    with pytest.raises(CorpusError, match="need 9 different speakers, here are 7; add speakers"):
        source(people, speakers=9)
    with pytest.raises(CorpusError, match=r"need 1 different male speakers, here are 0; .*tell their gender"):
        source(people.where(gender="F"), genders=("FM",))


def test_recordings_at_another_rate_are_refused(people):
    with pytest.raises(ArgumentError, match="16000 Hz, the mixtures at 8000 Hz"):
        source(people, recordings=Recordings(16000))


def test_a_plan_can_be_made_anew(people):
    drawn = source(people, seconds=0.5)
    assert same(mix(drawn.plan(7), drawn.config, Recordings(8000)), drawn[7])


# --- Speed ------------------------------------------------------------------------------------------------


@pytest.mark.speech
def test_five_hundred_mixtures_a_second_and_core(speech):
    train = split_speakers(read_corpus(speech).manifest, {"train": 1.0}, seed=0)["train"]
    drawn = source(train.where(speakers=train.speakers[-12:]), size=10_000, seconds=1.0)
    for utterance in drawn.manifest:
        drawn.recordings.get(utterance.path)
    start = time.thread_time()
    for index in range(300):
        drawn[index]
    assert 300 / (time.thread_time() - start) > 500
