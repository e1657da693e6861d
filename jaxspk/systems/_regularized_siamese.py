"""The regularized siamese network: configuration, frames to codes, recordings to vectors, storage.

Chen and Salman, "Extracting speaker-specific information with a regularized siamese deep network", NIPS 2011: an
autoencoder of cepstral frames, some units of whose code are trained to have the same mean and covariance in two
segments of one speaker, and others in segments of two. Only the appendix of the paper could be read: every constant
here is a field, and every default this project's choice.
"""

import dataclasses
import functools
import math
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Float32, Float64

from jaxspk import _checks
from jaxspk.audio import CepstraConfig, SpeechFrames, speech_frames
from jaxspk.models import SiameseNetwork
from jaxspk.systems._recording_encoder import RecordingEncoder
from jaxspk.systems._storage import load_with_config, save_with_config

SYSTEM = "regularized_siamese"

Summary = Literal["mean", "mean_deviation"]

# Of codes between 0 and 1: means nearer to the ends, and smaller deviations, are not told apart.
_LEAST_MOMENT = 1e-3
# Frames in one run of the network, so that one program does for recordings of all lengths.
_FRAMES_AT_ONCE = 1024


@dataclasses.dataclass(frozen=True, kw_only=True)
class SiameseConfig:
    """Everything that makes a regularized siamese network what it is; saved beside its weights."""

    features: CepstraConfig = dataclasses.field(default_factory=CepstraConfig)
    """Cepstra, their neighbours, and the choice of speech."""
    segment_frames: int = 100
    """T_B: frames of speech in a segment, of which pairs are trained on; a second at the default hop."""
    hidden: tuple[int, ...] = (100,)
    """Units of the layers before the code."""
    code_units: int = 100
    """Units of the code; overcomplete, as the paper's abstract asks, where there are more than inputs."""
    speaker_units: int = 50
    """How many of them, the first, are to tell speakers apart; the rest learn from reconstruction alone."""
    tied: bool = False
    """Take the encoder's matrices, transposed, for the decoder."""
    alpha: float = 0.2
    """Weight of reconstruction in L = α [L_R(X_1) + L_R(X_2)] + (1 - α) L_D; 0 permits collapse, 1 is no more than an
    autoencoder."""
    lambda_mean: float | None = None
    """λ_m a unit compared (D_m grows with their number); None takes it from training pairs."""
    lambda_cov: float | None = None
    """λ_S a pair of units compared (D_S grows with their square); None takes it from training pairs."""
    contrast_units: int | None = None
    """Distances count as if so many units were compared, which keeps L_D's two terms in proportion however many
    there are: D_m times that over their number, D_S times its square. None takes them as they are, as the paper."""
    summary: Summary = "mean_deviation"
    """What of a recording's speaker codes becomes its vector; see :func:`summarize_codes`."""
    vector_dim: int = 200
    """Length of a vector at most: so many principal components of the summaries of training recordings are kept."""
    whitening: float = 0.5
    """How far these are made to vary alike: divided by their deviation to this power; 0 leaves them, 1 is all the way,
    which lifts what is noise. No speaker's name goes into it."""

    def __post_init__(self) -> None:
        _checks.check_range("segment_frames", self.segment_frames, low=2)
        _checks.check_range("code_units", self.code_units, low=1)
        _checks.check_range("speaker_units", self.speaker_units, low=1, high=self.code_units)
        _checks.check_range("alpha", self.alpha, low=0.0, high=1.0)
        for name in ("lambda_mean", "lambda_cov"):
            if getattr(self, name) is not None:
                _checks.check_range(name, getattr(self, name), low=0.0, low_open=True)
        if self.contrast_units is not None:
            _checks.check_range("contrast_units", self.contrast_units, low=1)
        _checks.check_choice("summary", self.summary, ("mean", "mean_deviation"))
        _checks.check_range("vector_dim", self.vector_dim, low=1)
        _checks.check_range("whitening", self.whitening, low=0.0, high=1.0)

    @property
    def units(self) -> tuple[int, ...]:
        """Of each encoder layer, the code layer last."""
        return (*self.hidden, self.code_units)

    @property
    def compared_units(self) -> int:
        """As how many units the distances count."""
        return self.contrast_units or self.speaker_units

    @property
    def contrast_scale(self) -> float:
        """What D_m is multiplied by, and D_S by its square."""
        return self.compared_units / self.speaker_units

    @property
    def summary_dim(self) -> int:
        """Numbers that sum a recording up."""
        return self.speaker_units * (2 if self.summary == "mean_deviation" else 1)

    @property
    def dim(self) -> int:
        """Length of a recording's vector."""
        return min(self.vector_dim, self.summary_dim)


