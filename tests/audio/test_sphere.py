"""NIST SPHERE: plain samples against soundfile, packed ones against what was packed, damage in one line."""

import io
import time

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from jaxspk.audio import audio_info, read_audio, read_audio_isolated
from jaxspk.errors import AudioError
from tests.audio.sphere import QLPC, ZERO, Bits, pack, plain, shortened, sphere


def speech(samples=3000, channels=1, seed=0):
    """Integers like those of recorded speech: a few resonances, pauses, a little offset."""
    rng = np.random.default_rng(seed)
    time_axis = np.arange(samples)[:, None] / 16_000
    tone = sum(np.sin(2 * np.pi * f * time_axis + rng.uniform(0, 6, channels)) / f for f in (150, 450, 1200))
    envelope = np.clip(np.sin(2 * np.pi * 3 * time_axis + np.arange(channels)), 0, None)
    return np.rint(4e5 * envelope * tone + rng.normal(7, 3, (samples, channels))).astype(np.int64)


def read(content, path, **options):
    path.write_bytes(content)
    return read_audio(path, **options)[0]


def message(content, path):
    path.write_bytes(content)
    with pytest.raises(AudioError) as caught:
        read_audio(path)
    text = str(caught.value)
    assert "\n" not in text and text.startswith(f"{path}: ") and text.endswith(".")
    return text.removeprefix(f"{path}: ")


# --- Plain ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_24", "PCM_32", "ULAW", "ALAW"])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("endian", ["LITTLE", "BIG"])
def test_every_plain_coding_is_read_as_soundfile_reads_it(subtype, channels, endian, tmp_path):
    buffer = io.BytesIO()
    waveform = np.random.default_rng(0).uniform(-1, 1, (2000, channels))
    soundfile.write(buffer, waveform, 16_000, format="NIST", subtype=subtype, endian=endian)
    (tmp_path / "a.sph").write_bytes(buffer.getvalue())
    expected, _ = soundfile.read(tmp_path / "a.sph", dtype="float32", always_2d=True)
    for channel in range(channels):
        np.testing.assert_array_equal(read_audio(tmp_path / "a.sph", channel=channel)[0], expected[:, channel])
    info = audio_info(tmp_path / "a.sph")
    assert (info.container, info.subtype, info.channels, info.samples) == ("NIST", subtype, channels, 2000)


@pytest.mark.parametrize("name, subtype", [("mu-law", "ULAW"), ("ulaw", "ULAW"), ("alaw", "ALAW")])
def test_g711_is_read_under_all_its_names(name, subtype, tmp_path):
    codes = bytes(range(256))
    fields = {"channel_count": 1, "sample_count": 256, "sample_rate": 8000, "sample_n_bytes": 1}
    waveform = read(sphere(codes, **fields, sample_coding=name), tmp_path / "a.sph")
    expected, _ = soundfile.read(
        io.BytesIO(codes), dtype="float32", format="RAW", subtype=subtype, samplerate=8000, channels=1
    )
    np.testing.assert_array_equal(waveform, expected)


def test_a_header_like_timits_is_read(tmp_path):
    samples = speech(500)
    described = {"database_id": "TIMIT", "utterance_id": "cjf0_sa1", "sample_min": -100, "sample_sig_bits": 16}
    waveform = read(plain(samples, **described), tmp_path / "SA1.WAV")
    np.testing.assert_array_equal(waveform, samples[:, 0] / np.float32(32768))


def test_longer_headers_and_rates_written_as_reals_are_read(tmp_path):
    content = plain(speech(500))
    content = content.replace(b"   1024", b"   2048").replace(b"-i 16000", b"-r 16000.0")
    longer = content[:1024].rstrip() + b"\n" + b" " * 2048
    path = tmp_path / "a.sph"
    path.write_bytes(longer[:2048] + content[1024:])
    assert audio_info(path).sample_rate == 16_000
    assert len(read_audio(path)[0]) == 500


def test_a_length_that_is_not_told_is_that_of_the_file(tmp_path):
    content = plain(speech(500)).replace(b"sample_count -i 500", b"sample_conut -i 500")
    assert len(read(content, tmp_path / "a.sph")) == 500


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda c: c[:-100], "truncated: it declares 1,000 bytes of samples and holds 900."),
        (lambda c: c[:600], "truncated: its header is cut."),
        (lambda c: c.replace(b"end_head", b"end_hand"), "damaged: its header has no end_head."),
        (lambda c: c.replace(b"   1024", b"   many"), "damaged: its header does not tell its length."),
        (lambda c: c.replace(b"sample_rate", b"simple_rate"), "damaged: its header has no sample_rate."),
        (lambda c: c.replace(b"count -i 1\n", b"count -i 0\n"), "damaged: channel_count is '0' in its header."),
        (lambda c: c.replace(b"-i 16000", b"-i -1600"), "damaged: sample_rate is '-1600' in its header."),
        (lambda c: c.replace(b"count -i 500", b"count -i 000"), "holds no samples."),
        (lambda c: c.replace(b"-s2 01", b"-s2 02"), "damaged: its samples have 2 bytes in the order '02'."),
        (lambda c: c.replace(b"byte_format", b"bite_format"), "its bytes are packed in no order that its header tells"),
        (lambda c: c.replace(b"-s2 01", b"-s9 shortpack"), "its bytes are packed by 'shortpack', which cannot be read"),
    ],
)  # fmt: skip
def test_damaged_headers_say_what_is_wrong(change, text, tmp_path):
    assert message(change(plain(speech(500))), tmp_path / "a.sph").startswith(text)


