"""Speech as a regularized siamese network hears it: cepstra of three groups of speakers, and what they measure."""

import dataclasses
from collections.abc import Iterator, Sequence

import jax.numpy as jnp
import numpy as np

from jaxspk import audio, data
from jaxspk.audio import CepstraConfig
from jaxspk.data import Manifest, Recordings, SpokenRecording
from jaxspk.systems._regularized_siamese import SiameseEncoder, SiameseModel, summarize_codes, summary_basis
from jaxspk.systems._speech import Speech


@dataclasses.dataclass(frozen=True, eq=False)
class PreparedSpeech:
    """Speech as the front end sees it, which several trainings may share.

    Attributes:
      train: recordings of training speakers, at all speeds; each at its own speed before its others.
      validation: of validation speakers.
      test: of test speakers, in the order of the manifest.
    """

    train: tuple[SpokenRecording, ...]
    validation: tuple[SpokenRecording, ...]
    test: tuple[SpokenRecording, ...]

    @classmethod
    def of(cls, speech: Speech, features: CepstraConfig, *, speeds: Sequence[float] = ()) -> "PreparedSpeech":
        """All three groups of speakers, the training speakers' at other speeds too.

        Raises:
          CorpusError: a held-out speaker is among those to train on.
          AudioError: a recording cannot be used.
        """
        data.refuse_held_out(speech.train.where(split="test").speakers, "this manifest")
        recordings = Recordings(features.mel.sample_rate)
        return cls(
            tuple(spoken_recordings(speech.train, features, recordings=recordings, speeds=speeds)),
            tuple(spoken_recordings(speech.validation, features, recordings=recordings)),
            tuple(spoken_recordings(speech.test, features, recordings=recordings)),
        )

    @property
    def unchanged(self) -> tuple[SpokenRecording, ...]:
        """Training recordings at their own speed, by which vectors are standardised."""
        return tuple(one for one in self.train if not one.changed)


def spoken_recordings(
    manifest: Manifest,
    features: CepstraConfig,
    *,
    recordings: Recordings | None = None,
    speeds: Sequence[float] = (),
) -> Iterator[SpokenRecording]:
    """Cepstra of every recording, in order; after each, of itself played at other speeds, by other speakers.

    Args:
      manifest: the recordings.
      features: names the front end.
      recordings: where samples come from.
      speeds: other than 1.

    Raises:
      AudioError: a recording cannot be used.
    """
    recordings = recordings or Recordings(features.mel.sample_rate)
    for utterance in manifest:
        waveform = recordings.waveform(utterance.path)
        yield SpokenRecording(utterance.speaker, audio.speech_frames(waveform, features))
        for speed in speeds:
            played = data.change_speed(waveform, speed, features.mel.sample_rate)
            yield SpokenRecording(f"{utterance.speaker}@{speed:g}", audio.speech_frames(played, features), changed=True)


def measure_inputs(model: SiameseModel, recordings: Sequence[SpokenRecording], context: int) -> None:
    """Mean and deviation of each input over all frames of speech, put into the model."""
    total, squares, count = 0.0, 0.0, 0
    for one in recordings:
        rows = one.frames.with_context(context).astype(np.float64)
        total, squares, count = total + rows.sum(0), squares + np.square(rows).sum(0), count + len(rows)
    mean = np.asarray(total / count)
    deviation = np.sqrt(np.maximum(squares / count - np.square(mean), 1e-6))
    model.input_mean[...] = jnp.asarray(mean, jnp.float32)
    model.input_deviation[...] = jnp.asarray(deviation, jnp.float32)


def measure_vectors(encoder: SiameseEncoder, recordings: Sequence[SpokenRecording]) -> None:
    """The map from summaries of recordings to vectors, put into the encoder's model."""
    config = encoder.config
    summaries = np.stack(
        [summarize_codes(encoder.codes_of(one.frames)[:, : config.speaker_units], config.summary) for one in recordings]
    )
    mean, basis = summary_basis(summaries, config.dim, config.whitening)
    encoder.model.summary_mean[...] = jnp.asarray(mean, jnp.float32)
    encoder.model.summary_map[...] = jnp.asarray(basis, jnp.float32)
