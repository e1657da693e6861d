import multiprocessing
import os
import stat

import numpy as np
import pytest

from jaxspk.errors import ArgumentError, ModelError
from jaxspk.metrics import cosine_scores
from jaxspk.systems import Person, VoiceStore, default_store, person_name

MODEL, OTHER = "a" * 64, "b" * 64


@pytest.fixture
def store(tmp_path) -> VoiceStore:
    return VoiceStore(tmp_path / "voices" / "people.safetensors", MODEL)


def vectors(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 4))


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def test_people_are_enrolled_compared_and_removed(store):
    assert store.people() == ()
    assert store.compare(np.ones(4))[0] == ()
    ann, bob = vectors(3, 1), vectors(1, 2)
    assert store.enroll("Ann", ann, 12.5) == Person("Ann", 3, 12.5)
    store.enroll("Bob", bob, 4.0)
    probe = vectors(1, 3)[0]
    people, scores = store.compare(probe)
    assert [person.name for person in people] == ["Ann", "Bob"]
    expected = cosine_scores(probe, np.stack([unit(ann).mean(0), bob[0]]))
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    assert store.remove("Ann") == Person("Ann", 3, 12.5)
    assert store.people() == (Person("Bob", 1, 4.0),)
    np.testing.assert_allclose(store.compare(probe)[1], expected[1:], atol=1e-6)


def test_more_recordings_make_the_mean_of_all(store):
    rows = vectors(5)
    store.enroll("Zoe", vectors(1, 9), 1.0)
    store.enroll("Ann", rows[:2], 3.0)
    store.enroll("Bob", vectors(1, 8), 1.0)
    assert store.enroll("Ann", rows[2:], 4.0) == Person("Ann", 5, 7.0)
    assert [person.name for person in store.people()] == ["Zoe", "Ann", "Bob"]
    np.testing.assert_allclose(store.compare(rows[0])[1][1], cosine_scores(rows[0], unit(rows).mean(0)), atol=1e-6)


def test_who_is_removed_is_in_the_file_no_more(store):
    voice = np.array([[0.123456, 0.5, 0.25, -0.75]])
    store.enroll("Ann Removed", voice, 1.0)
    assert b"Ann Removed" in store.path.read_bytes()
    store.remove("Ann Removed")
    content = store.path.read_bytes()
    assert b"Removed" not in content and unit(voice).astype(np.float32).tobytes() not in content
    assert os.listdir(store.path.parent) == [store.path.name]
    assert store.people() == ()
    store.enroll("Bob", vectors(1), 1.0)


def test_only_the_owner_can_read_it(store):
    store.enroll("Ann", vectors(1), 1.0)
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700


def test_another_model_is_refused_until_nobody_is_left(store):
    store.enroll("Ann", vectors(1), 1.0)
    other = VoiceStore(store.path, OTHER)
    for action in (other.people, lambda: other.compare(np.ones(4)), lambda: other.enroll("Bob", vectors(1), 1.0)):
        with pytest.raises(ModelError, match=r"another model \(weights aaaaaaaaaaaa, not bbbbbbbbbbbb\)"):
            action()
    whoever = VoiceStore(store.path, None)
    assert len(whoever.people()) == 1
    whoever.remove("Ann")
    other.enroll("Bob", np.ones((1, 7)), 1.0)
    assert other.people() == (Person("Bob", 1, 1.0),)


def test_one_name_in_several_spellings_is_one_person(store):
    store.enroll("Zoë  Müller", vectors(1), 1.0)
    assert store.enroll(" Zoe\u0308 Müller ", vectors(1), 1.0).recordings == 2


