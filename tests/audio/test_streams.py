"""Block by block: what comes out is what the whole would have given, whatever the blocks."""

import os
import shutil
from collections import namedtuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxspk.audio import AudioWriter, audio_info, open_audio, read_audio, resample, resample_blocks, write_audio
from jaxspk.audio._writing import wav_frame
from jaxspk.errors import ArgumentError, ArgumentTypeError, AudioError


def noise(*shape):
    return np.random.default_rng(0).uniform(-0.9, 0.9, shape).astype(np.float32)


def split(waveform, sizes):
    """Blocks of the given sizes, round and round; the last holds what is left."""
    position, number = 0, 0
    while position < waveform.shape[-1]:
        size = sizes[number % len(sizes)]
        yield waveform[..., position : position + size]
        position, number = position + size, number + 1


@given(
    samples=st.integers(1, 5000),
    sizes=st.lists(st.integers(1, 1500), min_size=1, max_size=4),
    rates=st.sampled_from([(8000, 8000), (16000, 8000), (8000, 16000), (44100, 8000), (8000, 44100), (11025, 8000)]),
    rows=st.sampled_from([(), (1,), (3,)]),
)
def test_resampling_does_not_depend_on_the_blocks(samples, sizes, rates, rows):
    waveform = noise(*rows, samples)
    whole = resample(waveform, *rates)
    joined = np.concatenate(list(resample_blocks(split(waveform, sizes), *rates)), axis=-1)
    assert joined.shape == whole.shape and joined.dtype == np.float32
    np.testing.assert_allclose(joined, whole, rtol=0, atol=2e-6)


def test_resampling_refuses_nothing_and_integers(as_a_user):
    with pytest.raises(ArgumentError, match="at least one sample"):
        list(resample_blocks([], 8000, 16000))
    with pytest.raises(ArgumentTypeError, match="must be floating"):
        list(resample_blocks([np.ones(9, np.int16)], 8000, 16000))
    with pytest.raises(ArgumentError, match="`to_rate` must lie in"):
        resample_blocks([np.ones(9, np.float32)], 8000, 1)


@pytest.mark.parametrize("channel", ["mean", 0, 1])
@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_an_open_recording_has_the_samples_of_one_read_at_once(name, channel, tmp_path):
    write_audio(tmp_path / name, noise(1_200_000, 2), 16_000, subtype="PCM_16")
    with open_audio(tmp_path / name, channel=channel) as stream:
        blocks = list(stream.blocks)
    assert stream.sample_rate == 16_000
    assert len(blocks) > 1
    np.testing.assert_array_equal(np.concatenate(blocks), read_audio(tmp_path / name, channel=channel)[0])


def test_an_open_recording_refuses_what_reading_refuses(tmp_path, as_a_user):
    write_audio(tmp_path / "a.wav", noise(100), 8000)
    with (
        pytest.raises(AudioError, match=r"a\.wav: there is no channel 1: it has 1"),
        open_audio(tmp_path / "a.wav", channel=1),
    ):
        pass
    with pytest.raises(ArgumentError, match="`channel` must be"), open_audio(tmp_path / "a.wav", channel=-1):
        pass
    with pytest.raises(AudioError, match="there is no such file"), open_audio(tmp_path / "b.wav"):
        pass


@pytest.mark.parametrize("subtype", ["FLOAT", "PCM_16", "PCM_24"])
@pytest.mark.parametrize("samples", [1, 2, 999])
def test_written_in_blocks_it_is_the_same_file(subtype, samples, tmp_path):
    waveform = 1.5 * noise(samples)
    clipped = write_audio(tmp_path / "whole.wav", waveform, 8000, subtype=subtype)
    with AudioWriter(tmp_path / "blocks.wav", 8000, samples, subtype=subtype) as writer:
        for block in split(waveform, [7, 100]):
            writer.write(block)
        writer.finish()
    assert writer.clipped == clipped
    assert (tmp_path / "blocks.wav").read_bytes() == (tmp_path / "whole.wav").read_bytes()


def test_a_file_may_get_its_name_at_the_end(tmp_path):
    with AudioWriter(tmp_path / "a.wav", 8000, 3) as writer:
        writer.write(noise(3))
        assert not (tmp_path / "a.wav").exists()
        assert writer.finish(tmp_path / "b.wav") == tmp_path / "b.wav"
    assert [path.name for path in tmp_path.iterdir()] == ["b.wav"]


@pytest.mark.parametrize("trouble", [KeyboardInterrupt, RuntimeError])
def test_an_interruption_leaves_what_was_there_and_nothing_beside(trouble, tmp_path):
    write_audio(tmp_path / "a.wav", noise(5), 8000)
    before = (tmp_path / "a.wav").read_bytes()
    with pytest.raises(trouble), AudioWriter(tmp_path / "a.wav", 8000, 100) as writer:
        writer.write(noise(50))
        raise trouble
    assert (tmp_path / "a.wav").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


@pytest.mark.parametrize("given", [2, 4])
def test_another_length_than_was_announced_is_refused(given, tmp_path):
    with (
        pytest.raises(AudioError, match=rf"3 samples were announced, {given} came"),
        AudioWriter(tmp_path / "a.wav", 8000, 3) as writer,
    ):
        writer.write(noise(given))
        writer.finish()
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_is_refused(tmp_path, monkeypatch, as_a_user):
    with pytest.raises(AudioError, match=r"block by block as \.wav only"):
        AudioWriter(tmp_path / "a.flac", 8000, 3)
    with pytest.raises(AudioError, match=r"a\.wav: cannot be written: No such file or directory"):
        AudioWriter(tmp_path / "none" / "a.wav", 8000, 3)
    with pytest.raises(ArgumentError, match="`samples` must lie in"):
        AudioWriter(tmp_path / "a.wav", 8000, 0)
    with pytest.raises(AudioError, match="not finite"), AudioWriter(tmp_path / "a.wav", 8000, 3) as writer:
        writer.write(np.array([np.nan], np.float32))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: namedtuple("Usage", "free")(1_000_000))
    with pytest.raises(AudioError, match=r"a\.wav: not written: it takes 4 MB, the disk has 1 MB left"):
        AudioWriter(tmp_path / "a.wav", 8000, 1_000_000)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    with AudioWriter(tmp_path / "a.wav", 8000, 10) as writer:

        def full(content):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(writer._file, "stream", namedtuple("Full", "write close")(full, writer._file.stream.close))
        with pytest.raises(AudioError, match=r"a\.wav: cannot be written: No space left on device\.$"):
            writer.write(noise(10))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("subtype, samples", [("FLOAT", 1_500_000_000), ("PCM_24", 1_500_000_001)])
def test_beyond_4_gib_it_is_rf64_and_can_be_read(subtype, samples, tmp_path):
    before, after = wav_frame(samples, 1, 48_000, subtype, "a.wav")
    (tmp_path / "a.wav").write_bytes(before)
    # A file with a hole: it takes no room.
    os.truncate(tmp_path / "a.wav", len(before) + samples * (4 if subtype == "FLOAT" else 3) + len(after))
    info = audio_info(tmp_path / "a.wav")
    assert (info.container, info.samples, info.sample_rate, info.subtype) == ("RF64", samples, 48_000, subtype)
