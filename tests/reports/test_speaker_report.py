"""The report of a speaker encoder, from made-up results: what it shows, and that it shows the right trials."""

import dataclasses
import re

import numpy as np
import pytest
from flax import nnx

from jaxspk import audio, reports
from jaxspk.data import Manifest, Utterance
from jaxspk.errors import ArgumentError
from jaxspk.reports import _speaker_report
from jaxspk.systems import (
    CEPSTRAL,
    OBJECTIVES,
    POOLED,
    UNTRAINED,
    ComparisonResult,
    SpeakerOutcome,
    SpeakerTraining,
    Speech,
    TrainedEncoder,
    fit_verification,
    score_verification,
)
from jaxspk.training import FitResult

SPEAKERS, TAKES, DIM, RATE = 10, 4, 8, 8000


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """Ten speakers of four recordings in two corpora, whose vectors are made up: two pairs are hard by construction."""
    folder = tmp_path_factory.mktemp("speaker_report")
    rng = np.random.default_rng(5)
    centres = rng.normal(size=(SPEAKERS, DIM))
    centres[1] = centres[3] + 0.1 * rng.normal(size=DIM)
    vectors = np.repeat(centres, TAKES, axis=0) + 0.55 * rng.normal(size=(SPEAKERS * TAKES, DIM))
    # The first recording of speaker 4 sounds like nobody.
    vectors[4 * TAKES] = -centres[4]
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    utterances = []
    for number in range(SPEAKERS):
        for take in range(TAKES):
            path = folder / f"person{number}" / f"take{take}.wav"
            path.parent.mkdir(exist_ok=True)
            seconds = 7.0 if take == 0 else 0.5
            audio.write_audio(path, (0.1 * rng.normal(size=round(seconds * RATE))).astype(np.float32), RATE)
            corpus = "one" if number < 6 else "two"
            utterances.append(Utterance(path, f"person{number}", seconds, "FM"[number % 2], corpus=corpus))
    manifest = Manifest(tuple(utterances))
    scores = {
        "whole": score_verification(vectors[:, None].astype(np.float32), manifest, resamples=20),
        "ten_crops": score_verification(
            np.repeat(vectors[:, None], 10, 1).astype(np.float32), manifest, protocol="ten_crops", resamples=0
        ),
    }
    pooled = scores["whole"].groups[POOLED]
    rule = fit_verification(pooled.scores, pooled.group.labels, protocol="whole", trials="780 trials of nobody")
    rows = [{"step": step, "split": "train", "loss": 4.0 / step, "learning_rate": 1e-3, "accuracy": step / 60,
             "within": 0.2, "between": 0.9} for step in range(10, 60, 10)]  # fmt: skip
    rows += [{"step": step, "split": "validation", "eer": 0.3 - step / 1000, "spread": 0.8} for step in (25, 50)]
    result = FitResult(
        model=nnx.Module(), last=nnx.Module(), step=50, best_step=50, best_score=0.25, skipped=1, stopped="time budget",
        data_wait_share=0.031, seconds=90.0, compilations=1,
    )  # fmt: skip
    trained = TrainedEncoder.__new__(TrainedEncoder)
    for name, value in (("encoder", None), ("classes", ("a", "b")), ("result", result)):
        object.__setattr__(trained, name, value)
    speech = Speech("made up", manifest, manifest, manifest, False)
    return SpeakerOutcome(folder / "run", SpeakerTraining(), speech, trained, scores, (rule,), tuple(rows))


@pytest.fixture(scope="module")
def page(outcome):
    return reports.write_speaker_report(outcome).read_text(encoding="utf-8")


def test_the_page_shows_everything_that_was_asked_for(page, outcome):
    for heading in (
        "Result", "Scores and calibration", "Voices", "Training", "Hardest trials", "Test speakers", "Settings",
    ):  # fmt: skip
        assert re.search(rf"<h2[^>]*>\s*{heading}", page), heading
    # Detection error trade-off, histogram, calibration, map, two of training.
    assert page.count("<img") == 6
    assert page.count("<audio") == 12
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))
    pooled = outcome.scores["whole"].groups[POOLED].summary
    assert f"{100 * pooled.eer:.2f}" in text and "t-SNE" in text and "780 trials of nobody" in text
    assert "Training was ended by its time budget" in text and "one, one sex" in text
    assert "angular_prototypical" in text


