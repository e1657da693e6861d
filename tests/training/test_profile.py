import dataclasses
import json

from jaxspk.training._profile import Profile


def test_a_profiled_training_says_where_its_time_went(toy, tmp_path, capsys):
    toy.fit(tmp_path, dataclasses.replace(toy.config, profile=True), progress=True)
    found = json.loads((tmp_path / "profile" / "profile.json").read_text())
    assert found["steps"] == 12
    rows = {row["phase"]: row for row in found["phases"]}
    counts = {name: row["count"] for name, row in rows.items()}
    assert counts == {
        "compiling": 1, "data": 12, "transfer": 12, "step": 11, "evaluation": 3, "checkpoint": 4, "loop": 12
    }  # fmt: skip
    assert abs(sum(row["seconds"] for row in rows.values()) - found["seconds"]) < 0.01
    assert all(row["seconds"] >= 0 for row in rows.values())
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))
    said = capsys.readouterr().err.splitlines()
    assert any(line.split() == ["phase", "times", "seconds", "ms", "each", "share"] for line in said)
    assert any(line.startswith("checkpoint") for line in said)


def test_profiling_changes_no_number_and_may_be_switched_on_later(toy, tmp_path):
    import numpy as np

    plain = toy.fit(tmp_path / "plain")
    toy.fit(tmp_path / "profiled", dataclasses.replace(toy.config, max_minutes=1e-9), validate=None)
    profiled = toy.fit(tmp_path / "profiled", dataclasses.replace(toy.config, profile=True))
    np.testing.assert_array_equal(plain.last.weights[...], profiled.last.weights[...])


def test_nothing_is_measured_unless_it_is_asked_for(toy, tmp_path):
    toy.fit(tmp_path)
    assert not (tmp_path / "profile").exists()
    profile = Profile(None)
    with profile.phase("data") as wait:
        wait(None)
    profile.finish(print)
