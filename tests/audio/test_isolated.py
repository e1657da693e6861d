"""Decoding in a child process: the same result, and no crash, flood or endless loop gets out of it."""

import io
import os
import time

import numpy as np
import pytest
import soundfile

from jaxspk.audio import _isolated, read_audio, read_audio_isolated
from jaxspk.errors import ArgumentError, AudioError


@pytest.fixture
def recording(tmp_path):
    waveform = np.random.default_rng(0).uniform(-0.5, 0.5, (30_000, 2))
    soundfile.write(tmp_path / "a.ogg", waveform, 16_000)
    return tmp_path / "a.ogg"


def test_the_result_is_that_of_read_audio(recording):
    for options in ({}, {"sample_rate": 8000, "channel": 1}):
        expected, expected_rate = read_audio(recording, **options)
        waveform, sample_rate = read_audio_isolated(recording, **options)
        assert sample_rate == expected_rate
        np.testing.assert_array_equal(waveform, expected)


def test_relative_and_odd_names_are_read(recording, monkeypatch):
    monkeypatch.chdir(recording.parent)
    name = os.fsdecode(b"-\xff \n.ogg")
    os.rename(recording, name)
    assert len(read_audio_isolated(name)[0]) == 30_000


@pytest.mark.parametrize("content", [None, b"", b"no sound", b"RIFF\0\0\0\0WAVE"])
def test_trouble_is_told_as_read_audio_tells_it(content, tmp_path):
    path = tmp_path / "a.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AudioError) as expected:
        read_audio(path)
    with pytest.raises(AudioError) as actual:
        read_audio_isolated(path)
    assert str(actual.value) == str(expected.value)


def test_a_flood_of_memory_is_stopped(tmp_path):
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(40_000_000, np.int16), 8000, format="FLAC")
    (tmp_path / "a.flac").write_bytes(buffer.getvalue())
    with pytest.raises(AudioError, match=r"a\.flac: does not fit into memory when decoded"):
        read_audio_isolated(tmp_path / "a.flac", memory_bytes=100_000_000)


def test_time_is_limited(recording, monkeypatch):
    monkeypatch.setattr(_isolated, "_CHILD", "import time; time.sleep(60)")
    started = time.monotonic()
    with pytest.raises(AudioError, match=r"a\.ogg: not decoded within 0\.3 s"):
        read_audio_isolated(recording, timeout_seconds=0.3)
    assert time.monotonic() - started < 10


def test_the_child_limits_its_own_processor_time(recording, monkeypatch):
    monkeypatch.setattr(
        _isolated, "_CHILD", "from jaxspk.audio._isolated import _limit; _limit(1, 10**9)\nwhile True: pass"
    )
    with pytest.raises(AudioError, match="not decoded within 60 s"):
        read_audio_isolated(recording, timeout_seconds=60.0)


@pytest.mark.parametrize(
    "child, text",
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", r"crashed its decoder \(SIGSEGV\)"),
        ("import os; os._exit(3)", "its decoder failed"),
    ],
)
def test_a_crash_is_an_error(child, text, recording, monkeypatch):
    monkeypatch.setattr(_isolated, "_CHILD", child)
    with pytest.raises(AudioError, match=rf"a\.ogg: {text}"):
        read_audio_isolated(recording)


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"hello", b"[1, 2]\n", b"{}\n", b'{"sample_rate": 8000, "samples": 0}\n',
        b'{"sample_rate": 8000, "samples": 2}\n' + bytes(4), b'{"sample_rate": 8000, "samples": 2}\n' + bytes(7),
        b'{"sample_rate": 8, "samples": 2}\n' + bytes(8), b'{"sample_rate": "x", "samples": 2}\n' + bytes(8),
        b'{"sample_rate": 8000, "samples": 2}\n' + b"\xff" * 8, b'{"sample_rate": 8000, "samples": 2}\n' + b"\x7f" * 8,
    ],
)  # fmt: skip
def test_a_wild_answer_is_an_error(answer, recording, monkeypatch):
    monkeypatch.setattr(_isolated, "_CHILD", f"import sys; sys.stdout.buffer.write({answer!r})")
    with pytest.raises(AudioError, match=r"a\.ogg: its decoder failed within"):
        read_audio_isolated(recording)


def test_limits_are_positive(recording, as_a_user):
    with pytest.raises(ArgumentError, match="`timeout_seconds` must lie in"):
        read_audio_isolated(recording, timeout_seconds=0.0)
    with pytest.raises(ArgumentError, match="`memory_bytes` must lie in"):
        read_audio_isolated(recording, memory_bytes=0)
