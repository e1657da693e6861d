"""The strategies: hard on purpose, the same for a seed, and within what they promise."""

import numpy as np
import pytest

from jaxspk.testing import bin_weights, class_labels, codes, flags, numbers, rows
from jaxspk.testing._strategies import draw_many


def test_a_seed_gives_the_same_inputs_and_another_seed_others():
    strategy = rows((4, 3))
    first, again, other = (draw_many(strategy, 10, seed) for seed in (0, 0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=False))


def drawn_rows(**options):
    return draw_many(rows((4, 3), hardness=1.0, **options), 60, seed=0)


def cosines(array):
    unit = array / np.linalg.norm(array, axis=-1, keepdims=True)
    return (unit @ unit.T)[np.triu_indices(len(array), 1)]


@pytest.mark.parametrize(
    "kind, found",
    [
        ("duplicate", lambda a: len(np.unique(a, axis=0)) < len(a)),
        ("near", lambda a: ((1 - cosines(a) < 1e-5) & (1 - cosines(a) > 0)).any()),
        ("opposite", lambda a: (cosines(a) < -1 + 1e-12).any()),
        ("axis", lambda a: ((a != 0).sum(-1) == 1).any()),
        ("tiny", lambda a: (np.abs(a).max(-1) < 1e-4).any()),
        ("huge", lambda a: (np.abs(a).max(-1) > 1e4).any()),
    ],
)
def test_every_kind_of_hard_row_occurs_where_it_may_and_not_elsewhere(kind, found):
    assert any(map(found, drawn_rows(kinds=(kind,))))
    assert not any(map(found, drawn_rows(kinds=("fresh",))))


def test_rows_are_exact_in_float32_but_where_they_nearly_repeat():
    for array in drawn_rows(kinds=("duplicate", "opposite", "axis", "tiny", "huge")):
        assert np.array_equal(array, array.astype(np.float32))


def test_codes_lie_between_zero_and_one():
    for array in draw_many(codes((5, 3)), 50, seed=0):
        assert array.shape == (5, 3) and np.all((array > 0) & (array < 1))


def test_labels_are_balanced_unbalanced_and_missing():
    drawn = draw_many(class_labels((6,), 3), 60, seed=0)
    classes = {len(np.unique(labels)) for labels in drawn}
    assert classes == {1, 2, 3} and all(np.all((labels >= 0) & (labels < 3)) for labels in drawn)


def test_weights_are_masks_counts_and_very_unequal():
    drawn = draw_many(bin_weights((5,)), 60, seed=0)
    assert any(set(np.unique(w)) <= {0.0, 1.0} and (w == 0).any() for w in drawn)
    assert any(w.min() > 0 and w.max() / w.min() > 1000 for w in drawn)
    assert all(np.all(w >= 0) for w in drawn)


def test_numbers_and_flags_have_their_range():
    assert all(np.all((a >= -2) & (a <= 3)) for a in draw_many(numbers((4,), -2, 3), 20, seed=0))
    assert {bool(f) for f in draw_many(flags(()), 20, seed=0)} == {True, False}
