import pytest

from jaxspk.errors import ArgumentError
from jaxspk.reports import Growth, costs_by_length, growth_curves


def test_a_panel_a_cost_with_its_bound_and_words():
    figure = costs_by_length(
        [1, 5, 60],
        {"Real-time factor": [0.02, 0.03, 0.03], "Peak memory (MB)": [800, 900, 910]},
        bounds={"Peak memory (MB)": 2000},
        caption="What it costs.",
    )
    text = figure.image.decode()
    assert text.startswith("<svg")
    for word in ("Real-time factor", "Peak memory (MB)", "allowed: 2000", "Length of the recording (min)", ">60<"):
        assert word in text
    assert "0.02 at 1, 0.03 at 5" in figure.alt and "910 at 60" in figure.alt
    assert figure.caption == "What it costs."


@pytest.mark.parametrize(
    "lengths, costs, problem",
    [
        ([], {"a": []}, "must not be empty"),
        ([1], {}, "must not be empty"),
        ([2, 1], {"a": [1, 2]}, "ascending"),
        ([0, 1], {"a": [1, 2]}, "positive"),
        ([1, 2], {"a": [1]}, "must hold 2 finite numbers"),
        ([1, 2], {"a": [1, float("nan")]}, "must hold 2 finite numbers"),
    ],
)
def test_what_cannot_be_drawn_is_refused(lengths, costs, problem):
    with pytest.raises(ArgumentError, match=problem):
        costs_by_length(lengths, costs)


def growth(**changes):
    values = {"name": "Loss", "size_label": "frames", "sizes": (10, 100), "seconds": (0.004, 0.02), "power": 1}
    return Growth(**{**values, **changes})


def test_growth_is_drawn_beside_its_ideal():
    assert growth().ideal == pytest.approx([0.002, 0.02])
    assert growth(power=2).ideal == pytest.approx([0.0002, 0.02])
    figure = growth_curves([growth(), growth(name="Step", power=2)])
    text = figure.image.decode()
    for word in ("Loss", "Step", "linear", "quadratic", "measured", "frames"):
        assert word in text
    assert "4 ms at 10, 20 ms at 100" in figure.alt


@pytest.mark.parametrize(
    "changes, problem",
    [
        ({"sizes": (100, 10)}, "ascending sizes"),
        ({"seconds": (0.0, 0.1)}, "a positive time"),
        ({"seconds": (0.1,)}, "a positive time"),
    ],
)
def test_growth_without_order_is_refused(changes, problem):
    with pytest.raises(ArgumentError, match=problem):
        growth_curves([growth(**changes)])
