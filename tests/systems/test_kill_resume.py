"""The whole thread, killed: mixtures made by threads, the network, its checkpoints, the test and the tables."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from jaxspk.training import read_metrics

_RUN = """
import dataclasses, sys
from pathlib import Path
from jaxspk.systems import *
from jaxspk.training import FitConfig

fit = FitConfig(steps=40, log_every=4, validate_every=10, checkpoint_every=5)
config = SeparationTraining(
    data=SpeechConfig(path=Path(sys.argv[1]), validation=0.25, test=0.25),
    system=DeepClusteringConfig(network=NetworkConfig(layers=1, units=4, dim=3, dropout=0.2)),
    stages=(StageConfig(frames=20, batch_size=2, fit=fit), StageConfig(frames=40, batch_size=2, fit=fit)),
    validation_mixtures=3,
    test_mixtures=2,
)
print("ready", flush=True)
run_separation(config, sys.argv[2], progress=False)
"""


def start(corpus, folder):
    """A process that has imported everything and is about to begin."""
    command = [sys.executable, "-c", _RUN, str(corpus), str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "XLA_FLAGS": ""})
    with process.stdout as ready:
        ready.readline()
    return process


def digests(folder):
    lines = [{key: value for key, value in line.items() if key != "times"} for line in read_metrics(folder)]
    files = ["model/model.safetensors", "results/mixtures.csv", "results/summary.csv", "results/test_mixtures.csv"]
    sums = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files}
    return sums | {"metrics": json.dumps(lines)}


@pytest.mark.slow
def test_a_separation_run_killed_twice_ends_as_one_left_alone(corpus, tmp_path):
    alone = start(corpus, tmp_path / "alone")
    began = time.monotonic()
    assert alone.wait() == 0
    took = time.monotonic() - began
    rng = random.Random(7)
    kills = 0
    while True:
        process = start(corpus, tmp_path / "killed")
        try:
            process.wait(timeout=rng.uniform(0.2, 0.8) * took if kills < 2 else None)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            continue
        assert process.returncode == 0
        break
    assert kills == 2
    assert digests(tmp_path / "killed") == digests(tmp_path / "alone")
