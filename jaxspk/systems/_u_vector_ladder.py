"""A ladder of gains: from the paper's settings to what clusters best, one change a row, then variations of that."""

import dataclasses
from typing import Any

from jaxspk import audio
from jaxspk.audio import FrameFeatureConfig
from jaxspk.data import NoiseConfig, SegmentConfig
from jaxspk.systems._speaker_objectives import ObjectiveConfig
from jaxspk.systems._u_vector_experiment import UVectorExperiment
from jaxspk.systems._u_vector_grid import UVectorCell
from jaxspk.systems._u_vector_presets import cpu, with_twin, with_u_vector_budget
from jaxspk.systems._u_vector_speech import UVectorSpeech
from jaxspk.systems._u_vector_training import PairwiseConfig
from jaxspk.systems._u_vectors import FrameNetworkConfig

CHOSEN_RUNG, HELD_OUT_RUNG = "chosen", "held-out"
"""The row that the ladder comes to, and the same on speakers that are kept for testing."""

# Each takes one to two minutes of one core, but for the last rung, which takes more.
_DENSENET_STEPS, _PAIR_STEPS = 150, 900
_SHORTER = "dim-64"
_RECORDINGS = "no cannot-links within a recording, which is believed to be one speaker's"
_COMPACT = FrameNetworkConfig(dim=12, head="flatten", layers=(2, 2, 2), growth=8)


