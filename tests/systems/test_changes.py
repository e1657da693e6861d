"""Speaker changes: planted in frames and in sound, by running sums as by definition, in blocks as in one piece."""

import dataclasses

import numpy as np
import pytest

from jaxspk import metrics
from jaxspk.errors import ArgumentError, AudioError
from jaxspk.systems import ChangeConfig, ChangeDetector, SpeechVectors, cepstral_vectors, find_changes, hear_speech
from jaxspk.systems._change_curves import Growth, criterion_of, growing_windows, sliding_curve, sum_cells

RATE = 8000


def planted(*stretches: tuple[int, int, float], units: int = 4) -> np.ndarray:
    """Frames drawn from one Gaussian after the other: how many, which one, how much deviation."""
    means = np.random.default_rng(7).normal(0, 1.5, (10, units))
    rng = np.random.default_rng(3)
    return np.concatenate(
        [means[who] + deviation * rng.normal(size=(count, units)) for count, who, deviation in stretches]
    )


FRAMES = planted((500, 0, 1.0), (300, 1, 1.0), (700, 2, 1.0), (400, 0, 1.0))
CHANGES = [5.0, 8.0, 15.0]


@pytest.mark.parametrize(
    "config",
    [
        ChangeConfig(method="bic"),
        ChangeConfig(distance="bic", threshold=10.0),
        ChangeConfig(distance="bhattacharyya", threshold=0.3),
        ChangeConfig(distance="kullback_leibler", threshold=1.0),
        ChangeConfig(distance="trace", threshold=1.0, shrinkage=0.1),
        ChangeConfig(distance="trace", threshold=1.0, covariance="diagonal"),
        ChangeConfig(distance="mean", threshold=1.0),
        ChangeConfig(distance="cosine", threshold=0.1),
    ],
    ids=lambda config: config.method if config.method == "bic" else f"{config.distance}-{config.covariance}",
)
def test_planted_changes_are_found_by_every_method(config):
    found = find_changes(FRAMES, frame_seconds=0.01, config=config)
    np.testing.assert_allclose(found.times, CHANGES, atol=0.11)
    assert (found.strengths > 0).all() and np.isfinite(found.curve).all()
    assert metrics.change_detection_errors(CHANGES, found.times.tolist()).f1 == 1


@pytest.mark.parametrize("method", ["bic", "distance"])
def test_one_speaker_never_changes(method):
    config = ChangeConfig(method=method, threshold=0.5)
    assert len(find_changes(planted((4000, 1, 1.0)), frame_seconds=0.01, config=config).times) == 0


def test_a_change_of_spread_alone_is_heard_by_what_knows_covariances():
    frames = planted((500, 0, 0.5), (500, 0, 1.5))
    for config in (ChangeConfig(method="bic"), ChangeConfig(distance="bhattacharyya", threshold=0.3)):
        np.testing.assert_allclose(find_changes(frames, frame_seconds=0.01, config=config).times, [5.0], atol=0.11)


@pytest.mark.parametrize("method", ["bic", "distance"])
@pytest.mark.parametrize("block", [7, 60, 641])
def test_blocks_give_what_one_piece_gives(method, block):
    config = ChangeConfig(method=method, threshold=0.3)
    whole = find_changes(FRAMES, frame_seconds=0.01, config=config)
    blocks = (FRAMES[start : start + block] for start in range(0, len(FRAMES), block))
    found = find_changes(blocks, frame_seconds=0.01, config=config)
    for one, other in zip(whole, found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-9)


def test_an_offset_and_a_scale_change_nothing():
    config = ChangeConfig(distance="bhattacharyya", threshold=0.3)
    moved = find_changes(1e3 + 1e-3 * FRAMES, frame_seconds=0.01, config=config)
    np.testing.assert_allclose(moved.curve, find_changes(FRAMES, frame_seconds=0.01, config=config).curve, rtol=1e-4)


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
@pytest.mark.parametrize("distance", ["trace", "kullback_leibler", "bhattacharyya"])
def test_the_curve_is_the_distance_of_the_windows(distance, covariance):
    config = ChangeConfig(distance=distance, covariance=covariance, window_seconds=1.0, shrinkage=0.2, threshold=1.0)
    found = find_changes(FRAMES, frame_seconds=0.01, config=config)
    for place in (40, 77, 123):
        edge = round(found.moments[place] * 100)
        sides = FRAMES[edge - 100 : edge], FRAMES[edge : edge + 100]
        gaussians = []
        for side in sides:
            spread = np.cov(side.T, bias=True) * (1 if covariance == "full" else np.eye(side.shape[1]))
            level = np.trace(spread) / len(spread)
            gaussians += [side.mean(0), 0.8 * spread + 0.2 * level * np.eye(len(spread))]
        defined = getattr(metrics, f"{distance}_distance")(*gaussians)
        np.testing.assert_allclose(found.curve[place], defined, rtol=1e-4)


