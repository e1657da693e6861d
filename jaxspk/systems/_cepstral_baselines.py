"""Speaker comparison by cepstra alone, without any network: means and deviations, Gaussians, mixtures of Gaussians."""

import dataclasses
import functools
import warnings
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Float, Float64

from jaxspk import _checks
from jaxspk.audio import SpeechFrames
from jaxspk.systems._regularized_siamese import SiameseConfig, summary_basis
from jaxspk.systems._speaker_statistics import DISTANCES, DistanceName, distance_table, speaker_statistics


@dataclasses.dataclass(frozen=True, kw_only=True)
class BaselineConfig:
    """Settings of the baselines."""

    shrinkage: float = 0.1
    """Of the covariances of cepstra (and of codes, where these are compared as Gaussians)."""
    components: int = 64
    """Gaussians of the background model."""
    relevance: float = 16.0
    """Frames that the background's mean counts for when a recording's own is estimated."""
    background_frames: int = 40_000
    """Frames of training speech that the background model is fitted to, evenly out of all."""
    seed: int = 0
    """Of the background model's beginning."""

    def __post_init__(self) -> None:
        _checks.check_range("shrinkage", self.shrinkage, low=0.0, high=1.0, low_open=True)
        _checks.check_range("components", self.components, low=1)
        _checks.check_range("relevance", self.relevance, low=0.0, low_open=True)
        _checks.check_range("background_frames", self.background_frames, low=self.components)


Table = Float64[np.ndarray, "recordings recordings"]


def cepstral_tables(
    tested: Sequence[SpeechFrames], known: Sequence[SpeechFrames], config: BaselineConfig | None = None
) -> Mapping[str, Callable[[], Table]]:
    """Scores of every recording against every other one, by each baseline; computed when called.

    Args:
      tested: recordings to compare.
      known: training recordings: for standardisation and the background model.
      config: settings.

    Returns:
      By name, functions without arguments; higher scores for more similar voices.
    """
    config = config or BaselineConfig()
    spoken = [frames.cepstra[frames.speech] for frames in tested]
    background = [frames.cepstra[frames.speech] for frames in known]

    moments, standard = _moments(spoken), _moments(background)
    dim = moments.shape[1] // 2

    def by_distance(distance: DistanceName) -> Table:
        return -distance_table([speaker_statistics(one, shrinkage=config.shrinkage) for one in spoken], distance)

    aligned = functools.cache(lambda: mixture_statistics(spoken, background, config))
    return {
        "mean, cosine": lambda: cosine_table(_standardized(moments[:, :dim], standard[:, :dim])),
        "mean and deviation, cosine": lambda: cosine_table(_standardized(moments, standard)),
        "as codes are compared": lambda: cosine_table(_mapped(_with_logarithms(moments), _with_logarithms(standard))),
        **{f"Gaussian, {name.replace('_', '-')}": functools.partial(by_distance, name) for name in DISTANCES},
        "GMM-UBM, likelihood ratio": lambda: ratio_table(aligned()),
        "GMM-UBM, adapted means, cosine": lambda: supervector_table(aligned()),
    }


def cosine_table(vectors: Float[np.ndarray, "recordings dim"]) -> Table:
    """Cosines of all pairs of vectors."""
    wide = vectors.astype(np.float64)
    unit = wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-30)
    table: np.ndarray = unit @ unit.T
    return table


def _standardized(
    vectors: Float[np.ndarray, "recordings dim"], standard: Float[np.ndarray, "known dim"]
) -> Float[np.ndarray, "recordings dim"]:
    """Each number by its mean and deviation over other recordings."""
    moved: np.ndarray = (vectors - standard.mean(0)) / np.maximum(standard.std(0), 1e-12)
    return moved


def _moments(recordings: Sequence[Float[np.ndarray, "_ dim"]]) -> Float64[np.ndarray, "recordings twice_dim"]:
    """Mean, then standard deviation of each coefficient."""
    wide = (one.astype(np.float64) for one in recordings)
    return np.stack([np.concatenate([one.mean(0), one.std(0)]) for one in wide])


