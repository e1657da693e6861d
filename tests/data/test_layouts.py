"""Layouts of published corpora: a small tree of each, as it is shipped and as it goes wrong."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from jaxspk.audio import read_audio
from jaxspk.cli import main
from jaxspk.data import LAYOUTS, read_corpus, split_speakers
from jaxspk.errors import CorpusError
from tests.audio.sphere import plain, shortened


def messages(scan):
    return {problem.path.name: problem.message for problem in scan.problems}


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def write_sphere(write_voice):
    """Writes a made-up recording in NIST SPHERE, packed by shorten where its name ends as in WSJ0."""

    def write(path: Path) -> Path:
        write_voice(path.with_suffix(".wav.tmp.wav"), rate=16_000)
        temporary = path.with_suffix(".wav.tmp.wav")
        samples = np.rint(read_audio(temporary)[0] * 32768).astype(np.int64)
        temporary.unlink()
        pack = shortened if path.suffix.lower() in (".wv1", ".wv2") else plain
        path.write_bytes(pack(samples))
        return path

    return write


# --- VoxCeleb ---------------------------------------------------------------------------------------------

VOX1 = "VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet\nid10001\tA_J\tm\tIreland\tdev\nid10270\tE_F\tf\tUK\ttest\n"
VOX2 = "VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set \nid00012 ,n000012 ,f ,dev \n"


@pytest.fixture
def voxceleb(tmp_path, write_voice) -> Path:
    for name in (
        "vox1/dev/wav/id10001/1zcIwhmdeo4/00001.wav", "vox1/dev/wav/id10001/1zcIwhmdeo4/00002.wav",
        "vox1/dev/wav/id10001/7gWzIy6yIIk/00001.wav", "vox1/test/wav/id10270/5r0dWxy17C8/00001.wav",
        "vox2/dev/aac/id00012/21Uxsk56VDQ/00001.flac",
    ):  # fmt: skip
        write_voice(tmp_path / name)
    (tmp_path / "vox1" / "vox1_meta.csv").write_text(VOX1)
    (tmp_path / "vox2" / "vox2_meta.csv").write_text(VOX2)
    return tmp_path


def test_voxceleb_with_its_tables(voxceleb):
    scan = read_corpus(voxceleb)
    assert scan.layout == "voxceleb" and not scan.problems
    assert scan.manifest.genders == {"id00012": "F", "id10001": "M", "id10270": "F"}
    assert scan.manifest.splits == {"id00012": "train", "id10001": "train", "id10270": "test"}
    assert Counter(u.session for u in scan.manifest.by_speaker()["id10001"]) == {"1zcIwhmdeo4": 2, "7gWzIy6yIIk": 1}
    assert {u.corpus for u in scan.manifest} == {"VoxCeleb1", "VoxCeleb2"}


@pytest.mark.parametrize("below", ["vox1", "vox1/dev", "vox1/dev/wav", "vox1/dev/wav/id10001"])
def test_voxceleb_from_any_of_its_folders(voxceleb, below, monkeypatch):
    monkeypatch.chdir(voxceleb / below)
    scan = read_corpus(Path())
    assert scan.layout == "voxceleb" and not scan.problems
    assert scan.manifest.genders["id10001"] == "M"


def test_voxceleb_without_its_tables_goes_by_its_folders(voxceleb):
    (voxceleb / "vox1" / "vox1_meta.csv").unlink()
    scan = read_corpus(voxceleb / "vox1")
    assert scan.manifest.genders == {"id10001": None, "id10270": None}
    assert scan.manifest.splits == {"id10001": "train", "id10270": "test"}
    assert messages(scan) == {"vox1": "no vox1_meta.csv or vox2_meta.csv here or above: genders are not known"}


def test_voxceleb_as_aac_says_how_to_convert_it(voxceleb, write_voice):
    video = voxceleb / "vox2/dev/aac/id00012/21Uxsk56VDQ"
    for name in ("00001.m4a", "00002.m4a", "00003.m4a"):
        (video / name).touch()
    found = messages(read_corpus(voxceleb))
    assert list(found) == ["00002.m4a"]  # 00001.flac stands beside 00001.m4a.
    assert found["00002.m4a"].startswith("is AAC, as are 1 other recordings, which cannot be decoded here: convert")
    assert "ffmpeg -i NAME.m4a -ac 1 -ar 16000 NAME.flac" in found["00002.m4a"]
    other = voxceleb / "vox2/dev/wav/id00012/21Uxsk56VDQ"
    write_voice(other / "00003.wav")
    assert messages(read_corpus(voxceleb))["00002.m4a"].startswith("is AAC, which cannot be decoded here: convert each")
    (other / "00003.wav").unlink()
    (video / "00001.flac").unlink()
    with pytest.raises(CorpusError, match=r"no usable speech .*voxceleb.*00001.m4a: is AAC, as are 2 other"):
        read_corpus(voxceleb / "vox2")


def test_what_is_wrong_with_voxceleb_is_told(voxceleb, write_voice):
    write_voice(voxceleb / "vox1/dev/wav/id10002/0_laIeN-Q44/00001.wav")
    write_voice(voxceleb / "vox1/dev/extra/noise.wav")
    (voxceleb / "vox2" / "vox2_meta.csv").write_text(VOX2 + "id00015 ,n000015 ,x ,dev\n")
    assert messages(read_corpus(voxceleb)) == {
        "00001.wav": "speaker id10002 is in no table of speakers",
        "noise.wav": "not in <speaker>/<video>/, as id10001/x1y2z3: passed over",
        "vox2_meta.csv": "line 3: gender 'x' is not one of F, M or empty",
    }
    (voxceleb / "vox1" / "vox1_meta.csv").write_text("speaker,sex\nid10001,m\n")
    with pytest.raises(CorpusError, match=r"vox1_meta.csv: not VoxCeleb's table of speakers"):
        read_corpus(voxceleb)


def test_folders_of_other_names_are_not_voxceleb(tmp_path, write_voice):
    write_voice(tmp_path / "id10001" / "a.wav")
    write_voice(tmp_path / "id10002" / "video" / "hello.wav")
    assert read_corpus(tmp_path).layout == "folders"


# --- TIMIT ------------------------------------------------------------------------------------------------


@pytest.fixture(params=[str.upper, str.lower], ids=["capitals", "small"])
def timit(request, tmp_path, write_sphere) -> Path:
    folder = tmp_path / "TIMIT"
    for name, text in (
        ("TRAIN/DR1/FCJF0/SA1", "0 46797 She had your dark suit.\n"), ("TRAIN/DR1/FCJF0/SX37", "0 9 Critical.\n"),
        ("TEST/DR8/MJTH0/SA1", "0 46797 She had your dark suit.\n"),
    ):  # fmt: skip
        path = folder / request.param(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_sphere(path.with_suffix(request.param(".WAV")))
        path.with_suffix(request.param(".TXT")).write_text(text)
    return folder


def test_timit(timit):
    scan = read_corpus(timit)
    assert scan.layout == "timit" and not scan.problems
    assert scan.manifest.genders == {"FCJF0": "F", "MJTH0": "M"}
    assert scan.manifest.splits == {"FCJF0": "train", "MJTH0": "test"}
    first, second = scan.manifest.by_speaker()["FCJF0"]
    assert (first.text, second.text) == ("She had your dark suit.", "Critical.")
    assert (first.seconds, first.corpus, first.session) == (2.0, "TIMIT", None)


def test_timit_from_any_of_its_folders(timit):
    for below in sorted(path for path in timit.rglob("*") if path.is_dir()):
        scan = read_corpus(below, "timit")
        assert not scan.problems
        if below.name.lower() in ("dr1", "train", "test"):
            assert read_corpus(below).layout == "timit"
        if "dr1" in str(below).lower():
            assert scan.manifest.splits == {"FCJF0": "train"}


def test_timit_by_words_converted_twice_and_damaged(timit, write_voice):
    speaker = next(path for path in timit.rglob("*") if path.name.upper() == "FCJF0")
    transcript = next(path for path in speaker.iterdir() if path.name.upper() == "SA1.TXT")
    transcript.unlink()
    (speaker / "SA1.WRD").write_text("0 10 she\n10 20 had\n")
    broken = next(path for path in speaker.iterdir() if path.name.upper() == "SX37.TXT")
    broken.write_text("Critical.\n")
    write_voice(speaker / "SA1.WAV.wav")
    write_voice(timit / "README.wav")
    scan = read_corpus(timit)
    assert [u.text for u in scan.manifest.by_speaker()["FCJF0"]] == ["she had", None]
    assert messages(scan) == {
        broken.name: "not a transcript of TIMIT (first sample, last sample, text)",
        "README.wav": "not in a speaker's folder, as DR1/FCJF0: passed over",
    }


# --- WSJ0 -------------------------------------------------------------------------------------------------

SPEAKERS = "; speakers of WSJ0\nID  Sex  Notes\n--- ---  -----\n011 M x\n01T F caf\xe9\n440 f\n001 M\n"


@pytest.fixture(params=[str.lower, str.upper], ids=["small", "capitals"])
def wsj0(request, tmp_path, write_sphere) -> Path:
    folder = tmp_path / request.param("wsj0")
    for name in (
        "si_tr_s/011/011c0201.wv1", "si_tr_s/011/011c0201.wv2", "si_tr_s/01t/01to030v.wv1", "si_dt_05/440/440c020a.wv1",
        "sd_tr_s/001/001c0l01.wv1",
    ):  # fmt: skip
        path = folder / request.param(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_sphere(path)
    (folder / request.param("doc")).mkdir()
    (folder / request.param("doc") / request.param("spkrinfo.txt")).write_text(SPEAKERS, encoding="latin-1")
    return folder


def test_wsj0(wsj0):
    scan = read_corpus(wsj0, decode=True)
    assert scan.layout == "wsj0" and not scan.problems
    assert scan.manifest.genders == {"001": "M", "011": "M", "01t": "F", "440": "F"}
    assert scan.manifest.splits == {"001": None, "011": "train", "01t": "train", "440": "test"}
    (first,) = scan.manifest.by_speaker()["011"]
    assert (first.path.suffix.lower(), first.session, first.corpus, first.seconds) == (".wv1", "02", "WSJ0", 2.0)


def test_wsj0_from_the_folder_of_a_subset_and_from_above(wsj0):
    for path in (wsj0.parent, *(path for path in wsj0.iterdir() if path.name.lower() != "doc")):
        scan = read_corpus(path)
        assert scan.layout == "wsj0" and not scan.problems
        assert None not in scan.manifest.genders.values()


def test_converted_utterances_of_wsj0_are_taken_once(wsj0, write_voice):
    compressed = next(path for path in wsj0.rglob("*") if path.name.lower() == "011c0201.wv1")
    converted = write_voice(compressed.with_suffix(".wav"))
    assert [u.path for u in read_corpus(wsj0).manifest.by_speaker()["011"]] == [converted]


def test_what_is_wrong_with_wsj0_is_told(wsj0, write_voice):
    table = next(path for path in wsj0.rglob("*") if path.name.lower() == "spkrinfo.txt")
    table.write_text(SPEAKERS.replace("01T F", ""))
    write_voice(wsj0 / "readme.wav")
    assert sorted(messages(read_corpus(wsj0)).values()) == [
        "not in <subset>/<speaker>/, as si_tr_s/011/011c0201: passed over",
        "speaker 01t is in no table of speakers",
    ]
    table.unlink()
    scan = read_corpus(wsj0.resolve())
    assert set(scan.manifest.genders.values()) == {None}
    assert messages(scan)[wsj0.name] == "no table of speakers (doc/spkrinfo.txt) about: genders are not known"


def test_damaged_files_of_wsj0_are_passed_over(wsj0):
    cut = next(path for path in wsj0.rglob("*") if path.name.lower() == "011c0201.wv1")
    cut.write_bytes(cut.read_bytes()[:-2000])
    assert "truncated" in messages(read_corpus(wsj0, decode=True))[cut.name]


# --- OpenSLR ----------------------------------------------------------------------------------------------

INDEX = "000020a912\t16cfb\tচলো যাই\n00012a34bf\td7c1e\tআমি\n0100b2c3d4\t16cfb\t\n"


@pytest.fixture
def bengali(tmp_path, write_voice) -> Path:
    folder = tmp_path / "asr_bengali"
    for name in ("00/000020a912", "00/00012a34bf", "01/0100b2c3d4"):
        write_voice(folder / "data" / f"{name}.flac")
    (folder / "utt_spk_text.tsv").write_text(INDEX, encoding="utf-8")
    return folder


@pytest.mark.parametrize("at", [".", "..", "utt_spk_text.tsv"])
def test_openslr(bengali, at):
    scan = read_corpus((bengali / at).resolve())
    assert scan.layout == "openslr" and not scan.problems
    assert scan.manifest.speakers == ("16cfb", "d7c1e")
    assert [u.text for u in scan.manifest.by_speaker()["16cfb"]] == ["চলো যাই", None]
    assert {(u.corpus, u.gender, u.split) for u in scan.manifest} == {("asr_bengali", None, None)}


def test_two_corpora_of_openslr_in_one_folder(bengali, write_voice):
    other = bengali.parent / "asr_nepali"
    write_voice(other / "data" / "ff" / "ff00112233.flac")
    (other / "utt_spk_text.tsv").write_text("ff00112233\t16cfb\tनमस्ते\n", encoding="utf-8")
    manifest = read_corpus(bengali.parent).manifest
    assert manifest.speakers == ("asr_bengali/16cfb", "asr_nepali/16cfb", "d7c1e")


def test_what_is_wrong_with_an_openslr_corpus_is_told(bengali, write_voice):
    (bengali / "utt_spk_text.tsv").write_text(
        INDEX + "000020a912\t16cfb\tagain\nno tabs at all\n\tx\ty\nfe00\t16cfb\tlost\nff00\t16cfb\tlost too\n",
        encoding="utf-8",
    )
    write_voice(bengali / "data" / "02" / "02unlisted.flac")
    scan = read_corpus(bengali)
    assert len(scan.manifest) == 3
    assert [problem.message for problem in scan.problems] == [
        "line 4: utterance '000020a912' stands in line 1 already: passed over",
        "line 5: 'no tabs at all' is not utterance, speaker and text between tabs",
        r"line 6: '\tx\ty' is not utterance, speaker and text between tabs",
        "2 of 5 utterances have no recording below this folder; the first is 'fe00'; "
        "unpack the other parts of the download here",
        "1 recordings are not in the table; the first is '02unlisted': passed over",
    ]


def test_an_openslr_corpus_without_recordings_is_refused(bengali):
    for path in bengali.rglob("*.flac"):
        path.unlink()
    with pytest.raises(CorpusError, match=r"no usable speech .*3 of 3 utterances have no recording"):
        read_corpus(bengali)
    (bengali / "utt_spk_text.tsv").write_bytes(b"\xff\xfe")
    with pytest.raises(CorpusError, match=r"utt_spk_text.tsv: not UTF-8 text \(byte 0\)"):
        read_corpus(bengali)


# --- Kaldi ------------------------------------------------------------------------------------------------


@pytest.fixture
def kaldi(tmp_path, write_voice, write_sphere) -> Path:
    for name in ("a", "b", "c", "d", "with space"):
        write_voice(tmp_path / "audio" / f"{name}.flac")
    write_sphere(tmp_path / "audio" / "e.wv1")
    folder = tmp_path / "s5" / "data" / "train_clean"
    folder.mkdir(parents=True)
    audio = tmp_path / "audio"
    (folder / "wav.scp").write_text(
        f"ann-1 {audio}/a.flac\n"
        f"ann-2 flac -c -d -s {audio}/b.flac |\n"
        f"bob-1 ../../audio/c.flac\n"
        f"bob-2 sox {audio}/d.flac -t wav - |\n"
        f"cy-1 /opt/kaldi/tools/sph2pipe_v2.5/sph2pipe -f wav -p -c 1 {audio}/e.wv1 |\n"
        f"cy-2\t{audio}/with space.flac\n"
    )
    (folder / "utt2spk").write_text("ann-1 ann\nann-2 ann\nbob-1 bob\nbob-2 bob\ncy-1 cy\ncy-2 cy\n")
    (folder / "spk2gender").write_text("ann f\nbob m\n")
    (folder / "text").write_text("ann-1 HELLO WORLD\nbob-1\n")
    return folder


@pytest.mark.parametrize("at", [".", "..", "wav.scp"])
def test_kaldi(kaldi, at):
    scan = read_corpus((kaldi / at).resolve())
    assert scan.layout == "kaldi" and not scan.problems
    assert scan.manifest.genders == {"ann": "F", "bob": "M", "cy": None}
    assert [u.text for u in scan.manifest] == ["HELLO WORLD", None, None, None, None, None]
    assert {u.path.name for u in scan.manifest} == {
        "a.flac", "b.flac", "c.flac", "d.flac", "e.wv1", "with space.flac",
    }  # fmt: skip
    assert set(scan.manifest.splits.values()) == {"train"}


def test_kaldi_by_speakers_and_from_the_place_of_the_program(kaldi, monkeypatch):
    (kaldi / "utt2spk").unlink()
    (kaldi / "spk2utt").write_text("ann ann-1 ann-2\nbob bob-1 bob-2\ncy cy-1 cy-2\n")
    (kaldi / "wav.scp").write_text("ann-1 a.flac\n")
    monkeypatch.chdir(kaldi.parents[2] / "audio")
    scan = read_corpus(kaldi)
    assert scan.manifest.speakers == ("ann",)
    assert messages(scan) == {"wav.scp": "5 utterances have a speaker and no recording; the first is 'ann-2'"}


@pytest.mark.parametrize(
    "command",
    [
        "sox AUDIO/a.flac -t wav - speed 0.9 |", "flac -c -d -s AUDIO/a.flac | sox -t wav - -r 8000 -t wav - |",
        "sph2pipe -f wav -t 1:2 AUDIO/a.flac |", "sph2pipe -f raw AUDIO/a.flac |", "ffmpeg -i AUDIO/a.flac -f wav - |",
        "touch AUDIO/ran; cat AUDIO/a.flac |", "cat 'AUDIO/a.flac |", "wav-reverberate --duration=9 AUDIO/a.flac - |",
        "|", "cat -n |",
    ],
)  # fmt: skip
def test_kaldis_commands_are_refused_and_never_run(kaldi, command):
    audio = kaldi.parents[2] / "audio"
    before = tree(kaldi.parents[2])
    (kaldi / "wav.scp").write_text(f"ann-1 {command.replace('AUDIO', str(audio))}\nbob-1 {audio}/c.flac\n")
    (kaldi / "utt2spk").write_text("ann-1 ann\nbob-1 bob\n")
    scan = read_corpus(kaldi)
    assert scan.manifest.speakers == ("bob",)
    (problem,) = scan.problems
    assert problem.message.startswith("'ann-1': the command ") and "is not run" in problem.message
    assert tree(kaldi.parents[2]).keys() == before.keys()


def test_a_channel_of_several_is_not_the_recording(kaldi):
    audio = kaldi.parents[2] / "audio"
    samples = np.random.default_rng(0).integers(-3000, 3000, (16_000, 2))
    (audio / "call.sph").write_bytes(plain(samples))
    (kaldi / "wav.scp").write_text(
        f"ann-1 sph2pipe -f wav -p -c 1 {audio}/call.sph |\n"
        f"bob-1 sph2pipe -c 2 -f wav {audio}/e.wv1 |\n"
        f"cy-1 {audio}/a.flac\n"
    )
    assert [problem.message for problem in read_corpus(kaldi).problems][:2] == [
        "'ann-1': channel 1 of a recording of several; write it to a file and name that",
        "'bob-1': channel 2 of a recording of several; write it to a file and name that",
    ]


def test_what_is_wrong_with_a_data_directory_is_told(kaldi):
    with (kaldi / "wav.scp").open("a") as stream:
        stream.write("ann-1 twice.flac\ndan-1 lost.flac\nann-3 raw.ark:1234\nlonely\nann-4 gone.flac\n")
    with (kaldi / "utt2spk").open("a") as stream:
        stream.write("ann-3 ann\nann-4 ann\n")
    (kaldi / "spk2gender").write_text("ann f\nbob man\n")
    scan = read_corpus(kaldi)
    assert len(scan.manifest) == 6
    found = sorted(f"{problem.path.name}: {problem.message}" for problem in scan.problems)
    assert found == [
        "gone.flac: there is no such file",
        "spk2gender: 'bob': gender 'man' is not one of F, M or empty",
        "wav.scp: 'ann-3': 'raw.ark:1234' is a place in an archive; write the recording to a file and name that",
        "wav.scp: line 10: nothing but 'lonely'",
        "wav.scp: line 7: 'ann-1' a second time: passed over",
        "wav.scp: nobody is named as the speaker of 'dan-1': passed over",
    ]


def test_a_data_directory_of_segments_is_refused_with_the_way_out(kaldi):
    (kaldi / "segments").write_text("ann-1 rec1 0.0 1.0\n")
    with pytest.raises(CorpusError, match=r"segments: cuts recordings into utterances, .* write each to a file of its"):
        read_corpus(kaldi)


def test_a_data_directory_that_names_nobody_is_refused(kaldi):
    (kaldi / "utt2spk").unlink()
    with pytest.raises(CorpusError, match=r"no usable speech .*utt2spk: there is no such file: whose voices"):
        read_corpus(kaldi)


@pytest.mark.parametrize(
    ("corpus", "expected"),
    [
        (
            "voxceleb",
            ("layout       voxceleb", "speakers     3", "female       2", "splits       {'test': 1, 'train': 2}"),
        ),
        ("bengali", ("layout       openslr", "speakers     2", "unknown      2", "corpora      {'asr_bengali': 3}")),
        ("kaldi", ("layout       kaldi", "utterances   6", "female       1", "male         1", "unknown      1")),
    ],
)
def test_the_command_says_what_was_found_and_what_is_wrong(corpus, expected, request, capsys):
    folder = request.getfixturevalue(corpus)
    assert main(["corpus", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert all(line in printed.splitlines() for line in (*expected, "problems     0"))
    audio = folder.parents[2] / "audio" if corpus == "kaldi" else folder
    next(audio.rglob("*.flac")).write_bytes(b"no sound")
    assert main(["corpus", str(folder)]) == 1
    printed = capsys.readouterr().out
    assert "problems     1" in printed and ".flac: not a recording" in printed


# --- All --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_empty_folder_is_refused_in_one_line_by_every_layout(tmp_path, layout):
    with pytest.raises(CorpusError) as caught:
        read_corpus(tmp_path, layout)
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("corpus", ["voxceleb", "kaldi"])
def test_a_list_of_held_out_speakers_replaces_what_folders_suggest(corpus, request):
    folder = request.getfixturevalue(corpus)
    speaker = read_corpus(folder).manifest.where(split="train").speakers[0]
    (folder / "HELD_OUT.txt").write_text(f"{speaker}\n")
    # The recordings of the data directory lie elsewhere: a list above them counts.
    (folder.parents[2] / "HELD_OUT.txt").write_text(f"{speaker}\n") if corpus == "kaldi" else None
    manifest = read_corpus(folder).manifest
    assert manifest.where(split="test").speakers == (speaker,)
    assert set(manifest.splits.values()) == {None, "test"}
    assert speaker not in split_speakers(manifest, {"train": 1.0}, seed=0)["train"].speakers
