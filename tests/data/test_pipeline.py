import gc
import json
import threading
import time

import numpy as np
import pytest

from jaxspk.data import (
    Mixture,
    MixtureConfig,
    MixturePlan,
    MixtureSource,
    batches,
    mixture_batches,
    read_mixture_list,
    stack_mixtures,
    write_mixture_list,
)
from jaxspk.errors import ArgumentError, CheckpointError, CorpusError


class Numbers:
    """A source of its own indices that tells which threads ask."""

    def __init__(self, size):
        self.size = size
        self.threads = set()

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        self.threads.add(threading.current_thread().name)
        return int(index)


def stack(items):
    return {"item": np.array(items)}


def take(stream, count):
    return [next(stream)["item"].tolist() for _ in range(count)]


def numbers(size=10, count=10, *, batch_size=3, seed=0, **settings):
    with batches(Numbers(size), stack, batch_size=batch_size, seed=seed, **settings) as stream:
        return take(stream, count)


def equal(first, second):
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


# --- Any source -------------------------------------------------------------------------------------------


def test_every_round_holds_every_item_once_in_a_new_order():
    drawn = [item for batch in numbers(size=12, count=12) for item in batch]
    rounds = [drawn[start : start + 12] for start in (0, 12, 24)]
    assert all(sorted(one) == list(range(12)) for one in rounds)
    assert rounds[0] != rounds[1] != rounds[2]


def test_batches_go_on_over_the_end_of_a_round():
    assert numbers(size=4, count=3, shuffle=False) == [[0, 1, 2], [3, 0, 1], [2, 3, 0]]


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_the_stream_does_not_depend_on_the_number_of_workers(workers):
    assert numbers(count=25, workers=workers) == numbers(count=25, workers=0)
    assert numbers(count=25, workers=workers, prefetch=11) == numbers(count=25, workers=0)


def test_it_depends_on_the_seed():
    assert numbers(seed=1) == numbers(seed=1) != numbers(seed=2)


def test_shards_share_out_what_one_would_read():
    whole = numbers(size=10, count=8, batch_size=4)
    halves = [numbers(size=10, count=8, batch_size=4, shard_index=k, shard_count=2) for k in (0, 1)]
    assert [[*first, *second] for first, second in zip(*halves, strict=True)] == whole


def test_a_place_in_the_stream_is_the_same_for_any_number_of_shards():
    whole = numbers(size=10, count=9, batch_size=4)
    with batches(Numbers(10), stack, batch_size=4, seed=0, shard_index=1, shard_count=2) as stream:
        take(stream, 5)
        state = json.loads(json.dumps(stream.get_state()))
    parts = []
    for shard in range(4):
        with batches(Numbers(10), stack, batch_size=4, seed=0, shard_index=shard, shard_count=4) as stream:
            stream.set_state(state)
            parts.append(take(stream, 4))
    assert [[item for part in together for item in part] for together in zip(*parts, strict=True)] == whole[5:]


def test_parts_that_would_not_be_equal_are_refused():
    with pytest.raises(ArgumentError, match="`batch_size` = 5 cannot be divided into 2 equal parts; take a multiple"):
        numbers(batch_size=5, shard_count=2)


def test_workers_are_threads_and_none_means_this_one():
    source = Numbers(10)
    with batches(source, stack, batch_size=2, seed=0, workers=0) as stream:
        take(stream, 3)
    assert source.threads == {threading.current_thread().name}
    source.threads.clear()
    with batches(source, stack, batch_size=2, seed=0, workers=2) as stream:
        take(stream, 20)
    assert threading.current_thread().name not in source.threads


def test_batches_are_made_ahead_of_time():
    source = Numbers(100)
    made = threading.Event()

    def notice(items):
        if 7 in items:
            made.set()
        return stack(items)

    with batches(source, notice, batch_size=1, seed=0, shuffle=False, workers=2, prefetch=10) as stream:
        next(stream)
        assert made.wait(10)


def test_closing_ends_the_threads():
    def workers():
        return [t for t in threading.enumerate() if t.name.startswith("grain-prefetch") and t.is_alive()]

    before = set(workers())
    stream = batches(Numbers(10), stack, batch_size=2, seed=0, workers=3)
    take(stream, 4)
    stream.close()
    stream.close()
    del stream
    gc.collect()
    deadline = time.monotonic() + 10
    while set(workers()) - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not set(workers()) - before


def test_an_error_in_a_worker_reaches_the_caller_as_it_is():
    def fail(items):
        raise CorpusError("the message")

    with batches(Numbers(3), fail, batch_size=1, seed=0) as stream, pytest.raises(CorpusError, match=r"^the message$"):
        next(stream)


def test_senseless_settings_are_refused():
    for settings in ({"batch_size": 0}, {"seed": -1}, {"workers": -1}, {"shard_index": 1}, {"seed": 2**32}):
        with pytest.raises(ArgumentError, match=next(iter(settings))):
            numbers(**settings)
    with pytest.raises(CorpusError, match="source is empty"):
        numbers(size=0)


