import io
import sys

import pytest

from jaxspk.training import _progress
from jaxspk.training._progress import Progress


class Clock:
    def __init__(self, monkeypatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(_progress.time, "monotonic", lambda: self.now)


def test_plain_lines_say_where_it_is_and_when_it_will_be_done(capsys, monkeypatch):
    clock = Clock(monkeypatch)
    with Progress("training", total=101) as progress:
        progress.begin(0)
        progress.step(1)
        for step in range(2, 12):
            clock.now += 2
            progress.step(step)
        progress.metrics(11, {"loss": 0.123456, "waiting for data": "2.0%"})
    assert capsys.readouterr() == ("", "training: step 11 of 101  loss 0.1235  waiting for data 2.0%  3:00 to go\n")


def test_plain_lines_are_not_many_unless_they_must(capsys, monkeypatch):
    clock = Clock(monkeypatch)
    with Progress("training", total=10) as progress:
        for step in range(5):
            clock.now += 2
            progress.metrics(step, {"loss": 1.0})
        progress.metrics(5, {"validation": 2.0}, always=True)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[2] for line in lines] == ["0", "3", "5"]


def test_a_time_budget_may_end_it_sooner(capsys, monkeypatch):
    clock = Clock(monkeypatch)
    with Progress("training", total=10000) as progress:
        progress.step(1)
        clock.now += 10
        progress.step(2, seconds_left=7200.0)
        progress.metrics(2, {})
    assert "2:00:00 to go" in capsys.readouterr().err


def test_the_pace_of_a_resumed_run_is_that_of_its_own_steps(capsys, monkeypatch):
    clock = Clock(monkeypatch)
    with Progress("training", total=1000) as progress:
        progress.begin(500)
        progress.step(501)
        clock.now += 1
        progress.step(502)
        progress.metrics(502, {})
    assert "8:18 to go" in capsys.readouterr().err


def test_silent_when_not_shown(capsys):
    with Progress("training", total=10, shown=False) as progress:
        progress.step(1)
        progress.metrics(1, {"loss": 1.0}, always=True)
    assert capsys.readouterr() == ("", "")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with Progress("training", total=10) as progress:
        progress.begin(0)
        progress.step(1)
        progress.step(2)
        progress.metrics(2, {"loss": 0.5})
        progress.metrics(2, {"validation loss": 0.7})
        progress.say("resumed at [step] 0")
    shown = terminal.getvalue()
    assert (
        "2/10" in shown
        and "loss 0.5  validation loss 0.7" in shown
        and "to go" in shown
        and "resumed at [step] 0" in shown
    )


def test_the_bar_goes_when_training_fails(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with pytest.raises(RuntimeError), Progress("training", total=10) as progress:
        progress.step(1)
        raise RuntimeError
    assert progress._bar.live.is_started is False
