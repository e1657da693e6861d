"""The suite itself: it must fail when it should, which only planted faults can show."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxspk import losses
from jaxspk.errors import ArgumentError
from jaxspk.testing import _suite, _witnesses, run_suite, write_certificate
from jaxspk.testing._claims import rules_of, value_of
from jaxspk.testing._inputs import INPUTS
from jaxspk.testing._misprints import without_slip
from jaxspk.testing._reasons import reason_for
from jaxspk.testing._run import run_rows
from jaxspk.testing._strategies import draw_many
from jaxspk.testing._suite import SHORT, Effort, RowResult, all_rows, argument_names, missing_rows, run_row
from jaxspk.testing._symbolic import symbolic_identities

TINY = Effort(examples=8, mistakes=40, definitions=1, narrow=2, exact=1)
NAME = "reconstruction_loss"


def row():
    return losses.LOSSES[NAME]


@pytest.fixture(scope="module")
def result():
    return run_row(row(), INPUTS[NAME], TINY, seed=0)


def test_a_right_row_passes_and_catches_everything_above_the_line(result):
    assert result.passed, result.describe()
    assert result.exact == 1 and result.examples >= 8 and len(result.outcomes) >= 40
    assert {"reverse mode", "forward mode", "Richardson", "complex step"} <= set(result.errors)
    assert all(o.caught for o in result.outcomes if o.size >= o.line)
    assert {o.dtype for o in result.outcomes} == {"float32", "float64"}


def test_sizes_are_swept_over_nine_decades():
    result = run_row(row(), INPUTS[NAME], dataclasses.replace(TINY, mistakes=400), seed=1)
    planted = [o.size for o in result.outcomes if o.dtype == "float64" and not o.equivalent]
    assert min(planted) < 1e-8 and max(planted) >= 1
    # Below the line some must survive: a suite that catches rounding would also cry wolf.
    assert not all(o.caught for o in result.outcomes if o.size < 1e-8)


def test_a_wrong_gradient_in_the_table_fails_the_suite():
    def wrong(*arguments, **options):
        gradient = row().grad(*arguments, **options)
        return gradient.at[(0,) * gradient.ndim].multiply(1 + 1e-5)

    bad = run_row(dataclasses.replace(row(), grad=wrong), INPUTS[NAME], TINY, seed=0)
    assert not bad.passed and "gradient WRONG" in bad.problems[0]


def test_a_wrong_definition_fails_the_suite():
    bad = dataclasses.replace(row(), definition=lambda *a, **k: 1.001 * row().definition(*a, **k))
    assert not run_row(bad, INPUTS[NAME], TINY, seed=0).passed


def test_a_suite_that_tolerates_too_much_fails_because_mistakes_survive(monkeypatch):
    monkeypatch.setattr(_witnesses, "_FLOOR", 1e-3)
    lax = run_row(row(), INPUTS[NAME], dataclasses.replace(TINY, mistakes=200), seed=0)
    assert not lax.passed and lax.survivors and "survived" in lax.describe()


def test_a_broken_law_fails_the_suite():
    from jaxspk.testing import _laws

    inputs = dataclasses.replace(INPUTS[NAME], laws=(_laws.homogeneity(3, 1),))
    assert any("homogeneity" in problem for problem in run_row(row(), inputs, TINY, seed=0).problems)


def test_a_public_loss_without_a_row_is_missed(monkeypatch):
    monkeypatch.setattr(losses, "new_loss", lambda x: x, raising=False)
    assert missing_rows() == ["new_loss has no row in jaxspk.losses.LOSSES"]
    monkeypatch.delattr(losses, "new_loss")
    monkeypatch.setattr(_suite, "INPUTS", {k: v for k, v in INPUTS.items() if k != NAME})
    assert missing_rows() == [f"{NAME} has no inputs in jaxspk.testing"]


def test_the_same_seed_gives_the_same_result(result):
    again = run_row(row(), INPUTS[NAME], TINY, seed=0)
    first, second = (json.dumps({**r.to_dict(), "seconds": 0.0}) for r in (result, again))
    assert first == second
    assert RowResult.from_dict(json.loads(first)).outcomes == result.outcomes


def test_a_stopped_run_goes_on_and_half_a_file_is_run_again(tmp_path):
    told = []
    run_rows([NAME], TINY, 0, workers=1, progress=tmp_path, tell=told.append)
    (kept,) = tmp_path.iterdir()
    (again,) = run_rows([NAME], TINY, 0, workers=1, progress=tmp_path, tell=told.append)
    assert again.seconds == told[0].seconds
    kept.write_text(kept.read_text()[:100])
    assert run_rows([NAME], TINY, 0, workers=1, progress=tmp_path)[0].passed


def test_the_certificate_tells_everything(tmp_path, monkeypatch, result):
    monkeypatch.setattr("jaxspk.testing._run.run_rows", lambda *a, **k: [result])
    certificate = run_suite([NAME], seed=7)
    assert certificate.passed and certificate.summary().startswith("PASSED: 1 losses")
    for path in write_certificate(certificate, tmp_path):
        text = path.read_text()
        for part in (NAME, "Kill matrix", "Detection curve", "seed 7", jax.__version__, "complex step", "sign"):
            assert part in text, part
    assert "<svg" in text and "http" not in text
    wrong = dataclasses.replace(certificate, results=[dataclasses.replace(result, problems=["it is wrong"])])
    assert not wrong.passed and "it is wrong" in wrong.markdown() and "FAILED" in wrong.html()


def test_an_unknown_name_is_refused_with_those_that_are_known():
    with pytest.raises(ArgumentError, match="no loss is called like nonsense; there are deep_clustering_loss"):
        run_suite(["nonsense"])


def test_the_computer_algebra_agrees_with_the_printed_gradients():
    identities = symbolic_identities()
    if identities is None:
        pytest.skip("sympy is not installed")
    assert len(identities) == 7 and all(identities.values())


def test_reasons_are_found_by_function_and_kind():
    assert "softmax" in reason_for("ge2e_softmax_loss", "`bias` not multiplied in")
    assert reason_for("triplet_loss", "something new") is None


@pytest.mark.parametrize("name", [name for name in INPUTS if without_slip(name) is not None])
def test_the_formulas_that_slips_are_made_in_are_the_losses(name, x64):
    entry = next(row for row in all_rows() if row.loss.__name__ == name)
    for case in INPUTS[name].cases:
        for example in draw_many(case, 3, seed=0):
            positional = len(argument_names(entry, INPUTS[name])) - len(INPUTS[name].keywords)
            if any(argument is not None for argument in example.arguments[positional:]):
                continue
            known = {k: v for k, v in example.options.items() if k != "chunk_size"}
            plain = dataclasses.replace(example, arguments=example.arguments[:positional], options=known)
            expected, found = value_of(entry.loss, plain), value_of(without_slip(name), plain)
            np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-7)


def test_slips_are_compiled_together_and_give_what_each_gives_alone(x64):
    functions = (lambda x: jnp.sum(x**2), lambda x: jnp.sum(x**3))
    from jaxspk.testing import Example
    from jaxspk.testing._examples import layout_of

    example = Example((np.array([1.0, 2.0]),))
    found = rules_of(functions, layout_of(example, None), example, np.ones(()))
    np.testing.assert_allclose(found, [[2.0, 4.0], [3.0, 12.0]])


def test_the_short_run_plants_a_hundred_mistakes_a_loss():
    assert SHORT.mistakes >= 100
