"""Variants of one training of a regularized siamese network, each with one thing changed, on the same speech.

Run again, it repeats nothing: a variant and seed that is trained and tested is passed over, a killed training goes on.

::

    FOLDER/variants.json                       the speech, and what all variants have in common
    FOLDER/<variant>/seed<k>/                  the run directory of a cell, with model/
    FOLDER/<variant>/seed<k>/results/cell.json how it was trained, and its errors
"""

import dataclasses
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxspk import _checks
from jaxspk.errors import TrainingError
from jaxspk.systems._beside_weights import weights_sha256
from jaxspk.systems._records import digest, read_record, write_record
from jaxspk.systems._regularized_siamese import save_siamese
from jaxspk.systems._separation_grid import cell_folder
from jaxspk.systems._siamese_card import siamese_card
from jaxspk.systems._siamese_evaluation import CONTROL, NETWORK, ComparedScores, encoder_scores
from jaxspk.systems._siamese_speech import PreparedSpeech
from jaxspk.systems._siamese_training import SiameseTraining, TrainedSiamese, train_siamese
from jaxspk.systems._speaker_evaluation import VerificationScores, summary_rows
from jaxspk.systems._speech import Speech, load_speech
from jaxspk.training import Run, config_to_dict

VARIANTS_FILE, CELL_FILE = "variants.json", "cell.json"
CHOSEN = "chosen"
"""The variant with nothing changed."""

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class SiameseVariant:
    """One thing changed.

    Attributes:
      about: what, in words.
      change: makes the training of it.
    """

    about: str
    change: Callable[[SiameseTraining], SiameseTraining]


def _system(**changes: Any) -> Callable[[SiameseTraining], SiameseTraining]:
    return lambda common: dataclasses.replace(common, system=dataclasses.replace(common.system, **changes))


def _training(**changes: Any) -> Callable[[SiameseTraining], SiameseTraining]:
    return lambda common: dataclasses.replace(common, **changes)


def _tolerance(times: float) -> Callable[[SiameseTraining], SiameseTraining]:
    return lambda common: dataclasses.replace(common, lambda_factor=times * common.lambda_factor)


def _units(times: float) -> Callable[[SiameseTraining], SiameseTraining]:
    return lambda common: _system(speaker_units=max(1, round(times * common.system.speaker_units)))(common)


def _frames(times: float) -> Callable[[SiameseTraining], SiameseTraining]:
    def change(common: SiameseTraining) -> SiameseTraining:
        """As many frames in a batch as before."""
        pairs = max(2, 2 * round(common.pairs / times / 2))
        return dataclasses.replace(
            _system(segment_frames=round(times * common.system.segment_frames))(common),
            pairs=pairs,
            comparisons=min(common.comparisons, pairs),
        )

    return change


def _without_pretraining(common: SiameseTraining) -> SiameseTraining:
    return dataclasses.replace(common, pretraining=dataclasses.replace(common.pretraining, steps=0))


VARIANTS: Mapping[str, SiameseVariant] = {
    CHOSEN: SiameseVariant("nothing changed", lambda common: common),
    "autodiff": SiameseVariant("the gradient at the code layer by autodiff", _training(gradient="autodiff")),
    "no-pretraining": SiameseVariant("no pre-training", _without_pretraining),
    "alpha-0": SiameseVariant("α = 0: no reconstruction", _system(alpha=0.0)),
    "alpha-0.2": SiameseVariant("α = 0.2", _system(alpha=0.2)),
    "alpha-0.5": SiameseVariant("α = 0.5", _system(alpha=0.5)),
    "lambda-third": SiameseVariant("λ a third", _tolerance(1 / 3)),
    "lambda-triple": SiameseVariant("λ threefold", _tolerance(3.0)),
    "units-half": SiameseVariant("half as many speaker units, as large a code", _units(0.5)),
    "units-half-more": SiameseVariant("half as many again speaker units, as large a code", _units(1.5)),
    "frames-half": SiameseVariant("segments half as long, twice as many", _frames(0.5)),
    "frames-double": SiameseVariant("segments twice as long, half as many", _frames(2.0)),
    "drawn-pairs": SiameseVariant("the drawn pairs alone are compared", _training(comparisons=1)),
    "tied": SiameseVariant("the decoder's matrices are the encoder's, transposed", _system(tied=True)),
}
"""Variants by name."""


@dataclasses.dataclass(frozen=True)
class VariantResult:
    """What came of a variant with one seed.

    Attributes:
      name: a key of :data:`VARIANTS`.
      seed: of the training.
      record: all that :data:`CELL_FILE` says: errors on the test speakers by group, of the speaker units and of the
        rest; validation, steps, minutes, tolerances, mean distances of pairs; or why the training stopped.
    """

    name: str
    seed: int
    record: Mapping[str, Any]

    @property
    def stopped(self) -> str | None:
        """Why there is no result: the alarm's words; None where there is one."""
        return self.record.get("alarm")


