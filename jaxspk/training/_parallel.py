"""One training on many devices: rows of a batch divided between them, parameters on each or divided too.

The step is compiled for the whole batch, wherever its rows lie: XLA divides the work and adds what the devices have to
tell each other. So a loss that compares all rows with all others does so across devices and hosts, and batch norm takes
its statistics from the whole batch, without a line about it in the model or the loss.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, PyTree

from jaxspk._checks import check_range
from jaxspk.errors import ArgumentError, TrainingError
from jaxspk.training._processes import processes

AXIS = "devices"

# Not typed in jax.
_spec: Callable[..., PartitionSpec] = PartitionSpec
_constrain: Callable[..., Any] = jax.lax.with_sharding_constraint

# Below so many numbers an array is kept whole on each device: dividing it saves nothing and costs a message.
_SMALL = 2**12


@dataclasses.dataclass(frozen=True, kw_only=True)
class ParallelConfig:
    """Over which devices a training is spread; what comes of it differs in the last digits only."""

    devices: int | None = None
    """How many, of all processes together; None takes every accelerator, or one CPU device of each process."""
    shard_parameters: bool = False
    """Divide parameters and the optimiser's state between the devices, where each would hold all: less memory, and the
    parameters are gathered in every step."""
    stuck_after_seconds: float = 60.0
    """Seconds that a step or its batch may take before a training of several processes, or under `jaxspk launch`, is
    taken for stuck and ends; compiling, validating and saving may take thirty times as long."""

    def __post_init__(self) -> None:
        if self.devices is not None:
            check_range("devices", self.devices, low=1)
        check_range("stuck_after_seconds", self.stuck_after_seconds, low=0, low_open=True)


class Placement:
    """Where the arrays of a training lie.

    Args:
      config: how many devices, and whether parameters are divided.
      batch: a batch of this process; the first axis of each of its arrays has as many rows.
      parts: into how many pieces the whole batch is cut in a step; each has rows on every device.

    Raises:
      ArgumentError: the rows cannot be divided, or there are fewer devices.

    Attributes:
      devices: in the order of their rows; those of a process lie together.
      note: what to tell the user, if fewer are used than there are.
    """

    def __init__(self, config: ParallelConfig, batch: Mapping[str, Any], *, parts: int = 1) -> None:
        self._shard_parameters = config.shard_parameters
        self.devices, self.note = _choose(config.devices, batch, parts)
        self._mesh: Mesh | None = None
        if len(self.devices) > 1:
            self._mesh = Mesh(np.array(self.devices), (AXIS,), axis_types=(AxisType.Auto,))

    def row_sharding(self) -> NamedSharding:
        """Where the rows of a batch lie, on several devices."""
        assert self._mesh is not None
        return NamedSharding(self._mesh, _spec(AXIS))

    def entered(self) -> AbstractContextManager[Any]:
        """A context in which traced functions know of the devices."""
        return nullcontext() if self._mesh is None else jax.set_mesh(self._mesh)

    def put_batch(self, batch: Mapping[str, Any]) -> dict[str, Array]:
        """The rows of this process on its devices, as a part of the whole batch; never in the memory of the batch."""
        if self._mesh is None:
            return {name: jax.device_put(_copy(np.asarray(array)), self.devices[0]) for name, array in batch.items()}
        return {name: self._put_rows(name, np.asarray(array)) for name, array in batch.items()}

    def put_state(self, state: PyTree) -> PyTree:
        """A state that every process holds, where it belongs."""
        if self._mesh is None:
            return jax.device_put(state, self.devices[0])
        return jax.tree.map(lambda leaf: _put_whole(leaf, self.sharding(leaf)), state)

    def kept(self, state: PyTree) -> PyTree:
        """Inside a step: the new state, where the old one lies."""
        if self._mesh is None:
            return state
        return jax.tree.map(lambda leaf: _constrain(leaf, self.sharding(leaf)), state)

    def gathered(self, params: PyTree) -> PyTree:
        """Inside a step: the parameters, whole on each device."""
        if self._mesh is None or not self._shard_parameters:
            return params
        return _constrain(params, NamedSharding(self._mesh, _spec()))

    def local(self, tree: PyTree) -> PyTree:
        """Arrays of a state, whole on the first device of this process; all processes call this at the same place."""
        if self._mesh is None:
            return tree
        return jax.tree.map(functools.partial(_local, self._mesh), tree)

    def sharding(self, leaf: Any) -> NamedSharding:
        """Where an array of the state lies, on several devices."""
        assert self._mesh is not None
        return NamedSharding(self._mesh, self._divided(leaf) if self._shard_parameters else _spec())

    def _divided(self, leaf: Any) -> PartitionSpec:
        """Along the longest axis that the devices divide."""
        count = len(self.devices)
        fitting = [axis for axis, size in enumerate(leaf.shape) if size % count == 0]
        if leaf.size < _SMALL or not fitting:
            return _spec()
        longest = max(fitting, key=lambda axis: leaf.shape[axis])
        return _spec(*[None] * longest, AXIS)

    def _put_rows(self, name: str, rows: np.ndarray) -> Array:
        assert self._mesh is not None
        if not rows.ndim:
            raise ArgumentError(f"`{name}` of a batch must have rows to be divided between devices, got a scalar.")
        here = [number for number, device in enumerate(self.devices) if device.process_index == jax.process_index()]
        if len(rows) % len(here):
            raise TrainingError(
                f"`{name}` of a batch has {len(rows)} rows, the first batch had a multiple of {len(here)}; "
                "every batch must have as many."
            )
        shape = (len(rows) * len(self.devices) // len(here), *rows.shape[1:])
        pieces = [
            jax.device_put(_copy(piece), self.devices[number])
            for number, piece in zip(here, np.split(rows, len(here)), strict=True)
        ]
        return jax.make_array_from_single_device_arrays(shape, self.row_sharding(), pieces)


def own_rows(batch: Mapping[str, Any], shards: int) -> Mapping[str, Any]:
    """The rows of a batch that this process feeds.

    Args:
      batch: what an iterator gave.
      shards: parts of each batch that such iterators make one each of; 1 makes whole batches, in every process.

    Raises:
      ArgumentError: there are other parts than processes, or the rows cannot be divided between these.
    """
    who = processes()
    if shards == who.count:
        return batch
    rows = _rows(batch)
    if shards != 1 or rows % who.count:
        found = f"{shards} parts" if shards != 1 else f"{rows} rows"
        raise ArgumentError(f"`batches` gives {found} for {who.count} processes; give each its part, or all rows.")
    share = rows // who.count
    return {name: array[who.index * share : (who.index + 1) * share] for name, array in batch.items()}


def _natural_devices() -> int:
    """Of one process: its accelerators, or a single CPU device, for several would share the same cores."""
    local = jax.local_devices()
    return 1 if local[0].platform == "cpu" else len(local)


def _choose(asked: int | None, batch: Mapping[str, Any], parts: int) -> tuple[list[Any], str]:
    """The devices to use, as many of each process, and what to say about those that are not."""
    count, there = processes().count, len(jax.local_devices())
    wanted = count * _natural_devices() if asked is None else asked
    if wanted % count or wanted > count * there:
        among = f"a multiple of the {count} processes and " if count > 1 else ""
        raise ArgumentError(f"`devices` must be {among}at most {count * there}, got {wanted}.")
    if wanted == parts == 1:
        return jax.local_devices()[:1], ""
    rows = count * _rows(batch)
    # Rows that so many devices cannot share evenly are shared by fewer, if nobody named the number.
    fitting = [n for n in range(wanted // count, 0, -1) if rows % (parts * count * n) == 0]
    if not fitting or (asked is not None and fitting[0] * count != wanted):
        among = (f"{wanted} devices" if wanted > 1 else "one device") + (f" in {parts} parts" if parts > 1 else "")
        raise ArgumentError(
            f"a batch of {rows} rows cannot be divided between {among}; take a multiple of {wanted * parts}."
        )
    each = fitting[0]
    by_process = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    devices = [by_process[process * there + number] for process in range(count) for number in range(each)]
    if each * count == wanted:
        return devices, ""
    return devices, (
        f"uses {len(devices)} of {wanted} devices, between which a batch of {rows} rows can be divided; "
        f"a multiple of {wanted * parts} would use all."
    )


def _rows(batch: Mapping[str, Any]) -> int:
    """Rows of a batch, of which all its arrays have as many."""
    counts = {name: np.shape(array)[0] if np.ndim(array) else 0 for name, array in batch.items()}
    if len(set(counts.values())) != 1 or not min(counts.values()):
        listed = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise ArgumentError(f"all arrays of a batch must have as many rows (first axis) to be divided, got {listed}.")
    return next(iter(counts.values()))


def _copy(array: np.ndarray) -> np.ndarray:
    """A copy that a CPU device takes over as it is: the iterator may use its own memory again.

    ``device_put`` keeps an array whose memory begins at a multiple of 64, whatever ``may_alias`` says.
    """
    memory = np.empty(array.nbytes + 64, np.uint8)
    begin = -memory.ctypes.data % 64
    copied: np.ndarray = memory[begin : begin + array.nbytes].view(array.dtype).reshape(array.shape)
    copied[...] = array
    return copied


def _put_whole(leaf: Any, sharding: NamedSharding) -> Any:
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        data = _put_whole(jax.random.key_data(leaf), sharding)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
    held = np.array(leaf)
    return jax.make_array_from_callback(held.shape, sharding, lambda index: held[index])


def _local(mesh: Mesh, leaf: Any) -> Any:
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(_local(mesh, jax.random.key_data(leaf)), impl=jax.random.key_impl(leaf))
    if not leaf.is_fully_replicated:
        # One at a time: all at once may be more than a device holds.
        leaf = jax.jit(_same, out_shardings=NamedSharding(mesh, _spec()))(leaf)
    return leaf.addressable_data(0)


def _same(array: Array) -> Array:
    return array
