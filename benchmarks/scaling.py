"""What the devices tell each other in a training step, and how that grows; and what a step costs on many hosts.

python -m benchmarks scaling                                  # bytes a step on 1, 2, 4 and 8 simulated devices
python -m benchmarks.scaling -o docs/results/scaling          # both tables, with the model of the time of a step
python -m benchmarks.scaling --check -o docs/results/scaling  # and the model against two processes of this machine

The bytes are read from the compiled program of the very step that `training.fit` runs. Weak: as many rows on each
device; strong: as many rows in all.
"""

import argparse
import dataclasses
import functools
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=8")

import numpy as np

from benchmarks import _loopback
from benchmarks._collectives import Collective, collectives
from benchmarks._frame import Case, Comparison, Figure
from jaxspk import reports

if TYPE_CHECKING:
    from jaxspk.systems import ObjectiveName

DEVICES = (1, 2, 4, 8)
HOSTS = (1, 2, 4, 8, 16, 32, 64)
WEAK_ROWS, STRONG_ROWS = 16, 128


@dataclasses.dataclass(frozen=True)
class Workload:
    """A training whose step is compiled.

    Attributes:
      name: in the tables.
      make: the model, its loss, and a batch of so many rows.
      shard_parameters: whether parameters and optimiser state are divided.
    """

    name: str
    make: Callable[[int], tuple[Any, Any, Mapping[str, np.ndarray]]]
    shard_parameters: bool = False


@dataclasses.dataclass(frozen=True)
class Step:
    """What the compiled step of a workload says.

    Attributes:
      devices: between which it is divided.
      rows: in the batch.
      parameters: of the model.
      messages: of the devices to each other.
    """

    devices: int
    rows: int
    parameters: int
    messages: Sequence[Collective]

    @property
    def payload(self) -> int:
        """Bytes of all messages."""
        return sum(message.payload * message.times for message in self.messages)

    @property
    def sent(self) -> float:
        """Bytes that a device sends."""
        return sum(message.sent(self.devices) for message in self.messages)

    @property
    def count(self) -> int:
        """Messages, one after another."""
        return sum(message.times for message in self.messages)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Network:
    """Between hosts.

    Attributes:
      name: as the table names it.
      bandwidth: bytes a second, of a host, in each direction.
      latency: seconds of a message between two hosts.
    """

    name: str
    bandwidth: float
    latency: float


NETWORKS = (
    Network(name="Ethernet, 10 Gbit/s", bandwidth=1.25e9, latency=50e-6),
    Network(name="Ethernet, 100 Gbit/s", bandwidth=12.5e9, latency=20e-6),
    Network(name="InfiniBand, 400 Gbit/s", bandwidth=50e9, latency=5e-6),
)


def _encoder(rows: int, loss: "ObjectiveName") -> tuple[Any, Any, Mapping[str, np.ndarray]]:
    from flax import nnx

    from jaxspk.systems import SPEAKER_PRESETS
    from jaxspk.systems._speaker_training import SpeakerLearner, speaker_objective

    config = SPEAKER_PRESETS["small"]()
    config = dataclasses.replace(config, objective=dataclasses.replace(config.objective, loss=loss))
    samples = round(config.batches.seconds * config.system.features.mel.sample_rate)
    batch = {"waveform": np.zeros((rows, 2, samples), np.float32), "speaker": np.zeros(rows, np.int32)}
    return SpeakerLearner(config, classes=1000, rngs=nnx.Rngs(0)), speaker_objective(config), batch


def _separator(rows: int) -> tuple[Any, Any, Mapping[str, np.ndarray]]:
    from flax import nnx

    from jaxspk.systems._deep_clustering import DeepClusteringModel, deep_clustering_objective
    from jaxspk.systems._separation_presets import RECIPES

    config = RECIPES["paper"]().system
    samples = config.features.samples(100)
    batch = {
        "mixture": np.zeros((rows, samples), np.float32),
        "sources": np.zeros((rows, 2, samples), np.float32),
        "samples": np.full(rows, samples, np.int32),
    }
    return DeepClusteringModel(config, rngs=nnx.Rngs(0)), deep_clustering_objective(config), batch