def test_the_criterion_is_that_of_chen_and_gopalakrishnan():
    frames, penalty = FRAMES[300:700], 1.3
    cells = sum_cells([frames], 10, spread="full")
    edges, values, curve = growing_windows(cells, Growth(5, 40, 10, 200), penalty)
    units = frames.shape[1]

    def cost(part):
        return len(part) * np.linalg.slogdet(np.cov(part.T, bias=True))[1]

    before, after = frames[: 10 * edges[0]], frames[10 * edges[0] :]
    expected = (cost(frames) - cost(before) - cost(after)) / 2
    expected -= penalty / 2 * (units + units * (units + 1) / 2) * np.log(len(frames))
    np.testing.assert_allclose(values[0], expected, rtol=1e-3)
    assert edges[0] == 20 and len(curve) == 41
    # In windows of one length, the sliding form is the same number.
    sliding = sliding_curve(sum_cells([frames], 10, spread="full"), criterion_of(penalty), window=20)
    np.testing.assert_allclose(sliding[20], expected, rtol=1e-3)


def test_vectors_of_long_windows_count_on_neither_side_of_what_they_reach_over():
    # Each tells of a second and they come every tenth; the speaker changes at 6 s.
    starts = np.arange(0, 11, 0.1)
    share = np.clip(starts + 1.0 - 6.0, 0, 1)[:, None]
    vectors = (1 - share) * [1.0, 0.0] + share * [0.0, 1.0]
    config = ChangeConfig(distance="cosine", window_seconds=1.5, threshold=0.5)
    found = find_changes(vectors, frame_seconds=0.1, span_seconds=1.0, config=config)
    np.testing.assert_allclose(found.times, [6.0], atol=0.01)
    assert found.curve.max() == pytest.approx(1.0)


def test_sensitivity_finds_more_and_less():
    frames = planted((500, 0, 1.0), (500, 0, 1.0)) + np.repeat([0.0, 0.8], 500)[:, None]
    config = ChangeConfig(distance="mean", threshold=4.0)
    assert len(find_changes(frames, frame_seconds=0.01, config=config).times) == 0
    assert len(find_changes(frames, frame_seconds=0.01, config=config.with_sensitivity(4.0)).times) == 1


@pytest.mark.parametrize(
    "frames, changes, message",
    [
        (np.zeros((50, 3)), {}, "too few to compare"),
        (np.full((900, 3), np.nan), {}, "must be finite"),
        (np.zeros((900, 120)), {}, "too short for the covariance of 120 units"),
        (np.zeros((900, 3)), {"step_seconds": 0.005}, "`step_seconds`"),
    ],
)
def test_what_cannot_be_compared_is_refused(as_a_user, frames, changes, message):
    with pytest.raises(ArgumentError, match=message):
        find_changes(frames, frame_seconds=0.01, config=ChangeConfig(**changes))


# --- Sound. ---


def voice(pitch: float, seconds: float) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    phases = np.random.default_rng(0).uniform(0, 6, 8)
    return 0.05 * sum(np.sin(2 * np.pi * k * pitch * time + phase) for k, phase in enumerate(phases, 1))


def conversation(plan) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """Turns of (pitch, seconds, pause after), and when the speaker changes."""
    pieces, changes, end, last = [], [], 0.0, None
    for pitch, seconds, pause in plan:
        if last is not None and last[0] != pitch:
            changes.append((last[1], end))
        pieces += [voice(pitch, seconds), np.zeros(round(pause * RATE))]
        last, end = (pitch, end + seconds), end + seconds + pause
    clean = np.concatenate(pieces)
    return (clean + 1e-4 * np.random.default_rng(1).normal(size=clean.size)).astype(np.float32), changes


