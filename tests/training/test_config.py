import dataclasses
import json
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxspk.errors import ArgumentError
from jaxspk.training import (
    FitConfig,
    OptimizerConfig,
    config_differences,
    config_from_dict,
    config_to_dict,
    may_change,
)


@dataclasses.dataclass(frozen=True)
class Noise:
    level_db: float = -20.0
    kind: Literal["white", "pink"] = "white"


@dataclasses.dataclass(frozen=True)
class Config:
    steps: int
    noises: tuple[Noise, ...] = ()
    range_db: tuple[float, float] = (0.0, 5.0)
    noise: Noise | None = None
    path: Path | None = None
    weights: dict[str, float] = dataclasses.field(default_factory=dict)
    exact: bool = False
    workdir: Path = may_change(Path("runs"))


FULL = Config(
    steps=3,
    noises=(Noise(), Noise(-3.5, "pink")),
    range_db=(1.0, 2.5),
    noise=Noise(0.0),
    path=Path("speech/train"),
    weights={"a": 0.5},
    exact=True,
)


@pytest.mark.parametrize("config", [Config(1), FULL, FitConfig(), FitConfig(patience=3, max_minutes=1.5)])
def test_comes_back_through_json_as_it_was(config):
    text = json.dumps(config_to_dict(config), allow_nan=False)
    assert config_from_dict(type(config), json.loads(text)) == config


@given(
    st.builds(
        OptimizerConfig,
        name=st.sampled_from(["adam", "sgd"]),
        learning_rate=st.floats(1e-300, 1e300),
        clip_norm=st.none() | st.floats(1e-6, 1e6),
        warmup_steps=st.integers(0, 10**12),
    )
)
def test_numbers_come_back_exactly(config):
    assert config_from_dict(OptimizerConfig, json.loads(json.dumps(config_to_dict(config)))) == config


@pytest.mark.parametrize(
    "values, message",
    [
        ({"steps": 1, "stepz": 2}, r"config: unknown key `stepz`; did you mean `steps`\?"),
        ({"steps": 1, "zzz": 2}, "config: unknown key `zzz`; Config has steps, noises"),
        ({"steps": 1, "noise": {"levl_db": 2}}, r"unknown key `noise\.levl_db`; did you mean `level_db`"),
        ({"steps": 1, "noises": [{}, {"kind": "blue"}]}, r"`noises\[1\]\.kind` must be one of 'white', 'pink'"),
        ({}, "`steps` is missing and has no default"),
        ({"steps": 1.5}, "`steps` must be of type int, got 1.5"),
        ({"steps": True}, "`steps` must be of type int, got True"),
        ({"steps": "1"}, "`steps` must be of type int, got '1'"),
        ({"steps": 1, "exact": 1}, "`exact` must be of type bool, got 1"),
        ({"steps": 1, "range_db": [1.0]}, "`range_db` must have 2 elements, got 1"),
        ({"steps": 1, "range_db": 1.0}, "`range_db` must be a list"),
        ({"steps": 1, "weights": [1.0]}, "`weights` must be an object"),
        ({"steps": 1, "noise": 3}, "`noise` must be an object with the fields of Noise"),
        ([], "the config must be an object with the fields of Config"),
    ],
)
def test_says_what_is_wrong(values: Any, message, as_a_user):
    with pytest.raises(ArgumentError, match=message):
        config_from_dict(Config, values)


def test_the_checks_of_the_config_itself_are_made():
    with pytest.raises(ArgumentError, match="`steps` must lie in"):
        config_from_dict(FitConfig, {"steps": 0})


def test_names_where_the_values_came_from():
    with pytest.raises(ArgumentError, match=r"^run/config\.json: unknown key"):
        config_from_dict(Config, {"step": 1}, where="run/config.json")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1: 2.0}])
def test_refuses_what_json_cannot_hold(value):
    with pytest.raises(ArgumentError, match="`path`"):
        config_to_dict(Config(1, path=value))


def test_refuses_a_class(as_a_user):
    with pytest.raises(ArgumentError, match="must be an instance of a dataclass"):
        config_to_dict(Config)


def test_differences_are_named_to_the_field():
    changed = dataclasses.replace(FULL, steps=4, noise=Noise(1.0), noises=(Noise(), Noise(-3.5, "white")))
    assert config_differences(FULL, changed) == ["steps", "noises[1].kind", "noise.level_db"]


def test_differences_in_length_and_kind_are_named():
    assert config_differences(FULL, dataclasses.replace(FULL, noises=(Noise(),))) == ["noises"]
    assert config_differences(FULL, dataclasses.replace(FULL, noise=None)) == ["noise"]
    assert config_differences(FULL, Noise()) == ["(class of the config)"]


def test_what_may_change_is_no_difference_however_deep():
    @dataclasses.dataclass(frozen=True)
    class Outer:
        stages: tuple[FitConfig, ...]
        system: Noise = may_change(Noise())

    first = Outer((FitConfig(max_minutes=1.0),))
    assert config_differences(first, Outer((FitConfig(max_minutes=2.0),), Noise(7.0))) == []
    assert config_differences(first, Outer((FitConfig(steps=3),))) == ["stages[0].steps"]