class Fitted(nnx.Variable[Any]):
    """What is measured on training speech and not learned by gradients."""


class SiameseModel(nnx.Module):
    """The network between frames as the front end gives them and codes.

    Attributes:
      network: the autoencoder.
      input_mean: of each input, over training speech.
      input_deviation: likewise; inputs come to the network with mean 0 and deviation 1.
      summary_mean: of each number of a training recording's summary.
      summary_map: from summaries less their mean to vectors, which are then scaled to unit length.
    """

    def __init__(self, config: SiameseConfig, *, rngs: nnx.Rngs) -> None:
        """Draws the weights; what is measured changes nothing yet."""
        inputs = config.features.inputs
        self.network = SiameseNetwork(inputs, config.units, tied=config.tied, rngs=rngs)
        self.input_mean, self.input_deviation = Fitted(jnp.zeros(inputs)), Fitted(jnp.ones(inputs))
        self.summary_mean = Fitted(jnp.zeros(config.summary_dim))
        self.summary_map = Fitted(jnp.eye(config.summary_dim, config.dim))

    def standardized(self, frames: Float[Array, "*batch inputs"]) -> Float[Array, "*batch inputs"]:
        """What the network hears."""
        return (frames - self.input_mean[...]) / self.input_deviation[...]

    def __call__(self, frames: Float[Array, "*batch inputs"]) -> Float[Array, "*batch units"]:
        """Codes of frames with their neighbours, as the front end gives them."""
        return self.network.encode(self.standardized(frames))


class TimedCodes(NamedTuple):
    """Codes of a recording's speech, and where it is.

    Attributes:
      codes: between 0 and 1, the speaker units first.
      seconds: the middle of each frame.
    """

    codes: Float32[np.ndarray, "frames units"]
    seconds: Float64[np.ndarray, " frames"]


@dataclasses.dataclass(frozen=True)
class SiameseEncoder(RecordingEncoder):
    """Frame by frame, what of a voice is the speaker's; and one vector a recording.

    Attributes:
      config: what the network was trained with.
      model: the network.

    Example:
      >>> encoder = SiameseEncoder.load("models/codes")  # doctest: +SKIP
      >>> codes = encoder.codes(waveform, sample_rate)  # doctest: +SKIP
      >>> of_the_speaker = codes[:, : encoder.config.speaker_units]  # doctest: +SKIP
    """

    config: SiameseConfig
    model: SiameseModel

    @classmethod
    def load(cls, path: str | Path) -> "SiameseEncoder":
        """Reads a model directory.

        Raises:
          ModelError: the directory is missing, damaged or holds another system's model.
        """
        return cls(*load_siamese(path))

    @property
    def sample_rate(self) -> int:
        """In Hz, of what the network hears; recordings are resampled to it."""
        return self.config.features.mel.sample_rate

    @property
    def frame_seconds(self) -> float:
        """From one frame to the next, where no pause was left out between them."""
        return self.config.features.frame_seconds

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self.config.dim

    def codes(self, waveform: np.ndarray, sample_rate: int) -> Float32[np.ndarray, "frames units"]:
        """Codes of the frames of speech; the first ``config.speaker_units`` numbers of each are the speaker's.

        Args:
          waveform: ``[samples]``, floating, any level and length.
          sample_rate: in Hz.

        Raises:
          ArgumentError: a wrong shape, or a recording that is silent, too short, or holds values that are not finite.
        """
        return self.timed_codes(waveform, sample_rate).codes

    def timed_codes(self, waveform: np.ndarray, sample_rate: int) -> TimedCodes:
        """The same, with the time of each frame."""
        heard = speech_frames(self._heard(waveform, sample_rate), self.config.features)
        return TimedCodes(self.codes_of(heard), heard.speech * self.frame_seconds)

    def codes_of(self, frames: SpeechFrames) -> Float32[np.ndarray, "frames units"]:
        """Codes of what the front end made already."""
        graph, state = self._split
        rows = frames.with_context(self.config.features.context)
        made = [
            np.asarray(_codes(graph, state, _filled(rows[first : first + _FRAMES_AT_ONCE])))
            for first in range(0, len(rows), _FRAMES_AT_ONCE)
        ]
        return np.concatenate(made)[: len(rows)]

    def vector_of(self, codes: Float[np.ndarray, "frames units"]) -> Float32[np.ndarray, " dim"]:
        """The vector of a recording from its codes, of unit length."""
        summary = summarize_codes(codes[:, : self.config.speaker_units], self.config.summary)
        mapped = (summary - np.asarray(self.model.summary_mean[...])) @ np.asarray(self.model.summary_map[...])
        vector: np.ndarray = mapped / max(float(np.linalg.norm(mapped)), 1e-30)
        return vector.astype(np.float32)

    def _vectors(self, recordings: list[np.ndarray]) -> Float32[np.ndarray, "recordings dim"]:
        features = self.config.features
        return np.stack([self.vector_of(self.codes_of(speech_frames(heard, features))) for heard in recordings])

    @functools.cached_property
    def _split(self) -> tuple[Any, Any]:
        parts: tuple[Any, Any] = nnx.split(self.model)
        return parts


