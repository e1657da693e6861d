import ast
import concurrent.futures
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxspk.audio import read_audio
from jaxspk.data import MixtureConfig, MixtureSource, default_cache, read_corpus, split_speakers, synthetic_corpus
from jaxspk.data import _espeak as espeak
from jaxspk.data import _synthetic as synthetic
from jaxspk.data import _voices as voices
from jaxspk.data._sentences import sentence
from jaxspk.errors import ArgumentError, CorpusError, MissingExtraError

pytest.importorskip("espeakng_loader", reason="synthetic voices need the extra `synthetic`")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("synthetic")


@pytest.fixture(scope="module")
def corpus(folder):
    return synthetic_corpus(folder, speakers=12, utterances=2, seed=4)


def samples(manifest):
    return {u.path.name: read_audio(u.path)[0] for u in manifest}


def median_pitch(waveform, rate):
    """Median fundamental frequency by autocorrelation, in Hz: rough, but enough to tell octaves apart."""
    low, high, size = rate // 400, rate // 60, 1024
    pitches = []
    for start in range(0, len(waveform) - size, size // 2):
        frame = waveform[start : start + size]
        if np.sqrt(np.mean(frame**2)) < 0.02:
            continue
        power = np.abs(np.fft.rfft(frame - frame.mean(), 4 * size)) ** 2
        correlation = np.fft.irfft(power)[:high] / (1 - np.arange(high) / size)
        best = correlation[low:].max()
        if best > 0.5 * correlation[0]:
            near = np.flatnonzero(correlation[low:] > 0.88 * best) + low
            # Peaks at twice the period are as high: the first is the pitch.
            first = near[: np.searchsorted(np.diff(near) > 1, True) + 1] if len(near) > 1 else near
            pitches.append(rate / first[np.argmax(correlation[first])])
    return float(np.median(pitches))


# --- The corpus -------------------------------------------------------------------------------------------


def test_what_is_in_it(corpus):
    assert len(corpus) == 24
    assert len(corpus.speakers) == 12
    assert all(u.text and u.corpus == "espeak-ng" for u in corpus)
    assert len({u.text for u in corpus}) == 24
    for u in corpus:
        waveform, rate = read_audio(u.path)
        assert rate == 16000
        assert len(waveform) / rate == u.seconds
        assert 2.0 < u.seconds < 9.0
        assert np.abs(waveform).max() == pytest.approx(0.5, abs=1e-3)
    assert 3.0 < corpus.seconds / len(corpus) < 6.0


def test_every_split_has_both_genders_and_no_speaker_is_in_two(corpus):
    parts = split_speakers(corpus, {"train": 0.9, "validation": 0.1}, seed=0)
    assert {name: len(part.speakers) for name, part in parts.items()} == {"train": 8, "validation": 2, "test": 2}
    assert all(set(part.genders.values()) == {"F", "M"} for part in parts.values())


def test_women_speak_higher_than_men(corpus):
    pitch = {"F": [], "M": []}
    for speaker, utterances in corpus.by_speaker().items():
        waveform, rate = read_audio(utterances[0].path)
        pitch[corpus.genders[speaker]].append(median_pitch(waveform, rate))
    assert min(pitch["F"]) > 150 > max(pitch["M"])
    assert np.ptp(pitch["F"]) > 20
    assert np.ptp(pitch["M"]) > 15


def test_it_is_made_once_and_the_same_everywhere(corpus, folder, tmp_path, monkeypatch):
    elsewhere = synthetic_corpus(tmp_path, speakers=12, utterances=2, seed=4)
    first, second = samples(corpus), samples(elsewhere)
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)
    monkeypatch.setattr(synthetic, "_make", lambda *_: pytest.fail("made twice"))
    assert synthetic_corpus(folder, speakers=12, utterances=2, seed=4) == corpus
    assert not [entry for entry in os.listdir(folder) if entry.startswith(".")]


def test_more_utterances_leave_the_first_ones_as_they_are(corpus, tmp_path):
    longer = samples(synthetic_corpus(tmp_path, speakers=12, utterances=3, seed=4))
    assert all(np.array_equal(waveform, longer[name]) for name, waveform in samples(corpus).items())


def test_another_seed_says_something_else(corpus, folder):
    other = synthetic_corpus(folder, speakers=6, utterances=1, seed=5)
    assert not {u.text for u in other} & {u.text for u in corpus}


def test_speakers_differ(corpus):
    """Two of one split with one variant, if any, and all others: no two sound files are alike."""
    waveforms = list(samples(corpus).values())
    assert len({waveform.tobytes() for waveform in waveforms}) == len(waveforms)


def test_it_is_a_corpus_like_any_other(corpus):
    scan = read_corpus(corpus.utterances[0].path.parents[1], decode=True)
    assert scan.layout == "csv"
    assert scan.manifest == corpus
    assert not scan.problems


def test_it_mixes(corpus):
    train = split_speakers(corpus, {"train": 1.0}, seed=0)["train"]
    mixtures = MixtureSource(train, MixtureConfig(seconds=1.0, genders=("FM",)), seed=0, size=10)
    assert {mixtures[index].genders for index in range(10)} == {"FM"}


