"""How many voices a recording holds: the rule that was fitted to a model, kept beside its weights.

``counting.json`` in a model directory holds the rule and the hash of the weights that it was fitted to; other weights
make other embeddings, and a rule for them would be wrong without showing it. A model without the file counts by the
eigenvalues of the affinities, which needs no fitting and gives no probability.
"""

import hashlib
import json
from pathlib import Path
from typing import Literal

from jaxspk import training
from jaxspk._files import write_whole
from jaxspk.clustering import MOST_CLUSTERS, CountingRule
from jaxspk.errors import ArgumentError, ModelError
from jaxspk.systems._storage import WEIGHTS_FILE

COUNTING_FILE = "counting.json"
_FORMAT, _FORMAT_VERSION = "jaxspk-counting", 1
_LARGEST = 1 << 20

Speakers = int | tuple[int, int] | Literal["auto"]
"""A number of voices, a range of numbers (both ends included), or "auto": one to three, as far as they can be told."""

_MOST_BY_ITSELF = 3  # Four are told from three little better than by tossing a coin: who expects them says so.


def possible_counts(speakers: Speakers, rule: CountingRule | None) -> tuple[int, ...]:
    """The numbers of voices that are asked for, ascending; a single one is taken as it is.

    Raises:
      ArgumentError: no such number or range.
    """
    known = tuple(range(1, MOST_CLUSTERS)) if rule is None else rule.counts
    if speakers == "auto":
        return tuple(count for count in known if count <= _MOST_BY_ITSELF)
    if isinstance(speakers, int) and not isinstance(speakers, bool):
        if speakers < 2:
            raise ArgumentError(f"`speakers` must be at least 2, got {speakers}.")
        return (speakers,)
    if isinstance(speakers, tuple) and len(speakers) == 2 and speakers[0] <= speakers[1]:
        counts = tuple(range(speakers[0], speakers[1] + 1))
        if set(counts) <= set(known):
            return counts
        raise ArgumentError(
            f"`speakers` must lie in {known[0]}..{known[-1]}, the numbers that this model can tell apart, got "
            f"{speakers[0]}..{speakers[1]}."
        )
    raise ArgumentError(f"`speakers` must be a number, a pair (fewest, most) or 'auto', got {speakers!r}.")


def save_counting_rule(folder: str | Path, rule: CountingRule) -> Path:
    """Puts a rule beside the weights that it was fitted to.

    Args:
      folder: a model directory.
      rule: fitted to the embeddings of its network.

    Raises:
      ModelError: the folder holds no weights, or cannot be written to.
    """
    folder = Path(folder)
    described = {
        "format": _FORMAT,
        "format_version": _FORMAT_VERSION,
        "weights_sha256": _hash_of_weights(folder),
        "rule": training.config_to_dict(rule),
    }
    try:
        write_whole(folder / COUNTING_FILE, (json.dumps(described, indent=1) + "\n").encode())
    except OSError as error:
        raise ModelError(f"{folder / COUNTING_FILE}: cannot be written ({error.strerror}).") from None
    return folder / COUNTING_FILE


def load_counting_rule(folder: str | Path) -> CountingRule | None:
    """The rule in a model directory, None where it has none.

    Raises:
      ModelError: the file is damaged, of a newer format, or was fitted to other weights.
    """
    path = Path(folder) / COUNTING_FILE
    try:
        size = path.stat().st_size
        described = json.loads(path.read_text(encoding="utf-8")) if size <= _LARGEST else None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}).") from None
    except (UnicodeDecodeError, ValueError, RecursionError):
        raise ModelError(f"{path}: is not valid JSON; remove it, or fit the rule anew.") from None
    if size > _LARGEST:
        raise ModelError(f"{path}: is {size} bytes; no rule of ours is. Remove it, or fit it anew.")
    if not isinstance(described, dict) or described.get("format") != _FORMAT:
        raise ModelError(f'{path}: lacks "format": "{_FORMAT}"; it was not written by jaxspk.')
    if described.get("format_version") != _FORMAT_VERSION:
        raise ModelError(
            f"{path}: has format version {described.get('format_version')!r}, this jaxspk reads {_FORMAT_VERSION}."
        )
    if described.get("weights_sha256") != _hash_of_weights(Path(folder)):
        raise ModelError(f"{path}: was fitted to other weights than lie beside it; remove it, or fit the rule anew.")
    try:
        return training.config_from_dict(CountingRule, described.get("rule", {}), where="its rule")
    except ArgumentError as error:
        raise ModelError(f"{path}: {error}") from None


def _hash_of_weights(folder: Path) -> str:
    try:
        return hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest()
    except OSError as error:
        raise ModelError(f"{folder / WEIGHTS_FILE}: cannot be read ({error.strerror}).") from None