def _mapped(
    summaries: Float64[np.ndarray, "recordings numbers"], standard: Float64[np.ndarray, "known numbers"]
) -> Float64[np.ndarray, "recordings dim"]:
    """By principal components half made to vary alike, the default of codes."""
    mean, basis = summary_basis(standard, summaries.shape[1], SiameseConfig().whitening)
    mapped: np.ndarray = (summaries - mean) @ basis
    return mapped


def _with_logarithms(moments: Float64[np.ndarray, "_ twice_dim"]) -> Float64[np.ndarray, "_ twice_dim"]:
    """With the logarithms of the deviations."""
    mean, deviation = np.split(moments, 2, axis=1)
    return np.concatenate([mean, np.log(np.maximum(deviation, 1e-6))], axis=1)


# --- A background model of everybody, adapted to each recording. ---


@dataclasses.dataclass(frozen=True, eq=False)
class MixtureStatistics:
    """Recordings as seen by a background mixture of Gaussians with diagonal covariances.

    Attributes:
      counts: frames of each recording that fall to each Gaussian.
      offsets: their sum less the Gaussian's mean, in its deviations.
      weights: of the Gaussians.
      relevance: of the adaptation.
    """

    counts: Float64[np.ndarray, "recordings gaussians"]
    offsets: Float64[np.ndarray, "recordings gaussians dim"]
    weights: Float64[np.ndarray, " gaussians"]
    relevance: float

    @property
    def adapted(self) -> Float64[np.ndarray, "recordings gaussians dim"]:
        r"""How far each adapted mean lies from the background's, in deviations: the maximum a posteriori.

        :math:`\alpha_k (\bar x_k - \mu_k) / \sigma_k` with :math:`\alpha_k = n_k / (n_k + r)`.
        """
        shifted: np.ndarray = self.offsets / (self.counts + self.relevance)[:, :, None]
        return shifted


def mixture_statistics(
    recordings: Sequence[Float[np.ndarray, "_ dim"]],
    background: Sequence[Float[np.ndarray, "_ dim"]],
    config: BaselineConfig,
) -> MixtureStatistics:
    """Fits the background model and aligns every recording with it.

    References:
      Reynolds, Quatieri, Dunn, "Speaker verification using adapted Gaussian mixture models", Digital Signal Processing
      10, 2000.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    everything = np.concatenate(background).astype(np.float64)
    chosen = everything[:: max(1, len(everything) // config.background_frames)]
    model = GaussianMixture(
        config.components, covariance_type="diag", max_iter=60, tol=1e-2, reg_covar=1e-4, random_state=config.seed
    )
    with warnings.catch_warnings():
        # A background model need not have converged to serve.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(chosen)
    deviations = np.sqrt(model.covariances_)
    counts, offsets = [], []
    for frames in recordings:
        shares = model.predict_proba(frames.astype(np.float64))
        count = shares.sum(0)
        counts.append(count)
        offsets.append((shares.T @ frames - count[:, None] * model.means_) / deviations)
    return MixtureStatistics(np.stack(counts), np.stack(offsets), model.weights_, config.relevance)


def ratio_table(statistics: MixtureStatistics) -> Table:
    """Log-likelihood ratio a frame of each recording under the other's adapted model, to first order, both ways added.

    References:
      Glembek, Burget, Dehak, Brümmer, Kenny, "Comparison of scoring methods used in speaker recognition with joint
      factor analysis", ICASSP 2009 (linear scoring).
    """
    recordings = len(statistics.counts)
    per_frame = statistics.offsets / statistics.counts.sum(1)[:, None, None]
    one_way: np.ndarray = statistics.adapted.reshape(recordings, -1) @ per_frame.reshape(recordings, -1).T
    return np.asarray(one_way + one_way.T)


def supervector_table(statistics: MixtureStatistics) -> Table:
    """Cosine of the adapted means of all Gaussians side by side, each by its deviation and the root of its weight.

    References:
      Campbell, Sturim, Reynolds, "Support vector machines using GMM supervectors for speaker verification", IEEE
      Signal Processing Letters 13, 2006 (the kernel).
    """
    scaled = np.sqrt(statistics.weights)[:, None] * statistics.adapted
    return cosine_table(scaled.reshape(len(scaled), -1))