@pytest.mark.parametrize(
    "name", ["", "  ", "unknown", "Unknown ", "a\nb", "a\tb", "\x00", "a" * 101, "a\u202eb", "\ud800"]
)
def test_names_that_are_none_are_refused(store, name):
    with pytest.raises(ArgumentError, match=r"a name must|nobody can be called") as error:
        person_name(name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("rows", [np.ones((0, 4)), np.zeros((1, 4)), np.full((1, 4), np.nan), np.ones(4)])
def test_wrong_embeddings_are_refused(as_a_user, store, rows):
    with pytest.raises(ArgumentError, match="`embeddings`"):
        store.enroll("Ann", rows, 1.0)
    assert not store.path.exists()


def test_wrong_lengths_are_refused(store):
    store.enroll("Ann", vectors(1), 1.0)
    for action in (lambda: store.enroll("Bob", np.ones((1, 3)), 1.0), lambda: store.compare(np.ones(3))):
        with pytest.raises(ArgumentError, match="must have 4 values"):
            action()
    with pytest.raises(ArgumentError, match="knows nobody called 'Bob'; it knows Ann"):
        store.remove("Bob")
    with pytest.raises(ArgumentError, match="`model`"):
        VoiceStore(store.path, None).enroll("Bob", vectors(1), 1.0)


def damage(content: bytes, kind: str) -> bytes:
    if kind == "cut":
        return content[:-3]
    if kind == "foreign":
        return b"\x02\x00\x00\x00\x00\x00\x00\x00{}"
    if kind == "nan":
        return content[:-4] + np.float32("nan").tobytes()
    return content.replace(*{
        "name": (b'\\"Ann\\"', b'\\"A\\u0\\"'),
        "count": (b'\\"recordings\\": 1', b'\\"recordings\\": 0'),
        "version": (b'"format_version":"1"', b'"format_version":"9"'),
    }[kind])  # fmt: skip


@pytest.mark.parametrize(
    "kind, message",
    [
        ("cut", "is damaged"),
        ("foreign", "no file of voices"),
        ("nan", "is damaged"),
        ("name", "is damaged"),
        ("count", "is damaged"),
        ("version", "format version '9'"),
    ],
)
def test_damaged_files_are_refused_and_kept(store, kind, message):
    store.enroll("Ann", vectors(1), 1.0)
    content = store.path.read_bytes()
    damaged = damage(content, kind)
    assert damaged != content
    store.path.write_bytes(damaged)
    for action in (store.people, lambda: store.enroll("Bob", vectors(1), 1.0), lambda: store.remove("Ann")):
        with pytest.raises(ModelError, match=message):
            action()
    assert store.path.read_bytes() == damaged


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ModelError, match="cannot be written"):
        VoiceStore(tmp_path / "file" / "people.safetensors", MODEL).enroll("Ann", vectors(1), 1.0)
    with pytest.raises(ModelError, match="cannot be read"):
        VoiceStore(tmp_path, MODEL).people()


def enroll_some(store: VoiceStore, prefix: str, start) -> None:
    start.wait()
    for number in range(10):
        store.enroll(f"{prefix}{number}", vectors(1, number), 1.0)
        store.enroll("Everybody", vectors(1, number), 1.0)


def test_concurrent_writers_lose_nothing(store):
    context = multiprocessing.get_context("fork")
    start = context.Event()
    writers = [context.Process(target=enroll_some, args=(store, prefix, start)) for prefix in "abc"]
    for writer in writers:
        writer.start()
    start.set()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    people = {person.name: person for person in store.people()}
    assert len(people) == 31 and people["Everybody"].recordings == 30
    assert os.listdir(store.path.parent) == [store.path.name]


def test_the_default_place(monkeypatch, tmp_path):
    monkeypatch.setenv("JAXSPK_PEOPLE", str(tmp_path / "mine.safetensors"))
    assert default_store() == tmp_path / "mine.safetensors"
    monkeypatch.delenv("JAXSPK_PEOPLE")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_store() == tmp_path / "jaxspk" / "people.safetensors"
    monkeypatch.delenv("XDG_DATA_HOME")
    assert default_store().parts[-4:] == (".local", "share", "jaxspk", "people.safetensors")
