import csv
from pathlib import Path

import numpy as np
import pytest

from jaxspk.audio import write_audio
from jaxspk.data import LAYOUTS, read_corpus, split_speakers, summarize
from jaxspk.errors import ArgumentError, CorpusError


def messages(scan):
    return {problem.path.name: problem.message for problem in scan.problems}


# --- A folder per speaker ---------------------------------------------------------------------------------


def test_a_folder_per_speaker(tmp_path, write_voice):
    for name in ("ann/a1.wav", "ann/day2/a2.flac", "bob/b.WAV"):
        write_voice(tmp_path / name)
    scan = read_corpus(tmp_path)
    assert scan.layout == "folders"
    assert not scan.problems
    found = {(u.path.relative_to(tmp_path).as_posix(), u.speaker, u.session) for u in scan.manifest}
    assert found == {("ann/a1.wav", "ann", None), ("ann/day2/a2.flac", "ann", "day2"), ("bob/b.WAV", "bob", None)}
    assert all(u.seconds == 2.0 for u in scan.manifest)


def test_a_table_of_speakers_adds_genders_and_splits(tmp_path, write_voice):
    for name in ("ann/a.wav", "bob/b.wav", "kim/k.wav"):
        write_voice(tmp_path / name)
    (tmp_path / "speakers.csv").write_text("speaker,sex,split\nann,F,test\nbob,male,\n")
    manifest = read_corpus(tmp_path).manifest
    assert manifest.genders == {"ann": "F", "bob": "M", "kim": None}
    assert manifest.splits == {"ann": "test", "bob": None, "kim": None}


def test_what_cannot_be_used_is_collected(tmp_path, write_voice):
    write_voice(tmp_path / "ann" / "good.wav")
    write_voice(tmp_path / "ann" / "short.wav", seconds=0.1)
    write_voice(tmp_path / "stray.wav")
    (tmp_path / "ann" / "empty.wav").touch()
    (tmp_path / "ann" / "text.wav").write_text("no sound at all, only a text that is long enough")
    whole = write_voice(tmp_path / "ann" / "cut.wav").read_bytes()
    (tmp_path / "ann" / "cut.wav").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "ann" / "again.wav").symlink_to(tmp_path / "ann" / "good.wav")
    scan = read_corpus(tmp_path)
    assert [u.path.name for u in scan.manifest] == ["again.wav"]  # Sorted before good.wav, the same file.
    found = messages(scan)
    assert set(found) == {"short.wav", "stray.wav", "empty.wav", "text.wav", "cut.wav", "good.wav"}
    assert found["short.wav"] == "lasts 0.10 s, less than 0.25 s"
    assert "whose voice" in found["stray.wav"]
    assert "the same file as" in found["good.wav"]
    assert "empty" in found["empty.wav"]
    assert not any(str(tmp_path) in message for name, message in found.items() if name != "good.wav")


def test_decoding_finds_silence_and_doubles(tmp_path, write_voice):
    write_voice(tmp_path / "ann" / "good.wav")
    write_audio(tmp_path / "ann" / "hush.wav", np.zeros(8000, np.float32), 8000)
    (tmp_path / "bob").mkdir()
    (tmp_path / "bob" / "stolen.wav").write_bytes((tmp_path / "ann" / "good.wav").read_bytes())
    assert len(read_corpus(tmp_path).manifest) == 3
    scan = read_corpus(tmp_path, decode=True)
    assert [u.path.name for u in scan.manifest] == ["good.wav"]
    found = messages(scan)
    assert "silent" in found["hush.wav"]
    assert found["stolen.wav"] == f"the same sound as {tmp_path / 'ann' / 'good.wav'}"


def test_progress_wraps_the_recordings(tmp_path, write_voice):
    write_voice(tmp_path / "ann" / "a.wav")
    seen = []

    def progress(recordings):
        seen.append(len(recordings))
        return recordings

    read_corpus(tmp_path, progress=progress)
    assert seen == [1]


@pytest.mark.parametrize("layout", ["auto", "folders", "librispeech"])
def test_a_folder_without_speech_is_refused_with_a_way_out(tmp_path, layout):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(CorpusError, match=r"no usable speech.*expected a table .* or a folder per speaker"):
        read_corpus(tmp_path, layout)


