"""Every objective of speaker-embedding training behind one interface: embeddings of a batch in, a number to lower out.

An objective holds what is learned beside the encoder (class weights, scale and bias of similarities), so that it
lies in the train state, and the schedules of margin and mining, which follow its own count of steps.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from jaxspk import _checks, _numerics, losses
from jaxspk.errors import ArgumentError

ObjectiveName = Literal[
    "softmax",
    "am_softmax",
    "aam_softmax",
    "contrastive",
    "triplet",
    "semi_hard_triplet",
    "prototypical",
    "angular_prototypical",
    "ge2e_softmax",
    "ge2e_contrast",
    "softmax_prototypical",
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """What is minimised. Fields of other objectives than the one named are not used."""

    loss: ObjectiveName = "angular_prototypical"
    """Its name; the first three classify, the others compare the utterances of a batch."""
    margin: float | None = None
    """Of am_softmax, aam_softmax, contrastive and the triplets; None takes :data:`OBJECTIVES`' own."""
    margin_warmup_steps: int = 0
    """Steps over which a classifier's margin grows linearly from 0."""
    scale: float = 30.0
    """Of the cosines in am_softmax and aam_softmax."""
    easy_margin: bool = False
    """Of aam_softmax: no margin where the angle is obtuse."""
    negatives: Literal["random", "hard", "semi_hard", "hardest"] = "hard"
    """How contrastive and triplet choose another speaker's utterance."""
    hard_rank: int = 10
    """"hard" takes one of so many nearest, and one more."""
    hard_probability: float = 0.5
    """How often "hard" does so; else any other speaker's is taken."""
    late_hard_probability: float = 0.9
    """The same from ``hard_switch_step`` on."""
    hard_switch_step: int | None = None
    """Step of the change; None never changes."""
    centroid: Literal["raw", "normalized"] = "raw"
    """Whether centroids average embeddings or their unit vectors (angular_prototypical, ge2e)."""
    include_query: bool = False
    """Whether an utterance counts in its own centroid (angular_prototypical)."""
    initial_scale: float = 10.0
    """Of the learned scale of similarities (angular_prototypical, ge2e, softmax_prototypical)."""
    initial_bias: float = -5.0
    """Of the learned bias of similarities."""

    def __post_init__(self) -> None:
        _checks.check_choice("loss", self.loss, OBJECTIVES)
        _checks.check_choice("negatives", self.negatives, ("random", "hard", "semi_hard", "hardest"))
        for name in ("hard_rank", "margin_warmup_steps"):
            _checks.check_range(name, getattr(self, name), low=0)
        for name in ("hard_probability", "late_hard_probability"):
            _checks.check_range(name, getattr(self, name), low=0, high=1)
        if self.margin is not None:
            _checks.check_range("margin", self.margin, low=0)

    @property
    def traits(self) -> "Traits":
        """What the named objective needs."""
        return OBJECTIVES[self.loss]


@dataclasses.dataclass(frozen=True)
class Traits:
    """What an objective needs.

    Attributes:
      title: as a table names it.
      fewest_utterances: of each speaker in a batch.
      exact_utterances: whether there may be no more than that.
      classifies: whether it has weights for every training speaker.
      learns_scale: whether it has a learned scale and bias of similarities.
      margin: the usual one; None has none.
    """

    title: str
    fewest_utterances: int
    exact_utterances: bool = False
    classifies: bool = False
    learns_scale: bool = False
    margin: float | None = None


OBJECTIVES: Mapping[str, Traits] = {
    "softmax": Traits("softmax", 1, classifies=True),
    "am_softmax": Traits("AM-softmax", 1, classifies=True, margin=0.2),
    "aam_softmax": Traits("AAM-softmax", 1, classifies=True, margin=0.2),
    "contrastive": Traits("contrastive", 2, exact_utterances=True, margin=1.0),
    "triplet": Traits("triplet", 2, exact_utterances=True, margin=0.2),
    "semi_hard_triplet": Traits("triplet, batch semi-hard", 2, margin=0.2),
    "prototypical": Traits("prototypical", 2),
    "angular_prototypical": Traits("angular prototypical", 2, learns_scale=True),
    "ge2e_softmax": Traits("GE2E softmax", 2, learns_scale=True),
    "ge2e_contrast": Traits("GE2E contrast", 2, learns_scale=True),
    "softmax_prototypical": Traits("softmax + prototypical", 2, classifies=True, learns_scale=True),
}
"""The objectives by name."""


def check_utterances(config: ObjectiveConfig, utterances: int) -> None:
    """Refuses a number of utterances a speaker that the objective cannot take.

    Raises:
      ArgumentError: with the number it needs.
    """
    traits = config.traits
    if utterances < traits.fewest_utterances or (traits.exact_utterances and utterances > traits.fewest_utterances):
        wanted = f"{'exactly' if traits.exact_utterances else 'at least'} {traits.fewest_utterances}"
        raise ArgumentError(
            f"`utterances` must be {wanted} a speaker for {config.loss!r}, got {utterances}; set the batch's "
            f"`utterances` to {traits.fewest_utterances}."
        )


