"""Varied crops of speakers: levels that are what was asked for, shares that hold, draws that do not meddle."""

import dataclasses

import numpy as np
import pytest

from jaxspk.data import Sound, SpeechAugment, SpeechAugmentConfig, one_of_five_augment
from jaxspk.errors import ArgumentError

RATE, SAMPLES = 8000, 2000
VOICE = np.random.default_rng(0).normal(size=SAMPLES).astype(np.float32)
VOICE.flags.writeable = False


def sound(name, seed, samples=5000):
    return Sound(name, name, np.random.default_rng(seed).normal(size=samples).astype(np.float32))


def room(echo):
    response = np.zeros(200, np.float32)
    response[[40, 140]] = 0.9, echo
    return Sound("room", "room", response)


BANK = {
    "noises": [sound("wind", 1), sound("birds", 2, 700)],
    "music": [sound("waltz", 3)],
    "rooms": [room(0.5), room(-0.6)],
}


def others(count, rng):
    return list(rng.normal(size=(count, SAMPLES)).astype(np.float32))


def augment(config, **sounds):
    return SpeechAugment(config, sample_rate=RATE, **(sounds or BANK))


def varied(config, seed=0, others=others, **sounds):
    return augment(config, **sounds)(VOICE, np.random.default_rng((7, seed)), others)


def ratio_db(voice, behind):
    return 10 * np.log10(np.square(voice).sum(dtype=np.float64) / np.square(behind).sum(dtype=np.float64))


def test_nothing_asked_for_changes_nothing():
    assert varied(SpeechAugmentConfig(), noises=()) is VOICE


@pytest.mark.parametrize("kind", ["noise", "music"])
def test_noise_and_music_lie_as_far_below_the_voice_as_asked_for(kind):
    config = SpeechAugmentConfig(**{f"{kind}_share": 1.0, f"{kind}_snr_db": (3.0, 9.0)})
    levels = [ratio_db(VOICE, varied(config, seed) - VOICE) for seed in range(40)]
    assert 3 <= min(levels) < 4
    assert 8 < max(levels) <= 9


def test_what_is_laid_under_is_of_the_sounds_given():
    config = SpeechAugmentConfig(noise_share=1.0)
    behind = varied(config, 5, noises=[sound("wind", 1)]) - VOICE
    wind = sound("wind", 1).waveform
    likeness = np.abs(np.correlate(np.concatenate([wind, wind[:SAMPLES]]), behind)).max()
    assert likeness / (np.linalg.norm(behind) * np.linalg.norm(wind[:SAMPLES])) == pytest.approx(1, abs=0.1)


def test_babble_is_so_many_others_each_at_its_level():
    asked = []

    def count_them(count, rng):
        asked.append(count)
        # Far apart in frequency, so that each can be measured.
        return [
            np.cos(2 * np.pi * 100 * (1 + k) * np.arange(SAMPLES) / SAMPLES).astype(np.float32) for k in range(count)
        ]

    config = SpeechAugmentConfig(babble_share=1.0, babble_speakers=(2, 4), babble_snr_db=(10.0, 12.0))
    levels = []
    for seed in range(30):
        behind = varied(config, seed, count_them) - VOICE
        strengths = np.abs(np.fft.rfft(behind))[100 * (1 + np.arange(asked[-1]))] * 2 / SAMPLES
        levels += [ratio_db(VOICE, a * np.cos(2 * np.pi * np.arange(SAMPLES) / 20)) for a in strengths]
    assert set(asked) == {2, 3, 4}
    assert 10 - 1e-3 <= min(levels) < 10.2
    assert 11.8 < max(levels) <= 12 + 1e-3


def test_a_room_keeps_length_energy_and_start():
    wet = varied(SpeechAugmentConfig(room_share=1.0), rooms=[room(0.45)])
    assert ratio_db(VOICE, wet) == pytest.approx(0, abs=1e-4)
    echoed = VOICE.copy()
    echoed[100:] += 0.5 * VOICE[:-100]
    np.testing.assert_allclose(wet, echoed * np.linalg.norm(VOICE) / np.linalg.norm(echoed), atol=1e-5)


def test_the_echo_is_nearer_or_farther():
    config = SpeechAugmentConfig(room_share=1.0, tail_db=(-6.0206, -6.0206))
    near = varied(config, rooms=[room(0.9)])
    far = varied(SpeechAugmentConfig(room_share=1.0), rooms=[room(0.45)])
    np.testing.assert_allclose(near, far, atol=1e-5)


