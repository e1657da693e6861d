"""What a run was made on: enough to repeat it, nothing about whose machine it was."""

import importlib.metadata
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

_PACKAGES = ("jaxspk", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


def describe_environment() -> dict[str, Any]:
    """Versions, platform and devices, as JSON can hold them; no paths, no names of machines or people."""
    return {
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
        "platform": {
            "system": platform.system(),
            "machine": platform.machine(),
            "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        },
        "devices": {
            "backend": jax.default_backend(),
            "kind": jax.devices()[0].device_kind,
            "count": jax.device_count(),
        },
        "git_commit": _git_commit(),
    }


def version_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Versions and devices that are no longer what they were, as "jax 0.10.2, now 0.11.0"; empty if none."""
    changes = []
    for group in ("versions", "devices", "platform"):
        old, new = before.get(group, {}), now[group]
        changes += [f"{name} {old.get(name)}, now {new[name]}" for name in new if old.get(name) != new[name]]
    return "; ".join(changes)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """The commit of the checkout this package is used from, with "+changes" where files differ from it."""
    checkout = Path(__file__).resolve().parents[2]
    if not (checkout / ".git").exists() or shutil.which("git") is None:
        return None
    commit = _git(checkout, "rev-parse", "HEAD")
    if not commit:
        return None
    return f"{commit}+changes" if _git(checkout, "status", "--porcelain", "--untracked-files=no") else commit


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
