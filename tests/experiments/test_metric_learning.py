"""The command of speaker verification: presets, the comparison of objectives and its tables; slowly, both for real."""

import csv
import dataclasses
import sys

import pytest

from experiments import metric_learning, objective_comparison
from experiments.objective_comparison import ComparisonConfig, read_published, run_objectives, write_tables
from jaxspk.data import SpeakerBatchConfig
from jaxspk.errors import CorpusError
from jaxspk.systems import (
    CEPSTRAL,
    COMPARED,
    COMPARISON_PRESETS,
    OBJECTIVES,
    SPEAKER_PRESETS,
    UNTRAINED,
    EncoderConfig,
    SpeakerConfig,
)
from jaxspk.systems._records import write_record
from jaxspk.training import FitConfig


def asked(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["metric_learning", *words])
    return metric_learning.command_line()


@pytest.mark.parametrize("name", SPEAKER_PRESETS)
def test_presets_are_trainings_whose_every_setting_can_be_changed(monkeypatch, name):
    config = asked(monkeypatch, name, "--seed", "3", "--objective.loss", "triplet", "--workdir", "elsewhere")
    assert isinstance(config, metric_learning.Config)
    assert (config.seed, config.objective.loss, str(config.workdir)) == (3, "triplet", "elsewhere")
    assert config.system == SPEAKER_PRESETS[name]().system


def test_a_comparison_is_asked_for_in_one_word(monkeypatch):
    config = asked(monkeypatch, "compare", "--only", "softmax", "ge2e_softmax", "--seeds", "0", "5", "-o", "out")
    assert isinstance(config, ComparisonConfig)
    assert config.only == ("softmax", "ge2e_softmax") and config.seeds == (0, 5) and str(config.output) == "out"


def test_the_help_of_the_comparison_names_what_one_needs(capsys, monkeypatch):
    with pytest.raises(SystemExit) as ended:
        asked(monkeypatch, "compare", "--help")
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    for word in ("--only", "--steps", "--minutes", "--seeds", "--recipe", "--workdir", "--gather-only", "goes on"):
        assert word in printed


def test_the_names_can_be_listed(capsys):
    assert run_objectives(ComparisonConfig(list=True), say=pytest.fail) is None
    assert capsys.readouterr().out.split() == list(COMPARED)


def test_all_objectives_share_a_budget_that_can_be_changed():
    common = objective_comparison.common_training(ComparisonConfig(steps=100, minutes=1.5, utterances=4))
    preset = COMPARISON_PRESETS["two-cores"]()
    assert (common.fit.steps, common.fit.max_minutes) == (100, 1.5)
    assert common.batches.utterances == 4
    assert common.batches.speakers * 4 == preset.batches.speakers * preset.batches.utterances
    assert common.system == preset.system


def test_the_published_figures_are_those_that_were_read():
    published = read_published()
    assert len(published) == 17
    first = published[0]
    assert first["EER_percent"] == "2.1792" and first["objective"].startswith("angular prototypical")


# --- Gathering. ---


def cell(folder, name, seed, eer):
    errors = [
        {"trials": group, "same": 10, "different": 90, "eer": eer, "eer_low": "", "eer_high": "", "min_dcf_0.01": 0.5,
         "min_dcf_0.05": 0.3, "min_cllr": 0.2, "identification": ""}
        for group in ("all", "LibriSpeech")
    ]  # fmt: skip
    record = {"errors": errors, "identification": 0.75, "calibrated_cllr": None, "tested": "x"}
    if name in OBJECTIVES:
        record |= {"speakers": 40, "utterances": 2, "steps": 7, "minutes": 0.5, "best_step": 5, "validation_eer": 0.1,
                   "stopped": "steps"}  # fmt: skip
    write_record(folder / name / f"seed{seed}" / "results" / "cell.json", record)


