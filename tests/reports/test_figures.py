"""What all pictures have in common, and each of them."""

import re
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from jaxspk import reports
from jaxspk.errors import ArgumentError, MissingExtraError
from jaxspk.reports import _separation, _style

SVG = "{http://www.w3.org/2000/svg}"
LOSSES = [{"step": step, "split": "train", "loss": 2.0 / step} for step in range(1, 101)]
MASKS = np.eye(2)[np.arange(60).reshape(12, 5) % 2].transpose(2, 0, 1)
LEVELS = -np.arange(60.0).reshape(12, 5)
GROUPS = {"F+M": np.array([8.0, 9.0, 13.0]), "M+M": np.array([-1.0])}


@pytest.fixture(scope="module")
def drawn() -> dict[str, reports.Figure]:
    return draw_all()


def draw_all() -> dict[str, reports.Figure]:
    rng = np.random.default_rng(0)
    return {
        "curves": reports.training_curves(LOSSES),
        "panel": reports.separation_panel(LEVELS, MASKS, MASKS, sample_rate=8000, hop_length=64),
        "scatter": reports.embedding_scatter(rng.standard_normal((60, 5)), MASKS.reshape(2, -1).T),
        "distribution": reports.improvement_distribution(GROUPS),
        "input": reports.improvement_vs_input(GROUPS, GROUPS),
    }


def texts(figure: reports.Figure) -> str:
    return " ".join(node.text or "" for node in ElementTree.fromstring(figure.image).iter(f"{SVG}text"))


def test_every_picture_is_text_and_lines_in_the_colours_of_the_mode(drawn):
    for name, figure in drawn.items():
        assert figure.media_type == "image/svg+xml", name
        svg = figure.image.decode()
        root = ElementTree.fromstring(svg)
        assert len(list(root.iter(f"{SVG}text"))) > 3, name
        assert "prefers-color-scheme:dark" in svg, name
        style, _, body = svg.partition("</style>")
        assert "DejaVu" not in svg, name
        # No neutral colour stays fixed: it would be unreadable in the other mode.
        assert not [light for light, _ in _style._MODES.values() if light in body], name
        assert set(re.findall(r"var\(--(\w+)\)", body)) <= set(re.findall(r"--(\w+):", style)), name


def test_the_same_numbers_give_the_same_file_and_settings_are_left_as_they_were(drawn):
    import matplotlib

    before = dict(matplotlib.rcParams)
    again = draw_all()
    assert [figure.image for figure in again.values()] == [figure.image for figure in drawn.values()]
    assert dict(matplotlib.rcParams) == before


def test_says_which_extra_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"figures.*jaxspk\[reports\]"):
        reports.training_curves(LOSSES)


def contrast(first: str, second: str) -> float:
    """The contrast ratio of WCAG 2."""

    def luminance(colour: str) -> float:
        channels = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))

    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_colours_can_be_told_from_the_paper_in_both_modes():
    for mode in (0, 1):
        paper = _style._MODES["paper"][mode]
        assert all(contrast(colour, paper) >= 3 for colour in _style.SOURCES)
        assert contrast(_style._MODES["ink"][mode], paper) >= 7
        assert contrast(_style._MODES["muted"][mode], paper) >= 4.5


# --- Training curves ---


def test_curves_skip_what_is_missing_or_not_finite():
    rows = [*LOSSES, {"step": 5, "split": "train", "loss": float("nan")}, {"split": "train", "loss": 1.0}, {"step": 7}]
    assert reports.training_curves(rows).image == reports.training_curves(LOSSES).image


def test_curves_are_sorted_by_step():
    assert reports.training_curves(LOSSES[::-1]).image == reports.training_curves(LOSSES).image


