"""The report of a separation run: scores, training curves, pictures and sounds of a few test mixtures."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from jaxspk import audio
from jaxspk.data import Mixture
from jaxspk.metrics import bss_eval
from jaxspk.reports._blocks import Fact, Facts, Figure, Listing, Text
from jaxspk.reports._curves import training_curves
from jaxspk.reports._html import write_report
from jaxspk.reports._improvements import improvement_distribution, improvement_vs_input
from jaxspk.reports._provenance import provenance
from jaxspk.reports._report import Report, Section
from jaxspk.reports._separation import embedding_scatter, separation_panel
from jaxspk.reports._sounds import Sound, Sounds
from jaxspk.reports._tables import Cell, Table, format_cell
from jaxspk.systems import SeparationOutcome, SeparationScore, Separator, summarize_separation
from jaxspk.training import config_to_dict

_PAIRS = {"FF": "two women", "FM": "a woman and a man", "MM": "two men", "all": "all", "?": "unknown"}


def write_separation_report(outcome: SeparationOutcome, *, more: Sequence[Section] = ()) -> Path:
    """Writes ``report.html`` into the run directory.

    Args:
      outcome: of :func:`jaxspk.systems.run_separation`.
      more: sections to add after those of the run.

    Returns:
      The page.

    Raises:
      MissingExtraError: the extra ``reports`` is not installed.
    """
    report = Report(
        title="Deep clustering",
        subtitle=f"Separating {outcome.config.mixtures.speakers} voices heard by one microphone "
        f"({outcome.speech.name}); the speakers of the test were not trained on.",
        facts=_facts(outcome),
        sections=(
            Section("Result", _results(outcome)),
            Section("Training", (_training_text(outcome), *_curves(outcome))),
            Section("Examples", _examples(outcome)),
            *more,
            Section("All mixtures", (scores_table(outcome.scores),)),
            Section(
                "Settings",
                (Listing("config.json", json.dumps(config_to_dict(outcome.config), indent=2, default=str)),),
            ),
        ),
        provenance=provenance(seed=outcome.config.seed),
    )
    return write_report(outcome.folder / "report.html", report)


def separation_summary(scores: Sequence[SeparationScore]) -> str:
    """The result as lines of plain text, for a terminal."""
    lines = [f"{'genders':<22}{'mixtures':>9}{'input SDR':>11}{'improvement':>18}{'ideal mask':>12}   (dB)"]
    for group in summarize_separation(scores):
        spread = f"{group.improvement:.2f} ± {group.standard_error:.2f}"
        name = _PAIRS.get(group.group, group.group)
        lines.append(f"{name:<22}{group.mixtures:>9}{group.input:>11.2f}{spread:>18}{group.ideal:>12.2f}")
    return "\n".join(lines)


def summary_table(scores: Sequence[SeparationScore], *, caption: str = "") -> Table:
    """Mean improvement of every measure by pair of genders, beside the ideal binary mask."""
    groups = {measure: summarize_separation(scores, measure) for measure in ("sdr", "si_sdr", "sir")}
    rows: list[list[Cell]] = [
        [
            _PAIRS.get(sdr.group, sdr.group),
            sdr.mixtures,
            sdr.input,
            sdr.improvement,
            sdr.standard_error,
            sdr.ideal,
            si_sdr.improvement,
            sir.improvement,
        ]
        for sdr, si_sdr, sir in zip(*groups.values(), strict=True)
    ]
    return Table(
        (
            "Speakers",
            "Mixtures",
            "Input SDR (dB)",
            "SDR improvement (dB)",
            "standard error (dB)",
            "Ideal binary mask (dB)",
            "SI-SDR improvement (dB)",
            "SIR improvement (dB)",
        ),
        rows,
        caption
        or "Means over the test mixtures. The ideal binary mask knows the sources: what any binary mask could reach.",
    )


IMPROVEMENT_COLUMNS = (
    "Mixtures",
    "Input SDR (dB)",
    "SDR improvement (dB)",
    "± (95 %)",
    "Ideal binary mask (dB)",
    "SI-SDR improvement (dB)",
)
"""Headings of :func:`improvement_row`, behind those of what the row is of."""


def improvement_row(what: Sequence[Cell], scores: Sequence[SeparationScore]) -> list[Cell]:
    """A row of means over mixtures, all pairs of genders together.

    Args:
      what: the first cells.
      scores: at least one.
    """
    everyone = [dataclasses.replace(score, genders="?") for score in scores]
    (sdr,), (si_sdr,) = (summarize_separation(everyone, measure) for measure in ("sdr", "si_sdr"))
    return [
        *what,
        sdr.mixtures,
        sdr.input,
        sdr.improvement,
        1.96 * sdr.standard_error,
        sdr.ideal,
        si_sdr.improvement,
    ]


def scores_table(scores: Sequence[SeparationScore], *, folded: bool = True) -> Table:
    """One row a mixture."""
    rows: list[list[Cell]] = [
        [
            score.name,
            score.genders,
            score.seconds,
            score.sdr_input,
            score.sdr_output,
            score.improvement("sdr"),
            score.improvement("si_sdr"),
            score.improvement("sdr", of="ideal"),
        ]
        for score in scores
    ]
    columns = (
        "Mixture",
        "Genders",
        "Seconds",
        "Input SDR (dB)",
        "Output SDR (dB)",
        "SDR improvement (dB)",
        "SI-SDR improvement (dB)",
        "Ideal mask (dB)",
    )
    return Table(columns, rows, "Every mixture; more columns in results/mixtures.csv.", folded=folded)


def example_sounds(separator: Separator, mixture: Mixture, *, title: str = "") -> Sounds:
    """One mixture with its pictures, its references and what the separator made of it."""
    features = separator.config.features
    analysis = separator.analyze(mixture.mixture, len(mixture.sources))
    estimates = np.asarray(
        audio.istft(audio.apply_masks(analysis.mixture, analysis.masks), **features.stft, length=len(mixture.mixture))
    )
    measured = bss_eval(mixture.sources, estimates)
    order = np.asarray(measured.permutation)
    ideal = np.asarray(audio.ideal_binary_mask(audio.stft(jnp.asarray(mixture.sources), **features.stft)))
    names = tuple(
        f"{utterance.speaker}{f' ({utterance.gender})' if utterance.gender else ''}" for utterance in mixture.utterances
    )
    panel = separation_panel(
        20 * np.log10(np.maximum(np.abs(np.asarray(analysis.mixture)), 1e-10)),
        ideal,
        np.asarray(analysis.masks)[order],
        sample_rate=features.sample_rate,
        hop_length=features.hop_length,
        active=np.asarray(analysis.active),
        floor_db=features.floor_db,
    )
    scatter = embedding_scatter(
        np.asarray(analysis.embeddings),
        np.moveaxis(ideal, 0, -1).reshape(-1, len(ideal)),
        np.asarray(analysis.active).reshape(-1).astype(np.float64),
        centers=np.asarray(analysis.centers),
        labels=names,
    )

    def sound(waveform: np.ndarray, label: str, source: int | None = None, detail: str = "") -> Sound:
        return Sound(np.asarray(waveform, np.float32), features.sample_rate, label, detail, source)

    voices = range(len(names))
    return Sounds(
        title or mixture.name,
        {
            "Mixture": [sound(mixture.mixture, "as recorded")],
            "Separated": [
                sound(estimates[order[k]], names[k], k, f"SDR {format_cell(float(measured.sdr[k]), '.1f')} dB")
                for k in voices
            ],
            "References": [sound(mixture.sources[k], names[k], k) for k in voices],
        },
        figures=(panel, scatter),
    )


def _facts(outcome: SeparationOutcome) -> Facts:
    groups = summarize_separation(outcome.scores)
    facts = [
        Fact(
            f"SDR improvement, {_PAIRS.get(group.group, group.group)}",
            group.improvement,
            "dB",
            f"ideal binary mask {group.ideal:.1f} dB; {group.mixtures} mixtures",
            ".1f",
        )
        for group in groups[:4]
    ]
    minutes = sum(stage.seconds for stage in outcome.trained.stages) / 60
    return Facts([*facts, Fact("Training", minutes, "min", f"{_steps(outcome)} steps", ".1f")])


def _results(outcome: SeparationOutcome) -> list[Table | Figure | Text]:
    groups = summarize_separation(outcome.scores)
    members = {
        _PAIRS.get(group.group, group.group): [
            score for score in outcome.scores if group.group in ("all", score.genders)
        ]
        for group in groups
    }
    gains = {name: np.array([score.improvement("sdr") for score in scores]) for name, scores in members.items()}
    ideal = {
        name: float(np.median([score.improvement("sdr", of="ideal") for score in scores]))
        for name, scores in members.items()
    }
    apart = {name: scores for name, scores in members.items() if name != "all"}
    return [
        Text(outcome.speech.describe() + ". Nobody is in two of these groups."),
        summary_table(outcome.scores),
        improvement_distribution(gains, baselines={"ideal binary mask (median)": ideal}),
        improvement_vs_input(
            {name: np.array([score.sdr_input for score in scores]) for name, scores in apart.items()},
            {name: gains[name] for name in apart},
        ),
    ]


def _training_text(outcome: SeparationOutcome) -> Text:
    last = outcome.trained.stages[-1]
    wait = np.average(
        [stage.data_wait_share for stage in outcome.trained.stages],
        weights=[max(stage.seconds, 1e-9) for stage in outcome.trained.stages],
    )
    stopped = "" if last.stopped == "steps" else f" Training was ended by its {last.stopped}."
    return Text(
        f"{_steps(outcome)} steps; the model of step {last.best_step} has the lowest loss on validation speakers and "
        f"was kept. {sum(stage.skipped for stage in outcome.trained.stages)} steps were not finite and skipped; "
        f"{100 * float(wait):.1f} % of the time a step waited for data.{stopped}"
    )


def _curves(outcome: SeparationOutcome) -> list[Figure]:
    """One picture a stage: the steps of each begin at zero."""
    names = list(dict.fromkeys(str(row.get("stage", "")) for row in outcome.metrics))
    return [
        training_curves(
            [row for row in outcome.metrics if str(row.get("stage", "")) == name], best_step=stage.best_step
        )
        for name, stage in zip(names, outcome.trained.stages, strict=True)
    ]


def _examples(outcome: SeparationOutcome) -> list[Sounds]:
    order = np.argsort([score.improvement("sdr") for score in outcome.scores], kind="stable")
    picks = {"Median": order[len(order) // 2], "Best": order[-1], "Worst": order[0]}
    unique = {int(index): word for word, index in reversed(picks.items())}
    return [
        example_sounds(
            outcome.trained.separator,
            outcome.mixtures[index],
            title=f"{word} result: {outcome.scores[index].name}, "
            f"{format_cell(outcome.scores[index].improvement('sdr'), '+.1f')} dB",
        )
        for index, word in reversed(unique.items())
    ]


def _steps(outcome: SeparationOutcome) -> str:
    return " + ".join(str(stage.step) for stage in outcome.trained.stages)
