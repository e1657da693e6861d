import dataclasses
import itertools
import logging
import shutil
import time
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxspk.errors import ArgumentError, CheckpointError, TrainingError
from jaxspk.training import Checkpoints, OptimizerConfig, Run, _loop, fit, read_metrics

SGD = OptimizerConfig(name="sgd", learning_rate=0.05, momentum=0.5)


def lines(folder: Path) -> list[dict]:
    """The log but for its times."""
    return [{key: value for key, value in line.items() if key != "times"} for line in read_metrics(folder)]


def saved(folder: Path) -> dict[str, bytes]:
    """Every array of the last checkpoint."""
    checkpoint = Checkpoints(folder / "checkpoints").latest()
    assert checkpoint is not None
    return {name: array.tobytes() for name, array in checkpoint.arrays.items()}


def weights(model) -> np.ndarray:
    return np.asarray(model.weights[...])


class Stop(Exception):
    """A training that ends where no training ends."""


def stop_at(number: int):
    def change(at, batch):
        if at == number:
            raise Stop

    return change


def poison(*numbers: int):
    def change(at, batch):
        if at in numbers:
            batch["inputs"][0, 0] = np.nan

    return change


# --- What it computes. ---


def test_equals_gradient_descent_written_out(toy, tmp_path):
    found = toy.fit(tmp_path, dataclasses.replace(toy.config, optimizer=dataclasses.replace(SGD, momentum=0.0)))
    expected, batches = np.zeros(4, np.float64), toy.Batches()
    losses = []
    for _ in range(12):
        batch = next(batches)
        error = batch["inputs"] @ expected - batch["targets"]
        losses.append(np.mean(error**2))
        expected -= 0.05 * 2 * batch["inputs"].T @ error / 8
    np.testing.assert_allclose(weights(found.last), expected, rtol=1e-4)
    logged = [line["loss"] for line in lines(tmp_path) if line["split"] == "train"]
    np.testing.assert_allclose(logged, np.reshape(losses, (6, 2)).mean(axis=1), rtol=1e-4)


def test_says_what_came_of_it(toy, tmp_path):
    model = toy.Linear()
    found = toy.fit(tmp_path, model=model)
    assert (found.step, found.best_step, found.stopped, found.skipped) == (12, 12, "steps", 0)
    assert found.best_score == toy.distance(found.model)["loss"]
    assert int(found.last.calls[...]) == 12
    assert 0 <= found.data_wait_share <= 1
    assert found.seconds > 0
    np.testing.assert_array_equal(weights(model), 0)


def test_the_log_has_a_line_for_each_interval_and_validation(toy, tmp_path):
    toy.fit(tmp_path)
    found = lines(tmp_path)
    assert [(line["step"], line["split"]) for line in found] == [
        (2, "train"), (4, "train"), (4, "validation"), (6, "train"), (8, "train"), (8, "validation"),
        (10, "train"), (12, "train"), (12, "validation"),
    ]  # fmt: skip
    train = ["step", "split", "loss", "grad_norm", "largest", "learning_rate", "skipped"]
    assert list(found[0]) == train
    assert found[0]["learning_rate"] == 0.05
    assert list(found[2]) == ["step", "split", "loss"]
    assert read_metrics(tmp_path)[1]["times"].keys() >= {"utc", "steps_per_second", "data_wait_share"}


def test_the_step_is_compiled_once(toy, tmp_path, caplog):
    config = dataclasses.replace(
        toy.config, steps=30, optimizer=OptimizerConfig(schedule="plateau", plateau_patience=1, warmup_steps=3)
    )
    with jax.log_compiles(), caplog.at_level(logging.WARNING):
        found = toy.fit(tmp_path, config, validate=lambda model: {"loss": 1.0})
    compiled = [record for record in caplog.records if record.getMessage().startswith("Compiling jit(counted)")]
    assert (len(compiled), found.compilations) == (1, 1)


def test_a_resumed_step_is_compiled_once(toy, tmp_path):
    with pytest.raises(Stop):
        toy.fit(tmp_path, batches=toy.Batches(stop_at(8)))
    assert toy.fit(tmp_path).compilations == 1


