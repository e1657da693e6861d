"""U-vectors: configuration, features and network on frames of sound, storage.

Mridha, Ohi et al., "U-vectors: generating clusterable speaker embedding from unlabeled data", 2021: a network that
makes of 0.2 s of sound a short vector whose distances to others tell the speakers apart.
"""

import dataclasses
import functools
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Float32

from jaxspk import audio, models, training
from jaxspk.data import SegmentConfig
from jaxspk.errors import ArgumentError
from jaxspk.systems._storage import load_model, model_weights, restore_weights, save_model

SYSTEM = "u_vectors"

_FRAMES_AT_ONCE = 256


@dataclasses.dataclass(frozen=True, kw_only=True)
class FrameNetworkConfig:
    """The network from the picture of a frame to a vector."""

    network: Literal["densenet121", "compact_densenet", "statistics"] = "compact_densenet"
    """DenseNet121 for accelerators, a compact one, or statistics of the bands over time and one hidden layer."""
    dim: int = 12
    """Length of a vector."""
    channels: int = 1
    """Copies of the picture; 3 in the published code, whose network was made for photographs."""
    norm: Literal["batch", "group"] = "batch"
    """Normalisation by statistics of the batch, or of groups of channels of each frame."""
    head: Literal["flatten", "pool"] = "pool"
    """A dense layer on all of the last feature maps (the published code's), or on their mean."""
    layers: tuple[int, ...] = (4, 6, 8)
    """Of each block of the compact network."""
    growth: int = 12
    """Channels that a layer of the compact network adds."""
    units: int = 256
    """Of the hidden layer on statistics; 0 has none. They know of no channels, norm, head, layers or growth."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class UVectorConfig:
    """Everything that makes u-vectors what they are; saved beside the weights."""

    segments: SegmentConfig = dataclasses.field(default_factory=SegmentConfig)
    """How recordings are cut."""
    features: audio.FrameFeatureConfig = dataclasses.field(default_factory=audio.FrameFeatureConfig)
    """The picture of a frame."""
    network: FrameNetworkConfig = dataclasses.field(default_factory=FrameNetworkConfig)
    """From picture to vector."""

    def __post_init__(self) -> None:
        if self.segments.sample_rate != self.features.sample_rate:
            raise ArgumentError(
                f"`segments` are at {self.segments.sample_rate} Hz, `features` at {self.features.sample_rate} Hz; "
                f"give both the same `sample_rate`."
            )

    @property
    def picture(self) -> tuple[int, int]:
        """Columns and bands of the picture of a frame."""
        return self.features.columns(self.segments.frame_samples), self.features.bands


def paper_u_vectors() -> UVectorConfig:
    """The paper's features and DenseNet121."""
    return UVectorConfig(
        features=audio.paper_frame_features(),
        network=FrameNetworkConfig(network="densenet121", channels=3, head="flatten"),
    )


def released_u_vectors() -> UVectorConfig:
    """The published code's features and DenseNet121 (its weights from ImageNet are not had)."""
    return dataclasses.replace(paper_u_vectors(), features=audio.released_frame_features())


class UVectorModel(nnx.Module):
    """From frames of sound to vectors, not scaled to any length.

    Attributes:
      network: on the pictures of the frames.
    """

    def __init__(self, config: UVectorConfig, *, rngs: nnx.Rngs) -> None:
        """Draws the weights."""
        self.features = config.features
        network = config.network
        sizes: dict[str, Any] = {"channels": network.channels, "norm": network.norm, "head": network.head}
        if network.network == "compact_densenet":
            sizes |= {"layers": network.layers, "growth": network.growth}
        elif network.network == "statistics":
            sizes = {"units": network.units}
        self.network = models.FRAME_NETWORKS[network.network](config.picture, dim=network.dim, rngs=rngs, **sizes)

    def __call__(
        self, frames: Float[Array, "*batch samples"], *, deterministic: bool = True, branches: int = 1
    ) -> Float[Array, "*batch dim"]:
        """Vectors of frames of the length that the model was made for.

        Args:
          frames: at the rate of the configuration.
          deterministic: False takes batch norm's statistics from the batch.
          branches: into how many parts, one behind the other, the batch is divided for these.
        """
        pictures = audio.frame_features(frames, self.features)
        vectors: Array = self.network(pictures, deterministic=deterministic, branches=branches)
        return vectors

    def embed(self, frames: Float32[np.ndarray, "frames samples"]) -> Float32[np.ndarray, "frames dim"]:
        """Vectors of any number of frames, some hundred at once; batch norm takes its running statistics."""
        graph, state = nnx.split(self)
        made = [
            np.asarray(_embed(graph, state, _filled(frames[first : first + _FRAMES_AT_ONCE])))
            for first in range(0, len(frames), _FRAMES_AT_ONCE)
        ]
        return np.concatenate([np.zeros((0, self.network.dim), np.float32), *made])[: len(frames)]


def save_u_vectors(
    folder: str | Path,
    config: UVectorConfig,
    model: UVectorModel,
    *,
    card: str,
    dtype: type[np.floating[Any]] = np.float32,
) -> Path:
    """Writes a model directory; ``dtype=np.float16`` halves it (the card should say so)."""
    return save_model(
        folder,
        system=SYSTEM,
        config=training.config_to_dict(config),
        weights=model_weights(model, dtype=dtype),
        card=card,
    )


def load_u_vectors(folder: str | Path) -> tuple[UVectorConfig, UVectorModel]:
    """Reads a model directory written by :func:`save_u_vectors`."""
    stored = load_model(folder, system=SYSTEM)
    config = training.config_from_dict(UVectorConfig, stored.config)
    model = nnx.eval_shape(lambda: UVectorModel(config, rngs=nnx.Rngs(0)))
    restore_weights(model, stored)
    return config, model


@functools.partial(jax.jit, static_argnums=0)
def _embed(graph: Any, state: Any, frames: Float[Array, "frames samples"]) -> Float[Array, "frames dim"]:
    model: UVectorModel = nnx.merge(graph, state)
    return model(frames).astype(jnp.float32)


def _filled(frames: Float32[np.ndarray, "frames samples"]) -> Float32[np.ndarray, "filled samples"]:
    """With silent frames behind, so that one program does for all numbers of frames."""
    filled: np.ndarray = np.pad(frames, ((0, _FRAMES_AT_ONCE - len(frames)), (0, 0)))
    return filled
