"""``jaxspk samples``."""

import dataclasses
from importlib import resources
from pathlib import Path
from typing import Annotated

import tyro

from jaxspk._files import write_whole
from jaxspk.errors import JaxspkError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Write the recordings that come with the package, real mixtures of two voices, to a folder.

    Example: jaxspk samples -o samples && jaxspk separate samples/mixtures -o voices
    """

    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("samples")
    """Folder to write to; made if need be."""


def run(options: Options) -> int:
    """Copies the packaged recordings, their sources and their attribution."""
    # Not through jaxspk.systems, which would wait for JAX only to copy files.
    source = Path(str(resources.files("jaxspk") / "samples"))
    files = sorted(path for path in source.rglob("*") if path.is_file() and path.suffix in (".flac", ".md", ".csv"))
    try:
        for file in files:
            target = options.output / file.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            write_whole(target, file.read_bytes())
            print(target)
    except OSError as error:
        raise JaxspkError(f"{options.output}: cannot be written ({error.strerror}).") from None
    return 0
