"""Varied mixtures: each a function of (seed, index), sums that hold, levels that are what was asked for."""

import dataclasses
import itertools

import numpy as np
import pytest

from jaxspk.audio import write_audio
from jaxspk.data import (
    TEST_NOISES,
    TEST_ROOMS,
    AugmentConfig,
    AugmentedMixtures,
    MixtureConfig,
    MixtureSource,
    NoisyMixtures,
    Sound,
    augmented_source,
    change_speed,
    mixture_batches,
    noise_at,
    read_noises,
    read_rooms,
    reverberate,
)
from jaxspk.errors import ArgumentError, CorpusError

RATE = 8000
EVERYTHING = AugmentConfig(speed=(0.85, 1.2), level_db=4.0, noise_share=0.5, snr_db=(0.0, 20.0), room_share=0.5)


@pytest.fixture
def sounds(tmp_path):
    """A folder of noises and rooms as the project's data has them."""
    rng = np.random.default_rng(0)
    noises = {"wind": 0.3, "rain": 0.5, "birds": 0.4}
    rooms = {"Hall": 0.3, "Basement": 0.2}
    for folder, names in (("noise", noises), ("rir", rooms)):
        lines = ["path,seconds,kind,licence"]
        for name, seconds in names.items():
            time = np.arange(round(RATE * seconds)) / RATE
            sound = 0.1 * rng.normal(size=time.size) * (np.exp(-30 * time) if folder == "rir" else 1)
            if folder == "rir":
                sound[5] = 0.9
            (tmp_path / folder).mkdir(exist_ok=True)
            write_audio(tmp_path / folder / f"{name}.wav", sound.astype(np.float32), RATE)
            lines.append(f"{folder}/{name}.wav,{seconds},{name},{'CC BY-SA' if name == 'birds' else 'CC0'}")
        (tmp_path / folder / ("noise.csv" if folder == "noise" else "rir.csv")).write_text("\n".join(lines) + "\n")
    return tmp_path


@pytest.fixture
def bank(sounds):
    return {
        "noises": read_noises(sounds / "noise", "training", RATE),
        "rooms": read_rooms(sounds / "rir", "training", RATE),
    }


@pytest.fixture
def plain(people):
    return MixtureSource(people, MixtureConfig(seconds=0.5), seed=1, size=40)


def test_nothing_asked_for_changes_nothing(plain):
    varied = AugmentedMixtures(plain, AugmentConfig(), seed=5)
    for index in (0, 7):
        np.testing.assert_allclose(varied[index].sources, plain[index].sources, atol=1e-6)
        assert varied[index].plan == plain.plan(index)


def test_a_mixture_is_a_function_of_seed_and_index(people, bank):
    config = MixtureConfig(seconds=0.5)
    make = lambda seed: augmented_source(people, config, EVERYTHING, seed=seed, size=20, **bank)  # noqa: E731
    one, two = make(3), make(3)
    backwards = {index: two[index] for index in reversed(range(20))}
    for index in range(20):
        np.testing.assert_array_equal(one[index].mixture, backwards[index].mixture)
        np.testing.assert_array_equal(one[index].sources, backwards[index].sources)
    assert not np.array_equal(make(4)[0].mixture, one[0].mixture)


def test_batches_do_not_depend_on_the_workers_and_resume(people, bank):
    source = augmented_source(people, MixtureConfig(seconds=0.5), EVERYTHING, seed=3, size=64, **bank)
    arrays = []
    for workers in (0, 3):
        with mixture_batches(source, batch_size=4, workers=workers) as batches:
            arrays.append([next(batches)["mixture"] for _ in range(4)])
            state = batches.get_state()
            after = next(batches)["mixture"]
        with mixture_batches(source, batch_size=4, workers=1) as batches:
            batches.set_state(state)
            np.testing.assert_array_equal(next(batches)["mixture"], after)
    for first, second in zip(*arrays, strict=True):
        np.testing.assert_array_equal(first, second)


