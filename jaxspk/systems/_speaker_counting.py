"""How many voices a recording holds: the rule that was fitted to a model, kept beside its weights.

``counting.json`` in a model directory holds the rule and the hash of the weights that it was fitted to; other weights
make other embeddings, and a rule for them would be wrong without showing it. A model without the file counts by the
eigenvalues of the affinities, which needs no fitting and gives no probability.
"""

from pathlib import Path
from typing import Literal

from jaxspk import training
from jaxspk.clustering import MOST_CLUSTERS, CountingRule
from jaxspk.errors import ArgumentError, ModelError
from jaxspk.systems._beside_weights import load_fitted, save_fitted, weights_sha256

COUNTING_FILE = "counting.json"
_FORMAT, _FORMAT_VERSION = "jaxspk-counting", 1

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
    path = Path(folder) / COUNTING_FILE
    content = {"rule": training.config_to_dict(rule)}
    save_fitted(path, content, kind=_FORMAT, version=_FORMAT_VERSION, weights=weights_sha256(folder))
    return path


def load_counting_rule(folder: str | Path) -> CountingRule | None:
    """The rule in a model directory, None where it has none.

    Raises:
      ModelError: the file is damaged, of a newer format, or was fitted to other weights.
    """
    path = Path(folder) / COUNTING_FILE
    if not path.exists():
        return None
    fitted = load_fitted(path, kind=_FORMAT, version=_FORMAT_VERSION, weights=weights_sha256(folder))
    try:
        return training.config_from_dict(CountingRule, (fitted or {}).get("rule", {}), where="its rule")
    except ArgumentError as error:
        raise ModelError(f"{path}: {error}") from None
