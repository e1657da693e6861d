"""Batches without end from any numbered source: shuffled, sharded, made ahead of time, resumed exactly."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np

from jaxspk import _checks
from jaxspk.data._mixtures import Mixture, Mixtures
from jaxspk.errors import ArgumentError, CheckpointError, CorpusError, JaxspkError

Batch = dict[str, np.ndarray]

Item_co = TypeVar("Item_co", covariant=True)
Item = TypeVar("Item")


@runtime_checkable
class Source(Protocol[Item_co]):
    """Numbered items, each a pure function of its number, safe to ask for from several threads."""

    def __len__(self) -> int:
        """Number of items."""

    def __getitem__(self, index: int, /) -> Item_co:
        """Makes one item."""


class Batches:
    """An endless iterator over batches whose place can be saved and restored; made by :func:`batches`.

    Close it, or use it in a ``with`` statement, to stop its threads.

    Attributes:
      shard_count: of how many equal parts of every batch this iterator makes one.
    """

    def __init__(
        self, dataset: Iterable[Batch | JaxspkError], identity: Mapping[str, Any], *, shard_count: int = 1
    ) -> None:
        self._iterator: Any = iter(dataset)
        self._identity = dict(identity)
        self.shard_count = shard_count

    def __iter__(self) -> "Batches":
        return self

    def __next__(self) -> Batch:
        batch: Batch | JaxspkError = next(self._iterator)
        if isinstance(batch, JaxspkError):
            raise batch
        return batch

    def get_state(self) -> dict[str, Any]:
        """The place in the stream, as plain JSON, and what stream it is a place in."""
        return {"position": self._iterator.get_state(), "stream": dict(self._identity)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes to a place; the next batch is the one that would have come there.

        Raises:
          CheckpointError: the place is one in another stream (other data, seed or batch size).
        """
        try:
            position, stream = state["position"], state["stream"]
        except (KeyError, TypeError):
            raise CheckpointError("not a state of the input pipeline: no `position` and `stream` in it.") from None
        for name, value in self._identity.items():
            if stream.get(name) != value:
                raise CheckpointError(
                    f"the saved input pipeline had {name} {stream.get(name)!r}, this one has {value!r}; "
                    f"resume with the same data and settings, or start a new run."
                )
        self._iterator.set_state(dict(position))

    def close(self) -> None:
        """Stops making batches; the threads end with the batch they are at."""
        self._iterator.close()

    def __enter__(self) -> "Batches":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def batches(
    source: Source[Item],
    to_arrays: Callable[[Sequence[Item]], Batch],
    *,
    batch_size: int,
    seed: int,
    shuffle: bool = True,
    workers: int = 2,
    prefetch: int | None = None,
    shard_index: int = 0,
    shard_count: int = 1,
) -> Batches:
    """Batches without end: the source's items, in a new order every time round, ``batch_size`` at a time.

    The stream depends on the source, ``seed``, ``batch_size`` and the shard only, not on ``workers`` and
    ``prefetch``. Batch k of all shards, one behind the other, is batch k of a single one, and a place in the stream is
    the number of the batch, so that it is also one in a stream of more or fewer shards.

    Args:
      source: what to draw from.
      to_arrays: makes a batch of items; called in the worker threads.
      batch_size: items in a batch of all shards together.
      seed: of the order, 0 to 2**32 - 1.
      shuffle: False keeps the source's order, the same every time round.
      workers: threads that make batches ahead of time; 0 makes each when it is asked for.
      prefetch: batches made ahead, twice ``workers`` if None.
      shard_index: which of ``shard_count`` equal parts of every batch this process makes.
      shard_count: how many processes share the stream.

    Raises:
      ArgumentError: a number is out of its range, or the parts would not be equal.
      CorpusError: the source is empty.
    """
    _checks.check_range("batch_size", batch_size, low=1)
    _checks.check_range("seed", seed, low=0, high=2**32 - 1)
    _checks.check_range("workers", workers, low=0)
    _checks.check_range("shard_count", shard_count, low=1)
    _checks.check_range("shard_index", shard_index, low=0, high=shard_count - 1)
    mine = shard_of(batch_size, shard_index, shard_count, "batch_size")
    if not len(source):
        raise CorpusError("there is nothing to make batches of; the source is empty.")
    import grain  # Imports JAX, which reading a corpus need not wait for.

    def make(numbers: np.ndarray) -> Batch | JaxspkError:
        try:
            return to_arrays([source[int(number)] for number in numbers])
        except JaxspkError as error:
            # Handed over instead of raised: grain would add advice of its own to the message.
            return error

    numbers = grain.MapDataset.range(len(source))
    numbers = numbers.shuffle(seed=seed) if shuffle else numbers
    endless = numbers.repeat(reseed_each_epoch=shuffle)
    # Numbers of the whole batch, of which this shard takes its part: the place in the stream is that of all.
    made = endless.batch(batch_size, drop_remainder=True).map(lambda whole: make(whole[mine]))
    ahead = (2 * workers if prefetch is None else prefetch) if workers else 0
    identity = {
        "fingerprint": getattr(source, "fingerprint", None),
        "size": len(source),
        "seed": seed,
        "shuffle": shuffle,
        "batch_size": batch_size,
    }
    options = grain.ReadOptions(num_threads=workers, prefetch_buffer_size=ahead)
    return Batches(made.to_iter_dataset(options), identity, shard_count=shard_count)


