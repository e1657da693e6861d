"""Tables and pictures of u-vectors: the paper's layout, marks that may not be missing, noise beside every score."""

import dataclasses

import numpy as np
import pytest

from jaxspk import reports
from jaxspk.systems import (
    MFCC_STATISTICS,
    U_VECTORS,
    ClusteredSegments,
    CurvePoint,
    UVectorCell,
    UVectorExperiment,
    UVectorResult,
    UVectorScore,
)

FIGURES = {
    ("LIBRI", 25, "ground", 0.0): {"ACC": 0.946, "NMI": 0.983, "ARI": 0.935},
    ("LIBRI", 146, "train", 0.0): {"ACC": 0.490, "NMI": 0.780, "ARI": 0.109},
}


def scores(ari):
    rows = [
        (U_VECTORS, "clustered", "speakers", "segments", "all", ari),
        (U_VECTORS, "clustered", "speakers", "frames", "all", ari - 0.1),
        (U_VECTORS, "clustered", "speakers", "frames", "ten", ari - 0.2),
        (U_VECTORS, "clustered", "speakers", "frames", "released", 0.99),
        (U_VECTORS, "clustered", "pseudo-labels", "frames", "all", 0.3),
        (U_VECTORS, "clustered", "pseudo-labels", "frames", "released", 0.98),
        (MFCC_STATISTICS, "clustered", "speakers", "segments", "all", 0.574),
    ]
    counts = {"items": 250, "classes": 25, "clusters": 25}
    return [
        UVectorScore(*row, counts, {"accuracy": value, "nmi": value, "ari": value, "ami": value,
                                    "noise_accuracy": 0.19, "noise_nmi": 0.34, "noise_ari": 0.002, "noise_ami": 0.0})
        for *row, value in rows
    ]  # fmt: skip


def result(name="pairwise-25-0", seed=0, ari=0.9, **changes):
    record = {
        "corpus": "LibriSpeech", "protocol": "as_described", "notes": ["without labels: frames belong together"],
        "uses_labels": False, "transductive": False, "speakers": 25, "segments": 250, "impurity": 0.0,
        "twin": "pairwise", "network": "statistics", "steps": 300, "minutes": 1.5, "link_error": 0.05, "beyond": False,
        **changes,
    }  # fmt: skip
    points = [
        CurvePoint(step, step / 10, labels, "frames", 0.5, 0.6, step / 100)
        for step in (10, 20, 30) for labels in ("speakers", "pseudo-labels")
    ]  # fmt: skip
    return UVectorResult(name, seed, record, scores(ari), points)


def cells_of(table, row):
    return dict(zip(table.columns, table.rows[row], strict=True))


def test_the_papers_figures_stand_beside_ours_of_the_papers_sampling():
    table = reports.u_vector_tables([result(ari=0.9), result(seed=1, ari=0.8)], FIGURES)[0]
    assert table.caption.startswith("Table 4: LibriSpeech")
    ground = cells_of(table, 1)
    assert (ground["Speakers"], ground["Labels"], ground["Impurity"]) == (25, "ground", "0")
    # Ten frames of each speaker: 0.7 and 0.6.
    assert ground["ARI"] == "0.650 ± 0.071"
    assert (ground["ARI, paper"], ground["NMI, paper"], ground["NMI, noise"]) == ("0.935", "0.983", "0.340 ± 0.000")
    assert cells_of(table, 0)["ACC"] == "0.300 ± 0.000"


def test_a_figure_that_noise_surpasses_is_doubted():
    rows = [result("pairwise-146-0", speakers=146)]
    table = reports.u_vector_tables(rows, FIGURES)[0]
    assert cells_of(table, 0)["NMI, paper"] == "0.780†" and "†" in table.caption


def test_scores_of_two_frames_a_class_stand_in_a_table_of_their_own():
    tables = reports.u_vector_tables([result()], FIGURES)
    released = tables[1]
    assert "ARI, two a class" in released.columns and "ARI" not in released.columns
    assert cells_of(released, 1)["ARI, two a class"] == "0.990"
    for table in (tables[0], tables[2]):
        assert "0.990" not in str(table.rows)


def test_protocols_and_losses_have_tables_of_their_own_and_labels_are_told():
    released = result("pairwise-25-0-released", protocol="as_released", uses_labels=True,
                      notes=["USES SPEAKER LABELS: dealt into groups"])  # fmt: skip
    triplet = result("triplet-25-0", twin="triplet")
    tables = reports.u_vector_tables([result(), triplet, released], FIGURES)
    assert len(tables) == 7
    assert "USES SPEAKER LABELS" in tables[4].caption and "USES SPEAKER LABELS" not in tables[0].caption
    assert "ACC, paper" not in tables[2].columns and "semi-hard" in tables[2].caption
    honest = tables[-1]
    assert {row[0]: row[1] for row in honest.rows}["pairwise-25-0-released"] == "USES SPEAKER LABELS"
    assert cells_of(honest, 0)["Segments, MFCC statistics"] == "0.574"


