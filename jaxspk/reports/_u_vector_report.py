"""Reports of u-vectors: curves as in the paper's Figures 3 to 6, maps of the segments, scores beside noise."""

import json
from collections.abc import Sequence
from pathlib import Path

from jaxspk.reports import _style
from jaxspk.reports._blocks import Fact, Facts, Figure, Listing, Text
from jaxspk.reports._curves import read_curves, training_curves
from jaxspk.reports._html import write_report
from jaxspk.reports._provenance import provenance
from jaxspk.reports._report import Block, Report, Section
from jaxspk.reports._speaker_pictures import speaker_map
from jaxspk.reports._tables import Cell, Table
from jaxspk.systems import (
    MFCC_STATISTICS,
    TWINS,
    U_VECTORS,
    ClusteredSegments,
    CurvePoint,
    UVectorOutcome,
    UVectorResult,
    UVectorScore,
    find_score,
)
from jaxspk.training import config_to_dict

_MEASURES = {"accuracy": "ACC", "nmi": "NMI", "ari": "ARI"}
_NAMES = {"pseudo-labels": "train", "speakers": "ground"}

Lines = Sequence[tuple[str, Sequence[CurvePoint]]]
"""Curves of trainings under their names."""


def write_u_vector_report(outcome: UVectorOutcome) -> Path:
    """Writes ``report.html`` into the run directory; returns the page.

    Raises:
      MissingExtraError: the extra ``reports`` is not installed.
    """
    made, training = outcome.made, outcome.config.training
    name = TWINS["pairwise"] if training.twin == "pairwise" else training.classwise.objective.loss
    report = Report(
        title="U-vectors",
        subtitle=f"Voices told apart by vectors of {training.system.segments.frame_seconds:g} s, learned from "
        f"recordings of {made.name}; loss: {name}.",
        facts=_facts(outcome),
        sections=(
            Section("Result", [Text(made.describe() + ".", note=True), u_vector_score_table(outcome.scores)]),
            Section("Segments", segment_maps(outcome.clustered, made.truth.speakers)),
            Section("Training", _training_blocks(outcome)),
            Section(
                "Settings",
                (Listing("config.json", json.dumps(config_to_dict(outcome.config), indent=2, default=str)),),
            ),
        ),
        provenance=provenance(seed=training.seed),
    )
    return write_report(outcome.folder / "report.html", report)


def u_vector_score_table(scores: Sequence[UVectorScore]) -> Table:
    """All scores of an outcome, noise beside each; those under the released sampling stand in rows that say so."""
    rows: list[list[Cell]] = []
    for score in scores:
        row: list[Cell] = [score.vectors, f"{score.of}, {score.speech}", score.labels]
        row += ["two a class" if score.sampling == "released" else score.sampling, score.counts["items"]]
        row += [score.counts["clusters"]]
        for name in (*_MEASURES, "ami"):
            row += [score.scores[name], score.scores[f"noise_{name}"]]
        rows.append(row)
    columns = ["Vectors", "Of", "Against", "Sampling", "Items", "Clusters"]
    columns += [f"{name}{noise}" for name in (*_MEASURES.values(), "AMI") for noise in ("", ", noise")]
    caption = (
        "Scores of k-means with the number of classes given, and those of random vectors of the same size under the "
        "same sampling. Two a class is the published code's sampling: noise scores high there, and such rows compare "
        "with no others."
    )
    return Table(columns, rows, caption, formats={name: ".3f" for name in columns[6:]})


def u_vector_lines(scores: Sequence[UVectorScore]) -> str:
    """The result as lines of plain text, for a terminal."""
    lines = [f"{'vectors':<22}{'of':<36}{'against':<16}{'ACC':>7}{'NMI':>7}{'ARI':>7}{'noise ARI':>11}"]
    for score in scores:
        if score.sampling == "all":
            numbers = "".join(f"{score.scores[name]:>7.3f}" for name in _MEASURES)
            where = f"{score.of}, {score.speech}"
            lines.append(f"{score.vectors:<22}{where:<36}{score.labels:<16}{numbers}{score.scores['noise_ari']:>11.3f}")
    return "\n".join(lines)


def segment_maps(clustered: ClusteredSegments, speakers: Sequence[str]) -> list[Figure]:
    """The segments by t-SNE, coloured by speaker, then by cluster, and by speaker in their principal plane."""
    who = [speakers[number] for number in clustered.speakers]
    found = [f"cluster {number}" for number in clustered.clusters]
    count, many = len(who), len(set(found))
    about = "by t-SNE (scikit-learn, cosine distance): neighbours count, distances between groups say nothing"
    return [
        speaker_map(clustered.vectors, who, caption=f"{count} segments {about}. Colour and name: who speaks."),
        speaker_map(
            clustered.vectors,
            found,
            caption=f"The same picture. Colour and name: in which of {many} clusters k-means put them.",
        ),
        speaker_map(
            clustered.vectors,
            who,
            method="pca",
            caption="The segments in the plane of their first two principal components, coloured by who speaks.",
        ),
    ]