def test_weight_noise_moves_where_the_gradient_is_taken_and_nothing_else(toy, tmp_path):
    def parabola(model, batch, key):
        return 0.5 * jnp.sum(jnp.square(model.weights[...])), {}

    class Wide(nnx.Module):
        def __init__(self):
            self.weights = nnx.Param(jnp.ones(20000))

    config = dataclasses.replace(
        toy.config, steps=1, weight_noise=0.6, optimizer=OptimizerConfig(name="sgd", learning_rate=0.1, momentum=0.0)
    )
    found = toy.fit(tmp_path, config, model=Wide(), loss=parabola, validate=None)
    noise = (1 - weights(found.last)) / 0.1 - 1
    np.testing.assert_allclose([noise.mean(), noise.std()], [0, 0.6], atol=0.02)


def test_the_key_is_new_at_every_step_and_the_same_in_every_run(toy, tmp_path):
    def draw(model, batch, key):
        return jnp.sum(model.weights[...]), {"drawn": jax.random.uniform(key)}

    config = dataclasses.replace(toy.config, log_every=1)
    drawn = []
    for folder, key in (("a", 1), ("b", 1), ("c", 2)):
        toy.fit(tmp_path / folder, config, loss=draw, key=jax.random.key(key))
        drawn.append([line["drawn"] for line in lines(tmp_path / folder) if "drawn" in line])
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0] + drawn[2])) == 24


def test_bfloat16_computes_in_it_and_keeps_float32(toy, tmp_path):
    seen = []

    def loss(model, batch, key):
        seen.append(model.weights[...].dtype)
        value = jnp.mean(jnp.square(model(batch["inputs"].astype(jnp.bfloat16)) - batch["targets"]))
        return value, {}

    found = toy.fit(tmp_path, dataclasses.replace(toy.config, steps=60, compute_dtype="bfloat16"), loss=loss)
    assert set(seen) == {jnp.dtype(jnp.bfloat16)}
    assert weights(found.last).dtype == np.float32
    assert found.last.calls[...].dtype == jnp.int32
    assert np.any(weights(found.last) != np.asarray(weights(found.last), jnp.bfloat16).astype(np.float32))
    np.testing.assert_allclose(weights(found.last), toy.WEIGHTS, atol=0.02)


def test_a_batch_reused_by_its_iterator_does_no_harm(toy, tmp_path):
    # Memory that JAX could take over as it is, and memory that it could not.
    space = np.zeros(8 * 4 * 4 + 8 * 4 + 128, np.uint8)
    start = -space.ctypes.data % 64
    buffers = {
        "inputs": space[start : start + 128].view(np.float32).reshape(8, 4),
        "targets": space[start + 132 : start + 164].view(np.float32),
    }

    class Reusing(toy.Batches):
        def __next__(self):
            for name, array in super().__next__().items():
                buffers[name][...] = array
            return buffers

    found = toy.fit(tmp_path / "reused", batches=Reusing())
    np.testing.assert_array_equal(weights(found.last), weights(toy.fit(tmp_path / "new").last))


def test_lives_on_one_device(toy, tmp_path):
    assert jax.device_count() == 8
    found = toy.fit(tmp_path)
    assert found.last.weights[...].devices() == {jax.devices()[0]}


# --- Steps that are not finite. ---


def test_a_bad_step_is_skipped_counted_and_changes_nothing(toy, tmp_path):
    found = toy.fit(tmp_path / "poisoned", batches=toy.Batches(poison(3, 7)))
    assert found.skipped == 2
    assert [line["skipped"] for line in lines(tmp_path / "poisoned") if "skipped" in line] == [0, 1, 1, 2, 2, 2]
    assert all(np.isfinite(line["loss"]) for line in lines(tmp_path / "poisoned"))

    class Skipping(toy.Batches):
        def __next__(self):
            batch = super().__next__()
            return super().__next__() if self.number in (3, 7) else batch

    clean = toy.fit(tmp_path / "clean", dataclasses.replace(toy.config, steps=10), batches=Skipping())
    np.testing.assert_array_equal(weights(found.last), weights(clean.last))
    assert int(found.last.calls[...]) == 10


def test_an_interval_of_bad_steps_has_no_loss(toy, tmp_path):
    toy.fit(tmp_path, batches=toy.Batches(poison(3, 4)))
    assert [line["loss"] is None for line in lines(tmp_path)] == [False, True] + 7 * [False]


