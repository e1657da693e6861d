"""Nothing opens a network socket: import, training, inference and report run with them forbidden."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

OFFLINE = Path(__file__).with_name("offline.py")

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"),
    reason="needs Linux's seccomp on x86-64 or Arm",
)

_EVERYTHING = """
import dataclasses, sys
from pathlib import Path
import numpy as np
import jaxspk
from jaxspk import audio, cli, data, losses, metrics, reports, systems, training

corpus, out = map(Path, sys.argv[1:])
rng = np.random.default_rng(0)
for speaker in range(6):
    (corpus / str(speaker)).mkdir(parents=True)
    for take in range(2):
        tone = np.sin(np.arange(12000) * (0.05 + 0.02 * speaker)) * rng.random(12000).round()
        audio.write_audio(corpus / str(speaker) / f"{take}.wav", (0.2 * tone).astype(np.float32), 8000)
fit = training.FitConfig(steps=2, log_every=1, validate_every=1, checkpoint_every=1)
config = systems.SeparationTraining(
    data=systems.SpeechConfig(path=corpus, validation=0.34, test=0.34),
    system=systems.DeepClusteringConfig(network=systems.NetworkConfig(layers=1, units=4, dim=3)),
    stages=(systems.StageConfig(frames=20, batch_size=2, fit=fit),),
    validation_mixtures=2,
    test_mixtures=2,
)
outcome = systems.run_separation(config, out, progress=False)
reports.write_separation_report(outcome)
words = ["separate", str(corpus / "0" / "0.wav"), "-o", str(out / "voices"), "--model", str(out / "model")]
assert cli.main(words) == 0
print("finished")
"""


def test_the_whole_thread_runs_without_network_sockets(tmp_path):
    script = tmp_path / "everything.py"
    script.write_text(_EVERYTHING)
    command = [sys.executable, str(OFFLINE), str(script), str(tmp_path / "corpus"), str(tmp_path / "run")]
    finished = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "XLA_FLAGS": ""})
    assert finished.returncode == 0, finished.stderr[-2000:]
    assert "finished" in finished.stdout


@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6"])
def test_the_filter_would_have_noticed(tmp_path, family):
    script = tmp_path / "opens.py"
    script.write_text(f"import socket; socket.socketpair(); socket.socket(socket.{family})")
    assert subprocess.run([sys.executable, str(OFFLINE), str(script)]).returncode == -31
