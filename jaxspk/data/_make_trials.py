"""All recordings of a manifest against all others, as trials."""

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from jaxspk import _checks
from jaxspk.data._manifest import Manifest
from jaxspk.data._tables import relative_name
from jaxspk.data._trials import Trials
from jaxspk.errors import CorpusError


class ManifestTrials(NamedTuple):
    """Pairs of utterances of a manifest, by their places in it."""

    enrol: Int[np.ndarray, " trials"]
    test: Int[np.ndarray, " trials"]
    labels: Bool[np.ndarray, " trials"]
    """Whether both are of one speaker."""


def make_trials(
    manifest: Manifest,
    *,
    sessions: Literal["across", "any"] = "across",
    same_sex_only: bool = False,
    corpora: Literal["pooled", "within"] = "pooled",
) -> ManifestTrials:
    """Every pair of utterances, once.

    Args:
      manifest: the utterances.
      sessions: "across" leaves out pairs of one speaker within one session (a chapter of LibriSpeech, a video of
        VoxCeleb): they share microphone, room and day, which is easier to hear than the voice. Utterances without a
        session are no two of one. "any" takes those pairs, too.
      same_sex_only: leave out pairs of a woman and a man, which are easy, and speakers whose gender is not known.
      corpora: "pooled" also compares speakers of different corpora; "within" does not.

    Returns:
      Trials in order of the first utterance, then the second, which comes later in the manifest.

    Raises:
      ArgumentError: no such choice.
      CorpusError: no trial of the same speaker is left, or none of different ones.

    Note:
      Memory grows with the square of the number of utterances, about 20 bytes a pair.
    """
    _checks.check_choice("sessions", sessions, ("across", "any"))
    _checks.check_choice("corpora", corpora, ("pooled", "within"))
    utterances = manifest.utterances
    speakers = _numbers([utterance.speaker for utterance in utterances])
    enrol, test = (side.astype(np.int32) for side in np.triu_indices(len(utterances), k=1))
    labels = speakers[enrol] == speakers[test]
    keep = np.ones(len(labels), bool)
    if sessions == "across":
        # Who has no session has one of their own a file.
        names = [u.session if u.session is not None else f"\0{place}" for place, u in enumerate(utterances)]
        session = _numbers(names)
        keep &= ~(labels & (session[enrol] == session[test]))
    if same_sex_only:
        gender = np.array([{"F": 0, "M": 1, None: -1}[utterance.gender] for utterance in utterances])
        keep &= (gender[enrol] == gender[test]) & (gender[enrol] >= 0)
    if corpora == "within":
        corpus = _numbers([utterance.corpus or "" for utterance in utterances])
        keep &= corpus[enrol] == corpus[test]
    trials = ManifestTrials(enrol[keep], test[keep], labels[keep])
    if trials.labels.all() or not trials.labels.any():
        lacking = "different speakers" if trials.labels.any() else "the same speaker"
        across = ' (sessions="any" also takes pairs of one session)' if sessions == "across" else ""
        raise CorpusError(f"no trial of {lacking} is left among {len(utterances)} utterances{across}.")
    return trials


def name_trials(trials: ManifestTrials, manifest: Manifest, *, root: Path | str | None = None) -> Trials:
    """The same trials with the files named, for :func:`~jaxspk.data.write_trials`.

    Args:
      trials: of this manifest.
      manifest: the utterances.
      root: name files below this folder relative to it.
    """
    names = [str(u.path) if root is None else relative_name(u.path, Path(root)) for u in manifest.utterances]
    return Trials(
        tuple(names[i] for i in trials.enrol.tolist()), tuple(names[i] for i in trials.test.tolist()), trials.labels
    )


def _numbers(names: list[str]) -> Int[np.ndarray, " utterances"]:
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int32)
