"""Where numbers come from: command, versions, seed, machine, date. Never a path, a user or a host name."""

import dataclasses
import datetime
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PACKAGES = ("jaxspk", "jax", "jaxlib", "flax", "optax", "numpy", "scipy")


@dataclasses.dataclass(frozen=True)
class Provenance:
    """What somebody needs to repeat a number.

    Attributes:
      date: the day, in UTC, ``YYYY-MM-DD``.
      command: what was typed, with folders outside the working directory replaced by ``PATH``.
      seed: what everything random came from; ``None`` where nothing was random.
      versions: of Python and of the packages that compute.
      machine: processor, cores, memory, accelerators, operating system.
      commit: of the checkout, with ``+`` where files were changed since; ``None`` outside one.
    """

    date: str
    command: str
    seed: int | None
    versions: Mapping[str, str]
    machine: str
    commit: str | None = None

    def items(self) -> list[tuple[str, str]]:
        """Everything that is known, as pairs of name and text, in the order of the attributes."""
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        pairs = [
            ("Date", self.date),
            ("Command", self.command),
            ("Seed", None if self.seed is None else str(self.seed)),
            ("Commit", self.commit),
            ("Versions", versions),
            ("Machine", self.machine),
        ]
        return [(name, text) for name, text in pairs if text]


def provenance(*, seed: int | None = None, command: str | None = None) -> Provenance:
    """Gathers the provenance of the running program.

    Args:
      seed: the seed of the run, if it has one.
      command: what to say was typed; by default the program's own command line.
    """
    return Provenance(
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        command=without_paths(_command_line()) if command is None else command,
        seed=seed,
        versions={"python": platform.python_version(), **_versions(PACKAGES)},
        machine=_machine(),
        commit=_commit(),
    )


def without_paths(command: str) -> str:
    """A command line whose absolute paths and home directories are replaced by ``PATH``.

    Example:
      >>> without_paths("jaxspk separate /home/me/a.wav --output=~/out -o new/out")
      'jaxspk separate PATH --output=PATH -o new/out'
    """
    return re.sub(r"""(?<![^\s='":,])(?:~|/)[^\s'":,]*""", "PATH", command)


def _command_line() -> str:
    """What was typed, as short as it can be typed again: ``python -m package.module words``."""
    main = sys.modules.get("__main__")
    specification: Any = getattr(main, "__spec__", None)
    if specification is not None:
        program = f"python -m {specification.name.removesuffix('.__main__')}"
    else:
        name = Path(sys.argv[0]).name if sys.argv else ""
        program = f"python {name}" if name.endswith(".py") else name or "python"
    return " ".join([program, *(_quoted(word) for word in sys.argv[1:])])


def _quoted(word: str) -> str:
    # Paths keep no quotes: they are replaced whole, and a space in one must not leave its end behind.
    if re.match(r"(--?[\w.-]+=)?[~/]", word):
        return re.sub(r"[~/].*", "PATH", word, count=1, flags=re.DOTALL)
    return word if re.fullmatch(r"[\w@%+=:,./-]+", word) else repr(word)


def _versions(names: Sequence[str]) -> dict[str, str]:
    versions = {}
    for name in names:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _machine() -> str:
    parts = [
        _processor(),
        f"{_cores()} cores",
        _memory(),
        *_accelerators(),
        f"{platform.system()} {platform.machine()}",
    ]
    return ", ".join(part for part in parts if part)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()


def _cores() -> int:
    """Cores this process may use, which containers and schedulers make fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory() -> str:
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return ""
    return f"{size / 2**30:.0f} GiB memory"


def _accelerators() -> list[str]:
    """What JAX computes on besides the processor; JAX is asked only where the program uses it already."""
    if "jax" not in sys.modules:
        return []
    kinds = [str(device.device_kind) for device in sys.modules["jax"].devices() if device.platform != "cpu"]
    return [f"{kinds.count(kind)} × {kind}" for kind in dict.fromkeys(kinds)]


def _commit() -> str | None:
    """The commit of the checkout this package runs from, ``+`` for changed files; ``None`` outside one."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    git = ["git", "-C", str(root)]
    try:
        commit = _output([*git, "rev-parse", "--short=12", "HEAD"])
        changed = _output([*git, "status", "--porcelain", "--untracked-files=no"])
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+" if changed else "")


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
