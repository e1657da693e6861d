"""The command of the u-vectors: presets, grid, ladder and their tables; slowly, trainings for real."""

import csv
import dataclasses
import json
import sys

import jax
import numpy as np
import pytest
from flax import nnx

from experiments import u_vector_tables, u_vectors
from experiments.u_vector_tables import (
    GridConfig,
    LadderConfig,
    grid_cells,
    ladder_cells,
    read_durations,
    read_figures,
    run_grid_tables,
    run_ladder_tables,
    write_grid_tables,
)
from jaxspk.data import PseudoLabelled, generated_noises
from jaxspk.errors import CorpusError
from jaxspk.reports import DOUBTED, PAPER_DATASETS
from jaxspk.systems import (
    U_VECTOR_PRESETS,
    ClasswiseConfig,
    SpeechConfig,
    UVectorLearner,
    find_score,
    read_u_vector_cells,
    u_vector_batches,
    u_vector_objective,
)
from jaxspk.training import read_metrics


def asked(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["u_vectors", *words])
    return u_vectors.command_line()


@pytest.mark.parametrize("name", U_VECTOR_PRESETS)
def test_presets_are_experiments_whose_every_setting_can_be_changed(monkeypatch, name):
    config = asked(monkeypatch, name, "--training.seed", "3", "--speech.speakers", "50", "--workdir", "elsewhere")
    assert isinstance(config, u_vectors.Config)
    assert (config.training.seed, config.speech.speakers, str(config.workdir)) == (3, 50, "elsewhere")
    assert config.training.system == U_VECTOR_PRESETS[name]().training.system


def test_grid_ladder_and_tables_are_asked_for_in_one_word(monkeypatch):
    grid = asked(monkeypatch, "grid", "--speakers", "25", "50", "--twins", "pairwise", "--recipe", "paper")
    assert isinstance(grid, GridConfig) and grid.speakers == (25, 50) and not grid.gather_only
    assert len(grid_cells(grid)) == 2 * 3
    tables = asked(monkeypatch, "tables", "-o", "out")
    assert isinstance(tables, GridConfig) and tables.gather_only and str(tables.output) == "out"
    ladder = asked(monkeypatch, "ladder", "--seeds", "0", "1", "--held-out")
    assert isinstance(ladder, LadderConfig) and ladder.seeds == (0, 1) and ladder.held_out


def test_the_help_names_what_one_needs(capsys, monkeypatch):
    for command in ("grid", "ladder"):
        with pytest.raises(SystemExit) as ended:
            asked(monkeypatch, command, "--help")
        assert ended.value.code == 0
        printed = capsys.readouterr().out
        for word in ("--only", "--seeds", "--workdir", "--gather-only", "--list", "passed"):
            assert word in printed


def test_cells_and_rows_can_be_listed(capsys):
    assert run_grid_tables(GridConfig(list=True, speakers=(25,)), say=pytest.fail) is None
    assert "triplet-25-0.05" in capsys.readouterr().out
    assert run_ladder_tables(LadderConfig(list=True), say=pytest.fail) is None
    printed = capsys.readouterr().out
    assert "held-out" in printed and "paper" in printed


def test_the_recipe_can_be_given_the_other_protocol_and_the_papers_epochs():
    config = GridConfig(recipe="cpu", protocol="as_released", speakers=(25,), impurities=(0.0,), epochs=10)
    cell = grid_cells(config)[0]
    assert cell.name == "pairwise-25-0-released"
    assert cell.experiment.speech.hop_seconds is None and cell.experiment.training.fit.steps == 90
    assert grid_cells(dataclasses.replace(config, epochs=None, steps=7))[0].experiment.training.fit.steps == 7
    assert {cell.experiment.training.fit.steps for cell in ladder_cells(LadderConfig(steps=5))} == {5}


def test_the_papers_figures_are_read_and_its_doubtful_rows_are_among_them():
    figures = read_figures()
    assert len(figures) == 72
    assert figures["LIBRI", 25, "ground", 0.0] == {"ACC": 0.946, "NMI": 0.983, "ARI": 0.935}
    assert set(DOUBTED) <= set(figures)
    assert {dataset for dataset, *_ in figures} == set(PAPER_DATASETS.values())
    assert [row["dataset"] for row in read_durations()] == ["TIMIT", "LibriSpeech", "Bengali ASR"]


def test_nothing_to_gather_says_so(tmp_path):
    with pytest.raises(CorpusError, match="holds no results"):
        write_grid_tables(tmp_path, tmp_path / "tables")


# --- For real. ---