def test_the_hardest_trials_are_those_that_were_made_hard(outcome):
    hardest = _speaker_report.hardest_trials(outcome.scores["whole"])
    people = [[sound.label for group in trial.groups.values() for sound in group] for trial in hardest]
    assert sorted(people[0]) == ["person1 (M)", "person3 (M)"]
    assert people[3] == ["person4 (F)", "person4 (F)"]
    assert [trial.title.split(",")[0] for trial in hardest] == ["Two speakers"] * 3 + ["One speaker"] * 3
    assert all(one == other for one, other in people[3:]) and all(one != other for one, other in people[:3])
    assert len({tuple(sorted(pair)) for pair in people}) == 6
    # Of a long recording the middle is played.
    longest = max((sound for trial in hardest for group in trial.groups.values() for sound in group), key=len_of)
    assert longest.seconds == 6.0


def len_of(sound):
    return sound.waveform.size


def test_without_a_calibration_the_page_says_so(outcome, tmp_path):
    bare = dataclasses.replace(outcome, calibration=(), folder=tmp_path)
    text = reports.write_speaker_report(bare).read_text(encoding="utf-8")
    assert "too few validation speakers" in text and "<h2" in text
    assert text.count("<img") == 5


def test_a_training_stopped_before_its_first_line_still_has_a_page(outcome, tmp_path):
    early = dataclasses.replace(outcome, metrics=outcome.metrics[-1:], folder=tmp_path)
    assert reports.write_speaker_report(early).read_text(encoding="utf-8").count("<img") == 4


