"""U-vectors: presets, storage, objectives and a short training on made-up voices."""

import ast
import dataclasses
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxspk.audio import FrameFeatureConfig
from jaxspk.data import NoiseConfig, PseudoLabelled, SegmentConfig, generated_noises
from jaxspk.errors import ArgumentError
from jaxspk.losses import autoembedder_loss
from jaxspk.systems import (
    ClasswiseConfig,
    FrameNetworkConfig,
    ObjectiveConfig,
    PairwiseConfig,
    UVectorConfig,
    UVectorLearner,
    UVectorModel,
    UVectorTraining,
    _u_vector_training,
    hold_out_frames,
    link_error,
    load_u_vectors,
    paper_u_vectors,
    released_u_vectors,
    save_u_vectors,
    train_u_vectors,
    u_vector_batches,
    u_vector_objective,
)
from jaxspk.training import FitConfig, OptimizerConfig, Run

RATE = 8000
SMALL = UVectorConfig(
    segments=SegmentConfig(sample_rate=RATE),
    features=FrameFeatureConfig(sample_rate=RATE, n_fft=256, window_length=160, hop_length=80, num_mels=24),
    network=FrameNetworkConfig(layers=(1, 1), growth=8, dim=6),
)


def training_of(**changes) -> UVectorTraining:
    options = {
        "system": SMALL,
        "pairwise": PairwiseConfig(pairs=24, alpha=4.0, clip_must_link=False),
        "classwise": ClasswiseConfig(classes=8, frames=3),
        "fit": FitConfig(
            steps=40,
            optimizer=OptimizerConfig(learning_rate=3e-3),
            score="link_error",
            validate_every=20,
            checkpoint_every=40,
            log_every=10,
        ),
        "workers": 0,
    }
    return UVectorTraining(**{**options, **changes})


@pytest.fixture(scope="module")
def labelled() -> PseudoLabelled:
    """Twelve voices, each a pseudo-class of ten frames: harmonics of one pitch, in noise."""
    rng = np.random.default_rng(0)
    time = np.arange(1600) / RATE
    frames = []
    for pitch in np.geomspace(90, 400, 12):
        for _ in range(10):
            tones = (
                np.sin(2 * np.pi * k * pitch * time + rng.uniform(0, 6)) * rng.uniform(0.3, 1) for k in range(1, 8)
            )
            frames.append(0.05 * sum(tones) + 0.005 * rng.normal(size=time.size))
    return PseudoLabelled(
        frames=np.array(frames, np.float32),
        labels=np.repeat(np.arange(12), 10),
        apart=np.arange(12),
        protocol="as_described",
    )


def test_the_presets_have_the_papers_sizes():
    for preset, picture in ((paper_u_vectors(), (95, 100)), (released_u_vectors(), (95, 96))):
        assert preset.picture == picture
        model = nnx.eval_shape(lambda preset=preset: UVectorModel(preset, rngs=nnx.Rngs(0)))
        numbers = jax.tree.leaves(nnx.state(model, nnx.Any(nnx.Param, nnx.BatchStat)))
        assert sum(leaf.size for leaf in numbers) == 7_148_108


def test_a_training_cannot_read_who_speaks():
    """What trains imports nothing that holds names, and is given pseudo-labels only."""
    tree = ast.parse(inspect.getsource(_u_vector_training))
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    names |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not names & {"SpeakerTruth", "Manifest", "Segments", "group_by_speaker", "speaker", "speakers", "paths"}
    assert inspect.signature(train_u_vectors).parameters["labelled"].annotation is PseudoLabelled


def test_a_saved_model_gives_the_same_vectors_of_any_number_of_frames(tmp_path, labelled):
    model = UVectorModel(SMALL, rngs=nnx.Rngs(1))
    vectors = model.embed(labelled.frames)
    assert vectors.shape == (120, 6)
    save_u_vectors(tmp_path / "model", SMALL, model, card="A test.")
    config, loaded = load_u_vectors(tmp_path / "model")
    assert config == SMALL
    np.testing.assert_allclose(loaded.embed(labelled.frames[7:10]), vectors[7:10], rtol=1e-4, atol=1e-5)
    many = np.tile(labelled.frames, (3, 1))
    np.testing.assert_allclose(loaded.embed(many), np.tile(vectors, (3, 1)), rtol=1e-4, atol=1e-5)
    assert loaded.embed(labelled.frames[:0]).shape == (0, 6)


