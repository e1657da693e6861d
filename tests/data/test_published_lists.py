"""Lists of wsj0-mix and LibriMix against their recipes written out, and what is wrong with a list named by its line."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.optimize
import scipy.signal

from jaxspk.audio import active_level, read_audio
from jaxspk.data import (
    Recordings,
    mixture_batches,
    read_librimix,
    read_mixture_list,
    read_wsj0_mix,
    stack_mixtures,
    write_mixture_list,
)
from jaxspk.errors import ArgumentError, AudioError, CorpusError
from tests.audio.sphere import shortened

TWO = (
    "wsj0/si_et_05/440/440c020a.wav 1.2426 wsj0/si_dt_05/050/050a0501.wav -1.2426\n"
    "wsj0/si_tr_s/011/011c0201.wav 0.5 wsj0/si_et_05/440/440c020a.wav -0.5\n"
)
THREE = "si_et_05/440/440c020a.wav 2 si_dt_05/050/050a0501.wav -2 si_tr_s/011/011c0201.wav 0\n"


def decibels(error: np.ndarray, signal: np.ndarray) -> float:
    return 10 * np.log10(np.square(error).sum() / np.square(signal).sum())


@pytest.fixture
def wsj0(tmp_path, write_voice) -> Path:
    """Three utterances of different lengths at 16 kHz, packed by shorten, and a table of speakers."""
    for name, seconds in (
        ("si_et_05/440/440c020a", 2.0), ("si_dt_05/050/050a0501", 2.5), ("si_tr_s/011/011c0201", 1.6),
    ):  # fmt: skip
        path = tmp_path / "wsj0" / f"{name}.wv1"
        spoken = write_voice(path.with_suffix(".flac"), seconds, rate=16_000)
        path.write_bytes(shortened(np.rint(read_audio(spoken)[0] * 32768).astype(np.int64)))
        spoken.unlink()
    (tmp_path / "wsj0" / "doc").mkdir()
    (tmp_path / "wsj0" / "doc" / "spkrinfo.txt").write_text("440 F\n050 M\n011 M\n")
    (tmp_path / "mix_2_spk_tt.txt").write_text(TWO)
    (tmp_path / "mix_3_spk_tt.txt").write_text(THREE)
    return tmp_path


# --- The recipe of wsj0-mix -------------------------------------------------------------------------------


def standard_level(x: np.ndarray, rate: int) -> float:
    """ITU-T P.56, method B, as the standard's own meter does it: fifteen thresholds, and between them a line.

    Of the part above 200 Hz, as Voicebox has it: five poles, 0.25 dB down at 200 Hz, 50 dB in the stop band.
    """

    def loss_at_200_hz(stop: float) -> float:
        _, response = scipy.signal.freqz(*scipy.signal.cheby2(5, 50, stop, "highpass", fs=rate), worN=[200], fs=rate)
        return 20 * np.log10(abs(response[0])) + 0.25

    stop = scipy.optimize.brentq(loss_at_200_hz, 20, 199)
    x = scipy.signal.lfilter(*scipy.signal.cheby2(5, 50, stop, "highpass", fs=rate), x)
    g = np.exp(-1 / (0.03 * rate))
    p = q = 0.0
    envelope = np.empty(len(x))
    for k, sample in enumerate(np.abs(x)):
        p = g * p + (1 - g) * sample
        q = g * q + (1 - g) * p
        envelope[k] = q
    energy, hangover = np.square(x).sum(), int(np.ceil(0.2 * rate))
    before = None
    for j in range(15):
        threshold = 2.0 ** (j - 15)
        active, quiet = 0, hangover
        for value in envelope:
            quiet = 0 if value >= threshold else quiet + 1
            active += quiet <= hangover and (value >= threshold or quiet > 0)
        if active == 0 or not (envelope >= threshold).any():
            break
        level, margin = 10 * np.log10(energy / active), 10 * np.log10(energy / active) - 20 * np.log10(threshold)
        if margin <= 15.9:
            share = (before[1] - 15.9) / (before[1] - margin)
            return 10 ** ((before[0] + share * (level - before[0])) / 20)
        before = level, margin
    raise AssertionError("no threshold fits")


def by_the_recipe(paths, gains, length, resample, level):
    """Steps 1 to 5 of the scripts, one after the other."""
    scaled = []
    for path, gain in zip(paths, gains, strict=True):
        x = resample(path)
        scaled.append(x / level(x) * 10 ** (gain / 20))
    samples = (min if length == "shortest" else max)(len(x) for x in scaled)
    sources = np.stack([np.pad(x, (0, max(0, samples - len(x))))[:samples] for x in scaled])
    mixture = sources.sum(0)
    scale = 0.9 / max(np.abs(mixture).max(), *(np.abs(s).max() for s in sources))
    return scale * mixture, scale * sources


@pytest.mark.parametrize("length", ["shortest", "longest"])
@pytest.mark.parametrize("name", ["mix_2_spk_tt.txt", "mix_3_spk_tt.txt"])
def test_mixtures_follow_the_recipe_of_the_scripts(wsj0, name, length):
    mixtures = read_wsj0_mix(wsj0 / name, wsj0, length=length)
    for made, line in zip(mixtures, (wsj0 / name).read_text().splitlines(), strict=True):
        words = line.split()
        paths = [wsj0 / "wsj0" / word.removeprefix("wsj0/").replace(".wav", ".wv1") for word in words[::2]]
        mixture, sources = by_the_recipe(
            paths,
            [float(word) for word in words[1::2]],
            length,
            lambda path: read_audio(path, sample_rate=8000)[0].astype(np.float64),
            lambda x: active_level(x, 8000, high_pass_hz=200),
        )
        assert made.sample_rate == 8000
        np.testing.assert_allclose(made.sources, sources, atol=1e-6)
        np.testing.assert_allclose(made.mixture, mixture, atol=1e-6)
        np.testing.assert_array_equal(made.mixture, made.sources.sum(0))
        assert max(np.abs(made.mixture).max(), np.abs(made.sources).max()) == pytest.approx(0.9, rel=1e-6)


def test_the_standards_own_meter_and_another_filter_make_nearly_the_same(wsj0):
    """Every step by other code than ours; what is left is the filter, and the meter's interpolation."""
    made = read_wsj0_mix(wsj0 / "mix_2_spk_tt.txt", wsj0)[0]
    mixture, sources = by_the_recipe(
        [wsj0 / "wsj0/si_et_05/440/440c020a.wv1", wsj0 / "wsj0/si_dt_05/050/050a0501.wv1"],
        [1.2426, -1.2426],
        "shortest",
        lambda path: scipy.signal.resample_poly(read_audio(path)[0].astype(np.float64), 1, 2),
        lambda x: standard_level(x, 8000),
    )
    assert made.sources.shape == sources.shape
    assert decibels(made.mixture - mixture, mixture) < -35
    for source, expected in zip(made.sources, sources, strict=True):
        assert decibels(source - expected, expected) < -35
        assert 20 * np.log10(np.linalg.norm(source) / np.linalg.norm(expected)) == pytest.approx(0, abs=0.1)