def summarize_codes(codes: Float[np.ndarray, "frames units"], summary: Summary) -> Float64[np.ndarray, " dim"]:
    r"""What a recording's codes are like, unit by unit, on scales without ends.

    Args:
      codes: between 0 and 1.
      summary: of each unit the log odds of its mean, :math:`\ln \mu / (1 - \mu)`, and with "mean_deviation" behind all
        of these the logarithms of the standard deviations.

    Note:
      Most units are near 0 or 1 most of the time. Here means of 0.02 and 0.04 differ as much as 0.4 and 0.57; in the
      cosine of the means themselves the former would not be seen.
    """
    codes = codes.astype(np.float64)
    mean = np.clip(codes.mean(0), _LEAST_MOMENT, 1 - _LEAST_MOMENT)
    odds = np.log(mean / (1 - mean))
    return odds if summary == "mean" else np.concatenate([odds, np.log(codes.std(0) + _LEAST_MOMENT)])


def summary_basis(
    summaries: Float[np.ndarray, "recordings numbers"], dim: int, whitening: float
) -> tuple[Float64[np.ndarray, " numbers"], Float64[np.ndarray, "numbers dim"]]:
    r"""Mean, and the map to principal components of which the strong do not drown the weak.

    Each number is brought to deviation 1; of what then are the principal components, with deviations :math:`s_k`, the
    first are kept and divided by :math:`s_k^w`.

    Args:
      summaries: of training recordings.
      dim: components to keep; where the recordings have fewer, the rest of the map is 0.
      whitening: :math:`w`.
    """
    mean, deviation = summaries.mean(0), np.maximum(summaries.std(0), 1e-6)
    _, sizes, directions = np.linalg.svd((summaries - mean) / deviation, full_matrices=False)
    kept = min(dim, int(np.sum(sizes > 1e-6 * max(float(sizes[0]), 1e-30))))
    scaled = directions[:kept].T * (sizes[:kept] / math.sqrt(len(summaries))) ** -whitening
    return mean, np.pad(scaled / deviation[:, None], ((0, 0), (0, dim - kept)))


def save_siamese(
    folder: str | Path,
    config: SiameseConfig,
    model: SiameseModel,
    *,
    card: str,
    dtype: type[np.floating[Any]] = np.float32,
) -> Path:
    """Writes a model directory; ``dtype=np.float16`` halves it (the card should say so)."""
    return save_with_config(folder, SYSTEM, config, model, card=card, dtype=dtype)


def load_siamese(folder: str | Path) -> tuple[SiameseConfig, SiameseModel]:
    """Reads a model directory written by :func:`save_siamese`."""
    return load_with_config(folder, SYSTEM, SiameseConfig, lambda config: SiameseModel(config, rngs=nnx.Rngs(0)))


@functools.partial(jax.jit, static_argnums=0)
def _codes(graph: Any, state: Any, frames: Float[Array, "frames inputs"]) -> Float[Array, "frames units"]:
    model: SiameseModel = nnx.merge(graph, state)
    return model(frames).astype(jnp.float32)


def _filled(frames: Float32[np.ndarray, "frames inputs"]) -> Float32[np.ndarray, "filled inputs"]:
    """With zeros behind, up to the one number of rows that is compiled."""
    filled: np.ndarray = np.pad(frames, ((0, _FRAMES_AT_ONCE - len(frames)), (0, 0)))
    return filled
