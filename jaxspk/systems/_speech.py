"""Which speech an experiment runs on, and how its speakers are divided; the same for every system."""

import dataclasses
import os
from pathlib import Path

from jaxspk import data
from jaxspk.data import Manifest
from jaxspk.errors import CorpusError
from jaxspk.training import may_change

DATA_VARIABLE = "JAXSPK_DATA"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpeechConfig:
    """Where the speech is, and who is kept for validation and testing."""

    path: Path | None = may_change(None)
    """Folder or table of recordings; without it the folder that JAXSPK_DATA names, else synthetic voices."""
    layout: str = "auto"
    """How the recordings are laid out; `jaxspk corpus PATH` says what "auto" finds."""
    synthetic: bool = False
    """Take synthetic voices even where JAXSPK_DATA is set."""
    corpus: str | None = None
    """Only the speakers of this corpus, where the table names several."""
    validation: float = 0.1
    """Share of the speakers kept for validation."""
    test: float = 0.15
    """Share of the speakers kept for testing, where the corpus does not hold out its own."""
    seed: int = 0
    """Decides who is kept for what, apart from the seed of the training."""


@dataclasses.dataclass(frozen=True)
class Speech:
    """Speech ready for an experiment: three groups of speakers, nobody in two of them."""

    name: str
    train: Manifest
    validation: Manifest
    test: Manifest
    held_out_by_corpus: bool
    """Whether the corpus names its test speakers itself."""

    def describe(self) -> str:
        """One line: what there is, and what was held out."""
        counts = ", ".join(
            f"{len(part.speakers)} speakers for {name} ({part.seconds / 60:.1f} min)"
            for name, part in (
                ("training", self.train),
                ("validation", self.validation),
                ("testing", self.test),
            )
        )
        return f"{self.name}: {counts}"


def sounds_folder(speech: SpeechConfig, named: Path | None = None) -> Path:
    """The folder that holds `noise` and `rir`: the one that is named, else that of the speech.

    Args:
      speech: where the speech is; of a table, its folder counts.
      named: another folder.

    Raises:
      CorpusError: no folder is named at all.
    """
    folder = named or speech.path or (None if speech.synthetic else os.environ.get(DATA_VARIABLE))
    if folder is None:
        raise CorpusError("noise is asked for and no folder of it is known: name the one that holds `noise` and `rir`.")
    folder = Path(folder).expanduser()
    return folder.parent if folder.is_file() else folder


def load_speech(config: SpeechConfig) -> Speech:
    """Finds the speech and divides its speakers.

    Raises:
      CorpusError: there is no usable speech, or too few speakers.
      MissingExtraError: synthetic voices are needed and the extra is not installed.
    """
    named = config.path or (None if config.synthetic else os.environ.get(DATA_VARIABLE))
    if named is None:
        manifest, name = data.synthetic_corpus(), "synthetic voices"
    else:
        manifest, name = data.read_corpus(Path(named), config.layout).manifest, Path(named).name
    if config.corpus is not None:
        manifest, name = manifest.where(corpus=config.corpus), config.corpus
    held_out = "test" in manifest.splits.values()
    fractions = {
        "train": 1 - config.validation - config.test,
        "validation": config.validation,
        "test": config.test,
    }
    parts = data.split_speakers(manifest, fractions, seed=config.seed)
    return Speech(name, parts["train"], parts["validation"], parts["test"], held_out)
