"""Residual networks of 34 layers that make one embedding of a recording: Fast, Thin and half ResNet-34."""

from collections.abc import Sequence
from typing import ClassVar

import jax
from flax import nnx
from jax.typing import DTypeLike

from jaxspk import _checks
from jaxspk.errors import ArgumentError
from jaxspk.models._convolution import BatchNorm, Convolution, Maps, Pair, max_pool
from jaxspk.models._pooling import PoolingName, dense
from jaxspk.models._speaker_network import SpeakerNetwork

# Blocks of the four stages of a ResNet-34.
_LAYERS = (3, 4, 6, 3)


class SqueezeExcitation(nnx.Module):
    r"""Scales each channel by :math:`\sigma(W_2\, \mathrm{relu}(W_1 \bar x + b_1) + b_2)` of its recording's mean.

    References:
      Hu, Shen, Sun, `Squeeze-and-excitation networks <https://arxiv.org/abs/1709.01507>`_, CVPR 2018; the
      squeeze is to an eighth here.
    """

    def __init__(self, channels: int, *, rngs: nnx.Rngs) -> None:
        squeezed = max(channels // 8, 1)
        self.squeeze = dense(channels, squeezed, rngs=rngs)
        self.excite = dense(squeezed, channels, rngs=rngs)

    def __call__(self, maps: Maps) -> Maps:
        """Padding must be zero and stays zero."""
        hidden = jax.nn.relu(self.squeeze(maps.mean().astype(maps.values.dtype)))
        scale = jax.nn.sigmoid(self.excite(hidden))[:, None, None]
        return maps.map(lambda values: values * scale)


class ResidualBlock(nnx.Module):
    """Convolution, ReLU, batch norm, convolution, batch norm, squeeze-excitation; plus shortcut; ReLU.

    The first half has its ReLU before the batch norm, as the public code of Chung et al. (2020) has it. Where the
    shape changes, the shortcut is a strided 1 x 1 convolution with batch norm.
    """

    def __init__(self, inputs: int, outputs: int, *, strides: Pair, rngs: nnx.Rngs) -> None:
        self.first = Convolution(inputs, outputs, strides=strides, rngs=rngs)
        self.first_norm = BatchNorm(outputs)
        self.second = Convolution(outputs, outputs, rngs=rngs)
        self.second_norm = BatchNorm(outputs)
        self.excitation = SqueezeExcitation(outputs, rngs=rngs)
        changes = inputs != outputs or strides != (1, 1)
        self.shortcut = (
            Convolution(inputs, outputs, size=(1, 1), strides=strides, padding=(0, 0), rngs=rngs) if changes else None
        )
        self.shortcut_norm = BatchNorm(outputs) if changes else None

    def __call__(self, maps: Maps, *, deterministic: bool) -> Maps:
        """Padding must be zero and stays zero."""
        hidden = self.first_norm(self.first(maps).map(jax.nn.relu), deterministic=deterministic)
        hidden = self.excitation(self.second_norm(self.second(hidden), deterministic=deterministic))
        if self.shortcut is not None and self.shortcut_norm is not None:
            maps = self.shortcut_norm(self.shortcut(maps), deterministic=deterministic)
        return hidden.map(lambda values: jax.nn.relu(values + maps.values))


class _ResNet34(SpeakerNetwork):
    """Stem and four stages of residual blocks.

    Attributes:
      stem: the first convolution.
      stem_norm: its batch norm.
      stages: four lists of :class:`ResidualBlock`, of ``width`` times 1, 2, 4 and 8 channels.
    """

    _STRIDES: ClassVar[tuple[Pair, ...]]
    """Of each stage: frames, bands."""

    def __init__(
        self,
        bands: int,
        *,
        dim: int,
        pooling: PoolingName,
        width: int,
        layers: Sequence[int],
        dtype: DTypeLike | None,
        rngs: nnx.Rngs,
    ) -> None:
        super().__init__(bands, dim=dim, dtype=dtype)
        _checks.check_range("width", width, low=1)
        if len(layers) != len(self._STRIDES) or min(layers) < 1:
            raise ArgumentError(f"`layers` must be {len(self._STRIDES)} positive numbers of blocks, got {layers}.")
        self.stem = self._make_stem(width, rngs)
        self.stem_norm = BatchNorm(width)
        self.stages: nnx.List[nnx.List[ResidualBlock]] = nnx.List([])
        inputs = width
        for stage, (blocks, strides) in enumerate(zip(layers, self._STRIDES, strict=True)):
            outputs = width * 2**stage
            self.stages.append(nnx.List([]))
            for block in range(blocks):
                self.stages[-1].append(
                    ResidualBlock(inputs, outputs, strides=strides if block == 0 else (1, 1), rngs=rngs)
                )
                inputs = outputs
        self._make_head(pooling, rngs=rngs)

    def _make_stem(self, width: int, rngs: nnx.Rngs) -> Convolution:
        return Convolution(1, width, size=(7, 7), strides=(1, 2), padding=(3, 3), rngs=rngs)

    def stem_maps(self, maps: Maps, *, deterministic: bool) -> Maps:
        """What the first stage reads."""
        return self.stem_norm(self.stem(maps), deterministic=deterministic).map(jax.nn.relu)

    def feature_maps(self, maps: Maps, *, deterministic: bool) -> Maps:
        """What the last stage makes."""
        maps = self.stem_maps(maps, deterministic=deterministic)
        for stage in self.stages:
            for block in stage:
                maps = block(maps, deterministic=deterministic)
        return maps


class FastResNet34(_ResNet34):
    """Fast ResNet-34: a quarter of a ResNet-34's channels, the bands halved at once.

    Args:
      bands: mels.
      dim: length of an embedding.
      pooling: "sap" (the paper's), "asp" or "tap".
      width: channels of the first stage; the others have 2, 4 and 8 times as many.
      layers: residual blocks of each stage.
      dtype: what to compute in, and the dtype of the embeddings; None follows features and weights. Weights are
        float32, statistics and attention weights at least that.
      rngs: source of the stream ``params``.

    Raises:
      ArgumentError: a size is not positive, or ``pooling`` is none of the three.

    References:
      Chung et al., `In defence of metric learning for speaker recognition <https://arxiv.org/abs/2003.11982>`_,
      Interspeech 2020.
    """

    _STRIDES = ((1, 1), (2, 2), (2, 2), (1, 1))

    def __init__(
        self,
        bands: int = 40,
        *,
        dim: int = 512,
        pooling: PoolingName = "sap",
        width: int = 16,
        layers: Sequence[int] = _LAYERS,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ) -> None:
        super().__init__(bands, dim=dim, pooling=pooling, width=width, layers=layers, dtype=dtype, rngs=rngs)


class ThinResNet34(_ResNet34):
    """Thin ResNet-34: as Fast, with a max-pool after the stem and a stride in the last stage.

    It was made for magnitude spectra (the paper's code takes 512-point transforms without a mel filterbank).
    Arguments as for :class:`FastResNet34`.

    References:
      Chung et al., `In defence of metric learning for speaker recognition <https://arxiv.org/abs/2003.11982>`_,
      Interspeech 2020.
    """

    _STRIDES = ((1, 1), (2, 2), (2, 2), (2, 2))

    def __init__(
        self,
        bands: int = 257,
        *,
        dim: int = 512,
        pooling: PoolingName = "sap",
        width: int = 16,
        layers: Sequence[int] = _LAYERS,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ) -> None:
        super().__init__(bands, dim=dim, pooling=pooling, width=width, layers=layers, dtype=dtype, rngs=rngs)

    def stem_maps(self, maps: Maps, *, deterministic: bool) -> Maps:
        """What the first stage reads."""
        maps = super().stem_maps(maps, deterministic=deterministic)
        return max_pool(maps, size=(3, 3), strides=(1, 2), padding=(1, 1))


class HalfResNet34(_ResNet34):
    """Half ResNet-34 ("V2", "H/ASP"): half of a ResNet-34's channels, no stride in the stem, bands kept to the end.

    The bands that remain are folded into the channels of a frame, each of which has attention weights of its own.
    Arguments as for :class:`FastResNet34`; ``bands`` decides the size of the pooling.

    References:
      Heo et al., `Clova baseline system for the VoxCeleb Speaker Recognition Challenge 2020
      <https://arxiv.org/abs/2009.14153>`_; Kwon et al., `The ins and outs of speaker recognition
      <https://arxiv.org/abs/2010.15809>`_, ICASSP 2021.
    """

    _STRIDES = ThinResNet34._STRIDES
    _FOLDS_BANDS = True

    def __init__(
        self,
        bands: int = 64,
        *,
        dim: int = 512,
        pooling: PoolingName = "asp",
        width: int = 32,
        layers: Sequence[int] = _LAYERS,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ) -> None:
        super().__init__(bands, dim=dim, pooling=pooling, width=width, layers=layers, dtype=dtype, rngs=rngs)

    def _make_stem(self, width: int, rngs: nnx.Rngs) -> Convolution:
        return Convolution(1, width, bias=True, rngs=rngs)

    def stem_maps(self, maps: Maps, *, deterministic: bool) -> Maps:
        """What the first stage reads."""
        return self.stem_norm(self.stem(maps).map(jax.nn.relu), deterministic=deterministic)
