"""A comparison of objectives: run in part, gone on with, read back. Training itself is stood in for: it has its own
tests, and compiling it takes longer than all of these."""

import dataclasses
import shutil

import pytest
from flax import nnx

from jaxspk.errors import ArgumentError, CheckpointError
from jaxspk.systems import (
    CEPSTRAL,
    COMPARED,
    COMPARISON_PRESETS,
    OBJECTIVES,
    POOLED,
    UNTRAINED,
    SpeakerEncoder,
    SpeakerModel,
    TrainedEncoder,
    cell_training,
    read_comparison,
    run_comparison,
    with_training_budget,
)
from jaxspk.systems import _speaker_comparison as comparison
from jaxspk.systems._speaker_objectives import check_utterances
from jaxspk.training import FitResult

ONLY = (CEPSTRAL, UNTRAINED, "softmax")


def stand_in(config, speech, run, *, progress):
    """The network as it is drawn; a budget of time is always used up."""
    model = SpeakerModel(config.system, rngs=nnx.Rngs(config.seed))
    result = FitResult(
        model=model, last=model, step=config.fit.steps, best_step=3, best_score=0.25, skipped=0,
        stopped="steps" if config.fit.max_minutes is None else "time budget", data_wait_share=0.0, seconds=60.0,
        compilations=1,
    )  # fmt: skip
    run.checkpoints.mkdir(exist_ok=True)
    run.log(config.fit.steps, "train", loss=1.0)
    return TrainedEncoder(SpeakerEncoder(config.system, model), tuple(speech.train.speakers), result)


@pytest.fixture(autouse=True, scope="module")
def untrained():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparison, "train_speaker_encoder", stand_in)
        yield


def run(training, folder, **how):
    """What it said while it ran, but the first line."""
    said = []
    run_comparison(training, folder, **{"only": ONLY, "seeds": (4,), **how}, progress=False, say=said.append)
    return said[1:]


@pytest.fixture(scope="module")
def compared(tiny_speakers, tmp_path_factory):
    folder = tmp_path_factory.mktemp("comparison")
    return folder, run(tiny_speakers, folder)


def test_every_cell_leaves_its_errors_and_how_it_was_trained(compared, tiny_speakers):
    folder, said = compared
    results = read_comparison(folder)
    assert [(result.name, result.seed) for result in results] == [(CEPSTRAL, 0), (UNTRAINED, 4), ("softmax", 4)]
    for result in results:
        assert set(result.errors) == {POOLED, "all, one sex"}
        assert result.errors[POOLED]["same"] == 8 and 0 <= result.errors[POOLED]["eer"] <= 1
        assert 0 <= result.identification <= 1
    assert results[0].record["calibrated_cllr"] is None and results[2].record["calibrated_cllr"] > 0
    # The stand-in trains nothing: the cell is the untrained network.
    assert results[1].errors == results[2].errors != results[0].errors
    record = results[2].record
    assert (record["steps"], record["minutes"], record["classes"]) == (tiny_speakers.fit.steps, 1.0, 8)
    place = folder / "softmax" / "seed4"
    assert (place / "model" / "MODEL_CARD.md").is_file() and not (place / "checkpoints").exists()
    assert said == [f"{CEPSTRAL}: testing", f"{UNTRAINED}, seed 4: testing", "softmax, seed 4: training"]


def test_run_again_it_repeats_nothing(compared, tiny_speakers):
    folder, _ = compared
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("cell.json")}
    assert run(tiny_speakers, folder) == [
        f"{CEPSTRAL}: done", f"{UNTRAINED}, seed 4: done", "softmax, seed 4: done",
    ]  # fmt: skip
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("cell.json")}


def test_stopped_by_its_time_a_cell_goes_on_with_more(tiny_speakers, tmp_path):
    budgets = [with_training_budget(tiny_speakers, minutes=minutes) for minutes in (2.0, 2.0, 5.0)]
    said = [run(budget, tmp_path, only=("softmax",)) for budget in (*budgets, tiny_speakers)]
    kinds = [line.rsplit(": ", 1)[1] for lines in said for line in lines]
    assert kinds == ["training", "done", "training", "training"]


def test_other_test_speakers_are_tested_without_training(compared, tiny_speakers, tmp_path):
    folder = shutil.copytree(compared[0], tmp_path / "copy")
    moved = shutil.copytree(tiny_speakers.data.path, tmp_path / "speech")
    again = dataclasses.replace(tiny_speakers, data=dataclasses.replace(tiny_speakers.data, path=moved))
    # The same recordings elsewhere are the same.
    assert all(line.endswith(": done") for line in run(again, folder))
    tested = next(iter(read_comparison(folder))).record["tested"]
    for file in moved.glob("test/wav/*/one/00002.wav"):
        file.unlink()
    assert run(again, folder) == [
        f"{CEPSTRAL}: testing", f"{UNTRAINED}, seed 4: testing", "softmax, seed 4: testing again",
    ]  # fmt: skip
    for result in read_comparison(folder):
        assert result.errors[POOLED]["same"] == 4 and result.record["tested"] != tested
    assert read_comparison(folder)[2].record["steps"] == tiny_speakers.fit.steps


def test_a_cell_of_other_settings_is_refused(compared, tiny_speakers):
    described = (compared[0] / "comparison.json").read_bytes()
    with pytest.raises(CheckpointError, match=r"`fit\.steps`"):
        run(with_training_budget(tiny_speakers, steps=9), compared[0], only=("softmax",))
    assert (compared[0] / "comparison.json").read_bytes() == described


def test_damaged_records_and_unknown_names_are_told(compared, tiny_speakers, tmp_path):
    folder = shutil.copytree(compared[0], tmp_path / "copy")
    (folder / UNTRAINED / "seed4" / "results" / "cell.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"cell\.json: damaged"):
        read_comparison(folder)
    with pytest.raises(ArgumentError, match="only"):
        run(tiny_speakers, folder, only=("sofmax",))
    assert read_comparison(tmp_path) == []


@pytest.mark.parametrize("utterances", [1, 2, 3])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_each_objective_has_the_utterances_it_needs_and_the_crops_of_the_others(tiny_speakers, name, utterances):
    batches = dataclasses.replace(tiny_speakers.batches, speakers=60 // utterances, utterances=utterances)
    cell = cell_training(dataclasses.replace(tiny_speakers, batches=batches), name, 7)
    check_utterances(cell.objective, cell.batches.utterances)
    assert cell.batches.speakers * cell.batches.utterances == 60
    assert cell.seed == 7 and cell.objective.loss == name


def test_with_two_utterances_all_objectives_hear_the_same_batches():
    common = COMPARISON_PRESETS["two-cores"]()
    assert len({cell_training(common, name, 0).batches for name in OBJECTIVES}) == 1
    assert COMPARED[2:] == tuple(OBJECTIVES)


def test_another_budget_keeps_the_proportions():
    common = COMPARISON_PRESETS["two-cores"]()
    half = with_training_budget(common, steps=common.fit.steps // 2, minutes=3.0)
    assert half.fit.validate_every == common.fit.validate_every // 2 and half.fit.max_minutes == 3
    assert half.fit.optimizer.warmup_steps == common.fit.optimizer.warmup_steps // 2
    assert with_training_budget(common) == common
