import dataclasses
import errno
import getpass
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from jaxspk._files import unfinished_name
from jaxspk.errors import ArgumentError, CheckpointError
from jaxspk.training import FitConfig, Run, _environment, may_change, read_config, read_metrics


@dataclasses.dataclass(frozen=True)
class Config:
    fit: FitConfig = dataclasses.field(default_factory=FitConfig)
    seed: int = 7
    workdir: Path = may_change(Path("runs/x"))


def test_makes_the_folder_and_what_is_in_it(tmp_path):
    folder = tmp_path / "runs" / "first"
    with Run(folder, Config()) as run:
        assert not run.resumed
        assert run.results.is_dir()
        run.log(5, "train", loss=0.25, correct=3)
    assert read_config(folder, Config) == Config()
    (line,) = read_metrics(folder)
    assert line.pop("times").keys() == {"utc", "seconds"}
    assert line == {"step": 5, "split": "train", "loss": 0.25, "correct": 3}
    assert sorted(os.listdir(folder)) == [".lock", "config.json", "environment.json", "metrics.jsonl", "results"]


def test_a_stage_and_times_of_ones_own_are_in_the_line(tmp_path):
    with Run(tmp_path, Config()) as run:
        run.log(5, "train", stage="long", times={"steps_per_second": 2.5}, loss=None)
    (line,) = read_metrics(tmp_path)
    assert line["stage"] == "long" and line["times"]["steps_per_second"] == 2.5 and line["loss"] is None


def test_refuses_a_negative_step(tmp_path):
    with Run(tmp_path, Config()) as run, pytest.raises(ArgumentError, match="`step` must lie in"):
        run.log(-1, "train")