def test_levels_differ_by_what_the_list_says(wsj0):
    made = read_wsj0_mix(wsj0 / "mix_2_spk_tt.txt", wsj0, length="longest")[0]
    # Of the whole utterances, without what was padded.
    levels = [
        active_level(source[:length], 8000, high_pass_hz=200)
        for source, length in zip(made.sources, (16_000, 20_000), strict=True)
    ]
    assert 20 * np.log10(levels[0] / levels[1]) == pytest.approx(2 * 1.2426, abs=0.01)


# --- What is known of a mixture ---------------------------------------------------------------------------


def test_speakers_genders_and_names_are_known(wsj0):
    mixtures = read_wsj0_mix(wsj0 / "mix_2_spk_tt.txt", wsj0)
    assert [mixture.name for mixture in mixtures] == [
        "440c020a_1.2426_050a0501_-1.2426", "011c0201_0.5_440c020a_-0.5",
    ]  # fmt: skip
    assert [mixture.genders for mixture in mixtures] == ["FM", "FM"]
    first, second = mixtures.plan(1).utterances
    assert (first.speaker, first.gender, first.seconds, first.corpus, first.split) == ("011", "M", 1.6, "WSJ0", "train")
    assert (second.speaker, second.split) == ("440", "test")
    assert read_wsj0_mix(wsj0 / "mix_3_spk_tt.txt", wsj0 / "wsj0")[0].genders == "FMM"


