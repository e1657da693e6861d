"""The commands about speakers as a user calls them, with an encoder that hears where a spectrum is strongest."""

import csv
import json

import numpy as np
import pytest

from jaxspk import audio
from jaxspk.cli import _voices, main
from jaxspk.systems import OperatingPoint, load_verification, save_model

RATE = 8000
FORMANTS = {"ann": 500, "bob": 1500, "cid": 2500, "dee": 3300}


class BandEncoder:
    """Log powers of eight bands, of unit length."""

    sample_rate = RATE
    shortest_seconds = 0.1

    def embed(self, waveform, sample_rate):
        return np.stack([self._one(recording) for recording in waveform])

    def embed_crops(self, waveform, sample_rate, *, seconds, count):
        samples = round(seconds * sample_rate)
        wrapped = np.resize(waveform, max(len(waveform), samples))
        starts = np.linspace(0, len(wrapped) - samples, count).astype(int)
        return self.embed([wrapped[start : start + samples] for start in starts], sample_rate)

    @staticmethod
    def _one(waveform):
        power = np.square(np.abs(np.fft.rfft(waveform))) / len(waveform)
        bands = np.log(np.array([band.mean() for band in np.array_split(power, 8)]) + 1e-6)
        bands -= bands.mean()
        return (bands / np.linalg.norm(bands)).astype(np.float32)


def voice(formant: float, seconds: float = 5.0, seed: int = 0) -> np.ndarray:
    """Syllables of harmonics that are strongest about one frequency, which wanders a little from take to take."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * np.cumsum(120 + 15 * np.sin(2 * np.pi * 0.6 * time + rng.uniform(0, 6))) / RATE
    centre = formant + rng.normal() * 200
    tone = sum(np.exp(-(((120 * k - centre) / 700) ** 2)) * np.sin(k * phase + rng.uniform(0, 6)) for k in range(1, 32))
    syllables = np.clip(np.sin(2 * np.pi * 2 * time + rng.uniform(0, 6)) + 0.3, 0, None)
    return (0.05 * tone * syllables + 1e-4 * rng.standard_normal(len(time))).astype(np.float32)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Six takes of each of four voices."""
    folder = tmp_path_factory.mktemp("corpus")
    for number, (name, formant) in enumerate(FORMANTS.items()):
        (folder / name).mkdir()
        for take in range(6):
            audio.write_audio(folder / name / f"{take}.wav", voice(formant, seed=10 * number + take), RATE)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "model"
    weights = {"a": np.ones(3, np.float32)}
    return save_model(folder, system="metric_learning", config={}, weights=weights, card="")


@pytest.fixture
def command(model, monkeypatch, tmp_path, capsys):
    """Runs a command line with the encoder above and a store of its own: status, output, errors."""
    monkeypatch.setattr(_voices, "load_encoder", lambda path: _voices.Hearing(BandEncoder(), path or model))
    monkeypatch.setenv("JAXSPK_PEOPLE", str(tmp_path / "people.safetensors"))
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        status = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return status, captured.out, captured.err

    return run


@pytest.fixture
def calibration(command, corpus, model, tmp_path):
    """What the scores of the encoder mean, learnt from the corpus by the commands themselves."""
    assert command("score", corpus, "-o", tmp_path / "scores.txt")[0] == 0
    place = tmp_path / "calibration.json"
    assert command("calibrate", tmp_path / "scores.txt", "--model", model, "-o", place)[0] == 0
    return place


@pytest.fixture
def trials(corpus, tmp_path):
    path = tmp_path / "trials.txt"
    path.write_text("1 ann/0.wav ann/1.wav\n0 ann/0.wav bob/0.wav\n1 bob/1.wav bob/2.wav\n0 cid/0.wav bob/1.wav\n")
    return path


def test_a_list_is_scored_and_measured(command, corpus, trials, tmp_path):
    status, out, _ = command("score", trials, "--root", corpus, "-o", "out/scores.txt")
    assert status == 0
    assert "4 trials of 6 recordings" in out and "equal error rate  0.00 %" in out
    lines = [line.split() for line in (tmp_path / "out/scores.txt").read_text().splitlines()]
    assert [lines[0][place] for place in (0, 1, 3)] == ["ann/0.wav", "ann/1.wav", "1"]
    same, different = ([float(line[2]) for line in lines if line[3] == label] for label in "10")
    assert min(same) > max(different)
    status, out, _ = command("metrics", "out/scores.txt", "--json")
    assert status == 0 and json.loads(out)["out/scores.txt"]["eer"] == 0


def test_a_folder_is_scored_against_itself_by_either_protocol(command, corpus):
    for protocol in ("whole", "ten_crops"):
        status, out, _ = command("score", corpus, "--protocol", protocol, "--json")
        facts = json.loads(out)
        assert status == 0 and facts["recordings"] == 24 and facts["trials"] == 24 * 23 // 2
        assert facts["metrics"]["eer"] < 0.2