def run_siamese_variants(
    common: SiameseTraining,
    folder: Path | str,
    *,
    only: Sequence[str] = (),
    seeds: Sequence[int] = (0,),
    progress: bool = True,
    say: Say = lambda line: None,
) -> None:
    """Trains and tests what is not done yet; :func:`read_siamese_variants` reads the results.

    Args:
      common: what all variants have in common; its own seed does not count.
      folder: of the variants.
      only: names out of :data:`VARIANTS`; none runs all.
      seeds: of the trainings. All variants are trained with the first before any is with the second.
      progress: show a bar on a terminal, lines elsewhere.
      say: told, in a line each, what is being done.

    Raises:
      ArgumentError: a name is unknown.
      CheckpointError: a cell's folder holds a training with other settings.
      JaxspkError: see :func:`load_speech`.
    """
    for name in only:
        _checks.check_choice("only", name, VARIANTS)
    names = [name for name in VARIANTS if not only or name in only]
    folder, speech = Path(folder), load_speech(common.data)
    say(speech.describe())
    # One front end for all: no variant changes it.
    prepared = PreparedSpeech.of(speech, common.system.features, speeds=common.speeds)
    for seed in dict.fromkeys(seeds):
        for name in names:
            asked = dataclasses.replace(VARIANTS[name].change(common), seed=seed)
            _run_cell(name, asked, speech, prepared, cell_folder(folder, name, seed), progress, say)
            write_record(folder / VARIANTS_FILE, {"speech": speech.describe(), "training": config_to_dict(common)})


def read_siamese_variants(folder: Path | str) -> list[VariantResult]:
    """The results in a folder of variants, complete or not, in the order of :data:`VARIANTS`, then of seeds.

    Raises:
      CheckpointError: a record is damaged.
    """
    results = []
    for name in VARIANTS:
        files = Path(folder).glob(f"{name}/seed*/results/{CELL_FILE}")
        for seed, file in sorted((int(file.parent.parent.name.removeprefix("seed")), file) for file in files):
            results.append(VariantResult(name, seed, read_record(file)))
    return results


def _run_cell(
    name: str,
    asked: SiameseTraining,
    speech: Speech,
    prepared: PreparedSpeech,
    place: Path,
    progress: bool,
    say: Say,
) -> None:
    title = f"{name}, seed {asked.seed}"
    with Run(place, asked) as run:
        file = run.results / CELL_FILE
        if file.is_file() and _is_complete(read_record(file), asked):
            say(f"{title}: done")
            return
        say(f"{title}: training ({VARIANTS[name].about})")
        try:
            trained = train_siamese(asked, speech, run, prepared=prepared, progress=progress)
        except TrainingError as error:
            # An alarm is a result: that of the variant.
            say(f"{title}: {error}")
            write_record(file, {"about": VARIANTS[name].about, "alarm": str(error)})
            return
        say(f"{title}: testing")
        scores = encoder_scores(
            trained.encoder,
            speech.test,
            [one.frames for one in prepared.test],
            [one.frames for one in prepared.unchanged],
        )
        compared = [ComparedScores(f"by the {kind}", kind, of_kind) for kind, of_kind in scores.items()]
        card = siamese_card(asked, speech, trained, compared)
        save_siamese(place / "model", trained.encoder.config, trained.encoder.model, card=card)
        write_record(file, _record(name, asked, trained, scores, place))
        if trained.result.stopped != "time budget":
            # Nothing can go on from here any more, and there are many.
            shutil.rmtree(run.checkpoints, ignore_errors=True)


def _record(
    name: str,
    asked: SiameseTraining,
    trained: TrainedSiamese,
    scores: Mapping[str, VerificationScores],
    place: Path,
) -> dict[str, Any]:
    result = trained.result
    return {
        "about": VARIANTS[name].about,
        "steps": result.step,
        "minutes": result.seconds / 60,
        "stopped": result.stopped,
        "max_minutes": asked.fit.max_minutes,
        "best_step": result.best_step,
        "validation_eer": result.best_score,
        "skipped_steps": result.skipped,
        "lambda_mean": trained.tolerances.mean,
        "lambda_cov": trained.tolerances.covariance,
        "distances": {stage: distances.means() for stage, distances in trained.distances.items()},
        "errors": {kind: list(summary_rows(of_kind)) for kind, of_kind in scores.items()},
        "weights": weights_sha256(place / "model"),
        "asked": digest(config_to_dict(asked)),
    }


def _is_complete(record: Mapping[str, Any], asked: SiameseTraining) -> bool:
    """Whether there is nothing left to train: by its steps or patience, an alarm, or no more time than it had."""
    if "alarm" in record or record["stopped"] != "time budget":
        return True
    now, then = asked.fit.max_minutes, record["max_minutes"]
    return now is not None and then is not None and now <= then


def variant_error(result: VariantResult, group: str, *, control: bool = False) -> float | None:
    """Equal error rate of a group of trials, by the speaker units or the rest; None where there is none."""
    rows = result.record.get("errors", {}).get(CONTROL if control else NETWORK, ())
    return next((float(row["eer"]) for row in rows if row["trials"] == group), None)