@pytest.mark.parametrize("coding", ["pcm,embedded-wavpack-v1.0", "pculaw", "adpcm"])
def test_other_codings_are_named_with_the_way_out(coding, tmp_path):
    content = plain(speech(500), sample_coding=coding)
    expected = f"of the coding '{coding}', which cannot be read; convert it: sph2pipe -f wav IN OUT."
    assert message(content, tmp_path / "a.sph") == expected


def test_channels_one_after_the_other_are_refused(tmp_path):
    content = plain(speech(500, 2), channels_interleaved="FALSE")
    assert "follow one another instead of alternating" in message(content, tmp_path / "a.sph")


# --- Packed by shorten ------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("means", [0, 4])
@pytest.mark.parametrize("command", [0, 1, 2, 3, QLPC])
def test_what_was_packed_is_unpacked(version, channels, means, command, tmp_path):
    samples = speech(1000, channels)
    coefficients = (50, -22, 3) if command == QLPC else ()
    packing = {"version": version, "means": means, "commands": [command], "coefficients": coefficients}
    (tmp_path / "a.wv1").write_bytes(shortened(samples, **packing))
    for channel in range(channels):
        waveform, rate = read_audio(tmp_path / "a.wv1", channel=channel)
        np.testing.assert_array_equal(waveform, samples[:, channel] / np.float32(32768))
    assert rate == 16_000
    info = audio_info(tmp_path / "a.wv1")
    assert (info.container, info.subtype, info.channels, info.samples) == ("NIST", "SHORTEN", channels, 1000)


@given(
    samples=st.lists(st.integers(-(2**15), 2**15 - 1), min_size=1, max_size=90),
    channels=st.sampled_from([1, 2, 3]),
    block=st.integers(1, 40),
    means=st.integers(0, 3),
    version=st.sampled_from([1, 2]),
    commands=st.lists(st.sampled_from([0, 1, 2, 3, QLPC]), min_size=1, max_size=3),
    coefficients=st.lists(st.integers(-64, 64), max_size=5),
)
def test_any_samples_are_unpacked(tmp_path_factory, samples, channels, block, means, version, commands, coefficients):
    values = np.array(samples * channels).reshape(channels, -1).T
    packing = {"block": block, "means": means, "version": version, "commands": commands, "coefficients": coefficients}
    path = tmp_path_factory.getbasetemp() / "any.wv1"
    path.write_bytes(shortened(values, **packing))
    np.testing.assert_array_equal(read_audio(path, channel=channels - 1)[0], values[:, -1] / np.float32(32768))


@pytest.mark.parametrize("shift", [1, 3])
@pytest.mark.parametrize("version", [1, 2])
def test_bits_that_all_samples_lack_are_put_back(shift, version, tmp_path):
    samples = speech() >> shift << shift
    waveform = read(shortened(samples, shift=shift, version=version), tmp_path / "a.wv1")
    np.testing.assert_array_equal(waveform, samples[:, 0] / np.float32(32768))


def test_silence_takes_almost_nothing(tmp_path):
    samples = np.zeros((50_000, 1), np.int64)
    content = shortened(samples, commands=[ZERO])
    assert len(content) < 1024 + 200
    waveform = read(content, tmp_path / "a.wv1")
    assert waveform.shape == (50_000,) and not waveform.any()


def test_the_extremes_of_16_bits_are_unpacked(tmp_path):
    samples = np.array([-32768, 32767] * 600)[:, None]
    np.testing.assert_array_equal(read(shortened(samples), tmp_path / "a.wv1") * 32768, samples[:, 0])


def test_a_stream_of_many_windows_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr("jaxspk.audio._shorten._CHUNK", 16)
    samples = speech(2000, 2)
    monkeypatch.setattr("jaxspk.audio._files._BLOCK", 700)
    np.testing.assert_array_equal(
        read(shortened(samples), tmp_path / "a.wv1", channel=1), samples[:, 1] / np.float32(32768)
    )


