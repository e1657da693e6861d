"""A grid of separators: what it is made of, what is kept from whom, and that it repeats nothing."""

import dataclasses
import json
import shutil

import pytest

from jaxspk.data import AugmentConfig
from jaxspk.errors import ArgumentError, CheckpointError, CorpusError, ModelError
from jaxspk.systems import (
    GRIDS,
    RECIPES,
    EvaluationSet,
    Grid,
    GridCell,
    OracleNmfConfig,
    SpeechConfig,
    describe_grid,
    ladder_grid,
    read_grid,
    run_grid,
    set_aside,
    table_grid,
    with_budget,
)
from jaxspk.systems._separation_grid import load_grid_speech


@pytest.fixture(scope="session")
def tiny_grid(corpus, tiny_training):
    """Two cells, the second beginning with the first's weights, on a set of each kind."""
    one_stage = dataclasses.replace(tiny_training, stages=tiny_training.stages[:1], validation_mixtures=2)
    network = dataclasses.replace(one_stage.system.network, activation="logistic")
    logistic = dataclasses.replace(one_stage, system=dataclasses.replace(one_stage.system, network=network))
    return Grid(
        cells=(
            GridCell(name="first", training=one_stage, sets=("closed-2", "open-2")),
            GridCell(name="second", training=logistic, starts_from="first", sets=("open-2",), about="logistic"),
        ),
        sets=(
            EvaluationSet(name="closed-2", who="closed", mixtures=2),
            EvaluationSet(name="open-2", who="open", mixtures=2),
        ),
        data=SpeechConfig(path=corpus, validation=0.25, test=0.25),
        closed_utterances=1,
        closed_of_at_least=2,
        nmf=OracleNmfConfig(bases=4, context=2, columns=50, training_iterations=3, iterations=3),
    )


@pytest.fixture(scope="session")
def ran(tiny_grid, tmp_path_factory):
    folder = tmp_path_factory.mktemp("grid") / "grid"
    said = []
    run_grid(tiny_grid, folder, progress=False, say=said.append)
    return folder, said


def test_utterances_put_aside_are_some_of_those_who_have_enough(tiny_grid):
    found = load_grid_speech(tiny_grid)
    train, closed = found.speech.train, found.closed
    assert set(closed.speakers) == set(train.speakers)
    assert not {u.path for u in closed} & {u.path for u in train}
    assert all(len(own) == 1 for own in closed.by_speaker().values())
    again, _ = set_aside(train, utterances=1, of_at_least=2, seed=0)
    assert len(again) == len(train)


def test_no_speaker_is_in_two_of_closed_validation_and_open_sets(tiny_grid):
    found = load_grid_speech(tiny_grid)
    groups = [set(found.closed.speakers), set(found.speech.validation.speakers), set(found.speech.test.speakers)]
    assert all(groups) and sum(map(len, groups)) == len(set.union(*groups))
    for which in tiny_grid.sets:
        speakers = {u.speaker for m in found.mixtures(tiny_grid, which) for u in m.utterances}
        assert speakers <= groups[{"closed": 0, "open": 2}[which.who]]


@pytest.mark.slow
def test_everything_is_scored_and_read_back(ran):
    folder, _ = ran
    results = {result.name: result for result in read_grid(folder)}
    assert set(results) == {"first", "second", "ideal-mask", "oracle-nmf"}
    assert set(results["first"].scores) == {"closed-2", "open-2"}
    assert set(results["second"].scores) == {"open-2"}
    assert set(results["oracle-nmf"].scores) == {"closed-2"}
    methods = {score.method for score in results["first"].scores["open-2"]}
    assert methods == {"oracle k-means", "global k-means"}
    ideal = results["ideal-mask"].scores["open-2"]
    ours = results["first"].scores["open-2"]
    assert {score.mixture for score in ideal} == {score.mixture for score in ours}
    assert min(score.improvement() for score in ideal) > max(score.improvement() for score in ours) - 1
    assert results["second"].record["starts_from"] == "first"
    assert results["first"].record["steps"] == 6