def test_a_finite_loss_with_a_gradient_that_is_not_is_bad_too(toy, tmp_path):
    def root(model, batch, key):
        return jnp.sum(jnp.sqrt(jnp.abs(model.weights[...]))), {}

    config = dataclasses.replace(toy.config, max_consecutive_bad_steps=100)
    found = toy.fit(tmp_path, config, loss=root)
    assert found.skipped == 12
    np.testing.assert_array_equal(weights(found.last), 0)


def test_bad_steps_that_persist_end_the_training_with_advice(toy, tmp_path):
    config = dataclasses.replace(toy.config, steps=1000, max_consecutive_bad_steps=5)
    batches = toy.Batches(poison(*range(8, 1000)))
    with pytest.raises(TrainingError, match=r"not finite in 5 steps in a row.*`learning_rate` \(0\.05\).*step \d+\)"):
        toy.fit(tmp_path, config, batches=batches)
    assert batches.number < 20


def test_bad_steps_with_good_ones_between_do_not(toy, tmp_path):
    config = dataclasses.replace(toy.config, max_consecutive_bad_steps=2)
    assert toy.fit(tmp_path, config, batches=toy.Batches(poison(1, 3, 5, 7, 9, 11))).skipped == 6


# --- Validation. ---


def scripted(*scores: float):
    """A validation with given results, whatever the model."""
    rest = iter(scores)
    return lambda model: {"loss": next(rest), "other": 1.0}


def test_the_best_model_is_kept(toy, tmp_path):
    seen = []

    def validate(model):
        seen.append(weights(model))
        return {"loss": [3.0, 1.0, 2.0][len(seen) - 1]}

    found = toy.fit(tmp_path, validate=validate)
    assert (found.best_step, found.best_score) == (8, 1.0)
    np.testing.assert_array_equal(weights(found.model), seen[1])
    np.testing.assert_array_equal(weights(found.last), seen[2])
    assert int(found.model.calls[...]) == 8


def test_higher_may_be_better_and_another_score_decide(toy, tmp_path):
    config = dataclasses.replace(toy.config, higher_is_better=True, score="sdr")
    rest = iter([3.0, 5.0, 4.0])
    found = toy.fit(tmp_path, config, validate=lambda model: {"loss": 1.0, "sdr": next(rest)})
    assert (found.best_step, found.best_score) == (8, 5.0)


def test_a_score_that_is_not_finite_is_never_best(toy, tmp_path):
    found = toy.fit(tmp_path, validate=scripted(float("nan"), float("inf"), float("-inf")))
    assert (found.best_step, found.best_score) == (12, None)
    assert [line["loss"] for line in lines(tmp_path) if line["split"] == "validation"] == [None] * 3


def test_patience_ends_the_training(toy, tmp_path):
    config = dataclasses.replace(toy.config, steps=100, patience=2, log_every=5)
    found = toy.fit(tmp_path, config, validate=scripted(3.0, 1.0, 2.0, 1.5))
    assert (found.step, found.best_step, found.stopped) == (16, 8, "patience")
    assert lines(tmp_path)[-1]["step"] == 16
    again = toy.fit(tmp_path, config)
    assert (again.step, again.stopped, again.compilations) == (16, "patience", 0)


def test_the_rate_is_halved_on_a_plateau(toy, tmp_path):
    optimizer = dataclasses.replace(SGD, schedule="plateau", plateau_patience=2)
    config = dataclasses.replace(toy.config, steps=12, validate_every=2, optimizer=optimizer)
    toy.fit(tmp_path, config, validate=scripted(3.0, 3.0, 3.0, 3.0, 3.0, 3.0))
    rates = [line["learning_rate"] for line in lines(tmp_path) if "learning_rate" in line]
    assert rates == [0.05, 0.05, 0.05, 0.025, 0.025, 0.0125]


def test_validation_may_alter_its_model(toy, tmp_path):
    def validate(model):
        model.weights[...] = jnp.zeros(4)
        return {"loss": 1.0}

    found = toy.fit(tmp_path / "altering", validate=validate)
    other = toy.fit(tmp_path / "without", validate=None)
    np.testing.assert_array_equal(weights(found.last), weights(other.last))
    assert (other.best_step, other.best_score) == (12, None)
    np.testing.assert_array_equal(weights(other.model), weights(other.last))