# --- Resuming ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("done", [0, 1, 7])
@pytest.mark.parametrize(("workers", "workers_later"), [(0, 2), (2, 0), (3, 1)])
def test_a_stream_goes_on_where_it_was(done, workers, workers_later):
    whole = numbers(count=done + 9, workers=0)
    with batches(Numbers(10), stack, batch_size=3, seed=0, workers=workers) as stream:
        take(stream, done)
        state = json.loads(json.dumps(stream.get_state()))
    with batches(Numbers(10), stack, batch_size=3, seed=0, workers=workers_later) as stream:
        stream.set_state(state)
        assert take(stream, 9) == whole[done:]


def test_a_running_stream_can_be_set_back():
    with batches(Numbers(10), stack, batch_size=3, seed=0) as stream:
        first = take(stream, 2)
        state = stream.get_state()
        later = take(stream, 5)
        stream.set_state(state)
        assert stream.get_state() == state
        assert take(stream, 5) == later != first


@pytest.mark.parametrize("changed", [{"batch_size": 4}, {"seed": 1}, {"shuffle": False}, {"size": 11}])
def test_a_state_of_another_stream_is_refused(changed):
    settings = {"size": 10, "batch_size": 6, "seed": 0, "shard_count": 2}

    def open_stream(size, **rest):
        return batches(Numbers(size), stack, **rest)

    with open_stream(**settings) as stream, open_stream(**(settings | changed)) as other:
        with pytest.raises(CheckpointError, match=f"had {next(iter(changed))} .*resume with the same data"):
            other.set_state(stream.get_state())
        with pytest.raises(CheckpointError, match="not a state of the input pipeline"):
            other.set_state({"epoch": 3})


# --- Mixtures ---------------------------------------------------------------------------------------------


def source(manifest, seed=0, size=40, **config):
    return MixtureSource(manifest, MixtureConfig(**config), seed=seed, size=size)


def test_batches_of_mixtures(people):
    drawn = source(people, seconds=0.5)
    with mixture_batches(drawn, batch_size=8, shuffle=False) as stream:
        batch = next(stream)
    assert {name: (array.shape, array.dtype.name) for name, array in batch.items()} == {
        "mixture": ((8, 4000), "float32"),
        "sources": ((8, 2, 4000), "float32"),
        "samples": ((8,), "int32"),
    }
    np.testing.assert_array_equal(batch["sources"][3], drawn[3].sources)
    np.testing.assert_array_equal(batch["mixture"], batch["sources"].sum(1))


def test_the_same_batches_from_any_number_of_workers_and_after_resuming(people):
    with mixture_batches(source(people, seconds=0.5), batch_size=4, seed=5, workers=0) as stream:
        expected = [next(stream) for _ in range(15)]
    with mixture_batches(source(people, seconds=0.5), batch_size=4, seed=5, workers=3) as stream:
        assert all(equal(next(stream), batch) for batch in expected[:6])
        state = json.loads(json.dumps(stream.get_state()))
    with mixture_batches(source(people, seconds=0.5), batch_size=4, seed=5, workers=2) as stream:
        stream.set_state(state)
        assert all(equal(next(stream), batch) for batch in expected[6:])


def test_other_data_cannot_be_resumed(people):
    with (
        mixture_batches(source(people), batch_size=2) as stream,
        mixture_batches(source(people.where(gender="F")), batch_size=2) as other,
        pytest.raises(CheckpointError, match="fingerprint"),
    ):
        other.set_state(stream.get_state())


def test_an_endless_source_is_no_trouble(people):
    with mixture_batches(source(people, size=2**31 - 1, seconds=0.25), batch_size=2, shuffle=False) as stream:
        np.testing.assert_array_equal(next(stream)["mixture"][1], source(people, seconds=0.25)[1].mixture)


def test_mixtures_of_several_lengths_are_padded_to_the_longest():
    made = [
        Mixture(np.ones(n, np.float32), np.ones((2, n), np.float32), 8000, MixturePlan(str(n), (), (), ()))
        for n in (3, 5)
    ]
    batch = stack_mixtures(made)
    assert batch["samples"].tolist() == [3, 5]
    assert batch["mixture"].tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    assert batch["sources"].sum((1, 2)).tolist() == [6, 10]


def test_held_out_speakers_cannot_be_trained_on(make_manifest, tmp_path):
    held = source(make_manifest({"ann": "F", "bob": "M"}, split="test"))
    with pytest.raises(CorpusError, match=r"2 speakers in these mixtures are held out for testing \(ann, bob\)"):
        mixture_batches(held, batch_size=1)
    write_mixture_list(tmp_path / "list.csv", held)
    with pytest.raises(CorpusError, match="held out"):
        mixture_batches(read_mixture_list(tmp_path / "list.csv"), batch_size=1)
    with mixture_batches(held, batch_size=1, allow_held_out=True) as stream:
        assert next(stream)["mixture"].shape[0] == 1