@pytest.mark.slow
def test_the_second_began_with_the_weights_of_the_first(ran):
    folder, _ = ran
    first, second = (
        json.loads((folder / name / "seed0/results/cell.json").read_text()) for name in ("first", "second")
    )
    assert second["start_weights"] == first["weights"] != second["weights"]


@pytest.mark.slow
def test_run_again_it_repeats_nothing(ran, tiny_grid):
    folder, said = ran
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "grid.json")
    before = {path: path.stat().st_mtime_ns for path in files if path.suffix in (".csv", ".safetensors", ".jsonl")}
    again = []
    run_grid(tiny_grid, folder, progress=False, say=again.append)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert any("training" in line for line in said[1:])
    assert all("was scored" in line for line in again[1:])


@pytest.mark.slow
def test_another_number_of_mixtures_scores_anew_and_trains_nothing(ran, tiny_grid, tmp_path):
    folder = tmp_path / "grid"
    shutil.copytree(ran[0], folder)
    weights = (folder / "first/seed0/model/model.safetensors").stat().st_mtime_ns
    sets = tuple(dataclasses.replace(which, mixtures=3) for which in tiny_grid.sets)
    # The second's start is named by its folder, which was moved here.
    run_grid(dataclasses.replace(tiny_grid, sets=sets), folder, only=["first"], progress=False)
    results = {result.name: result for result in read_grid(folder)}
    assert len(results["first"].scores["open-2"]) == 2 * 3
    assert (folder / "first/seed0/model/model.safetensors").stat().st_mtime_ns == weights


@pytest.mark.slow
def test_a_time_budget_stops_a_cell_and_more_time_goes_on(tiny_grid, tmp_path):
    soon = with_budget(tiny_grid, minutes=1e-6)
    run_grid(soon, tmp_path / "grid", only=["first"], progress=False)
    (result,) = read_grid(tmp_path / "grid")
    assert result.record["stopped"] == "time budget" and result.record["steps"] < 6
    said = []
    run_grid(soon, tmp_path / "grid", only=["first"], progress=False, say=said.append)
    assert not any("training" in line for line in said[1:])
    run_grid(tiny_grid, tmp_path / "grid", only=["first"], progress=False)
    (result,) = read_grid(tmp_path / "grid")
    assert result.record["stopped"] == "steps" and result.record["steps"] == 6


@pytest.mark.slow
def test_several_seeds_are_several_trainings(ran, tiny_grid, tmp_path):
    folder = tmp_path / "grid"
    shutil.copytree(ran[0], folder)
    run_grid(tiny_grid, folder, only=["first"], seeds=(0, 1), progress=False)
    one, two = (result for result in read_grid(folder) if result.name == "first")
    assert (one.seed, two.seed) == (0, 1)
    assert one.record["weights"] != two.record["weights"]
    assert [s.mixture for s in one.scores["open-2"]] == [s.mixture for s in two.scores["open-2"]]


@pytest.mark.slow
def test_other_settings_in_the_same_folder_are_refused(ran, tiny_grid):
    with pytest.raises(CheckpointError, match=r"stages\[0\].fit.steps"):
        run_grid(with_budget(tiny_grid, steps=5), ran[0], only=["first"], progress=False)


def test_a_cell_whose_start_is_missing_says_how_to_get_it(tiny_grid, tmp_path):
    with pytest.raises(ArgumentError, match="--only first second"):
        run_grid(tiny_grid, tmp_path / "grid", only=["second"], progress=False)


@pytest.mark.slow
def test_a_start_that_was_trained_again_is_noticed(ran, tiny_grid, tmp_path):
    record = ran[0] / "second/seed0/results/cell.json"
    kept = record.read_text()
    record.write_text(kept.replace(json.loads(kept)["start_weights"], "0" * 64))
    try:
        with pytest.raises(CheckpointError, match="weights that 'first' no longer has; remove this folder"):
            run_grid(tiny_grid, ran[0], only=["second"], progress=False)
    finally:
        record.write_text(kept)


