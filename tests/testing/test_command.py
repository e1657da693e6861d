"""The command ``jaxspk gradcheck``."""

import json

import pytest

from jaxspk.cli import main
from jaxspk.testing import _run
from jaxspk.testing._suite import Effort

NAME = "reconstruction_loss"


@pytest.fixture(autouse=True)
def little_effort(monkeypatch):
    tiny = Effort(examples=6, mistakes=20, definitions=1, narrow=1, exact=1)
    monkeypatch.setattr(_run, "SHORT", tiny)
    monkeypatch.setattr(_run, "LONG", tiny)


def test_it_prints_a_line_a_loss_and_a_summary_and_writes_the_certificate(tmp_path, capsys):
    assert main(["gradcheck", NAME, "--workers", "1", "--output", str(tmp_path)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[1].split()[:2] == [NAME, "right"] and "Chen and Salman 2011" in printed[1]
    assert printed[2].startswith("PASSED: 1 losses")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["certificate.html", "certificate.md"]


def test_it_prints_json(capsys):
    assert main(["gradcheck", NAME, "--workers", "1", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["passed"] and printed["results"][0]["name"] == NAME


def test_a_long_run_keeps_its_progress(tmp_path, capsys):
    arguments = ["gradcheck", NAME, "--workers", "1", "--long", "--output", str(tmp_path)]
    assert main(arguments) == 0 and main(arguments) == 0
    first, second = [line for line in capsys.readouterr().out.splitlines() if line.startswith(NAME)]
    assert first == second
    assert len(list((tmp_path / "progress").iterdir())) == 1


def test_a_wrong_name_is_one_line_and_exit_2(capsys):
    assert main(["gradcheck", "nonsense", "--workers", "1"]) == 2
    assert "no loss is called like nonsense" in capsys.readouterr().err
