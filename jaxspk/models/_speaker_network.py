"""What the speaker-verification networks share: feature maps to frames, frames to one vector, vector to embedding."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from jaxspk import _checks
from jaxspk.errors import ArgumentError
from jaxspk.models._convolution import Maps
from jaxspk.models._pooling import PoolingName, TemporalPooling, dense


class SpeakerNetwork(nnx.Module):
    """Features of a recording to one embedding; a child says what the feature maps are.

    Attributes:
      bands: features per frame.
      dim: length of an embedding.
      pooling: from the vectors of the frames to one.
      embedding: the dense layer after it.
    """

    _FOLDS_BANDS: ClassVar[bool] = False
    """Whether a frame's vector keeps its bands, or is their mean."""

    pooling: TemporalPooling
    embedding: nnx.Linear

    def __init__(self, bands: int, *, dim: int, dtype: DTypeLike | None) -> None:
        _checks.check_range("bands", bands, low=1)
        _checks.check_range("dim", dim, low=1)
        self.bands, self.dim, self.dtype = bands, dim, dtype

    def feature_maps(self, maps: Maps, *, deterministic: bool) -> Maps:
        """Feature maps of maps of one channel, with zeros in the padding of both."""
        raise NotImplementedError

    @property
    def shortest(self) -> int:
        """The fewest frames that make an embedding."""
        return 1

    def __call__(
        self,
        features: Float[Array, "*batch frames bands"],
        *,
        frames_mask: Bool[Array, "*batch frames"] | None = None,
        deterministic: bool = True,
    ) -> Float[Array, "*batch dim"]:
        """One embedding a recording of any length; it is not scaled to unit length.

        Args:
          features: mel powers or spectra, for instance after :func:`jaxspk.audio.normalize_bands`.
          frames_mask: False for padding at the end of a recording, which then changes nothing: in evaluation the
            embedding is that of the unpadded recording, in training the statistics of batch norm are over valid
            frames. The embedding of a recording with fewer valid frames than :attr:`shortest` is finite and means
            nothing.
          deterministic: True takes the running statistics of batch norm; False, for training, takes the batch's
            and moves the running ones.

        Raises:
          ArgumentError: wrong shapes, or too few frames for the network.
        """
        _checks.check_floating("features", features)
        _checks.check_rank("features", features, 2, "frames, bands")
        *batch, frames, bands = features.shape
        _checks.check_shape("features", features, (*batch, frames, self.bands), f"{self.bands} bands per frame")
        if frames < self.shortest:
            raise ArgumentError(
                f"`features` must have at least {self.shortest} frames, got {frames}: repeat a recording this short."
            )
        lengths = None
        if frames_mask is not None:
            _checks.check_shape("frames_mask", frames_mask, (*batch, frames), "one per frame of `features`")
            lengths = jnp.sum(frames_mask.reshape(-1, frames), axis=-1, dtype=jnp.int32)
        dtype = self.dtype or jnp.promote_types(features.dtype, self.embedding.kernel[...].dtype)
        one_channel = Maps(features.reshape(-1, frames, bands, 1).astype(dtype), lengths).without_padding()
        maps = self.feature_maps(one_channel, deterministic=deterministic)
        valid = maps.valid()
        pooled = self.pooling(
            self._frames(maps.values),
            frames_mask=None if valid is None else valid[:, :, 0, 0],
            deterministic=deterministic,
        )
        return self.embedding(pooled).astype(dtype).reshape(*batch, self.dim)

    def _frames(self, values: Float[Array, "batch frames bands channels"]) -> Float[Array, "batch frames units"]:
        if self._FOLDS_BANDS:
            return values.reshape(*values.shape[:2], -1)
        return jnp.mean(values, axis=2)

    def _make_head(self, pooling: PoolingName, *, rngs: nnx.Rngs) -> None:
        """The layers after the feature maps, whose shape is taken from the layers before."""

        def vectors() -> Array:
            silence = Maps(jnp.zeros((1, self.shortest, self.bands, 1)))
            return self._frames(self.feature_maps(silence, deterministic=True).values)

        channels = jax.eval_shape(vectors).shape[-1]
        self.pooling = TemporalPooling(channels, pooling, per_channel=self._FOLDS_BANDS, rngs=rngs)
        self.embedding = dense(self.pooling.outputs, self.dim, rngs=rngs)
