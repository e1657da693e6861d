"""Rules that the whole project keeps: what it imports, what it never does."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(
    path for folder in ("jaxspk", "experiments", "gradcheck", "benchmarks") for path in (ROOT / folder).rglob("*.py")
)


def test_imports_go_down_only():
    # In a process of its own: it silences every logger that there is.
    command = [
        str(Path(sys.executable).with_name("lint-imports")),
        "--config",
        str(ROOT / "pyproject.toml"),
        "--no-cache",
    ]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_pickle_no_eval_no_unsafe_yaml(path):
    forbidden = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml", "torch.load"}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert not forbidden & {alias.name.split(".")[0] for alias in node.names}, f"line {node.lineno}"
        if isinstance(node, ast.ImportFrom) and node.module:
            assert node.module.split(".")[0] not in forbidden, f"line {node.lineno}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"eval", "exec", "compile", "__import__"}, f"line {node.lineno}"
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            assert isinstance(node.value, ast.Constant) and node.value.value is False, f"line {node.value.lineno}"


@pytest.mark.parametrize(
    "path",
    [path for path in SOURCES if "jaxspk" in path.relative_to(ROOT).parts and path.parent.name != "audio"],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_sound_files_are_read_in_one_place(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not {"soundfile", "soxr"} & set(names), f"line {node.lineno}: use jaxspk.audio"


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, jaxspk; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"jax", "numpy", "scipy", "flax", "sklearn", "soundfile", "tyro", "rich"} & set(loaded)


def test_the_overview_of_commands_imports_nothing_heavy():
    code = "import sys; from jaxspk.cli import main; main(['--help']); print(*sorted(sys.modules), file=sys.stderr)"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "separate" in finished.stdout
    assert not {"jax", "numpy", "tyro"} & set(finished.stderr.split())


def test_every_lazy_name_of_the_package_exists():
    import jaxspk

    for name in jaxspk.__all__:
        assert getattr(jaxspk, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Separater'"):
        jaxspk.Separater  # noqa: B018
