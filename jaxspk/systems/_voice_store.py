"""The people whose voices are known: one local file of vectors and names.

Only the mean of a person's embeddings is kept, never sound. The file is readable by its owner alone, is replaced as a
whole, and a person who is removed is in it no more.
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float32

from jaxspk._files import UnfinishedFile
from jaxspk.errors import ArgumentError, ModelError
from jaxspk.metrics import cosine_scores

STORE_VARIABLE = "JAXSPK_PEOPLE"
UNKNOWN = "unknown"
"""The answer for a voice that fits nobody; nobody can be enrolled under it."""

_FORMAT, _FORMAT_VERSION = "jaxspk-people", "1"
_LONGEST_NAME = 100
_LARGEST = 1 << 30


def default_store() -> Path:
    """``JAXSPK_PEOPLE``, or else ``jaxspk/people.safetensors`` in the user's data folder (XDG_DATA_HOME)."""
    named = os.environ.get(STORE_VARIABLE)
    if named:
        return Path(named).expanduser()
    home = os.environ.get("XDG_DATA_HOME")
    return (Path(home) if home else Path.home() / ".local" / "share") / "jaxspk" / "people.safetensors"


@dataclasses.dataclass(frozen=True)
class Person:
    """Somebody whose voice is known.

    Attributes:
      name: as enrolled.
      recordings: how many the voice is the mean of.
      speech_seconds: how much speech they hold.
    """

    name: str
    recordings: int
    speech_seconds: float