# --- Interruption. ---


@pytest.mark.parametrize("number", [1, 4, 6, 11])
def test_stopped_anywhere_it_ends_as_if_left_alone(toy, tmp_path, number):
    # Swings round the minimum: the best is not the last, and the learning rate falls.
    optimizer = dataclasses.replace(SGD, momentum=0.95, schedule="plateau", plateau_patience=1)
    config = dataclasses.replace(toy.config, optimizer=optimizer, validate_every=2)

    def change(at, batch):
        poison(5)(at, batch)
        stop_at(number)(at, batch)

    expected = toy.fit(tmp_path / "left alone", config, batches=toy.Batches(poison(5)))
    assert expected.best_step < 8 and lines(tmp_path / "left alone")[-2]["learning_rate"] < 0.05
    with pytest.raises(Stop):
        toy.fit(tmp_path / "stopped", config, batches=toy.Batches(change))
    toy.fit(tmp_path / "stopped", config, batches=toy.Batches(poison(5)))
    assert lines(tmp_path / "stopped") == lines(tmp_path / "left alone")
    assert saved(tmp_path / "stopped") == saved(tmp_path / "left alone")


def test_lines_after_the_checkpoint_are_written_again_only_if_they_differ(toy, tmp_path):
    with pytest.raises(Stop):
        toy.fit(tmp_path, batches=toy.Batches(stop_at(9)))
    before = read_metrics(tmp_path)
    assert before[-1]["step"] == 8
    with pytest.raises(Stop):
        toy.fit(tmp_path, batches=toy.Batches(stop_at(9)))
    assert read_metrics(tmp_path) == before

    def change(number, batch):
        stop_at(10)(number, batch)
        if number == 8:
            batch["targets"] += 1

    with pytest.raises(Stop):
        toy.fit(tmp_path, batches=toy.Batches(change))
    after = read_metrics(tmp_path)
    assert after[:3] == before[:3]
    assert after[-2]["step"] == before[-2]["step"] == 8 and after[-2]["loss"] != before[-2]["loss"]


def test_a_damaged_checkpoint_costs_steps_but_no_result(toy, tmp_path, capsys):
    config = dataclasses.replace(toy.config, keep_checkpoints=3)
    toy.fit(tmp_path / "whole", config)
    toy.fit(tmp_path / "damaged", config)
    for step in (9, 12):
        path = next((tmp_path / "damaged" / "checkpoints" / f"step-{step:08d}").rglob("d/*"))
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    toy.fit(tmp_path / "damaged", config)
    said = capsys.readouterr().err.splitlines()
    assert len([line for line in said if "damaged" in line and line.endswith("Going back to step 6.")]) == 1
    assert lines(tmp_path / "damaged") == lines(tmp_path / "whole")
    assert saved(tmp_path / "damaged") == saved(tmp_path / "whole")


def test_a_log_altered_before_a_checkpoint_makes_it_go_back_further(toy, tmp_path, capsys):
    config = dataclasses.replace(toy.config, keep_checkpoints=4)
    toy.fit(tmp_path / "whole", config)
    toy.fit(tmp_path / "cut", config)
    log = tmp_path / "cut" / "metrics.jsonl"
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:4]))
    toy.fit(tmp_path / "cut", config)
    assert (
        "lines of metrics.jsonl up to it are not as they were written. Going back to step 6." in capsys.readouterr().err
    )
    assert lines(tmp_path / "cut") == lines(tmp_path / "whole")


def test_a_finished_training_comes_back_at_once(toy, tmp_path):
    first = toy.fit(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "checkpoints").rglob("*")}
    again = toy.fit(tmp_path, batches=toy.Batches(stop_at(1)), validate=scripted())
    np.testing.assert_array_equal(weights(again.last), weights(first.last))
    np.testing.assert_array_equal(weights(again.model), weights(first.model))
    same = ("step", "best_step", "best_score", "skipped", "stopped", "data_wait_share", "seconds")
    assert [getattr(again, name) for name in same] == [getattr(first, name) for name in same]
    assert again.compilations == 0
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "checkpoints").rglob("*")}