def u_vector_curves(lines: Lines, *, title: str) -> Figure:
    """ACC, NMI and ARI of frames over the epochs, against pseudo-labels (train) and speakers (ground).

    Args:
      lines: one a training.
      title: what these trainings have in common.

    Raises:
      MissingExtraError: matplotlib is not installed.
    """
    with _style.drawing(10.0, 3.4) as drawn:
        axes = drawn.subplots(1, len(_MEASURES), sharex=True, sharey=True, squeeze=False)[0]
        for panel, (measure, short) in zip(axes, _MEASURES.items(), strict=True):
            for number, (name, points) in enumerate(lines):
                for labels, style in (("speakers", "-"), ("pseudo-labels", "--")):
                    own = [point for point in points if (point.labels, point.of) == (labels, "frames")]
                    panel.plot(
                        [point.epoch for point in own],
                        [getattr(point, measure) for point in own],
                        style,
                        color=_style.source_colour(number),
                        label=f"{name}, {_NAMES[labels]}",
                    )
            panel.set_title(short)
            panel.set_xlabel("Epoch")
            panel.set_ylim(0, 1.02)
        handles, _ = axes[0].get_legend_handles_labels()
        drawn.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
        best = ", ".join(f"{name} {max(_grounds(points), default=float('nan')):.2f}" for name, points in lines)
        return _style.to_figure(
            drawn,
            f"{title}. Clusters of frames over the epochs, against the speakers (ground, solid; ten frames each) and "
            "the pseudo-labels (train, dashed). The step that a training ends with is not chosen by these curves.",
            f"Line charts of ACC, NMI and ARI over epochs. Highest ARI against the speakers: {best}.",
        )


def grid_curves(results: Sequence[UVectorResult], *, speakers: int, impurity: float = 0.0) -> Figure | None:
    """The curves of the losses at one number of speakers, as a figure of the paper; None where there is none."""
    own = [
        result
        for result in results
        if (result.record["speakers"], result.record["impurity"]) == (speakers, impurity)
        and result.record["twin"]
        and not result.record["uses_labels"]
        and not result.record["transductive"]
    ]
    order = list(TWINS)
    first = {result.record["twin"]: result for result in reversed(own)}
    lines = [(twin, first[twin].curves) for twin in sorted(first, key=order.index)]
    if not any(points for _, points in lines):
        return None
    return u_vector_curves(lines, title=f"{speakers} speakers, impurity {impurity:g}")


def _grounds(points: Sequence[CurvePoint]) -> list[float]:
    return [point.ari for point in points if (point.labels, point.of) == ("speakers", "frames")]


def _facts(outcome: UVectorOutcome) -> Facts:
    ours, base = find_score(outcome.scores), find_score(outcome.scores, MFCC_STATISTICS)
    facts = []
    if ours is not None:
        about = f"{ours.counts['items']} segments, {ours.counts['clusters']} clusters; random {_two(ours, 'noise_ari')}"
        facts.append(Fact("ARI against the speakers", ours.scores["ari"], "", about, ".3f"))
        facts.append(Fact("ACC", ours.scores["accuracy"], "", f"random {_two(ours, 'noise_accuracy')}", ".3f"))
    if base is not None:
        facts.append(Fact("ARI of MFCC statistics", base.scores["ari"], "", "the same segments", ".3f"))
    result = outcome.trained.result
    return Facts([*facts, Fact("Training", result.seconds / 60, "min", f"{result.step} steps", ".1f")])


def _two(score: UVectorScore, name: str) -> str:
    return f"{score.scores[name]:.2f}"


def _training_blocks(outcome: UVectorOutcome) -> list[Block]:
    result, made = outcome.trained.result, outcome.made
    if made.held_out_frames is not None:
        chosen = f"the model of step {result.best_step} has the lowest link error on frames kept back, and was taken"
    else:
        chosen = "the last model was taken"
    blocks: list[Block] = [
        Text(
            f"{result.step} steps on {len(made.labelled)} frames of {made.labelled.classes} pseudo-classes; {chosen}. "
            f"Nothing was chosen by who speaks. {100 * result.data_wait_share:.1f} % of the time a step waited for "
            "data. Link error: equal error rate of telling must-links from cannot-links by distance."
        )
    ]
    if read_curves(outcome.metrics, "loss"):
        best = result.best_step if made.held_out_frames is not None else None
        blocks.append(training_curves(outcome.metrics, score="link_error", score_label="Link error", best_step=best))
    if len({point.step for point in outcome.curves}) > 1:
        blocks.append(u_vector_curves([(U_VECTORS, outcome.curves)], title="This training"))
    return blocks