def test_refused_grids(as_a_user, tiny_grid):
    with pytest.raises(ArgumentError, match="`only` must be one of 'ideal-mask', 'oracle-nmf', 'first', 'second'"):
        run_grid(tiny_grid, "nowhere", only=["third"])
    with pytest.raises(ArgumentError, match="different names"):
        dataclasses.replace(tiny_grid, cells=tiny_grid.cells[:1] * 2)
    with pytest.raises(ArgumentError, match="`starts_from of cell 'second'`"):
        dataclasses.replace(tiny_grid, cells=tiny_grid.cells[::-1])
    with pytest.raises(ArgumentError, match="a set of cell 'first'"):
        dataclasses.replace(tiny_grid, sets=())


def test_a_set_without_enough_speakers_is_named(tiny_grid, tmp_path):
    sets = (*tiny_grid.sets, EvaluationSet(name="crowd", who="open", speakers=9))
    with pytest.raises(CorpusError, match="set 'crowd': mixtures need 9 different speakers"):
        run_grid(dataclasses.replace(tiny_grid, sets=sets), tmp_path / "grid", only=["ideal-mask"], progress=False)


# --- The grids of the paper and of the ladder. ---


def test_the_tables_have_a_cell_for_each_of_the_paper_networks():
    grid = table_grid(RECIPES["paper"]())
    cells = {cell.name: cell for cell in grid.cells}
    assert set(cells) == {
        "tanh-5", "tanh-10", "tanh-20", "tanh-40", "tanh-60", "logistic-40", "balanced", "female", "three",
    }  # fmt: skip
    assert cells["tanh-40"].training.system.network.units == 600
    assert cells["tanh-5"].training.system.network.dim == 5
    assert cells["logistic-40"].training.system.network.activation == "logistic"
    assert cells["balanced"].training.mixtures.genders == ("FF", "FM", "MM")
    assert cells["three"].training.mixtures.speakers == 3
    assert {name for name, cell in cells.items() if cell.starts_from} == {"logistic-40", "balanced", "female"}
    assert cells["tanh-40"].sets == ("closed-2", "open-2", "closed-3", "open-3")


def test_each_rung_of_the_ladder_is_one_change_at_the_same_number_of_frames():
    grid = ladder_grid(RECIPES["two-cores"]())
    names = [cell.name for cell in grid.cells]
    assert names == [
        "plain", "more-mixtures", "magnitude-ratio", "augmentation", "dropout", "deeper", "curriculum",
    ]  # fmt: skip

    def frames(training):
        return sum(stage.fit.steps * stage.batch_size * stage.frames for stage in training.stages)

    assert len({frames(cell.training) for cell in grid.cells}) == 1
    last = grid.cells[-1].training
    assert last.system.network.layers == 3 and last.system.network.dropout == 0.2
    assert last.training_mixtures is None and last.augment != AugmentConfig()
    assert grid.cells[0].training.training_mixtures == 4000
    with pytest.raises(ArgumentError, match="one stage"):
        ladder_grid(RECIPES["modern"]())


@pytest.mark.parametrize("name", sorted(GRIDS))
def test_a_budget_scales_all_alike(name):
    grid = GRIDS[name](RECIPES["two-cores"]())
    half = with_budget(grid, steps=600, minutes=10.0)
    for before, after in zip(grid.cells, half.cells, strict=True):
        for old, new in zip(before.training.stages, after.training.stages, strict=True):
            assert new.fit.steps == pytest.approx(old.fit.steps * 600 / 3000, abs=1)
            assert new.fit.max_minutes == pytest.approx(10 * old.fit.steps / 3000)
            assert 1 <= new.fit.validate_every <= new.fit.steps
    lines = describe_grid(half)
    assert len(lines) == 3 + len(grid.cells) and "600 × 16 × 100" in "\n".join(lines)


@pytest.mark.slow
def test_weights_of_another_size_are_refused_by_name(ran, tiny_grid, tmp_path):
    from jaxspk.systems import run_separation

    training = tiny_grid.cells[0].training
    network = dataclasses.replace(training.system.network, dim=5)
    other = dataclasses.replace(
        training,
        system=dataclasses.replace(training.system, network=network),
        initial_model=ran[0] / "first/seed0/model",
        data=tiny_grid.data,
    )
    with pytest.raises(ModelError, match="its bias has shape"):
        run_separation(other, tmp_path / "run", progress=False)
