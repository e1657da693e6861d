"""Grids of u-vectors: their cells, presets and rows; run in part, gone on with, read back. Training is stood in for."""

import dataclasses

import numpy as np
import pytest
from flax import nnx

from jaxspk.data import SegmentConfig, Segments, SpeakerTruth, interval_statistics
from jaxspk.errors import ArgumentError
from jaxspk.systems import (
    CHOSEN_RUNG,
    HELD_OUT_RUNG,
    TWINS,
    U_VECTOR_PRESETS,
    ClusteredSegments,
    CurvePoint,
    FrameNetworkConfig,
    SpeakerSegments,
    TrainedUVectors,
    UVectorConfig,
    UVectorLearner,
    UVectorOutcome,
    UVectorScore,
    UVectorTraining,
    describe_cells,
    held_out_cell,
    paper_cells,
    paper_steps,
    prepare_u_vector_data,
    read_u_vector_cells,
    read_u_vector_grid,
    run_u_vector_cells,
    u_vector_ladder,
    with_twin,
    with_u_vector_budget,
)
from jaxspk.systems import _u_vector_grid as grid
from jaxspk.systems._u_vector_experiment import write_u_vector_scores
from jaxspk.training import FitResult, config_to_dict

NUMBERS = {f"{prefix}{name}": 0.5 for prefix in ("", "noise_") for name in ("accuracy", "nmi", "ari", "ami")}


# --- Cells. ---


def test_the_papers_grid_has_a_cell_for_every_speakers_impurity_and_loss():
    cells = paper_cells(U_VECTOR_PRESETS["paper"](), epochs=1200)
    assert len(cells) == 4 * 3 * 2
    by_name = {cell.name: cell.experiment for cell in cells}
    largest = by_name["pairwise-150-0.1"]
    assert (largest.speech.speakers, largest.speech.impurity) == (150, 0.1)
    assert largest.training.fit.steps == paper_steps(150) == 69_600
    assert by_name["triplet-25-0"].training.classwise.objective.loss == "semi_hard_triplet"
    assert by_name["triplet-25-0"].training.classwise.frames <= 5
    assert sum(cell.baselines for cell in cells) == 4


def test_names_tell_the_released_protocol_and_the_speakers_kept_for_testing():
    released = U_VECTOR_PRESETS["released"]()
    assert paper_cells(released, speakers=(25,))[0].name == "pairwise-25-0-released"
    held_out = dataclasses.replace(released, speech=dataclasses.replace(released.speech, held_out=True))
    assert paper_cells(held_out, speakers=(25,))[0].name == "pairwise-25-0-released-test"
    with pytest.raises(ArgumentError, match="twins"):
        paper_cells(released, twins=("quadruplet",))


def test_a_batch_asks_for_no_more_than_there_is():
    cell = paper_cells(U_VECTOR_PRESETS["cpu"](), speakers=(5,), impurities=(0.0,), twins=("prototypical",))[0]
    assert cell.experiment.training.classwise.classes == 50
    assert cell.experiment.training.pairwise.pairs == 250


@pytest.mark.parametrize("name", U_VECTOR_PRESETS)
def test_presets_are_never_chosen_by_who_speaks(name):
    made = U_VECTOR_PRESETS[name]()
    assert made.training.fit.score == "link_error"
    assert made.speech.protocol == ("as_released" if name == "released" else "as_described")
    assert made.training.system.network.network == ("statistics" if name in ("quick", "cpu") else "densenet121")
    assert not made.speech.held_out


@pytest.mark.parametrize("twin", TWINS)
def test_twins_differ_in_the_loss_alone(twin):
    made = U_VECTOR_PRESETS["cpu"]()
    other = with_twin(made, twin)
    assert other.training.twin == ("pairwise" if twin == "pairwise" else "classwise")
    assert (other.speech, other.training.system, other.training.fit) == (
        made.speech, made.training.system, made.training.fit,
    )  # fmt: skip


def test_a_budget_keeps_the_share_of_everything_that_happens_on_the_way():
    made = U_VECTOR_PRESETS["paper"]()
    less = with_u_vector_budget(made, steps=1080, minutes=2.0).training.fit
    assert (less.steps, less.max_minutes) == (1080, 2.0)
    assert less.steps // less.validate_every == made.training.fit.steps // made.training.fit.validate_every == 60


def test_each_row_of_the_ladder_is_another_one_with_one_change():
    cells = {cell.name: cell for cell in u_vector_ladder()}
    for name, cell in cells.items():
        if not cell.against:
            assert name == "paper"
            continue
        before, now = (config_to_dict(cells[which].experiment) for which in (cell.against, name))
        changed = {
            (part, key) for part in ("speech", "training") for key in now[part] if now[part][key] != before[part][key]
        }
        # Of groups that are dealt from whole frames, none overlap.
        expected = {CHOSEN_RUNG: 0, "as-released": 2}.get(name, 1)
        assert len(changed - {("training", "fit")}) == expected, (name, changed)
    assert cells[CHOSEN_RUNG].experiment.training.system == U_VECTOR_PRESETS["cpu"]().training.system
    assert cells[CHOSEN_RUNG].experiment.training.fit == U_VECTOR_PRESETS["cpu"]().training.fit
    assert {name for name, cell in cells.items() if cell.beyond} == {"recordings", "more-speech", "as-released"}