@pytest.fixture(scope="module")
def finished(spoken, tmp_path_factory):
    """Two cells of the grid on the smallest of everything."""
    config = GridConfig(
        data=dataclasses.replace(spoken, validation=0.1, test=0.2), recipe="quick", speakers=(6,), impurities=(0.0,),
        twins=("pairwise", "prototypical"), segments=2, steps=6, workdir=tmp_path_factory.mktemp("grid"),
    )  # fmt: skip
    run_grid_tables(config, say=lambda line: None, progress=False)
    return config


@pytest.mark.slow
def test_a_grid_ends_in_tables_figures_and_a_report(finished, tmp_path):
    said = []
    run_grid_tables(finished, say=said.append, progress=False)
    assert said == ["pairwise-6-0, seed 0: done", "prototypical-6-0, seed 0: done"]
    page = run_grid_tables(
        dataclasses.replace(finished, gather_only=True, output=tmp_path / "u_vectors"), say=pytest.fail
    )
    text = page.read_text(encoding="utf-8")
    assert "Table 2" in text and "as Tables 3 to 5".lower() in text.lower() and "without labels" in text.lower()
    with (tmp_path / "u_vectors.csv").open() as stream:
        assert {row["cell"] for row in csv.DictReader(stream)} == {"pairwise-6-0", "prototypical-6-0"}
    assert "cluster 1" in (tmp_path / "u_vectors.html").read_text(encoding="utf-8")
    results = read_u_vector_cells(finished.workdir)
    assert all(find_score(result.scores) is not None for result in results)
    assert u_vector_tables.grid_figures(results) == {}
    twenty_five = [dataclasses.replace(r, record={**r.record, "speakers": 25}) for r in results]
    assert list(u_vector_tables.grid_figures(twenty_five)) == [3]


@pytest.mark.slow
def test_the_quick_preset_finds_voices_it_was_not_told_of(tmp_path, capsys):
    config = dataclasses.replace(u_vectors.preset("quick"), workdir=tmp_path / "quick")
    outcome = u_vectors.main(config, progress=False)
    found = find_score(outcome.scores)
    assert found.scores["ari"] > 0.8 > abs(found.scores["noise_ari"])
    assert "without labels" in capsys.readouterr().out
    assert (tmp_path / "quick" / "report.html").stat().st_size > 10_000
    saved = json.loads((tmp_path / "quick" / "config.json").read_text())
    assert saved["config"]["speech"]["protocol"] == "as_described"
    assert min(line["loss"] for line in read_metrics(tmp_path / "quick") if line["split"] == "train") < 2.5


@pytest.mark.slow
def test_a_ladder_runs_any_row(spoken, tmp_path):
    speech = dataclasses.replace(spoken, validation=0.1, test=0.2)
    config = LadderConfig(data=speech, speakers=6, segments=2, steps=4, workdir=tmp_path, only=("dim-64", "recordings"))
    assert isinstance(speech, SpeechConfig)
    with pytest.MonkeyPatch.context() as patch:
        small = ClasswiseConfig(classes=10, frames=3)
        cells = u_vector_tables.ladder_cells(config)
        cells = [
            dataclasses.replace(
                cell,
                experiment=dataclasses.replace(
                    cell.experiment, training=dataclasses.replace(cell.experiment.training, classwise=small)
                ),
            )
            for cell in cells
        ]
        patch.setattr(u_vector_tables, "ladder_cells", lambda config: tuple(cells))
        page = run_ladder_tables(config, say=lambda line: None, progress=False)
    text = page.read_text(encoding="utf-8")
    assert "| recordings |" in text and "more than the paper's method" in text and "baseline: noise" in text


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*mel filters hold no bin")
def test_densenet121_makes_a_step():
    """Built as the paper's preset has it and differentiated through once; two pairs, for it is large."""
    training = U_VECTOR_PRESETS["paper"]().training
    training = dataclasses.replace(training, pairwise=dataclasses.replace(training.pairwise, pairs=2), workers=0)
    rng = np.random.default_rng(0)
    labelled = PseudoLabelled(
        frames=rng.normal(scale=0.1, size=(10, 3200)).astype(np.float32),
        labels=np.repeat(np.arange(2), 5),
        apart=np.arange(2),
        protocol="as_described",
    )
    learner = UVectorLearner(training, classes=2, rngs=nnx.Rngs(0))
    noises = generated_noises(1, 16_000, seed=0, seconds=0.5)
    with u_vector_batches(training, labelled, noises) as batches:
        batch = jax.device_put(next(batches))

    @nnx.jit
    def gradients(learner, batch):
        objective = u_vector_objective(training)
        return nnx.value_and_grad(lambda some: objective(some, batch, jax.random.key(0))[0])(learner)

    loss, found = gradients(learner, batch)
    assert np.isfinite(loss)
    norms = [float(np.abs(leaf).max()) for leaf in jax.tree.leaves(found)]
    assert np.isfinite(norms).all() and sum(norm > 0 for norm in norms) > 300
