"""Epochs of speaker batches: nobody twice in a batch, no group lost, no batch more than it takes."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxspk.data._epochs import count_batches, count_groups, draw_epoch


@st.composite
def settings(draw):
    available = draw(st.lists(st.integers(1, 12), min_size=1, max_size=12))
    utterances = draw(st.integers(1, 4))
    return {
        "available": np.array(available),
        "speakers": draw(st.integers(1, len(available))),
        "utterances": utterances,
        "cap": draw(st.integers(utterances, 14)),
        "seed": draw(st.integers(0, 2**32 - 1)),
    }


def made(available, speakers, utterances, cap, seed):
    rng = np.random.default_rng(seed)
    return draw_epoch(available, speakers=speakers, utterances=utterances, cap=cap, rng=rng)


@given(settings())
def test_nobody_is_in_a_batch_twice(case):
    epoch = made(**case)
    assert all(len(set(row)) == case["speakers"] for row in epoch.classes.tolist())


@given(settings())
def test_every_class_has_all_its_groups_and_every_utterance_once_but_for_those_drawn_anew(case):
    available, utterances = case["available"], case["utterances"]
    epoch = made(**case)
    groups = count_groups(available, utterances, case["cap"])
    rows = [
        (int(who), tuple(members))
        for batch, chosen in zip(epoch.classes, epoch.members, strict=True)
        for who, members in zip(batch, chosen.tolist(), strict=True)
    ]
    anew = len(rows) - groups.sum()
    assert anew >= 0
    assert all(count >= groups[who] for who, count in Counter(who for who, _ in rows).items())
    for who, members in rows:
        assert 0 <= min(members) <= max(members) < available[who]
        # Of few utterances each comes as often as another, give or take one.
        assert len(set(members)) == min(utterances, available[who])
    for number, size in enumerate(available):
        mine = [members for who, members in rows if who == number]
        used = {member for members in mine for member in members}
        # Fewer only where the cap or the rounding to whole groups leaves utterances out.
        assert len(used) >= min(size, groups[number] * utterances)
        if len(mine) == groups[number] and size >= utterances:
            assert len(used) == groups[number] * utterances


@given(settings())
def test_there_are_as_few_batches_as_can_be(case):
    epoch = made(**case)
    groups = count_groups(case["available"], case["utterances"], case["cap"])
    batches = count_batches(groups, case["speakers"])
    assert epoch.classes.shape == (batches, case["speakers"])
    assert epoch.members.shape == (*epoch.classes.shape, case["utterances"])
    # One batch fewer could not hold all groups with nobody twice.
    assert np.minimum(groups, batches - 1).sum() < groups.sum() or (batches - 1) * case["speakers"] < groups.sum()


def test_the_cap_holds_and_other_utterances_come_in_other_epochs():
    available = np.array([9, 9, 9])
    used = []
    for seed in range(20):
        epoch = made(available, 3, 2, 5, seed)
        assert epoch.classes.shape == (2, 3)
        used.append(frozenset(epoch.members[epoch.classes == 0].ravel().tolist()))
        assert len(used[-1]) == 4
    assert len(set(used)) > 10
    assert frozenset().union(*used) == set(range(9))


def test_speakers_meet_at_random():
    # Every pair of ten speakers of 8 groups each meets about equally often in batches of five.
    meetings = np.zeros((10, 10))
    for seed in range(60):
        for row in made(np.full(10, 8), 5, 1, 8, seed).classes:
            meetings[np.ix_(row, row)] += 1
    apart = meetings[~np.eye(10, dtype=bool)]
    assert set(np.diag(meetings)) == {60 * 8}
    assert apart.min() > 0.85 * apart.mean()
    assert apart.max() < 1.15 * apart.mean()


def test_a_class_of_many_groups_is_in_every_batch():
    epoch = made(np.array([20, 2, 2, 2]), 2, 2, 100, 0)
    assert epoch.classes.shape == (10, 2)
    assert (epoch.classes == 0).sum() == 10
    assert set(epoch.classes.ravel().tolist()) == {0, 1, 2, 3}


def test_an_epoch_is_a_function_of_its_generator():
    case = {"available": np.array([3, 8, 1, 5]), "speakers": 3, "utterances": 2, "cap": 6}
    first, again, other = made(**case, seed=1), made(**case, seed=1), made(**case, seed=2)
    np.testing.assert_array_equal(first.members, again.members)
    np.testing.assert_array_equal(first.classes, again.classes)
    assert not np.array_equal(first.members, other.members)


def test_a_draw_does_not_depend_on_the_machine():
    # Written down once: another version of numpy, or another processor, must draw the same.
    epoch = made(np.array([3, 8, 1, 5]), 3, 2, 6, 1)
    assert epoch.classes.tolist() == [[1, 3, 0], [1, 3, 2], [1, 0, 3]]
    assert epoch.members.tolist() == [[[1, 2], [2, 3], [0, 1]], [[3, 0], [1, 0], [0, 0]], [[7, 4], [1, 0], [0, 2]]]


@pytest.mark.parametrize("available, utterances, cap, expected", [(1, 2, 10, 1), (5, 2, 10, 2), (50, 2, 11, 5)])
def test_groups_of_a_class(available, utterances, cap, expected):
    assert count_groups(np.array([available]), utterances, cap) == [expected]
