"""``jaxspk separate`` as a user calls it: ranges, channels, a folder with its summary, progress, interruptions."""

import json
import time

import numpy as np
import pytest
from flax import nnx

from jaxspk import audio
from jaxspk.cli import _batch, main
from jaxspk.systems import (
    DeepClusteringConfig,
    DeepClusteringModel,
    NetworkConfig,
    Separator,
    save_deep_clustering,
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    config = DeepClusteringConfig(network=NetworkConfig(layers=1, units=4, dim=5))
    network = DeepClusteringModel(config, rngs=nnx.Rngs(0))
    return save_deep_clustering(tmp_path_factory.mktemp("models") / "tiny", config, network, card="# Tiny\n")


def noise(samples, *channels):
    return (0.1 * np.random.default_rng(samples).standard_normal((samples, *channels))).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    audio.write_audio(tmp_path / "in" / "mono.wav", noise(16000), 16000)
    audio.write_audio(tmp_path / "in" / "stereo.flac", noise(11025, 2), 11025, subtype="PCM_16")
    return tmp_path / "in"


def separate(*words):
    return main(["separate", *map(str, words)])


def test_a_folder_ends_with_a_summary(folder, model, tmp_path, capsys):
    (folder / "bad.wav").write_bytes(b"RIFF nothing of the kind")
    assert separate(folder, "-o", tmp_path / "out", "--model", model) == 1
    shown = capsys.readouterr()
    *lines, summary, failure = shown.out.splitlines()
    assert len(lines) == 2 and all("-voice1.wav" in line for line in lines)
    assert summary.startswith("separated 2 of 3: 2.0 s of sound in ")
    assert summary.endswith(" of real time")
    assert failure.startswith("  failed: ") and "bad.wav: " in failure
    assert len(shown.err.splitlines()) == 1


def test_json_is_one_document_with_facts_and_summary(folder, model, tmp_path, capsys):
    (folder / "bad.wav").write_bytes(b"RIFF nothing of the kind")
    assert separate(folder, "-o", tmp_path / "out", "--model", model, "--json", "--speakers", "2..3") == 1
    document = json.loads(capsys.readouterr().out)
    assert set(document) == {"done", "failed", "summary"}
    for facts in document["done"]:
        assert facts["speakers"] == len(facts["voices"]) in (2, 3)
        assert set(facts["shares"]) == {"2", "3"} and facts["calibrated"] is False
        assert facts["confidence"] == max(facts["shares"].values())
        assert facts["seconds"] == 1 and facts["took_seconds"] > 0
    assert document["summary"]["files"] == 3
    assert document["summary"]["done"] == 2 and document["summary"]["failed"] == 1
    assert document["summary"]["seconds"] == 2
    assert document["summary"]["real_time_factor"] > 0
    assert "bad.wav" in document["failed"][0]["error"]


@pytest.mark.parametrize("speakers, most", [("3", 3), ("auto", 3), ("2..4", 4), ("1..2", 2)])
def test_numbers_ranges_and_auto(folder, model, tmp_path, speakers, most, capsys):
    assert separate(folder / "mono.wav", "-o", tmp_path, "--model", model, "--speakers", speakers) == 0
    voices = sorted(tmp_path.glob("mono-voice*.wav"))
    assert 1 <= len(voices) <= most
    total = sum(audio.read_audio(path)[0] for path in voices)
    np.testing.assert_allclose(total, audio.read_audio(folder / "mono.wav")[0], atol=2e-6)
    assert ("confidence" in capsys.readouterr().out) == (speakers != "3")


@pytest.mark.parametrize("channel, chosen", [("mean", [0, 1]), ("0", [0]), ("1", [1])])
def test_channels(folder, model, tmp_path, channel, chosen):
    assert separate(folder / "stereo.flac", "-o", tmp_path, "--model", model, "--channel", channel) == 0
    recording = [audio.read_audio(folder / "stereo.flac", channel=number)[0] for number in chosen]
    voices = [audio.read_audio(tmp_path / f"stereo-voice{k}.wav") for k in (1, 2)]
    assert [rate for _, rate in voices] == [11025, 11025]
    np.testing.assert_allclose(voices[0][0] + voices[1][0], np.mean(recording, axis=0), atol=2e-6)


@pytest.mark.parametrize("format, step", [("pcm16", 2**-15), ("pcm24", 2**-23), ("float", 1e-6)])
def test_formats(folder, model, tmp_path, format, step):
    assert separate(folder / "mono.wav", "-o", tmp_path, "--model", model, "--format", format) == 0
    info = audio.audio_info(tmp_path / "mono-voice1.wav")
    assert info.subtype == {"float": "FLOAT", "pcm16": "PCM_16", "pcm24": "PCM_24"}[format]
    total = sum(audio.read_audio(tmp_path / f"mono-voice{k}.wav")[0] for k in (1, 2))
    np.testing.assert_allclose(total, audio.read_audio(folder / "mono.wav")[0], atol=step + 2e-6)


def test_clipped_samples_are_told(model, tmp_path, capsys):
    audio.write_audio(tmp_path / "loud.wav", 40 * noise(8000), 8000)
    assert separate(tmp_path / "loud.wav", "-o", tmp_path, "--model", model, "--format", "pcm16") == 0
    assert "samples clipped" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words, trouble",
    [
        (["--speakers", "1"], "--speakers must be at least 2, got 1"),
        (["--speakers", "4..2"], "a range such as 2..4, or auto, got '4..2'"),
        (["--speakers", "two"], "a range such as 2..4, or auto, got 'two'"),
        (["--speakers", "2..9"], "--speakers must lie in 1..4"),
        (["--channel", "left"], "--channel must be mean or the number of a channel, from 0, got 'left'"),
        (["--channel", "1"], "there is no channel 1: it has 1"),
        (["--masks", "hard"], "hard"),
    ],
)
def test_wrong_words_are_one_line_and_write_nothing(folder, model, tmp_path, words, trouble, capsys):
    assert separate(folder / "mono.wav", "-o", tmp_path / "out", "--model", model, *words) == 2
    error = capsys.readouterr().err
    assert trouble in error and "Traceback" not in error
    assert not list(tmp_path.rglob("*voice*"))


