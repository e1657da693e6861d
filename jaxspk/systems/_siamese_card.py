"""The model card of a regularized siamese network: what somebody who is given the weights should know."""

import datetime
from collections.abc import Sequence
from typing import TYPE_CHECKING

import jax
from flax import nnx

from jaxspk.systems._speaker_evaluation import POOLED
from jaxspk.systems._speech import Speech

if TYPE_CHECKING:
    from jaxspk.systems._siamese_evaluation import ComparedScores
    from jaxspk.systems._siamese_training import SiameseTraining, TrainedSiamese

_CARD = """\
# Speaker codes

Frame by frame what of a voice is the speaker's (`jaxspk.systems.SiameseEncoder`), and one vector of {dim} numbers a
recording (`jaxspk embed`, `verify`, `who`). Method: Chen and Salman, *Extracting speaker-specific information with a
regularized siamese deep network*, NIPS 2011, of which the appendix alone could be read: sizes, front end and constants
are this project's choice, and no figure of the paper is claimed.

- Network: {inputs} inputs ({coefficients} cepstral coefficients, {context} neighbours on either side), layers of
  {layers} logistic units, the first {speaker_units} of the code for the speaker; {parameters:,} parameters.
- Training: {date}, {steps} steps of {pairs} pairs of {frames} frames, {minutes:.0f} minutes, seed {seed}; the model of
  step {best_step}. α {alpha:g}, λ a unit {lambda_mean:.3g} (means) and {lambda_cov:.3g} (covariances).
- Speech: {speech}. Nobody is in two of these groups; the validation speakers chose the step and calibrate the scores.

Equal error rates (%) of the test speakers, every recording against every other one (no two of one session of a
speaker), with the 95 % interval of a bootstrap of speakers:

| system | all trials | interval |
|---|---|---|
{rows}

{sources}
## What it is not for

A voice is not a fingerprint. Do not identify people without their consent, and do not decide about anybody by this
alone: the error rates above are those of read English, recorded near the microphone; emotion, illness, age, other
languages, telephones, noise and synthetic voices raise them. It detects no imitation and no played-back recording.
"""


def siamese_card(
    config: "SiameseTraining",
    speech: Speech,
    trained: "TrainedSiamese",
    compared: Sequence["ComparedScores"],
    *,
    sources: str = "",
) -> str:
    """The card as Markdown.

    Args:
      config: of the training.
      speech: who was trained on and tested with.
      trained: how the training went.
      compared: errors on the test speakers.
      sources: a paragraph on the licences of the speech, where the weights are given away.
    """
    system, result = trained.encoder.config, trained.result
    rows = []
    for one in compared:
        summary = one.scores.groups[POOLED].summary
        interval = summary.eer_interval
        spread = "" if interval is None else f"{100 * interval.low:.1f} to {100 * interval.high:.1f}"
        rows.append(f"| {one.name} | {100 * summary.eer:.2f} | {spread} |")
    return _CARD.format(
        dim=system.dim,
        inputs=system.features.inputs,
        coefficients=system.features.dim,
        context=system.features.context,
        layers=", ".join(map(str, system.units)),
        speaker_units=system.speaker_units,
        parameters=sum(leaf.size for leaf in jax.tree.leaves(nnx.state(trained.encoder.model, nnx.Param))),
        date=datetime.date.today().isoformat(),
        steps=result.step,
        pairs=config.pairs,
        frames=system.segment_frames,
        minutes=result.seconds / 60,
        seed=config.seed,
        best_step=result.best_step,
        alpha=system.alpha,
        lambda_mean=system.lambda_mean,
        lambda_cov=system.lambda_cov,
        speech=speech.describe(),
        rows="\n".join(rows),
        sources=f"{sources}\n" if sources else "",
    )
