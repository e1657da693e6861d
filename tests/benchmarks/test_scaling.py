"""Bytes between devices, read from compiled programs, and the model of the time of a step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from benchmarks._collectives import Collective, collectives
from benchmarks.scaling import COMPARISON, Network, step_seconds


def test_a_gradient_is_reduced_once_and_a_sum_in_a_loop_at_every_round():
    mesh = Mesh(np.array(jax.devices()[:4]), ("devices",))
    rows, whole = (NamedSharding(mesh, spec) for spec in (PartitionSpec("devices"), PartitionSpec()))

    def gradient(kernel, inputs):
        return jax.grad(lambda kernel: jnp.sum(jnp.square(inputs @ kernel)))(kernel)

    def looped(inputs):
        def add(total, _):
            return total + jax.lax.psum(jnp.cos(total), "devices"), None

        one = jax.shard_map(
            lambda x: jax.lax.scan(add, x, length=5)[0], mesh=mesh, in_specs=PartitionSpec("devices"),
            out_specs=PartitionSpec("devices"), check_vma=False,
        )  # fmt: skip
        return one(inputs)

    kernel = jax.ShapeDtypeStruct((6, 7), jnp.float32, sharding=whole)
    inputs = jax.ShapeDtypeStruct((8, 6), jnp.float32, sharding=rows)
    program = jax.jit(gradient, out_shardings=whole).lower(kernel, inputs).compile().as_text()
    assert collectives(program) == [Collective("all-reduce", 6 * 7 * 4, 1)]
    program = jax.jit(looped).lower(inputs).compile().as_text()
    assert collectives(program) == [Collective("all-reduce", 2 * 6 * 4, 5)]


PROGRAM = """\
HloModule example

%inner (a: f32[4]) -> f32[4] {
  %a = f32[4]{0} parameter(0)
  ROOT %r = (f32[4]{0}, s32[]) all-reduce(%a, %b), to_apply=%add
}

%cond (a: f32[4]) -> pred[] {
  ROOT %c = pred[] constant(true)
}

ENTRY %main (x: f32[4]) -> f32[4] {
  %x = f32[4]{0} parameter(0)
  %g = bf16[8,2]{1,0} all-gather(%x), dimensions={0}
  %p = (f32[4]{0}, f32[16]{0}) all-gather-start(%x), dimensions={0}
  ROOT %w = f32[4]{0} while(%x), condition=%cond, body=%inner, backend_config={"known_trip_count":{"n":"3"}}
}
"""


def test_results_of_several_arrays_and_of_messages_that_are_only_begun():
    found = collectives(PROGRAM)
    assert found == [Collective("all-reduce", 20, 3), Collective("all-gather", 32, 1), Collective("all-gather", 64, 1)]


def test_a_loop_of_unknown_length_is_no_number():
    with pytest.raises(ValueError, match="all-reduce in inner, a loop of unknown length"):
        collectives(PROGRAM.replace(', backend_config={"known_trip_count":{"n":"3"}}', ""))


@pytest.mark.parametrize("kind, sent", [("all-reduce", 150), ("all-gather", 75), ("reduce-scatter", 300)])
def test_what_a_device_sends_around_a_ring_of_four(kind, sent):
    assert Collective(kind, 100, 1).sent(4) == sent
    assert Collective(kind, 100, 3).sent(4) == 3 * sent


def test_the_model_of_a_step_is_its_formula():
    network = Network(name="", bandwidth=1e9, latency=1e-5)
    assert step_seconds(1, computing=0.2, sent=1e8, messages=10, network=network) == 0.2
    found = step_seconds(4, computing=0.2, sent=1e8, messages=10, network=network)
    assert found == pytest.approx(0.2 + 1.5 * 0.1 + 6 * 10 * 1e-5)


def test_it_is_found_among_the_comparisons():
    names = [figure.name for figure in COMPARISON.figures()]
    assert len(names) == len(set(names)) == 16