def test_lines_of_ones_own_are_not_doubled(toy, tmp_path):
    def experiment(batches):
        with Run(tmp_path, toy.config) as run:
            run.log(0, "baseline", loss=2.0)
            found = fit(toy.Linear(), toy.loss, batches, toy.config, key=jax.random.key(0), run=run, progress=False)
            run.log(found.step, "test", loss=1.0)

    with pytest.raises(Stop):
        experiment(toy.Batches(stop_at(8)))
    for _ in range(2):
        experiment(toy.Batches())
        assert [(line["step"], line["split"]) for line in lines(tmp_path)] == [
            (0, "baseline"), *((step, "train") for step in range(2, 13, 2)), (12, "test"),
        ]  # fmt: skip


def test_another_model_is_refused(toy, tmp_path):
    with pytest.raises(Stop):
        toy.fit(tmp_path, batches=toy.Batches(stop_at(8)))

    class Other(toy.Linear):
        def __init__(self):
            super().__init__()
            self.bias = nnx.Param(jnp.zeros(()))

    with pytest.raises(CheckpointError, match="begun with another model or key"):
        toy.fit(tmp_path, model=Other())


def test_another_beginning_is_refused(toy, tmp_path):
    with pytest.raises(Stop):
        toy.fit(tmp_path, batches=toy.Batches(stop_at(8)))
    model = toy.Linear()
    model.weights[...] = jnp.ones(4)
    for changes in ({"model": model}, {"key": jax.random.key(1)}):
        with pytest.raises(CheckpointError, match="begun with another model or key than the ones given now"):
            toy.fit(tmp_path, **changes)
    toy.fit(tmp_path)


def test_a_state_of_the_data_that_json_cannot_hold_is_refused(toy, tmp_path):
    class Bytes(toy.Batches):
        def get_state(self):
            return {"state": b"1"}

    with pytest.raises(ArgumentError, match="the state of batches must be what JSON can hold"):
        toy.fit(tmp_path, batches=Bytes())


def test_another_fit_config_is_refused_even_if_the_runs_config_does_not_hold_it(toy, tmp_path):
    def train(config):
        with Run(tmp_path, toy.config) as run:
            fit(toy.Linear(), toy.loss, toy.Batches(), config, key=jax.random.key(0), run=run, progress=False)

    train(toy.config)
    with pytest.raises(CheckpointError, match=r"step-00000012: trained with another FitConfig, different in `steps`"):
        train(dataclasses.replace(toy.config, steps=20))


def test_checkpoints_that_are_all_damaged_are_no_new_beginning(toy, tmp_path):
    toy.fit(tmp_path)
    for path in (tmp_path / "checkpoints").glob("*/record.json"):
        path.unlink()
    with pytest.raises(CheckpointError, match=r"damaged.*to begin anew, remove .*checkpoints"):
        toy.fit(tmp_path)


def test_a_lost_folder_of_checkpoints_is_a_new_beginning_with_the_same_end(toy, tmp_path):
    toy.fit(tmp_path)
    before, log = saved(tmp_path), lines(tmp_path)
    shutil.rmtree(tmp_path / "checkpoints")
    toy.fit(tmp_path)
    assert (saved(tmp_path), lines(tmp_path)) == (before, log)


# --- The time budget. ---


class Clock:
    """A second a step."""

    def __init__(self, monkeypatch) -> None:
        self.now = 0.0
        fake = types.SimpleNamespace(monotonic=lambda: self.now, perf_counter=time.perf_counter)
        monkeypatch.setattr(_loop, "time", fake)

    def tick(self, number, batch):
        self.now += 1


def test_a_time_budget_stops_with_a_checkpoint_and_says_so(toy, tmp_path, monkeypatch, capsys):
    clock = Clock(monkeypatch)
    config = dataclasses.replace(toy.config, max_minutes=5 / 60)
    found = toy.fit(tmp_path, config, batches=toy.Batches(clock.tick), progress=True)
    assert (found.step, found.stopped) == (5, "time budget")
    assert "stopped by its time budget of 0.0833333 minutes at step 5 of 12; with a larger" in capsys.readouterr().err
    assert Checkpoints(tmp_path / "checkpoints").steps()[-1] == 5
    assert (found.best_step, found.best_score) == (5, toy.distance(found.last)["loss"])