class StepCount(nnx.Variable[Array]):
    """Training steps done; it follows the steps and is not trained."""


class Objective(nnx.Module):
    """An objective with its learned parameters.

    Attributes:
      class_weights: one row a training speaker, or None.
      class_bias: of softmax and softmax + prototypical, or None.
      scale: of similarities, or None.
      bias: of similarities, or None.
      steps: done so far.
    """

    def __init__(self, config: ObjectiveConfig, *, classes: int, dim: int, rngs: nnx.Rngs) -> None:
        """Draws the weights.

        Args:
          config: names the objective.
          classes: training speakers.
          dim: length of an embedding.
          rngs: source of the stream ``params``.
        """
        self.config = config
        traits = config.traits
        self.class_weights = self.class_bias = self.scale = self.bias = nnx.data(None)
        if traits.classifies:
            draw = nnx.initializers.glorot_normal()
            self.class_weights = nnx.data(nnx.Param(draw(rngs.params(), (classes, dim), jnp.float32)))
            if config.loss not in ("am_softmax", "aam_softmax"):
                self.class_bias = nnx.data(nnx.Param(jnp.zeros(classes, jnp.float32)))
        if traits.learns_scale:
            self.scale = nnx.data(nnx.Param(jnp.float32(config.initial_scale)))
            self.bias = nnx.data(nnx.Param(jnp.float32(config.initial_bias)))
        self.steps = StepCount(jnp.int32(0))

    def __call__(
        self, embeddings: Float[Array, "speakers utterances dim"], labels: Int[Array, " speakers"], key: Array
    ) -> tuple[Float[Array, ""], dict[str, Array]]:
        """The mean loss, and how well the embeddings tell the speakers of the batch apart.

        Args:
          embeddings: not scaled.
          labels: class of each speaker.
          key: of the choice of negatives.

        Returns:
          The loss, and "accuracy" (of the classifier, or of the nearest centroid; without any margin), "within" and
          "between": mean cosine distance of two utterances of one speaker and of two.
        """
        value = jnp.mean(_VALUES[self.config.loss](self, embeddings, labels, key))
        self.steps[...] = self.steps[...] + 1
        within, between = mean_distances(embeddings)
        return value, {"accuracy": self.accuracy(embeddings, labels), "within": within, "between": between}

    def margin(self) -> Float[Array, ""]:
        """At this step."""
        config = self.config
        whole: Array = jnp.float32(config.traits.margin if config.margin is None else config.margin)
        if not config.margin_warmup_steps:
            return whole
        share: Array = jnp.minimum(1.0, self.steps[...] / config.margin_warmup_steps)
        return whole * share

    def hard_probability(self) -> Float[Array, ""]:
        """At this step."""
        config = self.config
        if config.hard_switch_step is None:
            constant: Array = jnp.float32(config.hard_probability)
            return constant
        return losses.hard_probability_curriculum(
            self.steps[...],
            start=config.hard_probability,
            then=config.late_hard_probability,
            switch_epoch=config.hard_switch_step,
        )

    def accuracy(
        self, embeddings: Float[Array, "speakers utterances dim"], labels: Int[Array, " speakers"]
    ) -> Float[Array, ""]:
        """Share of utterances given to their speaker, among all training speakers or those of the batch."""
        if self.class_weights is not None:
            weights = self.class_weights[...]
            if self.class_bias is None:
                embeddings, weights = _numerics.normalize(embeddings), _numerics.normalize(weights)
            logits = embeddings @ weights.T
            logits = logits if self.class_bias is None else logits + self.class_bias[...]
            return _mean(jnp.argmax(logits, axis=-1) == labels[:, None])
        queries, support = embeddings[:, 0], embeddings[:, 1:].mean(1)
        if self.config.loss == "prototypical":
            similarities = -_numerics.squared_distances(queries, support)
        else:
            similarities = _numerics.normalize(queries) @ _numerics.normalize(support).T
        return _mean(jnp.argmax(similarities, axis=-1) == jnp.arange(len(labels)))


