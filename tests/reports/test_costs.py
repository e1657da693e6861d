import pytest

from jaxspk.errors import ArgumentError
from jaxspk.reports import costs_by_length


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