def test_all_have_the_wanted_length_whatever_the_speed(people, bank):
    for speed in ((0.7, 0.7), (1.4, 1.4), (0.8, 1.3)):
        source = augmented_source(people, MixtureConfig(seconds=0.6), AugmentConfig(speed=speed), seed=0, size=6)
        assert {mixture.mixture.size for mixture in source} == {round(0.6 * RATE)}
        # No zeros at the end: the crop was long enough (the recordings are).
        assert all(np.abs(source[index].sources[:, -200:]).max() > 0 for index in range(6))


def test_sources_sum_to_the_mixture_but_for_the_noise(people, bank):
    source = augmented_source(people, MixtureConfig(seconds=0.5), EVERYTHING, seed=3, size=40, **bank)
    noisy = 0
    for mixture in source:
        assert mixture.mixture.dtype == mixture.sources.dtype == np.float32
        rest = mixture.mixture - mixture.sources.sum(0)
        noisy += bool(np.abs(rest).max() > 1e-6)
        assert max(np.abs(mixture.mixture).max(), np.abs(mixture.sources).max()) == pytest.approx(0.9, abs=1e-5)
    assert 8 < noisy < 32


def test_a_share_of_one_thing_changes_no_draw_of_another(people, bank):
    config = MixtureConfig(seconds=0.5)
    speeds = AugmentConfig(speed=(0.8, 1.2))
    with_noise = dataclasses.replace(speeds, noise_share=1.0, snr_db=(10.0, 10.0))
    one = augmented_source(people, config, speeds, seed=2, size=5)
    two = augmented_source(people, config, with_noise, seed=2, size=5, **bank)
    for quiet, loud in zip(one, two, strict=True):
        scale = np.abs(quiet.sources).max() / np.abs(loud.sources).max()
        np.testing.assert_allclose(loud.sources * scale, quiet.sources, atol=1e-5)