def test_test_lists_are_not_trained_on(wsj0):
    mixtures = read_wsj0_mix(wsj0 / "mix_2_spk_tt.txt", wsj0)
    assert mixtures.held_out == ("050", "440")
    with pytest.raises(CorpusError, match="held out for testing"):
        mixture_batches(mixtures, batch_size=2)
    with mixture_batches(mixtures, batch_size=2, allow_held_out=True, workers=0, shuffle=False) as batches:
        batch = next(batches)
    expected = stack_mixtures([mixtures[0], mixtures[1]])
    np.testing.assert_array_equal(batch["sources"], expected["sources"])


def test_without_a_table_of_speakers_genders_are_open(wsj0):
    shutil.rmtree(wsj0 / "wsj0" / "doc")
    assert read_wsj0_mix(wsj0 / "mix_2_spk_tt.txt", wsj0)[0].genders is None
    (wsj0 / "wsj0-train-spkrinfo.txt").write_text("; beside the list\n440 F\n050 F\n")
    assert read_wsj0_mix(wsj0 / "mix_2_spk_tt.txt", wsj0 / "wsj0")[0].genders == "FF"


# --- Where recordings are found ---------------------------------------------------------------------------


@pytest.mark.parametrize("at", [".", "wsj0", ".."])
def test_the_root_may_lie_above_or_below(wsj0, at):
    expected = read_wsj0_mix(wsj0 / "mix_2_spk_tt.txt")[0]
    np.testing.assert_array_equal(read_wsj0_mix(wsj0 / "mix_2_spk_tt.txt", wsj0 / at)[0].mixture, expected.mixture)


def test_discs_and_capitals_are_seen_through_and_the_far_microphone_never_taken(wsj0):
    expected = read_wsj0_mix(wsj0 / "mix_2_spk_tt.txt", wsj0)[0].mixture
    for subset, disc in (("si_et_05", "11-14.1"), ("si_dt_05", "11-6.1"), ("si_tr_s", "11-1.1")):
        for file in (wsj0 / "wsj0" / subset).rglob("*.wv1"):
            place = wsj0 / "discs" / disc / "WSJ0" / subset.upper() / file.parent.name.upper()
            place.mkdir(parents=True)
            shutil.move(file, place / file.name.upper())
            (place / file.with_suffix(".WV2").name).write_bytes(b"another microphone")
    mixtures = read_wsj0_mix(wsj0 / "mix_2_spk_tt.txt", wsj0 / "discs")
    np.testing.assert_array_equal(mixtures[0].mixture, expected)
    assert {u.path.suffix for u in mixtures.plan(0).utterances} == {".WV1"}
    for file in (wsj0 / "discs").rglob("440C020A.WV1"):
        file.unlink()
    with pytest.raises(CorpusError, match=r"mix_2_spk_tt.txt, line 1: wsj0/si_et_05/440/440c020a.wav is not below"):
        read_wsj0_mix(wsj0 / "mix_2_spk_tt.txt", wsj0 / "discs")


def test_nothing_is_written(wsj0):
    before = sorted(wsj0.rglob("*"))
    for name in ("mix_2_spk_tt.txt", "mix_3_spk_tt.txt"):
        assert len(read_wsj0_mix(wsj0 / name, wsj0)[0].mixture)
    assert sorted(wsj0.rglob("*")) == before


