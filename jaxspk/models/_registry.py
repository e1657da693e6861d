"""The networks of speaker verification, and those on pictures of short frames, by name."""

from collections.abc import Callable, Mapping

from jaxspk.models._densenet import CompactDenseNet, DenseNet, DenseNet121
from jaxspk.models._frame_statistics import StatisticsNetwork
from jaxspk.models._resnet import FastResNet34, HalfResNet34, ThinResNet34
from jaxspk.models._speaker_network import SpeakerNetwork
from jaxspk.models._tdnn import TimeDelayNetwork
from jaxspk.models._vgg import VGGM40

SPEAKER_NETWORKS: Mapping[str, Callable[..., SpeakerNetwork]] = {
    "fast_resnet34": FastResNet34,
    "thin_resnet34": ThinResNet34,
    "half_resnet34": HalfResNet34,
    "vgg_m_40": VGGM40,
    "tdnn": TimeDelayNetwork,
}
"""Each takes ``(bands, *, dim, pooling, width, dtype, rngs)``."""

FRAME_NETWORKS: Mapping[str, Callable[..., DenseNet | StatisticsNetwork]] = {
    "densenet121": DenseNet121,
    "compact_densenet": CompactDenseNet,
    "statistics": StatisticsNetwork,
}
"""Each takes ``(shape, *, dim, rngs)`` and sizes of its own."""
