"""Real processes on the loopback interface, started by a command: this one has begun JAX already."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.distributed_failures import KINDS

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> str:
    command = [sys.executable, "-m", "tests.training.distributed_failures", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=3000)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_two_processes_of_which_one_is_killed_train_the_model_of_one():
    said = run("--quick")
    assert "process 2 of 2 was ended by SIGKILL; all start again from the last save (1 of at most 10 times)" in said
    assert re.search(r"parameters \d\.\de-\d\d from those of one process", said)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_disturbed_trainings_end_as_one_left_alone(kind):
    said = run("--trials", "2", "--seed", "3", "--kinds", kind)
    assert f"{kind}: 2 of 2 identical" in said


@pytest.mark.slow
def test_four_processes_train_the_model_of_one():
    assert "[4] processes: parameters" in run("--counts", "4")


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_processes_and_loses_and_repeats_no_batch():
    said = run("--counts", "2", "4", "1")
    assert "2 processes killed" in said and "4 processes killed" in said
