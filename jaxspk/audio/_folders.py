"""Finds recordings in files and folders."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from jaxspk.audio._files import printable
from jaxspk.errors import AudioError

AUDIO_SUFFIXES = (".flac", ".mp3", ".oga", ".ogg", ".opus", ".sph", ".wav", ".wave", ".wv1", ".wv2")
"""Endings by which a recording is known in a folder, in lower case; the case of a name does not matter."""


def find_recordings(paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[Path]:
    """The recordings that files and folders name.

    A file is taken whatever its ending; a folder is walked to its depths (links to folders too, each real
    folder once) for names that end in :data:`AUDIO_SUFFIXES` and do not begin with a dot. Nothing is opened.

    Args:
      paths: one path or several.

    Returns:
      The paths in the order given, sorted inside each folder, each file once.

    Raises:
      AudioError: a path does not exist, or a folder holds no recording.
    """
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        if path.is_dir():
            recordings = sorted(_walk(path))
            if not recordings:
                raise AudioError(
                    f"{printable(path)}: holds no recordings: no name ends in {', '.join(AUDIO_SUFFIXES)}."
                )
            found.update(dict.fromkeys(recordings))
        elif path.exists():
            found[path] = None
        else:
            raise AudioError(f"{printable(path)}: there is no such file or folder.")
    return list(found)


def _walk(folder: Path) -> Iterator[Path]:
    seen: set[str] = set()  # Links may lead round in a circle.
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (
            Path(place, name) for name in names if name.lower().endswith(AUDIO_SUFFIXES) and not name.startswith(".")
        )