# --- What is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"list.txt: lists no mixture\."),
        ("wsj0/a.wav 1.0\n", r"line 1: 2 fields, expected a path and a gain in dB for each of two or more sources\."),
        (TWO + "\nwsj0/a.wav 1.0 wsj0/b.wav\n", r"line 4: 3 fields, expected"),
        (TWO + "wsj0/a.wav 1.0 wsj0/b.wav loud\n", r"line 3: the gain of wsj0/b.wav is 'loud', expected dB\."),
        ("a.wav nan b.wav 1\n", r"line 1: the gain of a.wav is 'nan', expected dB\."),
        ("a.wav inf b.wav 1\n", r"line 1: the gain of a.wav is 'inf'"),
        (TWO + TWO, r"line 3: mixture '440c020a_1.2426_050a0501_-1.2426' stands in line 1 already\."),
        (TWO + THREE, r"line 3: 3 sources, line 1 has 2; make a list for each number of speakers\."),
        ("a.wav 1 si_et_05/440/440c020a.wav 1\n", r"line 1: a.wav is not below .*, in any format; give the folder"),
    ],
)
def test_wrong_lines_are_named(wsj0, text, message):
    (wsj0 / "list.txt").write_text(text)
    with pytest.raises(CorpusError, match=message) as caught:
        read_mixture_list(wsj0 / "list.txt", root=wsj0)
    assert "\n" not in str(caught.value) and str(wsj0 / "list.txt") in str(caught.value)


def test_a_damaged_recording_is_named_with_the_line(wsj0):
    path = wsj0 / "wsj0" / "si_tr_s" / "011" / "011c0201.wv1"
    content = path.read_bytes()
    path.write_bytes(content[:900])
    with pytest.raises(CorpusError, match=r"mix_2_spk_tt.txt, line 2: .*011c0201.wv1: truncated: its header is cut"):
        read_wsj0_mix(wsj0 / "mix_2_spk_tt.txt", wsj0)
    path.write_bytes(content[:9000])
    mixtures = read_wsj0_mix(wsj0 / "mix_2_spk_tt.txt", wsj0)
    with pytest.raises(AudioError, match=r"011c0201.wv1: truncated"):
        mixtures[1]


def test_wrong_roots_and_rates_are_refused(wsj0):
    with pytest.raises(
        CorpusError, match=r"nowhere: no such folder; give the one that the paths in .*mix_2_spk_tt.txt"
    ):
        read_wsj0_mix(wsj0 / "mix_2_spk_tt.txt", wsj0 / "nowhere")
    with pytest.raises(CorpusError, match=r"none.txt: cannot be read \(No such file"):
        read_mixture_list(wsj0 / "none.txt", root=wsj0)
    with pytest.raises(ArgumentError, match="16000 Hz, the mixtures at 8000 Hz"):
        read_wsj0_mix(wsj0 / "mix_2_spk_tt.txt", wsj0, recordings=Recordings(16_000))


# --- LibriMix ---------------------------------------------------------------------------------------------

HEADER = "mixture_ID,source_1_path,source_1_gain,source_2_path,source_2_gain,noise_path,noise_gain\n"
ROW = (
    "61-70968-0003_1580-141084-0010,test-clean/61/70968/61-70968-0003.flac,0.51,"
    "test-clean/1580/141084/1580-141084-0010.flac,1.75,tt/444o.wav,1.5\n"
)
INFO = (
    "mixture_ID,speaker_1_ID,speaker_1_sex,speaker_2_ID,speaker_2_sex\n61-70968-0003_1580-141084-0010,61.0,M,1580.0,F\n"
)


