"""The losses written out once more, plainly, each with the slips that people make in it.

With no slip (``slip=""``) each equals the loss, which a test checks: else a mistake in this file could pass for the
planted one.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient

# --- Deep clustering ---


def deep_clustering(v: Any, y: Any, w: Any = None, *, balance: str, normalize: str, slip: str = "") -> Any:
    w = jnp.ones_like(v[..., 0]) if w is None else w
    counted = jnp.ones_like(w) if slip == "silent bins counted" else jnp.where(w > 0, 1.0, 0.0)
    targets = jnp.einsum("...ic,...jc->...ij", y, y)
    d = jnp.einsum("...ij,...j->...i", targets, counted)
    power = 1.0 if slip == "rows scaled by d^-1/2" else 0.5
    root = jnp.where(d > 0, jnp.where(d > 0, d, 1.0) ** -power, 0.0)
    r = w * root if balance == "partition" else w
    pair = r[..., :, None] * r[..., None, :]
    if balance == "partition" and slip == "1/d_i across sources":
        # Only half of it: the loss symmetrises the rest.
        pair = w[..., :, None] * w[..., None, :] * (root**2)[..., :, None]
    affinity = jnp.einsum("...id,...jd->...ij", v, v)
    if slip == "own affinity stopped":
        affinity = jnp.einsum("...id,...jd->...ij", v, stop_gradient(v))
    if slip == "unit rows assumed":
        squares = jnp.sum(jnp.square(v[..., :, None, :] - v[..., None, :, :]), -1)
        affinity = 1 - squares / 2
    if slip == "diagonal left out":
        pair = pair * (1 - jnp.eye(v.shape[-2]))
    terms = jnp.square(affinity) - 2 * affinity * targets + jnp.square(targets)
    if slip == "target term dropped":
        terms = jnp.square(affinity)
    if slip == "own term dropped":
        terms = -2 * affinity * targets
    if slip == "same source only":
        terms = terms * targets
    if slip == "weights left out":
        pair = jnp.ones_like(pair)
    if slip == "weights not multiplied":
        pair = (r[..., :, None] + r[..., None, :]) / 2
    if slip == "weights squared":
        pair = pair**2
    cost = jnp.sum(pair * terms, (-2, -1))
    if normalize == "weights":
        total = r.sum(-1)
        cost = cost / (jnp.where(total > 0, total, 1.0) ** (1 if slip == "divided by the sum, not its square" else 2))
    return cost


# --- Regularized siamese ---


def _statistics(codes: Any, slip: str) -> tuple[Any, Any]:
    frames = codes.shape[-2]
    mean = codes.sum(-2) / (frames - 1 if slip == "T-1 for T" else frames)
    centred = codes - codes.mean(-2, keepdims=True)
    count = frames if slip == "T for T-1" else frames - 1
    other = stop_gradient(centred) if slip == "one of two symmetric terms" else centred
    covariance = jnp.einsum("...ti,...tj->...ij", centred, other) / count
    if slip == "upper triangle only":
        covariance = jnp.triu(covariance)
    if slip == "diagonal only":
        covariance = covariance * jnp.eye(codes.shape[-1])
    return mean, covariance


def mean_distance(first: Any, second: Any, *, slip: str = "") -> Any:
    ours, theirs = _statistics(first, slip)[0], _statistics(second, slip)[0]
    difference = ours + theirs if slip == "both signs plus" else ours - theirs
    squared = jnp.sum(jnp.square(difference), -1)
    if slip == "distance not squared":
        return jnp.sqrt(jnp.where(squared > 0, squared, 1.0))
    return squared


def covariance_distance(first: Any, second: Any, *, slip: str = "") -> Any:
    ours, theirs = _statistics(first, slip)[1], _statistics(second, slip)[1]
    difference = ours + theirs if slip == "both signs plus" else ours - theirs
    squared = jnp.sum(jnp.square(difference), (-2, -1))
    if slip in _CENTRES:
        # q = 4/(T-1) s_i Delta (c - centre), as printed but for the centre: the slip is in the gradient alone.
        means = [first.mean(-2, keepdims=True), second.mean(-2, keepdims=True)]
        centres = {
            "mean of the other segment": means[::-1],
            "pooled mean": [(means[0] + means[1]) / 2] * 2,
            "not centred": [jnp.zeros_like(mean) for mean in means],
        }[slip]
        scattered = []
        for codes, centre in zip((first, second), centres, strict=True):
            centred = codes - stop_gradient(centre)
            scattered.append(jnp.einsum("...ti,...tj->...ij", centred, centred) / (codes.shape[-2] - 1))
        linear = 2 * jnp.sum(stop_gradient(difference) * (scattered[0] - scattered[1]), (-2, -1))
        return stop_gradient(squared - linear) + linear
    if slip == "distance not squared":
        return jnp.sqrt(jnp.where(squared > 0, squared, 1.0))
    return squared


_CENTRES = ("mean of the other segment", "pooled mean", "not centred")


def discrimination(first: Any, second: Any, same: Any, *, lambda_mean: float, lambda_cov: float, slip: str = "") -> Any:
    if slip == "lambdas exchanged":
        lambda_mean, lambda_cov = lambda_cov, lambda_mean
    distances = ((mean_distance, lambda_mean, "mean"), (covariance_distance, lambda_cov, "covariance"))
    total = jnp.zeros(())
    for distance, scale, name in distances:
        d = distance(first, second, slip=slip)
        far = jnp.exp(-d / scale)
        if slip == "1/lambda forgotten":
            far = stop_gradient(far) * -(d - stop_gradient(d)) + stop_gradient(far)
        if slip == "exponent without its minus":
            far = 2 - far
        if slip == "different speakers stopped":
            far = stop_gradient(far)
        if slip == f"{name} part dropped":
            continue
        total = total + jnp.where(same, d, far)
    return total


def preactivation(
    first: Any, second: Any, same: Any, *, units: int, lambda_mean: float, lambda_cov: float, slip: str = ""
) -> Any:
    if slip == "units beyond the code subset":
        units = first.shape[-1]
    if slip == "first unit left out":
        first, second, units = first[..., 1:], second[..., 1:], units - 1
    codes = []
    for u in (first[..., :units], second[..., :units]):
        code = jax.nn.sigmoid(u)
        if slip == "sigmoid factor forgotten":
            code = stop_gradient(code) + (u - stop_gradient(u))
        if slip == "c for c(1-c)":
            code = stop_gradient(code) + stop_gradient(code) * (u - stop_gradient(u))
        codes.append(code)
    return discrimination(codes[0], codes[1], same, lambda_mean=lambda_mean, lambda_cov=lambda_cov, slip=slip)


def reconstruction(inputs: Any, reconstructions: Any, *, slip: str = "") -> Any:
    squares = jnp.square(reconstructions - inputs)
    if slip == "summed over frames":
        return squares.mean(-1).sum(-1)
    if slip == "summed over dimensions":
        return squares.sum(-1).mean(-1)
    if slip == "half the square":
        return 0.5 * squares.mean((-2, -1))
    if slip == "absolute error":
        return jnp.abs(reconstructions - inputs).mean((-2, -1))
    return squares.mean((-2, -1))


def regularized(
    inputs_1: Any,
    inputs_2: Any,
    reconstructions_1: Any,
    reconstructions_2: Any,
    codes_1: Any,
    codes_2: Any,
    same: Any,
    *,
    alpha: float,
    lambda_mean: float,
    lambda_cov: float,
    slip: str = "",
) -> Any:
    first, second = reconstruction(inputs_1, reconstructions_1), reconstruction(inputs_2, reconstructions_2)
    inner = slip if slip in _SLIPS_OF_CODES else ""
    apart = discrimination(codes_1, codes_2, same, lambda_mean=lambda_mean, lambda_cov=lambda_cov, slip=inner)
    if slip == "alpha and 1-alpha exchanged":
        alpha = 1 - alpha
    if slip == "second reconstruction dropped":
        second = jnp.zeros_like(second)
    if slip == "reconstructions averaged":
        first, second = first / 2, second / 2
    if slip == "1-alpha forgotten":
        return alpha * (first + second) + apart
    if slip == "alpha forgotten":
        return first + second + (1 - alpha) * apart
    return alpha * (first + second) + (1 - alpha) * apart


_SLIPS_OF_CODES = ("T for T-1", "pooled mean", "1/lambda forgotten", "exponent without its minus")


# --- Pairs and triplets ---


def _distance(first: Any, second: Any) -> Any:
    squared = jnp.sum(jnp.square(first - second), -1)
    return jnp.where(squared > 0, jnp.sqrt(jnp.where(squared > 0, squared, 1.0)), 0.0)


def _unit(x: Any, slip: str = "") -> Any:
    norm = jnp.sqrt(jnp.sum(jnp.square(x), -1, keepdims=True))
    norm = jnp.where(norm > 0, norm, 1.0)
    return x / (stop_gradient(norm) if slip == "norm stopped" else norm)


def autoembedder(first: Any, second: Any, cannot: Any, *, alpha: float, clip_must_link: bool, slip: str = "") -> Any:
    d = _distance(first, second)
    if slip == "squared distance":
        d = d**2
    clipped = jnp.minimum(d, alpha)
    if slip == "cap from below":
        clipped = jnp.maximum(d, alpha)
    if slip == "gradient beyond the cap":
        clipped = d - stop_gradient(d - clipped)
    s = clipped if clip_must_link else jnp.where(cannot, clipped, d)
    target = jnp.where(cannot, alpha, 0.0)
    if slip == "cap of 1":
        target = jnp.where(cannot, 1.0, 0.0)
    if slip == "labels the wrong way round":
        target = jnp.where(cannot, 0.0, alpha)
    return jnp.square(target - s) * (0.5 if slip == "half the square" else 1.0)


def contrastive(first: Any, second: Any, same: Any, *, margin: float, normalize: bool = True, slip: str = "") -> Any:
    if normalize and slip != "not normalised":
        first, second = _unit(first, slip), _unit(second, slip)
    d = _distance(first, second)
    hinge = jnp.maximum(margin - d, 0.0)
    if slip == "hinge left open":
        hinge = margin - d
    apart = hinge**2
    if slip == "margin on the squared distance":
        apart = jnp.maximum(margin - d**2, 0.0)
    if slip == "hinge not squared":
        apart = hinge
    if slip == "different speakers stopped":
        apart = stop_gradient(apart)
    loss = jnp.where(same, d if slip == "distance not squared" else d**2, apart)
    return loss * (0.5 if slip == "half of it" else 1.0)


def triplet(
    anchors: Any, positives: Any, negatives: Any, *, margin: float, normalize: bool = True, slip: str = ""
) -> Any:
    if normalize and slip != "not normalised":
        anchors, positives, negatives = (_unit(x, slip) for x in (anchors, positives, negatives))
    power = 1 if slip == "distances not squared" else 2
    near, far = _distance(anchors, positives) ** power, _distance(anchors, negatives) ** power
    if slip == "negative stopped":
        far = stop_gradient(far)
    if slip == "negative against the positive":
        far = _distance(positives, negatives) ** power
    slack = near - far + margin
    if slip == "signs exchanged":
        slack = far - near + margin
    return slack if slip == "hinge left open" else jnp.where(slack > 0, slack, 0.0)


# --- Classification ---


def _cross_entropy(scores: Any, labels: Any, slip: str = "") -> Any:
    target = jnp.take_along_axis(scores, labels[..., None], -1)[..., 0]
    if slip == "target not subtracted":
        target = stop_gradient(target)
    if slip == "only the target":
        return -target
    others = jax.nn.logsumexp(scores, -1)
    if slip == "target left out of the sum":
        others = jax.nn.logsumexp(jnp.where(jax.nn.one_hot(labels, scores.shape[-1]) > 0, -jnp.inf, scores), -1)
    return others - target


def softmax(x: Any, w: Any, b: Any, labels: Any, *, slip: str = "") -> Any:
    return _cross_entropy(x @ w.T + (0.0 if slip == "bias dropped" else b), labels, slip)


def am_softmax(x: Any, w: Any, labels: Any, *, margin: float, scale: float, slip: str = "") -> Any:
    cosines = _unit(x, slip) @ (w if slip == "class weights not normalised" else _unit(w, slip)).T
    sign = -1.0 if slip == "margin added" else 1.0
    shifted = cosines - sign * margin * jax.nn.one_hot(labels, w.shape[0], dtype=x.dtype)
    if slip == "margin outside the scale":
        return _cross_entropy(scale * cosines + (shifted - cosines), labels)
    if slip == "margin on every class":
        return _cross_entropy(scale * (cosines - margin), labels)
    if slip == "scale forgotten in the backward pass":
        return _cross_entropy(scale * cosines, labels) / scale
    return _cross_entropy(scale * shifted, labels, slip)


def aam_softmax(
    x: Any, w: Any, labels: Any, *, margin: float, scale: float, easy_margin: bool = False, slip: str = ""
) -> Any:
    cosines = _unit(x, slip) @ _unit(w, slip).T
    sine = jnp.sqrt(jnp.clip(1 - cosines**2, 1e-14, 1.0))
    if slip == "sine stopped":
        sine = stop_gradient(sine)
    sign = -1.0 if slip == "angle less the margin" else 1.0
    moved = cosines * jnp.cos(margin) - sign * sine * jnp.sin(margin)
    if slip == "margin on the cosine":
        moved = cosines - margin
    if slip == "no second branch":
        phi = moved
    elif easy_margin:
        phi = jnp.where(cosines > 0, moved, cosines)
    else:
        past = cosines - jnp.sin(jnp.pi - margin) * margin
        if slip == "continuous past pi - m":
            past = cosines - 1 + jnp.cos(margin)
        if slip == "flat past pi - m":
            past = stop_gradient(past)
        phi = jnp.where(cosines > jnp.cos(jnp.pi - margin), moved, past)
    target = jax.nn.one_hot(labels, w.shape[0], dtype=x.dtype)
    if slip == "margin on every class":
        target = jnp.ones_like(target)
    return _cross_entropy(scale * jnp.where(target > 0, phi, cosines), labels, slip)


# --- Prototypes ---


def prototypical(x: Any, *, include_query: bool = False, slip: str = "") -> Any:
    query, support = x[:, 0], x if include_query else x[:, 1:]
    centroids = support.mean(1)
    if slip == "query in the centroid":
        centroids = x.mean(1)
    if slip == "divided by M":
        centroids = support.sum(1) / (support.shape[1] + 1)
    if slip == "centroids stopped":
        centroids = stop_gradient(centroids)
    if slip == "last utterance as query":
        query, centroids = x[:, -1], x[:, :-1].mean(1)
    squared = jnp.sum(jnp.square(query[:, None] - centroids[None]), -1)
    if slip == "distance not squared":
        squared = jnp.sqrt(jnp.where(squared > 0, squared, 1.0))
    if slip == "columns for rows":
        squared = squared.T
    scores = squared if slip == "printed without the minus" else -squared
    return _cross_entropy(scores, jnp.arange(len(x)), slip)


def _centroid(vectors: Any, axis: int, centroid: str, slip: str) -> Any:
    mean = (_unit(vectors) if centroid == "normalized" else vectors).mean(axis)
    return stop_gradient(mean) if slip == "centroids stopped" else mean


def angular(
    x: Any, scale: Any, bias: Any, *, centroid: str = "raw", include_query: bool = False, slip: str = ""
) -> Any:
    query, support = x[:, 0], x if include_query else x[:, 1:]
    centroids = _centroid(support, 1, centroid, slip)
    if slip != "centroids not normalised":
        centroids = _unit(centroids, slip)
    cosines = (_unit(query, slip) if slip != "query not normalised" else query) @ centroids.T
    if slip == "columns for rows":
        cosines = cosines.T
    if slip == "negative cosines floored":
        cosines = jnp.maximum(cosines, 1e-6)
    if slip == "scale squared":
        scale = scale**2
    scores = scale * cosines + bias
    if slip == "bias on the target only":
        scores = scale * cosines + bias * jnp.eye(len(x))
    return _cross_entropy(scores, jnp.arange(len(x)), slip)


def _ge2e_scores(x: Any, scale: Any, bias: Any, centroid: str, floor: float | None, slip: str) -> Any:
    speakers, utterances, _ = x.shape
    members = _unit(x) if centroid == "normalized" else x
    whole = _centroid(x, 1, centroid, slip)
    without = (members.sum(1, keepdims=True) - members) / (utterances - 1)
    if slip == "centroids stopped":
        without = stop_gradient(without)
    cosines = jnp.einsum("jid,kd->jik", _unit(x, slip), _unit(whole, slip))
    own = jnp.sum(_unit(x, slip) * _unit(without, slip), -1)
    target = jnp.eye(speakers)[:, None, :] > 0
    if slip != "own utterance in its centroid":
        cosines = jnp.where(target, own[..., None], cosines)
    if slip == "divided by M":
        cosines = jnp.where(target, own[..., None] * (utterances - 1) / utterances, cosines)
    if floor is not None and slip != "no floor":
        cosines = jnp.maximum(cosines, floor)
    return scale * cosines + bias


def ge2e_softmax(
    x: Any, scale: Any, bias: Any, *, centroid: str = "raw", cosine_floor: float | None = None, slip: str = ""
) -> Any:
    scores = _ge2e_scores(x, scale, bias, centroid, cosine_floor, slip)
    labels = jnp.broadcast_to(jnp.arange(x.shape[0])[:, None], x.shape[:2])
    return _cross_entropy(scores, labels, slip)


def ge2e_contrast(
    x: Any, scale: Any, bias: Any, *, centroid: str = "raw", cosine_floor: float | None = None, slip: str = ""
) -> Any:
    scores = _ge2e_scores(x, scale, bias, centroid, cosine_floor, slip)
    target = jnp.eye(x.shape[0])[:, None, :] > 0
    own = jnp.sum(jnp.where(target, scores, 0.0), -1)
    others = jax.nn.sigmoid(jnp.where(target, -jnp.inf, scores))
    hardest = others.sum(-1) if slip == "sum for the hardest" else others.max(-1)
    if slip == "hardest impostor stopped":
        hardest = stop_gradient(hardest)
    if slip == "own score dropped":
        return 1 + hardest
    return 1 - jax.nn.sigmoid(own) + hardest
