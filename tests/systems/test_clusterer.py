"""Who speaks when, with a model that hears where a spectrum is strongest."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxspk import audio, systems
from jaxspk.errors import ArgumentError, AudioError, ModelError
from jaxspk.metrics import diarization_error_rate
from jaxspk.systems import (
    ActivityConfig,
    SpeakerClusterer,
    VoiceSpace,
    Windowed,
    active_stretches,
    band_levels,
    cluster_windows,
    fit_voice_space,
    load_voice_space,
    save_voice_space,
    track_turns,
    voice_counts,
    write_turns,
)
from jaxspk.systems._heard_recording import cut_pieces

RATE = 8000
PITCHES = {"ann": 210.0, "bob": 120.0, "cleo": 330.0}


class Pitches:
    """Where the power of a window lies, in sixty bands."""

    sample_rate, dim = RATE, 60

    def __init__(self):
        self.sizes = []

    def embed_windows(self, windows):
        self.sizes.append(windows.shape)
        power = np.square(np.abs(np.fft.rfft(windows, axis=1)))
        bands = np.array_split(power[:, : power.shape[1] // 2], 60, axis=1)
        return np.stack([band.sum(1) for band in bands], axis=1)


def conversation(plan, *, noise=1e-4, level=1.0, seed=0):
    """Turns of (speaker, seconds, pause after), and who speaks when: harmonics that swell as syllables do."""
    pieces, turns, time = [], [], 0.0
    for speaker, seconds, pause in plan:
        at = np.arange(round(seconds * RATE)) / RATE
        tones = sum(np.sin(2 * np.pi * k * PITCHES[speaker] * at + k) for k in range(1, 9))
        pieces += [0.05 * tones * (0.6 + 0.4 * np.cos(2 * np.pi * 4 * at)), np.zeros(round(pause * RATE))]
        turns.append((time, time + seconds, speaker))
        time += seconds + pause
    clean = np.concatenate(pieces)
    noisy = clean + noise * np.random.default_rng(seed).normal(size=clean.size)
    return (level * noisy).astype(np.float32), turns


PLAN = [("ann", 3.0, 0.4), ("bob", 2.5, 0.5), ("ann", 1.5, 0.4), ("cleo", 4.0, 0.6), ("bob", 3.0, 0.4)]


@pytest.mark.parametrize("speakers", [3, (2, 4)])
@pytest.mark.parametrize("noise, level", [(1e-4, 1.0), (2e-2, 1.0), (1e-4, 0.005)], ids=["clean", "noisy", "quiet"])
def test_turns_are_found_whatever_level_and_noise(speakers, noise, level):
    waveform, reference = conversation(PLAN, noise=noise, level=level)
    found = SpeakerClusterer(Pitches()).cluster((waveform, RATE), speakers)
    turns = found.recordings[0].turns
    assert diarization_error_rate(reference, turns, collar_seconds=0.15).rate < 0.05
    assert [turn.speaker for turn in turns] == ["1", "2", "1", "3", "2"]
    assert found.estimated == (speakers != 3)
    assert [speaker.turns for speaker in found.speakers] == [2, 2, 1]
    assert found.speakers[0].seconds == pytest.approx(4.5, abs=0.3)


def test_speakers_that_follow_without_a_pause_are_parted():
    waveform, reference = conversation([("ann", 4.0, 0.0), ("bob", 4.0, 0.0), ("ann", 3.0, 1.0)])
    [recording] = SpeakerClusterer(Pitches()).cluster((waveform, RATE), 2).recordings
    assert diarization_error_rate(reference, recording.turns, collar_seconds=0.3).rate < 0.05
    assert [turn.speaker for turn in recording.turns] == ["1", "2", "1"]
    assert all(one.end <= following.start for one, following in itertools.pairwise(recording.turns))


def test_voices_are_shared_over_recordings(tmp_path):
    for name, plan in (("one", [("ann", 3, 0.5), ("bob", 3, 0.5)]), ("two", [("bob", 4, 0.5), ("cleo", 3, 0.5)])):
        audio.write_audio(tmp_path / f"{name}.wav", conversation(plan)[0], RATE)
    shares = []
    found = SpeakerClusterer(Pitches()).cluster([tmp_path / "one.wav", tmp_path / "two.wav"], 3, progress=shares.append)
    assert [[turn.speaker for turn in one.turns] for one in found.recordings] == [["1", "2"], ["2", "3"]]
    assert [one.recording for one in found.recordings] == [str(tmp_path / "one.wav"), str(tmp_path / "two.wav")]
    assert found.label("3") == "Speaker 3"
    assert shares == sorted(shares) and shares[-1] == 1.0


def test_a_recording_at_another_rate_gives_the_same_turns(tmp_path):
    waveform, _ = conversation(PLAN)
    audio.write_audio(tmp_path / "fast.wav", audio.resample(waveform, RATE, 22_050), 22_050)
    clusterer = SpeakerClusterer(Pitches())
    [here] = clusterer.cluster((waveform, RATE), 3).recordings
    [there] = clusterer.cluster(tmp_path / "fast.wav", 3).recordings
    assert [turn.speaker for turn in there.turns] == [turn.speaker for turn in here.turns]
    np.testing.assert_allclose([t[:2] for t in there.turns], [t[:2] for t in here.turns], atol=0.03)


def test_windows_are_embedded_some_at_a_time(monkeypatch):
    monkeypatch.setattr(systems._heard_recording, "_WINDOWS_AT_ONCE", 16)
    model = Pitches()
    waveform, _ = conversation([("ann", 9.0, 1.0), ("bob", 8.0, 1.0)])
    SpeakerClusterer(model).cluster((waveform, RATE), 2)
    assert [count for count, _ in model.sizes[:-1]] == [16] * (len(model.sizes) - 1) and len(model.sizes) > 1
    assert {samples for _, samples in model.sizes} == {round(1.41 * RATE)}


@pytest.mark.parametrize(
    "waveform, words",
    [
        (0.1 * np.random.default_rng(0).normal(size=50_000), "no speech in its 6.2 s"),
        (conversation([("ann", 1.0, 5.0)])[0], r"1.0 s of speech in 6.0 s of sound, at least 2 s are needed"),
        (np.zeros(50_000), "silent"),
    ],
    ids=["noise", "short", "silence"],
)
def test_too_little_speech_is_refused_with_the_reason(as_a_user, waveform, words):
    with pytest.raises((AudioError, ArgumentError), match=words):
        SpeakerClusterer(Pitches()).cluster((waveform.astype(np.float32), RATE))


@pytest.mark.parametrize("speakers", [0, (3, 2), "many", 1.5, True])
def test_impossible_numbers_of_speakers_are_refused(as_a_user, speakers):
    with pytest.raises(ArgumentError, match="`speakers` must be a number from 1"):
        voice_counts(speakers)


def test_more_speakers_than_windows_are_refused(as_a_user):
    waveform, _ = conversation([("ann", 2.5, 0.5)])
    with pytest.raises(ArgumentError, match=r"at most \d+, one a window of speech, got 50"):
        SpeakerClusterer(Pitches()).cluster((waveform, RATE), 50)


# --- Speech in noise. ---


def test_speech_is_found_in_coloured_noise_where_energy_fails():
    waveform, reference = conversation(PLAN)
    rng = np.random.default_rng(1)
    spectrum = np.fft.rfft(rng.normal(size=waveform.size))
    rumble = np.fft.irfft(spectrum * (np.arange(spectrum.size) < spectrum.size // 60), waveform.size)
    noisy = (waveform + 0.3 * rumble / rumble.std()).astype(np.float32)
    found = active_stretches(band_levels([noisy], RATE)) / RATE
    as_turns = [(start, end, "speech") for start, end in found.tolist()]
    spoken = [(start, end, "speech") for start, end, _ in reference]
    assert diarization_error_rate(spoken, as_turns).rate < 0.15


@settings(max_examples=10)
@given(cuts=st.lists(st.integers(0, 30_000), max_size=6))
def test_levels_do_not_depend_on_the_blocks(cuts):
    waveform = conversation([("ann", 2.0, 0.5), ("bob", 1.25, 0.0)])[0]
    whole = band_levels([waveform], RATE)
    parts = band_levels(np.split(waveform, sorted(cuts)), RATE)
    assert (parts.samples, parts.decibels.shape) == (waveform.size, whole.decibels.shape)
    np.testing.assert_allclose(parts.decibels.astype(float), whole.decibels.astype(float), atol=0.13)


def test_pauses_are_bridged_as_asked():
    levels = band_levels([conversation([("ann", 1.0, 0.2), ("ann", 1.0, 1.0), ("bob", 1.0, 1.0)])[0]], RATE)
    assert len(active_stretches(levels)) == 2
    assert len(active_stretches(levels, ActivityConfig(bridge_seconds=0.05))) == 3


@given(data=st.data())
def test_pieces_of_a_stream_are_those_of_the_whole(data):
    samples = data.draw(st.integers(1, 200))
    waveform = np.arange(samples, dtype=np.float32)
    cuts = sorted(data.draw(st.lists(st.integers(0, samples), max_size=5)))
    edges = st.integers(0, samples)
    drawn = data.draw(st.lists(st.tuples(edges, edges), min_size=1, max_size=5))
    # Windows begin and end one after another; some begin before the one before ends.
    spans = np.stack([sorted(a for a, _ in drawn), sorted(max(pair) for pair in drawn)], axis=1)
    spans = spans[spans[:, 1] > spans[:, 0]]
    pieces = list(cut_pieces(np.split(waveform, cuts), spans))
    assert len(pieces) == len(spans)
    for piece, (start, end) in zip(pieces, spans, strict=True):
        np.testing.assert_array_equal(piece, waveform[start:end])


def test_what_a_resampler_rounded_off_is_silence():
    [piece] = cut_pieces([np.ones(10, np.float32)], np.array([[8, 12]]))
    assert piece.tolist() == [1.0, 1.0, 0.0, 0.0]


# --- The space of voices. ---


def voices(count, windows, *, seed=0, dim=24, noise=0.35):
    """Windows of voices at random places, which also vary along one direction that tells nothing, in stretches of 6."""
    rng = np.random.default_rng(seed)
    places = rng.normal(size=(count, dim))
    labels = np.repeat(rng.permutation(np.arange(windows) % count), 6)
    vectors = places[labels] + noise * rng.normal(size=(len(labels), dim))
    vectors += 6.0 * rng.normal(size=(len(labels), 1)) * np.eye(dim)[0]
    follows = np.arange(len(labels)) % 6 > 0
    return systems.unit_rows(vectors), labels, follows


@pytest.fixture(scope="module")
def space():
    return fit_voice_space([voices(8, 40, seed=seed)[:2] for seed in range(20)])


def test_a_fitted_space_has_unit_variance_within_voices(space):
    vectors, labels, _ = voices(8, 200, seed=99)
    placed = space.place(vectors)
    within = np.mean([placed[labels == voice].var(0).mean() for voice in range(8)])
    # A little less: what is not known of the covariance is taken to be alike in all directions.
    assert 0.3 < within < 1.1
    assert (np.diff(space.spreads) <= 0).all() and space.spreads[0] > 3
    # The direction along which each voice varies most tells voices apart least.
    assert space.spreads[-1] < 0.1


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_the_number_of_voices_is_found_in_the_space(space, count):
    vectors, labels, follows = voices(count, 24, seed=count)
    found = cluster_windows(vectors, follows, "auto", space=space)
    assert len(found.centres) == count
    assert len(set(zip(found.labels.tolist(), labels.tolist(), strict=True))) == count
    assert max(found.scores, key=found.scores.get) == count


def test_thousands_of_windows_are_clustered_by_a_sample_of_them(space, monkeypatch):
    monkeypatch.setattr(systems._voice_clusters, "_MOST_IN_TREE", 100)
    vectors, labels, follows = voices(3, 90)
    found = cluster_windows(vectors, follows, "auto", space=space)
    assert len(found.labels) == 540
    assert len(set(zip(found.labels.tolist(), labels.tolist(), strict=True))) == 3


def test_a_space_is_kept_with_the_weights_it_was_fitted_to(space, tmp_path):
    def model(name, value):
        weights = {"a": np.full(3, value, np.float32)}
        return systems.save_model(tmp_path / name, system="metric_learning", config={}, weights=weights, card="")

    folder = model("one", 1.0)
    assert load_voice_space(folder) is None
    path = save_voice_space(folder, space)
    loaded = load_voice_space(folder)
    np.testing.assert_allclose(loaded.projection, space.projection, atol=2e-3 * np.abs(space.projection).max())
    np.testing.assert_allclose(loaded.spreads, space.spreads, rtol=1e-3)
    (model("two", 2.0) / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ModelError, match="was fitted to other weights"):
        load_voice_space(tmp_path / "two")
    path.write_text(path.read_text().replace('"projection": "', '"projection": "*'))
    with pytest.raises(ModelError, match="is damaged"):
        load_voice_space(folder)


def test_vectors_of_another_model_are_refused(as_a_user, space):
    with pytest.raises(ArgumentError, match="must have 24 values, got 5"):
        space.place(np.ones((3, 5)))
    with pytest.raises(ArgumentError, match="a recording of two voices"):
        fit_voice_space([(np.ones((20, 4)), np.zeros(20, int))])
    with pytest.raises(ArgumentError, match="`spreads` must"):
        VoiceSpace(np.eye(3), np.ones(2))


def test_a_stray_window_does_not_make_a_turn():
    points = np.repeat([[1.0, 0.0], [0.6, 0.8], [1.0, 0.0]], [8, 1, 8], axis=0)
    spans = np.stack([np.arange(17) * 400, np.arange(17) * 400 + 1200], axis=1)
    recording = Windowed(np.array([[0, int(spans[-1, 1])]]), spans, points)
    [turns] = track_turns([recording], np.eye(2), 1000)
    assert [voice for *_, voice in turns] == [0]


# --- Names, and other models. ---


class Encoder(systems._recording_encoder.RecordingEncoder):
    """The same as a speaker encoder."""

    sample_rate, dim = RATE, 60

    def _vectors(self, recordings):
        vectors = [systems.unit_rows(Pitches().embed_windows(one[None]))[0] for one in recordings]
        return np.stack(vectors).astype(np.float32)


@pytest.fixture
def enrolled(tmp_path, monkeypatch):
    """Ann is known, by an encoder whose scores are calibrated."""
    from jaxspk.metrics import Calibration

    rates = systems._operating_points.ErrorRates.measure(
        np.array([3.0, 4.0, -4.0, -3.0]), np.array([True, True, False, False])
    )
    # Tones are no speech, and their quality not worth asking for.
    anything = systems.QualityLimits(speech_seconds=0.0, snr_db=-100.0, clipped=1.0)
    level = systems.CalibratedLevel(speech_seconds=0.0, calibration=Calibration(20.0, -10.0), errors=rates)
    rule = systems.Verification(protocol="whole", trials="made up", levels=(level,), undecidable=anything)
    monkeypatch.setattr(systems._voice_names, "load_verification", lambda folder: {"whole": rule})
    store = systems.VoiceStore(tmp_path / "people.safetensors", "0" * 64)
    voice = Encoder().embed([conversation([("ann", 4.0, 0.1)], seed=5)[0]], RATE)
    store.enroll("Ann", voice, speech_seconds=4.0)
    return store


def test_people_who_are_enrolled_get_their_names(enrolled, tmp_path):
    clusterer = SpeakerClusterer(Pitches(), naming=(Encoder(), tmp_path))
    found = clusterer.cluster((conversation(PLAN)[0], RATE), 3, people=enrolled)
    assert [speaker.name for speaker in found.speakers] == ["Ann", None, None]
    assert found.speakers[0].probability > 0.9 and found.label("2") == "Speaker 2"
    with pytest.raises(ModelError, match="this model cannot hear its people"):
        SpeakerClusterer(Pitches()).cluster((conversation(PLAN)[0], RATE), 3, people=enrolled)
    enrolled.remove("Ann")
    with pytest.raises(ModelError, match="knows nobody yet"):
        clusterer.cluster((conversation(PLAN)[0], RATE), 3, people=enrolled)


def test_turns_are_written_for_everybody(enrolled, tmp_path):
    clusterer = SpeakerClusterer(Pitches(), naming=(Encoder(), tmp_path))
    found = clusterer.cluster((conversation([("ann", 9.0, 0.4), ("bob", 2.5, 0.5)])[0], RATE), 2, people=enrolled)
    files = write_turns(tmp_path / "deep" / "talk", found.recordings[0], found)
    rows = files.csv.read_text().splitlines()
    assert rows[0] == "start,end,cluster,name" and [row.split(",")[2:] for row in rows[1:]] == [["1", "Ann"], ["2", ""]]
    assert files.rttm.read_text().splitlines()[1].split()[7] == "Speaker_2"
    subtitles = files.srt.read_text().split("\n\n")
    # A long turn is several subtitles, one behind the other.
    assert len(subtitles) == 4 and subtitles[0].splitlines()[0] == "1" and subtitles[1].endswith("Ann")
    assert subtitles[0].splitlines()[1].split(" --> ")[1] == subtitles[1].splitlines()[1].split(" --> ")[0]
    assert files.vtt.read_text().startswith("WEBVTT\n\n00:00:0")
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == sorted(path.name for path in files)


@pytest.mark.slow
def test_u_vectors_learn_from_the_recordings_themselves(tmp_path, monkeypatch):
    from jaxspk.systems import _clusterer_adaptation, adapt_clusterer, with_u_vector_budget

    monkeypatch.setattr(
        _clusterer_adaptation, "with_u_vector_budget", lambda made, minutes: with_u_vector_budget(made, steps=60)
    )
    plan = [("ann", 4.0, 0.4), ("bob", 5.0, 0.5), ("cleo", 4.0, 0.4), ("bob", 3.0, 0.4), ("ann", 8.0, 0.4)]
    waveform, reference = conversation(plan)
    source = (audio.resample(waveform, RATE, 16_000), 16_000)
    base = SpeakerClusterer(Pitches(), naming=(Encoder(), tmp_path))
    # The encoder hears at another rate, so that the new model hears alone.
    adapted = adapt_clusterer([source], tmp_path / "run", base=base, progress=False)
    [recording] = adapted.cluster(source, 3).recordings
    assert diarization_error_rate(reference, recording.turns, collar_seconds=0.25).rate < 0.2
    loaded = SpeakerClusterer.load(tmp_path / "run" / "model")
    assert loaded.cluster(source, 3).recordings[0].turns == recording.turns
    assert adapted.naming is base.naming


def test_a_second_model_stands_beside_the_first():
    class Nothing(Pitches):
        def embed_windows(self, windows):
            return np.ones((len(windows), 60))

    waveform, reference = conversation(PLAN)
    [recording] = SpeakerClusterer(Nothing(), adapted=Pitches()).cluster((waveform, RATE), 3).recordings
    assert diarization_error_rate(reference, recording.turns, collar_seconds=0.15).rate < 0.05


def test_too_little_speech_to_learn_from_is_refused(tmp_path, as_a_user):
    source = (conversation([("ann", 4.0, 0.4), ("bob", 5.0, 0.5)])[0], RATE)
    with pytest.raises(AudioError, match=r"\d whole seconds of speech in 1 recordings, at least 20"):
        systems.adapt_clusterer([source], tmp_path / "run")
