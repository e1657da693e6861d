"""``jaxspk export``."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jaxspk.errors import ArgumentError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Write a speaker encoder as one file that runs without this package, after comparing it with the original.

    The program takes float32 waveforms [batch, samples] of one fixed length at the encoder's rate and gives one vector
    of unit length for each. "jax" is read by jax.export, on CPU, CUDA and TPU; "onnx" by any ONNX runtime.

    Example: jaxspk export -o encoder.jaxexport --seconds 4
    """

    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The file to write."""
    model: Path | None = None
    """Model directory; by default the encoder that comes with the package."""
    format: Literal["jax", "onnx"] | None = None
    """By default what the name of the file ends in: .jaxexport or .onnx."""
    seconds: float = 4.0
    """Length of the recordings it takes."""
    json: bool = False
    """Print one JSON document instead of a line."""


def run(options: Options) -> int:
    """Exports, compares, writes."""
    from jaxspk.systems import EXPORT_FORMATS, SpeakerEncoder, export_encoder

    by_suffix = {suffix: name for name, suffix in EXPORT_FORMATS.items()}
    format = options.format or by_suffix.get(options.output.suffix)
    if format is None:
        raise ArgumentError(f"{options.output}: ends in none of {', '.join(by_suffix)}; say --format jax or onnx.")
    encoder = SpeakerEncoder.load(options.model)
    difference = export_encoder(encoder, options.output, format=format, seconds=options.seconds)
    facts = {
        "file": str(options.output),
        "format": format,
        "sample_rate": encoder.sample_rate,
        "samples": encoder.config.features.samples(options.seconds),
        "dim": encoder.dim,
        "difference": difference,
    }
    if options.json:
        print(json.dumps(facts))
    else:
        print(
            f"{options.output}: [batch, {facts['samples']}] at {encoder.sample_rate} Hz to [batch, {encoder.dim}]; "
            f"differs from the original by {difference:.1e} at most"
        )
    return 0
