"""Writing: bit-exact codes, clipping instead of wrapping round, whole files or none."""

import os

import numpy as np
import pytest
import scipy.io.wavfile
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from jaxspk.audio import audio_info, read_audio, write_audio
from jaxspk.errors import ArgumentError, ArgumentTypeError, AudioError


def noise(*shape):
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


@pytest.mark.parametrize("samples", [1, 2, 999])
@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize(
    "name, subtype, step",
    [
        ("a.wav", "FLOAT", 0), ("a.wav", "PCM_16", 2**-15), ("a.WAV", "PCM_24", 2**-23), ("a.flac", "PCM_16", 2**-15),
        ("a.flac", "PCM_24", 2**-23),
    ],
)  # fmt: skip
def test_what_is_written_is_read_back_to_half_a_step(name, subtype, step, channels, samples, tmp_path):
    waveform = noise(samples, channels) * 0.9
    assert write_audio(tmp_path / name, waveform, 16_000, subtype=subtype) == 0
    back, sample_rate = soundfile.read(tmp_path / name, always_2d=True)
    assert sample_rate == 16_000
    np.testing.assert_allclose(back, waveform, rtol=0, atol=step / 2)
    info = audio_info(tmp_path / name)
    assert (info.subtype, info.channels, info.samples) == (subtype, channels, samples)
    np.testing.assert_allclose(read_audio(tmp_path / name)[0], waveform.mean(1), rtol=0, atol=step + 1e-7)


def test_one_axis_is_one_channel_and_float64_is_taken(tmp_path):
    waveform = noise(100)
    write_audio(tmp_path / "a.wav", waveform.astype(np.float64), 8000)
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav")[0], waveform)


@pytest.mark.parametrize("subtype, dtype", [("FLOAT", np.float32), ("PCM_16", np.int16)])
def test_scipy_reads_it(subtype, dtype, tmp_path):
    write_audio(tmp_path / "a.wav", noise(101, 3), 8000, subtype=subtype)
    sample_rate, samples = scipy.io.wavfile.read(tmp_path / "a.wav")
    assert sample_rate == 8000 and samples.dtype == dtype and samples.shape == (101, 3)


@pytest.mark.parametrize("subtype, most", [("PCM_16", 1 - 2**-15), ("PCM_24", 1 - 2**-23)])
@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_loud_samples_are_clipped_and_counted_never_wrapped(subtype, most, name, tmp_path):
    waveform = np.array([0.0, 1.0, -1.0, 1.0001, -1.5, 1e30, 0.5])
    assert write_audio(tmp_path / name, waveform, 8000, subtype=subtype) == 3
    back, _ = soundfile.read(tmp_path / name)
    np.testing.assert_array_equal(back, [0, most, -1, most, -1, most, 0.5])


def test_floats_are_never_clipped(tmp_path):
    assert write_audio(tmp_path / "a.wav", np.array([2.0, -30.0]), 8000) == 0
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav")[0], [2, -30])


@given(arrays(np.float32, st.integers(1, 50), elements=st.floats(-3, 3, width=32)))
def test_16_bits_hold_the_nearest_code(tmp_path_factory, waveform):
    path = tmp_path_factory.mktemp("codes") / "a.wav"
    write_audio(path, waveform, 8000, subtype="PCM_16")
    _, codes = scipy.io.wavfile.read(path)
    assert (np.abs(codes - np.clip(waveform.astype(float) * 32768, -32768, 32767)) <= 0.5).all()


@pytest.mark.parametrize("name, subtype", [("a.wav", "FLOAT"), ("a.wav", "PCM_24"), ("a.flac", "PCM_16")])
def test_the_same_samples_give_the_same_bytes(name, subtype, tmp_path):
    write_audio(tmp_path / name, noise(500), 8000, subtype=subtype)
    before = (tmp_path / name).read_bytes()
    write_audio(tmp_path / name, noise(500), 8000, subtype=subtype)
    assert (tmp_path / name).read_bytes() == before


def test_a_failure_leaves_the_old_file_and_nothing_beside(tmp_path, monkeypatch):
    write_audio(tmp_path / "a.wav", noise(10), 8000)
    before = (tmp_path / "a.wav").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(AudioError, match=r"a\.wav: cannot be written: No space left on device\.$"):
        write_audio(tmp_path / "a.wav", noise(20), 8000)
    assert (tmp_path / "a.wav").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


@pytest.mark.parametrize(
    "name, waveform, options, error, text",
    [
        ("a.mp3", np.ones(9), {}, AudioError, r"a\.mp3: not written: .* as \.wav or \.flac, not '\.mp3'"),
        ("a.flac", np.ones(9), {}, AudioError, "FLAC holds no floats; take subtype='PCM_24'"),
        ("a.flac", np.ones((9, 9)), {"subtype": "PCM_16"}, AudioError, r"a\.flac: not written: "),
        ("none/a.wav", np.ones(9), {}, AudioError, r"a\.wav: cannot be written: No such file or directory"),
        ("a.wav", np.array([np.nan]), {}, AudioError, "values that are not finite"),
        ("a.wav", np.ones(0), {}, ArgumentError, "`waveform` must be"),
        ("a.wav", np.ones((1, 1, 9)), {}, ArgumentError, "`waveform` must be"),
        ("a.wav", np.ones((1, 70_000)), {}, AudioError, "do not fit into a WAV"),
        ("a.wav", np.ones(9, np.int16), {}, ArgumentTypeError, "`waveform` must be floating, got dtype int16"),
        ("a.wav", np.ones(9), {"subtype": "PCM_8"}, ArgumentError, "`subtype` must be one of"),
        ("a.wav", np.ones(9), {"sample_rate": 0}, ArgumentError, "`sample_rate` must lie in"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_written(name, waveform, options, error, text, tmp_path, as_a_user):
    with pytest.raises(error, match=text):
        write_audio(tmp_path / name, waveform, **({"sample_rate": 8000} | options))
    assert not list(tmp_path.iterdir())