def test_a_folder_of_damaged_files_says_what_is_wrong(tmp_path):
    (tmp_path / "ann").mkdir()
    (tmp_path / "ann" / "a.wav").touch()
    with pytest.raises(CorpusError, match=r"no usable speech .*first problem of 1: .*a.wav: .*empty"):
        read_corpus(tmp_path)


def test_wrong_arguments(tmp_path):
    with pytest.raises(CorpusError, match="no such file or folder"):
        read_corpus(tmp_path / "nowhere")
    with pytest.raises(ArgumentError, match=r"`layout` must be one of 'auto', 'csv', 'kaldi', .*'folders', got 'wsj'"):
        read_corpus(tmp_path, "wsj")
    (tmp_path / "list.txt").touch()
    with pytest.raises(CorpusError, match="no corpus; expected a table"):
        read_corpus(tmp_path / "list.txt")
    with pytest.raises(CorpusError, match=r"no table; expected utterances.csv"):
        read_corpus(tmp_path, "csv")


# --- LibriSpeech ------------------------------------------------------------------------------------------


@pytest.fixture
def librispeech(tmp_path, write_voice) -> Path:
    for subset, speaker, chapter, number in (
        ("train-clean-100", 19, 198, 0), ("train-clean-100", 19, 227, 1), ("dev-clean", 84, 121123, 0),
        ("test-clean", 61, 70968, 0),
    ):  # fmt: skip
        write_voice(tmp_path / "LibriSpeech" / subset / f"{speaker}/{chapter}/{speaker}-{chapter}-{number:04d}.flac")
    folder = tmp_path / "LibriSpeech"
    (folder / "SPEAKERS.TXT").write_text(
        "; a comment\n;ID  |SEX| SUBSET           |MINUTES| NAME\n"
        "19   | F | train-clean-100  | 25.19 | Kara |with| bars\n61   | M | test-clean  | 8.08  | Paul\n"
    )
    (folder / "train-clean-100/19/198/19-198.trans.txt").write_text("19-198-0000 NORTHANGER ABBEY\n19-198-0001 X\n")
    return folder


@pytest.mark.parametrize("below", ["..", ".", "train-clean-100", "train-clean-100/19"])
def test_librispeech_from_any_of_its_folders(librispeech, below):
    scan = read_corpus((librispeech / below).resolve())
    assert scan.layout == "librispeech"
    first = scan.manifest.by_speaker()["19"][0]
    assert (first.gender, first.session, first.text, first.corpus, first.split) == (
        "F",
        "198",
        "NORTHANGER ABBEY",
        "LibriSpeech",
        "train",
    )


def test_librispeech_speakers_and_splits(librispeech, write_voice):
    write_voice(librispeech / "train-clean-100/19/198/extra.flac")
    scan = read_corpus(librispeech)
    assert scan.manifest.splits == {"19": "train", "61": "test", "84": "validation"}
    assert scan.manifest.genders == {"19": "F", "61": "M", "84": None}
    assert messages(scan) == {
        "84-121123-0000.flac": "speaker 84 is not in SPEAKERS.TXT",
        "extra.flac": "not named <speaker>-<chapter>-<utterance>: passed over",
    }


def test_a_broken_table_of_librispeech_is_named(librispeech):
    (librispeech / "SPEAKERS.TXT").write_text("19 F\n")
    with pytest.raises(CorpusError, match=r"SPEAKERS.TXT: not LibriSpeech's table"):
        read_corpus(librispeech)


# --- Tables -----------------------------------------------------------------------------------------------


def test_a_table_with_every_column(tmp_path, write_voice):
    write_voice(tmp_path / "wav" / "a.wav")
    (tmp_path / "utterances.csv").write_text(
        "path,speaker,gender,seconds,text,session,corpus,split\n"
        'wav/a.wav,ann,female,2.0,"hello, you",monday,mine,validation\n'
    )
    (u,) = read_corpus(tmp_path).manifest
    assert (u.speaker, u.gender, u.text, u.session, u.corpus, u.split) == (
        "ann",
        "F",
        "hello, you",
        "monday",
        "mine",
        "validation",
    )


def test_any_csv_file_will_do_and_manifests_are_such_tables(tmp_path, write_voice):
    write_voice(tmp_path / "data" / "ann" / "a.wav")
    manifest = read_corpus(tmp_path / "data").manifest
    manifest.to_csv(tmp_path / "elsewhere" / "list.csv")
    scan = read_corpus(tmp_path / "elsewhere" / "list.csv")
    assert scan.layout == "csv"
    assert scan.manifest == manifest