@pytest.fixture
def gathered(tmp_path):
    folder = tmp_path / "comparison"
    described = {"speech": "nobody", "training": {
        "system": {"encoder": {"network": "tdnn", "width": 8, "dim": 4, "pooling": "asp"}},
        "batches": {"speakers": 40, "utterances": 2, "seconds": 1.5}, "fit": {"steps": 7},
    }}  # fmt: skip
    write_record(folder / "comparison.json", described)
    for name, seed, eer in ((CEPSTRAL, 0, 0.2), ("softmax", 0, 0.05), ("softmax", 10, 0.07), ("softmax", 2, 0.06)):
        cell(folder, name, seed, eer)
    return ComparisonConfig(workdir=folder, gather_only=True, output=tmp_path / "docs" / "objectives")


def test_gathering_needs_no_speech_and_no_training(gathered, capsys):
    page = run_objectives(gathered, say=pytest.fail)
    text = page.read_text(encoding="utf-8")
    assert page == gathered.output.with_suffix(".md")
    assert "| softmax | 6.00 ± 1.00 | 6.00 ± 1.00 |" in text and "tdnn, width 8" in text
    assert "2.1792" in text and "nobody. Nobody" in text
    with (page.parent / "objectives.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["objective"], row["seed"]) for row in rows[::2]] == [
        (CEPSTRAL, "0"), ("softmax", "0"), ("softmax", "2"), ("softmax", "10"),
    ]  # fmt: skip
    assert "6.00 ± 1.00" in capsys.readouterr().out


def test_nothing_to_gather_says_so(tmp_path):
    with pytest.raises(CorpusError, match="holds no results of a comparison"):
        write_tables(ComparisonConfig(workdir=tmp_path, gather_only=True))


# --- For real. ---


@pytest.mark.slow
def test_a_comparison_runs_goes_on_and_ends_in_tables(spoken, tmp_path, monkeypatch, capsys):
    tiny = dataclasses.replace(
        SPEAKER_PRESETS["quick"](),
        system=SpeakerConfig(encoder=EncoderConfig(network="tdnn", dim=8, pooling="asp", width=8)),
        batches=SpeakerBatchConfig(speakers=6, utterances=2, seconds=0.5),
        fit=FitConfig(steps=4, validate_every=2, checkpoint_every=2, log_every=1, score="eer"),
    )
    monkeypatch.setitem(objective_comparison.COMPARISON_PRESETS, "quick", lambda: tiny)
    config = ComparisonConfig(data=spoken, recipe="quick", only=("softmax", UNTRAINED), seeds=(0,), workdir=tmp_path)
    run_objectives(config, say=lambda line: None, progress=False)
    said = []
    more = dataclasses.replace(config, only=("softmax", "contrastive", CEPSTRAL))
    page = run_objectives(more, say=said.append, progress=False)
    assert said[1:] == [f"{CEPSTRAL}: testing", "softmax, seed 0: done", "contrastive, seed 0: training"]
    text = page.read_text(encoding="utf-8")
    assert all(f"| {name} |" in text for name in ("softmax", "contrastive", "baseline: untrained network"))


@pytest.mark.slow
def test_one_encoder_is_trained_reported_and_packaged(spoken, tmp_path, capsys):
    config = metric_learning.Config(
        data=spoken,
        system=SpeakerConfig(encoder=EncoderConfig(network="tdnn", dim=8, pooling="asp", width=8)),
        batches=SpeakerBatchConfig(speakers=6, utterances=2, seconds=0.5),
        fit=FitConfig(steps=4, validate_every=2, checkpoint_every=2, log_every=1, score="eer"),
        workdir=tmp_path / "run",
        package=tmp_path / "packaged",
    )
    outcome = metric_learning.main(config, progress=False)
    assert (tmp_path / "run" / "report.html").is_file()
    assert "CC BY 4.0" in (tmp_path / "packaged" / "MODEL_CARD.md").read_text(encoding="utf-8")
    printed = capsys.readouterr().out
    assert f"{100 * outcome.scores['whole'].groups['all'].summary.eer:.2f} %" in printed
