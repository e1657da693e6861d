"""Every objective on one network and one budget, trained with several seeds and tested on the same trials.

Run again, it repeats nothing: a cell (an objective and a seed) that is trained and tested is passed over, a killed
training goes on.

::

    FOLDER/comparison.json                         the speech, and what all cells have in common
    FOLDER/<objective>/seed<k>/                    the run directory of a cell, with model/
    FOLDER/<objective>/seed<k>/results/cell.json   how it was trained, and its errors
    FOLDER/<baseline>/seed<k>/results/cell.json    the errors of what needs no training
"""

import dataclasses
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import jax
from flax import nnx

from jaxspk import _checks, metrics
from jaxspk.data import Manifest
from jaxspk.systems._beside_weights import weights_sha256
from jaxspk.systems._records import digest, read_record, write_record
from jaxspk.systems._speaker_card import speaker_card
from jaxspk.systems._speaker_encoder import SpeakerEncoder
from jaxspk.systems._speaker_evaluation import (
    POOLED,
    VerificationScores,
    cepstral_baseline,
    evaluate_verification,
    summary_rows,
)
from jaxspk.systems._speaker_experiment import calibrate_encoder, calibrated_ratios
from jaxspk.systems._speaker_model import SpeakerModel, save_speaker_model
from jaxspk.systems._speaker_objectives import OBJECTIVES, ObjectiveName
from jaxspk.systems._speaker_training import SpeakerTraining, TrainedEncoder, train_speaker_encoder
from jaxspk.systems._speech import Speech, load_speech
from jaxspk.systems._verification import Protocol
from jaxspk.training import Run, config_to_dict

CEPSTRAL, UNTRAINED = "mfcc-statistics", "untrained"
"""Names of the baselines: mean and deviation of MFCCs, whitened on the test set; the network before any step."""

COMPARED = (CEPSTRAL, UNTRAINED, *OBJECTIVES)
"""Everything that is compared, in the order of a table."""

CELL_FILE, COMPARISON_FILE = "cell.json", "comparison.json"

_PROTOCOL: Protocol = "whole"

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class ComparisonResult:
    """What came of a cell, or of a baseline.

    Attributes:
      name: the objective or baseline, one of :data:`COMPARED`.
      seed: of the training; 0 for what has none.
      errors: by group of trials, what :func:`summary_rows` says of it.
      identification: closed-set accuracy, a fraction.
      record: all that :data:`CELL_FILE` says: steps, minutes, calibrated cost, and so on.
    """

    name: str
    seed: int
    errors: Mapping[str, Mapping[str, float]]
    identification: float
    record: Mapping[str, Any]


def cell_training(common: SpeakerTraining, objective: str, seed: int) -> SpeakerTraining:
    """The training of one cell.

    Every objective gets as many crops a step as the others. Of each speaker it takes as many utterances as ``common``
    says where it can, else as many as it needs; with two all of them hear the very same batches.

    Args:
      common: network, budget and batches of all cells.
      objective: a key of :data:`OBJECTIVES`.
      seed: of everything random.

    Raises:
      ArgumentError: no such objective.
    """
    _checks.check_choice("objective", objective, OBJECTIVES)
    traits, batches = OBJECTIVES[objective], common.batches
    utterances = max(batches.utterances, traits.fewest_utterances)
    if traits.exact_utterances:
        utterances = traits.fewest_utterances
    speakers = batches.speakers * batches.utterances // utterances
    return dataclasses.replace(
        common,
        objective=dataclasses.replace(common.objective, loss=cast(ObjectiveName, objective)),
        batches=dataclasses.replace(batches, speakers=speakers, utterances=utterances),
        seed=seed,
    )


def run_comparison(
    common: SpeakerTraining,
    folder: Path | str,
    *,
    only: Sequence[str] = (),
    seeds: Sequence[int] = (0, 1, 2),
    progress: bool = True,
    say: Say = lambda line: None,
) -> None:
    """Trains and tests what is not done yet; :func:`read_comparison` reads the results.

    Args:
      common: network, budget, speech and batches of all cells; its own objective and seed do not count.
      folder: of the comparison.
      only: names out of :data:`COMPARED`; none runs all.
      seeds: of the trainings. All objectives are trained with the first before any is with the second.
      progress: show a bar on a terminal, lines elsewhere.
      say: told, in a line each, what is being done.

    Raises:
      ArgumentError: a name is unknown.
      CheckpointError: a cell's folder holds a training with other settings.
      JaxspkError: see :func:`load_speech` and :func:`train_speaker_encoder`.
    """
    for name in only:
        _checks.check_choice("only", name, COMPARED)
    names = [name for name in COMPARED if not only or name in only]
    folder, speech = Path(folder), load_speech(common.data)
    say(speech.describe())
    described = {
        "speech": speech.describe(),
        "tested": _fingerprint(speech.test),
        "training": config_to_dict(common),
    }
    for place, seed in enumerate(dict.fromkeys(seeds)):
        for name in names:
            if name in OBJECTIVES:
                _run_cell(cell_training(common, name, seed), speech, cell_place(folder, name, seed), progress, say)
            elif name == UNTRAINED or not place:
                seed_of = seed if name == UNTRAINED else 0
                _run_baseline(name, common, seed_of, speech, cell_place(folder, name, seed_of), say)
            # Not before: a cell that refuses other settings leaves the description of those it has.
            write_record(folder / COMPARISON_FILE, described)


