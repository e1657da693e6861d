import errno
import hashlib
import logging
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from jaxspk.errors import CheckpointError
from jaxspk.training import Checkpoints, _checkpoints

ARRAYS = {
    "state/params/weights": np.linspace(0, 1, 300, dtype=np.float32).reshape(20, 15),
    "state/half": np.asarray(jnp.arange(5, dtype=jnp.bfloat16)),
    "state/step": np.array(7, np.int32),
    "state/key": np.array([1, 2**32 - 1], np.uint32),
    "state/flag": np.array(True),
    "state/empty": np.zeros((0, 3), np.float32),
    "state/double": np.array([np.pi, np.inf, np.nan]),
}
RECORD = {"batches": {"number": 3}, "tally": {"best_score": 0.1 + 0.2}, "text": "ä"}


@pytest.fixture
def three(tmp_path):
    """Checkpoints of the steps 10, 20 and 30."""
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=3)
    for step in (10, 20, 30):
        checkpoints.save(step, ARRAYS, RECORD | {"step": step})
    return checkpoints


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_comes_back_bit_by_bit(three):
    checkpoint = three.load(20)
    assert checkpoint.step == 20
    assert checkpoint.record == RECORD | {"step": 20}
    assert set(checkpoint.arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        found = checkpoint.arrays[name]
        assert (found.dtype, found.shape, found.tobytes()) == (array.dtype, array.shape, array.tobytes()), name


def test_a_checkpoint_may_be_moved(three, tmp_path):
    moved = three.folder.rename(tmp_path / "elsewhere")
    assert Checkpoints(moved).latest().step == 30


def test_nothing_there_is_no_error(tmp_path):
    checkpoints = Checkpoints(tmp_path / "none")
    assert checkpoints.steps() == []
    assert checkpoints.latest() is None


def test_the_newest_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (1, 2, 3, 4):
        checkpoints.save(step, {"a": np.ones(2)}, {})
    assert checkpoints.steps() == [3, 4]
    assert sorted(os.listdir(tmp_path)) == ["step-00000003", "step-00000004"]


def test_going_back_forgets_what_came_later(three):
    three.keep = 2
    three.save(25, ARRAYS, RECORD)
    assert three.steps() == [20, 25]


def test_a_step_saved_again_is_replaced(three):
    three.save(20, {"a": np.ones(2)}, {"again": True})
    assert three.load(20).record == {"again": True}
    assert three.steps() == [10, 20]


def test_every_single_flipped_bit_is_found(three):
    draw = random.Random(0)
    folder = three.path(30)
    for _ in range(200):
        path = draw.choice(files(folder))
        content = path.read_bytes()
        at, bit = draw.randrange(len(content)), draw.randrange(8)
        path.write_bytes(content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :])
        with pytest.raises(CheckpointError, match="damaged"):
            three.load(30)
        path.write_bytes(content)
    assert three.load(30).step == 30


def test_any_byte_of_the_manifest_matters(three):
    path = three.path(30) / "manifest.sha256"
    content = path.read_bytes()
    for at in range(0, len(content), 3):
        path.write_bytes(content[:at] + bytes([content[at] ^ 0x20]) + content[at + 1 :])
        with pytest.raises(CheckpointError, match=r"damaged, manifest\.sha256 is not as it was written"):
            three.load(30)


def test_truncated_missing_and_added_files_are_found(three):
    folder = three.path(30)
    for path in files(folder):
        content = path.read_bytes()
        path.write_bytes(content[:-1])
        with pytest.raises(CheckpointError, match="damaged"):
            three.load(30)
        path.unlink()
        with pytest.raises(CheckpointError, match="damaged"):
            three.load(30)
        path.write_bytes(content)
    (folder / "stranger").write_text("")
    with pytest.raises(CheckpointError, match="damaged, stranger is not of it"):
        three.load(30)


def test_the_manifest_is_what_sha256sum_reads(three):
    lines = (three.path(30) / "manifest.sha256").read_text().splitlines()[1:]
    assert len(lines) == len(files(three.path(30))) - 1
    for line in lines:
        digest, name = line.split("  ")
        assert hashlib.sha256((three.path(30) / name).read_bytes()).hexdigest() == digest


def test_falls_back_to_the_last_good_one_in_one_line(three):
    (three.path(30) / "record.json").write_text("{}")
    shutil.rmtree(three.path(20) / "arrays")
    said: list[str] = []
    assert three.latest(say=said.append).step == 10
    assert said == [f"{three.path(30)}: damaged, record.json is not as it was written. Going back to step 10."]


