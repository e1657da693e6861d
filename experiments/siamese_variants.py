"""Variants of the siamese network side by side; run by `python -m experiments.regularized_siamese compare`."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jaxspk import reports
from jaxspk.errors import CorpusError
from jaxspk.systems import (
    SIAMESE_PRESETS,
    VARIANTS,
    SiameseTraining,
    SpeechConfig,
    read_siamese_variants,
    run_siamese_variants,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class VariantsConfig:
    """Train and test variants of one training, each with one thing changed, then gather what there is into a table.

    Everything that is done already is passed over; a training that was killed, or stopped by its time, goes on. All
    variants hear the same speech through the same front end.
    """

    data: SpeechConfig = dataclasses.field(default_factory=lambda: SIAMESE_PRESETS["small"]().data)
    """The speech."""
    recipe: Literal["quick", "small"] = "small"
    """The training that is varied."""
    only: tuple[str, ...] = ()
    """Variants to run; all by default. Their names: --list."""
    seeds: tuple[int, ...] = (0,)
    """Each variant is trained once with each; the table shows the spread over them."""
    steps: int | None = None
    """Steps of joint training, instead of the recipe's."""
    minutes: float | None = None
    """Stop every training after so many minutes, with the best model so far; with more, it goes on."""
    workdir: Path = Path("runs/siamese_variants")
    """Folder of the variants: a run directory for each and seed."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Where to write the table, no ending: OUTPUT.md; by default WORKDIR/tables."""
    list: bool = False
    """Print the names and stop."""
    gather_only: bool = False
    """Run nothing, write the table of what there is."""


def common_training(config: VariantsConfig) -> SiameseTraining:
    """What all variants share."""
    training = SIAMESE_PRESETS[config.recipe]()
    fit = training.fit
    if config.steps is not None:
        every = max(1, min(config.steps, round(fit.validate_every * config.steps / fit.steps)))
        fit = dataclasses.replace(fit, steps=config.steps, validate_every=every, checkpoint_every=every)
    fit = dataclasses.replace(fit, max_minutes=config.minutes)
    return dataclasses.replace(training, data=config.data, fit=fit)


def run_variants(config: VariantsConfig, *, say: Callable[[str], None], progress: bool = True) -> Path | None:
    """Runs the variants and writes their table; returns the page."""
    if config.list:
        print("\n".join(f"{name:<20}{variant.about}" for name, variant in VARIANTS.items()))
        return None
    if not config.gather_only:
        run_siamese_variants(
            common_training(config), config.workdir, only=config.only, seeds=config.seeds, progress=progress, say=say
        )
    page = write_table(config)
    print(f"table: {page}")
    return page


def write_table(config: VariantsConfig) -> Path:
    """Gathers all results of the folder, of earlier runs too.

    Raises:
      CorpusError: there is none.
    """
    results = read_siamese_variants(config.workdir)
    if not results:
        raise CorpusError(f"{config.workdir}: holds no results of variants; run it without --gather-only.")
    described = json.loads((config.workdir / "variants.json").read_text(encoding="utf-8"))
    output = config.output or config.workdir / "tables"
    return reports.write_results_markdown(
        output.with_name(f"{output.name}.md"),
        "Variants of the regularized siamese network",
        [reports.variants_table(results)],
        reports.provenance(),
        introduction=f"{described['speech']}. Nobody is in two of these groups.",
    )
