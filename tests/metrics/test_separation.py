import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxspk.errors import ArgumentError, ArgumentTypeError
from jaxspk.metrics import best_permutation, bss_eval, si_sdr

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "separation_metrics.json").read_text())
TOLERANCE_DB = 1e-6


def slow(value):
    """A parameter for `make test-all` only."""
    return pytest.param(value, marks=pytest.mark.slow)


def coloured_noise(sources: int, samples: int, seed: int = 0) -> np.ndarray:
    """Independent autoregressive noises of very different levels and colours."""
    rng = np.random.default_rng(seed)
    signals = np.zeros((sources, samples))
    for index in range(sources):
        memory = 0.0
        for n, innovation in enumerate(rng.normal(size=samples)):
            memory = (0.95, 0.5, -0.7, 0.0)[index] * memory + innovation
            signals[index, n] = memory
    return signals * np.array([1.0, 10.0, 0.3, 2.0])[:sources, None]


def mir_eval_scores(references: np.ndarray, estimates: np.ndarray, *, permute: bool = True) -> tuple:
    import mir_eval

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return mir_eval.separation.bss_eval_sources(references, estimates, compute_permutation=permute)


def assert_agree(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Within 1e-6 dB below 100 dB, both above elsewhere."""
    below = theirs < 100
    np.testing.assert_allclose(ours[below], theirs[below], rtol=0, atol=TOLERANCE_DB)
    assert (ours[~below] > 100).all()


def assert_equals_mir_eval(references: np.ndarray, estimates: np.ndarray, *, permute: bool = True) -> None:
    ours = bss_eval(references, estimates, permute=permute)
    theirs = mir_eval_scores(references, estimates, permute=permute)
    for mine, other in zip(ours[:3], theirs[:3], strict=True):
        assert_agree(mine, other)
    np.testing.assert_array_equal(ours.permutation, theirs[3])


# --- Golden values. ---


def golden_signals() -> np.ndarray:
    """As the golden file prescribes: a linear congruential generator through a first-order recursion."""
    signals = []
    for seed, pole in ((1, 0.9), (2, 0.5)):
        state, memory, samples = seed, 0.0, []
        for _ in range(GOLDEN["signals"]["n"]):
            state = (1103515245 * state + 12345) % 2**31
            memory = pole * memory + state / 2**30 - 1
            samples.append(memory)
        centred = np.array(samples) - np.mean(samples)
        signals.append(centred / np.sqrt(np.mean(centred**2)))
    return np.array(signals)


def golden_estimates(name: str, s: np.ndarray) -> np.ndarray:
    good = np.array([s[0] + 0.2 * s[1], s[1] + 0.1 * s[0]])
    delayed = np.pad(s, [(0, 0), (3, 0)])[:, :-3]
    return {
        "mixture": np.array([s.sum(axis=0)] * 2),
        "good": good,
        "swapped": good[::-1],
        "scaled_minus2": good * np.array([[-2.0], [0.5]]),
        "delayed_3": delayed,
        "lowpassed_pair_average": (s + np.pad(s, [(0, 0), (1, 0)])[:, :-1]) / 2,
    }[name]


@pytest.mark.parametrize("case", GOLDEN["results"], ids=lambda case: case["estimate"])
def test_golden_values(case: dict):
    references = golden_signals()
    estimates = golden_estimates(case["estimate"], references)
    scores = bss_eval(references, estimates, permute=False)
    np.testing.assert_allclose(scores.sdr, case["bss_sdr_512"], rtol=0, atol=TOLERANCE_DB)
    np.testing.assert_allclose(scores.sir, case["bss_sir_512"], rtol=0, atol=TOLERANCE_DB)
    np.testing.assert_allclose(si_sdr(references, estimates), case["si_sdr"], rtol=0, atol=1e-9)
    np.testing.assert_array_equal(bss_eval(references, estimates).permutation, case["best_permutation"])


# --- Against mir_eval. ---


@pytest.mark.parametrize("sources", [1, 2, 3, slow(4)])
def test_equals_mir_eval_in_any_order(sources: int):
    references = coloured_noise(sources, 4000)
    leaked = references + 0.2 * np.roll(references, 1, axis=0)
    noisy = leaked + 0.1 * np.random.default_rng(1).normal(size=leaked.shape)
    # mir_eval takes seconds to try all orders of four.
    assert_equals_mir_eval(references, np.roll(noisy, 1, axis=0), permute=sources < 4)


@pytest.mark.parametrize("level_db", [-60, 0, 95, *(slow(level) for level in (-30, 40, 60, 80, 120))])
def test_equals_mir_eval_at_every_level(level_db: float):
    references = coloured_noise(2, 3000)
    amplitude = 10 ** (-level_db / 20)
    noise = np.random.default_rng(2).normal(size=references.shape)
    assert_equals_mir_eval(references, references + amplitude * noise, permute=False)
    assert_equals_mir_eval(references, references + amplitude * references[::-1], permute=False)
    assert_equals_mir_eval(references, references[::-1] + amplitude * (references + noise), permute=False)


@pytest.mark.parametrize("samples", [1, 100, 512, 1537, *(slow(n) for n in (2, 511, 513, 1536, 3000))])
def test_equals_mir_eval_at_every_length(samples: int):
    rng = np.random.default_rng(samples)
    references = rng.normal(size=(2, samples))
    estimates = references + 0.3 * rng.normal(size=(2, samples))
    assert_equals_mir_eval(references, estimates, permute=False)


def test_equals_mir_eval_for_the_mixture_itself():
    references = coloured_noise(2, 3000)
    mixture = np.broadcast_to(references.sum(axis=0), references.shape)
    assert_equals_mir_eval(references, mixture)
    assert (bss_eval(references, mixture).sar > 100).all()


def test_equals_mir_eval_when_next_to_nothing_is_interference():
    # Artifacts where no reference is, as loud as the references; the other reference 90 dB below.
    rng = np.random.default_rng(3)
    references, artifacts = np.zeros((2, 9000)), np.zeros((2, 9000))
    references[0, :2000], references[1, 3000:5000] = rng.normal(size=(2, 2000))
    artifacts[:, 7000:8000] = 1.4 * rng.normal(size=(2, 1000))
    estimates = references + artifacts + 10 ** (-90 / 20) * references[::-1]
    assert_equals_mir_eval(references, estimates)
    np.testing.assert_allclose(bss_eval(references, estimates).sir, 90, atol=1)


@pytest.mark.parametrize("tones_hz", [(300, 511), (300, 302, 900)], ids=str)
def test_equals_mir_eval_where_the_delays_are_nearly_dependent(tones_hz: tuple):
    time = np.arange(8000) / 8000
    references = np.array([np.sin(2 * np.pi * hertz * time) for hertz in tones_hz])
    noise = np.random.default_rng(4).normal(size=references.shape)
    assert_equals_mir_eval(references, references + 0.02 * np.roll(references, 1, axis=0) + 0.01 * noise)


def test_equals_mir_eval_on_speech_under_ideal_masks(speech: Path):
    import soundfile
    from scipy import signal

    folders = ("LibriSpeech/test-clean/1089", "LibriSpeech/test-clean/121")
    files = [sorted((speech / folder).rglob("*.flac"))[0] for folder in folders]
    references = np.array([signal.resample_poly(soundfile.read(file)[0][:48000], 1, 2) for file in files])
    spectra = signal.stft(references, nperseg=256)[2]
    masks = np.abs(spectra) == np.abs(spectra).max(axis=0)
    separated = signal.istft(masks * spectra.sum(axis=0), nperseg=256)[1][:, : references.shape[1]]
    assert_equals_mir_eval(references, separated[::-1])
    assert_equals_mir_eval(references, separated + 0.01 * np.random.default_rng(5).normal(size=references.shape))


# --- What the scores mean. ---


@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.sampled_from([1, 7, 64]), st.floats(-30, 30))
def test_distortion_is_interference_and_artifacts(seed: int, sources: int, filter_length: int, level_db: float):
    rng = np.random.default_rng(seed)
    references, noise = rng.normal(size=(2, sources, 400))
    estimates = references + 10 ** (-level_db / 20) * noise
    scores = bss_eval(references, estimates, filter_length=filter_length, permute=False)
    sdr, sir, sar = (10 ** (np.array(score) / 10) for score in scores[:3])
    np.testing.assert_allclose(1 / sdr, 1 / sir + (1 + 1 / sir) / sar, rtol=1e-7)


@given(st.integers(0, 2**32 - 1), st.integers(1, 50))
def test_one_source_and_one_tap_is_si_sdr(seed: int, samples: int):
    reference, estimate = np.random.default_rng(seed).normal(size=(2, samples + 1))
    sdr = bss_eval(reference, estimate, filter_length=1).sdr
    np.testing.assert_allclose(sdr, si_sdr(reference, estimate), atol=1e-6)


def test_any_filter_up_to_the_length_is_allowed_and_none_beyond():
    rng = np.random.default_rng(6)
    reference = np.pad(rng.normal(size=2000), (0, 100))
    filtered = np.convolve(reference, rng.normal(size=50))[:2100]
    assert bss_eval(reference, filtered, filter_length=50).sdr[0] > 100
    assert bss_eval(reference, filtered, filter_length=49).sdr[0] < 60


def test_an_advance_is_distortion_because_filters_are_causal():
    reference = np.pad(np.random.default_rng(7).normal(size=2000), 20)
    assert bss_eval(reference, np.roll(reference, 5), filter_length=32).sdr[0] > 100
    assert bss_eval(reference, np.roll(reference, -5), filter_length=32).sdr[0] < 0


def test_dependent_references_span_what_one_longer_filter_does():
    # The second reference is the first, 3 samples later: together they are one reference with 3 more delays.
    rng = np.random.default_rng(8)
    first = np.pad(coloured_noise(1, 4000)[0], (0, 3))
    references = np.array([first, np.roll(first, 3)])
    estimates = references + 0.1 * rng.normal(size=references.shape)
    together = bss_eval(references, estimates, filter_length=64, permute=False)
    longer = bss_eval(first, estimates[0], filter_length=67)
    np.testing.assert_allclose(together.sar[0], longer.sdr[0], atol=1e-6)


def test_equal_references_have_no_interference_and_keep_their_order():
    reference = coloured_noise(1, 3000)[0]
    estimates = reference + 0.1 * np.random.default_rng(9).normal(size=(2, 3000))
    scores = bss_eval(np.array([reference, reference]), estimates, filter_length=32)
    assert (scores.sir > 100).all()
    np.testing.assert_allclose(scores.sdr, bss_eval(reference, estimates[0], filter_length=32).sdr[0], atol=0.5)


@pytest.mark.parametrize("scale", [1e-300, 3.7, slow(1e-20), slow(1e20), slow(1e300)])
def test_scale_does_not_matter(scale: float):
    references = coloured_noise(2, 2000)
    estimates = references + 0.3 * np.random.default_rng(10).normal(size=references.shape)
    expected, si_expected = bss_eval(references, estimates), si_sdr(references, estimates)
    for scaled in ((scale * references, estimates), (references, scale * estimates)):
        for mine, other in zip(bss_eval(*scaled), expected, strict=True):
            np.testing.assert_allclose(mine, other, rtol=0, atol=1e-8)
        np.testing.assert_allclose(si_sdr(*scaled), si_expected, rtol=0, atol=1e-8)


def test_integers_and_small_floats_are_taken_as_they_are():
    references = np.round(1000 * coloured_noise(2, 2000))
    estimates = np.round(references + 500 * np.random.default_rng(11).normal(size=references.shape))
    expected = bss_eval(references, estimates)
    integers = bss_eval(references.astype(np.int32), estimates.astype(np.float32))
    for mine, other in zip(integers, expected, strict=True):
        np.testing.assert_array_equal(mine, other)


def test_several_sets_of_estimates_equal_one_at_a_time():
    references = coloured_noise(2, 3000)
    rng = np.random.default_rng(12)
    estimates = references[::-1] + 10.0 ** rng.uniform(-5, 1, (2, 3, 1, 1)) * rng.normal(size=(2, 3, 2, 3000))
    together = bss_eval(references, estimates)
    assert together.sdr.shape == (2, 3, 2)
    for index in np.ndindex(2, 3):
        for mine, other in zip(together, bss_eval(references, estimates[index]), strict=True):
            np.testing.assert_allclose(mine[index], other, rtol=0, atol=1e-7)


def test_a_single_waveform_is_a_single_source():
    reference, estimate = coloured_noise(1, 1000)[0], np.random.default_rng(13).normal(size=1000)
    scores = bss_eval(reference, estimate)
    assert scores.sdr.shape == (1,)
    np.testing.assert_array_equal(scores.sir, np.inf)
    np.testing.assert_allclose(scores.sdr, scores.sar)


# --- Silence. ---


def test_a_silent_reference_scores_nan_and_spoils_nothing_else():
    references = coloured_noise(3, 3000)
    estimates = references + 0.3 * np.random.default_rng(14).normal(size=references.shape)
    expected = bss_eval(references[:2], estimates[:2])
    references[2] = 0
    scores = bss_eval(references, estimates[[2, 1, 0]])
    np.testing.assert_array_equal(scores.permutation, [2, 1, 0])
    for mine, other in zip(scores[:3], expected[:3], strict=True):
        np.testing.assert_allclose(mine[:2], other, rtol=0, atol=1e-6)
        assert np.isnan(mine[2])


def test_a_silent_estimate_scores_minus_infinity_and_goes_to_what_nothing_else_fits():
    references = coloured_noise(3, 3000)
    estimates = references + 0.3 * np.random.default_rng(15).normal(size=references.shape)
    estimates[0] = 0
    scores = bss_eval(references, estimates[[1, 2, 0]])
    np.testing.assert_array_equal(scores.permutation, [2, 0, 1])
    for score in scores[:3]:
        assert score[0] == -np.inf
        assert np.isfinite(score[1:]).all()


def test_silence_for_silence_leaves_the_voice_its_estimate():
    voice = coloured_noise(1, 1000)[0]
    references, estimates = np.array([voice, 0 * voice]), np.array([0 * voice, voice + 0.1])
    scores = bss_eval(references, estimates, filter_length=16)
    np.testing.assert_array_equal(scores.permutation, [1, 0])
    assert np.isfinite(scores.sdr[0]) and np.isnan(scores.sdr[1])


def test_nothing_but_silent_references_is_nothing_but_nan():
    scores = bss_eval(np.zeros((2, 100)), np.ones((2, 100)))
    assert all(np.isnan(score).all() for score in scores[:3])
    np.testing.assert_array_equal(scores.permutation, [0, 1])


def test_silence_in_si_sdr():
    voice = np.array([1.0, -1.0, 2.0, -2.0])
    references = np.array([voice, voice, 0 * voice, 0 * voice])
    estimates = np.array([voice, 0 * voice, voice, 0 * voice])
    np.testing.assert_array_equal(si_sdr(references, estimates), [np.inf, -np.inf, np.nan, np.nan])
    np.testing.assert_array_equal(si_sdr(voice, 0.1 * np.ones(4), zero_mean=True), -np.inf)
    assert np.isnan(si_sdr(0.1 * np.ones(4), voice, zero_mean=True))


# --- SI-SDR and the permutation. ---


@given(st.integers(0, 2**32 - 1), st.floats(0, 100))
def test_si_sdr_is_its_definition_and_symmetric(seed: int, level_db: float):
    rng = np.random.default_rng(seed)
    reference = rng.normal(size=300)
    estimate = -3 * reference + 10 ** (-level_db / 20) * rng.normal(size=300) + 5
    s, x = reference - reference.mean(), estimate - estimate.mean()
    target = (x @ s) / (s @ s) * s
    expected = 10 * np.log10((target @ target) / ((x - target) @ (x - target)))
    np.testing.assert_allclose(si_sdr(reference, estimate, zero_mean=True), expected, atol=1e-6)
    np.testing.assert_allclose(si_sdr(estimate, reference, zero_mean=True), expected, atol=1e-6)


def test_the_mean_counts_only_where_it_is_kept():
    reference = np.array([1.0, -1.0, 1.0, -1.0])
    assert si_sdr(reference, reference + 0.5, zero_mean=True) > 100
    np.testing.assert_allclose(si_sdr(reference, reference + 0.5), 10 * np.log10(4.0))


def test_si_sdr_broadcasts_to_every_pair():
    references, estimates = np.random.default_rng(16).normal(size=(2, 3, 200))
    pairs = si_sdr(references[:, None], estimates)
    assert pairs.shape == (3, 3)
    for j, e in np.ndindex(3, 3):
        np.testing.assert_allclose(pairs[j, e], si_sdr(references[j], estimates[e]), rtol=1e-12)


@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_the_best_permutation_is_the_best_assignment(seed: int, count: int):
    from scipy.optimize import linear_sum_assignment

    scores = np.random.default_rng(seed).normal(size=(2, count, count))
    for table, permutation in zip(scores, best_permutation(scores), strict=True):
        np.testing.assert_array_equal(permutation, linear_sum_assignment(table, maximize=True)[1])


def test_equal_scores_keep_the_order():
    np.testing.assert_array_equal(best_permutation(np.zeros((4, 4))), [0, 1, 2, 3])
    np.testing.assert_array_equal(best_permutation([[1, 1, 0], [5, 5, 0], [0, 0, 3]]), [0, 1, 2])
    np.testing.assert_array_equal(best_permutation([[np.nan, 1], [2, -np.inf]]), [1, 0])


# --- What is refused. ---


@pytest.mark.parametrize(
    "references, estimates, message",
    [
        (np.ones((2, 10)), np.ones((3, 10)), r"\[sources, samples\].*got \(2, 10\) and \(3, 10\)"),
        (np.ones((2, 10)), np.ones((2, 9)), r"got \(2, 10\) and \(2, 9\)"),
        (np.ones((1, 2, 10)), np.ones((1, 2, 10)), r"`references` must have shape"),
        (np.ones((0, 10)), np.ones((0, 10)), "none empty"),
        (np.ones(()), np.ones(()), "last axis of samples"),
        (np.ones((2, 10)), np.full((2, 10), np.nan), "`estimates` must be finite"),
        (np.full((2, 10), np.inf), np.ones((2, 10)), "`references` must be finite"),
        (np.ones((9, 10)), np.ones((9, 10)), "at most 8 sources.*permute=False"),
        ([[1.0, 2.0], [1.0]], np.ones((2, 2)), "`references` must be one array"),
    ],
)
def test_wrong_shapes_and_values_are_refused(as_a_user, references, estimates, message: str):
    with pytest.raises(ArgumentError, match=message):
        bss_eval(references, estimates)


@pytest.mark.parametrize("dtype", [np.complex128, np.bool_, object, "U3"], ids=str)
@pytest.mark.parametrize("score", [bss_eval, si_sdr])
def test_what_are_no_real_numbers_are_refused(as_a_user, dtype, score):
    with pytest.raises(ArgumentTypeError, match="`estimates` must hold real numbers"):
        score(np.ones((2, 10)), np.ones((2, 10)).astype(dtype))


@pytest.mark.parametrize("filter_length", [0, -1, 1.5])
def test_wrong_filter_lengths_are_refused(as_a_user, filter_length):
    with pytest.raises(ArgumentError, match=f"`filter_length` must be .* got {filter_length}"):
        bss_eval(np.ones((2, 10)), np.ones((2, 10)), filter_length=filter_length)


def test_si_sdr_refuses_shapes_that_do_not_fit(as_a_user):
    with pytest.raises(ArgumentError, match="as many samples, got 10 and 9"):
        si_sdr(np.ones((2, 10)), np.ones((2, 9)))
    with pytest.raises(ArgumentError, match="broadcast"):
        si_sdr(np.ones((2, 10)), np.ones((3, 10)))


def test_the_best_permutation_refuses_tables_that_are_not_square(as_a_user):
    with pytest.raises(ArgumentError, match=r"got \(2, 3\)"):
        best_permutation(np.ones((2, 3)))


def test_metrics_do_not_import_jax():
    code = "import sys, jaxspk.metrics; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
