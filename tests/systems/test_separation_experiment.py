import csv
import dataclasses

import numpy as np
import pytest

from jaxspk import data
from jaxspk.errors import CheckpointError, CorpusError
from jaxspk.systems import Separator, SpeechConfig, load_speech, run_separation


@pytest.fixture(scope="module")
def outcome(tmp_path_factory, tiny_training):
    return run_separation(tiny_training, tmp_path_factory.mktemp("runs") / "run", progress=False)


def read_rows(outcome, name):
    with (outcome.folder / "results" / name).open() as stream:
        return list(csv.DictReader(stream))


def test_a_run_leaves_model_tables_and_list(outcome, tiny_training):
    rows = read_rows(outcome, "mixtures.csv")
    assert len(rows) == 2
    assert float(rows[0]["sdr_improvement"]) == outcome.scores[0].improvement("sdr")
    assert {row["measure"] for row in read_rows(outcome, "summary.csv")} == {"sdr", "sir", "sar", "si_sdr"}
    separator = Separator.load(outcome.model_folder)
    assert separator.config == tiny_training.system
    assert [stage.step for stage in outcome.trained.stages] == [6, 6]
    assert {row["stage"] for row in outcome.metrics} == {"stage1", "stage2"}
    card = (outcome.model_folder / "MODEL_CARD.md").read_text()
    assert "consent" in card and "forensic" in card


def test_the_list_of_test_mixtures_makes_the_same_mixtures(outcome, tiny_training):
    listed = data.read_mixture_list(outcome.folder / "results" / "test_mixtures.csv", root=tiny_training.data.path)
    for one, other in zip(outcome.mixtures, listed, strict=True):
        np.testing.assert_array_equal(one.sources, other.sources)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_run_whatever_the_workers(outcome, tmp_path, tiny_training):
    again = run_separation(dataclasses.replace(tiny_training, workers=0), tmp_path / "again", progress=False)
    assert again.scores == outcome.scores
    first, second = (run.model_folder / "model.safetensors" for run in (outcome, again))
    assert first.read_bytes() == second.read_bytes()


def test_the_command_given_again_repeats_nothing(outcome, tiny_training):
    before = (outcome.folder / "metrics.jsonl").read_bytes()
    again = run_separation(tiny_training, outcome.folder, progress=False)
    assert again.scores == outcome.scores
    assert (outcome.folder / "metrics.jsonl").read_bytes() == before


def test_another_config_is_refused_in_the_same_folder(outcome, tiny_training):
    with pytest.raises(CheckpointError, match="`seed` differs"):
        run_separation(dataclasses.replace(tiny_training, seed=4), outcome.folder, progress=False)


def test_speakers_are_in_one_group_only(corpus):
    speech = load_speech(SpeechConfig(path=corpus, validation=0.25, test=0.25))
    groups = [set(part.speakers) for part in (speech.train, speech.validation, speech.test)]
    assert all(groups)
    assert sum(map(len, groups)) == len(set.union(*groups)) == 8
    assert not speech.held_out_by_corpus


def test_held_out_speakers_are_tested_with_and_never_trained_on(speech):
    lines = (speech / "HELD_OUT.txt").read_text().splitlines()
    held_out = {line.split()[1] for line in lines if line.strip() and not line.startswith("#")}
    found = load_speech(SpeechConfig(path=speech))
    assert found.held_out_by_corpus
    assert set(found.test.speakers) == held_out
    assert len(held_out) == 64
    assert not set(found.test.speakers) & (set(found.train.speakers) | set(found.validation.speakers))


def test_a_folder_without_speech_says_so(tmp_path):
    with pytest.raises(CorpusError, match=str(tmp_path)):
        load_speech(SpeechConfig(path=tmp_path))
