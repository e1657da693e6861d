import sys

import pytest
import tyro

from jaxspk.cli import _launch
from jaxspk.errors import ArgumentError

PROGRAM = "import os, pathlib, sys; pathlib.Path(sys.argv[1], os.environ['JAXSPK_PROCESS_INDEX']).touch(); print(5)"


def options(*words):
    return tyro.cli(_launch.Options, args=list(map(str, words)))


def test_what_stands_after_two_dashes_is_the_command_whatever_it_looks_like():
    found = options("--processes", 2, "--", "python", "-m", "x", "--processes", 3, "--", "-o")
    assert found.command == ("python", "-m", "x", "--processes", "3", "--", "-o")
    assert found.processes == 2


def test_processes_run_and_the_first_is_heard(tmp_path, capfd):
    command = [sys.executable, "-S", "-c", PROGRAM, tmp_path]
    assert _launch.run(options("--processes", 3, "--", *command)) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "2"]
    assert capfd.readouterr().out == "5\n"


def test_a_refusal_is_handed_on(tmp_path, capfd):
    program = "import os, sys; sys.exit(2 if os.environ['JAXSPK_PROCESS_INDEX'] == '0' else 0)"
    assert _launch.run(options("--processes", 2, "--", sys.executable, "-S", "-c", program)) == 2
    assert "process 1 of 2 ended with status 2; it is not started again" in capfd.readouterr().err


def test_without_a_command_there_is_nothing_to_run():
    with pytest.raises(ArgumentError, match=r"name the command to run: jaxspk launch --processes 2 -- COMMAND"):
        _launch.run(options())
