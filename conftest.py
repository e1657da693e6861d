"""Shared by tests/, gradcheck/ and the doctests: devices, profiles and the fixtures named in DESIGN's layout."""

import os
from pathlib import Path

# Before jax is imported anywhere: eight devices on one CPU, so that sharding can be tested.
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"

import hypothesis
import jax
import pytest

hypothesis.settings.register_profile("quick", max_examples=25, deadline=None, derandomize=True)
hypothesis.settings.register_profile("thorough", max_examples=1000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture
def x64():
    """Double precision for one test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def strict_promotion():
    """Mixed dtypes are errors instead of silent promotions."""
    with jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture
def as_a_user():
    """Switches the run-time shape checks of the tests off, so that a user's own error message shows."""
    import jaxtyping

    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def speech() -> Path:
    """The folder of real recordings; tests that ask for it are skipped, visibly, where there is none."""
    named = os.environ.get("JAXSPK_DATA")
    folder = Path(named) if named else Path(__file__).parent.parent / "shared" / "data"
    if not (folder / "utterances.csv").is_file():
        pytest.skip(f"no real recordings at {folder}: set JAXSPK_DATA to run this test")
    return folder
