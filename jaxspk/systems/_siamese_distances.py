"""Distances of drawn pairs of segments, by which a training is begun and judged."""

import dataclasses
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Bool, Float64

from jaxspk import losses
from jaxspk.data import SegmentPairSource
from jaxspk.systems._regularized_siamese import SiameseEncoder


@dataclasses.dataclass(frozen=True)
class PairDistances:
    """Distances of drawn pairs of segments of validation speakers.

    Attributes:
      mean: D_m of each pair.
      covariance: D_S of each.
      same_speaker: which are of one speaker.
    """

    mean: Float64[np.ndarray, " pairs"]
    covariance: Float64[np.ndarray, " pairs"]
    same_speaker: Bool[np.ndarray, " pairs"]

    def means(self) -> dict[str, float]:
        """Mean D_m and D_S of either kind of pairs."""
        return {
            f"d_{name}_{kind}": float(values[self.same_speaker == same].mean())
            for name, values in (("mean", self.mean), ("cov", self.covariance))
            for kind, same in (("same", True), ("different", False))
        }


def pair_distances(encoder: SiameseEncoder, source: SegmentPairSource, *, batches: int = 16) -> PairDistances:
    """D_m and D_S of the speaker units of the first pairs of a source, scaled as in training."""
    graph, state = nnx.split(encoder.model)
    units, scale = encoder.config.speaker_units, encoder.config.contrast_scale

    @jax.jit
    def measure(state: nnx.State[Any, Any], first: jax.Array, second: jax.Array) -> tuple[jax.Array, jax.Array]:
        model = nnx.merge(graph, state)
        codes = [model(frames)[..., :units] for frames in (first, second)]
        return scale * losses.mean_distance(*codes), scale**2 * losses.covariance_distance(*codes)

    made = [source[number] for number in range(batches)]
    found = [measure(state, batch["frames_1"], batch["frames_2"]) for batch in made]
    means, covariances = (np.concatenate([np.asarray(pair[side], np.float64) for pair in found]) for side in (0, 1))
    return PairDistances(means, covariances, np.concatenate([batch["same_speaker"] for batch in made]))