def test_an_interruption_leaves_no_file(folder, model, tmp_path, monkeypatch, capsys):
    finish = audio.AudioWriter.finish

    def interrupted(writer, path=None):
        raise KeyboardInterrupt

    monkeypatch.setattr(audio.AudioWriter, "finish", interrupted)
    assert separate(folder / "mono.wav", "-o", tmp_path / "out", "--model", model) == 130
    assert capsys.readouterr().err == "jaxspk: interrupted\n"
    assert not list((tmp_path / "out").iterdir())
    monkeypatch.setattr(audio.AudioWriter, "finish", finish)
    assert separate(folder / "mono.wav", "-o", tmp_path / "out", "--model", model) == 0


def test_a_long_file_says_how_far_it_is(capsys, monkeypatch):
    now = iter([0.0, 1.0, 25.0, 26.0, 60.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    report = _batch._Lines("separated long.wav")
    for share in (0.01, 0.25, 0.3, 0.5):
        report(share)
    assert capsys.readouterr().err.splitlines() == [
        "separated long.wav: 25%, about 1:15 left",
        "separated long.wav: 50%, about 1:00 left",
    ]


def test_a_terminal_gets_a_bar_for_the_file_and_one_for_all(folder, model, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    (folder / "mono.wav").rename(folder / "[bold]mono.wav")
    shares = []
    separate_file = Separator.separate_file

    def watched(self, *arguments, progress, **options):
        return separate_file(
            self, *arguments, progress=lambda share: (shares.append(share), progress(share)), **options
        )

    monkeypatch.setattr(Separator, "separate_file", watched)
    assert separate(folder, "-o", tmp_path / "out", "--model", model) == 0
    assert shares.count(1.0) == 2
    assert "separated 2 of 2" in capsys.readouterr().out
