"""``jaxspk train``."""

import dataclasses
import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jaxspk.errors import ArgumentError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Train a system on your own folder of speech, test it on speakers kept apart, and write a report.

    Killed or stopped, the same command goes on where it was. Every setting of the experiments can be changed in
    `python -m experiments.SYSTEM`; this is the short way.

    Example: jaxspk train deep-clustering --data ~/LibriSpeech --minutes 60 -o runs/mine
    """

    system: tyro.conf.Positional[Literal["deep-clustering"]]
    """What to train."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The run directory: model, tables and report are written to it."""
    data: Path
    """Folder or table of speech; `jaxspk corpus` says whether it is understood."""
    layout: str = "auto"
    """How the recordings are laid out."""
    preset: Literal["quick", "small", "modern"] = "small"
    """quick: minutes; small: about an hour on two cores; modern: for an accelerator."""
    minutes: float | None = None
    """Stop training after this time, with the best model so far; the same command with more goes on."""
    seed: int = 0
    """Everything random derives from it."""


def run(options: Options) -> int:
    """Trains, tests and reports."""
    from jaxspk import reports
    from jaxspk.systems import PRESETS, run_separation

    if options.minutes is not None and options.minutes <= 0:
        raise ArgumentError(f"--minutes must be positive, got {options.minutes}.")
    preset = PRESETS[options.preset]()
    speech = dataclasses.replace(preset.data, path=options.data.expanduser(), layout=options.layout)
    stages = tuple(
        dataclasses.replace(stage, fit=dataclasses.replace(stage.fit, max_minutes=options.minutes))
        for stage in preset.stages
    )
    mixtures = dataclasses.replace(preset.mixtures, genders=())
    config = dataclasses.replace(preset, data=speech, stages=stages, mixtures=mixtures, seed=options.seed)
    outcome = run_separation(config, options.output, say=lambda line: print(line, file=sys.stderr))
    report = reports.write_separation_report(outcome)
    print(reports.separation_summary(outcome.scores))
    print(f"model:  {outcome.model_folder}\nreport: {report}")
    return 0