def test_the_isolated_reader_reads_it_too(tmp_path):
    (tmp_path / "a.wv1").write_bytes(shortened(speech()))
    np.testing.assert_array_equal(read_audio_isolated(tmp_path / "a.wv1")[0], read_audio(tmp_path / "a.wv1")[0])


def test_every_truncation_is_noticed(tmp_path):
    content = shortened(speech(1000))
    for length in np.linspace(1025, len(content) - 6, 40, dtype=int):
        text = message(content[:length], tmp_path / "a.wv1")
        assert text.startswith(("truncated", "damaged"))


def test_a_flipped_bit_is_noticed(tmp_path):
    content = bytearray(shortened(speech(2000)))
    rng = np.random.default_rng(0)
    for place in rng.integers(1034, len(content) - 6, 100):
        changed = content.copy()
        changed[place] ^= 1 << rng.integers(8)
        assert message(bytes(changed), tmp_path / "a.wv1")


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda s: shortened(s, fields={"sample_checksum": 1}), "damaged: its samples do not add up to the checksum"),
        (lambda s: shortened(s, fields={"sample_count": 999}), "truncated or damaged: it declares 999 samples, 500"),
        (lambda s: shortened(s, version=7), "packed by version 7 of shorten, of which 1 to 3 can be read."),
        (lambda s: shortened(s, kind=8), "packed by shorten, but not of 16-bit samples; unpack it: sph2pipe -f wav"),
        (lambda s: shortened(s, declared_channels=2), "damaged: it declares 1 channels and packs 2."),
        (lambda s: shortened(s).replace(b"ajkg", b"ajgk"), "damaged: it does not hold the packed samples"),
    ],
)  # fmt: skip
def test_damaged_streams_say_what_is_wrong(make, text, tmp_path):
    assert message(make(speech(500)), tmp_path / "a.wv1").startswith(text)


def stream_of(*numbers):
    """A header of one channel in blocks of so many samples, then numbers as (value, width)."""
    bits = Bits()
    for number in (5, 1, 65_535, 1, 0, 0):
        bits.long(number)
    for number, width in numbers:
        bits.unsigned(number, width)
    return b"ajkg\2" + bits.to_bytes()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (stream_of((11, 2)), "damaged: it holds a command 11, and there are 10."),
        (stream_of((5, 2), (3, 2), (0, 3)), "damaged: its packed samples name the number 0, expected 1 to 65535."),
        (stream_of((6, 2), (40, 2)), "damaged: its packed samples name the number 40, expected 0 to 15."),
        (stream_of((0, 2), (50, 3)), "damaged: its packed samples name the number 50, expected 0 to 31."),
        (stream_of((7, 2), (0, 3), (9, 2)), "damaged: its packed samples name the number 9, expected 0 to 1."),
        # A predictor that doubles must not count up to numbers of thousands of digits.
        (stream_of((7, 2), (0, 3), (1, 2), (128, 6)) + b"\x49" * 60_000, "damaged: its packed samples name the number"),
        # A run of zeros longer than any block.
        (stream_of((0, 2), (0, 3)) + bytes(3 << 20), "damaged: a block of its packed samples has no end."),
    ],
)  # fmt: skip
def test_senseless_streams_end_soon(content, text, tmp_path):
    fields = {"channel_count": 1, "sample_count": 100_000, "sample_rate": 16_000, "sample_n_bytes": 2}
    file = sphere(content, **fields, sample_coding="pcm,embedded-shorten-v2.00")
    start = time.monotonic()
    assert message(file, tmp_path / "a").startswith(text)
    assert time.monotonic() - start < 5


def test_a_length_that_cannot_be_in_the_file_is_refused_before_anything_is_unpacked(tmp_path):
    content = shortened(speech(500), fields={"sample_count": 10**9})
    assert message(content, tmp_path / "a.wv1").startswith("damaged: it declares 1,000,000,000 samples, more than")


def test_no_field_but_the_samples_is_needed_of_a_stream_without_length(tmp_path):
    samples = speech(700)
    content = shortened(samples).replace(b"sample_count -i 700", b"sample_conut -i 700")
    np.testing.assert_array_equal(read(content, tmp_path / "a.wv1"), samples[:, 0] / np.float32(32768))
    assert audio_info(tmp_path / "a.wv1").samples == 700


def test_an_utterance_is_unpacked_forty_times_faster_than_it_plays(tmp_path):
    (tmp_path / "a.wv1").write_bytes(shortened(speech(80_000)))
    read_audio(tmp_path / "a.wv1")
    start = time.thread_time()
    read_audio(tmp_path / "a.wv1")
    assert time.thread_time() - start < 5 / 40  # Five seconds of speech; about 165 times without the tests' checks.


def test_the_packing_of_the_tests_packs():
    samples = speech(16_000)
    assert len(pack(samples)) < 0.7 * 2 * len(samples)
