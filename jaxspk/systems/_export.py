"""A speaker encoder as one file that runs without this package, compared with the original before it is written."""

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.export
import jax.extend
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxspk import _numerics
from jaxspk._checks import check_choice, check_range
from jaxspk._files import write_whole
from jaxspk.errors import MissingExtraError, ModelError
from jaxspk.systems._speaker_encoder import SpeakerEncoder

EXPORT_FORMATS = {"jax": ".jaxexport", "onnx": ".onnx"}
"""Formats with the suffix of their files."""

PLATFORMS = ("cpu", "cuda", "tpu")
"""What an exported JAX program runs on."""

# jax2onnx pins an older Orbax than training needs.
_ONNX_ENVIRONMENT = (
    "make an environment of its own (python -m venv onnx), there pip install jax2onnx==0.17.1 onnxruntime jaxtyping "
    "safetensors scipy soundfile soxr tyro and pip install --no-deps jaxspk, and export with its jaxspk"
)

# Vectors of unit length; other summation orders move a coordinate by about 1e-6.
_TOLERANCE = 1e-4


def export_encoder(encoder: SpeakerEncoder, path: str | Path, *, format: str = "jax", seconds: float = 4.0) -> float:
    """Writes the program from waveforms to unit vectors, features and weights inside.

    The program takes ``[batch, samples]``, float32 at :attr:`SpeakerEncoder.sample_rate`, and gives ``[batch, dim]``;
    an ONNX one takes one recording at a time, ``[1, samples]``.
    Its length is fixed: cut longer recordings, and let shorter ones go round (:func:`jaxspk.data.wrap`), never pad them
    with silence. A JAX program is run by ``jax.export.deserialize(data).call(waveform)`` with JAX alone, an ONNX one by
    any ONNX runtime.

    Args:
      encoder: to export.
      path: of the file.
      format: ``"jax"``, for CPU, CUDA and TPU, or ``"onnx"``, which needs jax2onnx and onnxruntime.
      seconds: length of the recordings that the program takes.

    Returns:
      The largest difference of a coordinate between the program and the original, on noise.

    Raises:
      ArgumentError: there is no such format, or a length below the encoder's shortest.
      MissingExtraError: what the format needs is not installed.
      ModelError: the program differs from the original, or the file cannot be written.
    """
    check_choice("format", format, EXPORT_FORMATS)
    check_range("seconds", seconds, low=encoder.shortest_seconds, high=60.0)
    samples = encoder.config.features.samples(seconds)
    noise = 0.1 * np.random.default_rng(0).standard_normal((2, samples)).astype(np.float32)
    program, data, run = (_as_jax if format == "jax" else _as_onnx)(encoder, samples)
    difference = float(np.max(np.abs(np.asarray(run(noise)) - np.asarray(program(jnp.asarray(noise))))))
    if not difference <= _TOLERANCE:
        raise ModelError(f"{path}: not written, for the exported program differs from the encoder by {difference:.1e}.")
    try:
        write_whole(Path(path), data)
    except OSError as error:
        raise ModelError(f"{path}: cannot be written ({error.strerror}).") from None
    return difference


_Parts = tuple[Callable[..., Any], bytes, Callable[..., Any]]


def _program(encoder: SpeakerEncoder) -> Any:
    def embed(waveform: Float[Array, "batch samples"]) -> Float[Array, "batch dim"]:
        return _numerics.normalize(encoder.model.embed(waveform))

    return jax.jit(embed)


def _as_jax(encoder: SpeakerEncoder, samples: int) -> _Parts:
    if importlib.util.find_spec("flatbuffers") is None:
        raise MissingExtraError("Exporting", "export")
    program = _program(encoder)
    (batch,) = jax.export.symbolic_shape("batch")
    shape: Any = jax.ShapeDtypeStruct((batch, samples), jnp.float32)  # type: ignore[no-untyped-call]
    exported = jax.export.export(program, platforms=PLATFORMS)(shape)
    data = bytes(exported.serialize())
    return program, data, jax.export.deserialize(bytearray(data)).call


def _as_onnx(encoder: SpeakerEncoder, samples: int) -> _Parts:
    try:
        converter, runtime = importlib.import_module("jax2onnx"), importlib.import_module("onnxruntime")
    except ImportError:
        raise MissingExtraError("Export to ONNX", commands=_ONNX_ENVIRONMENT) from None
    program = _program(encoder)
    # Traced here, for the converter refuses some of jax.numpy's functions, but knows what they are made of.
    traced = jax.make_jaxpr(program)(jnp.zeros((1, samples), jnp.float32))
    data = converter.to_onnx(jax.extend.core.jaxpr_as_fun(traced), [(1, samples)]).SerializeToString()
    session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    return (
        program,
        data,
        lambda waveform: np.concatenate([session.run(None, {given.name: w[None]})[0] for w in waveform]),
    )