def test_contradictions_between_table_and_files_are_told(tmp_path, write_voice):
    for name in "abcde":
        write_voice(tmp_path / f"{name}.wav")
    (tmp_path / "speakers.csv").write_text("speaker,sex\nann,F\n")
    (tmp_path / "utterances.csv").write_text(
        "path,speaker,sex,samples,seconds\n"
        "a.wav,ann,,16000,2.0\nb.wav,ann,,15999,2.0\nc.wav,bob,,,2.5\nd.wav,ann,X,,\ne.wav,,,,\nf.wav,ann,,,\na.wav,ann,,,\n"
    )
    scan = read_corpus(tmp_path)
    assert [u.path.name for u in scan.manifest] == ["a.wav", "b.wav", "c.wav"]
    found = [f"{problem.path.name}: {problem.message}" for problem in scan.problems]
    for expected in (
        "b.wav: holds 16000 samples, the table says 15999",
        "c.wav: speaker 'bob' is not in speakers.csv",
        "c.wav: lasts 2.00 s, the table says 2.50 s",
        "utterances.csv: line 5: gender 'X' is not one of F, M or empty",
        "utterances.csv: line 6: no speaker",
        "f.wav: there is no such file",
    ):
        assert expected in found
    assert sum("the same file as" in message for message in found) == 1
    assert len(found) == 7


def test_speakers_of_two_corpora_with_one_name_are_two_people(tmp_path, write_voice):
    for name in "ab":
        write_voice(tmp_path / f"{name}.wav")
    (tmp_path / "utterances.csv").write_text("path,speaker,corpus\na.wav,1,one\nb.wav,1,two\n")
    (tmp_path / "speakers.csv").write_text("corpus,speaker,sex,split\none,1,F,test\ntwo,1,M,train\n")
    manifest = read_corpus(tmp_path).manifest
    assert manifest.genders == {"one/1": "F", "two/1": "M"}
    assert manifest.splits == {"one/1": "test", "two/1": "train"}


def test_two_genders_leave_it_open_and_two_splits_hold_out(tmp_path, write_voice):
    for name in "abcd":
        write_voice(tmp_path / f"{name}.wav")
    (tmp_path / "utterances.csv").write_text(
        "path,speaker,gender,split\na.wav,ann,F,train\nb.wav,ann,M,test\nc.wav,bob,M,train\nd.wav,bob,,train\n"
    )
    scan = read_corpus(tmp_path)
    assert scan.manifest.genders == {"ann": None, "bob": "M"}
    assert scan.manifest.splits == {"ann": "test", "bob": "train"}
    assert len(scan.problems) == 2


# --- Held-out speakers ------------------------------------------------------------------------------------


