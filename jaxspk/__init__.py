"""Telling voices apart in JAX: separation, verification and clustering of speakers.

The names below are loaded when first used: ``import jaxspk`` itself imports nothing heavy.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_SUBPACKAGES = (
    "audio", "clustering", "data", "errors", "losses", "metrics", "models", "reports", "systems", "testing", "training",
)  # fmt: skip
_HOMES = dict.fromkeys(("Separator", "SpeakerClusterer", "SpeakerEncoder"), "jaxspk.systems")

if TYPE_CHECKING:
    from jaxspk import audio as audio
    from jaxspk import clustering as clustering
    from jaxspk import data as data
    from jaxspk import errors as errors
    from jaxspk import losses as losses
    from jaxspk import metrics as metrics
    from jaxspk import models as models
    from jaxspk import reports as reports
    from jaxspk import systems as systems
    from jaxspk import testing as testing
    from jaxspk import training as training
    from jaxspk.systems import Separator as Separator
    from jaxspk.systems import SpeakerClusterer as SpeakerClusterer
    from jaxspk.systems import SpeakerEncoder as SpeakerEncoder

__all__ = [
    "Separator", "SpeakerClusterer", "SpeakerEncoder", "__version__", "audio", "clustering", "data", "errors", "losses",
    "metrics", "models", "reports", "systems", "testing", "training",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _SUBPACKAGES:
        return importlib.import_module(f"jaxspk.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'jaxspk' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
