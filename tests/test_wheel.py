"""The wheel, installed alone and outside the checkout, does what the package promises."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Folder with nothing but the wheel's content; its dependencies are those of the environment."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    source = folder / "source"
    # A copy, so that the build leaves no folder in the checkout.
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], check=True, capture_output=True, text=True)
    for name in listed.stdout.split("\0")[:-1]:
        if (ROOT / name).is_file() and name.startswith(("jaxspk/", "pyproject", "README", "LICENSE")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    wheel = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder / "dist"), str(source)]
    subprocess.run(wheel, check=True)
    (built,) = (folder / "dist").glob("jaxspk-*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(folder / "site"), str(built)], check=True)
    return folder / "site"


def run(installed, tmp_path, *words):
    environment = {**os.environ, "PYTHONPATH": str(installed), "XLA_FLAGS": ""}
    command = [sys.executable, "-m", "jaxspk", *words]
    return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)


def test_the_wheel_alone_holds_all_it_needs(installed):
    package = installed / "jaxspk"
    assert (package / "py.typed").is_file()
    assert list((package / "samples").rglob("*.flac"))
    assert list((package / "weights").rglob("model.safetensors"))
    assert list((package / "reports" / "templates").iterdir())
    assert not (installed / "tests").exists() and not (installed / "experiments").exists()


def test_samples_and_separate_work_from_the_wheel(installed, tmp_path):
    where = subprocess.run(
        [sys.executable, "-c", "import jaxspk; print(jaxspk.__file__)"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(installed)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert where.stdout.startswith(str(installed))
    assert "separate" in run(installed, tmp_path, "--help").stdout
    assert run(installed, tmp_path, "samples", "-o", "samples").returncode == 0
    separated = run(installed, tmp_path, "separate", "samples/mixtures/fm-1.flac", "-o", "voices")
    assert separated.returncode == 0, separated.stderr
    assert sorted(path.name for path in (tmp_path / "voices").iterdir()) == ["fm-1-voice1.wav", "fm-1-voice2.wav"]
