"""``jaxspk models``."""

import dataclasses
import json
import sys
from pathlib import Path

import tyro

from jaxspk.errors import ModelError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """List model directories and verify their weights; without any, those that come with the package.

    Example: jaxspk models runs/deep_clustering/model
    """

    folders: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Model directories."""
    json: bool = False
    """Print one JSON document instead of lines."""


def run(options: Options) -> int:
    """Loads each directory; 1 if any is damaged."""
    from jaxspk.systems import load_model, packaged_models

    folders = options.folders or tuple(packaged_models().values())
    if not folders:
        raise ModelError("no weights come with this installation; name a model directory.")
    sound: list[dict[str, object]] = []
    refused: list[dict[str, object]] = []
    for folder in folders:
        try:
            stored = load_model(folder)
        except ModelError as error:
            refused.append({"folder": str(folder), "error": str(error)})
        else:
            megabytes = sum(array.nbytes for array in stored.weights.values()) / 1e6
            sound.append(
                {
                    "folder": str(folder),
                    "system": stored.system,
                    "parameters": stored.num_parameters,
                    "megabytes": round(megabytes, 2),
                }
            )
    if options.json:
        print(json.dumps({"models": sound, "refused": refused}, indent=2))
    else:
        for facts in sound:
            size = f"{facts['parameters']:>10,} parameters {facts['megabytes']:>7} MB"
            print(f"{facts['system']:<16} {size}  {facts['folder']}")
        for facts in refused:
            print(f"jaxspk: {facts['error']}", file=sys.stderr)
    return 1 if refused else 0
