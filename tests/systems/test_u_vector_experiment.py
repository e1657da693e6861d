"""A whole experiment on made-up voices: what it writes, that it goes on, and that the truth changes nothing in it."""

import csv
import dataclasses

import numpy as np
import pytest

from jaxspk.audio import FrameFeatureConfig
from jaxspk.data import SegmentConfig, SpeakerTruth
from jaxspk.errors import ArgumentError, CheckpointError
from jaxspk.systems import (
    DISCRIMINANT,
    MFCC_STATISTICS,
    UNTRAINED_NETWORK,
    ClasswiseConfig,
    FrameNetworkConfig,
    ObjectiveConfig,
    SpeechConfig,
    UVectorConfig,
    UVectorExperiment,
    UVectorSpeech,
    UVectorTraining,
    find_score,
    load_u_vectors,
    read_u_vector_scores,
    run_u_vectors,
)
from jaxspk.systems import _u_vector_experiment as experiment
from jaxspk.training import FitConfig, OptimizerConfig, read_metrics

CUT = SegmentConfig(sample_rate=8000, frame_seconds=0.1, window_seconds=0.05, hop_seconds=0.025, frames=4)


@pytest.fixture(scope="module")
def config(corpus):
    features = FrameFeatureConfig(sample_rate=8000, n_fft=128, window_length=128, hop_length=64, num_mels=16)
    return UVectorExperiment(
        speech=UVectorSpeech(
            data=SpeechConfig(path=corpus, validation=0.2, test=0.2), speakers=3, segments=2, hop_seconds=0.05
        ),
        training=UVectorTraining(
            system=UVectorConfig(
                segments=CUT, features=features, network=FrameNetworkConfig(network="statistics", dim=6, units=0)
            ),
            twin="classwise",
            classwise=ClasswiseConfig(
                classes=4, frames=3, objective=ObjectiveConfig(loss="angular_prototypical")
            ),
            fit=FitConfig(
                steps=20, optimizer=OptimizerConfig(learning_rate=3e-3), score="link_error", log_every=5,
                validate_every=10, checkpoint_every=10,
            ),
            workers=0,
        ),
    )  # fmt: skip


@pytest.fixture(scope="module")
def outcome(config, tmp_path_factory):
    return run_u_vectors(config, tmp_path_factory.mktemp("run"), baselines=False, progress=False)


def test_everything_is_written_and_reads_back(outcome, config):
    assert read_u_vector_scores(outcome.folder / "results" / "scores.csv") == list(outcome.scores)
    saved, model = load_u_vectors(outcome.folder / "model")
    assert saved == config.training.system
    frames = outcome.made.segments.frames[:2].reshape(8, -1)
    np.testing.assert_allclose(model.embed(frames), outcome.trained.model.embed(frames), rtol=1e-4, atol=1e-5)
    card = (outcome.folder / "model" / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "without labels" in card and "ARI" in card
    with np.load(outcome.folder / "results" / "embeddings.npz") as kept:
        np.testing.assert_array_equal(kept["clusters"], outcome.clustered.clusters)
    assert not (outcome.folder / "watched").exists()


def test_cannot_links_between_recordings_are_for_pairs(config, as_a_user):
    speech = dataclasses.replace(config.speech, apart="recording")
    with pytest.raises(ArgumentError, match="has none"):
        dataclasses.replace(config, speech=speech)
    dataclasses.replace(config, speech=speech, training=dataclasses.replace(config.training, twin="pairwise"))


@pytest.mark.slow
def test_baselines_are_scored_alike(outcome, config):
    scores = experiment.baseline_scores(config.training, outcome.made)
    for vectors in (MFCC_STATISTICS, DISCRIMINANT, UNTRAINED_NETWORK):
        found = find_score(scores, vectors)
        assert found is not None and found.counts["clusters"] == 3


def test_curves_have_a_point_a_validation(outcome):
    assert sorted({point.step for point in outcome.curves}) == [10, 20]
    assert {(point.labels, point.of) for point in outcome.curves} == {
        ("pseudo-labels", "frames"), ("speakers", "frames"), ("speakers", "segments"),
    }  # fmt: skip
    first = next(point for point in outcome.curves if point.step == 10)
    assert first.epoch == pytest.approx(10 * 12 / len(outcome.made.labelled))
    with (outcome.folder / "results" / "curves.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == len(outcome.curves)


def test_a_finished_run_is_scored_again_without_training(outcome, config):
    lines = list(read_metrics(outcome.folder))
    again = run_u_vectors(config, outcome.folder, baselines=False, progress=False)
    assert list(read_metrics(outcome.folder)) == lines
    assert again.scores == outcome.scores
    assert again.curves == outcome.curves


def test_other_settings_are_refused_in_the_same_folder(outcome, config):
    other = dataclasses.replace(config, speech=dataclasses.replace(config.speech, impurity=0.2))
    with pytest.raises(CheckpointError, match=r"speech\.impurity"):
        run_u_vectors(other, outcome.folder, progress=False)


@pytest.mark.slow
def test_who_speaks_changes_no_weight(outcome, config, tmp_path, monkeypatch):
    """The same speech with its speakers mixed up: training is the same, bit by bit; only scores differ."""
    true = experiment.prepare_u_vector_data

    def mixed_up(*arguments):
        made = true(*arguments)
        order = np.random.default_rng(0).permutation(len(made.truth.labels))
        labels = made.truth.labels[order]
        return dataclasses.replace(
            made, truth=SpeakerTruth(made.truth.speakers, labels), scored_speakers=np.repeat(labels, 4), others=None
        )

    monkeypatch.setattr(experiment, "prepare_u_vector_data", mixed_up)
    other = run_u_vectors(config, tmp_path / "run", baselines=False, progress=False)
    frames = outcome.made.segments.frames[0]
    np.testing.assert_array_equal(other.trained.model.embed(frames), outcome.trained.model.embed(frames))
    assert [line["loss"] for line in other.metrics if line["split"] == "train"] == [
        line["loss"] for line in outcome.metrics if line["split"] == "train"
    ]
