"""Text files that are whole or not there at all."""

from pathlib import Path

from jaxspk._files import write_whole


def write_text(path: Path | str, text: str) -> Path:
    """Writes UTF-8 text, whole or not at all; missing folders are made.

    Names of files may hold bytes that are no text (lone surrogates): they come out as "?".
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text.encode("utf-8", errors="replace"))
    return path
