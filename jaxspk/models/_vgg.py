"""VGG-M-40, a convolutional network of six layers that makes one embedding of a recording."""

import jax
from flax import nnx
from jax.typing import DTypeLike

from jaxspk import _checks
from jaxspk.errors import ArgumentError
from jaxspk.models._convolution import BatchNorm, Convolution, Maps, Pair, max_pool, windows
from jaxspk.models._pooling import PoolingName
from jaxspk.models._speaker_network import SpeakerNetwork

# Channels of the six convolutions, in thirty-seconds of those of the first.
_SHARES = (3, 8, 12, 8, 8, 16)

# Size, strides and padding (frames, bands) of the first five, and size and strides of the max-pool after some.
_CONVOLUTIONS: tuple[tuple[Pair, Pair, Pair], ...] = (
    ((7, 5), (2, 1), (2, 2)),
    ((5, 5), (2, 2), (1, 1)),
    ((3, 3), (1, 1), (1, 1)),
    ((3, 3), (1, 1), (1, 1)),
    ((3, 3), (1, 1), (1, 1)),
)
POOLS: tuple[tuple[Pair, Pair] | None, ...] = (((3, 1), (2, 1)), ((3, 3), (2, 2)), None, None, ((3, 3), (2, 2)), None)


class VGGM40(SpeakerNetwork):
    """VGG-M-40: six convolutions with batch norm and ReLU, the last over all bands that remain.

    Args:
      bands: mels.
      dim: length of an embedding.
      pooling: "sap", "asp" or "tap".
      width: channels of the first convolution, a multiple of 3; the others have 8/3, 4, 8/3, 8/3 and 16/3 times as
        many.
      dtype: what to compute in, and the dtype of the embeddings; None follows features and weights. Weights are
        float32, statistics and attention weights at least that.
      rngs: source of the stream ``params``.

    Raises:
      ArgumentError: a size outside its range, or ``pooling`` is none of the three.

    References:
      Nagrani, Chung, Zisserman, `VoxCeleb: a large-scale speaker identification dataset
      <https://arxiv.org/abs/1706.08612>`_, Interspeech 2017, with the 40 mels and sizes of Chung et al., `In defence of
      metric learning for speaker recognition <https://arxiv.org/abs/2003.11982>`_, Interspeech 2020.
    """

    def __init__(
        self,
        bands: int = 40,
        *,
        dim: int = 512,
        pooling: PoolingName = "sap",
        width: int = 96,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ) -> None:
        super().__init__(bands, dim=dim, dtype=dtype)
        _checks.check_range("width", width, low=3)
        if width % 3:
            raise ArgumentError(f"`width` must be a multiple of 3, got {width}.")
        remaining = _remaining(bands, axis=1)
        if remaining < 1:
            raise ArgumentError(f"`bands` must be at least {_fewest(axis=1)} for VGG-M-40, got {bands}.")
        shapes = (*_CONVOLUTIONS, ((1, remaining), (1, 1), (0, 0)))
        self.convolutions: nnx.List[Convolution] = nnx.List([])
        self.norms: nnx.List[BatchNorm] = nnx.List([])
        inputs = 1
        for share, (size, strides, padding) in zip(_SHARES, shapes, strict=True):
            outputs = width // 3 * share
            self.convolutions.append(
                Convolution(inputs, outputs, size=size, strides=strides, padding=padding, bias=True, rngs=rngs)
            )
            self.norms.append(BatchNorm(outputs))
            inputs = outputs
        self._make_head(pooling, rngs=rngs)

    @property
    def shortest(self) -> int:
        """The fewest frames that make an embedding."""
        return _fewest(axis=0)

    def feature_maps(self, maps: Maps, *, deterministic: bool) -> Maps:
        """Maps of one band."""
        for convolution, norm, pool in zip(self.convolutions, self.norms, POOLS, strict=True):
            maps = norm(convolution(maps), deterministic=deterministic).map(jax.nn.relu)
            if pool is not None:
                size, strides = pool
                maps = max_pool(maps, size=size, strides=strides)
        return maps


def _remaining(length: int, axis: int) -> int:
    """What the layers before the last convolution leave of an axis; 0 or less where a window does not fit."""
    for (size, strides, padding), pool in zip(_CONVOLUTIONS, POOLS, strict=False):
        length = windows(length, size[axis], strides[axis], padding[axis])
        if pool is not None:
            length = windows(length, pool[0][axis], pool[1][axis], 0)
    return length


def _fewest(axis: int) -> int:
    """The shortest axis of which something remains."""
    return next(length for length in range(1, 1000) if _remaining(length, axis) >= 1)
