"""The command as a user calls it: arguments in, files, lines and an exit status out."""

import json

import numpy as np
import pytest
from flax import nnx

from jaxspk import audio
from jaxspk.cli import COMMANDS, main
from jaxspk.systems import DeepClusteringConfig, DeepClusteringModel, NetworkConfig, save_deep_clustering


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    config = DeepClusteringConfig(network=NetworkConfig(layers=1, units=4, dim=3))
    network = DeepClusteringModel(config, rngs=nnx.Rngs(0))
    return save_deep_clustering(tmp_path_factory.mktemp("models") / "tiny", config, network, card="# Tiny\n")


@pytest.fixture
def recordings(tmp_path):
    folder = tmp_path / "in"
    (folder / "deeper").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, rate in (("a.wav", 16000), ("deeper/b.flac", 8000)):
        waveform = (0.1 * rng.standard_normal(rate)).astype(np.float32)
        audio.write_audio(folder / name, waveform, rate, subtype="PCM_16")
    return folder


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_explains_itself_with_an_example(name, capsys):
    assert main([name, "--help"]) == 0
    assert f"Example: jaxspk {name}" in " ".join(capsys.readouterr().out.split())


def test_the_overview_names_every_command(capsys):
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in COMMANDS)
    assert main(["--version"]) == 0


def test_an_unknown_command_is_one_line_and_status_2(capsys):
    assert main(["separat"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("jaxspk: error: no command 'separat'")
    assert error.count("\n") == 1


def test_separating_a_folder_keeps_its_tree(recordings, model, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["separate", str(recordings), "-o", str(out), "--model", str(model)]) == 0
    files = sorted(str(path.relative_to(out)) for path in out.rglob("*.wav"))
    assert files == ["a-voice1.wav", "a-voice2.wav", "deeper/b-voice1.wav", "deeper/b-voice2.wav"]
    assert "separated 2 of 2" in capsys.readouterr().out
    voices = [audio.read_audio(out / f"a-voice{k}.wav") for k in (1, 2)]
    recording, rate = audio.read_audio(recordings / "a.wav")
    assert [rate_of for _, rate_of in voices] == [rate, rate]
    np.testing.assert_allclose(voices[0][0] + voices[1][0], recording, atol=1e-6)


def test_a_bad_file_does_not_stop_the_others(recordings, model, tmp_path, capsys):
    (recordings / "bad.wav").write_bytes(b"RIFF nothing of the kind")
    audio.write_audio(recordings / "silent.wav", np.zeros(8000, np.float32), 8000)
    out = tmp_path / "out"
    assert main(["separate", str(recordings), "-o", str(out), "--model", str(model), "--json"]) == 1
    captured = capsys.readouterr()
    summary = json.loads(captured.out)
    assert len(summary["done"]) == 2
    failed = {trouble["recording"].rsplit("/", 1)[1]: trouble["error"] for trouble in summary["failed"]}
    assert set(failed) == {"bad.wav", "silent.wav"}
    assert "silent" in failed["silent.wav"]
    assert len(captured.err.splitlines()) == 2


@pytest.mark.parametrize(
    "arguments, trouble",
    [
        (["separate"], "name at least one recording"),
        (["separate", "{in}/nowhere.wav"], "nowhere.wav"),
        (["separate", "{in}/a.wav", "--speakers", "1"], "--speakers must be at least 2, got 1"),
        (["separate", "{in}/a.wav", "--model", "{in}"], "holds no config.json"),
        (["corpus", "{in}/nowhere"], "no such file or folder"),
        (["models", "{in}/nowhere"], "no such model directory"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(recordings, arguments, trouble, capsys, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    words = [word.replace("{in}", str(recordings)) for word in arguments]
    output = ["-o", str(tmp_path / "out")] if words[0] == "separate" else []
    assert main([*words, *output]) in (1, 2)
    error = capsys.readouterr().err
    assert trouble in error
    assert error.count("\n") == 1
    assert "Traceback" not in error
    assert sorted(tmp_path.rglob("*")) == before


def test_an_unknown_flag_is_status_2(capsys):
    assert main(["separate", "--speeker", "2"]) == 2
    assert "speakers" in capsys.readouterr().err


def test_recordings_are_never_overwritten(tmp_path, model, capsys):
    rng = np.random.default_rng(0)
    for name in ("a.wav", "a-voice1.wav"):
        audio.write_audio(tmp_path / name, (0.1 * rng.standard_normal(8000)).astype(np.float32), 8000)
    before = (tmp_path / "a-voice1.wav").read_bytes()
    assert main(["separate", str(tmp_path), "-o", str(tmp_path), "--model", str(model)]) == 1
    assert "would be overwritten" in capsys.readouterr().err
    assert (tmp_path / "a-voice1.wav").read_bytes() == before


def test_equal_names_get_different_files(tmp_path, model):
    rng = np.random.default_rng(0)
    for name in ("a.wav", "a.flac"):
        audio.write_audio(tmp_path / name, (0.1 * rng.standard_normal(8000)).astype(np.float32), 8000, subtype="PCM_16")
    assert main(["separate", str(tmp_path), "-o", str(tmp_path / "out"), "--model", str(model)]) == 0
    assert len(list((tmp_path / "out").glob("*.wav"))) == 4


def test_samples_come_out_with_their_attribution(tmp_path, capsys):
    assert main(["samples", "-o", str(tmp_path)]) == 0
    assert "CC BY 4.0" in (tmp_path / "ATTRIBUTION.md").read_text()
    mixtures = sorted((tmp_path / "mixtures").glob("*.flac"))
    assert len(mixtures) >= 3
    for mixture in mixtures:
        waveform, rate = audio.read_audio(mixture)
        references = [audio.read_audio(tmp_path / "references" / f"{mixture.stem}-{k}.flac")[0] for k in (1, 2)]
        np.testing.assert_allclose(sum(references), waveform, atol=2 / 2**15)
        assert rate == 16000
    assert all(str(tmp_path) in line for line in capsys.readouterr().out.splitlines())


def test_models_are_listed_and_damage_is_found(model, tmp_path, capsys):
    assert main(["models", str(model)]) == 0
    assert "deep_clustering" in capsys.readouterr().out
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for file in model.iterdir():
        content = bytearray(file.read_bytes())
        if file.suffix == ".safetensors":
            content[-1] ^= 1
        (damaged / file.name).write_bytes(content)
    assert main(["models", str(model), str(damaged), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert len(found["models"]) == len(found["refused"]) == 1


def test_corpus_says_what_is_there_and_what_is_wrong(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for speaker in ("ann", "bob"):
        (tmp_path / speaker).mkdir()
        for take in range(2):
            waveform = (0.1 * rng.standard_normal(16000)).astype(np.float32)
            audio.write_audio(tmp_path / speaker / f"{take}.wav", waveform, 8000)
    assert main(["corpus", str(tmp_path)]) == 0
    assert "2" in capsys.readouterr().out
    (tmp_path / "ann" / "broken.wav").write_bytes(b"")
    assert main(["corpus", str(tmp_path)]) == 1
    assert "broken.wav" in capsys.readouterr().out
    assert main(["corpus", str(tmp_path), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)
