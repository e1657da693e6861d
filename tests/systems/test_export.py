"""An exported encoder gives the original's vectors, or is not written."""

import importlib.util

import jax.export
import numpy as np
import pytest
from flax import nnx

from jaxspk.errors import ArgumentError, MissingExtraError, ModelError
from jaxspk.systems import EncoderConfig, SpeakerConfig, SpeakerEncoder, SpeakerModel, _export, export_encoder


@pytest.fixture(scope="module")
def encoder():
    config = SpeakerConfig(encoder=EncoderConfig(network="tdnn", dim=6, width=8, pooling="asp"))
    return SpeakerEncoder(config, SpeakerModel(config, rngs=nnx.Rngs(0)))


# The number of recordings is a symbol while a program is made, which the run-time checks of the tests do not know.
def test_the_program_gives_the_same_vectors_for_any_number_of_recordings(encoder, tmp_path, as_a_user):
    path = tmp_path / "encoder.jaxexport"
    assert export_encoder(encoder, path, seconds=0.5) < 1e-5
    program = jax.export.deserialize(bytearray(path.read_bytes()))
    assert set(program.platforms) == {"cpu", "cuda", "tpu"}
    noise = 0.1 * np.random.default_rng(1).normal(size=(3, 8000)).astype(np.float32)
    np.testing.assert_allclose(program.call(noise), encoder.embed(list(noise), 16_000), atol=2e-5)


def test_a_program_that_differs_is_not_written(encoder, tmp_path, monkeypatch, as_a_user):
    true = _export._as_jax

    def wrong(encoder, samples):
        program, data, run = true(encoder, samples)
        return program, data, lambda waveform: np.asarray(run(waveform)) + 1e-3

    monkeypatch.setattr(_export, "_as_jax", wrong)
    with pytest.raises(ModelError, match="not written, for the exported program differs from the encoder by 1"):
        export_encoder(encoder, tmp_path / "wrong.jaxexport", seconds=0.5)
    assert not list(tmp_path.iterdir())


def test_without_the_converter_the_way_to_it_is_named(encoder, tmp_path):
    if importlib.util.find_spec("jax2onnx"):
        pytest.skip("jax2onnx is installed here")
    with pytest.raises(MissingExtraError, match="environment of its own"):
        export_encoder(encoder, tmp_path / "encoder.onnx", format="onnx")


@pytest.mark.parametrize(("options", "message"), [({"format": "torch"}, "format"), ({"seconds": 0.01}, "seconds")])
def test_what_cannot_be_exported_is_refused(encoder, tmp_path, options, message):
    with pytest.raises(ArgumentError, match=message):
        export_encoder(encoder, tmp_path / "encoder", **options)
