"""The model directories that come with the package, one a system."""

from importlib import resources
from pathlib import Path

from jaxspk.errors import ModelError


def packaged_models() -> dict[str, Path]:
    """The packaged model directories by system."""
    folder = Path(str(resources.files("jaxspk") / "weights"))
    return {path.name: path for path in sorted(folder.glob("*")) if (path / "config.json").is_file()}


def packaged_model(system: str) -> Path:
    """The packaged model directory of a system.

    Raises:
      ModelError: none comes with this installation.
    """
    try:
        return packaged_models()[system]
    except KeyError:
        raise ModelError(f"no weights for {system!r} come with this installation; give a model directory.") from None
