"""Densely connected convolutional networks that make one embedding of a small picture: DenseNet121, and a compact one.

Every layer of a block reads what all layers before it in the block have made.
"""

import math
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jaxspk import _checks
from jaxspk._numerics import at_least_float32
from jaxspk.errors import ArgumentError
from jaxspk.models._convolution import Convolution, Maps, max_pool, windows

Norm = Literal["batch", "group"]
Head = Literal["flatten", "pool"]

# Keras' own, for DenseNet.
_EPSILON = 1.001e-5
_MOMENTUM = 0.01

_GROUPS = 32

# Of any batch, frames, bands and channels: what comes out has others than what went in.
Images = Float[Array, "_ _ _ _"]


class BranchNorm(nnx.Module):
    """Batch normalisation of each channel, of all items together or of each branch by itself.

    A siamese network that sends its two sides through one after the other normalises each side by its own statistics,
    and the running ones follow the first side, then the second. Here both go through at once, one behind the other.

    Attributes:
      scale: ``[channels]``, 1 at first.
      bias: ``[channels]``, 0 at first.
      mean: running mean, which follows a batch's by a hundredth.
      var: running variance, biased as the batch's is.
    """

    def __init__(self, channels: int) -> None:
        self.scale = nnx.Param(jnp.ones(channels, jnp.float32))
        self.bias = nnx.Param(jnp.zeros(channels, jnp.float32))
        self.mean = nnx.BatchStat(jnp.zeros(channels, jnp.float32))
        self.var = nnx.BatchStat(jnp.ones(channels, jnp.float32))

    def __call__(self, images: Images, *, deterministic: bool, branches: int) -> Images:
        """Normalised images.

        Args:
          images: of all branches, one behind the other.
          deterministic: True takes the running statistics; False takes the batch's and moves the running ones.
          branches: into how many equal parts the batch is divided for its statistics.
        """
        wide = images.astype(at_least_float32(images.dtype))
        if deterministic:
            mean, var = self.mean[...].astype(wide.dtype), self.var[...].astype(wide.dtype)
            return self._scaled(wide, mean, var).astype(images.dtype)
        apart = wide.reshape(branches, -1, *wide.shape[1:])
        mean = jnp.mean(apart, axis=(1, 2, 3), keepdims=True)
        var = jnp.mean(jnp.square(apart - mean), axis=(1, 2, 3), keepdims=True)
        for branch in range(branches):
            for statistic, new in ((self.mean, mean), (self.var, var)):
                old = statistic[...]
                statistic[...] = old + _MOMENTUM * (new[branch, 0, 0, 0].astype(old.dtype) - old)
        return self._scaled(apart, mean, var).reshape(images.shape).astype(images.dtype)

    def _scaled(self, images: Array, mean: Array, var: Array) -> Array:
        slope = lax.rsqrt(var + _EPSILON) * self.scale[...].astype(images.dtype)
        return (images - mean) * slope + self.bias[...].astype(images.dtype)


class GroupNorm(nnx.Module):
    """Normalisation of each image's channels by groups, of which nothing depends on the others of the batch.

    Attributes:
      scale: ``[channels]``, 1 at first.
      bias: ``[channels]``, 0 at first.

    References:
      Wu and He, `Group normalization <https://arxiv.org/abs/1803.08494>`_, ECCV 2018.
    """

    def __init__(self, channels: int) -> None:
        self.groups = math.gcd(channels, _GROUPS)
        self.scale = nnx.Param(jnp.ones(channels, jnp.float32))
        self.bias = nnx.Param(jnp.zeros(channels, jnp.float32))

    def __call__(self, images: Images, *, deterministic: bool, branches: int) -> Images:
        """Normalised images; the other arguments are those of :class:`BranchNorm` and change nothing."""
        wide = images.astype(at_least_float32(images.dtype))
        grouped = wide.reshape(*wide.shape[:-1], self.groups, -1)
        mean = jnp.mean(grouped, axis=(1, 2, 4), keepdims=True)
        var = jnp.mean(jnp.square(grouped - mean), axis=(1, 2, 4), keepdims=True)
        normalized = ((grouped - mean) * lax.rsqrt(var + _EPSILON)).reshape(wide.shape)
        return (normalized * self.scale[...].astype(wide.dtype) + self.bias[...].astype(wide.dtype)).astype(
            images.dtype
        )


class DenseLayer(nnx.Module):
    """Norm, ReLU, 1 x 1 convolution to a few channels; norm, ReLU, 3 x 3 convolution; appended to what came in."""

    def __init__(self, inputs: int, growth: int, bottleneck: int, norm: Norm, *, rngs: nnx.Rngs) -> None:
        self.first_norm = _norm(norm, inputs)
        self.first = Convolution(inputs, bottleneck * growth, size=(1, 1), padding=(0, 0), rngs=rngs)
        self.second_norm = _norm(norm, bottleneck * growth)
        self.second = Convolution(bottleneck * growth, growth, rngs=rngs)

    def __call__(self, images: Images, *, deterministic: bool, branches: int) -> Images:
        """``growth`` channels more."""
        hidden = jax.nn.relu(self.first_norm(images, deterministic=deterministic, branches=branches))
        hidden = _convolved(self.first, hidden)
        hidden = jax.nn.relu(self.second_norm(hidden, deterministic=deterministic, branches=branches))
        return jnp.concatenate([images, _convolved(self.second, hidden)], axis=-1)


