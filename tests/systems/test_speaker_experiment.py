"""A speaker encoder end to end: trained on made-up voices, calibrated, tested, saved; groups of trials by hand."""

import csv
import dataclasses
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from jaxspk import audio, data, metrics
from jaxspk.data import Manifest, Utterance
from jaxspk.errors import ArgumentError, CheckpointError, CorpusError
from jaxspk.systems import (
    POOLED,
    PROTOCOLS,
    CepstralStatistics,
    SpeakerEncoder,
    SpeechConfig,
    calibrate_encoder,
    calibrated_errors,
    calibrated_scores,
    cepstral_baseline,
    load_verification,
    run_speaker_verification,
    save_outcome_model,
    score_verification,
    trial_groups,
)


@pytest.fixture(scope="module")
def outcome(tiny_speakers, tmp_path_factory):
    return run_speaker_verification(tiny_speakers, tmp_path_factory.mktemp("runs") / "run", progress=False)


def utterance(speaker, gender, corpus, session, take=0):
    return Utterance(Path(f"{corpus}/{speaker}/{take}.wav"), speaker, 1.0, gender, session=session, corpus=corpus)


# Two corpora; ann's first two recordings are of one session, and nobody of the second corpus is a man.
MANIFEST = Manifest(
    (
        utterance("ann", "F", "one", "a", 0),
        utterance("ann", "F", "one", "a", 1),
        utterance("ann", "F", "one", "b", 2),
        utterance("bob", "M", "one", "c", 0),
        utterance("cat", "F", "two", None, 0),
        utterance("cat", "F", "two", None, 1),
        utterance("dot", "F", "two", None, 0),
    )
)


def test_groups_of_trials_by_hand():
    groups = {group.name: group for group in trial_groups(MANIFEST)}

    def pairs(name, same):
        group = groups[name]
        return {
            (int(a), int(b)) for a, b, label in zip(group.enrol, group.test, group.labels, strict=True) if label == same
        }

    everybody = {(a, b) for a in range(7) for b in range(a + 1, 7)}
    # (0, 1) is of one session; 3 is the only man.
    assert pairs(POOLED, True) == {(0, 2), (1, 2), (4, 5)}
    assert pairs(POOLED, False) == everybody - {(0, 1), (0, 2), (1, 2), (4, 5)}
    assert pairs("one", True) == {(0, 2), (1, 2)} and pairs("one", False) == {(0, 3), (1, 3), (2, 3)}
    assert pairs("two", True) == {(4, 5)} and pairs("two", False) == {(4, 6), (5, 6)}
    women = {(a, b) for a, b in pairs(POOLED, False) if 3 not in (a, b)}
    assert pairs("all, one sex", True) == pairs(POOLED, True) and pairs("all, one sex", False) == women
    assert pairs("two, one sex", False) == {(4, 6), (5, 6)}
    # Of one corpus and one sex there are only trials of ann.
    assert set(groups) == {POOLED, "one", "two", "all, one sex", "two, one sex"}
    assert {tuple(row) for row in groups["two"].speakers.tolist()} == {(2, 2), (2, 3)}


def test_without_two_recordings_of_a_speaker_there_is_nothing_to_test():
    with pytest.raises(CorpusError, match="no trial of the same speaker"):
        trial_groups(Manifest((MANIFEST.utterances[0], MANIFEST.utterances[3])))


def test_vectors_that_tell_all_speakers_apart_make_no_error():
    vectors = np.eye(4, dtype=np.float32)[[0, 0, 0, 1, 2, 2, 3]][:, None]
    scores = score_verification(vectors, MANIFEST, resamples=20)
    assert all(scored.summary.eer == 0 for scored in scores.groups.values())
    assert scores.identification == 1
    # bob and dot have one recording each and cannot be named; one recording of ann and one of cat are swapped.
    vectors[[2, 4]] = vectors[[4, 2]]
    worse = score_verification(vectors, MANIFEST, resamples=0)
    assert worse.groups[POOLED].summary.eer_interval is None
    # 0 and 1 are as like ann's others as cat's, on average, which counts half; 2, 4 and 5 are named wrongly.
    assert worse.identification == pytest.approx(1 / 5)


def test_a_run_leaves_model_calibration_and_tables(outcome, tiny_speakers):
    with (outcome.folder / "results" / "summary.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {(row["protocol"], row["trials"]) for row in rows} == {
        (protocol, name) for protocol in PROTOCOLS for name in outcome.scores["whole"].groups
    }
    pooled = outcome.scores["whole"].groups[POOLED]
    assert float(rows[0]["eer"]) == pooled.summary.eer and float(rows[0]["eer_low"]) <= pooled.summary.eer
    assert float(rows[0]["identification"]) == outcome.scores["whole"].identification
    written = data.read_scores(outcome.folder / "results" / "scores.txt")
    np.testing.assert_allclose(written.scores, pooled.scores, atol=1e-6)
    # The first two are of one video: no trial.
    assert (written.trials.enrol[0], written.trials.test[0]) == ("id10000/one/00001.wav", "id10000/two/00001.wav")
    encoder = SpeakerEncoder.load(outcome.model_folder)
    assert encoder.config == tiny_speakers.system
    assert set(load_verification(outcome.model_folder)) == set(PROTOCOLS)
    card = (outcome.model_folder / "MODEL_CARD.md").read_text()
    assert "consent" in card and "all, one sex" in card and "angular prototypical" in card and "{" not in card
    assert outcome.trained.result.step == 6 and len(outcome.trained.classes) == 8
    assert {"accuracy", "within", "between", "eer", "spread"} <= {key for row in outcome.metrics for key in row}


