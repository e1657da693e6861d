"""Masks: the golden toy values, sums, ties, silence."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from jaxspk.audio import (
    active_bins,
    apply_masks,
    ideal_binary_mask,
    ideal_ratio_mask,
    istft,
    phase_sensitive_mask,
    stft,
)  # fmt: skip
from jaxspk.errors import ArgumentError

pytestmark = pytest.mark.usefixtures("strict_promotion")
GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "deep_clustering_masks.json").read_text())


def spectra(*shape, seed=0):
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.standard_normal(shape) + 1j * rng.standard_normal(shape), jnp.complex64)


def test_the_binary_mask_is_the_golden_one():
    masks = ideal_binary_mask(jnp.asarray(GOLDEN["source_magnitude"]))
    np.testing.assert_array_equal(jnp.argmax(masks, 0), GOLDEN["ibm_label"])
    np.testing.assert_array_equal(masks.sum(0), np.ones((4, 3)))


@pytest.mark.parametrize(
    "reference, key",
    [
        ("mixture", "vad_mixture_40dB"),
        ("any_source", "vad_any_source_40dB"),
        ("every_source", "vad_all_sources_40dB"),
    ],
)
def test_each_reading_of_the_40_db_rule_is_the_golden_one(reference, key):
    active = active_bins(
        jnp.asarray(GOLDEN["mixture_magnitude"]), jnp.asarray(GOLDEN["source_magnitude"]), reference=reference
    )
    assert active.dtype == bool
    np.testing.assert_array_equal(active, np.array(GOLDEN[key], bool))


def test_the_threshold_is_a_strict_bound_on_amplitude_for_each_utterance():
    magnitudes = jnp.array([[[1.0, 0.011, 0.01, 0.0099]], [[100.0, 1.1, 1.0, 0.0]]])
    expected = [[[True, True, False, False]], [[True, True, False, False]]]
    np.testing.assert_array_equal(active_bins(magnitudes), expected)


def test_the_first_of_equals_takes_the_bin_and_silence():
    masks = ideal_binary_mask(jnp.array([[[0.0, 2.0, -3.0]], [[0.0, 2.0, 1.0]]]))
    np.testing.assert_array_equal(masks, [[[1, 1, 1]], [[0, 0, 0]]])


@pytest.mark.parametrize("mask", [ideal_binary_mask, ideal_ratio_mask, lambda s: ideal_ratio_mask(s, exponent=2.0)])
@pytest.mark.parametrize("sources", [1, 2, 4])
def test_masks_sum_to_one_and_so_do_their_sources(mask, sources):
    masks = mask(spectra(2, sources, 5, 9))
    assert masks.dtype == jnp.float32
    np.testing.assert_allclose(masks.sum(1), 1, atol=1e-6)
    mixture = spectra(2, 5, 9, seed=1)
    np.testing.assert_allclose(apply_masks(mixture, masks).sum(1), mixture, atol=1e-5)


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e15])
def test_the_ratio_mask_shares_by_power_at_any_level(scale):
    magnitudes = jnp.asarray(np.array([[[3.0, 0.0]], [[4.0, 0.0]]]) * scale, jnp.float32)
    masks = ideal_ratio_mask(magnitudes, exponent=2.0)
    np.testing.assert_allclose(masks, [[[0.36, 0.5]], [[0.64, 0.5]]], rtol=1e-5)


def test_the_phase_sensitive_mask_is_the_nearest_real_factor_in_zero_to_one():
    sources, mixture = spectra(2, 3, 4), spectra(3, 4, seed=1)
    masks = phase_sensitive_mask(sources, mixture)
    candidates = np.linspace(0, 1, 1001)
    errors = np.abs(np.asarray(sources)[..., None] - np.asarray(mixture)[..., None] * candidates)
    np.testing.assert_allclose(masks, candidates[errors.argmin(-1)], atol=1e-3)
    assert not phase_sensitive_mask(sources, jnp.zeros_like(mixture)).any()


def test_silence_has_no_active_bin():
    assert not active_bins(jnp.zeros((2, 3, 4), jnp.complex64)).any()


def test_the_binary_mask_beats_the_mixture():
    rng = np.random.default_rng(0)
    time = np.arange(4000) / 8000
    sources = jnp.asarray(np.stack([np.sin(2 * np.pi * f * time) * rng.random() for f in (440, 1300)]), jnp.float32)
    mixture = sources.sum(0)
    estimates = istft(apply_masks(stft(mixture), ideal_binary_mask(stft(sources))), length=4000)
    error = jnp.square(estimates - sources).sum(-1) / jnp.square(sources).sum(-1)
    assert (error < 1e-3).all()


def test_the_dtype_of_the_mixture_decides():
    product = apply_masks(spectra(3, 4), jnp.ones((2, 3, 4), jnp.bfloat16))
    assert product.dtype == jnp.complex64 and product.shape == (2, 3, 4)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: active_bins(jnp.ones((2, 2)), reference="any_source"), "`source_spectra` are needed"),
        (lambda: active_bins(jnp.ones((2, 2)), reference="both"), "`reference` must be one of"),
        (lambda: active_bins(jnp.ones((2, 2)), threshold_db=0.0), "`threshold_db` must lie in"),
        (lambda: ideal_ratio_mask(jnp.ones((2, 2, 2)), exponent=-1.0), "`exponent` must lie in"),
        (lambda: apply_masks(jnp.ones((3, 4)), jnp.ones((2, 4, 3))), "`masks` must have the mixture's shape"),
    ],
)
def test_what_does_not_fit_is_refused(make, message, as_a_user):
    with pytest.raises(ArgumentError, match=message):
        make()
