"""``jaxspk calibrate``."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jaxspk.errors import ArgumentError, CorpusError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Learn what scores mean, from scored trials of your own whose answers you know.

    The trials shall be like those to be decided later (microphones, rooms, durations), of people the model was not
    trained on, some hundreds of each kind. Other commands take the result with --calibration.

    Example: jaxspk calibrate scores.txt -o calibration.json
    """

    scores: tyro.conf.Positional[Path]
    """Scored trials, `A B SCORE LABEL` a line, as `jaxspk score` writes them."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("calibration.json")
    """The file to write."""
    model: Path | None = None
    """The model directory that the scores come from; by default the weights that come with jaxspk."""
    protocol: Literal["whole", "ten_crops"] = "whole"
    """How the trials were scored."""
    prior: float = 0.5
    """How often trials are of one speaker where decisions are made: where the calibration is to be best."""
    json: bool = False
    """Print one JSON document instead of lines."""


def run(options: Options) -> int:
    """Fits and writes."""
    from jaxspk import data
    from jaxspk.cli._voices import SYSTEM
    from jaxspk.metrics import cllr, min_cllr
    from jaxspk.systems import fit_verification, packaged_model, save_verification

    scored = data.read_scores(options.scores)
    labels = scored.trials.labels
    if labels is None:
        raise CorpusError(f"{options.scores}: has no labels to learn from; write `A B SCORE LABEL`.")
    model = packaged_model(SYSTEM) if options.model is None else options.model
    try:
        rule = fit_verification(
            scored.scores, labels, protocol=options.protocol, trials=options.scores.name, prior=options.prior
        )
    except ArgumentError as error:
        raise CorpusError(f"{options.scores}: {error}") from None
    save_verification([rule], model, path=options.output)
    (level,) = rule.levels
    ratios = level.calibration.log_likelihood_ratio(scored.scores)
    facts = {
        **level.calibration.to_dict(),
        "threshold": level.calibration.score(0.0),
        "targets": level.errors.targets,
        "nontargets": level.errors.nontargets,
        "cllr": cllr(ratios, labels),
        "min_cllr": min_cllr(scored.scores, labels),
        "file": str(options.output),
    }
    if options.json:
        print(json.dumps(facts, indent=2))
    else:
        print(
            f"log-likelihood ratio = {level.calibration.scale:.4f} x score {level.calibration.offset:+.4f}; one "
            f"speaker from score {facts['threshold']:.4f} on, where both are as likely\n"
            f"Cllr {facts['cllr']:.4f} bits, {facts['min_cllr']:.4f} at best ({level.errors.targets:,} trials of one "
            f"speaker, {level.errors.nontargets:,} of two)\n{options.output}"
        )
    return 0