def read_comparison(folder: Path | str) -> list[ComparisonResult]:
    """The results in a comparison's folder, complete or not, in the order of :data:`COMPARED`, then of seeds.

    Raises:
      CheckpointError: a record is damaged.
    """
    results = []
    for name in COMPARED:
        files = Path(folder).glob(f"{name}/seed*/results/{CELL_FILE}")
        for seed, file in sorted((int(file.parent.parent.name.removeprefix("seed")), file) for file in files):
            record = read_record(file)
            errors = {
                row["trials"]: {key: float(value) for key, value in row.items() if isinstance(value, int | float)}
                for row in record["errors"]
            }
            results.append(ComparisonResult(name, seed, errors, record["identification"], record))
    return results


def cell_place(folder: Path, name: str, seed: int) -> Path:
    """Where the training of a cell lives."""
    return folder / name / f"seed{seed}"


# --- Cells. ---


def _run_cell(asked: SpeakerTraining, speech: Speech, place: Path, progress: bool, say: Say) -> None:
    title = f"{asked.objective.loss}, seed {asked.seed}"
    tested = _fingerprint(speech.test)
    with Run(place, asked) as run:
        file = run.results / CELL_FILE
        record = read_record(file) if file.is_file() else None
        if record is not None and _is_complete(record, asked):
            if record["tested"] == tested and record["weights"] == weights_sha256(place / "model"):
                say(f"{title}: done")
                return
            say(f"{title}: testing again")
            encoder = SpeakerEncoder.load(place / "model")
            write_record(file, record | _tested(encoder, speech) | {"weights": record["weights"]})
            return
        say(f"{title}: training")
        trained = train_speaker_encoder(asked, speech, run, progress=progress)
        scores = evaluate_verification(trained.encoder, speech.test, protocol=_PROTOCOL, resamples=0)
        card = speaker_card(asked, speech, trained, {_PROTOCOL: scores})
        save_speaker_model(place / "model", trained.encoder.config, trained.encoder.model, card=card)
        weights = {"weights": weights_sha256(place / "model")}
        write_record(file, _trained(asked, trained) | _measured(scores, trained.encoder, speech) | weights)
        if trained.result.stopped != "time budget":
            # Nothing can go on from here any more, and a comparison has many.
            shutil.rmtree(run.checkpoints, ignore_errors=True)


def _run_baseline(name: str, common: SpeakerTraining, seed: int, speech: Speech, place: Path, say: Say) -> None:
    file = place / "results" / CELL_FILE
    title = f"{name}, seed {seed}" if name == UNTRAINED else name
    asked = digest(_fingerprint(speech.test), *([config_to_dict(common.system), seed] if name == UNTRAINED else []))
    if file.is_file() and read_record(file).get("asked") == asked:
        say(f"{title}: done")
        return
    say(f"{title}: testing")
    if name == UNTRAINED:
        encoder = SpeakerEncoder(common.system, SpeakerModel(common.system, rngs=nnx.Rngs(seed)))
        measured = _tested(encoder, speech)
    else:
        measured = _measured(cepstral_baseline(speech.test, resamples=0), None, speech)
    write_record(file, measured | {"asked": asked})


def _trained(asked: SpeakerTraining, trained: TrainedEncoder) -> dict[str, Any]:
    """How a training went."""
    result, encoder = trained.result, trained.encoder
    return {
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(nnx.state(encoder.model, nnx.Param))),
        "speakers": asked.batches.speakers,
        "utterances": asked.batches.utterances,
        "classes": len(trained.classes),
        "steps": result.step,
        "minutes": result.seconds / 60,
        "stopped": result.stopped,
        "max_minutes": asked.fit.max_minutes,
        "best_step": result.best_step,
        "validation_eer": result.best_score,
        "skipped_steps": result.skipped,
        "data_wait_share": result.data_wait_share,
    }


def _tested(encoder: SpeakerEncoder, speech: Speech) -> dict[str, Any]:
    scores = evaluate_verification(encoder, speech.test, protocol=_PROTOCOL, resamples=0)
    return _measured(scores, encoder, speech)


def _measured(scores: VerificationScores, encoder: SpeakerEncoder | None, speech: Speech) -> dict[str, Any]:
    """The errors on the test speakers, and what calibration by the validation speakers makes of their scores."""
    rules = () if encoder is None else calibrate_encoder(encoder, speech.validation, protocols=(_PROTOCOL,))
    ratios = calibrated_ratios(rules, scores, protocol=_PROTOCOL)
    labels = scores.groups[POOLED].group.labels
    return {
        "errors": list(summary_rows(scores)),
        "identification": scores.identification,
        "calibrated_cllr": None if ratios is None else metrics.cllr(ratios, labels),
        "tested": _fingerprint(speech.test),
    }


def _is_complete(record: Mapping[str, Any], asked: SpeakerTraining) -> bool:
    """Whether there is nothing left to train: by its steps or patience, or there is no more time than it had."""
    if record["stopped"] != "time budget":
        return True
    now, then = asked.fit.max_minutes, record["max_minutes"]
    return now is not None and then is not None and now <= then


def _fingerprint(manifest: Manifest) -> str:
    """Of who said what, wherever it lies."""
    root = os.path.commonpath([utterance.path.parent for utterance in manifest])
    return digest([[u.speaker, os.path.relpath(u.path, root), round(u.seconds, 3)] for u in manifest])