@pytest.fixture
def guarded(tmp_path, write_voice) -> Path:
    """Two corpora and a table; HELD_OUT.txt names speaker 26 of one and s7 (folder 7) of the other."""
    rows = [("path", "corpus", "speaker")]
    for speaker in ("26", "19", "40"):
        path = f"LibriSpeech/train-clean-100/{speaker}/1/{speaker}-1-0000.flac"
        write_voice(tmp_path / path)
        rows.append((path, "LibriSpeech", speaker))
    for number in ("7", "8"):
        write_voice(tmp_path / f"ocean/{number}/{number}.wav")
        rows.append((f"ocean/{number}/{number}.wav", "ocean", f"s{number}"))
    with (tmp_path / "utterances.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    (tmp_path / "HELD_OUT.txt").write_text("# corpus speaker\nLibriSpeech 26\nocean  s7\n\n")
    return tmp_path


@pytest.mark.parametrize(
    ("below", "layout", "held"),
    [
        (".", "auto", {"26", "s7"}),
        (".", "csv", {"26", "s7"}),
        ("utterances.csv", "csv", {"26", "s7"}),
        ("LibriSpeech", "auto", {"26"}),
        ("LibriSpeech/train-clean-100", "auto", {"26"}),
        ("LibriSpeech/train-clean-100", "folders", {"26"}),
        ("ocean", "auto", {"7"}),
        ("ocean", "folders", {"7"}),
    ],
)
def test_held_out_speakers_are_found_however_a_corpus_is_read(guarded, below, layout, held):
    manifest = read_corpus(guarded / below, layout).manifest
    assert set(manifest.where(split="test").speakers) == held
    parts = split_speakers(manifest, {"train": 1.0}, seed=0)
    assert set(parts["test"].speakers) == held
    assert not held & set(parts["train"].speakers)


def test_held_out_through_a_table_that_lies_elsewhere_and_through_links(guarded, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "mine.csv").write_text(
        f"path,speaker\n{guarded}/ocean/7/7.wav,somebody\n{guarded}/ocean/8/8.wav,else\n"
    )
    assert read_corpus(elsewhere / "mine.csv").manifest.splits == {"somebody": "test", "else": None}
    (elsewhere / "linked").symlink_to(guarded / "LibriSpeech" / "train-clean-100")
    assert read_corpus(elsewhere / "linked", "folders").manifest.where(split="test").speakers == ("26",)


def test_the_list_wins_over_the_split_of_a_table(guarded):
    (guarded / "speakers.csv").write_text(
        "corpus,speaker,split\nLibriSpeech,26,train\nLibriSpeech,19,train\nLibriSpeech,40,test\nocean,s7,train\nocean,s8,\n"
    )
    scan = read_corpus(guarded)
    assert scan.manifest.splits == {"19": "train", "26": "test", "40": "test", "s7": "test", "s8": None}
    assert messages(scan) == {
        name: f"speaker '{speaker}' is in several splits (test, train): now all in test"
        for name, speaker in (("26-1-0000.flac", "26"), ("7.wav", "s7"))
    }
    # By its folders too: 40 is marked in speakers.csv only.
    assert read_corpus(guarded / "LibriSpeech").manifest.where(split="test").speakers == ("26", "40")


def test_a_list_that_cannot_be_read_stops_everything(guarded):
    (guarded / "HELD_OUT.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(CorpusError, match=r"HELD_OUT.txt: cannot be read"):
        read_corpus(guarded / "ocean")


# --- The project's own selection --------------------------------------------------------------------------


@pytest.mark.speech
def test_the_selection_is_read_whole(speech):
    scan = read_corpus(speech)
    manifest = scan.manifest
    assert scan.problems == ()
    assert (len(manifest), len(manifest.speakers), len(manifest.where(split="test").speakers)) == (967, 349, 64)
    assert (list(manifest.genders.values()).count("F"), list(manifest.genders.values()).count("M")) == (172, 177)
    assert round(manifest.seconds / 60) == 125
    assert len({u.session for u in manifest.by_speaker()["26"]}) == 2


@pytest.mark.speech
@pytest.mark.parametrize("below, layout, held", [("LibriSpeech", "librispeech", 32), ("speechocean762", "folders", 32)])
def test_the_selection_keeps_its_test_speakers_apart_by_any_layout(speech, below, layout, held):
    assert len(read_corpus(speech / below, layout).manifest.where(split="test").speakers) == held


@pytest.mark.speech
def test_the_lists_in_the_documentation_are_those_of_the_selection(speech):
    documented = Path(__file__).parents[2] / "docs" / "data"
    assert (documented / "HELD_OUT.txt").read_bytes() == (speech / "HELD_OUT.txt").read_bytes()
    assert (documented / "speakers.csv").read_bytes() == (speech / "speakers.csv").read_bytes()


def test_summary(tmp_path, write_voice):
    for name, seconds in (("ann/a.wav", 1.0), ("bob/b.wav", 2.0), ("bob/c.wav", 6.0)):
        write_voice(tmp_path / name, seconds=seconds)
    (tmp_path / "speakers.csv").write_text("speaker,sex,split\nann,F,test\nbob,,\n")
    (tmp_path / "bob" / "d.wav").touch()
    summary = summarize(read_corpus(tmp_path))
    (problem,) = summary.pop("problems")
    assert problem["path"] == str(tmp_path / "bob" / "d.wav")
    assert summary == {
        "layout": "folders", "speakers": 2, "female": 1, "male": 0, "unknown": 1, "utterances": 3, "minutes": 0.1,
        "shortest": 1.0, "median": 2.0, "longest": 6.0, "corpora": {"unnamed": 3}, "splits": {"free": 1, "test": 1},
    }  # fmt: skip


def test_every_layout_has_a_description():
    assert all(layout.description for layout in LAYOUTS.values())