def test_the_held_out_row_is_the_chosen_one_on_the_speakers_kept_for_testing():
    chosen = next(cell for cell in u_vector_ladder() if cell.name == CHOSEN_RUNG)
    held_out = held_out_cell()
    assert held_out.experiment.training == chosen.experiment.training
    assert held_out.experiment.speech.held_out and held_out.experiment.speech.speakers is None
    assert HELD_OUT_RUNG not in {cell.name for cell in u_vector_ladder()}
    assert len(describe_cells([chosen, held_out])) == 3


# --- Runs. ---

CUT = SegmentConfig(frame_seconds=0.01, frames=4)


@pytest.fixture
def done(monkeypatch):
    """What was trained, by name of its folder; the speech is made up."""
    trained, labels = [], np.repeat(np.arange(4), 3)
    system = UVectorConfig(segments=CUT, network=FrameNetworkConfig(network="statistics", dim=2, units=0))
    learner = UVectorLearner(UVectorTraining(system=system), classes=2, rngs=nnx.Rngs(0))
    segments = Segments(
        frames=np.random.default_rng(0).normal(size=(12, 4, 160)).astype(np.float32),
        recordings=labels,
        starts=np.zeros(12, int),
        paths=(),
        config=CUT,
        statistics=interval_statistics([], CUT),
    )
    there = SpeakerSegments("made up", segments, SpeakerTruth(tuple("abcd"), labels), None)

    def stand_in(experiment, place, *, there, baselines, progress, say):
        trained.append(f"{place.parent.name}/{place.name}")
        made = prepare_u_vector_data(experiment.speech, there)
        score = UVectorScore(
            "u-vectors", "clustered", "speakers", "segments", "all",
            {"items": 12, "classes": 4, "clusters": 4}, NUMBERS,
        )  # fmt: skip
        write_u_vector_scores(place / "results" / "scores.csv", [score])
        point = CurvePoint(1, 0.5, "speakers", "frames", 0.1, 0.2, 0.3)
        (place / "results" / "curves.csv").write_text(",".join(point._fields) + "\n" + ",".join(map(str, point)) + "\n")
        (place / "checkpoints").mkdir()
        budget = experiment.training.fit.max_minutes
        result = FitResult(
            model=learner, last=learner, step=5, best_step=5, best_score=0.1, skipped=0, data_wait_share=0.0,
            stopped="steps" if budget is None else "time budget", seconds=60.0, compilations=1,
        )  # fmt: skip
        return UVectorOutcome(
            folder=place,
            config=experiment,
            made=made,
            trained=TrainedUVectors(learner.model, made.labelled.protocol, made.labelled.uses_labels, result),
            scores=(score,),
            curves=(point,),
            clustered=ClusteredSegments(np.zeros((12, 2)), labels, labels),
            metrics=(),
        )

    monkeypatch.setattr(grid, "run_u_vectors", stand_in)
    monkeypatch.setattr(grid, "read_speaker_segments", lambda speech, cut: there)
    monkeypatch.setattr(grid, "_describe_corpus", lambda *arguments: None)
    return trained


@pytest.fixture(scope="module")
def cells():
    recipe = U_VECTOR_PRESETS["cpu"]()
    speech = dataclasses.replace(recipe.speech, segments=3, hop_seconds=None)
    return paper_cells(dataclasses.replace(recipe, speech=speech), speakers=(2, 3), impurities=(0.0,))


def test_any_part_runs_and_nothing_runs_twice(done, cells, tmp_path):
    run_u_vector_cells(cells, tmp_path, only=("triplet-3-0",), seeds=(0, 2), progress=False)
    assert done == ["triplet-3-0/seed0", "triplet-3-0/seed2"]
    said = []
    run_u_vector_cells(cells, tmp_path, progress=False, say=said.append)
    assert sorted(done[2:]) == ["pairwise-2-0/seed0", "pairwise-3-0/seed0", "triplet-2-0/seed0"]
    assert "triplet-3-0, seed 0: done" in said
    results = read_u_vector_cells(tmp_path)
    assert [(result.name, result.seed) for result in results] == [
        ("pairwise-2-0", 0), ("pairwise-3-0", 0), ("triplet-2-0", 0), ("triplet-3-0", 0), ("triplet-3-0", 2),
    ]  # fmt: skip
    first = results[0]
    assert first.record["speakers"] == 2 and first.record["twin"] == "pairwise" and not first.record["uses_labels"]
    assert first.scores[0].scores == NUMBERS and first.curves[0].ari == 0.3
    assert not (tmp_path / "pairwise-2-0" / "seed0" / "checkpoints").exists()
    assert read_u_vector_grid(tmp_path) is None


def test_what_its_time_ended_goes_on_with_more(done, cells, tmp_path):
    def with_minutes(minutes):
        experiment = with_u_vector_budget(cells[0].experiment, minutes=minutes)
        return [dataclasses.replace(cells[0], experiment=experiment)]

    for minutes in (1.0, 1.0, 0.5):
        run_u_vector_cells(with_minutes(minutes), tmp_path, progress=False)
    assert len(done) == 1
    (tmp_path / "pairwise-2-0" / "seed0" / "checkpoints").rmdir()
    run_u_vector_cells(with_minutes(2.0), tmp_path, progress=False)
    assert len(done) == 2


def test_unknown_names_are_refused(done, cells, tmp_path):
    with pytest.raises(ArgumentError, match="`only` must be one of"):
        run_u_vector_cells(cells, tmp_path, only=("nothing",))
    with pytest.raises(ArgumentError, match="different names"):
        run_u_vector_cells([*cells, cells[0]], tmp_path)
    assert not done
