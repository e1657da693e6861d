"""Writing into a run's folder."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from jaxspk.errors import CheckpointError


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turns the system's refusal to write into one line with the way out."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"{folder}: cannot write there ({error.strerror or error}); make room or take another folder, "
            "and give the same command again: the run goes on from its last checkpoint."
        ) from None