def test_curves_say_their_numbers():
    rows = [*LOSSES, {"step": 50, "split": "validation", "loss": 0.5, "sdr": 6.25, "learning_rate": 1e-3}]
    figure = reports.training_curves(rows, score="sdr", score_label="SDR (dB)", best_step=50)
    assert "Training loss goes from 2 at step 1 to 0.02 at step 100" in figure.alt
    assert "SDR (dB) (validation) goes from 6.25" in figure.alt
    for word in ("Loss", "SDR (dB)", "Learning rate", "6.25", "Validation", "Step"):
        assert word in texts(figure)
    assert "circle" in figure.caption


def test_a_loss_that_falls_tenfold_is_drawn_on_a_logarithmic_axis():
    assert "0.05" in texts(reports.training_curves(LOSSES))
    signed = [{"step": row["step"], "loss": row["loss"] - 1} for row in LOSSES]
    assert "0.05" not in texts(reports.training_curves(signed))


def test_a_single_step_can_be_drawn():
    assert reports.training_curves([{"step": 1, "split": "train", "loss": 0.0, "learning_rate": 0.0}]).image


def test_curves_need_a_loss():
    with pytest.raises(ArgumentError, match="finite `loss`"):
        reports.training_curves([{"step": 1, "loss": float("inf")}])


# --- Separation ---


def test_the_panel_counts_wrong_bins_among_the_active_ones():
    estimated = MASKS.copy()
    estimated[:, 0, :2] = estimated[::-1, 0, :2]
    active = np.zeros((12, 5), bool)
    active[0] = True
    figure = reports.separation_panel(LEVELS, MASKS, estimated, sample_rate=8000, hop_length=64, active=active)
    assert "40.0% of the bins" in figure.alt
    assert "Wrong source: 40.0 % of the bins" in texts(figure)


def test_by_default_bins_above_the_floor_are_active():
    estimated = MASKS.copy()
    estimated[:, 10:] = estimated[::-1, 10:]
    soft = reports.separation_panel(LEVELS, MASKS, estimated, sample_rate=8000, hop_length=64, floor_db=50.0)
    assert "0.0% of the bins" in soft.alt
    all_of_it = reports.separation_panel(LEVELS, MASKS, estimated, sample_rate=8000, hop_length=64, floor_db=60.0)
    assert "16.7% of the bins" in all_of_it.alt


def test_a_long_recording_is_counted_whole_and_drawn_thinned():
    frames = 10 * _separation.FRAMES + 1
    masks = np.eye(2)[np.zeros((frames, 9), int)].transpose(2, 0, 1)
    estimated = masks.copy()
    estimated[:, 1::11] = estimated[::-1, 1::11]
    levels = np.random.default_rng(0).uniform(-50.0, 0.0, (frames, 9))
    figure = reports.separation_panel(levels, masks, estimated, sample_rate=8000, hop_length=64)
    assert f"{(estimated[1].sum() / estimated[1].size):.1%} of the bins" in figure.alt
    assert f"{frames * 64 / 8000:.1f} s" in figure.alt
    assert len(figure.image) < 100_000


def test_masks_are_mixed_colours_and_blank_where_nothing_counts():
    counted = np.array([[True, True, False]])
    masks = np.array([[[1.0, 0.5, 1.0]], [[0.0, 0.5, 0.0]]])
    image = _separation._mask_image(masks, counted)
    first, second = (np.array(_separation._rgb(colour)) for colour in _style.SOURCES[:2])
    np.testing.assert_allclose(image[0, 0], [*first, 1])
    np.testing.assert_allclose(image[0, 1], [*(first + second) / 2, 1])
    assert image[0, 2, 3] == 0


def test_silence_has_no_wrong_bins():
    silent = reports.separation_panel(
        np.full((4, 3), -90.0), np.zeros((3, 4, 3)), np.zeros((3, 4, 3)), sample_rate=8000, hop_length=64,
        active=np.zeros((4, 3), bool),
    )  # fmt: skip
    assert "0.0% of the bins" in silent.alt


