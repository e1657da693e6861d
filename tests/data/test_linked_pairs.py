"""Batches of pairs and classes: exact halves, uniform partners, the same whatever asks for them."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxspk.data import (
    ClassSource,
    FrameNoise,
    LinkTable,
    NoiseConfig,
    PairSource,
    PseudoLabelled,
    Sound,
    class_batches,
    generated_noises,
    pair_batches,
)
from jaxspk.errors import ArgumentError, CorpusError

SAMPLES = 8
QUIET = NoiseConfig(share=0.0)


def labelled(sizes: list[int], apart: list[int] | None = None, *, seed: int = 0) -> PseudoLabelled:
    """Classes of these sizes in random order; frame i holds i."""
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    return PseudoLabelled(
        frames=np.repeat(np.arange(len(labels), dtype=np.float32)[:, None], SAMPLES, 1),
        labels=labels,
        apart=np.array(range(len(sizes)) if apart is None else apart),
        protocol="as_described",
    )


@given(
    sizes=st.lists(st.integers(2, 7), min_size=2, max_size=8),
    index=st.integers(0, 50),
    seed=st.integers(0, 5),
)
def test_half_must_and_half_cannot_and_none_with_itself(sizes, index, seed):
    data = labelled(sizes, seed=seed)
    pairs = len(data) // 2 // 2 * 2
    plan = PairSource(data, pairs, seed=seed, noise=QUIET).plan(index)
    same = data.labels[plan.first] == data.labels[plan.second]
    np.testing.assert_array_equal(same, ~plan.cannot_link)
    assert np.sum(same) == pairs // 2
    assert (plan.first != plan.second).all()


def test_an_epoch_takes_every_frame_once_as_anchor():
    source = PairSource(labelled([5] * 8), 10, seed=1, noise=QUIET)
    assert source.batches_per_epoch == 4
    first, second = (np.concatenate([source.plan(4 * epoch + step).first for step in range(4)]) for epoch in range(2))
    assert sorted(first) == sorted(second) == list(range(40))
    assert first.tolist() != second.tolist()


def test_partners_are_uniform():
    data = labelled([2, 3, 5])
    links = LinkTable(data)
    anchor = int(np.flatnonzero(data.labels == 1)[0])
    rng = np.random.default_rng(0)
    drawn = np.full(60_000, anchor)
    must, cannot = Counter(links.must(drawn, rng).tolist()), Counter(links.cannot(drawn, rng).tolist())
    assert set(must) == set(np.flatnonzero(data.labels == 1)) - {anchor}
    assert set(cannot) == set(np.flatnonzero(data.labels != 1))
    for found in (must, cannot):
        np.testing.assert_allclose(list(found.values()), 60_000 / len(found), rtol=0.06)


def test_classes_of_a_group_are_never_parted():
    data = labelled([3, 3, 3, 3], apart=[7, 7, 2, 2])
    links = LinkTable(data)
    anchors = np.tile(np.arange(12), 200)
    partners = links.cannot(anchors, np.random.default_rng(0))
    assert (data.apart[data.labels[anchors]] != data.apart[data.labels[partners]]).all()
    partners = links.must(anchors, np.random.default_rng(0))
    assert (data.labels[anchors] == data.labels[partners]).all()
    assert (anchors != partners).all()


def test_noise_is_mixed_into_exactly_half_of_each_side_as_equation_5_has_it():
    data = labelled([5] * 20)
    noise = Sound("n", "n", np.full(3 * SAMPLES + 5, 1000.0, np.float32))
    source = PairSource(data, 40, seed=3, noises=(noise,))
    batch, plan = source[2], source.plan(2)
    for side, frames in ((batch["frames_1"], plan.first), (batch["frames_2"], plan.second)):
        assert side.dtype == np.float32
        share = (side[:, 0] - frames) / (1000 - frames)
        changed = share > 0
        assert changed.sum() == 20
        assert share.max() <= 0.07 + 1e-5
        np.testing.assert_allclose(side, np.repeat(side[:, :1], SAMPLES, 1), rtol=1e-6)
    assert not np.array_equal(batch["frames_1"][:, 0] != plan.first, batch["frames_2"][:, 0] != plan.second)


def test_matched_noise_has_the_power_of_its_frame():
    frames = np.random.default_rng(0).normal(size=(50, 100)).astype(np.float32) * np.logspace(-3, 0, 50)[:, None]
    frames = frames.astype(np.float32)
    noise = generated_noises(1, 1000, seed=0, seconds=1.0)
    noisy = FrameNoise(NoiseConfig(share=1.0, most=1.0, matched=True), noise, 100)
    powers = np.mean(np.square(noisy(frames, np.random.default_rng(0))), 1) / np.mean(np.square(frames), 1)
    # Of two uncorrelated sounds of one power: 1 - 2 rho (1 - rho), at least a half.
    assert 0.3 < powers.min() and powers.max() < 1.5


def test_frames_of_a_class_batch_are_different_and_of_their_class():
    data = labelled([4, 5, 6, 4, 9])
    source = ClassSource(data, 3, 4, seed=2, noise=QUIET)
    assert source.batches_per_epoch == 1
    for index in range(20):
        labels, members = source.plan(index)
        assert len(set(labels.tolist())) == 3
        assert all(len(set(row)) == 4 for row in members.tolist())
        np.testing.assert_array_equal(data.labels[members], np.repeat(labels[:, None], 4, 1))
        batch = source[index]
        assert batch["frames"].shape == (3, 4, SAMPLES)
        np.testing.assert_array_equal(batch["frames"][..., 0], members)
        np.testing.assert_array_equal(batch["label"], labels)


def test_every_frame_of_a_large_class_comes():
    data = labelled([2, 9])
    source = ClassSource(data, 2, 2, seed=0, noise=QUIET)
    seen = {frame for index in range(60) for frame in source.plan(index)[1].reshape(-1).tolist()}
    assert seen == set(range(11))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    "make, source",
    [
        (pair_batches, PairSource(labelled([5] * 8), 8, seed=4, noise=QUIET)),
        (class_batches, ClassSource(labelled([5] * 8), 3, 2, seed=4, noise=QUIET)),
    ],
    ids=["pairs", "classes"],
)
def test_batches_come_in_order_and_are_resumed_exactly(make, source, workers):
    with make(source, workers=workers) as stream:
        for index in range(7):
            np.testing.assert_equal(next(stream), source[index])
        state = stream.get_state()
        following = next(stream)
    with make(source, workers=2 - workers) as resumed:
        resumed.set_state(state)
        np.testing.assert_equal(next(resumed), following)


def test_another_seed_or_noise_is_another_stream():
    data, noise = labelled([5] * 4), generated_noises(1, 1000, seed=0, seconds=1.0)
    prints = {
        PairSource(data, 4, seed=0, noise=QUIET).fingerprint,
        PairSource(data, 4, seed=1, noise=QUIET).fingerprint,
        PairSource(data, 6, seed=0, noise=QUIET).fingerprint,
        PairSource(data, 4, seed=0, noises=noise).fingerprint,
        PairSource(labelled([5] * 5), 4, seed=0, noise=QUIET).fingerprint,
    }
    assert len(prints) == 5


def test_generated_noises_differ_in_colour_and_do_not_depend_on_their_number():
    few, many = (generated_noises(count, 16_000, seed=1, seconds=1.0) for count in (3, 8))
    np.testing.assert_array_equal(few[2].waveform, many[2].waveform)
    assert {float(np.abs(noise.waveform).max()) for noise in many} == {0.5}

    def brightness(noise: Sound) -> float:
        power = np.square(np.abs(np.fft.rfft(noise.waveform)))
        return float(power[4000:].sum() / power.sum())

    shares = [brightness(noise) for noise in many]
    assert min(shares) < 0.2 and max(shares) > 0.3


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: PairSource(labelled([5, 5]), 3, seed=0), "`pairs` must be even"),
        (lambda: PairSource(labelled([5, 5]), 12, seed=0, noise=QUIET), "a batch of 12 pairs needs as many frames"),
        (lambda: PairSource(labelled([5, 5]), 4, seed=0), "`noises` must hold a sound of at least 8 samples"),
        (lambda: LinkTable(labelled([5, 1])), r"pseudo-class 1 has 1 frame\(s\)"),
        (lambda: LinkTable(labelled([5, 5], apart=[3, 3])), "nothing to keep apart"),
        (lambda: ClassSource(labelled([5, 3]), 2, 4, seed=0), "2 pseudo-classes of 4 frames, here are 2 of at least 3"),
    ],
)
def test_what_cannot_be_is_refused(as_a_user, make, message):
    with pytest.raises((ArgumentError, CorpusError), match=message):
        make()