def test_trials_of_a_bad_recording_are_left_out(command, corpus, trials, tmp_path):
    trials.write_text(trials.read_text() + "1 ann/0.wav nowhere.wav\n")
    status, out, error = command("score", trials, "--root", corpus, "--json")
    assert status == 1 and "nowhere.wav" in error
    facts = json.loads(out)
    assert facts["trials"] == 4 and facts["left_out"] == 1 and len(facts["failed"]) == 1
    assert "nowhere" not in (tmp_path / "scores.txt").read_text()


def test_scores_are_normalised_with_a_cohort(command, corpus, trials, tmp_path):
    plain = command("score", trials, "--root", corpus, "-o", "plain.txt")
    normalised = command("score", trials, "--root", corpus, "-o", "norm.txt", "--cohort", corpus, "--top", "3")
    assert plain[0] == normalised[0] == 0
    assert (tmp_path / "plain.txt").read_text() != (tmp_path / "norm.txt").read_text()


def test_scores_without_labels_are_scored_and_not_measured(command, corpus, tmp_path):
    (tmp_path / "blind.txt").write_text("ann/0.wav ann/1.wav\n")
    status, out, _ = command("score", "blind.txt", "--root", corpus)
    assert status == 0 and "equal error" not in out
    assert command("metrics", "scores.txt")[0] == 2
    assert command("calibrate", "scores.txt")[0] == 2


def test_calibration_says_what_it_learnt(command, corpus, model, tmp_path):
    command("score", corpus)
    status, out, _ = command("calibrate", "scores.txt", "--model", model, "-o", "mine.json", "--json")
    facts = json.loads(out)
    assert status == 0 and facts["scale"] > 0 and facts["targets"] == 4 * 15
    assert facts["min_cllr"] <= facts["cllr"] < 1.5 * facts["min_cllr"] + 0.05
    rule = load_verification(model, path=tmp_path / "mine.json")["whole"]
    assert rule.trials == "scores.txt" and rule.levels[0].errors.nontargets == facts["nontargets"]


def test_two_recordings_are_verified(command, corpus, calibration):
    for other, decision in (("ann/1.wav", "same"), ("dee/0.wav", "different")):
        arguments = ["verify", corpus / "ann/0.wav", corpus / other, "--calibration", calibration]
        status, out, _ = command(*arguments, "--json")
        facts = json.loads(out)
        assert status == 0 and facts["decision"] == decision
        assert (facts["probability"] > 0.5) == (decision == "same")
        assert facts["threshold"] == OperatingPoint().threshold() and len(facts["qualities"]) == 2
        status, out, _ = command(*arguments)
        assert status == 0
        assert out.splitlines()[0] == {"same": "the same speaker", "different": "different speakers"}[decision]
        assert "probability" in out and "wrong for" in out and "% of the pairs of one speaker" in out


def test_the_operating_point_moves_the_threshold(command, corpus, calibration):
    arguments = ["verify", corpus / "ann/0.wav", corpus / "ann/1.wav", "--calibration", calibration, "--json"]
    usual, sceptical, strict = (
        json.loads(command(*arguments, *more)[1]) for more in ([], ["--prior", "0.01"], ["--false-alarms", "0.02"])
    )
    np.testing.assert_allclose(sceptical["threshold"], np.log(99))
    assert sceptical["probability"] < usual["probability"]
    np.testing.assert_allclose(strict["false_alarm_rate"], 0.02, atol=1e-3)


@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda x: x[: RATE // 2], "too short"),
        (lambda x: x + 0.1 * np.random.default_rng(0).standard_normal(len(x)).astype(np.float32), "too noisy"),
        (lambda x: np.clip(50 * x, -1, 1), "too clipped"),
    ],
)
def test_poor_recordings_are_not_decided_upon(command, corpus, calibration, tmp_path, spoil, words):
    audio.write_audio(tmp_path / "poor.wav", spoil(voice(500)).astype(np.float32), RATE)
    status, out, _ = command("verify", corpus / "ann/0.wav", "poor.wav", "--calibration", calibration)
    assert status == 0 and out.startswith("undecided")
    assert f"because poor.wav is {words}" in out


