"""A fixed amount of speech of every speaker: the first segments of each, and no recording read beyond them."""

from collections.abc import Iterator

import numpy as np

from jaxspk import _checks
from jaxspk.data._manifest import Manifest, Utterance
from jaxspk.data._pipeline import refuse_held_out
from jaxspk.data._pseudo_labels import SpeakerTruth, first_of_each_speaker
from jaxspk.data._recordings import Recordings
from jaxspk.data._segments import (
    IntervalStatistics,
    SegmentConfig,
    Segments,
    cut_any_segments,
    interval_statistics,
    join_segments,
    speech_intervals,
)
from jaxspk.errors import AudioError, CorpusError


def cut_first_segments(
    manifest: Manifest,
    most: int,
    config: SegmentConfig | None = None,
    *,
    recordings: Recordings | None = None,
    allow_held_out: bool = False,
) -> tuple[Segments, SpeakerTruth]:
    """The first segments of every speaker of a corpus, and apart from them who speaks.

    Recordings are gone through in the manifest's order, those of a speaker only until there are enough, so that a
    large corpus takes no more time and memory than what is kept of it.

    Args:
      manifest: whose recordings to cut.
      most: segments of a speaker; there may be fewer, or none.
      config: how to cut.
      recordings: where samples come from.
      allow_held_out: as for :func:`jaxspk.data.cut_corpus`.

    Returns:
      Segments speaker by speaker, and the truth about them.

    Raises:
      CorpusError: a speaker is held out for testing, or no recording has a whole segment.
    """
    _checks.check_range("most", most, low=1)
    if not allow_held_out:
        refuse_held_out(manifest.where(split="test").speakers, "this manifest")
    config = config or SegmentConfig()
    recordings = recordings or Recordings(config.sample_rate)
    missing = dict.fromkeys(manifest.speakers, most)
    parts = [cut_any_segments([], config, recordings=recordings)]
    for utterances in _rounds(manifest, missing):
        cut = cut_any_segments([one.path for one in utterances], config, recordings=recordings, max_segments=most)
        for recording, count in enumerate(np.bincount(cut.recordings, minlength=len(utterances)).tolist()):
            missing[utterances[recording].speaker] -= count
        parts.append(cut)
    segments = join_segments(parts)
    if not len(segments):
        raise CorpusError(
            f"none of {len(segments.paths)} recordings has {config.frames * config.frame_seconds:g} s between two "
            f"pauses; give longer ones, or raise `threshold_db`."
        )
    truth = SpeakerTruth.of(segments, manifest)
    first = first_of_each_speaker(truth, most)
    by_speaker = first[np.argsort(truth.labels[first], kind="stable")]
    return segments.select(by_speaker), truth.select(by_speaker)


def corpus_statistics(
    manifest: Manifest, config: SegmentConfig | None = None, *, recordings: Recordings | None = None
) -> IntervalStatistics:
    """How long the stretches between pauses are in all recordings of a corpus, as in the paper's Table 2.

    Recordings that cannot be read are passed over.
    """
    config = config or SegmentConfig()
    recordings = recordings or Recordings(config.sample_rate)
    found = []
    for utterance in manifest:
        try:
            found.append(speech_intervals(recordings.waveform(utterance.path), config))
        except AudioError:
            continue
    return interval_statistics(found, config)


def _rounds(manifest: Manifest, missing: dict[str, int]) -> Iterator[list[Utterance]]:
    """The next recording of every speaker of whom something is missing, until nobody has one more."""
    by_speaker = manifest.by_speaker()
    for number in range(max(map(len, by_speaker.values()), default=0)):
        wanted = [own[number] for name, own in by_speaker.items() if number < len(own) and missing[name] > 0]
        if wanted:
            yield wanted