def u_vector_ladder(speech: UVectorSpeech | None = None) -> tuple[UVectorCell, ...]:
    """The rows, each of which names the one it differs from.

    Args:
      speech: whose recordings; of its fields those of the protocol are set by the rows.
    """
    best = cpu()
    speech = dataclasses.replace(speech or best.speech, hop_seconds=None, hold_out=0)
    pairs = PairwiseConfig(pairs=128, alpha=100.0)
    steps = best.training.fit.steps
    made = _training(dataclasses.replace(best, speech=speech), twin="pairwise", pairwise=pairs)
    made = _system(made, features=audio.paper_frame_features(), network=_COMPACT)
    made = with_u_vector_budget(made, steps=_DENSENET_STEPS)
    rungs = [("paper", made, "the paper's front end, loss, α and dimensions; a compact DenseNet with the paper's head")]
    made = _system(made, features=best.training.system.features)
    rungs.append(("log-mel", made, "64 log-mel bands, each frame standardised"))
    made = _network(made, head="pool")
    rungs.append(("pooled-head", made, "the head reads means of the last maps"))
    made = _pairwise(made, alpha=10.0, clip_must_link=False)
    rungs.append(("small-alpha", made, "α 10, and must-links beyond it are pulled too"))
    made = with_u_vector_budget(_system(made, network=_network_of(best, dim=12)), steps=_PAIR_STEPS)
    rungs.append(("statistics", made, "statistics of the bands over time and a hidden layer instead of the DenseNet"))
    made = _speech(made, hop_seconds=best.speech.hop_seconds)
    rungs.append(("overlap", made, "training frames begin every 0.05 s of a segment"))
    made = with_u_vector_budget(with_twin(made, "prototypical"), steps=steps // 2)
    rungs.append(("prototypical", made, "angular prototypical loss on four frames of nearly all pseudo-classes"))
    made = _network(made, dim=best.training.system.network.dim)
    rungs.append((_SHORTER, made, "64 dimensions instead of 12"))
    chosen = with_u_vector_budget(made, steps=steps)
    rungs.append((CHOSEN_RUNG, chosen, "twice as many steps"))
    cells = [
        UVectorCell(
            name=name,
            experiment=made,
            about=about,
            against=rungs[place - 1][0] if place else "",
            baselines=name == CHOSEN_RUNG,
        )
        for place, (name, made, about) in enumerate(rungs)
    ]
    by_name = {cell.name: cell.experiment for cell in cells}
    # Held against a training of half as many steps: all of them are to be affordable.
    for beyond, against, rows in (
        (False, _SHORTER, _variations(made)),
        (True, _SHORTER, _beyond(made)),
        # Of losses on whole classes, none knows which of them may be one speaker's.
        (True, "overlap", [("recordings", _speech(by_name["overlap"], apart="recording"), _RECORDINGS)]),
    ):
        cells += [
            UVectorCell(name=name, experiment=made, about=about, against=against, beyond=beyond, baselines=False)
            for name, made, about in rows
        ]
    return tuple(cells)


def held_out_cell(speech: UVectorSpeech | None = None) -> UVectorCell:
    """The chosen row on all speakers that are kept for testing and have at least half the segments asked for."""
    chosen = next(cell for cell in u_vector_ladder(speech) if cell.name == CHOSEN_RUNG).experiment
    asked = dataclasses.replace(chosen.speech, held_out=True, speakers=None, fewest=-(-chosen.speech.segments // 2))
    return UVectorCell(
        name=HELD_OUT_RUNG,
        experiment=dataclasses.replace(chosen, speech=asked),
        about="the chosen setting on the speakers kept for testing",
        against=CHOSEN_RUNG,
    )


def _variations(made: UVectorExperiment) -> list[tuple[str, UVectorExperiment, str]]:
    """A setting with one change."""
    half = SegmentConfig(frame_seconds=0.5, frames=2)
    fine = FrameFeatureConfig(n_fft=1024, window_length=512, num_mels=100, scale="htk")
    return [
        ("triplet", with_twin(made, "triplet"), "semi-hard triplet loss, margin 0.2"),
        ("ge2e", _objective(made, loss="ge2e_softmax"), "GE2E softmax loss"),
        ("linear", _network(made, units=0), "no hidden layer"),
        ("fine-mels", _system(made, features=fine), "100 mels of windows of 32 ms"),
        ("unscaled", _features(made, normalize=False), "frames not standardised"),
        ("no-noise", _noise(made, share=0.0), "no augmentation"),
        ("matched-noise", _noise(made, matched=True, most=0.3), "noise as loud as the frame, its share up to 0.3"),
        ("half-second", _system(made, segments=half), "frames of 0.5 s"),
        ("eight-frames", _classwise(made, classes=120, frames=8), "eight frames of half as many pseudo-classes"),
        ("small-batches", _classwise(made, classes=60), "a quarter of the pseudo-classes at a time"),
        (
            "stopped",
            _speech(made, hold_out=2),
            "two frames of each segment kept back, the step chosen by their link error",
        ),
    ]


def _beyond(made: UVectorExperiment) -> list[tuple[str, UVectorExperiment, str]]:
    """What the paper's method does not know or hear."""
    speech = dataclasses.replace(made.speech, protocol="as_released", hop_seconds=None)
    return [
        ("more-speech", _speech(made, more=True), "also trained on the unlabelled recordings of all other speakers"),
        ("as-released", dataclasses.replace(made, speech=speech), "groups dealt from a speaker's frames"),
    ]


def _network_of(made: UVectorExperiment, **fields: Any) -> FrameNetworkConfig:
    return dataclasses.replace(made.training.system.network, **fields)


def _training(made: UVectorExperiment, **fields: Any) -> UVectorExperiment:
    return dataclasses.replace(made, training=dataclasses.replace(made.training, **fields))


def _speech(made: UVectorExperiment, **fields: Any) -> UVectorExperiment:
    return dataclasses.replace(made, speech=dataclasses.replace(made.speech, **fields))


def _system(made: UVectorExperiment, **fields: Any) -> UVectorExperiment:
    return _training(made, system=dataclasses.replace(made.training.system, **fields))


def _features(made: UVectorExperiment, **fields: Any) -> UVectorExperiment:
    return _system(made, features=dataclasses.replace(made.training.system.features, **fields))


def _network(made: UVectorExperiment, **fields: Any) -> UVectorExperiment:
    return _system(made, network=dataclasses.replace(made.training.system.network, **fields))


def _pairwise(made: UVectorExperiment, **fields: Any) -> UVectorExperiment:
    pairwise: PairwiseConfig = dataclasses.replace(made.training.pairwise, **fields)
    return _training(made, pairwise=pairwise)


def _classwise(made: UVectorExperiment, **fields: Any) -> UVectorExperiment:
    return _training(made, classwise=dataclasses.replace(made.training.classwise, **fields))


def _objective(made: UVectorExperiment, **fields: Any) -> UVectorExperiment:
    objective: ObjectiveConfig = dataclasses.replace(made.training.classwise.objective, **fields)
    return _classwise(made, objective=objective)


def _noise(made: UVectorExperiment, **fields: Any) -> UVectorExperiment:
    noise: NoiseConfig = dataclasses.replace(made.training.noise, **fields)
    return _training(made, noise=noise)
