"""A regularized siamese network end to end on made-up voices: trained, resumed, tested beside baselines, saved."""

import csv
import dataclasses

import numpy as np
import pytest
from flax import nnx

from jaxspk import audio
from jaxspk.audio import CepstraConfig, MelConfig
from jaxspk.data import SegmentPairSource
from jaxspk.errors import ArgumentError, CorpusError, ModelError, TrainingError
from jaxspk.systems import (
    CEPSTRA,
    CONTROL,
    NETWORK,
    POOLED,
    BaselineConfig,
    PreparedSpeech,
    PretrainingConfig,
    ProbeConfig,
    SiameseConfig,
    SiameseEncoder,
    SiameseLearner,
    SiameseModel,
    SiameseTraining,
    SpeakerEncoder,
    SpeechConfig,
    Tolerances,
    _siamese_training,
    load_encoder,
    load_speech,
    load_verification,
    pair_distances,
    read_siamese_variants,
    run_siamese,
    run_siamese_variants,
    save_siamese,
    summarize_codes,
    train_siamese,
    variant_error,
)
from jaxspk.systems._regularized_siamese import summary_basis
from jaxspk.training import FitConfig, Run

MEL = MelConfig(sample_rate=8000, n_fft=256, window_length=200, hop_length=80, num_mels=20)


@pytest.fixture(scope="module")
def tiny(voxceleb):
    """The smallest training: 6 pairs of 20 frames."""
    return SiameseTraining(
        data=SpeechConfig(path=voxceleb, validation=0.25),
        system=SiameseConfig(
            features=CepstraConfig(mel=MEL, coefficients=8, context=1),
            segment_frames=20,
            hidden=(),
            code_units=8,
            speaker_units=4,
        ),
        pairs=6,
        comparisons=2,
        pretraining=PretrainingConfig(steps=4),
        fit=FitConfig(steps=8, log_every=2, validate_every=2, checkpoint_every=2, score="eer"),
        workers=0,
        seed=3,
    )


@pytest.fixture(scope="module")
def outcome(tiny, tmp_path_factory):
    return run_siamese(
        tiny,
        tmp_path_factory.mktemp("siamese") / "run",
        baselines=BaselineConfig(components=2, background_frames=500),
        probe=ProbeConfig(sounds=4, frames=20),
        progress=False,
    )


def parameters(model):
    return {path: np.asarray(leaf[...]) for path, leaf in nnx.to_flat_state(nnx.state(model, nnx.Param))}