def test_speed_moves_the_pitch():
    time = np.arange(RATE) / RATE
    tone = np.sin(2 * np.pi * 400 * time).astype(np.float32)
    for speed in (0.8, 1.0, 1.25):
        changed = change_speed(tone, speed, RATE)
        assert len(changed) == pytest.approx(RATE / speed, abs=1)
        spectrum = np.abs(np.fft.rfft(changed[: RATE // 2] * np.hanning(RATE // 2)))
        assert 2 * spectrum.argmax() == pytest.approx(400 * speed, abs=4)
    assert change_speed(tone, 1.0, RATE) is tone


def test_levels_move_within_their_range(plain):
    varied = AugmentedMixtures(plain, AugmentConfig(level_db=6.0), seed=5)
    moves = []
    for before, after in zip(plain, varied, strict=True):
        powers = [(mixture.sources.astype(np.float64) ** 2).sum(1) for mixture in (before, after)]
        gains = 10 * np.log10(powers[1] / powers[0])
        moves.append(gains[0] - gains[1])
    assert np.abs(moves).max() <= 12.0 + 1e-3
    assert np.std(moves) > 2


@pytest.mark.parametrize("snr_db", [-5.0, 10.0, 20.0])
def test_noise_has_the_level_that_was_asked_for(plain, bank, snr_db):
    noisy = NoisyMixtures(plain, bank["noises"], snr_db=snr_db, seed=0)
    for mixture in itertools.islice(noisy, 5):
        voices = mixture.sources.sum(0).astype(np.float64)
        noise = mixture.mixture - voices
        measured = 10 * np.log10(np.square(voices).sum() / np.square(noise).sum())
        assert measured == pytest.approx(snr_db, abs=0.01)


def test_the_same_stretch_of_noise_at_every_level(plain, bank):
    parts = []
    for snr_db in (10.0, 20.0):
        mixture = NoisyMixtures(plain, bank["noises"], snr_db=snr_db, seed=0)[3]
        noise = mixture.mixture - mixture.sources.sum(0)
        parts.append(noise / np.linalg.norm(noise))
    np.testing.assert_allclose(*parts, atol=1e-3)


def test_short_noise_goes_round_and_silent_noise_adds_nothing():
    noise = np.array([1.0, -1.0, 2.0], np.float32)
    voices = np.ones(7, np.float32)
    stretch = noise_at(voices, noise, 0.0, start=0.5)
    np.testing.assert_allclose(stretch / stretch[0], np.array([-1, 2, 1, -1, 2, 1, -1]) / -1.0, rtol=1e-5)
    np.testing.assert_array_equal(noise_at(voices, np.zeros(3, np.float32), 0.0, start=0.0), 0)
    np.testing.assert_array_equal(noise_at(np.zeros(5, np.float32), noise, 0.0, start=0.0), 0)


def test_a_room_keeps_length_energy_and_start(bank):
    (hall,) = bank["rooms"]
    click = np.zeros(2000, np.float32)
    click[100] = 1
    wet = reverberate(click, hall.waveform)
    assert wet.dtype == np.float32 and wet.size == 2000
    assert np.abs(wet).argmax() == 100
    assert np.square(wet).sum() == pytest.approx(1, rel=1e-3)
    assert np.square(wet[110:]).sum() > 0.01
    np.testing.assert_array_equal(reverberate(np.zeros(50, np.float32), hall.waveform), 0)


def test_what_is_for_tests_is_never_for_training(sounds):
    by_part = {part: {s.kind for s in read_noises(sounds / "noise", part, RATE)} for part in ("training", "test")}
    assert by_part == {"training": {"wind", "birds"}, "test": {"rain"}}
    rooms = {part: {s.kind for s in read_rooms(sounds / "rir", part, RATE)} for part in ("training", "test")}
    assert rooms == {"training": {"Hall"}, "test": {"Basement"}}
    assert "rain" in TEST_NOISES and "Basement" in TEST_ROOMS


def test_rooms_by_licence(sounds):
    (sounds / "rir" / "rir.csv").write_text("path,licence\nrir/Hall.wav,CC BY-SA\n")
    with pytest.raises(CorpusError, match="lists nothing for training"):
        read_rooms(sounds / "rir", "training", RATE, without_licences=("CC BY-SA",))
    assert len(read_rooms(sounds / "rir", "training", RATE)) == 1


def test_real_noises_and_rooms(speech):
    training = read_noises(speech / "noise", "training", RATE)
    test = read_noises(speech / "noise", "test", RATE)
    assert {sound.kind for sound in test} == set(TEST_NOISES)
    assert len(training) + len(test) == 57
    assert not {sound.kind for sound in training} & set(TEST_NOISES)
    assert {sound.kind for sound in read_rooms(speech / "rir", "test", RATE)} == set(TEST_ROOMS)
    assert len(read_rooms(speech / "rir", "training", RATE)) == 6


def test_held_out_speakers_stay_known(make_manifest):
    kept = make_manifest({"ann": "F", "bob": "M"}, split="test")
    source = augmented_source(kept, MixtureConfig(), AugmentConfig(level_db=1.0), seed=0, size=2)
    assert source.held_out == ("ann", "bob")
    with pytest.raises(CorpusError, match="held out for testing"):
        mixture_batches(source, batch_size=1)


def test_the_fingerprint_tells_what_is_done(people, bank):
    config = MixtureConfig(seconds=0.5)
    prints = [
        augmented_source(people, config, augment, seed=seed, size=5, **bank).fingerprint
        for augment in (EVERYTHING, dataclasses.replace(EVERYTHING, level_db=5.0))
        for seed in (0, 1)
    ]
    assert len(set(prints)) == 4


def test_refused_arguments(as_a_user, plain, sounds, tmp_path):
    with pytest.raises(ArgumentError, match=r"`noises` must not be empty where noise_share is 0\.5"):
        AugmentedMixtures(plain, AugmentConfig(noise_share=0.5), seed=0)
    with pytest.raises(ArgumentError, match=r"`speed\[1\]` must lie in"):
        AugmentConfig(speed=(1.1, 0.9))
    with pytest.raises(ArgumentError, match=r"`snr_db\[1\]`"):
        AugmentConfig(snr_db=(10.0, 0.0))
    with pytest.raises(CorpusError, match=r"holds no noise.csv"):
        read_noises(tmp_path / "nowhere", "training", RATE)


def test_a_folder_named_by_a_string_and_another_rate(sounds):
    (wind, _) = read_noises(str(sounds / "noise"), "training", 16000)
    assert isinstance(wind, Sound)
    assert wind.waveform.size == pytest.approx(0.3 * 16000, abs=2)