def mean_distances(embeddings: Float[Array, "speakers utterances dim"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Mean cosine distance of two utterances of one speaker, 0 where each has one, and of two speakers.

    From sums of unit vectors: no matrix of pairs is made.
    """
    speakers, utterances, _ = embeddings.shape
    units = _numerics.normalize(jax.lax.stop_gradient(embeddings).astype(jnp.float32))
    sums = units.sum(1)
    own, all_pairs = jnp.sum(jnp.square(sums)), jnp.sum(jnp.square(sums.sum(0)))
    # A vector with itself counts by its squared length: 1, or 0 for a zero vector.
    selves = jnp.sum(jnp.square(units))
    within = (own - selves) / max(speakers * utterances * (utterances - 1), 1)
    between = (all_pairs - own) / max(speakers * (speakers - 1) * utterances**2, 1)
    return (1 - within) if utterances > 1 else jnp.zeros_like(within), 1 - between


def _softmax(of: Objective, x: Array, labels: Array, key: Array) -> Array:
    return losses.softmax_loss(x, _value(of.class_weights), _value(of.class_bias), _of_each(x, labels))


def _am_softmax(of: Objective, x: Array, labels: Array, key: Array) -> Array:
    return losses.am_softmax_loss(
        x, _value(of.class_weights), _of_each(x, labels), margin=of.margin(), scale=of.config.scale
    )


def _aam_softmax(of: Objective, x: Array, labels: Array, key: Array) -> Array:
    return losses.aam_softmax_loss(
        x,
        _value(of.class_weights),
        _of_each(x, labels),
        margin=of.margin(),
        scale=of.config.scale,
        easy_margin=of.config.easy_margin,
    )


def _contrastive(of: Objective, x: Array, labels: Array, key: Array) -> Array:
    anchors, positives = x[:, 0], x[:, 1]
    negatives = _negatives(of, anchors, positives, labels, key)
    same = losses.contrastive_loss(anchors, positives, jnp.ones(len(x), bool), margin=of.margin())
    different = losses.contrastive_loss(anchors, positives[negatives], jnp.zeros(len(x), bool), margin=of.margin())
    return jnp.stack([same, jnp.where(negatives >= 0, different, 0.0)])


def _triplet(of: Objective, x: Array, labels: Array, key: Array) -> Array:
    anchors, positives = x[:, 0], x[:, 1]
    negatives = _negatives(of, anchors, positives, labels, key)
    values = losses.triplet_loss(anchors, positives, positives[negatives], margin=of.margin())
    return jnp.where(negatives >= 0, values, 0.0)


def _semi_hard_triplet(of: Objective, x: Array, labels: Array, key: Array) -> Array:
    return losses.semi_hard_triplet_loss(
        x.reshape(-1, x.shape[-1]), _of_each(x, labels).reshape(-1), margin=of.margin()
    )


def _prototypical(of: Objective, x: Array, labels: Array, key: Array) -> Array:
    return losses.prototypical_loss(x)


def _angular_prototypical(of: Objective, x: Array, labels: Array, key: Array) -> Array:
    return losses.angular_prototypical_loss(
        x, _value(of.scale), _value(of.bias), centroid=of.config.centroid, include_query=of.config.include_query
    )


def _ge2e_softmax(of: Objective, x: Array, labels: Array, key: Array) -> Array:
    return losses.ge2e_softmax_loss(x, _value(of.scale), _value(of.bias), centroid=of.config.centroid)


def _ge2e_contrast(of: Objective, x: Array, labels: Array, key: Array) -> Array:
    return losses.ge2e_contrast_loss(x, _value(of.scale), _value(of.bias), centroid=of.config.centroid)


def _softmax_prototypical(of: Objective, x: Array, labels: Array, key: Array) -> Array:
    return losses.softmax_prototypical_loss(
        x, _value(of.class_weights), _value(of.class_bias), labels, _value(of.scale), _value(of.bias)
    )


_VALUES: Mapping[str, Callable[[Objective, Array, Array, Array], Array]] = {
    "softmax": _softmax,
    "am_softmax": _am_softmax,
    "aam_softmax": _aam_softmax,
    "contrastive": _contrastive,
    "triplet": _triplet,
    "semi_hard_triplet": _semi_hard_triplet,
    "prototypical": _prototypical,
    "angular_prototypical": _angular_prototypical,
    "ge2e_softmax": _ge2e_softmax,
    "ge2e_contrast": _ge2e_contrast,
    "softmax_prototypical": _softmax_prototypical,
}


def _mean(right: Array) -> Array:
    share: Array = jnp.mean(right, dtype=jnp.float32)
    return share


def _value(parameter: nnx.Param[Array] | None) -> Array:
    """Every objective has the parameters that its own function asks for."""
    assert parameter is not None
    array: Array = parameter[...]
    return array


def _of_each(x: Array, labels: Array) -> Array:
    """The class of each utterance."""
    return jnp.broadcast_to(labels[:, None], x.shape[:2])


def _negatives(of: Objective, anchors: Array, candidates: Array, labels: Array, key: Array) -> Array:
    """An utterance of another speaker for each anchor, -1 where there is none; no gradient passes."""
    config = of.config
    anchors, candidates = jax.lax.stop_gradient((anchors, candidates))
    match config.negatives:
        case "random":
            return losses.random_negatives(labels, labels, key=key)
        case "hardest":
            return losses.hardest_negatives(anchors, candidates, labels, labels)
        case "semi_hard":
            return losses.semi_hard_negatives(
                anchors, candidates, candidates, labels, labels, margin=of.margin(), key=key
            )
        case _:
            return losses.hard_negatives(
                anchors, candidates, labels, labels, key=key,
                hard_rank=config.hard_rank, hard_probability=of.hard_probability(),
            )  # fmt: skip