@pytest.mark.parametrize(
    "levels, ideal, estimated, message",
    [
        (LEVELS, MASKS, MASKS[:1], "estimated_masks"),
        (LEVELS[:3], MASKS, MASKS, "mixture_db"),
        (np.where(LEVELS < -3, -np.inf, LEVELS), MASKS, MASKS, "mixture_db.*finite"),
        (LEVELS[:, :0], MASKS[:, :, :0], MASKS[:, :, :0], "empty"),
    ],
)
def test_the_panel_refuses_what_does_not_fit(as_a_user, levels, ideal, estimated, message):
    with pytest.raises(ArgumentError, match=message):
        reports.separation_panel(levels, ideal, estimated, sample_rate=8000, hop_length=64)


# --- Embeddings ---


def test_principal_components_are_those_of_the_weighted_points():
    rng = np.random.default_rng(1)
    points = rng.standard_normal((500, 4)) * [1.0, 5.0, 0.1, 2.0] + 3
    weights = rng.integers(0, 3, 500).astype(float)
    mean, directions, shares = _separation._principal_components(points, weights)
    repeated = np.repeat(points, weights.astype(int), axis=0)
    np.testing.assert_allclose(mean, repeated.mean(0))
    _, singular, right = np.linalg.svd(repeated - repeated.mean(0), full_matrices=False)
    np.testing.assert_allclose(shares, (singular**2 / (singular**2).sum())[:2])
    np.testing.assert_allclose(np.abs(directions @ right[:2].T), np.eye(2), atol=1e-9)


def test_bins_without_weight_are_left_out():
    rng = np.random.default_rng(2)
    embeddings, assignments = rng.standard_normal((30, 3)), np.eye(2)[np.arange(30) % 2]
    weights = np.ones(30)
    weights[20:] = 0
    outlier = embeddings.copy()
    outlier[25] = 1e6
    pictures = [reports.embedding_scatter(points, assignments, weights) for points in (embeddings, outlier)]
    assert pictures[0].image == pictures[1].image
    assert "20 embeddings" in pictures[0].alt


@pytest.mark.parametrize("dim", [1, 2, 7])
def test_any_dimension_can_be_drawn(dim):
    points = np.random.default_rng(dim).standard_normal((5000, dim)).astype(np.float32)
    figure = reports.embedding_scatter(
        points, np.eye(3)[np.arange(5000) % 3], centers=points[:3], labels=("a", "b", "c")
    )
    assert "3000 embeddings of 3 sources" in figure.alt
    assert "Centre of a cluster" in texts(figure)


def test_a_handful_of_bins_is_needed():
    with pytest.raises(ArgumentError, match="at least three"):
        reports.embedding_scatter(np.ones((5, 2)), np.ones((5, 2)), np.array([1.0, 1.0, 0.0, 0.0, 0.0]))


# --- Improvements ---


def test_the_distribution_says_median_range_and_number():
    figure = reports.improvement_distribution(GROUPS, baselines={"Ideal binary mask": {"F+M": 14.0}})
    assert "F+M: median 9.00, from 8.00 to 13.00, 3 mixtures." in figure.alt
    assert "F+M  (n = 3)" in texts(figure) or "F+M (n = 3)" in texts(figure)
    assert "Ideal binary mask" in texts(figure)


def test_the_share_of_improved_mixtures_is_the_title():
    assert "75 % of the mixtures improved" in texts(reports.improvement_vs_input(GROUPS, GROUPS))


@pytest.mark.parametrize("groups", [{}, {"a": np.zeros(0)}, {"a": np.array([np.nan])}])
def test_groups_without_numbers_are_refused(groups):
    with pytest.raises(ArgumentError, match="group"):
        reports.improvement_distribution(groups)


def test_groups_must_agree(as_a_user):
    with pytest.raises(ArgumentError, match="groups of `inputs`"):
        reports.improvement_vs_input({"a": np.ones(2)}, {"b": np.ones(2)})
    with pytest.raises(ArgumentError, match="same shape"):
        reports.improvement_vs_input({"a": np.ones(2)}, {"a": np.ones(3)})
