import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run_trials(count: int, seed: int) -> str:
    command = [sys.executable, "-m", "tests.training.kill_resume", "--trials", str(count), "--seed", str(seed)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_training_killed_twice_ends_as_one_left_alone():
    assert "2 of 2 identical" in run_trials(2, seed=1)


@pytest.mark.slow
def test_many_trainings_killed_twice_end_as_one_left_alone():
    assert "30 of 30 identical" in run_trials(30, seed=2)