def shard_of(rows: int, shard_index: int, shard_count: int, name: str) -> slice:
    """The rows of a batch that a shard makes, one shard's behind the other's.

    Args:
      rows: of the whole batch.
      shard_index: which shard.
      shard_count: of how many.
      name: of the argument that says how many rows, for the message.

    Raises:
      ArgumentError: the shards would not be equal.
    """
    if rows % shard_count:
        raise ArgumentError(
            f"`{name}` = {rows} cannot be divided into {shard_count} equal parts; take a multiple of {shard_count}."
        )
    share = rows // shard_count
    return slice(shard_index * share, (shard_index + 1) * share)


def mixture_batches(
    source: Mixtures,
    *,
    batch_size: int,
    seed: int = 0,
    shuffle: bool = True,
    workers: int = 2,
    prefetch: int | None = None,
    shard_index: int = 0,
    shard_count: int = 1,
    allow_held_out: bool = False,
) -> Batches:
    """Batches of mixtures for training: :func:`stack_mixtures` tells their arrays, :func:`batches` the rest.

    Raises:
      CorpusError: a speaker in the mixtures is held out for testing. Train on
        ``split_speakers(...)["train"]``; batches for an evaluation say ``allow_held_out=True``.
    """
    if not allow_held_out:
        refuse_held_out(source.held_out, "these mixtures")
    return batches(
        source,
        stack_mixtures,
        batch_size=batch_size,
        seed=seed,
        shuffle=shuffle,
        workers=workers,
        prefetch=prefetch,
        shard_index=shard_index,
        shard_count=shard_count,
    )


def refuse_held_out(speakers: Sequence[str], where: str) -> None:
    """Refuses to train on speakers that are kept for testing; ``where`` says what they are in."""
    if speakers:
        names = ", ".join(speakers[:3]) + (", ..." if len(speakers) > 3 else "")
        raise CorpusError(
            f"{len(speakers)} speakers in {where} are held out for testing ({names}); "
            f"train on split_speakers(manifest, ...)['train']."
        )


def stack_mixtures(mixtures: Sequence[Mixture]) -> Batch:
    """Mixtures as arrays, padded with zeros at the end to the longest of them.

    Returns:
      "mixture" float32 [batch, samples], "sources" float32 [batch, speakers, samples], and "samples" int32
      [batch], the true lengths.
    """
    lengths = np.array([mixture.mixture.size for mixture in mixtures], np.int32)
    shape = (len(mixtures), len(mixtures[0].sources), int(lengths.max()))
    stacked = {
        "mixture": np.zeros((shape[0], shape[2]), np.float32),
        "sources": np.zeros(shape, np.float32),
        "samples": lengths,
    }
    for row, (mixture, length) in enumerate(zip(mixtures, lengths, strict=True)):
        stacked["mixture"][row, :length] = mixture.mixture
        stacked["sources"][row, :, :length] = mixture.sources
    return stacked
