"""Inputs for every row of the table of losses, and the laws that each loss obeys.

Every strategy draws from a few fixed cases (shapes and options), because each compiles anew; the values are hard.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from hypothesis import strategies as st

from jaxspk.testing import _laws as law
from jaxspk.testing import _strategies as hard
from jaxspk.testing._examples import Example, Vector
from jaxspk.testing._strategies import Draw, Names, Numbers, Options, Shape

Strategy = st.SearchStrategy[Example]

_PAIR_KINDS = ("duplicate", "near", "opposite", "axis", "tiny")
"""Rows for losses of raw distances: squares of 2^20 leave nothing of the rest."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inputs:
    """What is drawn for one loss, and what is known about it beyond its value.

    Attributes:
      cases: one strategy for each combination of shapes and options.
      keywords: names of array arguments that go by name; the examples carry them last.
      laws: metamorphic laws that the gradient obeys in every case.
      exact: strategy of inputs at which float64 computes without rounding, for losses that are polynomials or
        rational functions; None for the others.
    """

    cases: tuple[Strategy, ...]
    keywords: tuple[str, ...] = ()
    laws: tuple[law.Law, ...] = ()
    exact: Strategy | None = None

    @property
    def strategy(self) -> Strategy:
        """All cases together."""
        return st.one_of(*self.cases)


def _example(options: Options, *arguments: Any) -> Strategy:
    """Examples of the given options; arguments that are no strategies are taken as they are."""
    parts = [a if isinstance(a, st.SearchStrategy) else st.just(a) for a in arguments]
    return st.tuples(*parts).map(lambda drawn: Example(drawn, options))


# --- Deep clustering ---


@st.composite
def _bins(draw: Draw, shape: Shape) -> Vector:
    """Embeddings of bins: hard rows, unit rows as the network gives them, or rows very near their source."""
    plan = draw(st.sampled_from(["rows", "unit", "clustered"]))
    if plan == "clustered":
        generator = np.random.default_rng(draw(hard.seeds))
        noise = generator.integers(-64, 65, size=tuple(shape)) * draw(st.sampled_from([2.0**-8, 2.0**-16]))
        return np.asarray(np.eye(shape[-1])[np.arange(shape[-2]) % min(2, shape[-1])] + noise / 64)
    array = draw(hard.rows(shape, kinds=("duplicate", "near", "opposite", "axis")))
    if plan == "unit":
        array = array / np.linalg.norm(array, axis=-1, keepdims=True)
    return np.asarray(array)


@st.composite
def _assignments(draw: Draw, shape: Shape) -> Vector:
    """One-hot, and now and then a bin of no source."""
    one_hot = np.eye(shape[-1])[draw(hard.class_labels(shape[:-1], shape[-1]))]
    if draw(st.sampled_from([False, False, True])):
        one_hot[..., draw(st.integers(0, shape[-2] - 1)), :] = 0.0
    return np.asarray(one_hot)


@st.composite
def _exact_bins(draw: Draw) -> Example:
    """Whole numbers, and sources of 1 and 4 bins: roots and quotients stay exact."""
    sources = np.array(draw(st.permutations([0, 1, 1, 1, 1, 2])))
    return Example((draw(_whole((6, 3))), np.eye(3)[sources], None), {"balance": "none", "normalize": "none"})


def _deep_clustering(shape: Shape, sources: int, weighted: bool, soft: bool = False, **options: Any) -> Strategy:
    assigned = (*shape[:-1], sources)
    assignments = _assignments(assigned) if not soft else hard.numbers(assigned, 0, 1)
    weights = hard.bin_weights(shape[:-1]) if weighted else None
    return _example(options, _bins(shape), assignments, weights)


def _whole(shape: Shape, step: int = 1, largest: int = 4) -> st.SearchStrategy[Vector]:
    """Small whole numbers, multiples of ``step``."""

    def drawn(seed: int) -> Vector:
        return np.asarray(np.random.default_rng(seed).integers(-largest, largest + 1, size=tuple(shape)) * float(step))

    return hard.seeds.map(drawn)


# --- Regularized siamese ---


def _codes(first: Shape, second: Shape) -> tuple[Any, Any]:
    return hard.codes(first), hard.codes(second)


@st.composite
def _frames(draw: Draw, shape: Shape) -> Vector:
    """Masks of frames, at least two of them true."""
    generator = np.random.default_rng(draw(hard.seeds))
    mask = generator.random(tuple(shape)) < 0.6
    mask[..., :2] = True
    return np.asarray(generator.permuted(mask, axis=-1))


