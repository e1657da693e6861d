"""What jaxspk raises. Each message is one line: what was found, what was expected, and the way out."""


class JaxspkError(Exception):
    """Base of every error raised on purpose; the commands print it as one line and exit with 2."""


class ArgumentError(JaxspkError, ValueError):
    """An argument has a wrong value or shape."""


class ArgumentTypeError(JaxspkError, TypeError):
    """An array argument has a wrong dtype."""


class AudioError(JaxspkError, ValueError):
    """A recording cannot be read or written, or holds no usable sound."""


class CorpusError(JaxspkError, ValueError):
    """A folder, list or table of recordings cannot be used."""


class ModelError(JaxspkError, ValueError):
    """A model directory is damaged, truncated, or not one of ours."""


class CheckpointError(JaxspkError, ValueError):
    """A run directory or checkpoint cannot be used."""


class TrainingError(JaxspkError, RuntimeError):
    """Training cannot go on, for instance because its steps stay non-finite."""


class MissingExtraError(JaxspkError, ImportError):
    """A feature needs packages of an extra that is not installed."""

    def __init__(self, feature: str, extra: str = "", *, commands: str = "") -> None:
        """Names the extra, or the commands that install what no extra can."""
        install = commands or f"pip install 'jaxspk[{extra}]'"
        super().__init__(f"{feature} needs packages that are not installed: {install}.")
