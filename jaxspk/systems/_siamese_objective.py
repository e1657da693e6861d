"""What a regularized siamese network is trained on, step by step: its loss on pairs, and that of a single layer.

The gradient of the contrastive loss at the code layer is the paper's closed form (Eq. A.1 to A.3), or autodiff's.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from jaxspk import losses
from jaxspk.models import SiameseNetwork, logistic
from jaxspk.systems._regularized_siamese import Fitted, SiameseConfig, SiameseModel
from jaxspk.systems._siamese_contrast import (
    drawn_pairs_loss,
    drawn_pairs_loss_plain,
    every_pair_loss,
    every_pair_loss_plain,
)

Batch = Mapping[str, Array]
GradientRule = Literal["closed_form", "autodiff"]

# Beyond this D/λ the push on a pair of two speakers is nothing: exp(-20) is 2e-9.
FAR = 20.0


class Tolerances(NamedTuple):
    """λ_m and λ_S of the whole loss, not by unit."""

    mean: float
    covariance: float


class SiameseLearner(nnx.Module):
    """A network and the tolerances it is trained with.

    Attributes:
      model: the network.
      lambda_mean: λ_m; no parameter.
      lambda_cov: λ_S; no parameter.
    """

    def __init__(self, model: SiameseModel, tolerances: Tolerances) -> None:
        """Takes the model as it is."""
        self.model = model
        self.lambda_mean, self.lambda_cov = (Fitted(jnp.asarray(value, jnp.float32)) for value in tolerances)


def siamese_objective(
    config: SiameseConfig, *, gradient: GradientRule = "closed_form", comparisons: int = 1
) -> Callable[[SiameseLearner, Batch, Array], tuple[Array, dict[str, Array]]]:
    r"""The training loss, for :func:`jaxspk.training.fit`.

    .. math:: L = \alpha\,[L_R(X_1) + L_R(X_2)] + (1 - \alpha)\, L_D(X_1, X_2)

    The mean over pairs; of :math:`L_D` the mean of that over pairs of one speaker and that over pairs of two, so that
    both kinds weigh the same however many there are.

    Args:
      config: of the network.
      gradient: which rule differentiates :math:`L_D` at the code layer.
      comparisons: first segments are compared with their partner and with so many partners, less one, of other pairs
        of the batch, most of which are of two speakers. Their statistics are there already.

    Returns:
      A function of learner, batch (:func:`jaxspk.data.segment_pair_batches`) and key.
    """
    units = config.speaker_units

    def objective(learner: SiameseLearner, batch: Batch, key: Array) -> tuple[Array, dict[str, Array]]:
        network = learner.model.network
        inputs = learner.model.standardized(jnp.stack([batch["frames_1"], batch["frames_2"]]))
        sums = network.preactivations(inputs)
        reconstruction = losses.reconstruction_loss(inputs, network.decode(logistic(sums))).sum(0).mean()
        tolerances = learner.lambda_mean[...], learner.lambda_cov[...]
        if comparisons == 1 and config.contrast_units is None:
            discriminate = {"closed_form": drawn_pairs_loss, "autodiff": drawn_pairs_loss_plain}[gradient]
            same = batch["same_speaker"]
            weights = balanced_weights(same, jnp.ones(same.shape, sums.dtype))
            discrimination = jnp.sum(weights * discriminate(sums[0], sums[1], same, *tolerances, units))
        else:
            same = batch["speaker_1"][:, None] == batch["speaker_2"]
            weights = balanced_weights(same, compared(len(same), comparisons).astype(sums.dtype))
            every = {"closed_form": every_pair_loss, "autodiff": every_pair_loss_plain}[gradient]
            discrimination = every(sums[0], sums[1], same, weights, *tolerances, units, config.contrast_scale)
        value = config.alpha * reconstruction + (1 - config.alpha) * discrimination
        codes = logistic(jax.lax.stop_gradient(sums[..., :units])) * config.contrast_scale**0.5
        measured = _measured(codes, batch["same_speaker"], *tolerances)
        return value, {"reconstruction": reconstruction, "discrimination": discrimination, **measured}

    return objective


def compared(pairs: int, comparisons: int) -> Bool[Array, "pairs pairs"]:
    """Which first segments meet which second ones: their own, then that of the next pair, and so on round the batch."""
    numbers = jnp.arange(pairs)
    return (numbers - numbers[:, None]) % pairs < comparisons


def balanced_weights(same: Bool[Array, "*pairs"], taken: Float[Array, "*pairs"]) -> Float[Array, "*pairs"]:
    """Weights of sum 1 with which both kinds of pairs weigh alike, or one kind all where the other is missing."""
    kinds = [taken * same, taken * ~same]
    counts = [jnp.sum(kind) for kind in kinds]
    present = sum((count > 0).astype(taken.dtype) for count in counts)
    return (kinds[0] / jnp.maximum(counts[0], 1) + kinds[1] / jnp.maximum(counts[1], 1)) / present


def _measured(
    codes: Float[Array, "2 pairs frames units"], same: Bool[Array, " pairs"], lambda_mean: Array, lambda_cov: Array
) -> dict[str, Array]:
    """What tells a healthy training from a collapsed or idle one, of the drawn pairs."""
    distances = {
        "mean": losses.mean_distance(codes[0], codes[1]) / lambda_mean,
        "cov": losses.covariance_distance(codes[0], codes[1]) / lambda_cov,
    }
    measured = {}
    for name, ratio in distances.items():
        tolerance = lambda_mean if name == "mean" else lambda_cov
        distance = ratio * tolerance
        measured[f"d_{name}_same"] = jnp.mean(distance, where=same)
        measured[f"d_{name}_different"] = jnp.mean(distance, where=~same)
        measured[f"far_{name}"] = jnp.mean(ratio > FAR, where=~same, dtype=distance.dtype)
    measured["code_variance"] = jnp.mean(jnp.var(codes, axis=(0, 1, 2)))
    measured["slope"] = jnp.mean(codes * (1 - codes))
    return measured


# --- One layer at a time. ---


class LayerLearner(nnx.Module):
    """A layer and its mirror image, which are trained to take noise away; the layers below only lead to them.

    Attributes:
      encoder: the layer.
      decoder: its mirror image.
      below: parameters of the whole network as they are, by name; they are not trained.
    """

    def __init__(self, model: SiameseModel, place: int) -> None:
        """Takes copies of the two layers numbered ``place`` from below."""
        network = nnx.clone(model.network)
        self.encoder = network.encoder[place]
        self.decoder = network.decoder[len(network.decoder) - 1 - place]
        self.place, self.tied = place, network.tied
        self.below = nnx.List([Frozen(layer) for layer in network.encoder[:place]])
        self.input_mean = Fitted(model.input_mean[...])
        self.input_deviation = Fitted(model.input_deviation[...])

    def hidden(self, frames: Float[Array, "*batch inputs"]) -> Float[Array, "*batch units"]:
        """What the layer hears of a frame."""
        hidden = (frames - self.input_mean[...]) / self.input_deviation[...]
        for layer in self.below:
            hidden = logistic(hidden @ layer.kernel[...] + layer.bias[...])
        return hidden

    def reconstruct(self, hidden: Float[Array, "*batch units"]) -> Float[Array, "*batch units"]:
        """There and back; inputs are reconstructed by linear units, what lies between 0 and 1 by logistic ones."""
        kernel = self.encoder.kernel[...].T if self.tied else None
        sums = self.decoder(logistic(self.encoder(hidden)), kernel)
        return sums if self.place == 0 else logistic(sums)

    def put_into(self, network: SiameseNetwork) -> None:
        """Gives the whole network what was learned."""
        nnx.update(network.encoder[self.place], nnx.state(self.encoder))
        nnx.update(network.decoder[len(network.decoder) - 1 - self.place], nnx.state(self.decoder))


class Frozen(nnx.Module):
    """A layer that is not trained."""

    def __init__(self, layer: Any) -> None:
        """Takes its values."""
        self.kernel, self.bias = Fitted(layer.kernel[...]), Fitted(layer.bias[...])


def layer_objective(
    *, corruption: float, masking: float
) -> Callable[[LayerLearner, Batch, Array], tuple[Array, dict[str, Array]]]:
    """Squared error of a layer's reconstruction from corrupted input, for :func:`jaxspk.training.fit`.

    Args:
      corruption: deviation of the noise added to the lowest layer's inputs, whose own is 1.
      masking: share of a higher layer's inputs that is set to 0.
    """

    def objective(learner: LayerLearner, batch: Batch, key: Array) -> tuple[Array, dict[str, Array]]:
        clean = learner.hidden(jnp.concatenate([batch["frames_1"], batch["frames_2"]]))
        if learner.place == 0:
            corrupted = clean + corruption * jax.random.normal(key, clean.shape, clean.dtype)
        else:
            corrupted = jnp.where(jax.random.bernoulli(key, masking, clean.shape), 0.0, clean)
        error = losses.reconstruction_loss(clean, learner.reconstruct(corrupted)).mean()
        # Of what varies at all: 1 is no better than the mean.
        return error, {"unexplained": error / jnp.mean(jnp.var(clean, axis=(0, 1)))}

    return objective
