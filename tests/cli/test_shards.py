"""Large collections in parts, and commands that go on where they were interrupted."""

from pathlib import Path

import numpy as np
import pytest

from jaxspk import audio
from jaxspk.cli import _batch, _shards, main
from jaxspk.errors import ArgumentError, AudioError

RATE = 16000


def test_parts_share_a_collection_evenly_and_wholly():
    recordings = [Path(f"{number}.wav") for number in range(10)]
    parts = [_shards.choose(f"{number}/3").of(recordings) for number in (1, 2, 3)]
    assert sorted(path for part in parts for path in part) == sorted(recordings)
    assert {len(part) for part in parts} == {3, 4}


def test_a_process_of_a_launch_does_its_part(monkeypatch):
    assert _shards.choose(None) == _shards.Shard(1, 1)
    monkeypatch.setenv("JAXSPK_PROCESS_COUNT", "4")
    monkeypatch.setenv("JAXSPK_PROCESS_INDEX", "2")
    assert _shards.choose(None) == _shards.Shard(3, 4)
    assert _shards.choose("1/8") == _shards.Shard(1, 8)


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "a/b", "1/0"])
def test_what_is_no_part_is_refused(shard):
    with pytest.raises(ArgumentError, match="--shard must be a part such as 2/8, from 1/8 to 8/8, got"):
        _shards.choose(shard)


def test_files_of_parts_stand_beside_that_of_the_whole(tmp_path):
    whole = tmp_path / "v.npz"
    part = _shards.Shard(2, 8).place(whole)
    assert part.name == "v-2-of-8.npz" and _shards.Shard().place(whole) == whole
    for path in (part, whole, tmp_path / "v-old.npz", tmp_path / "w-1-of-2.npz"):
        path.touch()
    assert _shards.all_places(whole) == [part, whole]
    assert _shards.all_places(tmp_path / "nowhere" / "v.npz") == []


# --- Separating: a journal of what is done. ---


@pytest.fixture
def recordings(tmp_path):
    paths = [tmp_path / f"{number}.wav" for number in range(4)]
    for path in paths:
        path.write_bytes(path.name.encode())
    return paths


def run(recordings, journal, worked, stop_at=None, bad=()):
    def work(path, report):
        if path == stop_at:
            raise KeyboardInterrupt
        if path in bad:
            raise AudioError(f"{path.name}: bad.")
        worked.append(path)
        return {"recording": str(path), "seconds": 1.0}

    return _batch.for_each(
        recordings, work, describe=lambda facts: facts["recording"], verb="done", as_json=False, journal=journal
    )


def journal(folder, shard=None, **settings):
    whole = folder / "out" / "done.jsonl"
    return _shards.Journal((shard or _shards.Shard()).place(whole), settings, whole=whole)


def test_an_interrupted_command_goes_on_and_tries_bad_files_again(recordings, tmp_path, capsys):
    worked = []
    with pytest.raises(KeyboardInterrupt):
        run(recordings, journal(tmp_path), worked, stop_at=recordings[3], bad=recordings[1:2])
    assert worked == [recordings[0], recordings[2]]
    assert run(recordings, journal(tmp_path), worked) == 0
    assert worked == [recordings[0], recordings[2], recordings[1], recordings[3]]
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith("done 4 of 4: 2.0 s of sound in ") and said.endswith(", 2 of them before")


def test_what_changed_since_or_was_done_otherwise_is_done_again(recordings, tmp_path):
    worked = []
    run(recordings, journal(tmp_path, seed=0), worked)
    recordings[2].write_bytes(b"something else")
    run(recordings, journal(tmp_path, seed=0), worked)
    assert worked[4:] == [recordings[2]]
    run(recordings, journal(tmp_path, seed=1), worked)
    assert worked[5:] == recordings


def test_parts_know_of_each_other_and_a_cut_line_does_no_harm(recordings, tmp_path):
    worked = []
    for number in (1, 2):
        shard = _shards.Shard(number, 2)
        run(shard.of(recordings), journal(tmp_path, shard), worked)
    cut = tmp_path / "out" / "done-2-of-2.jsonl"
    cut.write_bytes(cut.read_bytes()[:-9])
    run(recordings, journal(tmp_path, _shards.Shard(2, 2)), worked)
    assert worked[4:] == [recordings[3]]
    run(recordings, journal(tmp_path), worked)
    assert len(worked) == 5


# --- Embedding: what stands in the files of the parts. ---


@pytest.fixture
def collection(tmp_path, monkeypatch):
    class Encoder:
        sample_rate, shortest_seconds = RATE, 0.1

        def embed(self, waveforms, sample_rate):
            heard.extend(len(waveform) for waveform in waveforms)
            return np.stack([[np.cos(len(w)), np.sin(len(w))] for w in waveforms]).astype(np.float32)

        def embed_crops(self, waveform, sample_rate, *, seconds, count):
            raise NotImplementedError

    from jaxspk.cli import _voices

    heard: list[int] = []
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.safetensors").write_bytes(b"weights")
    monkeypatch.setattr(_voices, "load_encoder", lambda folder: _voices.Hearing(Encoder(), model))
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    for number in range(5):
        noise = np.random.default_rng(number).normal(size=RATE + number).astype(np.float32)
        audio.write_audio(Path(f"in/{number}.wav"), noise / 10, RATE)
    return heard


def embed(*words):
    return main(["embed", "in", "-o", "v.npz", *words])


def stored(name):
    with np.load(name, allow_pickle=False) as found:
        return [Path(path).stem for path in found["recordings"]], found["embeddings"]


def test_parts_are_put_together_without_hearing_anything_again(collection, capsys):
    assert embed("--shard", "1/2", "--resume") == embed("--shard", "2/2", "--resume") == 0
    assert stored("v-1-of-2.npz")[0] == ["0", "2", "4"]
    assert len(collection) == 5
    assert embed("--resume") == 0
    assert len(collection) == 5
    names, vectors = stored("v.npz")
    assert names == list("01234")
    assert "v.npz: 5 of 5 recordings, 2 numbers each, 5 of them before" in capsys.readouterr().out
    assert main(["embed", "in", "-o", "anew.npz"]) == 0
    np.testing.assert_array_equal(stored("anew.npz")[1], vectors)


def test_only_what_is_new_changed_or_was_bad_is_heard(collection, capsys):
    Path("in/bad.wav").write_bytes(b"nothing")
    assert embed("--resume") == 1
    audio.write_audio(Path("in/bad.wav"), np.full(2 * RATE, 0.1, np.float32), RATE)
    audio.write_audio(Path("in/3.wav"), np.full(3 * RATE, 0.1, np.float32), RATE)
    collection.clear()
    assert embed("--resume") == 0
    assert sorted(collection) == [2 * RATE, 3 * RATE]
    Path("model/model.safetensors").write_bytes(b"other weights")
    assert embed("--resume") == 0
    assert len(collection) == 8


def test_resuming_needs_a_file_that_says_what_it_was_made_of(collection, capsys):
    assert main(["embed", "in", "-o", "v.csv", "--resume"]) == 2
    assert "--resume needs an --output that ends in .npz" in capsys.readouterr().err
    Path("v.npz").write_bytes(b"something else")
    assert embed("--resume") == 0
