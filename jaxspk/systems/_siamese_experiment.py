"""From a configuration to all that comes of it: network, scores beside baselines, probes, tables, in one run folder."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxspk import data, training
from jaxspk.audio import SpeechFrames
from jaxspk.systems._cepstral_baselines import BaselineConfig
from jaxspk.systems._regularized_siamese import save_siamese
from jaxspk.systems._siamese_card import siamese_card
from jaxspk.systems._siamese_evaluation import (
    ComparedScores,
    ProbeConfig,
    ProbeResult,
    compare_encoders,
    probe_code,
)
from jaxspk.systems._siamese_speech import PreparedSpeech
from jaxspk.systems._siamese_training import SiameseTraining, TrainedSiamese, train_siamese
from jaxspk.systems._speaker_evaluation import summary_rows
from jaxspk.systems._speaker_experiment import calibrate_encoder
from jaxspk.systems._speech import Speech, load_speech
from jaxspk.systems._verification import Verification, save_verification
from jaxspk.training import Run

SUMMARY_FILE, PROBES_FILE, DISTANCES_FILE = "summary.csv", "probes.csv", "distances.csv"

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class SiameseOutcome:
    """Everything that came of a run; reports are made of it.

    Attributes:
      folder: the run directory.
      config: what was asked for.
      speech: who was trained on, validated and tested with.
      trained: the network at three stages, and how its training went.
      compared: verification of the test speakers, by every encoder and baseline.
      probes: what the parts of the code carry.
      tested: what the front end makes of the test recordings.
      calibration: what scores mean, from trials of validation speakers; empty where there were too few.
      metrics: the lines of ``metrics.jsonl``.
    """

    folder: Path
    config: SiameseTraining
    speech: Speech
    trained: TrainedSiamese
    compared: tuple[ComparedScores, ...]
    probes: tuple[ProbeResult, ...]
    tested: tuple[SpeechFrames, ...]
    calibration: tuple[Verification, ...]
    metrics: tuple[Mapping[str, Any], ...]

    @property
    def model_folder(self) -> Path:
        """The model directory."""
        return self.folder / "model"


def run_siamese(
    config: SiameseTraining,
    workdir: Path | str,
    *,
    baselines: BaselineConfig | None = None,
    probe: ProbeConfig | None = None,
    progress: bool = True,
    say: Say = lambda line: None,
) -> SiameseOutcome:
    """Trains, calibrates, tests beside baselines and saves; goes on where a killed run stopped.

    Writes into ``workdir``: the files of :class:`jaxspk.training.Run`, the model directory ``model/`` with its
    calibration, and in ``results/`` the errors of every way to compare (``summary.csv``), the probes (``probes.csv``)
    and the distances of pairs of segments before and after (``distances.csv``).

    Args:
      config: what to do.
      workdir: the run directory; a new one, or that of a run with the same configuration.
      baselines: settings of the cepstral baselines.
      probe: settings of the probes.
      progress: show a bar on a terminal, lines elsewhere.
      say: told, in a line each, what is being done.

    Raises:
      JaxspkError: see :func:`load_speech`, :class:`jaxspk.training.Run` and :func:`train_siamese`.
    """
    with Run(workdir, config) as run:
        speech = load_speech(config.data)
        say(speech.describe())
        prepared = PreparedSpeech.of(speech, config.system.features, speeds=config.speeds)
        trained = train_siamese(config, speech, run, prepared=prepared, progress=progress)
        outcome = _tested(config, run.folder, speech, prepared, trained, baselines, probe, say)
        save_siamese_model(outcome, outcome.model_folder)
        _write_tables(outcome, run.results)
    return outcome


def save_siamese_model(
    outcome: SiameseOutcome, folder: Path, *, dtype: type[np.floating[Any]] = np.float32, sources: str = ""
) -> Path:
    """Writes the encoder with its card and calibration; ``dtype=np.float16`` halves it."""
    encoder = outcome.trained.encoder
    card = siamese_card(outcome.config, outcome.speech, outcome.trained, outcome.compared, sources=sources)
    save_siamese(folder, encoder.config, encoder.model, card=card, dtype=dtype)
    if outcome.calibration:
        save_verification(outcome.calibration, folder)
    return folder


def _tested(
    config: SiameseTraining,
    folder: Path,
    speech: Speech,
    prepared: PreparedSpeech,
    trained: TrainedSiamese,
    baselines: BaselineConfig | None,
    probe: ProbeConfig | None,
    say: Say,
) -> SiameseOutcome:
    tested, known = (tuple(one.frames for one in part) for part in (prepared.test, prepared.unchanged))
    say(f"comparing {len(speech.test)} recordings of {len(speech.test.speakers)} test speakers, all against all")
    encoders = {"untrained": trained.untrained, "pre-trained only": trained.pretrained, "trained": trained.encoder}
    compared = compare_encoders(encoders, speech.test, tested, known, baselines=baselines, say=say)
    probes = probe_code(trained.encoder, speech.test, tested, probe)
    calibration = calibrate_encoder(trained.encoder, speech.validation)
    return SiameseOutcome(
        folder, config, speech, trained, compared, probes, tested, calibration, tuple(training.read_metrics(folder))
    )


def _write_tables(outcome: SiameseOutcome, results: Path) -> None:
    rows = list(summary_table(outcome))
    data.write_table(results / SUMMARY_FILE, list(rows[0]), rows)
    probes = [dataclasses.asdict(probe) for probe in outcome.probes]
    data.write_table(results / PROBES_FILE, list(probes[0]), probes)
    distances = [
        {"stage": stage, "same_speaker": int(same), "d_mean": float(mean), "d_cov": float(covariance)}
        for stage, measured in outcome.trained.distances.items()
        for same, mean, covariance in zip(measured.same_speaker, measured.mean, measured.covariance, strict=True)
    ]
    data.write_table(results / DISTANCES_FILE, list(distances[0]), distances)


def summary_table(outcome: SiameseOutcome) -> Iterator[dict[str, str | int | float]]:
    """A row a way to compare and group of trials."""
    for one in outcome.compared:
        for row in summary_rows(one.scores):
            yield {"system": one.name, "kind": one.kind, **row}
