"""The page "check your own gradient" does what it says."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "check-your-own-gradient.md"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)


def test_the_code_of_the_page_runs_and_prints_what_the_page_shows(capsys):
    names: dict[str, object] = {}
    shown = blocks("text")
    for code, expected in zip(blocks("python")[:2], shown, strict=True):
        exec(compile(code, PAGE.name, "exec"), names)
        printed = capsys.readouterr().out.splitlines()
        first, *rest = expected.splitlines()
        assert printed[0].split(",")[0] == first.split(",")[0]
        named = [line.split(":")[0] for line in rest if re.match(r"  [a-zA-Z0-9 ]+: ", line)]
        assert [line.split(":")[0] for line in printed if line.split(":")[0] in named] == named
    names["test_gradient_of_log_cosh"] = None
    exec(compile(blocks("python")[2], PAGE.name, "exec"), names)
    names["test_gradient_of_log_cosh"]()


def test_the_page_needs_ten_lines():
    lines = [line for line in blocks("python")[0].splitlines() if line.strip()]
    assert len(lines) == pytest.approx(10, abs=1)
