"""``jaxspk score``."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import tyro

from jaxspk.errors import ArgumentError, CorpusError

if TYPE_CHECKING:
    from jaxspk.cli._voices import Hearing
    from jaxspk.data import Trials


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Score a list of trials: how similar the voices of two recordings are.

    The list holds a trial a line: `1 A B` (1 same speaker, 0 different), `A B target` (or nontarget), or `A B`. A
    folder of speech instead of a list is taken whole: every recording against every other one, those of one speaker
    across sessions only. What is written, `A B SCORE LABEL` a line, can be measured (`jaxspk metrics`) and learnt from
    (`jaxspk calibrate`). Trials of a recording that cannot be read are left out, and the exit status is 1.

    Example: jaxspk score trials.txt --root recordings -o scores.txt
    """

    trials: tyro.conf.Positional[Path]
    """The list, or a folder of speech."""
    root: Path | None = None
    """Folder that names in the list are relative to; by default that of the list."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("scores.txt")
    """The file to write."""
    protocol: Literal["whole", "ten_crops"] = "whole"
    """The cosine of one vector a recording, or minus the mean distance between ten crops of 4 s and ten."""
    cohort: Path | None = None
    """A folder or table of other people's speech: normalise scores by it (AS-norm)."""
    top: int = 300
    """How many people of the cohort count for each recording: those most similar."""
    channel: int | Literal["mean"] = "mean"
    """Of recordings with several channels: their mean, or the number of one, from 0."""
    model: Path | None = None
    """A model directory; by default the weights that come with jaxspk."""
    json: bool = False
    """Print one JSON document instead of lines."""


def run(options: Options) -> int:
    """Embeds every recording once, then scores."""
    from jaxspk import data
    from jaxspk.cli import _metrics, _voices
    from jaxspk.data import ScoredTrials
    from jaxspk.metrics import summarize_verification
    from jaxspk.systems import normalize_with_cohort, score_pairs

    trials, root = _trials(options)
    hearing = _voices.load_encoder(options.model)
    cohort = None if options.cohort is None else _cohort(options, hearing)
    embedded = _voices.embed(
        hearing,
        [root / name for name in trials.names],
        protocol=options.protocol,
        channel=options.channel,
        measure_quality=False,
    )
    _voices.say_failed(embedded.failed)
    place = {path: number for number, path in enumerate(embedded.paths)}
    rows = np.array([place.get(root / name, -1) for name in trials.names])
    enrol, test = rows[trials.enrol_index], rows[trials.test_index]
    whole = (enrol >= 0) & (test >= 0)
    if not whole.any():
        raise CorpusError(f"{options.trials}: no trial is left that can be scored.")
    if not whole.all():
        trials, enrol, test = trials.select(whole), enrol[whole], test[whole]
    scores = score_pairs(embedded.vectors, enrol, test, protocol=options.protocol)
    if cohort is not None:
        scores = normalize_with_cohort(
            scores, embedded.vectors, enrol, test, cohort, protocol=options.protocol, top=options.top
        )
    data.write_scores(options.output, ScoredTrials(trials, scores))
    both_kinds = trials.labels is not None and trials.labels.any() and not trials.labels.all()
    summary = summarize_verification(scores, trials.labels) if both_kinds and trials.labels is not None else None
    left_out = int((~whole).sum())
    if options.json:
        facts = {
            "file": str(options.output),
            "recordings": len(embedded.paths),
            "trials": len(trials),
            "left_out": left_out,
            "failed": [{"recording": str(path), "error": str(error)} for path, error in embedded.failed],
            "metrics": None if summary is None else summary.to_dict(),
        }
        print(json.dumps(facts, indent=2))
    else:
        without = f"; {left_out:,} left out" if left_out else ""
        print(f"{options.output}: {len(trials):,} trials of {len(embedded.paths):,} recordings{without}")
        if summary is not None:
            print(_metrics.numbers(summary))
    return 1 if embedded.failed else 0


def _trials(options: Options) -> tuple["Trials", Path]:
    """The trials and the folder their names are relative to."""
    from jaxspk import data

    if not options.trials.is_dir():
        return data.read_trials(options.trials), options.trials.parent if options.root is None else options.root
    scan = data.read_corpus(options.trials)
    manifest = scan.manifest
    for problem in scan.problems:
        print(f"jaxspk: {problem.path}: {problem.message}", file=sys.stderr)
    return data.name_trials(data.make_trials(manifest), manifest, root=options.trials), options.trials


def _cohort(options: Options, hearing: "Hearing") -> np.ndarray:
    """One voice a person of the cohort; nobody who is kept for testing."""
    from jaxspk import data
    from jaxspk.cli import _voices
    from jaxspk.data import HELD_OUT_SPLITS
    from jaxspk.systems import mean_by_speaker

    assert options.cohort is not None
    everybody = data.read_corpus(options.cohort).manifest
    manifest = everybody.where(lambda utterance: utterance.split not in HELD_OUT_SPLITS)
    held_out = len(everybody.speakers) - len(manifest.speakers)
    if held_out:
        print(f"jaxspk: left {held_out} speakers out of the cohort who are held out for testing", file=sys.stderr)
    if len(manifest.speakers) < 2:
        raise ArgumentError(f"--cohort {options.cohort}: must hold at least 2 speakers, got {len(manifest.speakers)}.")
    embedded = _voices.embed(
        hearing,
        [utterance.path for utterance in manifest],
        protocol=options.protocol,
        channel=options.channel,
        measure_quality=False,
    )
    _voices.say_failed(embedded.failed)
    speaker = {utterance.path: utterance.speaker for utterance in manifest}
    return mean_by_speaker(embedded.vectors, [speaker[path] for path in embedded.paths])