def test_noise_is_measured_against_the_voice_in_its_room():
    config = SpeechAugmentConfig(room_share=1.0, noise_share=1.0, noise_snr_db=(5.0, 5.0))
    in_room = varied(dataclasses.replace(config, noise_share=0.0), 3)
    assert ratio_db(in_room, varied(config, 3) - in_room) == pytest.approx(5, abs=1e-3)


def test_the_level_moves_both_ways():
    gains = [20 * np.log10(varied(SpeechAugmentConfig(level_db=6.0), seed)[0] / VOICE[0]) for seed in range(40)]
    assert -6 <= min(gains) < -5
    assert 5 < max(gains) <= 6


def test_crops_stay_float32_and_are_never_written_to():
    everything = SpeechAugmentConfig(room_share=1.0, noise_share=1.0, music_share=1.0, babble_share=1.0, level_db=3.0)
    assert varied(everything).dtype == np.float32
    assert varied(everything).shape == (SAMPLES,)


def test_a_share_of_one_thing_changes_no_draw_of_another():
    noise = SpeechAugmentConfig(noise_share=1.0)
    for more in ({"music_share": 1.0}, {"babble_share": 1.0}):
        both = dataclasses.replace(noise, **more)
        rest = dataclasses.replace(both, noise_share=0.0)
        np.testing.assert_allclose(varied(both, 4) - varied(rest, 4), varied(noise, 4) - VOICE, atol=1e-6)


def tone(cycles):
    time = np.arange(SAMPLES) / SAMPLES
    return Sound(f"{cycles}", "tone", np.cos(2 * np.pi * cycles * time).astype(np.float32))


def happened(config, seed):
    """Which of room, noise, music and babble a crop got: noise and music are tones, a voice shows its room."""
    asked = []

    def note(count, rng):
        asked.append(count)
        return [np.zeros(SAMPLES, np.float32)] * count

    heard = varied(config, seed, note, noises=[tone(100)], music=[tone(200)], rooms=[room(0.5)])
    levels = np.abs(np.fft.rfft(heard))
    in_room = abs(np.dot(heard[100:], VOICE[:-100])) > 0.2 * np.dot(VOICE, VOICE)
    return in_room, levels[100] > 180, levels[200] > 180, bool(asked)


def test_each_by_itself_happens_to_its_share():
    config = SpeechAugmentConfig(room_share=0.5, noise_share=0.25, music_share=0.5, babble_share=0.75)
    counts = np.mean([happened(config, seed) for seed in range(300)], axis=0)
    np.testing.assert_allclose(counts, [0.5, 0.25, 0.5, 0.75], atol=0.08)


@pytest.mark.parametrize("music", [True, False])
def test_the_recipe_does_one_of_five_things_each_as_often(music):
    config = one_of_five_augment(music=music)
    draws = [augment(config)._happen(np.random.default_rng(seed).random(4)) for seed in range(2000)]
    counts = np.array(draws).mean(0)
    assert max(map(sum, draws)) == 1
    share = 1 / 5 if music else 1 / 4
    np.testing.assert_allclose(counts, [share, share, share if music else 0, share], atol=0.03)
    assert 1 - counts.sum() == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"noise_share": 1.5}, r"`noise_share` must lie in \[0, 1\], got 1.5"),
        ({"music_snr_db": (9.0, 3.0)}, r"`music_snr_db\[1\]` must lie in \[9, 120\], got 3.0"),
        ({"babble_speakers": (0, 3)}, r"`babble_speakers\[0\]` must lie in \[1"),
        ({"speeds": (0.1,)}, r"`speeds\[0\]` must lie in \[0.5, 2\], got 0.1"),
        ({"speeds": (0.9, 1.0)}, "`speeds` must differ from each other and from 1"),
        ({"speeds": (0.9, 0.9)}, "`speeds` must differ from each other"),
        ({"one_of": True, "noise_share": 0.6, "room_share": 0.6}, "add up to 1 at most .* got 1.2"),
    ],
)
def test_what_is_refused(settings, message):
    with pytest.raises(ArgumentError, match=message):
        SpeechAugmentConfig(**settings)


@pytest.mark.parametrize("kind, name", [("noise", "noises"), ("music", "music"), ("room", "rooms")])
def test_what_is_asked_for_must_be_given(kind, name):
    config = SpeechAugmentConfig(**{f"{kind}_share": 0.5})
    with pytest.raises(ArgumentError, match=f"`{name}` must not be empty where {kind}_share is 0.5"):
        SpeechAugment(config, sample_rate=RATE)
