"""Reading: every coding against soundfile itself; every kind of trouble in one line that names the file."""

import io
import os
import struct
import subprocess
import sys
import threading

import numpy as np
import pytest
import scipy.io.wavfile
import scipy.signal
import soundfile

from jaxspk.audio import audio_info, check_sound, read_audio, resample
from jaxspk.errors import ArgumentError, ArgumentTypeError, AudioError

WAV_SUBTYPES = sorted(set(soundfile.available_subtypes("WAV")) - {"MPEG_LAYER_III"})
CODINGS = [
    *(("WAV", subtype) for subtype in WAV_SUBTYPES), ("WAVEX", "PCM_24"), ("RF64", "PCM_16"), ("FLAC", "PCM_16"),
    ("FLAC", "PCM_24"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"), ("NIST", "PCM_16"),
]  # fmt: skip


def sound(samples=4000, channels=1, seed=0):
    rng = np.random.default_rng(seed)
    waveform = np.sin(np.arange(samples)[:, None] * (0.1 + 0.05 * np.arange(channels)))
    return 0.4 * waveform + 0.05 * rng.standard_normal((samples, channels))


def encoded(container="WAV", subtype="PCM_16", channels=1, samples=4000):
    buffer = io.BytesIO()
    soundfile.write(buffer, sound(samples, channels), 8000, format=container, subtype=subtype)
    return buffer.getvalue()


def reference(path):
    """What soundfile decodes; its `read` seeks first, after which MP3 rounds otherwise."""
    with soundfile.SoundFile(path) as file:
        return file.read(file.frames, dtype="float32", always_2d=True)


def message(path, read=read_audio, **options):
    with pytest.raises(AudioError) as caught:
        read(path, **options)
    text = str(caught.value)
    assert "\n" not in text and text.startswith(f"{path}: ") and text.endswith(".")
    return text.removeprefix(f"{path}: ")


@pytest.mark.parametrize("container, subtype", CODINGS)
def test_every_coding_is_read_as_soundfile_reads_it(container, subtype, tmp_path):
    path = tmp_path / "recording"
    path.write_bytes(encoded(container, subtype))
    waveform, sample_rate = read_audio(path)
    expected = reference(path)[:, 0]
    assert sample_rate == 8000 and waveform.dtype == np.float32 and len(expected) >= 4000
    np.testing.assert_array_equal(waveform, expected)
    info = audio_info(path)
    assert (info.container, info.subtype) == (container, subtype)
    assert (info.sample_rate, info.channels, info.samples) == (8000, 1, len(expected))
    assert info.seconds == len(expected) / 8000


def test_big_endian_wav_is_read(tmp_path):
    soundfile.write(tmp_path / "a.wav", sound(), 8000, endian="BIG", subtype="PCM_16")
    assert (tmp_path / "a.wav").read_bytes()[:4] == b"RIFX"
    np.testing.assert_allclose(read_audio(tmp_path / "a.wav")[0], sound()[:, 0], atol=2**-15)


@pytest.mark.parametrize("container, subtype", [("WAV", "FLOAT"), ("FLAC", "PCM_16"), ("OGG", "VORBIS")])
def test_channels_are_averaged_or_one_is_taken(container, subtype, tmp_path):
    path = tmp_path / "recording"
    path.write_bytes(encoded(container, subtype, channels=3))
    expected = reference(path)
    np.testing.assert_allclose(read_audio(path)[0], expected.mean(1), atol=1e-7)
    for channel in range(3):
        np.testing.assert_array_equal(read_audio(path, channel=channel)[0], expected[:, channel])
    assert message(path, channel=3) == "there is no channel 3: it has 3, numbered from 0."


def test_a_recording_longer_than_a_block_is_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("jaxspk.audio._files._BLOCK", 1000)
    for container, subtype in CODINGS:
        path = tmp_path / f"{container}-{subtype}"
        path.write_bytes(encoded(container, subtype))
        np.testing.assert_array_equal(read_audio(path)[0], reference(path)[:, 0])


def test_flac_that_does_not_tell_its_length_is_read(tmp_path):
    content = bytearray(encoded("FLAC", "PCM_16"))
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    (tmp_path / "a.flac").write_bytes(content)
    waveform, _ = read_audio(tmp_path / "a.flac")
    np.testing.assert_allclose(waveform, sound()[:, 0], atol=2**-15)
    assert audio_info(tmp_path / "a.flac").samples == 4000


@pytest.mark.parametrize("declared", [0xFFFFFFFF, 0x7FFFFFFF])
def test_a_wav_written_to_a_pipe_is_read_to_its_end(declared, tmp_path):
    content = bytearray(encoded())
    content[40:44] = struct.pack("<I", declared)
    (tmp_path / "a.wav").write_bytes(content)
    assert len(read_audio(tmp_path / "a.wav")[0]) == 4000


def test_chunks_before_and_after_the_samples_are_passed_over(tmp_path):
    content = encoded()
    note = b"LIST" + struct.pack("<I", 5) + b"hello\0"
    (tmp_path / "a.wav").write_bytes(content[:36] + note + content[36:] + note)
    assert len(read_audio(tmp_path / "a.wav")[0]) == 4000


def test_silence_is_a_recording_like_another(tmp_path):
    for name in ("a.wav", "a.flac", "a.ogg", "a.mp3"):
        soundfile.write(tmp_path / name, np.zeros(50_000), 8000)
        waveform, _ = read_audio(tmp_path / name)
        assert waveform.shape == (50_000,) and not waveform.any()


@pytest.mark.parametrize("container, subtype", CODINGS)
def test_every_truncation_is_noticed(container, subtype, tmp_path):
    content = encoded(container, subtype)
    path = tmp_path / "recording"
    for length in [
        *range(1, 60, 7),
        *np.linspace(60, len(content) - 2, 25, dtype=int),
    ]:  # The last byte may be padding.
        path.write_bytes(content[:length])
        message(path)


def test_an_mp3_without_the_encoders_tag_is_truncated_when_its_last_frame_is(tmp_path):
    content = encoded("MP3", "MPEG_LAYER_III")
    assert b"Info" in content[:200] or b"Xing" in content[:200]
    untagged = content[content.index(content[:2], 2) :]
    path = tmp_path / "a.mp3"
    path.write_bytes(untagged)
    assert len(read_audio(path)[0]) > 3500
    path.write_bytes(untagged[:-10])
    assert message(path) == "truncated: its last frame is cut."


def test_what_is_truncated_says_by_how_much(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(encoded()[:1044])
    assert message(path) == "truncated: it declares 8,000 bytes of samples and holds 1,000."
    assert message(path, audio_info) == message(path)


def test_what_is_no_recording_says_so(tmp_path):
    assert message(tmp_path / "none.wav") == "there is no such file."
    assert message(tmp_path) == "is a folder; name a recording in it."
    (tmp_path / "empty.wav").touch()
    assert message(tmp_path / "empty.wav") == "is empty."
    (tmp_path / "text.wav").write_text("To be, or not to be, that is the question.\n")
    assert message(tmp_path / "text.wav").startswith("not a recording: neither WAV, FLAC, OGG, MP3 nor NIST")
    soundfile.write(tmp_path / "a.aiff", sound(), 8000)
    assert message(tmp_path / "a.aiff").startswith("not a recording")
    os.mkfifo(tmp_path / "pipe.wav")
    assert message(tmp_path / "pipe.wav") == "is no regular file."
    soundfile.write(tmp_path / "no_samples.wav", np.zeros(0), 8000)
    assert message(tmp_path / "no_samples.wav") == "holds no samples."


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_what_may_not_be_read_says_so(tmp_path):
    (tmp_path / "a.wav").write_bytes(encoded())
    (tmp_path / "a.wav").chmod(0)
    assert message(tmp_path / "a.wav") == "cannot be read: Permission denied."


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("channels", [1, 2])
def test_samples_that_are_not_finite_are_refused(value, channels, tmp_path):
    waveform = sound(channels=channels)
    waveform[2000, -1] = value
    soundfile.write(tmp_path / "a.wav", waveform, 8000, subtype="FLOAT")
    assert message(tmp_path / "a.wav") == "damaged: it holds samples that are not finite."


def test_doubles_beyond_float32_are_refused(tmp_path):
    soundfile.write(tmp_path / "a.wav", 1e300 * sound(), 8000, subtype="DOUBLE")
    assert "not finite" in message(tmp_path / "a.wav")


def test_an_absurd_level_is_refused_and_one_above_full_scale_kept(tmp_path):
    soundfile.write(tmp_path / "loud.wav", 30 * sound(), 8000, subtype="FLOAT")
    np.testing.assert_allclose(read_audio(tmp_path / "loud.wav")[0], 30 * sound()[:, 0], rtol=1e-6)
    soundfile.write(tmp_path / "integers.wav", 32768 * sound(), 8000, subtype="FLOAT")
    assert "times full scale: damaged, or integers stored as floats" in message(tmp_path / "integers.wav")


def test_a_length_that_cannot_be_in_the_file_is_refused_before_anything_is_decoded(tmp_path):
    content = bytearray(encoded("FLAC", "PCM_16"))
    content[22:26] = struct.pack(">I", 3_000_000_000)
    (tmp_path / "a.flac").write_bytes(content)
    assert "damaged: it declares 3,000,000,000 samples, more than" in message(tmp_path / "a.flac")
    content[22:26] = struct.pack(">I", 1_000_000)
    (tmp_path / "a.flac").write_bytes(content)
    assert message(tmp_path / "a.flac").startswith(
        ("truncated or damaged: it declares 1,000,000 samples", "damaged, tr")
    )


@pytest.mark.parametrize("rate", [1, 999, 768_001])
def test_a_rate_no_recording_has_is_refused(rate, tmp_path):
    content = bytearray(encoded())
    content[24:28] = struct.pack("<I", rate)
    (tmp_path / "a.wav").write_bytes(content)
    assert message(tmp_path / "a.wav") == f"damaged: it declares {rate} samples a second, not 1000 to 768000."


def test_an_impossible_name_says_so():
    with pytest.raises(AudioError, match=r"a\\x00b: is no possible file name\.$"):
        read_audio("a\0b")


def test_a_name_of_any_bytes_stays_on_one_line(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/two\nlines \xff.wav")
    with pytest.raises(AudioError, match=r"two\\nlines \\xff\.wav: there is no such file") as caught:
        read_audio(path)
    str(caught.value).encode()
    with open(path, "wb") as file:
        file.write(encoded())
    assert len(read_audio(path)[0]) == 4000


DAMAGED_MP3 = """
import io, os, sys, threading
import numpy as np, soundfile
from jaxspk.audio import read_audio
from jaxspk.errors import AudioError
buffer = io.BytesIO()
soundfile.write(buffer, np.random.default_rng(0).uniform(-1, 1, 60_000), 8000, format="MP3")
content = bytearray(buffer.getvalue())
content[5000:6000] = bytes(1000)
open(sys.argv[1], "wb").write(content)
def read():
    for _ in range(20):
        try:
            {read}(sys.argv[1])
        except Exception:
            pass
threads = [threading.Thread(target=read) for _ in range(3)]
[thread.start() for thread in threads]
for _ in range(50):
    os.write(1, b"mine ")
[thread.join() for thread in threads]
"""


@pytest.mark.parametrize("read, clean", [("read_audio", True), ("soundfile.read", False)])
def test_the_decoder_prints_nothing_and_the_program_still_can(read, clean, tmp_path):
    code = DAMAGED_MP3.format(read=read)
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "a.mp3"], capture_output=True, text=True, check=True)
    # That soundfile alone does print shows that this test could fail.
    assert (done.stdout == "mine " * 50 and done.stderr == "") == clean


def test_threads_read_at_the_same_time(tmp_path):
    paths = []
    for container, subtype in CODINGS:
        paths.append(tmp_path / f"{container}-{subtype}")
        paths[-1].write_bytes(encoded(container, subtype))
    expected = [read_audio(path)[0] for path in paths]
    differing = []

    def read_all():
        for path, waveform in zip(paths, expected, strict=True):
            if not np.array_equal(read_audio(path)[0], waveform):
                differing.append(path)

    threads = [threading.Thread(target=read_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not differing


@pytest.mark.speech
def test_real_recordings_are_read_as_soundfile_reads_them(speech):
    paths = sorted(path for path in speech.rglob("*") if path.suffix in (".flac", ".wav", ".ogg", ".mp3"))
    assert len(paths) > 20
    for path in paths[:: len(paths) // 20]:
        waveform, sample_rate = read_audio(path)
        expected, expected_rate = soundfile.read(path, dtype="float32", always_2d=True)
        assert sample_rate == expected_rate
        np.testing.assert_allclose(waveform, expected.mean(1), atol=1e-7)


def test_a_rate_is_made_on_reading(tmp_path):
    (tmp_path / "a.wav").write_bytes(encoded())
    waveform, sample_rate = read_audio(tmp_path / "a.wav", sample_rate=16_000)
    assert sample_rate == 16_000 and waveform.shape == (8000,) and waveform.dtype == np.float32
    np.testing.assert_array_equal(waveform, resample(read_audio(tmp_path / "a.wav")[0], 8000, 16_000))


@pytest.mark.parametrize("from_rate, to_rate", [(16_000, 8000), (8000, 16_000), (44_100, 8000), (22_050, 48_000)])
def test_a_tone_is_resampled_as_the_tone_at_the_new_rate(from_rate, to_rate):
    tone = np.sin(2 * np.pi * 440 * np.arange(from_rate) / from_rate)
    resampled = resample(tone, from_rate, to_rate)
    expected = np.sin(2 * np.pi * 440 * np.arange(to_rate) / to_rate)
    inside = slice(to_rate // 10, -to_rate // 10)  # The filter sees zeros beyond the ends.
    np.testing.assert_allclose(resampled[inside], expected[inside], atol=1e-5)
    assert scipy.signal.resample_poly(tone, to_rate, from_rate).shape == resampled.shape


def test_what_the_new_rate_cannot_hold_is_filtered_out():
    tone = np.sin(2 * np.pi * 6000 * np.arange(16_000) / 16_000)
    assert np.abs(resample(tone, 16_000, 8000)[400:-400]).max() < 1e-4


@pytest.mark.parametrize("samples", [1, 2, 3, 5, 101, 1001])
@pytest.mark.parametrize("from_rate, to_rate", [(16_000, 8000), (44_100, 8000), (8000, 44_100), (768_000, 1000)])
def test_the_new_length_is_rounded_half_up_and_at_least_one(samples, from_rate, to_rate):
    expected = max(1, int(np.floor(samples * to_rate / from_rate + 0.5)))
    assert resample(np.ones(samples, np.float32), from_rate, to_rate).shape == (expected,)


def test_rows_are_resampled_apart_and_the_dtype_stays():
    waveform = sound(1000, 6).T.reshape(2, 3, 1000)
    resampled = resample(waveform, 16_000, 8000)
    assert resampled.shape == (2, 3, 500) and resampled.dtype == np.float64
    np.testing.assert_array_equal(resampled[1, 2], resample(waveform[1, 2], 16_000, 8000))
    assert resample(waveform.astype(np.float32), 16_000, 8000).dtype == np.float32
    np.testing.assert_array_equal(resample(waveform, 8000, 8000), waveform)


def test_what_is_too_short_or_silent_to_work_with_says_so():
    check_sound(sound()[:, 0], 8000, name="a.wav", minimum_seconds=0.5)
    with pytest.raises(AudioError, match=r"^a\.wav: too short: 0\.500 s, at least 0\.6 s are needed\.$"):
        check_sound(sound()[:, 0], 8000, name="a.wav", minimum_seconds=0.6)
    with pytest.raises(AudioError, match=r"^a\.wav: silent: nothing in its 0\.5 s exceeds -90 dB of full scale\.$"):
        check_sound(np.full(4000, 2.0**-15), 8000, name="a.wav")


@pytest.mark.parametrize(
    "make, error, text",
    [
        (lambda: read_audio("a.wav", channel=-1), ArgumentError, "`channel` must be 'mean' or a number from 0"),
        (lambda: read_audio("a.wav", channel="left"), ArgumentError, "`channel` must be"),
        (lambda: read_audio("a.wav", channel=True), ArgumentError, "`channel` must be"),
        (lambda: resample(np.ones(9), 0, 8000), ArgumentError, "`from_rate` must lie in"),
        (lambda: resample(np.ones(9), 8000, 10**7), ArgumentError, "`to_rate` must lie in"),
        (lambda: resample(np.ones(0), 8000, 16_000), ArgumentError, "at least one sample"),
        (lambda: resample(np.ones(9, int), 8000, 16_000), ArgumentTypeError, "`waveform` must be floating"),
    ],
)
def test_what_does_not_fit_is_refused(make, error, text, as_a_user):
    with pytest.raises(error, match=text):
        make()


def test_reading_files_does_not_wait_for_jax():
    code = "import sys; from jaxspk.audio import read_audio, find_recordings; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_scipy_reads_the_same_samples(tmp_path):
    (tmp_path / "a.wav").write_bytes(encoded())
    _rate, codes = scipy.io.wavfile.read(tmp_path / "a.wav")
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav")[0], codes.astype(np.float32) / 32768)
