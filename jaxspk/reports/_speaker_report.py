"""The report of a speaker encoder: errors, curves, calibration, a map of the voices, and the hardest trials to hear."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxspk import audio, metrics
from jaxspk.metrics import VerificationSummary
from jaxspk.reports._blocks import Fact, Facts, Figure, Listing, Text
from jaxspk.reports._curves import read_curves, training_curves
from jaxspk.reports._html import write_report
from jaxspk.reports._provenance import provenance
from jaxspk.reports._report import Block, Report, Section
from jaxspk.reports._sounds import Sound, Sounds
from jaxspk.reports._speaker_pictures import distance_curves, speaker_map
from jaxspk.reports._tables import Cell, Table, format_cell
from jaxspk.reports._verification import calibration_plot, det_plot, score_histogram, verification_table
from jaxspk.systems import (
    OBJECTIVES,
    POOLED,
    ScoredGroup,
    SpeakerOutcome,
    TrialGroup,
    VerificationScores,
    calibrated_scores,
)
from jaxspk.training import config_to_dict

_CURVES = 4
_HARDEST = 3
_SECONDS_PLAYED = 6.0

_PROTOCOLS = {"whole": "whole recordings", "ten_crops": "ten crops of 4 s"}


def write_speaker_report(outcome: SpeakerOutcome, *, more: Sequence[Section] = ()) -> Path:
    """Writes ``report.html`` into the run directory.

    Args:
      outcome: of :func:`jaxspk.systems.run_speaker_verification`.
      more: sections to add after those of the run.

    Returns:
      The page.

    Raises:
      MissingExtraError: the extra ``reports`` is not installed.
    """
    whole = outcome.scores["whole"]
    report = Report(
        title="Speaker verification",
        subtitle=f"Is this the same person? An encoder trained by {OBJECTIVES[outcome.config.objective.loss].title} "
        f"({outcome.speech.name}); the speakers of the test were not trained on.",
        facts=_facts(outcome),
        sections=(
            Section("Result", _results(outcome)),
            Section("Scores and calibration", _score_blocks(outcome)),
            Section("Voices", (_map(whole),)),
            Section("Training", (_training_text(outcome), *_training_figures(outcome))),
            Section("Hardest trials", _hardest(whole)),
            *more,
            Section("Test speakers", (speakers_table(whole),)),
            Section(
                "Settings",
                (Listing("config.json", json.dumps(config_to_dict(outcome.config), indent=2, default=str)),),
            ),
        ),
        provenance=provenance(seed=outcome.config.seed),
    )
    return write_report(outcome.folder / "report.html", report)


def verification_lines(scores: Mapping[str, VerificationScores]) -> str:
    """The result as lines of plain text, for a terminal."""
    lines = [f"{'trials':<28}{'scored by':<20}{'same':>8}{'different':>11}{'EER':>9}{'minDCF 0.05':>13}"]
    for protocol, found in scores.items():
        for name, scored in found.groups.items():
            summary = scored.summary
            lines.append(
                f"{name:<28}{_PROTOCOLS[protocol]:<20}{summary.targets:>8}{summary.nontargets:>11}"
                f"{100 * summary.eer:>7.2f} %{summary.min_dcf[0.05]:>13.3f}"
            )
    return "\n".join(lines)


def speakers_table(scores: VerificationScores, *, folded: bool = True) -> Table:
    """One row a test speaker: how alike its own recordings are, and who comes nearest."""
    pooled, manifest = scores.groups[POOLED], scores.manifest
    names = manifest.speakers
    first, second = pooled.group.speakers.T
    genders = {utterance.speaker: utterance.gender for utterance in manifest}
    rows: list[list[Cell]] = []
    for number, name in enumerate(names):
        concerned = (first == number) | (second == number)
        own, others = concerned & pooled.group.labels, np.flatnonzero(concerned & ~pooled.group.labels)
        nearest = others[pooled.scores[others].argmax()] if len(others) else None
        rows.append(
            [
                name,
                genders[name] or "",
                len(manifest.by_speaker()[name]),
                float(pooled.scores[own].mean()) if own.any() else None,
                float(pooled.scores[own].min()) if own.any() else None,
                None if nearest is None else float(pooled.scores[nearest]),
                "" if nearest is None else names[int(first[nearest] + second[nearest] - number)],
            ]
        )
    columns = (
        "Speaker", "Gender", "Recordings", "Own recordings, mean score", "Own, lowest", "Others, highest",
        "Who that is",
    )  # fmt: skip
    caption = "Every test speaker; all scored trials are in results/scores.txt."
    return Table(columns, rows, caption, formats={name: ".3f" for name in columns[3:6]}, folded=folded)


def _facts(outcome: SpeakerOutcome) -> Facts:
    whole = outcome.scores["whole"]
    facts = []
    for name, scored in list(whole.groups.items())[:3]:
        interval = scored.summary.eer_interval
        about = f"{scored.summary.targets:,} trials of one speaker, {scored.summary.nontargets:,} of two"
        if interval is not None:
            about = f"{100 * interval.low:.1f} to {100 * interval.high:.1f} %; {about}"
        facts.append(Fact(f"Equal error rate, {_of(name)}", 100 * scored.summary.eer, "%", about))
    ratios = calibrated_scores(outcome)
    if ratios is not None:
        pooled = whole.groups[POOLED]
        cost = metrics.cllr(ratios, pooled.group.labels)
        least = f"{metrics.min_cllr(ratios, pooled.group.labels):.3f} after the best increasing map"
        facts.append(Fact("Cllr, calibrated", cost, "bits", least, ".3f"))
    accuracy = f"of {len(whole.manifest.speakers)} people, by their other recordings"
    facts.append(Fact("Named rightly", 100 * whole.identification, "%", accuracy, ".1f"))
    result = outcome.trained.result
    return Facts([*facts, Fact("Training", result.seconds / 60, "min", f"{result.step} steps", ".1f")])


def _results(outcome: SpeakerOutcome) -> list[Block]:
    whole = outcome.scores["whole"]
    shown = dict(list(whole.groups.items())[:_CURVES])
    return [
        Text(outcome.speech.describe() + ". Nobody is in two of these groups."),
        _errors_table(outcome, "whole"),
        det_plot({name: (scored.scores, scored.group.labels) for name, scored in shown.items()}),
        _errors_table(outcome, "ten_crops"),
    ]


def _errors_table(outcome: SpeakerOutcome, protocol: str) -> Table:
    """The numbers of all groups; scores are calibrated by the validation speakers before Cllr is measured."""
    scores = outcome.scores[protocol]
    summaries: dict[str, VerificationSummary] = {}
    for name, scored in scores.groups.items():
        ratios = calibrated_scores(outcome, protocol=protocol, group=name)
        cost, least = float("nan"), scored.summary.min_cllr
        if ratios is not None:
            cost, least = metrics.cllr(ratios, scored.group.labels), metrics.min_cllr(ratios, scored.group.labels)
        summaries[name] = dataclasses.replace(scored.summary, cllr=cost, min_cllr=least)
    table = verification_table(summaries)
    return dataclasses.replace(
        table,
        caption=f"Every recording of the test speakers against every other one, {_PROTOCOLS[protocol]}; no two of one "
        "session of a speaker. Intervals by a bootstrap of speakers. Cllr of scores calibrated by validation speakers.",
        best={},
        formats={name: ".3f" for name in table.columns if "DCF" in name or "Cllr" in name},
        folded=protocol != "whole",
    )


def _score_blocks(outcome: SpeakerOutcome) -> list[Figure | Text]:
    pooled = outcome.scores["whole"].groups[POOLED]
    labels = pooled.group.labels
    ratios = calibrated_scores(outcome)
    histogram = score_histogram(pooled.scores, labels, label="Cosine of two recordings")
    if ratios is None:
        return [histogram, Text("There are too few validation speakers to calibrate the scores.", note=True)]
    trials = next(rule.trials for rule in outcome.calibration if rule.protocol == "whole")
    caption = (
        f"Calibration by {trials}, on the trials of the test speakers, who took no part in it: groups of trials by "
        "their log-likelihood ratio against the ratio that they turned out to have. Below the diagonal a score "
        "promises too much."
    )
    return [histogram, calibration_plot(ratios, labels, caption=caption)]


def _map(scores: VerificationScores) -> Figure:
    utterances = scores.manifest.utterances
    corpora = [utterance.corpus or "" for utterance in utterances]
    genders = [{"F": "women", "M": "men", None: "unknown"}[utterance.gender] for utterance in utterances]
    kinds = corpora if len(set(corpora)) > 1 else genders
    return speaker_map(scores.vectors.mean(1), [utterance.speaker for utterance in utterances], kinds=kinds)


def _training_text(outcome: SpeakerOutcome) -> Text:
    result, batches = outcome.trained.result, outcome.config.batches
    stopped = "" if result.stopped == "steps" else f" Training was ended by its {result.stopped}."
    return Text(
        f"{result.step} steps of {batches.speakers} speakers × {batches.utterances} crops of {batches.seconds:g} s, "
        f"{len(outcome.trained.classes)} speakers to learn; the model of step {result.best_step} has the lowest equal "
        f"error rate on trials of validation speakers and was kept. {result.skipped} steps were not finite and "
        f"skipped; {100 * result.data_wait_share:.1f} % of the time a step waited for data.{stopped}"
    )


def _training_figures(outcome: SpeakerOutcome) -> list[Figure]:
    """None of a training that was stopped before its first line of metrics."""
    figures = []
    if read_curves(outcome.metrics, "loss"):
        # In percent, as everywhere on the page.
        rows = [{**row, "eer": 100 * row["eer"]} if row.get("eer") is not None else row for row in outcome.metrics]
        label = "Equal error rate of the validation speakers (%)"
        best = outcome.trained.result.best_step
        figures.append(training_curves(rows, score="eer", score_label=label, best_step=best))
    if "train" in read_curves(outcome.metrics, "accuracy"):
        figures.append(distance_curves(outcome.metrics))
    return figures


def hardest_trials(scores: VerificationScores) -> list[Sounds]:
    """The impostors most alike, then the recordings of one speaker least alike, each pair of speakers once."""
    pooled = scores.groups[POOLED]
    order = np.argsort(pooled.scores, kind="stable")
    return [
        _trial_sounds(scores, pooled, place, f"{who}, number {number}")
        for who, places in (
            ("Two speakers", _different_pairs(pooled.group, order[::-1], same=False)),
            ("One speaker", _different_pairs(pooled.group, order, same=True)),
        )
        for number, place in enumerate(places, 1)
    ]


def _hardest(scores: VerificationScores) -> list[Block]:
    threshold = scores.groups[POOLED].summary.eer_threshold
    return [
        Text(
            f"The threshold of equal error rates is {threshold:.3f}: two recordings that score higher are taken for "
            f"one speaker's. Each pair of speakers is shown once. At most {_SECONDS_PLAYED:g} s from the middle of "
            "each recording are played; all of it was scored."
        ),
        *hardest_trials(scores),
    ]


def _different_pairs(group: TrialGroup, order: np.ndarray, *, same: bool) -> list[int]:
    """The first trials of one kind in an order, each pair of speakers once."""
    found: dict[tuple[int, ...], int] = {}
    for place in order:
        if group.labels[place] == same:
            found.setdefault(tuple(sorted(group.speakers[place].tolist())), int(place))
            if len(found) == _HARDEST:
                break
    return list(found.values())


def _trial_sounds(scores: VerificationScores, scored: ScoredGroup, place: int, title: str) -> Sounds:
    sides = []
    for number, side in enumerate((scored.group.enrol, scored.group.test)):
        utterance = scores.manifest.utterances[int(side[place])]
        waveform, rate = audio.read_audio(utterance.path)
        most = round(_SECONDS_PLAYED * rate)
        start = max(0, (len(waveform) - most) // 2)
        who = utterance.speaker + (f" ({utterance.gender})" if utterance.gender else "")
        about = ", ".join(part for part in (utterance.corpus, utterance.path.stem) if part)
        sides.append(Sound(waveform[start : start + most], rate, who, about, number))
    return Sounds(
        f"{title}: scored {format_cell(float(scored.scores[place]), '.3f')}", {"First": sides[:1], "Second": sides[1:]}
    )


def _of(name: str) -> str:
    return "all trials" if name == POOLED else name