class Transition(nnx.Module):
    """Norm, ReLU, 1 x 1 convolution to fewer channels, mean of 2 x 2; an odd last row or column is left out."""

    def __init__(self, inputs: int, outputs: int, norm: Norm, *, rngs: nnx.Rngs) -> None:
        self.norm = _norm(norm, inputs)
        self.convolution = Convolution(inputs, outputs, size=(1, 1), padding=(0, 0), rngs=rngs)

    def __call__(self, images: Images, *, deterministic: bool, branches: int) -> Images:
        """Half as many frames and bands."""
        hidden = jax.nn.relu(self.norm(images, deterministic=deterministic, branches=branches))
        # The mean first, for it commutes with a 1 x 1 convolution, which then has a quarter of the work.
        batch, frames, bands, channels = hidden.shape
        even = hidden[:, : frames // 2 * 2, : bands // 2 * 2]
        pooled = even.reshape(batch, frames // 2, 2, bands // 2, 2, channels).mean((2, 4))
        return _convolved(self.convolution, pooled)


class DenseNet(nnx.Module):
    """Stem, dense blocks with transitions between, a head; what the sizes are is for the children to say.

    Attributes:
      shape: frames (rows) and bands of what it reads.
      dim: length of an embedding.
      stem: the first convolution.
      stem_norm: its norm.
      blocks: lists of :class:`DenseLayer`.
      transitions: between them.
      last_norm: after the last block.
      embedding: the dense layer of the head.

    References:
      Huang et al., `Densely connected convolutional networks <https://arxiv.org/abs/1608.06993>`_, CVPR 2017.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        *,
        dim: int,
        layers: Sequence[int],
        growth: int,
        stem: int,
        stem_size: int,
        bottleneck: int,
        channels: int,
        norm: Norm,
        head: Head,
        dtype: DTypeLike | None,
        rngs: nnx.Rngs,
    ) -> None:
        for name, number in (("dim", dim), ("growth", growth), ("stem", stem), ("channels", channels)):
            _checks.check_range(name, number, low=1)
        _checks.check_choice("norm", norm, ("batch", "group"))
        _checks.check_choice("head", head, ("flatten", "pool"))
        if not layers or min(layers) < 1:
            raise ArgumentError(f"`layers` must be positive numbers of layers, got {tuple(layers)}.")
        self.shape, self.dim, self.channels, self.head, self.dtype = tuple(shape), dim, channels, head, dtype
        size = (stem_size, stem_size)
        self.stem = Convolution(
            channels, stem, size=size, strides=(2, 2), padding=(stem_size // 2, stem_size // 2), rngs=rngs
        )
        self.stem_norm = _norm(norm, stem)
        self.blocks: nnx.List[nnx.List[DenseLayer]] = nnx.List([])
        self.transitions: nnx.List[Transition] = nnx.List([])
        width = stem
        for number, count in enumerate(layers):
            if number:
                self.transitions.append(Transition(width, width // 2, norm, rngs=rngs))
                width //= 2
            self.blocks.append(nnx.List([]))
            for _ in range(count):
                self.blocks[-1].append(DenseLayer(width, growth, bottleneck, norm, rngs=rngs))
                width += growth
        self.last_norm = _norm(norm, width)
        rows, columns = (_sides_after(side, stem_size, len(layers)) for side in self.shape)
        if rows < 1 or columns < 1:
            raise ArgumentError(
                f"`shape` {self.shape} is too small for {len(layers)} blocks: nothing would be left of it; "
                f"take fewer blocks or a smaller hop."
            )
        inputs = width * (rows * columns if head == "flatten" else 1)
        self.embedding = nnx.Linear(inputs, dim, kernel_init=nnx.initializers.glorot_uniform(), rngs=rngs)

    def __call__(
        self,
        features: Float[Array, "*batch frames bands"],
        *,
        deterministic: bool = True,
        branches: int = 1,
    ) -> Float[Array, "*batch dim"]:
        """One embedding a picture, not scaled to any length.

        Args:
          features: of the shape the network was made for; several channels are copies of it.
          deterministic: True takes the running statistics of batch norm; False, for training, takes the batch's and
            moves the running ones.
          branches: into how many equal parts, one behind the other along the batch, batch norm divides it: 2 gives
            each side of a batch of pairs statistics of its own.

        Raises:
          ArgumentError: wrong shapes, or a batch that does not divide.
        """
        images = self._images(features, branches)
        maps = self.stage_maps(images, deterministic=deterministic, branches=branches)[-1]
        if self.head == "pool":
            flat = jnp.mean(maps, axis=(1, 2), dtype=at_least_float32(maps.dtype)).astype(maps.dtype)
        else:
            flat = maps.reshape(maps.shape[0], -1)
        return self.embedding(flat).astype(images.dtype).reshape(*features.shape[:-2], self.dim)

    def stage_maps(self, images: Images, *, deterministic: bool = True, branches: int = 1) -> tuple[Array, ...]:
        """Feature maps after the stem, before and after each block, and those the head reads."""
        hidden = _convolved(self.stem, images)
        hidden = jax.nn.relu(self.stem_norm(hidden, deterministic=deterministic, branches=branches))
        stages = [hidden]
        hidden = max_pool(Maps(hidden), size=(3, 3), strides=(2, 2), padding=(1, 1)).values
        for number, block in enumerate(self.blocks):
            if number:
                hidden = self.transitions[number - 1](hidden, deterministic=deterministic, branches=branches)
            stages.append(hidden)
            for layer in block:
                hidden = layer(hidden, deterministic=deterministic, branches=branches)
            stages.append(hidden)
        last = jax.nn.relu(self.last_norm(hidden, deterministic=deterministic, branches=branches))
        return (*stages, last)

    def _images(self, features: Array, branches: int) -> Images:
        _checks.check_floating("features", features)
        _checks.check_rank("features", features, 2, "frames, bands")
        *batch, frames, bands = features.shape
        _checks.check_shape("features", features, (*batch, *self.shape), "what the network was made for")
        items = math.prod(batch)
        if branches < 1 or items % branches:
            raise ArgumentError(f"`branches` must divide the {items} items of the batch, got {branches}.")
        dtype = self.dtype or jnp.promote_types(features.dtype, self.embedding.kernel[...].dtype)
        images = features.reshape(items, frames, bands, 1).astype(dtype)
        return jnp.broadcast_to(images, (items, frames, bands, self.channels))


class DenseNet121(DenseNet):
    """DenseNet121, 121 layers with weights, as the u-vectors take it.

    The weights are drawn at random; those from ImageNet, with which the published code begins, do not come with it.

    Args:
      shape: frames and bands of what it reads.
      dim: length of an embedding.
      channels: copies of the picture; 3 for networks that were made for photographs.
      norm: "batch" or "group".
      head: a dense layer on all of the last feature maps ("flatten", the published code's), or on their mean ("pool").
      dtype: what to compute in, and the dtype of the embeddings; None follows features and weights. Weights are
        float32, statistics at least that.
      rngs: source of the stream ``params``.

    Raises:
      ArgumentError: a size is not positive, or the picture too small.

    References:
      Huang et al., `Densely connected convolutional networks <https://arxiv.org/abs/1608.06993>`_, CVPR 2017;
      Mridha, Ohi et al., `U-vectors <https://arxiv.org/abs/2102.03868>`_, 2021.
    """

    def __init__(
        self,
        shape: tuple[int, int] = (95, 100),
        *,
        dim: int = 12,
        channels: int = 3,
        norm: Norm = "batch",
        head: Head = "flatten",
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ) -> None:
        super().__init__(
            shape,
            dim=dim,
            layers=(6, 12, 24, 16),
            growth=32,
            stem=64,
            stem_size=7,
            bottleneck=4,
            channels=channels,
            norm=norm,
            head=head,
            dtype=dtype,
            rngs=rngs,
        )


class CompactDenseNet(DenseNet):
    """A DenseNet of three short blocks, for processors without an accelerator.

    Args:
      shape: frames and bands of what it reads.
      dim: length of an embedding.
      channels: copies of the picture.
      norm: "batch" or "group".
      head: as for :class:`DenseNet121`.
      layers: of each block.
      growth: channels that a layer adds.
      stem: channels of the first convolution, 5 x 5.
      dtype: as for :class:`DenseNet121`.
      rngs: source of the stream ``params``.

    Raises:
      ArgumentError: a size is not positive, or the picture too small.
    """

    def __init__(
        self,
        shape: tuple[int, int] = (40, 64),
        *,
        dim: int = 12,
        channels: int = 1,
        norm: Norm = "batch",
        head: Head = "pool",
        layers: Sequence[int] = (4, 6, 8),
        growth: int = 12,
        stem: int = 24,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ) -> None:
        super().__init__(
            shape,
            dim=dim,
            layers=layers,
            growth=growth,
            stem=stem,
            stem_size=5,
            bottleneck=2,
            channels=channels,
            norm=norm,
            head=head,
            dtype=dtype,
            rngs=rngs,
        )


def _norm(norm: Norm, channels: int) -> BranchNorm | GroupNorm:
    return BranchNorm(channels) if norm == "batch" else GroupNorm(channels)


def _convolved(convolution: Convolution, images: Images) -> Images:
    return convolution(Maps(images)).values


def _sides_after(side: int, stem_size: int, blocks: int) -> int:
    """What is left of a side after the stem, its pooling and the transitions."""
    pooled = windows(windows(side, stem_size, 2, stem_size // 2), 3, 2, 1)
    return pooled // int(2 ** (blocks - 1))
