from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxspk.data import HELD_OUT_SPLITS, Manifest, Utterance, split_speakers
from jaxspk.errors import ArgumentError, CorpusError


def utterance(speaker, number=0, gender=None, split=None, seconds=1.0, **more):
    return Utterance(Path(f"{speaker}-{number}.wav"), speaker, seconds, gender, split=split, **more)


def crowd(women=0, men=0, unknown=0, split=None, prefix=""):
    kinds = {"F": women, "M": men, None: unknown}
    return tuple(
        utterance(f"{prefix}{gender}{k}", number, gender, split)
        for gender, count in kinds.items()
        for k in range(count)
        for number in range(2)
    )


def test_contents():
    manifest = Manifest((utterance("b", 0, "M"), utterance("a", 0, "F", seconds=2.5), utterance("b", 1, "M")))
    assert len(manifest) == 3
    assert manifest.speakers == ("a", "b")
    assert manifest.seconds == 4.5
    assert manifest.genders == {"a": "F", "b": "M"}
    assert list(manifest.by_speaker()) == ["a", "b"]
    assert [u.path.name for u in manifest.by_speaker()["b"]] == ["b-0.wav", "b-1.wav"]


def test_filters():
    manifest = Manifest(
        (
            utterance("a", 0, "F", "test", 1.0, corpus="x"),
            utterance("a", 1, "F", "test", 9.0, corpus="x"),
            utterance("b", 0, "M", None, 5.0, corpus="y"),
        )
    )
    assert len(manifest.where(gender="F")) == 2
    assert len(manifest.where(split="test", max_seconds=2.0)) == 1
    assert len(manifest.where(min_seconds=5.0)) == 2
    assert manifest.where(corpus="y").speakers == manifest.where(speakers=["b"]).speakers == ("b",)
    assert len(manifest.where(lambda u: u.path.name == "a-1.wav")) == 1
    assert len(manifest.where()) == 3


def test_a_file_stands_once():
    with pytest.raises(CorpusError, match=r"a-0.wav stands 2 times"):
        Manifest((utterance("a"), utterance("a")))


@pytest.mark.parametrize("field, values", [("gender", ("F", "M")), ("gender", ("F", None)), ("split", ("test", None))])
def test_a_speaker_has_one_gender_and_one_split(field, values):
    pair = tuple(utterance("a", k, **{field: value}) for k, value in enumerate(values))
    with pytest.raises(CorpusError, match=f"'a' has two values of {field}"):
        Manifest(pair)


def test_table_and_back(tmp_path):
    manifest = Manifest(
        (
            Utterance(tmp_path / "x" / "a.wav", "a", 1 / 3, "F", 'he said "so, what"', "s1", "c", "test"),
            Utterance(Path("/elsewhere/b.wav"), "b", 2.0),
        )
    )
    manifest.to_csv(tmp_path / "m.csv")
    assert Manifest.from_csv(tmp_path / "m.csv") == manifest
    assert "x/a.wav" in (tmp_path / "m.csv").read_text()
    assert str(tmp_path) not in (tmp_path / "m.csv").read_text()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.wav,,1,", "line 2: no speaker"),
        ("a.wav,a,long,", "line 2: seconds is 'long'"),
        ("a.wav,a,-1,", "line 2: seconds is -1"),
        ("a.wav,a,nan,", "line 2: seconds is nan"),
        ("a.wav,a,1,x", "line 2: gender 'x' is not one of F, M or empty"),
    ],
)
def test_wrong_rows_are_refused(tmp_path, row, message):
    (tmp_path / "m.csv").write_text(f"path,speaker,seconds,gender\n{row}\n")
    with pytest.raises(CorpusError, match=message):
        Manifest.from_csv(tmp_path / "m.csv")


@pytest.mark.parametrize(
    "written, read", [("F", "F"), ("female", "F"), ("M", "M"), ("Male", "M"), ("", None), ("u", None)]
)
def test_spellings_of_gender(tmp_path, written, read):
    (tmp_path / "m.csv").write_text(f"path,speaker,seconds,gender\na.wav,a,1,{written}\n")
    assert Manifest.from_csv(tmp_path / "m.csv").genders == {"a": read}


