"""A few thousand damaged files through the command that does a million."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def fuzz(state, count, seed=1):
    order = [sys.executable, "-m", "tests.audio.fuzz", "--count", str(count), "--seed", str(seed), "--state", state]
    return subprocess.run(order, cwd=ROOT, capture_output=True, text=True, check=False)


def test_damaged_files_give_an_error_or_sane_samples(tmp_path):
    state = tmp_path / "state.json"
    done = fuzz(state, 3000)
    assert done.returncode == 0, done.stdout
    outcomes = json.loads(state.read_text())["outcomes"]
    assert sum(outcomes.values()) == 3000
    # Both kinds must come up often, or the damage is too mild or too coarse to test anything.
    assert 500 < outcomes["read"] < 2000 and len(outcomes) >= 6
    again = fuzz(state, 3100)
    assert json.loads(state.read_text())["done"] == 3100
    assert again.stdout.count(" a second, ") == 1
