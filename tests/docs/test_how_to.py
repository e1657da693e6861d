"""The Python of the how-to pages runs as it stands, from top to bottom."""

import re
import runpy
from pathlib import Path

import numpy as np
import pytest

from jaxspk import audio, systems
from jaxspk.cli import main
from jaxspk.errors import ModelError
from jaxspk.systems import packaged_model, with_u_vector_budget

PAGES = Path(__file__).parents[2] / "docs" / "how-to"


def run_page(name: str, folder: Path) -> dict[str, object]:
    text = (PAGES / name).read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL))
    script = folder / f"{Path(name).stem}.py"
    script.write_text(code, encoding="utf-8")
    return runpy.run_path(str(script))


def test_every_page_is_run_here():
    tested = {
        "check-your-own-gradient.md", "separate.md", "speaker-changes.md", "u-vectors.md", "use-your-corpus.md",
        "who-speaks-when.md", "who-speaks.md", "your-own-loss.md",
    }  # fmt: skip
    assert {page.name for page in PAGES.glob("*.md") if "```python" in page.read_text()} == tested


def test_separate(tmp_path, monkeypatch, capsys, as_a_user):
    try:
        packaged_model("deep_clustering")
    except ModelError:
        pytest.skip("no weights come with this checkout")
    monkeypatch.chdir(tmp_path)
    run_page("separate.md", tmp_path)
    assert {path.name for path in tmp_path.iterdir()} >= {"voice1.wav", "voice2.wav", "mixture.html"}
    assert float(re.search(r"improvement (-?[\d.]+) dB", capsys.readouterr().out)[1]) > 3


def test_who_speaks(tmp_path, monkeypatch, capsys, as_a_user):
    try:
        packaged_model("metric_learning")
    except ModelError:
        pytest.skip("no weights come with this checkout")
    monkeypatch.chdir(tmp_path)
    assert main(["samples", "-o", "samples"]) == 0
    capsys.readouterr()
    run_page("who-speaks.md", tmp_path)
    same, different = map(float, re.findall(r"-?\d\.\d\d", capsys.readouterr().out))
    assert same > different + 0.2


def test_who_speaks_when(tmp_path, monkeypatch, capsys, as_a_user):
    try:
        packaged_model("metric_learning")
    except ModelError:
        pytest.skip("no weights come with this checkout")
    monkeypatch.chdir(tmp_path)
    assert main(["samples", "-o", "samples"]) == 0
    capsys.readouterr()
    run_page("who-speaks-when.md", tmp_path)
    speakers = [line[-1] for line in capsys.readouterr().out.splitlines()]
    # One man, another, the first again, whatever pauses they make.
    assert [*dict.fromkeys(speakers)] == ["1", "2"] and speakers[-1] == "1"


@pytest.mark.slow
def test_your_own_loss(tmp_path, monkeypatch, as_a_user):
    pytest.importorskip("espeakng_loader", reason="the extra `synthetic` is not installed")
    monkeypatch.chdir(tmp_path)
    names = run_page("your-own-loss.md", tmp_path)
    assert names["estimates"].shape == names["held_out"].sources.shape
    assert (tmp_path / "runs" / "whitened" / "model" / "model.safetensors").is_file()


def test_use_your_corpus(tmp_path, monkeypatch, as_a_user, capsys):
    pytest.importorskip("espeakng_loader", reason="the extra `synthetic` is not installed")
    monkeypatch.chdir(tmp_path)
    names = run_page("use-your-corpus.md", tmp_path)
    assert names["scan"].layout == "csv" and not names["scan"].problems
    assert len(names["mixtures"]) == 2
    assert "_1.25_" in capsys.readouterr().out


def test_check_your_own_gradient(tmp_path, monkeypatch, capsys, as_a_user):
    monkeypatch.chdir(tmp_path)
    run_page("check-your-own-gradient.md", tmp_path)
    printed = capsys.readouterr().out
    assert "log_cosh: gradient right" in printed
    assert "log_cosh: gradient WRONG" in printed and "at argument 0[2, 1]" in printed


def test_speaker_changes(tmp_path, monkeypatch, capsys, as_a_user):
    monkeypatch.chdir(tmp_path)
    run_page("speaker-changes.md", tmp_path)
    assert "changes at [ 6. 15.]\nF1 1.0" in capsys.readouterr().out


@pytest.mark.slow
def test_u_vectors(tmp_path, monkeypatch, as_a_user):
    brief = with_u_vector_budget(systems.U_VECTOR_PRESETS["cpu"](), steps=2)
    monkeypatch.setitem(systems.U_VECTOR_PRESETS, "cpu", lambda: brief)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recordings").mkdir()
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        audio.write_audio(
            tmp_path / "recordings" / f"{name}.wav", 0.1 * rng.normal(size=85 * 16_000).astype(np.float32), 16_000
        )
    names = run_page("u-vectors.md", tmp_path)
    assert names["vectors"].shape[0] == 5 * len(names["segments"].frames)
