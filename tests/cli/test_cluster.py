"""``jaxspk cluster`` as a user calls it, with a model that hears where a spectrum is strongest."""

import csv
import json

import numpy as np
import pytest

from jaxspk import audio, cli, reports, systems
from jaxspk.data import read_rttm
from jaxspk.errors import MissingExtraError
from jaxspk.systems import SpeakerClusterer

RATE = 8000


class Pitches:
    """Where the power of a window lies, in sixty bands."""

    sample_rate, dim = RATE, 60

    def embed_windows(self, windows):
        power = np.square(np.abs(np.fft.rfft(windows, axis=1)))
        bands = np.array_split(power[:, : power.shape[1] // 2], 60, axis=1)
        return np.stack([band.sum(1) for band in bands], axis=1)


class Nobody(systems._recording_encoder.RecordingEncoder):
    """An encoder that nobody asks."""

    sample_rate, dim = RATE, 3

    def _vectors(self, recordings):
        raise AssertionError("asked too early")


def talk(*pitches, seconds=3.0, seed=0):
    """Voices one after another, with pauses of half a second."""
    at = np.arange(round(seconds * RATE)) / RATE
    turns = [
        0.05 * sum(np.sin(2 * np.pi * k * pitch * at) for k in range(1, 9)) * (0.6 + 0.4 * np.cos(25 * at))
        for pitch in pitches
    ]
    joined = np.concatenate([np.append(turn, np.zeros(RATE // 2)) for turn in turns])
    return (joined + 1e-4 * np.random.default_rng(seed).normal(size=joined.size)).astype(np.float32)


@pytest.fixture
def command(monkeypatch, tmp_path, capsys):
    """Runs a command line: status, output, errors."""
    monkeypatch.setitem(cli.COMMANDS, "cluster", ("_cluster", "say who speaks when"))
    monkeypatch.setattr(SpeakerClusterer, "load", classmethod(lambda cls, path=None: cls(Pitches())))
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        status = cli.main(["cluster", *(str(argument) for argument in arguments)])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return status, captured.out, captured.err

    return run


@pytest.fixture
def talks(tmp_path):
    folder = tmp_path / "talks"
    (folder / "day 2").mkdir(parents=True)
    audio.write_audio(folder / "one.wav", talk(120, 210, 120), RATE)
    audio.write_audio(folder / "day 2" / "two.wav", talk(210, 330), RATE)
    return folder


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_folder_is_clustered_together(command, talks, tmp_path):
    status, out, _ = command(talks, "--speakers", "3", "-o", "turns")
    assert status == 0
    one, two = rows(tmp_path / "turns/one.csv"), rows(tmp_path / "turns/day 2/two.csv")
    # Files in the order of their paths: the folder comes first.
    assert [row["cluster"] for row in two] == ["1", "2"]
    assert [row["cluster"] for row in one] == ["3", "1", "3"]
    assert float(one[0]["end"]) == pytest.approx(3.0, abs=0.2) and one[0]["name"] == ""
    written = read_rttm(tmp_path / "turns/one.rttm")["one"]
    assert [turn.speaker for turn in written] == ["Speaker_3", "Speaker_1", "Speaker_3"]
    assert (tmp_path / "turns/one.vtt").read_text().startswith("WEBVTT")
    assert "Speaker 1" in (tmp_path / "turns/one.srt").read_text()
    page = (tmp_path / "turns/report.html").read_text()
    assert "two.wav" in page and 'data-label="Speaker 3"' in page and "audio/mpeg" in page
    assert (
        "one.wav (10.5 s): 2 speakers, 3 turns" in out and "Speaker 3: " in out and "report: turns/report.html" in out
    )


def test_apart_each_recording_counts_from_one(command, talks, tmp_path):
    status, out, _ = command(talks, "--apart", "--speakers", "2", "--no-report", "--json")
    assert status == 0
    facts = json.loads(out)
    assert [[voice["cluster"] for voice in one["speakers"]] for one in facts["done"]] == [["1", "2"], ["1", "2"]]
    assert facts["done"][1]["turns"] == 3 and facts["report"] is None and not facts["failed"]
    assert not (tmp_path / "turns/report.html").exists()
    assert sorted(facts["done"][0]["files"]) == ["csv", "rttm", "srt", "vtt"]


def test_a_bad_recording_does_not_stop_the_others(command, talks, tmp_path):
    (talks / "broken.wav").write_bytes(b"RIFF")
    audio.write_audio(talks / "silent.wav", np.zeros(RATE, np.float32), RATE)
    status, out, error = command(talks, "--speakers", "2..4", "--json")
    facts = json.loads(out)
    assert status == 1 and len(facts["done"]) == 2 and facts["done"][0]["estimated"]
    assert {failure["recording"].split("/")[-1] for failure in facts["failed"]} == {"broken.wav", "silent.wav"}
    assert "silent.wav: no speech" in error


def test_what_cannot_be_done_is_said_in_one_line(command, talks, tmp_path):
    audio.write_audio(tmp_path / "short.wav", talk(120, seconds=1.0), RATE)
    cases = [
        (["short.wav"], "at least 2 s are needed"),
        ([talks / "one.wav", "--speakers", "0"], "--speakers must be a number from 1"),
        ([talks / "one.wav", "--speakers", "4..2"], "--speakers must be a number from 1"),
        ([talks / "one.wav", "--speakers", "99"], "--speakers must be at most"),
        ([talks / "one.wav", "--adapt-minutes", "0"], "--adapt-minutes must be positive"),
        ([talks / "one.wav", "--people", "nobody"], "--people needs a speaker encoder"),
        (["nowhere.wav"], "nowhere.wav"),
        ([], "name at least one recording"),
    ]
    for arguments, words in cases:
        status, out, error = command(*arguments)
        assert status == 2 and words in error and error.count("\n") == 1 and not out
    assert not (tmp_path / "turns").exists()


def test_people_must_be_known_before_anything_is_heard(command, talks, tmp_path, monkeypatch):
    folder = systems.save_model(
        tmp_path / "model", system="metric_learning", config={}, weights={"a": np.ones(2, np.float32)}, card=""
    )
    naming = (Nobody(), folder)
    monkeypatch.setattr(SpeakerClusterer, "load", classmethod(lambda cls, path=None: cls(Pitches(), naming=naming)))
    status, _, error = command(talks, "--people", "people.safetensors")
    assert status == 2 and "knows nobody yet" in error


def test_without_the_extra_there_is_no_page_and_all_else(command, talks, tmp_path, monkeypatch):
    def missing(*arguments, **options):
        raise MissingExtraError("Writing an HTML report", "reports")

    monkeypatch.setattr(reports, "write_timeline_report", missing)
    status, out, error = command(talks / "one.wav", "--speakers", "2")
    assert status == 0 and "reports" in error and "report:" not in out and (tmp_path / "turns/one.csv").exists()


def test_adapting_comes_before_hearing(command, talks, tmp_path, monkeypatch):
    asked = {}

    def adapt(recordings, folder, **options):
        asked.update(options, recordings=recordings, folder=folder)
        return options["base"]

    monkeypatch.setattr(systems, "adapt_clusterer", adapt)
    status, _, _ = command(talks, "--speakers", "3", "--adapt", "--adapt-minutes", "0.5", "--seed", "7")
    assert status == 0 and asked["minutes"] == 0.5 and asked["seed"] == 7 and len(asked["recordings"]) == 2
    assert str(asked["folder"]) == "turns/adapted"
    assert "transductive" in (tmp_path / "turns/report.html").read_text()