def test_calibration_is_of_the_validation_speakers(outcome):
    ratios = calibrated_scores(outcome)
    pooled = outcome.scores["whole"].groups[POOLED]
    rule = next(rule for rule in outcome.calibration if rule.protocol == "whole")
    assert "4 validation speakers" in rule.trials
    calibration = rule.levels[0].calibration
    np.testing.assert_allclose(ratios, calibration.scale * pooled.scores + calibration.offset)
    errors = calibrated_errors(outcome)
    assert (errors.targets, errors.nontargets) == (pooled.summary.targets, pooled.summary.nontargets)
    misses, false_alarms = errors.at(0.0)
    assert misses == pytest.approx(np.mean(ratios[pooled.group.labels] < 0))
    assert false_alarms == pytest.approx(np.mean(ratios[~pooled.group.labels] >= 0))
    bare = dataclasses.replace(outcome, calibration=())
    assert calibrated_errors(bare) is None and calibrated_scores(bare) is None


def test_too_few_speakers_are_not_calibrated_by(outcome):
    name = outcome.speech.validation.speakers[0]
    one = outcome.speech.validation.where(lambda utterance: utterance.speaker == name)
    assert calibrate_encoder(outcome.trained.encoder, one) == ()


def test_the_packaged_form_is_half_as_large_and_says_whose_speech_it_was(outcome, tmp_path):
    folder = save_outcome_model(outcome, tmp_path / "packaged", dtype=np.float16, sources="Spoken by nobody.")
    sizes = [(place / "model.safetensors").stat().st_size for place in (folder, outcome.model_folder)]
    assert sizes[0] < 0.75 * sizes[1]
    assert "Spoken by nobody." in (folder / "MODEL_CARD.md").read_text()
    assert set(load_verification(folder)) == set(PROTOCOLS)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_run_whatever_the_workers(outcome, tiny_speakers, tmp_path):
    again = run_speaker_verification(dataclasses.replace(tiny_speakers, workers=0), tmp_path / "again", progress=False)
    first, second = (run.model_folder / "model.safetensors" for run in (outcome, again))
    assert first.read_bytes() == second.read_bytes()
    np.testing.assert_array_equal(again.scores["whole"].vectors, outcome.scores["whole"].vectors)


def test_another_config_is_refused_in_the_same_folder(outcome, tiny_speakers):
    with pytest.raises(CheckpointError, match="`seed` differs"):
        run_speaker_verification(dataclasses.replace(tiny_speakers, seed=4), outcome.folder, progress=False)


def test_a_batch_that_does_not_fit_the_objective_is_refused(tiny_speakers, tmp_path):
    three = dataclasses.replace(tiny_speakers.batches, utterances=3)
    objective = dataclasses.replace(tiny_speakers.objective, loss="triplet")
    config = dataclasses.replace(tiny_speakers, batches=three, objective=objective)
    with pytest.raises(ArgumentError, match="exactly 2"):
        run_speaker_verification(config, tmp_path / "run", progress=False)


# --- The baseline without a network. ---


def test_cepstral_statistics_are_those_of_the_whole_recording():
    waveform = (0.1 * np.random.default_rng(0).normal(size=23_456)).astype(np.float32)
    cepstra = np.asarray(audio.mfcc(jnp.asarray(waveform), audio.MelConfig(), num_coefficients=20))
    expected = np.concatenate([cepstra.mean(0), cepstra.std(0)])
    np.testing.assert_allclose(CepstralStatistics().embed([waveform], 16_000)[0], expected, atol=1e-5)


def test_the_baseline_tells_made_up_voices_apart(outcome):
    scores = cepstral_baseline(outcome.speech.test, resamples=0)
    vectors = scores.vectors[:, 0].astype(np.float64)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    pooled = scores.groups[POOLED]
    place = int(pooled.scores.argmax())
    best = vectors[pooled.group.enrol[place]] @ vectors[pooled.group.test[place]]
    assert pooled.scores[place] == pytest.approx(best, abs=1e-6)
    assert pooled.summary.eer == metrics.equal_error_rate(pooled.scores, pooled.group.labels).eer < 0.5


# --- Real speech. ---


def test_groups_of_the_held_out_speakers(speech):
    from jaxspk.systems import load_speech

    groups = {group.name: group for group in trial_groups(load_speech(SpeechConfig(path=speech)).test)}
    assert list(groups)[:3] == [POOLED, "LibriSpeech", "speechocean762"]
    assert "LibriSpeech, one sex" in groups
    for group in groups.values():
        assert group.labels.any() and not group.labels.all()