def bands(windows: np.ndarray) -> np.ndarray:
    """Where the power lies: any embedding will do."""
    power = np.square(np.abs(np.fft.rfft(windows, axis=1)))[:, : windows.shape[1] // 4]
    return np.stack([band.sum(1) for band in np.array_split(power, 60, axis=1)], axis=1)


def band_vectors(windowed: bool = True) -> SpeechVectors:
    span, hop = (RATE // 2, RATE // 10) if windowed else (400, 80)

    def describe(speech):
        return bands(np.lib.stride_tricks.sliding_window_view(speech, span)[::hop])

    return SpeechVectors(describe, RATE, hop, span, 64, windowed=windowed)


DETECTOR = ChangeDetector(
    band_vectors(), ChangeConfig(distance="cosine", window_seconds=1.0, threshold=0.3), least_speech_seconds=2.0
)
PLAN = [(210.0, 3.0, 0.5), (120.0, 2.5, 0.6), (120.0, 2.0, 0.4), (330.0, 3.0, 0.0), (210.0, 2.5, 0.5)]


@pytest.mark.parametrize("level", [1.0, 0.01])
def test_changes_are_put_into_pauses_and_pauses_alone_are_none(level):
    waveform, changes = conversation(PLAN)
    found = DETECTOR.find(np.float32(level) * waveform, RATE)
    assert len(changes) == 3
    errors = metrics.change_detection_errors(changes, found.times.tolist(), tolerance_seconds=0.1)
    assert errors == (3, 3, 3)
    # In the middle of the pause.
    assert found.times[0] == pytest.approx(3.25, abs=0.05)


def test_frames_tell_of_their_middle():
    waveform, changes = conversation([(210.0, 3.0, 0.0), (330.0, 3.0, 0.5)])
    detector = dataclasses.replace(DETECTOR, vectors=band_vectors(windowed=False))
    np.testing.assert_allclose(detector.find(waveform, RATE).times, changes[0][0], atol=0.06)


def test_a_file_gives_what_its_samples_give(tmp_path):
    from jaxspk import audio

    waveform, _ = conversation(PLAN)
    path = tmp_path / "talk.wav"
    audio.write_audio(path, np.stack([waveform, waveform], 1), RATE)
    shares: list[float] = []
    found = DETECTOR.find_file(path, progress=shares.append)
    np.testing.assert_allclose(found.times, DETECTOR.find(waveform, RATE).times)
    assert shares == sorted(shares) and shares[-1] == 1
    assert len(DETECTOR.find_file(path, channel=1).times) == 3


@pytest.mark.parametrize("block", [777, 8000])
def test_speech_is_heard_in_blocks_as_in_one_piece(block):
    waveform, _ = conversation(PLAN)
    whole = hear_speech(lambda: [waveform], RATE, RATE)
    parts = hear_speech(lambda: [waveform[at : at + block] for at in range(0, len(waveform), block)], RATE, RATE)
    np.testing.assert_array_equal(whole.stretches, parts.stretches)
    spoken = np.concatenate([waveform[first:last] for first, last in whole.stretches])
    blocks = list(parts.blocks(1000, 600))
    np.testing.assert_array_equal(np.concatenate([one[:600] for one in blocks[:-1]] + [blocks[-1]]), spoken)
    assert {len(one) for one in blocks[:-1]} == {1000} and parts.spoken == len(spoken)


def test_times_of_speech_are_times_of_the_recording():
    waveform, _ = conversation([(210.0, 2.0, 1.0), (120.0, 2.0, 0.5)])
    speech = hear_speech(lambda: [waveform], RATE, RATE)
    joint = float(speech.joints[0])
    np.testing.assert_allclose(
        speech.times(np.array([0.0, joint - 800, joint, joint + 800])), [0, 1.9, 2.5, 3.1], atol=0.04
    )


def test_too_little_speech_is_refused(as_a_user):
    waveform, _ = conversation([(210.0, 1.0, 5.0)])
    with pytest.raises(AudioError, match=r"1\.0 s of speech in 6\.0 s of sound, at least 2 s are needed"):
        DETECTOR.find(waveform, RATE)


def test_cepstra_need_no_model(as_a_user):
    waveform, changes = conversation([(210.0, 4.0, 0.3), (120.0, 4.0, 0.3)])
    detector = ChangeDetector.load(method="bic")
    noisy = waveform + 0.002 * np.random.default_rng(0).normal(size=waveform.size).astype(np.float32)
    times = detector.find(noisy, RATE).times
    assert metrics.change_detection_errors(changes, times.tolist()).hits == 1
    with pytest.raises(ArgumentError, match="no model"):
        ChangeDetector.load("somewhere", method="bic")
    vectors = cepstral_vectors()
    assert vectors.describe(np.random.default_rng(0).normal(size=512 + 160 * 9).astype(np.float32)).shape == (10, 20)