def test_with_less_time_the_log_ends_where_it_does(toy, tmp_path, monkeypatch):
    clock = Clock(monkeypatch)
    with pytest.raises(Stop):
        toy.fit(tmp_path, batches=toy.Batches(stop_at(12)))
    shutil.rmtree(tmp_path / "checkpoints" / "step-00000009")
    config = dataclasses.replace(toy.config, max_minutes=2 / 60)
    assert toy.fit(tmp_path, config, batches=toy.Batches(clock.tick)).step == 8
    assert [line["step"] for line in lines(tmp_path)] == [2, 4, 4, 6, 8, 8]


def test_with_more_time_it_ends_as_if_never_stopped(toy, tmp_path, monkeypatch):
    clock = Clock(monkeypatch)
    toy.fit(tmp_path / "left alone")
    for minutes in (5 / 60, 5 / 60, 7 / 60, None):
        config = dataclasses.replace(toy.config, max_minutes=minutes)
        found = toy.fit(tmp_path / "stopped", config, batches=toy.Batches(clock.tick))
        assert found.step == {5 / 60: 5, 7 / 60: 7, None: 12}[minutes]
    assert lines(tmp_path / "stopped") == lines(tmp_path / "left alone")
    assert saved(tmp_path / "stopped") == saved(tmp_path / "left alone")


# --- Stages. ---


def curriculum(toy, folder, first, second, minutes=None):
    short = dataclasses.replace(toy.config, steps=6, max_minutes=minutes)
    with Run(folder, toy.config) as run:
        arguments = {"key": jax.random.key(0), "run": run, "validate": toy.distance, "progress": False}
        one = fit(toy.Linear(), toy.loss, first, short, stage="short", **arguments)
        return fit(one.model, toy.loss, second, toy.config, stage="long", **arguments)


@pytest.mark.parametrize("stage, number", [("first", 5), ("second", 1), ("second", 8)])
def test_a_curriculum_resumes_in_the_stage_it_was_stopped_in(toy, tmp_path, stage, number):
    expected = curriculum(toy, tmp_path / "left alone", toy.Batches(), toy.Batches())
    stopping = {"first": toy.Batches(), "second": toy.Batches()} | {stage: toy.Batches(stop_at(number))}
    with pytest.raises(Stop):
        curriculum(toy, tmp_path / "stopped", **stopping)
    found = curriculum(toy, tmp_path / "stopped", toy.Batches(), toy.Batches())
    np.testing.assert_array_equal(weights(found.last), weights(expected.last))
    assert lines(tmp_path / "stopped") == lines(tmp_path / "left alone")
    assert [line["stage"] for line in lines(tmp_path / "stopped")] == 5 * ["short"] + 9 * ["long"]


def test_damage_to_an_early_stage_costs_the_later_ones_nothing(toy, tmp_path, capsys):
    curriculum(toy, tmp_path, toy.Batches(), toy.Batches())
    before = lines(tmp_path)
    (tmp_path / "checkpoints" / "short" / "step-00000006" / "record.json").unlink()
    found = curriculum(toy, tmp_path, toy.Batches(), toy.Batches(stop_at(1)))
    assert "record.json is missing. Going back to step 3." in capsys.readouterr().err
    assert (found.step, found.compilations) == (12, 0)
    assert lines(tmp_path) == before


def test_a_stage_stopped_in_time_may_be_followed_by_others(toy, tmp_path, monkeypatch):
    clock = Clock(monkeypatch)
    curriculum(toy, tmp_path, toy.Batches(clock.tick), toy.Batches(), minutes=5 / 60)
    before = lines(tmp_path)
    again = curriculum(toy, tmp_path, toy.Batches(clock.tick), toy.Batches(stop_at(1)), minutes=5 / 60)
    assert (again.step, again.compilations) == (12, 0)
    assert lines(tmp_path) == before
    with pytest.raises(CheckpointError, match=r"long.*begun with another model.*remove .*long"):
        curriculum(toy, tmp_path, toy.Batches(clock.tick), toy.Batches(), minutes=None)
    shutil.rmtree(tmp_path / "checkpoints" / "long")
    curriculum(toy, tmp_path, toy.Batches(clock.tick), toy.Batches(), minutes=None)
    curriculum(toy, tmp_path / "left alone", toy.Batches(), toy.Batches())
    assert lines(tmp_path) == lines(tmp_path / "left alone")