def test_every_test_speaker_has_a_row_with_who_comes_nearest(outcome):
    table = reports.speakers_table(outcome.scores["whole"])
    rows = {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    assert len(rows) == SPEAKERS
    assert rows["person1"]["Who that is"] == "person3" and rows["person3"]["Who that is"] == "person1"
    assert rows["person4"]["Own, lowest"] < 0 and rows["person1"]["Recordings"] == TAKES
    pooled = outcome.scores["whole"].groups[POOLED]
    impostors = pooled.scores[~pooled.group.labels]
    assert max(row["Others, highest"] for row in rows.values()) == impostors.max()


def test_the_lines_for_a_terminal_hold_every_group(outcome):
    lines = reports.verification_lines(outcome.scores).splitlines()
    assert len(lines) == 1 + sum(len(found.groups) for found in outcome.scores.values())
    assert f"{100 * outcome.scores['whole'].groups['one'].summary.eer:.2f} %" in lines[2]


# --- Pictures. ---


@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_a_map_says_how_it_was_laid_out_and_is_the_same_every_time(method):
    vectors = np.random.default_rng(0).normal(size=(12, 5))
    speakers = [f"s{number % 3}" for number in range(12)]
    first = reports.speaker_map(vectors, speakers, method=method)
    assert ("t-SNE" in first.caption) == (method == "tsne")
    assert first.image == reports.speaker_map(vectors, speakers, method=method).image
    assert all(f">{name}<".encode() in first.image for name in set(speakers))


def test_few_recordings_are_shown_in_their_principal_plane():
    assert "principal" in reports.speaker_map(np.eye(4)[:, :1], list("abcd"), kinds=list("xxyy")).caption
    with pytest.raises(ArgumentError, match="at least three"):
        reports.speaker_map(np.eye(2), ["a", "b"])
    with pytest.raises(ArgumentError, match="3, 2"):
        reports.speaker_map(np.eye(3), ["a", "b"])


def test_curves_without_an_accuracy_are_refused_and_without_distances_drawn():
    with pytest.raises(ArgumentError, match="accuracy"):
        reports.distance_curves([{"step": 1, "split": "train", "loss": 1.0}])
    assert reports.distance_curves([{"step": 1, "split": "train", "accuracy": 0.5}]).alt


# --- Tables of a comparison. ---


def result(name, seed, eer, *, identification=0.9, trained=True, groups=(POOLED, "one")):
    errors = {
        group: {"same": 10.0, "different": 2000.0, "eer": eer + 0.01 * place, "min_dcf_0.01": 0.5,
                "min_dcf_0.05": 0.25, "min_cllr": 0.2}
        for place, group in enumerate(groups)
    }  # fmt: skip
    record = {"calibrated_cllr": 0.25 if trained else None}
    if trained:
        record |= {"speakers": 40, "utterances": 2, "steps": 100, "minutes": 1.5, "best_step": 80,
                   "validation_eer": 0.1, "stopped": "steps"}  # fmt: skip
    return ComparisonResult(name, seed, errors, identification, record)


RESULTS = [
    result(CEPSTRAL, 0, 0.2, trained=False, identification=0.5),
    result("softmax", 0, 0.10), result("softmax", 1, 0.12), result("softmax", 2, 0.14),
    result("angular_prototypical", 0, 0.09), result("angular_prototypical", 1, 0.13),
]  # fmt: skip

PUBLISHED = [
    {"source": "commit f51bab8 README", "model": "Fast ResNet-34 (SAP)", "objective": "angular prototypical (lite)",
     "test_list": "VoxCeleb1-O", "evaluation_crops": "10", "EER_percent": "2.1792"},
]  # fmt: skip


def cells(table):
    return {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}


def test_errors_come_with_their_spread_over_seeds_and_the_published_figure():
    errors, costs, others, trainings, published = reports.comparison_tables(RESULTS, PUBLISHED)
    rows = cells(errors)
    assert list(rows) == ["baseline: statistics of MFCCs", "softmax", "angular prototypical"]
    assert rows["softmax"]["all trials"] == "12.00 ± 2.00" and rows["softmax"]["one"] == "13.00 ± 2.00"
    assert rows["baseline: statistics of MFCCs"]["all trials"] == "20.00"
    assert rows["angular prototypical"]["published, VoxCeleb1-O"] == "2.1792"
    assert rows["softmax"]["published, VoxCeleb1-O"] is None
    assert "10 and 2" in errors.caption
    assert cells(costs)["softmax"]["all trials, minDCF 0.05"] == "0.250 ± 0.000"
    other = cells(others)
    # Seeds 0 and 1: -1 and +1 percent points.
    assert other["angular prototypical"]["EER less softmax's (% points)"] == "+0.00 ± 1.41"
    assert other["softmax"]["EER less softmax's (% points)"] is None
    assert other["baseline: statistics of MFCCs"]["Cllr (bits)"] is None
    assert other["softmax"]["Named rightly (%)"] == "90.00 ± 0.00"
    assert len(trainings.rows) == 5 and len(published.rows) == 1


def test_what_is_missing_is_left_out():
    tables = reports.comparison_tables([result(UNTRAINED, 0, 0.4, groups=(POOLED,)), RESULTS[1]])
    assert len(tables) == 4
    assert cells(tables[0])["baseline: untrained network"]["one"] is None
    assert "published, VoxCeleb1-O" not in tables[0].columns


def test_rows_hold_every_seed_and_group_unrounded():
    columns, rows = reports.comparison_rows(RESULTS)
    assert len(rows) == 12
    first = dict(zip(columns, rows[2], strict=True))
    assert (first["objective"], first["seed"], first["trials"], first["eer"]) == ("softmax", 0, POOLED, 0.10)
    assert isinstance(first["same"], int) and first["same"] == 10
    assert first["minutes"] == 1.5 and dict(zip(columns, rows[3], strict=True))["identification"] is None
    lines = reports.comparison_lines(RESULTS).splitlines()
    assert len(lines) == 4 and "12.00 ± 2.00" in lines[2]


def test_every_objective_with_a_published_figure_is_one():
    from jaxspk.reports import _speaker_tables

    assert set(_speaker_tables._FIGURES) <= set(OBJECTIVES)
