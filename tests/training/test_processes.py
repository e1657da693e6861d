import json
import subprocess
import sys

import jax
import numpy as np
import pytest

from jaxspk.errors import ArgumentError, CheckpointError, TrainingError
from jaxspk.training import FitConfig, Processes, Run, _parallel, _processes, _run, connect, processes, read_metrics


@pytest.fixture
def alone(monkeypatch):
    for name in (_processes.COORDINATOR, _processes.COUNT, _processes.INDEX, _processes.DETECT):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("environment", [{}, {_processes.COUNT: "1", _processes.INDEX: "0"}, {_processes.INDEX: ""}])
def test_where_nothing_is_said_there_is_one_process(alone, monkeypatch, environment):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert connect() == processes() == Processes(1, 0)
    assert connect().is_leader


@pytest.mark.parametrize(
    "environment, message",
    [
        ({"JAX_COORDINATOR_ADDRESS": "a:1"}, "belong together, got 'a:1', None and None; let `jaxspk launch` set them"),
        ({"JAXSPK_PROCESS_COUNT": "2"}, "belong together, got None, 2 and None"),
        (
            {"JAX_COORDINATOR_ADDRESS": "a:1", "JAXSPK_PROCESS_COUNT": "2", "JAXSPK_PROCESS_INDEX": "2"},
            "the last from 0 to the number of processes less 1",
        ),
        ({"JAXSPK_PROCESS_COUNT": "two"}, "JAXSPK_PROCESS_COUNT must be a number, got 'two'"),
        ({"JAXSPK_PROCESSES": "all"}, "JAXSPK_PROCESSES must be auto where it is set, got 'all'"),
    ],
)
def test_an_environment_that_makes_no_sense_is_refused(alone, monkeypatch, environment, message):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ArgumentError, match=message):
        connect()


def test_joining_after_jax_has_computed_is_refused():
    jax.devices()
    with pytest.raises(ArgumentError, match="JAX has computed something before the processes were joined"):
        connect("127.0.0.1:1", count=2, index=0)


class Others:
    """What the first process of several tells."""

    def __init__(self, monkeypatch, index=1, count=4):
        self.told = b""
        monkeypatch.setattr(_processes, "processes", lambda: Processes(count, index))
        monkeypatch.setattr(_parallel, "processes", lambda: Processes(count, index))
        monkeypatch.setattr(_processes, "_broadcast", self.broadcast)

    def broadcast(self, content):
        self.told = content or self.told
        return self.told


def test_what_the_first_finds_reaches_all(monkeypatch):
    assert _processes.from_leader(lambda: {"step": 3}) == {"step": 3}
    first = Others(monkeypatch, index=0)
    assert _processes.from_leader(lambda: {"step": 3, "loss": np.float32(0.5).item()}) == {"step": 3, "loss": 0.5}
    other = Others(monkeypatch, index=2)
    other.told = first.told
    assert _processes.from_leader(lambda: pytest.fail("asked")) == {"step": 3, "loss": 0.5}


def test_what_the_first_refuses_all_refuse(monkeypatch):
    def refuse():
        raise CheckpointError("runs/a: in use by another process.")

    first = Others(monkeypatch, index=0)
    with pytest.raises(CheckpointError, match="in use"):
        _processes.from_leader(refuse)
    other = Others(monkeypatch, index=2)
    other.told = first.told
    with pytest.raises(CheckpointError, match=r"^runs/a: in use by another process\.$"):
        _processes.from_leader(lambda: None)


def test_arrays_reach_all_whatever_they_are(monkeypatch):
    import ml_dtypes

    arrays = {
        "kernel": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "empty": np.zeros((0, 3), np.int8),
        "half": np.ones(3, ml_dtypes.bfloat16),
        "step": np.array(7, np.int32),
    }
    Others(monkeypatch, index=0)
    sent = []
    monkeypatch.setattr(_processes, "_broadcast", lambda content: sent.append(content) or content)
    _processes.arrays_from_leader(arrays)
    Others(monkeypatch, index=1)
    rest = iter(sent)
    monkeypatch.setattr(_processes, "_broadcast", lambda content: next(rest))
    found = _processes.arrays_from_leader(None)
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_a_process_with_something_else_is_refused(monkeypatch):
    other = Others(monkeypatch)
    other.told = json.dumps({"found": "a"}).encode()
    _processes.check_equal("a", "a config")
    with pytest.raises(TrainingError, match="process 2 has a config other than the first process; start all with the"):
        _processes.check_equal("b", "a config")


def test_only_the_first_process_has_the_folder_of_a_run(monkeypatch, tmp_path):
    line = b'{"step": 2, "split": "train", "loss": 0.5, "times": {}}\n'
    with Run(tmp_path / "run", FitConfig()) as first:
        first.metrics.path.write_bytes(line)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    others = Others(monkeypatch)
    monkeypatch.setattr(_run, "connect", lambda: Processes(4, 1))
    monkeypatch.setattr(_run, "check_equal", lambda value, what: None)
    others.told = json.dumps({"found": {"resumed": True, "log": line.decode()}}).encode()
    with Run(tmp_path / "run", FitConfig()) as run:
        assert run.resumed and run.folder != tmp_path / "run"
        assert read_metrics(run.folder) == [{"step": 2, "split": "train", "loss": 0.5, "times": {}}]
        run.log(4, "train", loss=0.25)
        assert run.results.is_dir()
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}


def test_each_process_feeds_its_rows(monkeypatch):
    batch = {"inputs": np.arange(16).reshape(8, 2), "label": np.arange(8)}
    assert _parallel.own_rows(batch, 1) is batch
    Others(monkeypatch, index=2)
    assert _parallel.own_rows(batch, 4) is batch
    np.testing.assert_array_equal(_parallel.own_rows(batch, 1)["label"], [4, 5])
    with pytest.raises(ArgumentError, match="`batches` gives 2 parts for 4 processes"):
        _parallel.own_rows(batch, 2)
    with pytest.raises(ArgumentError, match="`batches` gives 6 rows for 4 processes"):
        _parallel.own_rows({"label": np.arange(6)}, 1)


def test_losing_another_process_ends_this_one_in_one_line():
    program = (
        "from jaxspk.training import _processes\n"
        "_processes.processes = lambda: _processes.Processes(2, 1)\n"
        "with _processes.peers_needed(lambda: 'near step 3'):\n"
        "    raise ValueError('UNKNOWN: Gloo all-reduce failed')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 75
    assert done.stderr == (
        "jaxspk: process 2 of 2: lost another process near step 3 (UNKNOWN: Gloo all-reduce failed); "
        "ends, to be started again from the last save.\n"
    )


@pytest.mark.parametrize("error", [ValueError("a mistake"), ArgumentError("INTERNAL matters"), KeyError("UNKNOWN")])
def test_a_mistake_is_not_taken_for_a_lost_process(monkeypatch, error):
    Others(monkeypatch)
    with pytest.raises(type(error)), _processes.peers_needed(lambda: "near step 3"):
        raise error
