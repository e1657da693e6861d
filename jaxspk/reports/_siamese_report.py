"""The report of a regularized siamese network: errors beside baselines, distances, codes, and what they carry."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from jaxspk.reports._blocks import Fact, Facts, Figure, Listing, Text
from jaxspk.reports._curves import training_curves
from jaxspk.reports._html import write_report
from jaxspk.reports._provenance import provenance
from jaxspk.reports._report import Block, Report, Section
from jaxspk.reports._siamese_pictures import code_pictures, pair_curves, pair_histograms
from jaxspk.reports._speaker_pictures import speaker_map
from jaxspk.reports._tables import Cell, Table
from jaxspk.reports._verification import det_plot, score_histogram
from jaxspk.systems import (
    CEPSTRA,
    CONTROL,
    NETWORK,
    POOLED,
    ComparedScores,
    ProbeResult,
    SiameseOutcome,
    VariantResult,
    summary_rows,
    variant_error,
)
from jaxspk.training import config_to_dict

_CODE_SECONDS = 3.0
_KINDS = {NETWORK: "", CONTROL: "control", CEPSTRA: "baseline"}


def write_siamese_report(outcome: SiameseOutcome, *, more: Sequence[Section] = ()) -> Path:
    """Writes ``report.html`` into the run directory.

    Args:
      outcome: of :func:`jaxspk.systems.run_siamese`.
      more: sections to add after those of the run.

    Returns:
      The page.

    Raises:
      MissingExtraError: the extra ``reports`` is not installed.
    """
    trained = _trained(outcome)
    pooled = trained.scores.groups[POOLED]
    report = Report(
        title="Speaker codes",
        subtitle="What of a frame of speech is the speaker's? A regularized siamese network "
        f"({outcome.speech.name}); the speakers of the test were not trained on.",
        facts=_facts(outcome),
        sections=(
            Section("Verification", _verification(outcome)),
            Section("Pairs of segments", tuple(_histograms(outcome))),
            Section("Codes", (_codes(outcome), _probe_text(), probe_table(outcome.probes))),
            Section("Scores", (score_histogram(pooled.scores, pooled.group.labels, label="Cosine of two recordings"),)),
            Section("Voices", (_map(trained),)),
            Section("Training", (_training_text(outcome), *_training_figures(outcome))),
            *more,
            Section(
                "Settings",
                (Listing("config.json", json.dumps(config_to_dict(outcome.config), indent=2, default=str)),),
            ),
        ),
        provenance=provenance(seed=outcome.config.seed),
    )
    return write_report(outcome.folder / "report.html", report)


def compared_table(compared: Sequence[ComparedScores]) -> Table:
    """Equal error rates of every way to compare recordings, in every group of trials."""
    groups = list(compared[0].scores.groups)
    rows: list[list[Cell]] = []
    for one in compared:
        rates: list[Cell] = []
        for name in groups:
            summary = one.scores.groups[name].summary
            interval = summary.eer_interval
            spread = "" if interval is None else f" ({100 * interval.low:.1f} to {100 * interval.high:.1f})"
            rates.append(f"{100 * summary.eer:.2f}{spread}")
        cost = one.scores.groups[POOLED].summary.min_dcf[0.05]
        rows.append([one.name, _KINDS[one.kind], *rates, cost, 100 * one.scores.identification])
    counts = "; ".join(
        f"{name}: {scored.summary.targets:,} of one speaker, {scored.summary.nontargets:,} of two"
        for name, scored in compared[0].scores.groups.items()
    )
    heads = [f"EER (%), {'all trials' if name == POOLED else name}" for name in groups]
    return Table(
        ["Compared by", "What", *heads, "minDCF 0.05", "Named rightly (%)"],
        rows,
        "Every recording of the test speakers against every other one, no two of one session of a speaker: equal error "
        "rate, with the 95 % interval of a bootstrap of speakers, detection cost, and the share of recordings nearest "
        f"to their own speaker's others. The control is the units that no pair of speakers trained. Trials: {counts}.",
        formats={"minDCF 0.05": ".3f", "Named rightly (%)": ".1f"},
    )


def compared_lines(compared: Sequence[ComparedScores]) -> str:
    """The same as lines of plain text, for a terminal."""
    groups = [name for name in compared[0].scores.groups if "," not in name]
    lines = [f"{'EER (%)':<48}" + "".join(f"{name:>17}" for name in groups)]
    for one in compared:
        rates = "".join(f"{100 * one.scores.groups[name].summary.eer:>17.2f}" for name in groups)
        lines.append(f"{one.name:<48}{rates}")
    return "\n".join(lines)


def siamese_rows(compared: Sequence[ComparedScores]) -> Table:
    """All numbers of all ways and groups of trials, a row each, for a CSV file."""
    rows = [{"system": one.name, "kind": one.kind, **row} for one in compared for row in summary_rows(one.scores)]
    return Table(list(rows[0]), [list(row.values()) for row in rows])


def siamese_introduction(outcome: SiameseOutcome, table: str) -> str:
    """What a page of results begins with."""
    trained, system = _trained(outcome), outcome.trained.encoder.config
    others = sorted((one for one in outcome.compared if one is not trained), key=_rate)
    better = [f"{one.name} ({100 * _rate(one):.2f})" for one in others if _rate(one) <= _rate(trained)]
    return (
        f"{outcome.speech.describe()}. Nobody is in two of these groups; test speakers "
        f"{'are held out by the corpus' if outcome.speech.held_out_by_corpus else 'were kept apart'}, and nothing was "
        f"chosen by them. A network of {', '.join(map(str, system.units))} logistic units on "
        f"{system.features.inputs} inputs, {system.speaker_units} units of its code for the speaker. Its equal error "
        f"rate over all trials is {100 * _rate(trained):.2f} %. No worse: {', '.join(better) or 'none'}. Every number: "
        f"[{table}]({table})."
    )


def probe_table(probes: Sequence[ProbeResult]) -> Table:
    """What a linear map hears in each part of the code."""
    rows: list[list[Cell]] = [[probe.part, probe.numbers, 100 * probe.speaker, 100 * probe.sound] for probe in probes]
    chances = f"{100 * probes[0].speaker_chance:.1f} and {100 * probes[0].sound_chance:.1f} %"
    return Table(
        ["Part", "Numbers", "Speaker named rightly (%)", "Class of sounds named rightly (%)"],
        rows,
        "What a linear map, fitted by least squares to every other recording of each test speaker, makes of single "
        "frames of the rest: the speaker, and the class of sounds (a cluster of cepstra from which each recording's "
        f"mean is taken, in place of phones). Always naming the most frequent one is right in {chances} of the frames.",
    )


def variants_table(results: Sequence[VariantResult]) -> Table:
    """One row a variant: errors of validation and test speakers, and how far apart pairs of segments are."""
    names = list(dict.fromkeys(result.name for result in results))
    groups = _groups(results)
    rows: list[list[Cell]] = []
    for name in names:
        done = [result for result in results if result.name == name and result.stopped is None]
        about = next(str(result.record["about"]) for result in results if result.name == name)
        alarms = sum(result.name == name and result.stopped is not None for result in results)
        ratios = [
            result.record["distances"]["trained"]["d_mean_different"]
            / result.record["distances"]["trained"]["d_mean_same"]
            for result in done
        ]
        rows.append(
            [
                about,
                _spread([100 * result.record["validation_eer"] for result in done]),
                *(
                    _spread([100 * rate for r in done if (rate := variant_error(r, group)) is not None])
                    for group in groups
                ),
                _spread([100 * rate for r in done if (rate := variant_error(r, POOLED, control=True)) is not None]),
                _spread(ratios),
                f"stopped by the alarm ({alarms})" if alarms else "",
            ]
        )
    heads = [f"EER (%), {'all trials' if group == POOLED else group}" for group in groups]
    return Table(
        ["Changed", "EER (%), validation", *heads, "EER (%), rest units", "D_m, two speakers over one", "Remark"],
        rows,
        "One thing changed at a time. Validation speakers chose the step of each training and, before, the settings; "
        "the other errors are those of the test speakers. The last numbers are of pairs of segments of validation "
        "speakers. Mean ± deviation where there are several seeds.",
    )


def _groups(results: Sequence[VariantResult]) -> list[str]:
    for result in results:
        rows = result.record.get("errors", {}).get(NETWORK, ())
        if rows:
            return [str(row["trials"]) for row in rows if "," not in str(row["trials"])]
    return []


def _spread(values: Sequence[float]) -> str | None:
    if not values:
        return None
    deviation = f" ± {np.std(values, ddof=1):.2f}" if len(values) > 1 else ""
    return f"{np.mean(values):.2f}{deviation}"


# --- Sections. ---


def _trained(outcome: SiameseOutcome) -> ComparedScores:
    """By the vectors of the trained network."""
    return next(one for one in outcome.compared if one.name == "trained, cosine")


def best_baseline(compared: Sequence[ComparedScores]) -> ComparedScores:
    """The way to compare cepstra with the lowest pooled error."""
    return min((one for one in compared if one.kind == CEPSTRA), key=_rate)


def _rate(one: ComparedScores) -> float:
    return one.scores.groups[POOLED].summary.eer


def _facts(outcome: SiameseOutcome) -> Facts:
    trained, best = _trained(outcome), best_baseline(outcome.compared)
    ratio = _rate(trained) / max(_rate(best), 1e-12)
    facts = [
        Fact("Equal error rate", 100 * _rate(trained), "%", "all trials of the test speakers"),
        Fact(
            "Best of the MFCC baselines", 100 * _rate(best), "%", f"{best.name}; the network has {ratio:.2f} times that"
        ),
    ]
    facts += [
        Fact("Rest units", 100 * _rate(one), "%", "the control: units no pair of speakers trained")
        for one in outcome.compared
        if one.kind == CONTROL
    ]
    result = outcome.trained.result
    return Facts([*facts, Fact("Training", result.seconds / 60, "min", f"{result.step} steps", ".1f")])


def _verification(outcome: SiameseOutcome) -> list[Block]:
    untrained = next(one for one in outcome.compared if one.name == "untrained, cosine")
    control = [one for one in outcome.compared if one.kind == CONTROL]
    shown = [_trained(outcome), *control, untrained, best_baseline(outcome.compared)][:4]
    return [
        Text(outcome.speech.describe() + ". Nobody is in two of these groups."),
        compared_table(outcome.compared),
        det_plot(
            {one.name: (one.scores.groups[POOLED].scores, one.scores.groups[POOLED].group.labels) for one in shown}
        ),
    ]


def _histograms(outcome: SiameseOutcome) -> Iterator[Figure]:
    distances = outcome.trained.distances
    titles = {"untrained": "Before any training", "pretrained": "After pre-training", "trained": "After joint training"}
    for measure, label in (("mean", "D_m, squared distance of the means"), ("covariance", "D_S, of the covariances")):
        yield pair_histograms(
            {titles[stage]: (getattr(one, measure), one.same_speaker) for stage, one in distances.items()}, label=label
        )


def _codes(outcome: SiameseOutcome) -> Figure:
    """Of two recordings of one test speaker, and one of another of the same sex and corpus where there is one."""
    encoder, manifest = outcome.trained.encoder, outcome.speech.test
    places: dict[str, list[int]] = {speaker: [] for speaker in manifest.speakers}
    for place, utterance in enumerate(manifest):
        places[utterance.speaker].append(place)
    one = next(speaker for speaker, own in places.items() if len(own) > 1)
    like = manifest.utterances[places[one][0]]

    def strangeness(speaker: str) -> tuple[bool, bool]:
        utterance = manifest.utterances[places[speaker][0]]
        return utterance.corpus != like.corpus, utterance.gender != like.gender

    other = min((speaker for speaker in places if speaker != one), key=strangeness)
    frames = round(_CODE_SECONDS / encoder.frame_seconds)
    chosen = {
        f"{one}, one recording": places[one][0],
        f"{one}, another": places[one][-1],
        f"{other}": places[other][0],
    }
    codes = {title: encoder.codes_of(outcome.tested[place])[:frames] for title, place in chosen.items()}
    return code_pictures(codes, speaker_units=encoder.config.speaker_units, frame_seconds=encoder.frame_seconds)


def _probe_text() -> Text:
    return Text(
        "How much of the speaker and how much of what is said does each part carry? The units that pairs of speakers "
        "trained should tell more of the speaker and less of the sounds than the rest, which learned to reconstruct."
    )


def _map(trained: ComparedScores) -> Figure:
    scores = trained.scores
    utterances = scores.manifest.utterances
    pooled = scores.groups[POOLED]
    # Cosines are all that is kept of the vectors; their principal directions give these back.
    table = np.eye(len(utterances))
    table[pooled.group.enrol, pooled.group.test] = pooled.scores
    table = np.maximum(table, table.T)
    sizes, directions = np.linalg.eigh(table)
    vectors = directions * np.sqrt(np.maximum(sizes, 0))
    corpora = [utterance.corpus or "" for utterance in utterances]
    return speaker_map(vectors, [utterance.speaker for utterance in utterances], kinds=corpora)


def _training_text(outcome: SiameseOutcome) -> Text:
    config, trained = outcome.config, outcome.trained
    system, result, tolerances = config.system, trained.result, trained.tolerances
    before = (
        f"Layers were first trained one by one to take noise away, {config.pretraining.steps} steps each. "
        if config.pretraining.steps
        else "There was no pre-training. "
    )
    return Text(
        f"{before}Then {result.step} steps of {config.pairs} pairs of {system.segment_frames} frames, each first "
        f"segment compared with {config.comparisons}; λ is {tolerances.mean:.3g} for means and "
        f"{tolerances.covariance:.3g} for covariances. The model of step {result.best_step} has the lowest equal error "
        f"rate on trials of validation speakers and was kept. {result.skipped} steps were not finite and skipped; "
        f"{100 * result.data_wait_share:.1f} % of the time a step waited for data."
    )


def _training_figures(outcome: SiameseOutcome) -> list[Figure]:
    rows = [row for row in outcome.metrics if row.get("stage") == "joint"]
    rows = [{**row, "eer": 100 * row["eer"]} if row.get("eer") is not None else row for row in rows]
    label = "Equal error rate of the validation speakers (%)"
    return [
        training_curves(rows, score="eer", score_label=label, best_step=outcome.trained.result.best_step),
        pair_curves(outcome.metrics),
    ]
