"""The rule for the number of voices: kept beside the weights it was fitted to, used by the separator."""

import dataclasses
import json

import numpy as np
import pytest

from jaxspk.clustering import STATISTICS, CountingRule
from jaxspk.errors import ArgumentError, ModelError
from jaxspk.systems import (
    Separator,
    load_counting_rule,
    possible_counts,
    save_counting_rule,
    save_deep_clustering,
)


def rule(favourite, counts=(1, 2, 3)):
    """One that always says the same."""
    zeros = (0.0,) * len(STATISTICS)
    return CountingRule(
        counts=counts,
        statistics=STATISTICS,
        mean=zeros,
        std=(1.0,) * len(STATISTICS),
        weights=(zeros,) * len(counts),
        bias=tuple(2.0 * (count == favourite) for count in counts),
    )


@pytest.fixture
def folder(tiny_separator, tmp_path):
    return save_deep_clustering(tmp_path / "model", tiny_separator.config, tiny_separator.model, card="# Tiny\n")


def test_a_rule_comes_back_with_its_model(folder):
    assert load_counting_rule(folder) is None
    assert Separator.load(folder).counting is None
    save_counting_rule(folder, rule(3))
    assert Separator.load(folder).counting == rule(3)


@pytest.mark.parametrize(
    "damage, problem",
    [
        (lambda described: "{", "not valid JSON"),
        (lambda described: json.dumps([]), "was not written by jaxspk"),
        (lambda described: json.dumps({**described, "format_version": 9}), "format version 9, this jaxspk reads 1"),
        (lambda described: json.dumps({**described, "weights_sha256": "0"}), "fitted to other weights"),
        (lambda described: json.dumps({**described, "rule": {"countz": [1]}}), "unknown key `countz`"),
        (lambda described: json.dumps({**described, "rule": {**described["rule"], "bias": [1]}}), "`bias` .* got 1"),
        (lambda described: " " * (1 << 23), "no such file of ours"),
    ],
    ids=["json", "foreign", "version", "weights", "key", "shape", "size"],
)
def test_a_damaged_rule_is_refused_in_one_line(folder, damage, problem, as_a_user):
    path = save_counting_rule(folder, rule(2))
    path.write_text(damage(json.loads(path.read_text())))
    with pytest.raises(ModelError, match=problem) as refused:
        Separator.load(folder)
    assert "counting.json" in str(refused.value) and "\n" not in str(refused.value)


def test_a_folder_without_weights_takes_no_rule(tmp_path):
    with pytest.raises(ModelError, match=r"model\.safetensors: cannot be read"):
        save_counting_rule(tmp_path, rule(2))


@pytest.mark.parametrize("favourite", [1, 2, 3])
def test_auto_separates_as_many_voices_as_the_rule_says(tiny_separator, two_voices, favourite):
    separator = dataclasses.replace(tiny_separator, counting=rule(favourite))
    recording = two_voices.sum(0)
    count = separator.count_speakers(recording, 8000)
    assert count.clusters == favourite and count.calibrated
    assert count.confidence == pytest.approx(np.exp(2) / (np.exp(2) + 2))
    voices = separator.separate(recording, 8000, "auto")
    assert len(voices) == favourite
    np.testing.assert_allclose(voices.sum(0), recording, atol=3e-6)
    if favourite > 1:
        np.testing.assert_array_equal(voices, separator.separate(recording, 8000, favourite))


def test_a_range_is_kept_to(tiny_separator, two_voices):
    separator = dataclasses.replace(tiny_separator, counting=rule(1))
    count = separator.count_speakers(two_voices.sum(0), 8000, (2, 3))
    assert set(count.shares) == {2, 3}
    assert sum(count.shares.values()) == pytest.approx(1)


def test_without_a_rule_the_eigenvalues_decide(tiny_separator, two_voices):
    count = tiny_separator.count_speakers(two_voices.sum(0), 8000)
    assert set(count.shares) == {1, 2, 3} and not count.calibrated


def test_a_single_voice_is_the_recording_itself(tiny_separator, two_voices, tmp_path):
    from jaxspk import audio

    separator = dataclasses.replace(tiny_separator, counting=rule(1))
    audio.write_audio(tmp_path / "in.wav", two_voices[0], 8000)
    done = separator.separate_file(tmp_path / "in.wav", tmp_path, speakers="auto")
    assert [path.name for path in done.voices] == ["in-voice1.wav"]
    assert done.count is not None and done.count.clusters == 1
    np.testing.assert_array_equal(audio.read_audio(done.voices[0])[0], two_voices[0])


@pytest.mark.parametrize(
    "speakers, problem",
    [
        (1, "at least 2, got 1"),
        (True, "must be a number, a pair"),
        ((3, 2), "must be a number, a pair"),
        ((2, 5), r"must lie in 1\.\.4, .* got 2\.\.5"),
        ((0, 2), r"must lie in 1\.\.4"),
        ("three", "must be a number, a pair"),
    ],
)
def test_numbers_that_cannot_be_are_refused(speakers, problem, as_a_user):
    with pytest.raises(ArgumentError, match=problem):
        possible_counts(speakers, None)


def test_numbers_that_can_be():
    assert possible_counts("auto", None) == (1, 2, 3)
    assert possible_counts((1, 4), None) == (1, 2, 3, 4)
    assert possible_counts("auto", rule(2)) == (1, 2, 3)
    assert possible_counts(7, rule(2)) == (7,)
    assert possible_counts((2, 3), rule(2)) == (2, 3)