# --- Splits -----------------------------------------------------------------------------------------------


def test_split_is_disjoint_complete_and_in_proportion():
    manifest = Manifest(crowd(women=40, men=60))
    parts = split_speakers(manifest, {"train": 0.8, "validation": 0.1, "test": 0.1}, seed=1)
    assert {name: len(part.speakers) for name, part in parts.items()} == {"train": 80, "validation": 10, "test": 10}
    assert {name: list(part.genders.values()).count("F") for name, part in parts.items()} == {
        "train": 32,
        "validation": 4,
        "test": 4,
    }
    assert sorted(sum((part.speakers for part in parts.values()), ())) == sorted(manifest.speakers)
    assert all(u.split == name for name, part in parts.items() for u in part)


def test_split_depends_on_the_seed_only():
    manifest = Manifest(crowd(women=10, men=10))
    first, again, other = (split_speakers(manifest, {"a": 1.0, "b": 1.0}, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first["a"].speakers != other["a"].speakers


def test_every_part_gets_both_genders_where_there_are_enough():
    parts = split_speakers(Manifest(crowd(women=2, men=2)), {"train": 0.9, "validation": 0.1}, seed=0)
    assert all(sorted(part.genders.values()) == ["F", "M"] for part in parts.values())


def test_held_out_speakers_make_the_test_part_alone():
    manifest = Manifest(crowd(women=9, men=9) + crowd(women=2, men=2, split="test", prefix="held"))
    parts = split_speakers(manifest, {"train": 0.5, "validation": 0.2, "test": 0.3}, seed=0)
    assert parts["test"].speakers == manifest.where(split="test").speakers
    assert len(parts["train"].speakers) + len(parts["validation"].speakers) == 18
    unnamed = split_speakers(manifest, {"train": 1.0}, seed=0)
    assert list(unnamed) == ["train", "test"]
    assert unnamed["test"].speakers == parts["test"].speakers


@given(
    splits=st.lists(st.sampled_from([None, "train", "validation", "test", "other"]), min_size=1, max_size=30),
    fractions=st.dictionaries(
        st.sampled_from(["train", "validation", "test", "dev", "tune"]), st.floats(0.01, 1.0), min_size=1
    ),
    seed=st.integers(0, 100),
)
def test_no_held_out_speaker_ever_reaches_another_part(splits, fractions, seed):
    genders = ("F", "M", None)
    manifest = Manifest(tuple(utterance(f"s{k}", 0, genders[k % 3], split) for k, split in enumerate(splits)))
    try:
        parts = split_speakers(manifest, fractions, seed=seed)
        # Once more, as a careless user might: dividing a part again must not free anybody.
        parts |= {
            f"{name}-{k}": p for name in list(parts) for k, p in split_speakers(parts[name], fractions, seed=0).items()
        }
    except CorpusError:
        return
    for held in HELD_OUT_SPLITS:
        marked = set(manifest.where(split=held).speakers)
        for name, part in parts.items():
            if not name.endswith(held):
                assert not marked & set(part.speakers)


def test_too_few_speakers_are_refused():
    with pytest.raises(CorpusError, match="no speaker is left for 'validation': 1 speakers"):
        split_speakers(Manifest(crowd(men=1)), {"train": 0.9, "validation": 0.1}, seed=0)
    with pytest.raises(CorpusError, match="no speaker is left for 'train': 0 speakers that are not held out"):
        split_speakers(Manifest(crowd(men=3, split="test")), {"train": 0.9, "validation": 0.1}, seed=0)


@pytest.mark.parametrize("fractions", [{}, {"train": 0.0}, {"train": -1.0}, {"train": float("nan")}])
def test_senseless_fractions_are_refused(fractions):
    with pytest.raises(ArgumentError, match="fractions"):
        split_speakers(Manifest(crowd(men=3)), fractions, seed=0)