WORKLOADS = (
    Workload("speaker encoder, angular prototypical", functools.partial(_encoder, loss="angular_prototypical")),
    Workload("speaker encoder, AAM-softmax", functools.partial(_encoder, loss="aam_softmax")),
    Workload("deep clustering, 2 × 600", _separator),
    Workload("deep clustering, 2 × 600, parameters divided", _separator, shard_parameters=True),
)


def placed_step(workload: Workload, devices: int, rows: int) -> tuple[Any, Any, Any, Any]:
    """Placement, jitted step, the shapes of the state's arrays, and the rows of a batch that this process feeds."""
    import jax

    from jaxspk.training import FitConfig, ParallelConfig, make_optimizer
    from jaxspk.training._parallel import Placement
    from jaxspk.training._state import init_state
    from jaxspk.training._step import make_objective, make_step, metric_shapes, split_model

    model, loss, batch = workload.make(rows)
    graph, params, rest = split_model(model)
    objective, key = make_objective(graph, loss, None), jax.random.key(0)
    config = FitConfig()
    optimizer = make_optimizer(config.optimizer, config.steps)
    metrics = metric_shapes(objective, params, rest, batch, key)
    state = init_state(params, rest, optimizer, key, metrics)
    placement = Placement(ParallelConfig(devices=devices, shard_parameters=workload.shard_parameters), batch)
    step = make_step(objective, optimizer, weight_noise=0.0, gathered=placement.gathered)

    def placed(state: Any, batch: Any) -> Any:
        new_state, bad_run = step(state, batch)
        return placement.kept(new_state), bad_run

    return placement, jax.jit(placed, donate_argnums=0), state, batch


@functools.cache
def compiled_step(workload: Workload, devices: int, rows: int) -> Step:
    """The training step, compiled for so many simulated devices and never run."""
    import jax

    placement, step, state, batch = placed_step(workload, devices, rows)
    count = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    if devices == 1:
        return Step(1, rows, count, ())

    def shaped(leaf: Any, sharding: Any) -> Any:
        structure: Callable[..., Any] = jax.ShapeDtypeStruct  # Not typed in jax.
        return structure(leaf.shape, leaf.dtype, sharding=sharding)

    states = jax.tree.map(lambda leaf: shaped(leaf, placement.sharding(leaf)), state)
    batches = {name: shaped(array, placement.row_sharding()) for name, array in batch.items()}
    with placement.entered():
        program = step.lower(states, batches).compile().as_text()
    return Step(devices, rows, count, collectives(program or ""))


def step_seconds(hosts: int, *, computing: float, sent: float, messages: int, network: Network) -> float:
    r"""The model of a step, weak scaling: computing, then a ring of all hosts, nothing at the same time.

    .. math:: T(n) = T_1 + \frac{2 (n - 1)}{n} \frac{S}{B} + 2 (n - 1)\, m\, L

    Args:
      hosts: n.
      computing: :math:`T_1`, seconds of a step of one host.
      sent: S, bytes of the messages.
      messages: m, how many they are.
      network: B and L.
    """
    return computing + 2 * (hosts - 1) / hosts * sent / network.bandwidth + 2 * (hosts - 1) * messages * network.latency


def communication_table(workloads: Sequence[Workload]) -> reports.Table:
    """Bytes and messages a step, weak and strong."""
    rows: list[list[str | int | float]] = []
    for workload in workloads:
        for kind, per_device in (("weak", True), ("strong", False)):
            for devices in DEVICES:
                step = compiled_step(workload, devices, WEAK_ROWS * devices if per_device else STRONG_ROWS)
                of_gradient = step.payload / (4 * step.parameters)
                cells = [step.rows, step.parameters / 1e6, step.payload / 1e6, of_gradient, step.sent / 1e6, step.count]
                rows.append([workload.name, kind, devices, *cells])
                print(f"{workload.name}, {kind}, {devices} devices: {step.payload / 1e6:.2f} MB", flush=True)
    head = ["Training", "Scaling", "Devices", "Rows", "Parameters (M)", "Payload (MB)", "of the gradient", "Sent (MB)"]
    return reports.Table(
        [*head, "Messages"],
        rows,
        "Of one step, from the compiled program. Payload: what the messages hold on one device, and as a multiple of "
        "the gradient's bytes; sent: by each device, around a ring.",
        formats={"Parameters (M)": ".2f", "Payload (MB)": ".2f", "of the gradient": ".3f", "Sent (MB)": ".2f"},
    )