@st.composite
def _centred(draw: Draw, shape: Shape) -> Vector:
    """Whole numbers whose mean over the frames is 0."""
    codes = draw(_whole(shape))
    codes[-1] = -codes[:-1].sum(0)
    return np.asarray(codes)


def _preactivations(first: Shape, second: Shape) -> tuple[Any, Any]:
    return hard.numbers(first, -4, 4), hard.numbers(second, -4, 4)


def _regularized(
    batch: Shape, frames: int, inputs: int, units: int, mask: st.SearchStrategy[Vector] | None, **options: Any
) -> Strategy:
    features = [hard.numbers((*batch, frames, inputs), -2, 2) for _ in range(4)]
    first, second = _codes((*batch, frames, units), (*batch, frames, units))
    return _example({**_LAMBDAS, **options}, *features, first, second, hard.flags(batch), mask, None)


_LAMBDAS = {"lambda_mean": 0.5, "lambda_cov": 0.125}

# --- Pairs, classes and speaker batches ---


@st.composite
def _pairs(draw: Draw, shape: Shape, kinds: Names = _PAIR_KINDS) -> tuple[Vector, Vector]:
    """Two sets of embeddings; rows of the second may repeat or nearly repeat those of the first."""
    both = draw(hard.rows((2, *shape), kinds=kinds))
    first, second = both
    plan = draw(st.sampled_from(["apart", "apart", "apart", "near", "far"]))
    if plan == "near":
        second = first + (second - first) * 2.0**-12
    elif plan == "far":
        second = second + 8.0
    return np.asarray(first), np.asarray(second)


@st.composite
def _pair_example(draw: Draw, shape: Shape, options: Options, kinds: Names = _PAIR_KINDS) -> Example:
    first, second = draw(_pairs(shape, kinds))
    return Example((first, second, draw(hard.flags(shape[:-1]))), options)


@st.composite
def _triplet_example(draw: Draw, shape: Shape, options: Options, kinds: Names = _PAIR_KINDS) -> Example:
    anchors, positives = draw(_pairs(shape, kinds))
    return Example((anchors, positives, draw(hard.rows(shape, kinds=kinds))), options)


@st.composite
def _classification(
    draw: Draw,
    batch: Shape,
    dim: int,
    classes: int,
    options: Options,
    *,
    bias: bool = False,
    kinds: Names = ("duplicate", "near", "tiny", "huge"),
) -> Example:
    weights = draw(hard.rows((classes, dim), kinds=kinds, hardness=0.2))
    embeddings = draw(hard.rows((*batch, dim), kinds=kinds))
    labels = draw(hard.class_labels(batch, classes))
    plan = draw(st.sampled_from(["anywhere", "anywhere", "near its class", "against its class"]))
    if plan != "anywhere":
        # Cosines near +1 and -1: past π − m, and where the square root of 1 − cos² is steep.
        sign = 1.0 if plan == "near its class" else -1.0
        embeddings = sign * weights[labels] + embeddings * 2.0 ** draw(st.sampled_from([-3, -6]))
    if bias:
        return Example((embeddings, weights, draw(hard.numbers((classes,), -2, 2)), labels), options)
    return Example((embeddings, weights, labels), options)


@st.composite
def _speaker_batch(
    draw: Draw,
    shape: Shape,
    options: Options,
    *,
    scaled: bool = True,
    scales: Numbers = (10.0, 1.0, 2.0**-4, 24.0),
    biases: Numbers = (-5.0, 0.0, 3.5),
    kinds: Names = ("duplicate", "near", "opposite", "axis", "tiny", "huge"),
    collapse: float = 2.0**-12,
) -> Example:
    """Speakers x utterances x dim, with voices far apart, near one another, or nearly collapsed."""
    array = draw(hard.rows(shape, kinds=kinds))
    plan = draw(st.sampled_from(["loose", "tight", "collapsed"]))
    if plan != "loose":
        spread = 2.0**-3 if plan == "tight" else collapse
        centre = array[:, :1] if plan == "tight" else array[:1, :1]
        array = centre + (array - centre) * spread
    if not scaled:
        return Example((array,), options)
    scale = np.asarray(draw(st.sampled_from(scales)))
    bias = np.asarray(draw(st.sampled_from(biases)))
    return Example((array, scale, bias), options)


def _contrast(shape: Shape, options: Options, biases: Numbers) -> Strategy:
    """Speaker batches for GE2E's contrast, which narrow types can still tell apart.

    Near 1 a sigmoid forgets by how much, and cosines that are equal in float32 have no hardest one among them.
    """
    return _speaker_batch(shape, options, scales=(4.0, 1.0, 2.0**-4), biases=biases, collapse=2.0**-6)