def test_none_good_is_an_error_and_no_new_beginning(three):
    for step in three.steps():
        (three.path(step) / "record.json").unlink()
    with pytest.raises(CheckpointError, match=r"step-00000030: damaged, record.json is missing.*begin anew"):
        three.latest()


def test_another_reason_to_refuse_is_heard(three):
    said: list[str] = []
    found = three.latest(refuse=lambda one: "too new." if one.step > 10 else None, say=said.append)
    assert found.step == 10
    assert said == [f"{three.path(30)}: too new. Going back to step 10."]


def test_an_empty_folder_under_a_checkpoints_name_is_damaged(three):
    three.path(40).mkdir()
    assert three.latest(say=lambda line: None).step == 30


def test_a_later_format_is_refused(three, monkeypatch):
    monkeypatch.setattr(_checkpoints, "_FORMAT", 2)
    three.save(40, {}, {})
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="written in format 2, this version of jaxspk reads 1"):
        three.load(40)


@pytest.mark.parametrize("name", ["_write_arrays", "_manifest", "_sync_tree"])
def test_a_full_disk_is_one_line_and_leaves_the_others(three, monkeypatch, name):
    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(_checkpoints, name, full)
        with pytest.raises(CheckpointError, match=r"cannot write there \(No space left on device\); make room"):
            three.save(40, ARRAYS, RECORD)
    assert three.steps() == [10, 20, 30]
    assert not list(three.folder.glob(".*"))
    assert three.latest().step == 30


def test_what_orbax_says_of_a_full_disk_is_one_line_too(three, monkeypatch):
    import orbax.checkpoint as ocp

    def full(*arguments, **named):
        raise ValueError("RESOURCE_EXHAUSTED: No space left\n[source locations]\n...")

    monkeypatch.setattr(ocp.Checkpointer, "save", full)
    with pytest.raises(CheckpointError, match="RESOURCE_EXHAUSTED: No space left") as caught:
        three.save(40, ARRAYS, RECORD)
    assert "\n" not in str(caught.value)
    assert three.latest().step == 30


def _stop_before(monkeypatch, call: int) -> None:
    """Lets a process die before its so-manieth change of a name or removal in the folder of checkpoints."""
    count = 0

    def dying(real):
        def wrapper(*arguments, **named):
            nonlocal count
            if "step-" in Path(str(arguments[0])).name:
                count += 1
                if count == call:
                    raise SystemExit
            return real(*arguments, **named)

        return wrapper

    monkeypatch.setattr(Path, "rename", dying(Path.rename))
    monkeypatch.setattr(Path, "mkdir", dying(Path.mkdir))
    monkeypatch.setattr(shutil, "rmtree", dying(shutil.rmtree))


@pytest.mark.parametrize("call", range(1, 9))
@pytest.mark.parametrize("step", [30, 40])
def test_a_death_at_any_change_leaves_a_good_checkpoint(three, monkeypatch, call, step):
    with monkeypatch.context() as patch:
        _stop_before(patch, call)
        try:
            three.save(step, {"a": np.ones(2)}, {})
        except SystemExit:
            pass
    assert three.latest(say=pytest.fail).step >= 20
    three.save(50, ARRAYS, RECORD)
    assert three.latest(say=pytest.fail).step == 50
    assert not list(three.folder.glob(".*"))


def test_keeps_quiet(tmp_path, capfd, caplog):
    with caplog.at_level(logging.DEBUG):
        checkpoints = Checkpoints(tmp_path)
        checkpoints.save(1, ARRAYS, RECORD)
        checkpoints.load(1)
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if record.name == "absl"] == []


NO_NETWORK = """
import socket, sys
from pathlib import Path

def refuse(event, arguments):
    if event == "socket.__new__" and arguments[1] in (socket.AF_INET, socket.AF_INET6):
        print("opened a network socket", file=sys.stderr)
        raise PermissionError

sys.addaudithook(refuse)
import numpy as np
from jaxspk.training import Checkpoints
Checkpoints(Path(sys.argv[1])).save(1, {"a": np.ones(3)}, {})
assert Checkpoints(Path(sys.argv[1])).load(1).arrays["a"].sum() == 3
"""


def test_opens_no_network_socket(tmp_path):
    command = [sys.executable, "-c", NO_NETWORK, str(tmp_path / "c")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