@pytest.mark.parametrize("branches", ["apart", "joint"])
def test_the_pairwise_objective_is_autoembedders_loss_on_both_sides(labelled, branches):
    pairwise = PairwiseConfig(pairs=8, alpha=0.5, branches=branches)
    config = training_of(pairwise=pairwise, noise=NoiseConfig(share=0.0))
    with u_vector_batches(config, labelled) as batches:
        batch = {name: jnp.asarray(value) for name, value in next(batches).items()}

    @nnx.jit
    def both(learner):
        return u_vector_objective(config)(learner, batch, jax.random.key(0))

    @nnx.jit(static_argnums=2)
    def vectors(model, frames, branches):
        return model(frames, deterministic=False, branches=branches)

    loss, numbers = both(UVectorLearner(config, classes=12, rngs=nnx.Rngs(0)))
    model = UVectorModel(SMALL, rngs=nnx.Rngs(0))
    if branches == "apart":
        first, second = vectors(model, batch["frames_1"], 1), vectors(model, batch["frames_2"], 1)
    else:
        first, second = jnp.split(vectors(model, jnp.concatenate([batch["frames_1"], batch["frames_2"]]), 1), 2)
    expected = autoembedder_loss(first, second, batch["cannot_link"], alpha=0.5)
    np.testing.assert_allclose(loss, expected.mean(), rtol=1e-3)
    gaps = np.linalg.norm(first - second, axis=-1)
    np.testing.assert_allclose(numbers["capped"], np.mean(gaps >= 0.5))
    np.testing.assert_allclose(numbers["must_link_distance"], gaps[:4].mean(), rtol=1e-3)


@pytest.mark.parametrize("twin", ["pairwise", pytest.param("classwise", marks=pytest.mark.slow)])
def test_training_tells_frames_of_held_out_sound_apart(tmp_path, labelled, twin):
    config = training_of(twin=twin)
    kept, held = hold_out_frames(labelled, 3)
    noises = generated_noises(2, RATE, seed=0, seconds=1.0)
    with Run(tmp_path / "run", config) as run:
        trained = train_u_vectors(
            config, labelled.select(kept), run, held_out=labelled.select(held), noises=noises, progress=False
        )
    untrained = UVectorModel(SMALL, rngs=nnx.Rngs(0)).embed(labelled.frames[held])
    before = link_error(untrained, labelled.select(held), cosine=twin == "classwise")
    assert trained.result.best_score < 0.6 * before
    assert not trained.uses_labels
    after = link_error(trained.model.embed(labelled.frames[held]), labelled.select(held), cosine=twin == "classwise")
    assert after == pytest.approx(trained.result.best_score, abs=1e-3)


def test_any_loss_of_speaker_training_can_stand_in(labelled):
    objective = ObjectiveConfig(loss="angular_prototypical")
    config = training_of(twin="classwise", classwise=ClasswiseConfig(classes=4, frames=2, objective=objective))
    config = dataclasses.replace(config, noise=NoiseConfig(share=0.0))
    learner = UVectorLearner(config, classes=12, rngs=nnx.Rngs(0))
    with u_vector_batches(config, labelled) as batches:
        batch = {name: jnp.asarray(value) for name, value in next(batches).items()}
    loss, numbers = nnx.jit(u_vector_objective(config))(learner, batch, jax.random.key(0))
    assert np.isfinite(loss)
    assert {"within", "between"} <= set(numbers)


def test_link_error_is_that_of_the_distances(labelled):
    assert link_error(10.0 * np.eye(12)[labelled.labels], labelled) == 0.0
    random = np.random.default_rng(0).normal(size=(120, 6))
    assert link_error(random, labelled) == pytest.approx(0.5, abs=0.05)
    lengths = random / np.linalg.norm(random, axis=1, keepdims=True)
    assert link_error(random, labelled, cosine=True) == pytest.approx(link_error(lengths, labelled))


def test_held_out_frames_are_the_last_of_each_class():
    labels = np.array([0, 1, 0, 1, 0, 1, 0, 1, 0])
    data = PseudoLabelled(
        frames=np.zeros((9, 4), np.float32), labels=labels, apart=np.arange(2), protocol="as_described"
    )
    kept, held = hold_out_frames(data, 2)
    assert held.tolist() == [5, 6, 7, 8]
    assert kept.tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(ArgumentError, match="must leave two of each"):
        hold_out_frames(data, 3)


def test_what_does_not_fit_is_refused(as_a_user, tmp_path, labelled):
    with pytest.raises(ArgumentError, match="give both the same `sample_rate`"):
        UVectorConfig(segments=SegmentConfig(sample_rate=8000))
    with pytest.raises(ArgumentError, match="at least 2"):
        training_of(classwise=ClasswiseConfig(frames=1))
    config = training_of(system=UVectorConfig())
    with Run(tmp_path / "run", config) as run, pytest.raises(ArgumentError, match="frames of 3200 samples, got 1600"):
        train_u_vectors(config, labelled, run, progress=False)