@pytest.mark.slow
def test_a_run_leaves_model_tables_and_all_comparisons(outcome):
    kinds = {one.name: one.kind for one in outcome.compared}
    assert {kind: sum(k == kind for k in kinds.values()) for kind in (NETWORK, CONTROL, CEPSTRA)} == {
        NETWORK: 5, CONTROL: 1, CEPSTRA: 8,
    }  # fmt: skip
    with (outcome.folder / "results" / "summary.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {row["system"] for row in rows} == set(kinds)
    trained = next(one for one in outcome.compared if one.name == "trained, cosine")
    row = next(row for row in rows if row["system"] == trained.name and row["trials"] == POOLED)
    assert float(row["eer"]) == trained.scores.groups[POOLED].summary.eer
    with (outcome.folder / "results" / "distances.csv").open() as stream:
        stages = {row["stage"] for row in csv.DictReader(stream)}
    assert stages == {"untrained", "pretrained", "trained"}
    assert [probe.part for probe in outcome.probes] == ["speaker units", "rest units", "cepstra"]
    assert all(0 <= probe.speaker <= 1 and probe.speaker_chance < 0.5 for probe in outcome.probes)
    card = (outcome.model_folder / "MODEL_CARD.md").read_text()
    assert "consent" in card and "trained, cosine" in card and "{" not in card
    stages = {row.get("stage") for row in outcome.metrics}
    assert stages == {"layer1", "joint"}
    logged = {key for row in outcome.metrics for key in row}
    assert {"d_mean_same", "d_mean_different", "d_cov_same", "d_cov_different", "far_mean", "far_cov"} <= logged


@pytest.mark.slow
def test_a_run_calibrates_its_model_and_keeps_the_tolerances(outcome):
    config = load_encoder(outcome.model_folder).config
    assert config.lambda_mean * 4 == pytest.approx(outcome.trained.tolerances.mean)
    assert config.lambda_cov * 16 == pytest.approx(outcome.trained.tolerances.covariance)
    assert set(load_verification(outcome.model_folder)) == {"whole", "ten_crops"}


@pytest.fixture(scope="module")
def encoder(tiny, tmp_path_factory):
    """Not trained, but saved and read again."""
    folder = tmp_path_factory.mktemp("models") / "codes"
    save_siamese(folder, tiny.system, SiameseModel(tiny.system, rngs=nnx.Rngs(0)), card="A test.")
    with pytest.raises(ModelError, match="is a model for 'regularized_siamese'"):
        SpeakerEncoder.load(folder)
    return load_encoder(folder)


def test_it_is_an_encoder_as_any_other(encoder, voxceleb):
    assert isinstance(encoder, SiameseEncoder)
    path = sorted(voxceleb.rglob("*.wav"))[0]
    waveform, rate = audio.read_audio(path)
    whole = encoder.embed(waveform, rate)
    assert whole.shape == (encoder.dim,) == (8,) and np.linalg.norm(whole) == pytest.approx(1, rel=1e-5)
    several = encoder.embed([waveform, 0.5 * waveform], rate)
    np.testing.assert_allclose(several[0], whole, rtol=1e-5)
    assert several[0] @ several[1] > 0.9
    np.testing.assert_allclose(encoder.embed_file(path), whole, rtol=1e-5)
    assert encoder.embed_crops(waveform, rate, seconds=0.3, count=3).shape == (3, 8)


def test_codes_are_of_speech_with_its_times(encoder):
    waveform = (0.1 * np.random.default_rng(0).normal(size=16_000)).astype(np.float32)
    waveform[4000:12_000] *= 1e-4
    timed = encoder.timed_codes(waveform, 8000)
    assert timed.codes.shape == (len(timed.seconds), 8) and timed.codes.min() >= 0 and timed.codes.max() <= 1
    assert not ((timed.seconds > 0.55) & (timed.seconds < 1.45)).any() and timed.seconds[-1] > 1.9
    assert encoder.frame_seconds == 0.01
    np.testing.assert_array_equal(encoder.codes(waveform, 8000), timed.codes)
    with pytest.raises(ArgumentError, match="silent"):
        encoder.codes(np.zeros(8000, np.float32), 8000)


@pytest.mark.slow
def test_a_killed_run_ends_as_if_it_had_not_been(outcome, tiny, tmp_path, monkeypatch):
    speech, calls = outcome.speech, []
    prepared = PreparedSpeech.of(speech, tiny.system.features)
    real = _siamese_training.measure_vectors

    def killed(encoder, recordings):
        calls.append(1)
        # Untrained, pre-trained, the validation of step 2; then that of step 4, before its checkpoint.
        if len(calls) == 4:
            raise KeyboardInterrupt
        real(encoder, recordings)

    def train():
        with Run(tmp_path / "run", tiny) as run:
            return train_siamese(tiny, speech, run, prepared=prepared, progress=False)

    monkeypatch.setattr(_siamese_training, "measure_vectors", killed)
    with pytest.raises(KeyboardInterrupt):
        train()
    monkeypatch.undo()
    again = train()
    expected = parameters(outcome.trained.encoder.model)
    for path, value in parameters(again.encoder.model).items():
        np.testing.assert_array_equal(value, expected[path])
    assert again.result.step == 8 and again.tolerances == outcome.trained.tolerances


def test_validation_alarms_where_all_codes_are_the_same(tiny, tmp_path):
    speech = load_speech(tiny.data)
    prepared = PreparedSpeech.of(speech, tiny.system.features)
    validate = _siamese_training._validation(tiny, speech.validation, prepared.unchanged, prepared.validation)
    learner = SiameseLearner(SiameseModel(tiny.system, rngs=nnx.Rngs(0)), Tolerances(1.0, 1.0))
    scores = validate(learner)
    assert 0 <= scores["eer"] <= 1 and scores["spread"] > 1e-3
    layer = learner.model.network.encoder[-1]
    layer.kernel[...] = 1e-6 * layer.kernel[...]
    with pytest.raises(TrainingError, match=r"have become the same .*`learning_rate`"):
        validate(learner)


@pytest.mark.slow
def test_tolerances_are_measured_or_given_by_the_unit(tiny, outcome):
    speech = load_speech(tiny.data)
    known = PreparedSpeech.of(speech, tiny.system.features).train
    model = outcome.trained.pretrained.model
    found = _siamese_training.find_tolerances(tiny, model, known)
    assert found == pytest.approx(outcome.trained.tolerances, rel=1e-5)
    source = SegmentPairSource(known, tiny.segments, seed=tiny.seed + 202)
    measured = pair_distances(outcome.trained.pretrained, source)
    assert found.mean == pytest.approx(2 * measured.mean[~measured.same_speaker].mean(), rel=1e-5)
    half = dataclasses.replace(tiny, system=dataclasses.replace(tiny.system, lambda_mean=0.5))
    assert _siamese_training.find_tolerances(half, model, known) == pytest.approx((2.0, found.covariance), rel=1e-5)


def test_held_out_speakers_are_not_trained_on(tiny):
    speech = load_speech(tiny.data)
    mixed = dataclasses.replace(speech, train=speech.test)
    with pytest.raises(CorpusError, match="held out"):
        PreparedSpeech.of(mixed, tiny.system.features)


def test_other_speeds_are_other_speakers_and_standardise_nothing(tiny):
    prepared = PreparedSpeech.of(load_speech(tiny.data), tiny.system.features, speeds=(0.9,))
    assert len(prepared.train) == 2 * len(prepared.unchanged)
    assert {one.speaker for one in prepared.train if one.changed} == {f"{o.speaker}@0.9" for o in prepared.unchanged}
    lengths = [len(one.frames.cepstra) for one in prepared.train[:2]]
    assert lengths[1] == pytest.approx(lengths[0] / 0.9, abs=1.5)


def test_components_are_made_alike_halfway_and_missing_ones_are_zero():
    summaries = np.random.default_rng(0).normal(size=(300, 2)) @ np.array([[1.0, 1.0], [0.1, -0.1]]) + 5
    for whitening, expected in ((0.0, 1.0), (0.5, 0.5), (1.0, 0.0)):
        mean, basis = summary_basis(summaries, 2, whitening)
        deviations = ((summaries - mean) @ basis).std(0)
        whole = np.linalg.svd((summaries - mean) / summaries.std(0), compute_uv=False) / np.sqrt(300)
        np.testing.assert_allclose(deviations, whole**expected, rtol=1e-9)
    _, basis = summary_basis(np.outer([1.0, 2.0, 4.0], [1.0, 3.0, 2.0]), 2, 0.5)
    assert np.abs(basis[:, 0]).max() > 0 and not basis[:, 1].any()


def test_summaries_have_scales_without_ends():
    codes = np.array([[0.0, 0.5, 0.2], [0.0, 0.5, 0.4]], np.float32)
    odds = np.log([1e-3 / (1 - 1e-3), 1.0, 0.3 / 0.7])
    np.testing.assert_allclose(summarize_codes(codes, "mean"), odds, atol=1e-6)
    expected = np.concatenate([odds, np.log([1e-3, 1e-3, 0.101])])
    np.testing.assert_allclose(summarize_codes(codes, "mean_deviation"), expected, atol=1e-5)


@pytest.mark.slow
def test_variants_are_trained_once_and_an_alarm_is_a_result(tiny, tmp_path, monkeypatch):
    short = dataclasses.replace(
        tiny, fit=dataclasses.replace(tiny.fit, steps=2), pretraining=PretrainingConfig(steps=0)
    )
    told = []
    run_siamese_variants(short, tmp_path, only=("chosen", "autodiff"), seeds=(5,), progress=False, say=told.append)
    results = read_siamese_variants(tmp_path)
    assert [(result.name, result.seed) for result in results] == [("chosen", 5), ("autodiff", 5)]
    one, other = (result.record["distances"]["trained"] for result in results)
    assert one == pytest.approx(other, rel=1e-4)
    assert 0 <= variant_error(results[0], POOLED) <= 1 and 0 <= variant_error(results[0], POOLED, control=True) <= 1
    monkeypatch.setattr("jaxspk.systems._siamese_variants.train_siamese", _collapse)
    run_siamese_variants(short, tmp_path, only=("chosen", "alpha-0"), seeds=(5,), progress=False, say=told.append)
    assert "chosen, seed 5: done" in told
    assert read_siamese_variants(tmp_path)[-1].stopped == "the codes are one point."


def _collapse(*arguments, **options):
    raise TrainingError("the codes are one point.")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"speaker_units": 9}, "speaker_units"),
        ({"alpha": 1.5}, "alpha"),
        ({"lambda_cov": 0.0}, "lambda_cov"),
        ({"segment_frames": 1}, "segment_frames"),
    ],
)
def test_refuses_settings_that_make_no_network(tiny, changes, message):
    with pytest.raises(ArgumentError, match=message):
        dataclasses.replace(tiny.system, **changes)