@pytest.fixture
def librimix(tmp_path, write_voice) -> Path:
    for name, seconds in (("61/70968/61-70968-0003", 2.0), ("1580/141084/1580-141084-0010", 2.61)):
        write_voice(tmp_path / "LibriSpeech" / "test-clean" / f"{name}.flac", seconds, rate=16_000)
    (tmp_path / "LibriSpeech" / "SPEAKERS.TXT").write_text(
        "61 | M | test-clean | 8 | A\n1580 | F | test-clean | 8 | B\n"
    )
    (tmp_path / "libri2mix_test-clean.csv").write_text(HEADER + ROW)
    (tmp_path / "libri2mix_test-clean_info.csv").write_text(INFO)
    return tmp_path


@pytest.mark.parametrize("length", ["shortest", "longest"])
@pytest.mark.parametrize("rate", [8000, 16_000])
def test_librimix_follows_its_recipe(librimix, length, rate):
    speech = librimix / "LibriSpeech"
    (made,) = read_librimix(librimix / "libri2mix_test-clean.csv", speech, sample_rate=rate, length=length)
    expected = []
    for name, gain in (("61/70968/61-70968-0003", 0.51), ("1580/141084/1580-141084-0010", 1.75)):
        waveform = read_audio(speech / "test-clean" / f"{name}.flac")[0].astype(np.float64)
        expected.append(scipy.signal.resample_poly(gain * waveform, rate, 16_000))
    samples = (min if length == "shortest" else max)(map(len, expected))
    sources = np.stack([np.pad(x, (0, max(0, samples - len(x))))[:samples] for x in expected])
    assert made.sources.shape == sources.shape and made.sample_rate == rate
    limit = -120 if rate == 16_000 else -40  # What is left at 8 kHz is the difference of the filters.
    assert decibels(made.sources - sources, sources) < limit
    np.testing.assert_array_equal(made.mixture, made.sources.sum(0))
    # Nothing but the gains scales.
    assert np.linalg.norm(made.sources[0]) == pytest.approx(np.linalg.norm(sources[0]), rel=0.01)


def test_librimix_of_three(librimix, write_voice):
    write_voice(librimix / "LibriSpeech/test-clean/61/70970/61-70970-0000.flac", 1.5, rate=16_000)
    header = HEADER.replace("noise_path", "source_3_path,source_3_gain,noise_path")
    row = ROW.replace(",tt/", ",test-clean/61/70970/61-70970-0000.flac,0.2,tt/")
    (librimix / "libri3mix_test-clean.csv").write_text(header + row)
    (made,) = read_librimix(librimix / "libri3mix_test-clean.csv", librimix)
    assert made.sources.shape == (3, 12_000)
    assert made.genders == "FMM"


@pytest.mark.parametrize("info", [True, False])
def test_librimix_knows_speakers_and_sexes(librimix, info):
    if not info:
        (librimix / "libri2mix_test-clean_info.csv").unlink()
    mixtures = read_librimix(librimix / "libri2mix_test-clean.csv", librimix / "LibriSpeech")
    first, second = mixtures.plan(0).utterances
    assert (first.speaker, first.gender, first.corpus, first.split) == ("61", "M", "LibriSpeech", "test")
    assert (second.speaker, second.gender, second.seconds) == ("1580", "F", 2.61)
    assert mixtures.held_out == ("1580", "61")
    assert mixtures[0].name == "61-70968-0003_1580-141084-0010"
    assert mixtures[0].gains_db == pytest.approx([20 * np.log10(0.51), 20 * np.log10(1.75)])


