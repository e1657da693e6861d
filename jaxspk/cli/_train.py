"""``jaxspk train``."""

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import tyro

from jaxspk.errors import ArgumentError

if TYPE_CHECKING:
    from jaxspk.systems import ObjectiveName, SpeakerTraining


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Train a system on your own folder of speech, test it on speakers kept apart, and write a report.

    deep-clustering separates voices that speak at once; metric-learning tells who speaks. Killed or stopped, the same
    command goes on where it was. Every setting of the experiments can be changed in `python -m experiments.SYSTEM`;
    this is the short way.

    Example: jaxspk train deep-clustering --data ~/LibriSpeech --minutes 60 -o runs/mine

    Example: jaxspk train metric-learning --data ~/LibriSpeech --objective ge2e_softmax -o runs/voices
    """

    system: tyro.conf.Positional[Literal["deep-clustering", "metric-learning"]]
    """What to train."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The run directory: model, tables and report are written to it."""
    data: Path
    """Folder or table of speech; `jaxspk corpus` says whether it is understood."""
    layout: str = "auto"
    """How the recordings are laid out."""
    preset: Literal["quick", "small", "paper", "modern"] = "small"
    """quick: minutes; small: about an hour on two cores; paper (metric-learning only) and modern: for an
    accelerator."""
    objective: str | None = None
    """Of metric-learning: what is minimised, such as softmax, aam_softmax, triplet, prototypical,
    angular_prototypical, ge2e_softmax; by default the preset's."""
    speakers: int | None = None
    """Of metric-learning: different speakers in a batch; by default the preset's. More is better, as far as there are
    so many to learn."""
    sounds: Path | None = None
    """Of metric-learning: folder with `noise` and `rir` to vary the training speech by; by default that of the
    speech. Without them, it is varied by speed, level and other voices only."""
    minutes: float | None = None
    """Stop training after this time, with the best model so far; the same command with more goes on."""
    seed: int = 0
    """Everything random derives from it."""


def run(options: Options) -> int:
    """Trains, tests and reports."""
    if options.minutes is not None and options.minutes <= 0:
        raise ArgumentError(f"--minutes must be positive, got {options.minutes}.")
    return {"deep-clustering": _train_separator, "metric-learning": _train_encoder}[options.system](options)


def speaker_training(options: Options) -> "SpeakerTraining":
    """The training of a speaker encoder that the options name.

    Raises:
      ArgumentError: no such objective, fewer than two speakers, or `--sounds` names no folder.
    """
    from jaxspk.systems import OBJECTIVES, SPEAKER_PRESETS, with_training_budget

    preset = with_training_budget(SPEAKER_PRESETS[options.preset](), minutes=options.minutes)
    if options.objective is not None and options.objective not in OBJECTIVES:
        raise ArgumentError(f"--objective must be one of {', '.join(OBJECTIVES)}, got {options.objective!r}.")
    if options.speakers is not None and options.speakers < 2:
        raise ArgumentError(f"--speakers must be at least 2, got {options.speakers}.")
    if options.sounds is not None and not options.sounds.expanduser().is_dir():
        raise ArgumentError(f"--sounds must be a folder with `noise` and `rir`, got {options.sounds}.")
    data = options.data.expanduser()
    sounds = options.sounds.expanduser() if options.sounds else data.parent if data.is_file() else data
    objective, augment = preset.objective, preset.augment
    if options.objective is not None:
        objective = dataclasses.replace(objective, loss=cast("ObjectiveName", options.objective))

    def share(of: float, folder: str) -> float:
        return of if (sounds / folder).is_dir() else 0.0

    return dataclasses.replace(
        preset,
        data=dataclasses.replace(preset.data, path=data, layout=options.layout),
        objective=objective,
        batches=dataclasses.replace(preset.batches, speakers=options.speakers or preset.batches.speakers),
        augment=dataclasses.replace(
            augment,
            noise_share=share(augment.noise_share, "noise"),
            room_share=share(augment.room_share, "rir"),
            music_share=share(augment.music_share, "music"),
        ),
        sounds=sounds,
        seed=options.seed,
    )


def _train_encoder(options: Options) -> int:
    from jaxspk import reports
    from jaxspk.systems import run_speaker_verification

    outcome = run_speaker_verification(speaker_training(options), options.output, say=_say)
    report = reports.write_speaker_report(outcome)
    print(reports.verification_lines(outcome.scores))
    print(f"model:  {outcome.model_folder}\nreport: {report}")
    return 0


def _train_separator(options: Options) -> int:
    from jaxspk import reports
    from jaxspk.systems import PRESETS, run_separation

    for name in ("objective", "speakers", "sounds"):
        if getattr(options, name) is not None:
            raise ArgumentError(f"--{name} is for metric-learning; deep-clustering has none.")
    if options.preset not in PRESETS:
        raise ArgumentError(f"--preset of deep-clustering must be one of {', '.join(PRESETS)}, got {options.preset}.")
    preset = PRESETS[options.preset]()
    speech = dataclasses.replace(preset.data, path=options.data.expanduser(), layout=options.layout)
    stages = tuple(
        dataclasses.replace(stage, fit=dataclasses.replace(stage.fit, max_minutes=options.minutes))
        for stage in preset.stages
    )
    mixtures = dataclasses.replace(preset.mixtures, genders=())
    config = dataclasses.replace(preset, data=speech, stages=stages, mixtures=mixtures, seed=options.seed)
    outcome = run_separation(config, options.output, say=_say)
    report = reports.write_separation_report(outcome)
    print(reports.separation_summary(outcome.scores))
    print(f"model:  {outcome.model_folder}\nreport: {report}")
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr)
