r"""The space in which voices are clustered: embeddings of windows, turned and scaled so that one voice stays together.

A window's vector varies with what is said and with the noise around it. In this space that variation has the same
size, 1, in every direction, and the directions are sorted by how much more different voices differ: with
:math:`\Sigma_w` the covariance within voices and :math:`\Sigma_b` that between them, the projection :math:`V` has

.. math:: V^\top \Sigma_w V = I, \qquad V^\top \Sigma_b V = \operatorname{diag}(\varphi) .

It is fitted once to conversations whose turns are known and kept beside a model's weights (``clustering.json``).
"""

import base64
import dataclasses
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import scipy.linalg
from jaxtyping import Float, Float64, Int

from jaxspk import _checks
from jaxspk.errors import ArgumentError, ModelError
from jaxspk.systems._beside_weights import load_fitted, save_fitted, weights_sha256

CLUSTERING_FILE = "clustering.json"
_FORMAT, _FORMAT_VERSION = "jaxspk-clustering", 1

# What is not known of a covariance is taken to be alike in all directions: shares of it that are mixed in.
_SHRINK_WITHIN, _SHRINK_BETWEEN = 0.3, 0.05
_FEWEST_WINDOWS = 5


@dataclasses.dataclass(frozen=True, eq=False)
class VoiceSpace:
    """A space for the windows of one model.

    Attributes:
      projection: from vectors of unit length, less their mean over a recording, into the space.
      spreads: variance of different voices along each direction, where that within a voice is 1; descending.
    """

    projection: Float64[np.ndarray, "dim directions"]
    spreads: Float64[np.ndarray, " directions"]

    def __post_init__(self) -> None:
        _checks.check_shape("spreads", self.spreads, self.projection.shape[1:], "one a direction")

    def place(self, vectors: Float[np.ndarray, "windows dim"]) -> Float64[np.ndarray, "windows directions"]:
        """Vectors in the space, about their mean.

        Raises:
          ArgumentError: they are of another length than the space was made for.
        """
        if vectors.shape[1] != len(self.projection):
            raise ArgumentError(f"`vectors` must have {len(self.projection)} values, got {vectors.shape[1]}.")
        placed: np.ndarray = (vectors - vectors.mean(0)) @ self.projection
        return placed


def fit_voice_space(
    groups: Iterable[tuple[Float[np.ndarray, "windows dim"], Int[np.ndarray, " windows"]]],
) -> VoiceSpace:
    """A space from windows whose voices are known.

    Args:
      groups: of each recording the windows, and the voice of each; negative where nobody or several speak.

    Raises:
      ArgumentError: no recording has two voices with some windows each.
    """
    within, between = [], []
    for vectors, voices in groups:
        means = []
        for voice in np.unique(voices[voices >= 0]):
            chosen = vectors[voices == voice].astype(np.float64)
            if len(chosen) >= _FEWEST_WINDOWS:
                means.append(chosen.mean(0))
                within.append((chosen - means[-1]) * np.sqrt(len(chosen) / (len(chosen) - 1)))
        if len(means) > 1:
            between.append((np.stack(means) - np.mean(means, axis=0)) * np.sqrt(len(means) / (len(means) - 1)))
    if not between:
        raise ArgumentError(f"`groups` must hold a recording of two voices with {_FEWEST_WINDOWS} windows each.")
    return _space(
        _shrunk(_covariance(np.concatenate(within)), _SHRINK_WITHIN),
        _shrunk(_covariance(np.concatenate(between)), _SHRINK_BETWEEN),
    )


def save_voice_space(folder: str | Path, space: VoiceSpace) -> Path:
    """Puts a space beside the weights that it was fitted to, in half precision.

    Raises:
      ModelError: the folder holds no weights, or cannot be written to.
    """
    path = Path(folder) / CLUSTERING_FILE
    content = {
        "shape": list(space.projection.shape),
        "projection": base64.b64encode(space.projection.astype("<f2").tobytes()).decode("ascii"),
        "spreads": [float(f"{value:.4g}") for value in space.spreads],
    }
    save_fitted(path, content, kind=_FORMAT, version=_FORMAT_VERSION, weights=weights_sha256(folder))
    return path


def load_voice_space(folder: str | Path) -> VoiceSpace | None:
    """The space in a model directory, None where it has none.

    Raises:
      ModelError: the file is damaged, of a newer format, or was fitted to other weights.
    """
    path = Path(folder) / CLUSTERING_FILE
    if not path.exists():
        return None
    fitted = load_fitted(path, kind=_FORMAT, version=_FORMAT_VERSION, weights=weights_sha256(folder)) or {}
    try:
        rows, columns = fitted["shape"]
        values = np.frombuffer(base64.b64decode(fitted["projection"], validate=True), "<f2").astype(np.float64)
        space = VoiceSpace(values.reshape(rows, columns), np.array(fitted["spreads"], np.float64))
        sound = np.isfinite(values).all() and np.isfinite(space.spreads).all() and (space.spreads >= 0).all()
    except (KeyError, TypeError, ValueError):
        sound = False
    if not sound:
        raise ModelError(f"{path}: is damaged; remove it, or fit it anew.")
    return space


def _space(within: np.ndarray, between: np.ndarray) -> VoiceSpace:
    spreads, directions = scipy.linalg.eigh(between, within)
    return VoiceSpace(np.ascontiguousarray(directions[:, ::-1]), np.maximum(spreads[::-1], 0.0))


def _covariance(centred: np.ndarray) -> np.ndarray:
    wide = np.asarray(centred, np.float64)
    covariance: np.ndarray = wide.T @ wide / max(len(wide), 1)
    return covariance


def _shrunk(covariance: np.ndarray, share: float) -> np.ndarray:
    """The covariance, a share of it spread evenly over all directions."""
    even = max(np.trace(covariance) / len(covariance), 1e-12)
    shrunk: np.ndarray = (1 - share) * covariance + share * even * np.eye(len(covariance))
    return shrunk
