"""The model card of a separator: what somebody who is given the weights should know."""

import datetime
from collections.abc import Sequence

from jaxspk.systems._deep_clustering import DeepClusteringModel
from jaxspk.systems._separation_scores import SeparationScore, summarize_separation
from jaxspk.systems._separation_training import SeparationTraining
from jaxspk.systems._speech import Speech
from jaxspk.training import FitResult

_CARD = """\
# Deep clustering separator

Separates the voices of a one-microphone recording (`jaxspk separate`, `jaxspk.Separator`). Method: Hershey, Chen,
Le Roux, Watanabe, *Deep clustering: discriminative embeddings for segmentation and separation*, ICASSP 2016.

- Network: {layers} bidirectional LSTM layers of {units} cells a direction, {dim}-dimensional embeddings
  ({activation}); {sample_rate} Hz, windows of {n_fft} samples, hop {hop_length}.
- Training: {date}, {steps} steps, {minutes:.0f} minutes, on mixtures of {speakers} speakers made on the fly,
  seed {seed}; the model of step {best_step} of the last stage.
- Speech: {speech}. Nobody is in two of these groups.
- Input: log magnitudes floored {floor_db:g} dB below the maximum, normalised by {normalization}; bins within
  {active_db:g} dB of the loudest shape the clusters.

SDR improvement (BSS-eval, dB) on mixtures of test speakers, mean ± its standard error:

| genders | mixtures | input SDR | improvement | ideal binary mask |
|---|---|---|---|---|
{rows}
{sources}
## What it is not for

Do not separate or identify people's voices without their consent. The result is an estimate: parts of a voice may
be missing, belong to somebody else, or be artefacts. It supports no forensic claim about who said what. It was
measured on the speech named above only, two voices at a time: noise, music, far microphones and other languages
are untested.
"""

_ROW = "| {0.group} | {0.mixtures} | {0.input:.2f} | {0.improvement:.2f} ± {0.standard_error:.2f} | {0.ideal:.2f} |"


def separation_card(
    config: SeparationTraining,
    speech: Speech,
    stages: Sequence[FitResult[DeepClusteringModel]],
    scores: Sequence[SeparationScore],
    *,
    sources: str = "",
) -> str:
    """The card as Markdown.

    Args:
      config: of the training.
      speech: who was trained on and tested with.
      stages: how the training went.
      scores: of the test mixtures.
      sources: a paragraph on the licences of the speech, where the weights are given away.
    """
    network, features = config.system.network, config.system.features
    return _CARD.format(
        layers=network.layers,
        units=network.units,
        dim=network.dim,
        activation=network.activation,
        sample_rate=features.sample_rate,
        n_fft=features.n_fft,
        hop_length=features.hop_length,
        floor_db=features.floor_db,
        normalization=features.normalization,
        active_db=config.system.inference.active_db,
        date=datetime.date.today().isoformat(),
        steps=" + ".join(str(stage.step) for stage in stages),
        minutes=sum(stage.seconds for stage in stages) / 60,
        speakers=config.mixtures.speakers,
        seed=config.seed,
        best_step=stages[-1].best_step,
        speech=speech.describe(),
        rows="\n".join(_ROW.format(group) for group in summarize_separation(scores)),
        sources=f"\n{sources}\n" if sources else "",
    )