def time_table(workloads: Sequence[Workload], computing: float) -> reports.Table:
    """The model of a step's time against the number of hosts."""
    rows: list[list[str | int | float]] = []
    for workload in workloads:
        step = compiled_step(workload, 8, WEAK_ROWS * 8)
        for network in NETWORKS:
            times = [
                step_seconds(n, computing=computing, sent=step.payload, messages=step.count, network=network)
                for n in HOSTS
            ]
            rows.append([workload.name, network.name, *(computing / time for time in times)])
    return reports.Table(
        ["Training", "Network", *(f"{hosts} hosts" for hosts in HOSTS)],
        rows,
        f"Share of the ideal speed by the model, where a step of one host takes {1000 * computing:g} ms and every host "
        "has as many rows; bytes and messages as for 8 devices.",
        formats={f"{hosts} hosts": ".1%" for hosts in HOSTS},
    )


def check_table() -> reports.Table:
    """The model against two processes on the loopback interface, in which the network is measured, too."""
    rows = WEAK_ROWS
    with tempfile.TemporaryDirectory() as folder:
        alone, both = (_loopback.measure(count, Path(folder), rows=rows) for count in (1, 2))
    bandwidth, latency = _loopback.fit_network(both["sums"], 2)
    step = compiled_step(WORKLOADS[0], 2, 2 * rows)
    loopback = Network(name="loopback", bandwidth=bandwidth, latency=latency)
    model = step_seconds(2, computing=alone["step"], sent=step.payload, messages=step.count, network=loopback)
    return reports.Table(
        ["Training", "Bandwidth (MB/s)", "Latency (ms)", "One process (ms)", "Model of two (ms)", "Measured (ms)"],
        [
            [
                WORKLOADS[0].name,
                bandwidth / 1e6,
                1000 * latency,
                1000 * alone["step"],
                1000 * model,
                1000 * both["step"],
            ]
        ],
        f"The model held against two real processes with {rows} rows each on the loopback interface, one core each; "
        "the network is measured by sums of arrays of several sizes.",
        formats=dict.fromkeys(
            ("Bandwidth (MB/s)", "Latency (ms)", "One process (ms)", "Model of two (ms)", "Measured (ms)"), ".3g"
        ),
    )


def _sent_megabytes(workload: Workload, devices: int) -> float:
    return compiled_step(workload, devices, WEAK_ROWS * devices).sent / 1e6


def _cases() -> Sequence[Case]:
    return ()


def _figures() -> Sequence[Figure]:
    return [
        Figure(
            name=f"{workload.name}: sent by each of {devices} devices in a step ({WEAK_ROWS} rows each)",
            measure=functools.partial(_sent_megabytes, workload, devices),
            unit="MB",
        )
        for workload in WORKLOADS
        for devices in DEVICES
    ]


COMPARISON = Comparison(title="Communication of a training step", cases=_cases, figures=_figures)


def main(arguments: Sequence[str] | None = None) -> int:
    """Compiles, and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--milliseconds", type=float, default=200.0, help="of a step of one host, for the model")
    parser.add_argument("-o", "--output", type=Path, help="writes OUTPUT.md")
    parser.add_argument("--check", action="store_true", help="hold the model against two processes of this machine")
    parser.add_argument("--only-check", action="store_true", help="do nothing else")
    options = parser.parse_args(arguments)
    if options.only_check:
        table = check_table()
        print(*(f"{name}: {cell}" for name, cell in zip(table.columns, table.rows[0], strict=True)), sep="\n")
        return 0
    tables = [communication_table(WORKLOADS), time_table(WORKLOADS, options.milliseconds / 1000)]
    if options.check:
        tables.append(check_table())
    if options.output is not None:
        reports.write_results_markdown(
            options.output.with_suffix(".md"),
            "Communication of a training step",
            tables,
            reports.provenance(),
            introduction="How a training is spread over devices and hosts, and what follows from these numbers: "
            "[](../scaling.md). The model of the time of a step on n hosts: that of one, plus "
            "2 (n - 1) / n times the payload over the bandwidth, plus 2 (n - 1) latencies a message; nothing overlaps.",
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
