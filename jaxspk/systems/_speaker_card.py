"""The model card of a speaker encoder: what somebody who is given the weights should know."""

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING

import jax
from flax import nnx

from jaxspk.systems._speaker_evaluation import VerificationScores
from jaxspk.systems._speaker_model import BackEndConfig
from jaxspk.systems._speaker_objectives import OBJECTIVES
from jaxspk.systems._speech import Speech

if TYPE_CHECKING:
    from jaxspk.systems._speaker_training import SpeakerTraining, TrainedEncoder

_CARD = """\
# Speaker encoder

Says who speaks: one vector of {dim} numbers a recording (`jaxspk embed`, `verify`, `who`, `jaxspk.SpeakerEncoder`).
Method: Chung et al., *In defence of metric learning for speaker recognition*, Interspeech 2020.

- Network: {network}, {pooling} pooling, {parameters:,} parameters; {bands} {kind} bands at {sample_rate} Hz;
  {normalize}.{back_end}
- Training: {date}, objective {objective}, {steps} steps of {speakers} x {utterances} crops of {seconds:g} s,
  {minutes:.0f} minutes, seed {seed}; the model of step {best_step}.
- Augmentation: {augment}.
- Speech: {speech}. Nobody is in two of these groups; the validation speakers chose the step and calibrate the scores.

Verification of the test speakers, every recording against every other one (no two of one session of a speaker),
cosine of whole recordings; EER with the 95 % interval of a bootstrap of speakers:

| trials | same | different | EER (%) | interval | minDCF 0.01 | minDCF 0.05 |
|---|---|---|---|---|---|---|
{rows}

{sources}
## What it is not for

A voice is not a fingerprint. Do not identify people without their consent, and do not decide about anybody by this
alone: the error rates above are those of read English, recorded near the microphone; emotion, illness, age, other
languages, telephones, noise and synthetic voices raise them. It detects no imitation and no played-back recording.
"""


def speaker_card(
    config: "SpeakerTraining",
    speech: Speech,
    trained: "TrainedEncoder",
    scores: Mapping[str, VerificationScores],
    *,
    sources: str = "",
) -> str:
    """The card as Markdown.

    Args:
      config: of the training.
      speech: who was trained on and tested with.
      trained: how the training went.
      scores: of the test speakers, by protocol.
      sources: a paragraph on the licences of the speech, where the weights are given away.
    """
    features, encoder, result = config.system.features, config.system.encoder, trained.result
    learned = jax.tree.leaves(nnx.state(trained.encoder.model, nnx.Param))
    return _CARD.format(
        dim=config.system.dim,
        network=encoder.network,
        pooling=encoder.pooling.upper(),
        parameters=sum(leaf.size for leaf in learned),
        bands=features.bands,
        kind=features.kind,
        normalize={
            "bands": "each band normalised over the recording",
            "recording": "all bands together normalised over the recording",
            "none": "nothing normalised",
        }[features.normalize],
        back_end=_back_end(config.system.back_end),
        sample_rate=features.mel.sample_rate,
        date=datetime.date.today().isoformat(),
        objective=OBJECTIVES[config.objective.loss].title,
        steps=result.step,
        speakers=config.batches.speakers,
        utterances=config.batches.utterances,
        seconds=config.batches.seconds,
        minutes=result.seconds / 60,
        seed=config.seed,
        best_step=result.best_step,
        augment=_augmentation(config),
        speech=speech.describe(),
        rows="\n".join(_rows(scores["whole"])),
        sources=f"{sources}\n" if sources else "",
    )


def _back_end(config: BackEndConfig | None) -> str:
    if config is None:
        return ""
    beside = ", beside it mean and deviation of each band," if config.statistics else ""
    return f"\n- Back end: the network's vector{beside} whitened within speakers, fitted to the training speakers."


def _rows(scores: VerificationScores) -> list[str]:
    rows = []
    for name, scored in scores.groups.items():
        summary = scored.summary
        interval = summary.eer_interval
        spread = "" if interval is None else f"{100 * interval.low:.1f} to {100 * interval.high:.1f}"
        costs = " | ".join(f"{summary.min_dcf[share]:.3f}" for share in (0.01, 0.05))
        rows.append(
            f"| {name} | {summary.targets} | {summary.nontargets} | {100 * summary.eer:.2f} | {spread} | {costs} |"
        )
    return rows


def _augmentation(config: "SpeakerTraining") -> str:
    augment, spec = config.augment, config.spec_augment
    parts = [
        f"{what} on {100 * share:.0f} % of the crops"
        for what, share in (
            ("a room", augment.room_share),
            ("noise", augment.noise_share),
            ("music", augment.music_share),
            ("other voices", augment.babble_share),
        )
        if share
    ]
    if augment.speeds:
        parts.append(f"each speaker at speeds {', '.join(f'{speed:g}' for speed in augment.speeds)} as more speakers")
    if spec.time_masks or spec.band_masks:
        parts.append("SpecAugment")
    return ", ".join(parts) or "none"
