"""Cepstral frames of a recording, and which of them hold speech: the front end of frame-wise systems."""

import dataclasses
import functools
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int

from jaxspk import _checks
from jaxspk.audio._activity import voice_activity
from jaxspk.audio._features import MelConfig, mfcc
from jaxspk.errors import ArgumentError

_PAD_TO_SECONDS = 8.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class CepstraConfig:
    """MFCCs, their neighbours and the choice of frames. No readable source fixes any of it: all are our choices."""

    mel: MelConfig = dataclasses.field(default_factory=MelConfig)
    """Rate, window and filters; padded, so that frame t is centred on sample t times the hop."""
    pre_emphasis: float = 0.97
    """Coefficient of the difference that lifts high frequencies; 0 for none."""
    coefficients: int = 20
    """The last cepstral coefficient, counted from 1, that is kept."""
    first: int = 1
    """The first one; 0 takes the level too, which a microphone decides more than a voice."""
    lifter: float = 0.0
    """Of :func:`jaxspk.audio.mfcc`; 0 for none. Inputs are standardised afterwards, which takes most of it away."""
    offset: float = 1e-6
    """Added to the mel power before the logarithm, for waveforms of full scale 1."""
    normalize: Literal["none", "mean", "mean_variance"] = "none"
    """What is taken out of each coefficient over a recording's speech: nothing, its mean (the microphone, and with it
    the colour of the voice), or its deviation too."""
    context: int = 0
    """Frames before and as many behind that go into the network with each frame."""
    threshold_db: float = 30.0
    """Frames further below the loudest are taken for pauses and left out."""

    def __post_init__(self) -> None:
        if self.mel.padding == "none" or self.mel.n_fft % 2:
            raise ArgumentError("`mel` must be padded and have an even `n_fft`, so that frames are centred.")
        _checks.check_range("pre_emphasis", self.pre_emphasis, low=0.0, high=1.0)
        _checks.check_range("coefficients", self.coefficients, low=1, high=self.mel.num_mels - 1)
        _checks.check_range("first", self.first, low=0, high=self.coefficients)
        _checks.check_range("lifter", self.lifter, low=0.0)
        _checks.check_range("offset", self.offset, low=0.0, low_open=True)
        _checks.check_choice("normalize", self.normalize, ("none", "mean", "mean_variance"))
        _checks.check_range("context", self.context, low=0)
        _checks.check_range("threshold_db", self.threshold_db, low=0.0, low_open=True)

    @property
    def dim(self) -> int:
        """Coefficients of a frame."""
        return self.coefficients - self.first + 1

    @property
    def inputs(self) -> int:
        """Numbers that the network hears for a frame."""
        return self.dim * (2 * self.context + 1)

    @property
    def frame_seconds(self) -> float:
        """From one frame to the next."""
        return self.mel.hop_length / self.mel.sample_rate


class SpeechFrames(NamedTuple):
    """A recording as the front end sees it.

    Attributes:
      cepstra: of every frame, normalised as the configuration says.
      speech: which frames are not pauses, ascending; at least one.
    """

    cepstra: Float32[np.ndarray, "frames dim"]
    speech: Int[np.ndarray, " spoken"]

    def with_context(
        self, context: int, places: Int[np.ndarray, " chosen"] | None = None
    ) -> Float32[np.ndarray, "chosen inputs"]:
        """Speech frames with their neighbours side by side; beyond the ends, the first and last frame again.

        Args:
          context: neighbours on either side, pauses among them.
          places: numbers of frames; None takes all of ``speech``.
        """
        chosen = self.speech if places is None else places
        offsets = np.arange(-context, context + 1)
        around = np.clip(chosen[:, None] + offsets, 0, len(self.cepstra) - 1)
        return self.cepstra[around].reshape(len(chosen), -1)


def speech_frames(waveform: Float32[np.ndarray, " samples"], config: CepstraConfig) -> SpeechFrames:
    """Cepstra of a recording of any length, and its frames of speech.

    Args:
      waveform: at the rate of the configuration, longer than half a transform, not silent.
      config: names the features.
    """
    mel, border = config.mel, config.mel.n_fft // 2
    activity = voice_activity(
        waveform, threshold_db=config.threshold_db, frame_length=mel.window_length, hop_length=mel.hop_length
    )
    frames = 1 + len(waveform) // mel.hop_length
    if config.pre_emphasis:
        waveform = waveform - config.pre_emphasis * np.concatenate([waveform[1:2], waveform[:-1]])
    # Its own borders, then zeros, whose frames are cut off again: a few lengths only are compiled.
    padded = np.pad(waveform, border, mode="reflect" if mel.padding == "reflect" else "constant")
    padded = np.pad(padded, (0, -len(padded) % round(_PAD_TO_SECONDS * mel.sample_rate)))
    cepstra = np.asarray(_cepstra(padded.astype(np.float32), config))[:frames, config.first :]
    speech = np.flatnonzero(activity[:frames])
    return SpeechFrames(_normalized(cepstra, speech, config.normalize), speech)


def _normalized(
    cepstra: Float32[np.ndarray, "frames dim"], speech: Int[np.ndarray, " spoken"], how: str
) -> Float32[np.ndarray, "frames dim"]:
    if how == "none":
        return cepstra
    spoken = cepstra[speech].astype(np.float64)
    moved: np.ndarray = cepstra - spoken.mean(0)
    if how == "mean_variance":
        moved /= np.maximum(spoken.std(0), 1e-3)
    return moved.astype(np.float32)


@functools.partial(jax.jit, static_argnums=1)
def _cepstra(waveform: Float[Array, " padded"], config: CepstraConfig) -> Float[Array, "frames coefficients"]:
    mel = dataclasses.replace(config.mel, padding="none")
    return mfcc(
        jnp.asarray(waveform),
        mel,
        num_coefficients=config.coefficients + 1,
        lifter=config.lifter,
        offset=config.offset,
    )