@dataclasses.dataclass(frozen=True)
class VoiceStore:
    """A file of people's voices, all heard by one model.

    Every call reads the file anew; those that change it wait for each other, so that no change of another process is
    lost.

    Attributes:
      path: the file; it need not exist yet.
      model: hash of the weights that hear the voices (:func:`jaxspk.systems.weights_sha256`). Voices as another model
        heard them cannot be compared. None is for those who only list and remove.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     store = VoiceStore(Path(folder) / "people.safetensors", model="0" * 64)
      ...     _ = store.enroll("Ann", np.array([[1.0, 0.0], [0.8, 0.6]]), speech_seconds=9.0)
      ...     people, similarities = store.compare(np.array([1.0, 0.0]))
      >>> people, similarities.round(3).tolist()
      ((Person(name='Ann', recordings=2, speech_seconds=9.0),), [0.949])
    """

    path: Path
    model: str | None

    def people(self) -> tuple[Person, ...]:
        """Everybody, in order of enrolment.

        Raises:
          ModelError: the file is damaged, or its voices were heard by another model.
        """
        return self._read().people

    def compare(self, embedding: Float[np.ndarray, " dim"]) -> tuple[tuple[Person, ...], Float[np.ndarray, " people"]]:
        """Everybody, and the cosine between their voice and this one.

        Raises:
          ArgumentError: the embedding has another length than those of the store.
          ModelError: as for :meth:`people`.
        """
        found = self._read()
        if not found.people:
            return (), np.zeros(0)
        self._check_dim(embedding, found.voices)
        return found.people, cosine_scores(embedding, found.voices)

    def enroll(self, name: str, embeddings: Float[np.ndarray, "recordings dim"], speech_seconds: float) -> Person:
        """Adds recordings of somebody, new or known: the voice is the mean of all of them, each as long as 1.

        Args:
          name: 1 to 100 characters on one line; other spellings of one name (Unicode, spaces) are the same person.
          embeddings: one row a recording.
          speech_seconds: that they hold together.

        Raises:
          ArgumentError: the name cannot be one, or the embeddings are no rows of finite numbers, zero, or of another
            length than those of the store.
          ModelError: as for :meth:`people`, or the file cannot be written.
        """
        name = person_name(name)
        if self.model is None:
            raise ArgumentError("`model` must say whose voices these are before somebody can be enrolled.")
        rows = np.asarray(embeddings, np.float64)
        if rows.ndim != 2 or not rows.size or not np.isfinite(rows).all() or not rows.any(1).all():
            raise ArgumentError(f"`embeddings` must be [recordings, dim], finite and not zero, got shape {rows.shape}.")
        mean = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).mean(0)
        with self._locked():
            people, voices, model = self._read()
            if people:
                self._check_dim(mean, voices)
            known = {person.name: place for place, person in enumerate(people)}
            if name in known:
                place = known[name]
                old = people[place]
                recordings = old.recordings + len(rows)
                person = Person(name, recordings, old.speech_seconds + speech_seconds)
                voice = (voices[place] * old.recordings + mean * len(rows)) / recordings
            else:
                place, voice = len(people), mean
                person = Person(name, len(rows), float(speech_seconds))
            people = (*people[:place], person, *people[place + 1 :])
            rest = [voices[:place], voice[None], voices[place + 1 :]] if len(voices) else [voice[None]]
            voices = np.concatenate(rest, dtype=np.float32)
            self._write(_Content(people, voices, model))
        return person

    def remove(self, name: str) -> Person:
        """Forgets somebody for good: name, numbers and voice.

        Raises:
          ArgumentError: there is nobody of that name.
          ModelError: as for :meth:`people`, or the file cannot be written.
        """
        name = person_name(name)
        with self._locked():
            people, voices, model = self._read()
            places = [place for place, person in enumerate(people) if person.name == name]
            if not places:
                listed = ", ".join(person.name for person in people[:5]) + (", ..." if len(people) > 5 else "")
                raise ArgumentError(f"{self.path}: knows nobody called {name!r}; it knows {listed or 'nobody'}.")
            kept = [place for place in range(len(people)) if place not in places]
            self._write(_Content(tuple(people[place] for place in kept), voices[kept], model))
        return people[places[0]]

    def _check_dim(self, embedding: np.ndarray, voices: np.ndarray) -> None:
        if embedding.shape != voices.shape[1:]:
            raise ArgumentError(
                f"`embedding` must have {voices.shape[1]} values, as the voices in {self.path}, got shape "
                f"{embedding.shape}."
            )

    # --- The file. ---

    def _read(self) -> "_Content":
        from safetensors import SafetensorError, safe_open

        try:
            if self.path.stat().st_size > _LARGEST:
                raise ModelError(f"{self.path}: is too large for a file of voices.")
            with safe_open(self.path, framework="np") as stored:
                metadata = stored.metadata() or {}
                self._check_format(metadata)
                voices = stored.get_tensor("voices")
            people = tuple(_person(described) for described in json.loads(metadata["people"]))
            model = metadata["model"]
        except FileNotFoundError:
            return _Content((), np.zeros((0, 0), np.float32), self.model or "")
        except OSError as error:
            raise ModelError(f"{self.path}: cannot be read ({error.strerror or error}).") from None
        except ModelError:
            raise
        except (SafetensorError, ValueError, KeyError, TypeError, RecursionError):
            raise self._damaged() from None
        if voices.ndim != 2 or len(voices) != len(people) or not np.isfinite(voices).all():
            raise self._damaged()
        if not people:
            return _Content((), voices, self.model or model)
        if self.model is not None and model != self.model:
            raise ModelError(
                f"{self.path}: its voices were heard by another model (weights {model[:12]}, not {self.model[:12]}), "
                "so that they cannot be compared; take that model, or enroll the people anew in another --store."
            )
        return _Content(people, voices, model)

    def _check_format(self, metadata: dict[str, str]) -> None:
        if metadata.get("format") != _FORMAT:
            raise ModelError(f"{self.path}: is no file of voices that jaxspk wrote; name another with --store.")
        if metadata.get("format_version") != _FORMAT_VERSION:
            raise ModelError(
                f"{self.path}: has format version {metadata.get('format_version')!r}, this jaxspk reads "
                f"{_FORMAT_VERSION}."
            )

    def _damaged(self) -> ModelError:
        return ModelError(f"{self.path}: is damaged; restore it from a copy, or remove it and enroll everybody anew.")

    def _write(self, content: "_Content") -> None:
        from safetensors.numpy import save

        metadata = {
            "format": _FORMAT,
            "format_version": _FORMAT_VERSION,
            "model": content.model,
            "people": json.dumps([dataclasses.asdict(person) for person in content.people]),
        }
        data = save({"voices": np.ascontiguousarray(content.voices, np.float32)}, metadata=metadata)
        try:
            with UnfinishedFile(self.path) as file:
                os.fchmod(file.stream.fileno(), 0o600)
                file.stream.write(data)
                file.finish(self.path, durable=True)
        except OSError as error:
            raise ModelError(f"{self.path}: cannot be written ({error.strerror}).") from None

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keeps other processes from changing a store in this folder; the lock is the folder's, so no file is left."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            folder = os.open(self.path.parent, os.O_RDONLY)
        except OSError as error:
            raise ModelError(f"{self.path}: cannot be written ({error.strerror}).") from None
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)


class _Content(NamedTuple):
    """All that a store holds."""

    people: tuple[Person, ...]
    voices: Float32[np.ndarray, "people dim"]
    model: str


def person_name(name: str) -> str:
    """The one spelling of a person's name.

    Raises:
      ArgumentError: it is empty, too long, holds control characters, or is "unknown".
    """
    spelled = " ".join(part for part in unicodedata.normalize("NFC", name).split(" ") if part)
    if not spelled or len(spelled) > _LONGEST_NAME:
        raise ArgumentError(f"a name must have 1 to {_LONGEST_NAME} characters, got {len(spelled)}.")
    if any(unicodedata.category(character).startswith("C") or character in "\u2028\u2029" for character in spelled):
        raise ArgumentError(f"a name must be one line of printable characters, got {spelled!r}.")
    if spelled.casefold() == UNKNOWN:
        raise ArgumentError(f"nobody can be called {spelled!r}: it is the answer for a voice that fits nobody.")
    return spelled


def _person(described: Any) -> Person:
    person = Person(**described)
    sound = (
        isinstance(person.recordings, int)
        and person.recordings >= 1
        and isinstance(person.speech_seconds, int | float)
        and 0 <= person.speech_seconds < float("inf")
        and isinstance(person.name, str)
        and person_name(person.name) == person.name
    )
    if not sound:
        raise ValueError
    return person
