import signal
import sys
import time
from pathlib import Path

import pytest

from jaxspk.errors import ArgumentError
from jaxspk.training import EXIT_LOST, Command, supervise
from jaxspk.training._processes import COORDINATOR, COUNT, INDEX
from jaxspk.training._watchdog import HEARTBEAT

# Each process notes in a file that it was started, and then does what its line says, by its number.
PROGRAM = """
import os, pathlib, sys, time
folder, index = pathlib.Path(sys.argv[1]), int(os.environ.get("JAXSPK_PROCESS_INDEX", 0))
attempt = len(list(folder.glob(f"{index}-*")))
(folder / f"{index}-{attempt}").write_text(os.environ.get("JAX_COORDINATOR_ADDRESS", ""))
beat = lambda: pathlib.Path(os.environ["JAXSPK_HEARTBEAT"]).write_text(str(time.time()))
"""


def launch(folder: Path, program: str, **settings) -> tuple[int, list[str]]:
    said: list[str] = []

    def start(index, environment, logs):
        command = [sys.executable, "-S", "-E", "-c", PROGRAM + program, str(folder)]
        return Command(command, environment, logs / f"{index}.log")

    return supervise(start, say=said.append, **settings), said


def started(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_all_that_end_well_are_started_once_with_one_address(tmp_path):
    assert launch(tmp_path, "", processes=3) == (0, [])
    assert started(tmp_path) == ["0-0", "1-0", "2-0"]
    (address,) = {path.read_text() for path in tmp_path.iterdir()}
    assert address.startswith("127.0.0.1:")


def test_one_process_needs_no_address(tmp_path):
    launch(tmp_path, f"assert not {{{COORDINATOR!r}, {COUNT!r}, {INDEX!r}}} & set(os.environ); beat()", processes=1)
    assert (tmp_path / "0-0").read_text() == ""


def test_when_one_dies_all_start_again_together(tmp_path):
    program = f"""
if attempt == 0 and index == 1:
    os.kill(os.getpid(), {int(signal.SIGKILL)})
time.sleep(0.3 if attempt else 100)
"""
    status, said = launch(tmp_path, program, processes=2)
    assert status == 0
    assert said == [
        "jaxspk launch: process 2 of 2 was ended by SIGKILL; "
        "all start again from the last save (1 of at most 20 times)."
    ]
    assert started(tmp_path) == ["0-0", "0-1", "1-0", "1-1"]


def test_a_refusal_ends_all_and_its_last_words_are_told(tmp_path):
    program = f"""
if index == 1:
    print("jaxspk: error: no such folder", file=sys.stderr)
    sys.exit(2)
sys.exit({EXIT_LOST})
"""
    status, said = launch(tmp_path, program, processes=2)
    assert status == 2
    assert said == [
        "jaxspk launch: process 2 of 2 ended with status 2 (jaxspk: error: no such folder); it is not started again."
    ]


def test_a_process_that_gives_no_sign_of_life_is_replaced(tmp_path):
    # Of the first two the second stops itself, as SIGSTOP from outside would.
    program = f"""
beat()
if attempt == 0:
    if index == 1:
        os.kill(os.getpid(), {int(signal.SIGSTOP)})
    while True:
        time.sleep(0.05)
        beat()
"""
    status, said = launch(tmp_path, program, processes=2, silence_seconds=0.6)
    assert status == 0
    assert "process 2 of 2 has given no sign of life for 0.6 s; all start again" in said[0]
    assert started(tmp_path) == ["0-0", "0-1", "1-0", "1-1"]


def test_it_gives_up_after_so_many_restarts(tmp_path):
    status, said = launch(tmp_path, "sys.exit(75)", processes=1, restarts=2)
    assert status == EXIT_LOST
    assert len(started(tmp_path)) == 3
    assert said[-1] == "jaxspk launch: process 1 of 1 was stuck or lost the others; given up after 2 restarts."


def test_each_machine_starts_its_own_numbers(tmp_path):
    program = f"assert os.environ[{COUNT!r}] == '6' and {HEARTBEAT!r} in os.environ"
    assert launch(tmp_path, program, processes=2, nodes=3, node=2, coordinator="host0:9876") == (0, [])
    assert started(tmp_path) == ["4-0", "5-0"]
    assert (tmp_path / "4-0").read_text() == "host0:9876"


def test_nothing_is_left_behind_by_an_interruption(tmp_path):
    def interrupt(index, environment, logs):
        if index == 1:
            raise KeyboardInterrupt
        first.append(Command([sys.executable, "-S", "-c", "import time; time.sleep(100)"], environment, None))
        return first[0]

    first: list[Command] = []
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        supervise(interrupt, processes=2)
    assert first[0].poll() == -signal.SIGKILL
    assert time.monotonic() - began < 50


def test_numbers_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ArgumentError, match="`coordinator` is needed with several nodes"):
        supervise(lambda *arguments: None, processes=1, nodes=2)
    with pytest.raises(ArgumentError, match="`node` must lie in"):
        supervise(lambda *arguments: None, processes=1, nodes=2, node=2, coordinator="a:1")
    with pytest.raises(ArgumentError, match="no-such-program: cannot be started"):
        supervise(lambda *arguments: Command(["no-such-program"], {}, None), processes=1)