def test_people_are_enrolled_recognised_and_forgotten(command, corpus, calibration, tmp_path):
    for name in ("ann", "bob"):
        status, out, _ = command("enroll", name.title(), *(corpus / name / f"{take}.wav" for take in range(3)))
        assert status == 0 and f"{name.title()}: known from 3 recordings" in out
    options = ["--calibration", calibration]
    status, out, _ = command("who", corpus / "bob/4.wav", corpus / "dee/0.wav", *options, "--json")
    first, second = json.loads(out)["done"]
    assert status == 0 and (first["name"], second["name"]) == ("Bob", "unknown")
    assert first["candidates"][0]["name"] == "Bob" and second["unknown_probability"] > 0.5
    status, out, _ = command("who", corpus / "bob/4.wav", corpus / "dee/0.wav", *options)
    assert "bob/4.wav: Bob, probability" in out and "dee/0.wav: unknown, probability" in out
    assert "such answers miss" in out
    status, out, _ = command("people")
    assert status == 0 and len(out.splitlines()) == 2 and out.startswith("Ann     3 recordings")
    status, out, _ = command("people", "--remove", "Bob", "--json")
    facts = json.loads(out)
    assert [person["name"] for person in facts["people"]] == ["Ann"]
    assert [person["name"] for person in facts["removed"]] == ["Bob"]
    assert json.loads(command("who", corpus / "dee/4.wav", *options, "--json")[1])["done"][0]["name"] == "unknown"
    command("people", "--remove", "Ann")
    assert "knows nobody" in command("people")[1]


def test_poor_recordings_are_left_out_of_a_voice(command, corpus, tmp_path):
    audio.write_audio(tmp_path / "short.wav", voice(500)[: RATE // 2], RATE)
    status, out, error = command("enroll", "Ann", corpus / "ann/0.wav", "short.wav", "--json")
    assert status == 1 and "short.wav is too short" in error
    assert json.loads(out)["recordings"] == 1
    status, _, error = command("enroll", "Bob", "short.wav")
    assert status == 2 and "nobody was enrolled" in error
    assert len(json.loads(command("people", "--json")[1])["people"]) == 1


def test_recordings_become_vectors(command, corpus, tmp_path):
    assert command("embed", corpus / "ann", "-o", "v.npz")[0] == 0
    with np.load(tmp_path / "v.npz", allow_pickle=False) as stored:
        assert [name.rsplit("/", 1)[1] for name in stored["recordings"]] == [f"{take}.wav" for take in range(6)]
        vectors = stored["embeddings"]
    assert vectors.shape == (6, 8) and vectors.dtype == np.float32
    status, out, error = command("embed", corpus / "ann", "nowhere.wav", "-o", "v.csv", "--json")
    assert status == 2 and "nowhere.wav" in error
    (tmp_path / "bad.wav").write_bytes(b"nothing")
    status, out, error = command("embed", corpus / "ann", "bad.wav", "-o", "v.csv", "--json")
    assert status == 1 and "bad.wav" in error and json.loads(out)["dim"] == 8
    rows = list(csv.reader((tmp_path / "v.csv").read_text().splitlines()))
    np.testing.assert_array_equal(np.array([row[1:] for row in rows[1:]], np.float32), vectors)


def test_scores_are_reported_in_one_page(command, corpus, tmp_path):
    command("score", corpus)
    assert command("metrics", "scores.txt", "--report", "page.html")[0] == 0
    page = (tmp_path / "page.html").read_text()
    assert "Detection error trade-off" in page and "Calibration" in page


@pytest.mark.parametrize(
    "arguments, trouble",
    [
        (["verify", "a.wav", "b.wav"], "a.wav"),
        (["verify", "{c}/ann/0.wav", "{c}/bob/0.wav"], "holds no calibration for the protocol 'whole'"),
        (["verify", "{c}/ann/0.wav", "{c}/bob/0.wav", "--prior", "1"], "--prior must lie between 0 and 1"),
        (["verify", "{c}/ann/0.wav", "{c}/bob/0.wav", "--false-alarms", "0"], "--false-alarms must lie"),
        (["verify", "{c}/ann/0.wav", "{c}/bob/0.wav", "--calibration", "no.json"], "no.json: there is no such file"),
        (["who", "{c}/ann/0.wav"], "knows nobody yet"),
        (["who"], "name at least one recording"),
        (["who", "{c}/ann/0.wav", "--known", "0"], "--known must lie"),
        (["enroll", "Ann"], "name at least one recording"),
        (["enroll", "unknown", "{c}/ann/0.wav"], "nobody can be called 'unknown'"),
        (["people", "--remove", "Zoe"], "knows nobody called 'Zoe'; it knows nobody"),
        (["embed", "{c}/ann/0.wav", "-o", "v.txt"], "--output must end in .npz or .csv"),
        (["embed"], "name at least one recording"),
        (["metrics"], "name at least one file"),
        (["metrics", "no.txt"], "no.txt: cannot be read"),
        (["calibrate", "no.txt", "--model", "."], "no.txt: cannot be read"),
        (["score", "no.txt"], "no.txt: cannot be read"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(command, corpus, arguments, trouble, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    status, _, error = command(*(word.replace("{c}", str(corpus)) for word in arguments))
    assert status == 2 and trouble in error and error.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before