def test_the_same_stage_twice_is_refused(toy, tmp_path):
    with Run(tmp_path, toy.config) as run:
        arguments = {"key": jax.random.key(0), "run": run, "progress": False}
        fit(toy.Linear(), toy.loss, toy.Batches(), toy.config, **arguments)
        with pytest.raises(ArgumentError, match=r"`stage` '' was fitted in this run already; name each call"):
            fit(toy.Linear(), toy.loss, toy.Batches(), toy.config, **arguments)
        with pytest.raises(ArgumentError, match="`stage` must be made of letters"):
            fit(toy.Linear(), toy.loss, toy.Batches(), toy.config, stage="../x", **arguments)


# --- Arguments. ---


@pytest.mark.parametrize(
    "loss, message",
    [
        (lambda model, batch, key: jnp.sum(model.weights[...]), "must return a scalar and a dictionary"),
        (lambda model, batch, key: (model.weights[...], {}), r"must return scalars, got loss of shape \(4,\)"),
        (lambda model, batch, key: (0.0, {"a": jnp.ones(2)}), r"must return scalars, got a of shape \(2,\)"),
        (lambda model, batch, key: (0.0, {"step": 1.0}), "must not return a metric named 'step'"),
    ],
)
def test_a_loss_that_is_none_is_refused(toy, tmp_path, loss, message):
    with pytest.raises(ArgumentError, match=message):
        toy.fit(tmp_path, loss=loss)


def test_a_loss_that_adds_variables_is_refused(toy, tmp_path):
    def adding(model, batch, key):
        model.more = nnx.BatchStat(jnp.zeros(()))
        return jnp.sum(model.weights[...]), {}

    with pytest.raises(TrainingError, match="added or removed variables of the model"):
        toy.fit(tmp_path, loss=adding)


@pytest.mark.parametrize("scores, message", [({"sdr": 1.0}, "but `validate` gives sdr"), ({"stage": 1.0}, "'stage'")])
def test_a_validation_without_the_score_is_refused(toy, tmp_path, scores, message):
    with pytest.raises(ArgumentError, match=message):
        toy.fit(tmp_path, validate=lambda model: scores)


def test_batches_that_end_are_an_error(toy, tmp_path):
    class Ending(toy.Batches):
        def __next__(self):
            if self.number == 5:
                raise StopIteration
            return super().__next__()

    with pytest.raises(TrainingError, match="the batches ended at step 5 of 12; they must not end"):
        toy.fit(tmp_path, batches=Ending())


def test_an_old_fashioned_key_will_do(toy, tmp_path):
    old = toy.fit(tmp_path / "old", key=jax.random.PRNGKey(0))
    new = toy.fit(tmp_path / "new", key=jax.random.key(0))
    np.testing.assert_array_equal(weights(old.last), weights(new.last))


def test_double_precision_stays(toy, tmp_path, x64):
    def loss(model, batch, key):
        return jnp.mean(jnp.square(model(batch["inputs"].astype(jnp.float64)) - batch["targets"])), {}

    model = toy.Linear()
    model.weights[...] = jnp.zeros(4, jnp.float64)
    found = toy.fit(tmp_path, model=model, loss=loss)
    assert weights(found.last).dtype == np.float64


# --- Waiting for data. ---


def test_slow_data_show_as_waiting(toy, tmp_path):
    slow = toy.Batches(lambda number, batch: time.sleep(0.06))
    config = dataclasses.replace(toy.config, validate_every=100, checkpoint_every=100)
    found = toy.fit(tmp_path, config, batches=slow)
    # Steps of a toy take microseconds, unless the machine is busy with something else.
    assert found.data_wait_share > 0.3


def test_a_full_disk_ends_the_training_in_one_line(toy, tmp_path, monkeypatch):
    real, count = Path.mkdir, itertools.count()

    def full(path, *arguments, **named):
        if path.name.startswith(".unfinished-step") and next(count) == 1:
            raise OSError(28, "No space left on device")
        real(path, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", full)
        with pytest.raises(CheckpointError, match="cannot write there") as caught:
            toy.fit(tmp_path / "full")
    assert "\n" not in str(caught.value)
    toy.fit(tmp_path / "full")
    toy.fit(tmp_path / "roomy")
    assert saved(tmp_path / "full") == saved(tmp_path / "roomy")
