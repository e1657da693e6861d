import json

import numpy as np
import pytest

from jaxspk.errors import ArgumentError, ModelError
from jaxspk.metrics import Calibration
from jaxspk.systems import (
    QualityLimits,
    Verification,
    fit_verification,
    load_verification,
    save_model,
    save_verification,
    weights_sha256,
)


def trials(count: int = 400, seed: int = 0):
    rng = np.random.default_rng(seed)
    labels = rng.random(count) < 0.5
    seconds = rng.uniform(0.5, 12, count)
    # Short recordings of one speaker score lower.
    scores = 0.1 * rng.normal(size=count) + 0.6 * labels * np.minimum(1, seconds / 4)
    return scores, labels, seconds


def rule(**options) -> Verification:
    scores, labels, _ = trials()
    return fit_verification(scores, labels, **{"protocol": "whole", "trials": "made up", **options})


@pytest.fixture
def model(tmp_path):
    weights = {"a": np.ones(3, np.float32)}
    return save_model(tmp_path / "model", system="metric_learning", config={}, weights=weights, card="")


def test_without_durations_there_is_one_level():
    scores, labels, _ = trials()
    (level,) = rule().levels
    assert level.speech_seconds == 0
    assert level.calibration == Calibration.fit(scores, labels)
    ratios = level.calibration.log_likelihood_ratio(scores)
    np.testing.assert_allclose(level.errors.at(0)[0], np.mean(ratios[labels] < 0))


def test_durations_are_calibrated_by_themselves():
    scores, labels, seconds = trials(4000)
    fitted = rule_of(scores, labels, seconds)
    assert [level.speech_seconds for level in fitted.levels] == [0, 2, 4, 8]
    chosen = (seconds >= 2) & (seconds < 4)
    assert fitted.level(3.0).calibration == Calibration.fit(scores[chosen], labels[chosen])
    assert fitted.level(0.1) is fitted.levels[0] and fitted.level(1e9) is fitted.levels[-1]
    # The same score says more about short recordings.
    assert fitted.level(1.0).calibration.log_likelihood_ratio(0.3) > fitted.level(9.0).calibration.log_likelihood_ratio(
        0.3
    )


def rule_of(scores, labels, seconds):
    return fit_verification(scores, labels, protocol="whole", trials="made up", speech_seconds=seconds)


def test_durations_with_few_trials_join_those_below():
    scores, labels, seconds = trials(4000)
    few = (seconds < 8) | (np.cumsum(seconds >= 8) < 40)
    assert [level.speech_seconds for level in rule_of(scores[few], labels[few], seconds[few]).levels] == [0, 2, 4]
    short = (seconds >= 2) | (np.cumsum(seconds < 2) < 40)
    assert [level.speech_seconds for level in rule_of(scores[short], labels[short], seconds[short]).levels] == [0, 4, 8]


def test_long_recordings_alone_make_levels_that_also_serve_short_ones():
    scores, labels, seconds = trials(4000)
    long = seconds >= 4
    fitted = rule_of(scores[long], labels[long], seconds[long])
    assert fitted.level(1.0) is fitted.levels[0]
    assert sum(level.errors.targets for level in fitted.levels) == labels[long].sum()


def test_the_file_beside_the_weights(model):
    scores, labels, seconds = trials(4000)
    limits = QualityLimits(speech_seconds=2.0, snr_db=6.0, clipped=0.1)
    rules = [rule_of(scores, labels, seconds), rule(protocol="ten_crops", undecidable=limits)]
    assert load_verification(model) == {}
    assert save_verification(rules, model) == model / "verification.json"
    assert load_verification(model) == {"whole": rules[0], "ten_crops": rules[1]}


def test_a_file_of_ones_own(model, tmp_path):
    place = tmp_path / "mine.json"
    save_verification([rule()], model, path=place)
    assert load_verification(model) == {}
    assert load_verification(model, path=place) == {"whole": rule()}


def test_other_weights_are_refused(model, tmp_path):
    save_verification([rule()], model)
    other = save_model(
        tmp_path / "other", system="metric_learning", config={}, weights={"a": np.zeros(3, np.float32)}, card=""
    )
    assert weights_sha256(model) != weights_sha256(other)
    with pytest.raises(ModelError, match="fitted to other weights"):
        load_verification(other, path=model / "verification.json")


@pytest.mark.parametrize(
    "content, message",
    [
        (b"{", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b"[]", 'lacks "format"'),
        (b'{"format": "jaxspk-verification"}', "format version None"),
        (b" " * (1 << 23), "no such file of ours"),
    ],
)
def test_damaged_files_are_refused(model, content, message):
    (model / "verification.json").write_bytes(content)
    with pytest.raises(ModelError, match=message):
        load_verification(model)


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda d: d.pop("rules"), 'lacks "rules"'),
        (lambda d: d["rules"][0].pop("levels"), "`levels` is missing"),
        (lambda d: d["rules"][0].update(levels=[]), "`levels` must be at least one"),
        (lambda d: d["rules"][0].update(protocol="half"), "protocol"),
        (lambda d: d["rules"][0]["levels"][0]["calibration"].update(scale=-1.0), "`scale` must be above 0"),
        (lambda d: d["rules"][0]["levels"][0]["errors"].update(misses=[0.0]), "`misses` must be 121 fractions"),
    ],
)
def test_files_that_make_no_sense_are_refused(model, damage, message):
    place = save_verification([rule()], model)
    described = json.loads(place.read_text())
    damage(described)
    place.write_text(json.dumps(described))
    with pytest.raises(ModelError, match=message) as error:
        load_verification(model)
    assert str(place) in str(error.value)


def test_what_is_missing_is_named(model, tmp_path):
    with pytest.raises(ModelError, match="there is no such file; make it with `jaxspk calibrate`"):
        load_verification(model, path=tmp_path / "nowhere.json")
    with pytest.raises(ModelError, match=r"model.safetensors: cannot be read"):
        load_verification(tmp_path)
    with pytest.raises(ModelError, match="cannot be written"):
        save_verification([rule()], model, path=tmp_path / "no" / "folder" / "a.json")


def test_two_rules_for_one_protocol_are_refused(model):
    with pytest.raises(ArgumentError, match="one rule for each protocol"):
        save_verification([rule(), rule()], model)
    with pytest.raises(ArgumentError, match="one rule for each protocol"):
        save_verification([], model)