@st.composite
def _labelled(draw: Draw, count: int, dim: int, classes: int, options: Options) -> Example:
    embeddings = draw(hard.rows((count, dim), kinds=_PAIR_KINDS))
    labels = draw(hard.class_labels((count,), classes))
    return Example((embeddings, labels), options)


@st.composite
def _softmax_prototypical(draw: Draw, speakers: int, dim: int, classes: int) -> Example:
    batch = draw(_speaker_batch((speakers, 2, dim), {}))
    weights = draw(hard.rows((classes, dim), kinds=("duplicate", "near"), hardness=0.2))
    labels = draw(hard.class_labels((speakers,), classes))
    embeddings, scale, bias = batch.arguments
    return Example((embeddings, weights, draw(hard.numbers((classes,), -2, 2)), labels, scale, bias), {})


INPUTS: Mapping[str, Inputs] = {
    "deep_clustering_loss": Inputs(
        cases=(
            _deep_clustering((6, 3), 2, weighted=False, balance="none", normalize="none"),
            _deep_clustering((6, 3), 2, weighted=True, balance="partition", normalize="none"),
            _deep_clustering((2, 5, 2), 3, weighted=True, balance="none", normalize="weights"),
            _deep_clustering((5, 3), 2, weighted=True, soft=True, balance="none", normalize="none"),
        ),
        laws=(law.rotation(0), law.permutation({0: -2, 1: -2, 2: -1})),
        exact=_exact_bins(),
    ),
    "mean_distance": Inputs(
        cases=(
            _example({}, *_codes((4, 3), (4, 3)), None, None),
            _example({}, *_codes((2, 1, 3), (2, 1, 3)), None, None),
            _example({}, *_codes((4, 2), (5, 2)), _frames((4,)), _frames((5,))),
        ),
        keywords=("where_1", "where_2"),
        laws=(law.translation([(0, 1)]), law.rotation(0, 1), law.homogeneity(2, 0, 1)),
        exact=_example({}, _whole((4, 3)), _whole((4, 3)), None, None),
    ),
    "covariance_distance": Inputs(
        cases=(
            _example({}, *_codes((5, 3), (5, 3)), None, None),
            _example({}, *_codes((2, 3, 5), (2, 3, 5)), None, None),
            _example({}, *_codes((4, 2), (5, 2)), _frames((4,)), _frames((5,))),
        ),
        keywords=("where_1", "where_2"),
        laws=(law.translation([(0,), (1,)]), law.rotation(0, 1), law.homogeneity(4, 0, 1)),
        exact=st.one_of(
            # Two frames: 1/2 and 1/1 are exact. Five: 1/4 is, and a mean of 0 hides that 1/5 is not.
            _example({}, _whole((2, 3)), _whole((2, 3)), None, None),
            _example({}, _centred((5, 3)), _centred((5, 3)), None, None),
        ),
    ),
    "siamese_discrimination_loss": Inputs(
        cases=(
            _example(_LAMBDAS, *_codes((2, 4, 3), (2, 4, 3)), hard.flags((2,)), None, None),
            _example(_LAMBDAS, *_codes((3, 5), (3, 5)), hard.flags(()), _frames((3,)), None),
        ),
        keywords=("where_1", "where_2"),
        laws=(law.translation([(0, 1)]), law.rotation(0, 1)),
    ),
    "reconstruction_loss": Inputs(
        cases=(
            _example({}, hard.numbers((2, 3, 2), -2, 2), hard.numbers((2, 3, 2), -2, 2), None),
            _example({}, hard.rows((4, 3)), hard.rows((4, 3)), _frames((4,))),
        ),
        keywords=("where",),
        exact=_example({}, _whole((4, 2)), _whole((4, 2)), None),
    ),
    "regularized_siamese_loss": Inputs(
        cases=(
            _regularized((2,), 4, 2, 3, None, alpha=0.25),
            _regularized((), 3, 2, 4, _frames((3,)), alpha=0.75),
        ),
        keywords=("where_1", "where_2"),
    ),
    "siamese_preactivation": Inputs(
        cases=(
            _example({**_LAMBDAS, "units": 2}, *_preactivations((4, 3), (4, 3)), hard.flags(())),
            _example({**_LAMBDAS, "units": 3}, *_preactivations((2, 3, 3), (2, 5, 3)), hard.flags((2,))),
        ),
        laws=(law.permutation({0: -2}), law.permutation({1: -2})),
    ),
    "autoembedder_loss": Inputs(
        cases=(
            _pair_example((4, 3), {"alpha": 2.0, "clip_must_link": True}),
            _pair_example((4, 3), {"alpha": 4.0, "clip_must_link": False}),
        ),
        laws=(law.translation([(0, 1)], axes=(0,)), law.rotation(0, 1)),
    ),
    "softmax_loss": Inputs(
        cases=(_classification((4,), 3, 4, {}, bias=True, kinds=("duplicate", "near", "axis", "tiny")),),
        laws=(law.translation([(1,)]), law.translation([(2,)], axes=(0,))),
    ),
    "am_softmax_loss": Inputs(
        cases=(
            _classification((4,), 3, 4, {"margin": 0.25, "scale": 8.0}),
            _classification((2, 2), 3, 3, {"margin": 0.125, "scale": 30.0}),
        ),
        laws=(law.scale_invariance(0, 1),),
    ),
    "aam_softmax_loss": Inputs(
        cases=(
            _classification((4,), 3, 4, {"margin": 0.25, "scale": 8.0, "easy_margin": False}),
            _classification((4,), 3, 3, {"margin": 0.5, "scale": 15.0, "easy_margin": True}),
        ),
        laws=(law.scale_invariance(0, 1),),
    ),
    "contrastive_loss": Inputs(
        cases=(
            _pair_example(
                (4, 3), {"margin": 1.0, "normalize": True}, ("duplicate", "near", "opposite", "axis", "tiny", "huge")
            ),
            _pair_example((4, 3), {"margin": 2.0, "normalize": False}),
        ),
        laws=(law.rotation(0, 1),),
    ),
    "triplet_loss": Inputs(
        cases=(
            _triplet_example(
                (4, 3), {"margin": 0.25, "normalize": True}, ("duplicate", "near", "opposite", "axis", "tiny", "huge")
            ),
            _triplet_example((4, 3), {"margin": 1.0, "normalize": False}),
        ),
        laws=(law.rotation(0, 1, 2),),
        exact=_example({"margin": 1.0, "normalize": False}, _whole((4, 3)), _whole((4, 3)), _whole((4, 3))),
    ),
    "semi_hard_triplet_loss": Inputs(
        cases=(_labelled(6, 3, 3, {"margin": 0.5}), _labelled(6, 2, 3, {"margin": 0.25, "chunk_size": 4})),
        laws=(law.rotation(0), law.permutation({0: 0, 1: 0}, value_axis=0)),
    ),
    "prototypical_loss": Inputs(
        cases=(
            _speaker_batch((3, 2, 3), {}, scaled=False, kinds=_PAIR_KINDS),
            _speaker_batch((3, 4, 2), {"include_query": True, "chunk_size": 2}, scaled=False, kinds=_PAIR_KINDS),
        ),
        laws=(law.translation([(0,)], axes=(0, 1)), law.rotation(0), law.permutation({0: 0}, value_axis=0)),
    ),
    "angular_prototypical_loss": Inputs(
        cases=(
            _speaker_batch((3, 3, 3), {"centroid": "raw", "include_query": False}),
            _speaker_batch((3, 3, 3), {"centroid": "normalized", "include_query": True}),
            _speaker_batch((4, 2, 2), {"centroid": "raw", "include_query": True, "chunk_size": 3}),
        ),
        laws=(law.homogeneity(0, 0), law.rotation(0), law.permutation({0: 0}, value_axis=0), law.no_gradient(2)),
    ),
    "ge2e_softmax_loss": Inputs(
        cases=(
            _speaker_batch((3, 3, 3), {"centroid": "raw", "cosine_floor": None}),
            _speaker_batch((3, 2, 3), {"centroid": "normalized", "cosine_floor": None}),
            _speaker_batch((3, 2, 3), {"centroid": "raw", "cosine_floor": 1e-6, "chunk_size": 2}),
        ),
        laws=(law.homogeneity(0, 0), law.rotation(0), law.permutation({0: 0}, value_axis=0), law.no_gradient(2)),
    ),
    "ge2e_contrast_loss": Inputs(
        cases=(
            _contrast((3, 3, 3), {"centroid": "raw", "cosine_floor": None}, biases=(-5.0, 0.0)),
            _contrast((3, 2, 3), {"centroid": "normalized", "cosine_floor": None}, biases=(-2.0, 0.5)),
        ),
        laws=(law.homogeneity(0, 0), law.rotation(0), law.permutation({0: 0}, value_axis=0)),
    ),
    "softmax_prototypical_loss": Inputs(cases=(_softmax_prototypical(3, 3, 4),), laws=()),
}
"""By the name of the public function."""