def test_the_ladder_tells_gains_draw_by_draw_and_what_is_transductive():
    rows = [
        UVectorCell(name="paper", experiment=UVectorExperiment(), about="as printed"),
        UVectorCell(name="log", experiment=UVectorExperiment(), about="logarithm", against="paper"),
        UVectorCell(name="held-out", experiment=UVectorExperiment(), about="others", against="log"),
        UVectorCell(name="more", experiment=UVectorExperiment(), about="never run", against="log"),
    ]
    results = [
        result("paper", 0, 0.5), result("paper", 1, 0.6), result("log", 1, 0.75), result("log", 3, 0.9),
        result("held-out", 0, 0.8, transductive=True),
    ]  # fmt: skip
    table = reports.u_vector_ladder_table(results, rows)
    named = {row[0]: cells_of(table, number) for number, row in enumerate(table.rows)}
    assert named["log"]["Gain"] == "+0.150" and named["paper"]["Gain"] is None
    assert "(transductive)" in named["held-out"]["What is changed"] and named["held-out"]["Gain"] is None
    assert "more" not in named
    assert named["baseline: MFCC statistics"]["ARI"] == "0.574 ± 0.000"
    assert named["baseline: noise"]["ARI"] == "0.002 ± 0.000"


def test_every_score_is_a_row_of_the_csv():
    columns, rows = reports.u_vector_rows([result()])
    assert len(rows) == len(scores(0.9))
    first = dict(zip(columns, rows[0], strict=True))
    assert (first["cell"], first["uses_labels"], first["ari"]) == ("pairwise-25-0", "no", 0.9)


def test_it_is_said_how_often_the_papers_figure_is_reached():
    text = reports.reached([result(ari=0.95), result("triplet-25-0", ari=0.9, twin="triplet")], FIGURES)
    assert "AutoEmbedder's loss on pairs: of 1 ARI" in text
    assert "ten frames a speaker reach 0, clusters of segments 1;" in text
    assert reports.reached([result(corpus="another")], FIGURES) == ""


def test_durations_stand_beside_the_papers():
    described = {
        "corpus": "LibriSpeech", "words": [], "mean_seconds": 1.5, "median_seconds": 1.1, "std_seconds": 1.2,
        "intervals": 10, "recordings": 4, "speakers": 2, "speech_seconds": 15.0, "dropped_seconds": 3.0,
    }  # fmt: skip
    printed = {f"{what}_{name}{unit}": "1.0" for what, unit in (("segment_duration", "_s"), ("words_per_sentence", ""))
               for name in ("mean", "median", "std")}  # fmt: skip
    table = reports.duration_table(described, [{"dataset": "TIMIT", **printed}])
    assert table.rows[0][:3] == ["LibriSpeech, ours", 1.5, 1.1] and table.rows[0][-1] is None
    assert "20%" in table.caption


def test_curves_are_drawn_of_what_uses_no_labels():
    twins = [result(), result("triplet-25-0", twin="triplet"), result("r", uses_labels=True)]
    figure = reports.grid_curves(twins, speakers=25)
    assert figure.caption.startswith("25 speakers, impurity 0.")
    assert "pairwise 0.30, triplet 0.30" in figure.alt
    assert b"triplet, ground" in figure.image
    assert reports.grid_curves(twins[2:], speakers=25) is None
    assert reports.grid_curves(twins, speakers=50) is None


@pytest.mark.slow
def test_segments_are_coloured_by_speaker_and_by_cluster():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 8)
    clustered = ClusteredSegments(rng.normal(size=(24, 4)) + 5 * labels[:, None], labels, (labels + 1) % 3)
    by_speaker, by_cluster, plane = reports.segment_maps(clustered, ["ann", "bob", "cid"])
    assert b"ann" in by_speaker.image and b"cluster 2" in by_cluster.image and "principal" in plane.caption


def test_lines_and_rows_of_a_report_have_noise_beside_every_score():
    table = reports.u_vector_score_table(scores(0.9))
    first = cells_of(table, 0)
    assert (first["ARI"], first["ARI, noise"]) == (0.9, 0.002)
    assert "two a class" in [row[3] for row in table.rows]
    lines = reports.u_vector_lines(scores(0.9)).splitlines()
    assert len(lines) == 5 and "0.574" in lines[-1]


def test_results_without_a_twin_still_stand_in_the_honest_table():
    row = result("chosen", twin="")
    row = dataclasses.replace(row, record={**row.record, "beyond": True})
    table = reports.honest_table([row])
    assert cells_of(table, 0)["Marks"] == "knows or hears more than the paper's method"
