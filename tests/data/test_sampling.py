"""Speaker batches: the same whoever makes them and wherever one starts; what each recording gives to them."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxspk.audio import write_audio
from jaxspk.data import (
    Manifest,
    Recordings,
    Sound,
    SpeakerBatchConfig,
    SpeakerSource,
    SpeechAugmentConfig,
    Utterance,
    one_of_five_augment,
    read_corpus,
    read_noises,
    read_rooms,
    speaker_batches,
    speaker_classes,
    split_speakers,
)
from jaxspk.errors import ArgumentError, AudioError, CheckpointError, CorpusError

RATE = 2000
CONFIG = SpeakerBatchConfig(speakers=4, utterances=2, seconds=500 / RATE)
NOISES = [Sound("wind", "wind", np.random.default_rng(0).normal(size=700).astype(np.float32))]
ROOMS = [Sound("hall", "hall", np.float32([0, 0.9, 0, 0, 0.3, 0, -0.2]))]
EVERYTHING = dataclasses.replace(one_of_five_augment(music=False), speeds=(0.9, 1.1), level_db=3.0)


class Ramps(Recordings):
    """Recordings without files: sample k of utterance number u of speaker s is 1000 s + 100 u + k / 100."""

    def __init__(self, manifest, unusable=()):
        super().__init__(RATE)
        self.lengths = {utterance.path: round(utterance.seconds * RATE) for utterance in manifest}
        self.broken = frozenset(unusable)

    def waveform(self, path):
        if path.name in self.broken:
            raise AudioError(f"{path}: is empty.")
        number, which = (int(part) for part in path.stem.split("-"))
        ramp = 1000 * number + 100 * which + np.arange(self.lengths[path]) / 100
        ramp.flags.writeable = False
        return ramp.astype(np.float32)


def speakers(*thousands, split=None):
    """A manifest of made-up speakers s0, s1, ...: the lengths of the utterances of each, in thousands of samples."""
    return Manifest(
        tuple(
            Utterance(Path(f"{number}-{which}.wav"), f"s{number}", 1000 * length / RATE, split=split)
            for number, lengths in enumerate(thousands)
            for which, length in enumerate(lengths)
        )
    )


PEOPLE = speakers([2.0] * 5, [1.5] * 4, [3.0], [2.0] * 3, [0.3, 2.0], [4.0])


def source(manifest=PEOPLE, config=CONFIG, *, seed=0, augment=None, unusable=(), **more):
    more = {"noises": NOISES, "rooms": ROOMS, "recordings": Ramps(manifest, unusable)} | more
    return SpeakerSource(manifest, config, seed=seed, augment=augment, sample_rate=RATE, **more)


def stream(manifest=PEOPLE, config=CONFIG, *, seed=0, augment=None, **more):
    more = {"noises": NOISES, "rooms": ROOMS, "recordings": Ramps(manifest), "workers": 0} | more
    return speaker_batches(manifest, config, seed=seed, augment=augment, sample_rate=RATE, **more)


def assert_equal(first, second):
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


def where_from(waveform):
    """Speaker, utterance and first sample of a crop of :class:`Ramps`."""
    first = round(float(waveform[0]) * 100)
    return first // 100_000, first % 100_000 // 10_000, first % 10_000


# --- What is in a batch -----------------------------------------------------------------------------------


def test_a_batch_holds_crops_of_the_speakers_it_names():
    made = source()
    for index in range(3 * made.batches_per_epoch):
        batch = made[index]
        assert batch["waveform"].shape == (4, 2, 500)
        assert batch["waveform"].dtype == np.float32
        assert batch["speaker"].dtype == np.int32
        assert len(set(batch["speaker"].tolist())) == 4
        planned, utterances = made.plan(index)
        np.testing.assert_array_equal(planned, batch["speaker"])
        for number, row, chosen in zip(batch["speaker"], batch["waveform"], utterances, strict=True):
            for crop, utterance in zip(row, chosen, strict=True):
                speaker, which, start = where_from(crop)
                assert made.classes[number] == f"s{speaker}" == utterance.speaker
                assert utterance.path.stem == f"{speaker}-{which}"
                length = max(round(utterance.seconds * RATE), 500)
                assert start <= length - 500
                if utterance.seconds * RATE >= 500:
                    np.testing.assert_allclose(np.diff(crop), 0.01, atol=1e-3)


def test_every_utterance_comes_in_an_epoch_but_for_the_odd_one():
    made = source()
    assert made.batches_per_epoch == 2  # 2 + 2 + 1 + 1 + 1 + 1 groups, in fours
    for epoch in range(4):
        used = [
            {u.path.stem for row in made.plan(index)[1] for u in row}
            for index in range(epoch * made.batches_per_epoch, (epoch + 1) * made.batches_per_epoch)
        ]
        together = set().union(*used)
        assert {name for name in together if name[0] in "1245"} == {
            f"{number}-{which}" for number, count in ((1, 4), (2, 1), (4, 2), (5, 1)) for which in range(count)
        }
        assert sum(name[0] == "0" for name in together) == 4
        assert sum(name[0] == "3" for name in together) == 2


def test_short_recordings_wrap_round():
    made = source(speakers([0.3], [0.2, 0.2]), SpeakerBatchConfig(speakers=2, utterances=2, seconds=500 / RATE))
    batch = made[0]
    for number, row in zip(batch["speaker"], batch["waveform"], strict=True):
        period = 300 if number == 0 else 200
        np.testing.assert_array_equal(row[:, period:], row[:, :-period])


@pytest.mark.parametrize("way", ["apart", "crops"])
def test_a_single_utterance_gives_several_crops(way):
    config = dataclasses.replace(CONFIG, speakers=1, utterances=3, single_utterance=way)
    made = source(speakers([2.0]), config)
    starts = np.array([[where_from(crop)[2] for crop in made[index]["waveform"][0]] for index in range(200)])
    gaps = np.diff(np.sort(starts), axis=1).min(1)
    assert starts.max() > 1400
    assert starts.min() < 100
    assert (gaps >= 500).all() if way == "apart" else (gaps < 500).mean() > 0.5


def test_crops_of_different_utterances_are_drawn_each_by_itself():
    made = source(speakers([2.0, 2.0]), dataclasses.replace(CONFIG, speakers=1))
    starts = np.array([[where_from(crop)[2] for crop in made[index]["waveform"][0]] for index in range(300)])
    assert (np.abs(np.diff(starts)) < 300).any()
    assert abs(np.corrcoef(starts.T)[0, 1]) < 0.2


def test_speakers_of_too_few_utterances_can_be_left_out():
    config = dataclasses.replace(CONFIG, single_utterance="skip")
    assert source(config=config).classes == ("s0", "s1", "s3", "s4")
    with pytest.raises(CorpusError, match=r"needs 5 different speakers, here are 4 \(2 left out, of fewer than 2 utt"):
        source(config=dataclasses.replace(config, speakers=5))


def test_crops_that_are_mostly_a_pause_are_drawn_again(tmp_path):
    waveform = np.zeros(8 * RATE, np.float32)
    waveform[5 * RATE : 6 * RATE] = np.random.default_rng(0).normal(size=RATE) / 10
    write_audio(tmp_path / "a.wav", waveform, RATE, subtype="FLOAT")
    manifest = Manifest((Utterance(tmp_path / "a.wav", "ann", 8.0),))
    shares = {}
    for avoid in (True, False):
        config = SpeakerBatchConfig(speakers=1, utterances=1, seconds=0.5, avoid_pauses=avoid)
        made = SpeakerSource(manifest, config, seed=0, sample_rate=RATE)
        shares[avoid] = np.mean([made[index]["waveform"].any() for index in range(100)])
    assert shares[False] < 0.35
    assert shares[True] > 0.8


# --- Speeds -----------------------------------------------------------------------------------------------


def test_every_speed_makes_one_more_speaker_of_each():
    augment = SpeechAugmentConfig(speeds=(0.9, 1.1))
    made = source(augment=augment)
    assert len(made.classes) == 18
    assert made.classes == tuple(sorted(made.classes))
    assert {"s0", "s0@0.9", "s0@1.1"} < set(made.classes)
    assert made.classes == tuple(one.name for one in speaker_classes(PEOPLE, CONFIG, augment))


def test_a_faster_speaker_speaks_higher_and_fills_the_crop(tmp_path):
    time = np.arange(3 * RATE) / RATE
    write_audio(tmp_path / "a.wav", np.sin(2 * np.pi * 100 * time).astype(np.float32) / 2, RATE)
    manifest = Manifest((Utterance(tmp_path / "a.wav", "ann", 3.0),))
    config = SpeakerBatchConfig(speakers=2, utterances=1, seconds=1.0)
    made = SpeakerSource(manifest, config, seed=0, sample_rate=RATE, augment=SpeechAugmentConfig(speeds=(1.25,)))
    assert made.classes == ("ann", "ann@1.25")
    batch = made[0]
    peaks = np.abs(np.fft.rfft(batch["waveform"][:, 0])).argmax(-1)
    assert dict(zip(batch["speaker"].tolist(), peaks.tolist(), strict=True)) == {0: 100, 1: 125}
    assert np.abs(batch["waveform"][..., -20:]).max() > 0.4


def test_a_speaker_called_as_another_at_some_speed_is_refused():
    manifest = Manifest(
        tuple(dataclasses.replace(u, speaker=name) for u, name in zip(PEOPLE, ("a", "a@0.9"), strict=False))
    )
    with pytest.raises(CorpusError, match=r"two classes are called 'a@0.9'"):
        speaker_classes(manifest, CONFIG, SpeechAugmentConfig(speeds=(0.9,)))


# --- The stream -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("augment", [None, EVERYTHING], ids=["plain", "augmented"])
def test_the_stream_does_not_depend_on_the_workers(augment):
    with stream(augment=augment) as alone, stream(augment=augment, workers=3, prefetch=5) as many:
        for _ in range(8):
            assert_equal(next(alone), next(many))


def test_it_is_the_batches_of_the_source_in_their_order():
    made = source(augment=EVERYTHING, seed=3)
    with stream(augment=EVERYTHING, seed=3) as batches:
        for index in range(made.batches_per_epoch + 2):
            assert_equal(next(batches), made[index])


def test_it_depends_on_the_seed_and_differs_from_epoch_to_epoch():
    made, other = source(), source(seed=1)
    assert not np.array_equal(made[0]["waveform"], other[0]["waveform"])
    assert not np.array_equal(made[0]["waveform"], made[made.batches_per_epoch]["waveform"])


@settings(max_examples=10)
@given(st.integers(0, 12))
def test_a_run_goes_on_where_it_was(before):
    # No threads here: what runs beside hypothesis must not draw from Python's random numbers, and beartype does.
    with stream(augment=EVERYTHING) as whole, stream(augment=EVERYTHING) as again:
        for _ in range(before):
            next(whole)
        state = json.loads(json.dumps(whole.get_state()))
        assert len(json.dumps(state)) < 1000
        again.set_state(state)
        for _ in range(4):
            assert_equal(next(whole), next(again))


def test_a_place_in_another_stream_is_refused():
    with stream(seed=0) as batches:
        state = batches.get_state()
    changed = {
        "seed": {"seed": 1},
        "config": {"config": dataclasses.replace(CONFIG, seconds=0.4)},
        "augment": {"augment": EVERYTHING},
        "manifest": {"manifest": speakers([2.0] * 5, [1.5] * 4, [3.0], [2.0] * 4)},
    }
    for arguments in changed.values():
        with stream(**arguments) as other, pytest.raises(CheckpointError, match="the saved input pipeline had"):
            other.set_state(state)


def test_shards_make_the_parts_of_the_same_batches_and_can_be_resumed_by_another_number():
    with stream(augment=EVERYTHING) as whole:
        parts = [stream(augment=EVERYTHING, shard_index=index, shard_count=2) for index in range(2)]
        for _ in range(3):
            batch, halves = next(whole), [next(part) for part in parts]
            assert halves[0]["waveform"].shape == (2, 2, 500)
            assert_equal(batch, {name: np.concatenate([half[name] for half in halves]) for name in batch})
        parts[0].set_state(whole.get_state())
        np.testing.assert_array_equal(next(parts[0])["speaker"], next(whole)["speaker"][:2])


# --- Augmentation in it -----------------------------------------------------------------------------------


def test_augmentation_changes_no_draw_of_speakers_and_crops():
    plain, loud = source(), source(augment=SpeechAugmentConfig(level_db=6.0))
    for index in range(4):
        first, second = plain[index], loud[index]
        np.testing.assert_array_equal(first["speaker"], second["speaker"])
        ratios = second["waveform"] / first["waveform"]
        np.testing.assert_allclose(ratios, np.broadcast_to(ratios[..., :1], ratios.shape), rtol=1e-5)
        # Every utterance has draws of its own.
        assert len(np.unique(ratios[..., 0].round(4))) == 8


def test_babble_is_of_other_speakers_only():
    # Told apart by tones: the speaker's own must not grow stronger.
    class Tones(Ramps):
        def waveform(self, path):
            number = int(path.stem.split("-")[0])
            return np.sin(2 * np.pi * (25 + 25 * number) * np.arange(2000) / 500).astype(np.float32)

    augment = SpeechAugmentConfig(babble_share=1.0, babble_speakers=(2, 9), babble_snr_db=(10.0, 10.0))
    made = source(augment=augment, recordings=Tones(PEOPLE))
    seen = set()
    for index in range(12):
        batch = made[index]
        for number, row in zip(batch["speaker"], batch["waveform"], strict=True):
            strengths = np.abs(np.fft.rfft(row))[:, [25 + 25 * k for k in range(6)]] / 250
            np.testing.assert_allclose(strengths[:, number], 1, atol=0.02)
            others = np.delete(strengths, number, axis=1)
            assert ((others < 0.02) | (np.abs(others - 10 ** (-10 / 20)) < 0.02)).all()
            seen |= set((others > 0.1).sum(1).tolist())
    assert seen == {2, 3, 4, 5}


def test_music_can_be_laid_under():
    made = source(augment=SpeechAugmentConfig(music_share=1.0), music=NOISES)
    assert not np.array_equal(made[0]["waveform"], source()[0]["waveform"])


# --- What goes wrong --------------------------------------------------------------------------------------


def test_a_file_that_cannot_be_used_is_replaced_by_another_of_the_speaker():
    made = source(unusable=["0-0.wav", "0-3.wav", "4-0.wav"], augment=SpeechAugmentConfig())
    used = {where_from(crop)[:2] for index in range(12) for row in made[index]["waveform"] for crop in row}
    assert {which for speaker, which in used if speaker == 0} == {1, 2, 4}
    assert {which for speaker, which in used if speaker == 4} == {1}


def test_a_speaker_without_any_usable_file_is_named():
    with (
        stream(recordings=Ramps(PEOPLE, ["5-0.wav"]), workers=2) as batches,
        pytest.raises(CorpusError, match=r"speaker 's5' has no usable recording; leave him out \(5-0.wav: is empty.\)"),
    ):
        for _ in range(4):
            next(batches)


def test_held_out_speakers_are_refused():
    manifest = speakers([2.0] * 2, [2.0] * 2, split="test")
    config = dataclasses.replace(CONFIG, speakers=2)
    with pytest.raises(CorpusError, match=r"2 speakers in this manifest are held out for testing \(s0, s1\)"):
        stream(manifest, config)
    with stream(manifest, config, allow_held_out=True) as batches:
        assert next(batches)["speaker"].shape == (2,)


@pytest.mark.usefixtures("as_a_user")
@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"config": dataclasses.replace(CONFIG, speakers=7)}, "needs 7 different speakers, here are 6; add speakers"),
        ({"seed": -1}, "`seed` must lie in"),
        ({"recordings": Recordings(8000)}, "`recordings` are at 8000 Hz, the batches at 2000 Hz; give Recordings"),
        ({"shard_count": 3}, "4 speakers in a batch cannot be divided into 3 equal parts"),
        ({"shard_index": 2, "shard_count": 2}, "`shard_index` must lie in"),
        ({"augment": SpeechAugmentConfig(noise_share=0.5), "noises": ()}, "`noises` must not be empty where noise_"),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises((ArgumentError, CorpusError), match=message):
        source(**arguments)


def test_babble_needs_somebody_else():
    config = dataclasses.replace(CONFIG, speakers=1)
    with pytest.raises(CorpusError, match="babble needs other speakers, here is one"):
        source(speakers([2.0, 2.0]), config, augment=SpeechAugmentConfig(babble_share=0.1))


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"speakers": 0}, "`speakers` must lie in"),
        ({"utterances": 3, "utterance_cap": 2}, r"`utterance_cap` must lie in \[3, inf\), got 2"),
        ({"seconds": 0.0}, "`seconds` must lie in"),
        ({"single_utterance": "keep"}, "`single_utterance` must be one of 'apart', 'crops', 'skip', got 'keep'"),
    ],
)
@pytest.mark.usefixtures("as_a_user")
def test_settings_that_are_refused(settings, message):
    with pytest.raises(ArgumentError, match=message):
        SpeakerBatchConfig(**settings)


# --- Real recordings --------------------------------------------------------------------------------------


@pytest.mark.speech
def test_real_speech_gives_batches_and_its_held_out_speakers_none(speech):
    manifest = read_corpus(speech).manifest
    config = SpeakerBatchConfig(speakers=12, seconds=1.0)
    with pytest.raises(CorpusError, match="64 speakers in this manifest are held out"):
        speaker_batches(manifest, config)
    training = split_speakers(manifest, {"train": 1.0}, seed=0)["train"]
    augment = one_of_five_augment(music=False)
    noises, rooms = read_noises(speech / "noise", "training", 16000), read_rooms(speech / "rir", "training", 16000)
    with speaker_batches(training, config, augment=augment, noises=noises, rooms=rooms, workers=0) as batches:
        waveform = next(batches)["waveform"]
    assert waveform.shape == (12, 2, 16000)
    assert np.isfinite(waveform).all()
    assert (waveform.std(-1) > 1e-3).all()
