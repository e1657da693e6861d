"""``jaxspk train``: what its options make of the presets, and, slowly, a training of each system."""

import dataclasses
import json

import numpy as np
import pytest

from jaxspk import audio
from jaxspk.cli import _train, main
from jaxspk.errors import ArgumentError
from jaxspk.systems import OBJECTIVES, SPEAKER_PRESETS


def asked(tmp_path, **options):
    return _train.Options(system="metric-learning", output=tmp_path / "run", data=tmp_path, **options)


def test_options_change_the_preset_and_nothing_else(tmp_path):
    (tmp_path / "noise").mkdir()
    training = _train.speaker_training(
        asked(tmp_path, objective="ge2e_softmax", minutes=2.5, seed=9, layout="voxceleb", speakers=12)
    )
    small = SPEAKER_PRESETS["small"]()
    assert training == dataclasses.replace(
        small,
        data=dataclasses.replace(small.data, path=tmp_path, layout="voxceleb"),
        objective=dataclasses.replace(small.objective, loss="ge2e_softmax"),
        batches=dataclasses.replace(small.batches, speakers=12),
        # There is noise and no room in that folder.
        augment=dataclasses.replace(small.augment, room_share=0.0, music_share=0.0),
        fit=dataclasses.replace(small.fit, max_minutes=2.5),
        sounds=tmp_path,
        seed=9,
    )


def test_sounds_are_looked_for_beside_a_table_or_where_one_says(tmp_path):
    (tmp_path / "utterances.csv").touch()
    (tmp_path / "elsewhere" / "rir").mkdir(parents=True)
    table = dataclasses.replace(asked(tmp_path), data=tmp_path / "utterances.csv")
    assert _train.speaker_training(table).sounds == tmp_path
    named = _train.speaker_training(dataclasses.replace(table, sounds=tmp_path / "elsewhere"))
    assert named.sounds == tmp_path / "elsewhere"
    assert named.augment.room_share > 0 and named.augment.noise_share == 0
    with pytest.raises(ArgumentError, match="--sounds must be a folder"):
        _train.speaker_training(dataclasses.replace(table, sounds=tmp_path / "nowhere"))


@pytest.mark.parametrize("preset", SPEAKER_PRESETS)
@pytest.mark.parametrize("objective", [None, *OBJECTIVES])
def test_every_objective_goes_with_every_preset(tmp_path, preset, objective):
    from jaxspk.systems._speaker_objectives import check_utterances

    training = _train.speaker_training(asked(tmp_path, preset=preset, objective=objective))
    check_utterances(training.objective, training.batches.utterances)
    assert training.objective.loss == (objective or SPEAKER_PRESETS[preset]().objective.loss)


@pytest.mark.parametrize(
    ("words", "trouble"),
    [
        (["metric-learning", "--objective", "arcface"], "--objective must be one of softmax, am_softmax"),
        (["metric-learning", "--minutes", "0"], "--minutes must be positive, got 0.0"),
        (["metric-learning", "--speakers", "1"], "--speakers must be at least 2, got 1"),
        (["deep-clustering", "--objective", "softmax"], "--objective is for metric-learning"),
        (["deep-clustering", "--preset", "paper"], "--preset of deep-clustering must be one of quick, small, modern"),
    ],
)
def test_what_does_not_fit_is_one_line_and_nothing_is_written(tmp_path, words, trouble, capsys, as_a_user):
    assert main(["train", *words, "--data", str(tmp_path), "-o", str(tmp_path / "run")]) in (1, 2)
    error = capsys.readouterr().err
    assert trouble in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def voices(folder, speakers):
    """Harmonics of a pitch a speaker, a folder each."""
    for number in range(speakers):
        (folder / f"speaker{number:02d}").mkdir(parents=True)
        for take in range(3):
            time = np.arange(16_000) / 8000
            tone = sum(np.sin(2 * np.pi * (90 + 12 * number + take) * k * time) / k for k in range(1, 8))
            beat = np.clip(np.sin(2 * np.pi * (1.5 + 0.1 * take) * time + number) + 0.7, 0, 1)
            audio.write_audio(folder / f"speaker{number:02d}" / f"{take}.wav", (0.1 * beat * tone).astype("f4"), 8000)
    return folder


@pytest.mark.slow
def test_a_speaker_encoder_is_trained_and_used(tmp_path, capsys):
    speech, out = voices(tmp_path / "speech", 40), tmp_path / "run"
    words = ["train", "metric-learning", "--data", str(speech), "--preset", "quick", "--minutes", "0.2", "-o", str(out)]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert f"report: {out / 'report.html'}" in printed and "whole recordings" in printed
    assert (out / "report.html").stat().st_size > 100_000
    pair = [str(speech / "speaker00" / f"{take}.wav") for take in range(2)]
    main(["verify", *pair, "--model", str(out / "model"), "--json"])
    assert -1 <= json.loads(capsys.readouterr().out)["score"] <= 1