def test_two_makers_at_once_agree(tmp_path):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        made = [pool.submit(synthetic_corpus, tmp_path, speakers=6, utterances=1, seed=0) for _ in range(2)]
        first, second = (future.result() for future in made)
    assert first == second
    assert len(os.listdir(tmp_path)) == 1


def test_a_damaged_cache_is_made_anew(tmp_path):
    first = synthetic_corpus(tmp_path, speakers=6, utterances=1, seed=0)
    expected = samples(first)
    first.utterances[3].path.unlink()
    again = synthetic_corpus(tmp_path, speakers=6, utterances=1, seed=0)
    assert again == first
    assert np.array_equal(list(samples(again).values())[3], list(expected.values())[3])
    (again.utterances[0].path.parents[1] / "utterances.csv").write_text("nonsense")
    assert synthetic_corpus(tmp_path, speakers=6, utterances=1, seed=0) == first


# --- Where and whether ------------------------------------------------------------------------------------


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("JAXSPK_CACHE", str(tmp_path / "mine"))
    assert default_cache() == tmp_path / "mine"
    monkeypatch.delenv("JAXSPK_CACHE")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "jaxspk"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert default_cache() == Path.home() / ".cache" / "jaxspk"


def test_without_the_extra_the_way_out_is_told(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(MissingExtraError, match=r"synthetic speech needs .*pip install 'jaxspk\[synthetic\]'"):
        synthetic_corpus(tmp_path, speakers=6)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CorpusError, match=r"cannot be kept here .*JAXSPK_CACHE"):
        synthetic_corpus(tmp_path / "file", speakers=6, utterances=1)


def test_a_failing_engine_is_one_line_and_leaves_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(voices, "ACCENTS", ("xx-nowhere",))
    with pytest.raises(CorpusError, match=r"espeak-ng failed \(status \d+ of espeak-ng for the voice xx-nowhere\+"):
        synthetic_corpus(tmp_path, speakers=6, utterances=1)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("arguments", [{"speakers": 5}, {"utterances": 0}, {"seed": -1}])
def test_senseless_arguments_are_refused(tmp_path, arguments):
    with pytest.raises(ArgumentError, match=next(iter(arguments))):
        synthetic_corpus(tmp_path, **arguments)


def test_the_engine_runs_apart_and_needs_nothing_of_the_package():
    """The child starts fast and no GPL code enters the caller's process."""
    imported = {
        name.name.split(".")[0] if isinstance(node, ast.Import) else node.module.split(".")[0]
        for node in ast.walk(ast.parse(Path(espeak.__file__).read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in node.names
    }
    assert imported <= set(sys.stdlib_module_names)


# --- Voices and sentences ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def variants():
    return voices.read_variants(synthetic._engine().data / "voices" / "!v")


def test_variants_and_their_genders(variants):
    by_name = {variant.name: variant for variant in variants}
    assert len(variants) > 75
    assert sum(variant.gender == "F" for variant in variants) >= 15
    assert by_name["f2"].gender == by_name["Annie"].gender == by_name["shelby"].gender == "F"
    assert by_name["m3"].gender == by_name["Storm"].gender == by_name["edward"].gender == "M"
    assert not {"whisper", "whisperf", "croak", "UniRobot", "robosoft3", "anikaRobot", "zac"} & by_name.keys()
    assert by_name["f2"].pitch == (142, 220)


@pytest.mark.parametrize("speakers", [6, 7, 40, 120, 301])
@pytest.mark.parametrize("seed", [0, 1])
def test_families_of_variants_stay_in_one_split(variants, speakers, seed):
    chosen = voices.choose_voices(variants, speakers, seed=seed)
    assert len(chosen) == len({voice.name for voice in chosen}) == speakers
    assert {(voice.split, voice.gender) for voice in chosen} == {
        (split, gender) for split in ("train", "validation", "test") for gender in ("F", "M")
    }
    family = {variant.name.replace(" ", "-"): variant.family for variant in variants}
    splits = {}
    for voice in chosen:
        splits.setdefault(family[voice.name.rpartition("-")[0]], set()).add(voice.split)
    assert all(len(found) == 1 for found in splits.values())


def test_a_folder_without_variants_is_refused(tmp_path):
    with pytest.raises(CorpusError, match="no voice variants"):
        voices.read_variants(tmp_path)


def test_sentences_have_the_length_asked_for_and_plain_words():
    rng = np.random.default_rng(0)
    for characters in (45.0, 60.0, 80.0):
        made = [sentence(rng, characters) for _ in range(50)]
        assert np.mean([len(text) for text in made]) == pytest.approx(characters, rel=0.1)
        assert len(set(made)) == 50
        assert all(text[0].isupper() and text[-1] in ".?" and text.isascii() for text in made)


def test_nothing_of_the_cache_is_shared_between_recipes(corpus, folder, monkeypatch):
    home = corpus.utterances[0].path.parents[1]
    monkeypatch.setattr(synthetic, "_RECIPE", -1)
    other = synthetic_corpus(folder, speakers=12, utterances=2, seed=4)
    assert other.utterances[0].path.parents[1] != home
    shutil.rmtree(other.utterances[0].path.parents[1])