def test_a_list_of_held_out_speakers_decides_who_is_kept(librimix):
    (librimix / "HELD_OUT.txt").write_text("LibriSpeech 61\n")
    assert read_librimix(librimix / "libri2mix_test-clean.csv", librimix).held_out == ("61",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER, r"csv: lists no mixture\."),
        (HEADER.replace("source_1_gain", "gain") + ROW, r"csv: no column 'source_1_gain'"),
        (HEADER + ROW.replace(",tt/444o.wav", ""), r"csv, line 2: 6 cells where the header names 7"),
        (HEADER + ROW.replace("0.51", "half"), r"csv, line 2: source_1_gain is 'half', expected a positive factor\."),
        (HEADER + ROW.replace("0.51", "-0.5"), r"csv, line 2: source_1_gain is '-0.5', expected a positive"),
        (HEADER + ROW.replace("0.51", "inf"), r"csv, line 2: source_1_gain is 'inf'"),
        (HEADER + ROW + ROW, r"csv, line 3: mixture '61-70968-0003_1580-141084-0010' stands in line 2 already\."),
        (HEADER + ROW.replace("0003.flac", "0004.flac"), r"csv, line 2: .*0004.flac is not below .*, in any format"),
        (
            HEADER + "x" + ROW,
            r"info.csv: no mixture 'x61-70968-0003_1580-141084-0010', which is in line 2 of libri2mix",
        ),
    ],
)
def test_wrong_rows_are_named(librimix, text, message):
    (librimix / "libri2mix_test-clean.csv").write_text(text)
    with pytest.raises(CorpusError, match=message) as caught:
        read_mixture_list(librimix / "libri2mix_test-clean.csv", root=librimix)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1580.0", "84", r"info.csv, line 2: speaker 2 is '84', the recording is of '1580'; the two tables do not"),
        (",M,", ",X,", r"info.csv, line 2: gender 'X' is not one of F, M or empty\."),
        ("speaker_1_sex", "sex", r"info.csv: no column 'speaker_1_sex'"),
    ],
)
def test_a_wrong_info_table_is_named(librimix, old, new, message):
    (librimix / "libri2mix_test-clean_info.csv").write_text(INFO.replace(old, new))
    with pytest.raises(CorpusError, match=message):
        read_librimix(librimix / "libri2mix_test-clean.csv", librimix)


# --- Any list ---------------------------------------------------------------------------------------------


def test_which_list_it_is_shows_in_its_first_line(wsj0, librimix):
    (wsj0 / "plain_name").write_text(TWO)
    assert read_mixture_list(wsj0 / "plain_name").levels == "active_above_200_hz"
    assert len(read_mixture_list(wsj0 / "mix_3_spk_tt.txt", root=wsj0)[0].sources) == 3
    mixtures = read_mixture_list(librimix / "libri2mix_test-clean.csv", recordings=Recordings(16_000))
    assert (mixtures.levels, mixtures.config.sample_rate) == ("recorded", 16_000)


@pytest.mark.parametrize("name", ["mix_2_spk_tt.txt", "libri2mix_test-clean.csv"])
def test_published_lists_can_be_written_as_our_own(wsj0, librimix, tmp_path, name):
    mixtures = read_mixture_list(tmp_path / name)
    write_mixture_list(tmp_path / "ours.csv", mixtures)
    again = read_mixture_list(tmp_path / "ours.csv")
    assert again.levels == mixtures.levels
    assert again.fingerprint == mixtures.fingerprint
    for first, second in zip(mixtures, again, strict=True):
        assert (first.name, first.genders, first.gains_db) == (second.name, second.genders, second.gains_db)
        assert [u.path for u in first.utterances] == [u.path for u in second.utterances]
        np.testing.assert_array_equal(first.sources, second.sources)


def test_the_same_gains_on_other_levels_are_other_mixtures(librimix, tmp_path):
    mixtures = read_mixture_list(librimix / "libri2mix_test-clean.csv")
    write_mixture_list(tmp_path / "ours.csv", mixtures)
    text = (tmp_path / "ours.csv").read_text()
    (tmp_path / "other.csv").write_text(text.replace("recorded", "active"))
    other = read_mixture_list(tmp_path / "other.csv")
    assert other.fingerprint != mixtures.fingerprint
    assert not np.allclose(other[0].mixture, mixtures[0].mixture)
    (tmp_path / "other.csv").write_text(text.replace("recorded", "loud"))
    with pytest.raises(CorpusError, match=r"not a list of mixtures .*levels 'loud'"):
        read_mixture_list(tmp_path / "other.csv")
