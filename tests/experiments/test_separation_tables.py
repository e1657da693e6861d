"""The command of the grids, end to end: run in part, killed, gone on with, gathered into pages."""

import csv
import dataclasses
import os
import signal
import subprocess
import sys

import pytest

from experiments.separation_tables import GridConfig, make_grid, read_figures, run_tables, write_tables
from jaxspk.errors import CorpusError
from jaxspk.reports import MISPRINTS
from jaxspk.systems import read_grid
from jaxspk.training import read_metrics


@pytest.fixture(scope="module")
def ladder(spoken, tmp_path_factory):
    return GridConfig(
        grid="ladder", recipe="quick", data=spoken, only=("plain", "more-mixtures"), steps=60, mixtures=2,
        workdir=tmp_path_factory.mktemp("grids") / "ladder",
    )  # fmt: skip


def command(config, *more):
    """The same as a process."""
    words = ["-m", "experiments.deep_clustering", config.grid, "--recipe", config.recipe]
    words += ["--data.path", config.data.path, "--data.validation", config.data.validation]
    words += ["--data.test", config.data.test, "--only", *config.only, "--steps", config.steps]
    words += ["--mixtures", config.mixtures, "--workdir", config.workdir, *more]
    return subprocess.Popen(
        [sys.executable, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "XLA_FLAGS": ""},
    )  # fmt: skip


@pytest.fixture(scope="module")
def finished(ladder):
    """The same, trained and scored."""
    run_tables(ladder, say=lambda line: None, progress=False)
    return ladder


@pytest.mark.slow
def test_killed_in_a_training_the_same_command_goes_on_and_ends_in_a_table(ladder, tmp_path):
    ladder = dataclasses.replace(ladder, workdir=tmp_path / "killed")
    killed = command(ladder)
    for line in killed.stdout:
        # A checkpoint of the first cell is behind it; the rest of it is not.
        if "step 50 of 60" in line and "validation" in line:
            killed.send_signal(signal.SIGKILL)
            break
    killed.stdout.close()
    assert killed.wait() == -signal.SIGKILL
    assert read_grid(ladder.workdir) == []

    said = []
    page = run_tables(ladder, say=said.append, progress=False)
    first, second = (read_metrics(ladder.workdir / name / "seed0") for name in ("plain", "more-mixtures"))
    for lines in (list(first), list(second)):
        steps = [line["step"] for line in lines if line["split"] == "train"]
        assert steps == sorted(set(steps)) and steps[-1] == 60
    trained = [line for line in said if ": training (" in line]
    assert trained == [
        "plain, seed 0: training (4000 fixed mixtures)",
        "more-mixtures, seed 0: training (no mixture twice)",
    ]
    text = page.read_text(encoding="utf-8")
    assert "| more-mixtures | no mixture twice |" in text and "quick" in text
    assert "8 speakers for training" in text

    again = []
    run_tables(ladder, say=again.append, progress=False)
    assert all("was scored" in line for line in again[1:])


@pytest.mark.slow
def test_gathering_needs_no_speech_and_no_training(finished):
    config = dataclasses.replace(finished, gather_only=True, output=finished.workdir.parent / "docs" / "gathered")
    (config.workdir.parent / "docs").mkdir()
    page = run_tables(config, say=lambda line: pytest.fail(line), progress=False)
    assert page == config.output.with_suffix(".md")
    with config.output.with_name("gathered_mixtures.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {row["set"] for row in rows} == {"validation-2", "open-2"} and len(rows) == 4
    assert all(float(row["plain, seed 0: global k-means"]) for row in rows)
    with config.output.with_name("gathered_trainings.csv").open() as stream:
        assert [row["Training"] for row in csv.DictReader(stream)] == ["plain", "more-mixtures"]


def test_nothing_to_gather_says_so(ladder, tmp_path):
    config = dataclasses.replace(ladder, workdir=tmp_path, gather_only=True)
    with pytest.raises(CorpusError, match="holds no results of a grid"):
        write_tables(config, make_grid(config))


def test_the_cells_can_be_listed(ladder, capsys):
    assert run_tables(dataclasses.replace(ladder, list=True), say=lambda line: None) is None
    printed = capsys.readouterr().out
    assert "more-mixtures" in printed and "60 × 4 × 100" in printed


def test_the_help_of_the_command_names_what_one_needs(capsys, monkeypatch):
    from experiments import deep_clustering

    monkeypatch.setattr(sys, "argv", ["deep_clustering", "paper", "--help"])
    with pytest.raises(SystemExit) as ended:
        deep_clustering.command_line()
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    for word in ("--only", "--steps", "--minutes", "--seeds", "--recipe", "--workdir", "--gather-only", "goes on"):
        assert word in printed


def test_presets_are_still_trainings(monkeypatch):
    from experiments import deep_clustering

    monkeypatch.setattr(sys, "argv", ["deep_clustering", "quick", "--seed", "3"])
    asked = deep_clustering.command_line()
    assert isinstance(asked, deep_clustering.Config) and asked.seed == 3


def test_the_paper_figures_are_read_and_their_misprints_are_among_them():
    figures = read_figures()
    assert figures[1, "DC global k-means", "open_speakers_sdri_db"] == 5.81
    assert figures[2, "5/tanh", "closed_dc_global_sdri_db"] == -0.96
    assert figures[3, "DC oracle permute/female", "open_ff_sdri_db"] == 4.04
    assert (3, "DC oracle permute/female", "open_mm_sdri_db") not in figures
    assert figures[4, "oracle NMF", "closed_speakers_sdri_db"] == 4.42
    assert set(MISPRINTS) <= set(figures)