def test_the_environment_names_versions_and_devices_and_nobody(tmp_path):
    with Run(tmp_path, Config()):
        pass
    text = (tmp_path / "environment.json").read_text()
    found = json.loads(text)
    assert found["seed"] == 7
    assert found["versions"]["python"] == platform.python_version()
    assert {"jaxspk", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy"} < found["versions"].keys()
    assert found["devices"] == {"backend": "cpu", "kind": "cpu", "count": 8}
    private = {platform.node(), getpass.getuser(), str(Path.home()), str(tmp_path), str(Path.cwd())}
    assert [name for name in private - {""} if f'"{name}' in text or ("/" in name and name in text)] == []


def test_a_resumption_adds_what_changed_and_says_other_versions(tmp_path, capsys, monkeypatch):
    with Run(tmp_path, Config()):
        pass
    now = _environment.describe_environment()
    later = now | {"versions": now["versions"] | {"jax": "99.0"}}
    monkeypatch.setattr("jaxspk.training._run.describe_environment", lambda: later)
    with Run(tmp_path, Config()) as run:
        assert run.resumed
    found = json.loads((tmp_path / "environment.json").read_text())
    assert found["versions"]["jax"] == now["versions"]["jax"]
    (resumption,) = found["resumptions"]
    assert resumption["versions"]["jax"] == "99.0" and "devices" not in resumption
    assert f"jax {now['versions']['jax']}, now 99.0; the last bits of the results may differ" in capsys.readouterr().err


def test_nothing_is_said_when_nothing_changed(tmp_path, capsys):
    for _ in range(2):
        with Run(tmp_path, Config()):
            pass
    assert capsys.readouterr() == ("", "")


def test_the_commit_is_that_of_the_checkout(tmp_path, monkeypatch):
    def git(*arguments):
        identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
        return subprocess.run(
            ["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True, text=True
        ).stdout.strip()

    source = tmp_path / "jaxspk" / "training" / "_environment.py"
    source.parent.mkdir(parents=True)
    source.write_text("1")
    monkeypatch.setattr(_environment, "__file__", str(source))
    assert _environment._git_commit() is None
    git("init", "--quiet")
    assert _environment._git_commit() is None
    git("add", ".")
    git("commit", "--quiet", "-m", "first")
    assert _environment._git_commit() == git("rev-parse", "HEAD")
    source.write_text("2")
    assert _environment._git_commit() == git("rev-parse", "HEAD") + "+changes"


def test_another_config_is_refused_and_the_field_named(tmp_path):
    with Run(tmp_path, Config()):
        pass
    before = (tmp_path / "config.json").read_bytes()
    with pytest.raises(CheckpointError, match=r"another config: `fit\.steps` differs \(1000 before, 3 now\)"):
        Run(tmp_path, Config(fit=FitConfig(steps=3)))
    with pytest.raises(CheckpointError, match=r"`fit\.steps`, `seed` differ \("):
        Run(tmp_path, Config(fit=FitConfig(steps=3), seed=2))
    assert (tmp_path / "config.json").read_bytes() == before


def test_what_may_change_may_change(tmp_path):
    with Run(tmp_path, Config()):
        pass
    changed = Config(fit=FitConfig(max_minutes=3.0), workdir=Path("elsewhere"))
    with Run(tmp_path, changed):
        pass
    assert read_config(tmp_path, Config) == changed


@pytest.mark.parametrize(
    "content, message",
    [
        ("{", "damaged, it is no JSON"),
        ("[]", "not the config of a run"),
        ('{"layers": 2}', "not the config of a run"),
        ('{"run_format": 9, "config": {}}', "written in format 9, this version of jaxspk reads 1"),
        ('{"run_format": 1, "config": {"sead": 1}}', "unknown key `sead`; did you mean `seed`"),
        ('{"run_format": 1, "config": {"seed": "x"}}', "`seed` must be of type int, got 'x'"),
    ],
)
def test_a_config_that_is_not_one_is_refused(tmp_path, content, message):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        Run(tmp_path, Config())
    assert str(tmp_path / "config.json") in str(caught.value) and "\n" not in str(caught.value)
    assert (tmp_path / "config.json").read_text() == content


def test_a_folder_that_is_no_run_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(CheckpointError, match=r"not the folder of a run \(no config\.json, but thesis\.txt\)"):
        Run(tmp_path, Config())
    assert os.listdir(tmp_path) == ["thesis.txt"]


def test_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="a file; a run needs a folder"):
        Run(tmp_path / "file", Config())


def test_a_new_run_does_not_take_an_old_ones_folder(tmp_path):
    with Run(tmp_path, Config()):
        pass
    with pytest.raises(CheckpointError, match="already holds a run; take another folder, or resume it"):
        Run(tmp_path, Config(), resume=False)


def test_no_folder_can_be_read_as_a_run(tmp_path):
    with pytest.raises(CheckpointError, match="is this the folder of a run"):
        read_config(tmp_path / "missing", Config)


def test_two_cannot_write_one_run(tmp_path):
    with Run(tmp_path, Config()):
        with pytest.raises(CheckpointError, match="in use by another process"):
            Run(tmp_path, Config())
    with Run(tmp_path, Config()):
        pass


HOLD = """
import dataclasses, sys, time
from jaxspk.training import FitConfig, Run
run = Run(sys.argv[1], FitConfig())
print("held", flush=True)
time.sleep(600)
"""


def test_a_killed_process_lets_go(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        with pytest.raises(CheckpointError, match="in use by another process"):
            Run(tmp_path, FitConfig())
        holder.kill()
    with Run(tmp_path, FitConfig()) as run:
        assert run.resumed


def test_a_refused_run_holds_no_lock(tmp_path):
    with Run(tmp_path, Config()):
        pass
    for _ in range(2):
        with pytest.raises(CheckpointError, match="another config"):
            Run(tmp_path, Config(seed=1))
    with Run(tmp_path, Config()):
        pass


@pytest.mark.parametrize("call", range(1, 4))
def test_a_death_while_it_is_made_leaves_a_folder_to_begin_in(tmp_path, monkeypatch, call):
    count, real = 0, os.replace

    def dying(*arguments):
        nonlocal count
        count += 1
        if count == call:
            raise SystemExit
        real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", dying)
        try:
            Run(tmp_path, Config()).close()
        except SystemExit:
            pass
    (tmp_path / unfinished_name("config.json-1")).write_text("{")
    with Run(tmp_path, Config()) as run:
        run.log(1, "train", loss=1.0)
    assert read_config(tmp_path, Config) == Config()
    assert not list(tmp_path.glob(".unfinished-*"))


def test_a_full_disk_is_one_line_and_leaves_what_was_there(tmp_path, monkeypatch):
    with Run(tmp_path, Config()):
        pass
    before = (tmp_path / "config.json").read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(CheckpointError, match=r"cannot write there \(No space left on device\)"):
            Run(tmp_path, Config())
    assert (tmp_path / "config.json").read_bytes() == before
    assert not list(tmp_path.glob(".unfinished-*"))
    with Run(tmp_path, Config()):
        pass
