import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments import select_speech
from experiments.select_speech import Options, main, report
from jaxspk.audio import audio_info, read_audio, write_audio
from jaxspk.data import read_corpus, read_table, write_table
from jaxspk.errors import CorpusError

ROOT = Path(select_speech.__file__).parent.parent
FLAC, OGG, OCEAN = (
    "LibriSpeech/test-clean/61/1/61-1-0000.flac",
    "LibriSpeech/train-clean-100/19/1/19-1-0000.ogg",
    "speechocean762/0027/000270001.ogg",
)


@pytest.fixture
def libri(tmp_path, write_voice):
    """LibriSpeech as downloaded."""
    folder = tmp_path / "libri" / "LibriSpeech"
    write_voice(folder / "test-clean/61/1/61-1-0000.flac", rate=16000)
    write_voice(folder / "train-clean-100/19/1/19-1-0000.flac", rate=16000)
    (folder / "SPEAKERS.TXT").write_text("61 | M | test-clean | 8 | P\n19 | F | train-clean-100 | 25 | K\n")
    return folder


@pytest.fixture
def ocean(tmp_path, write_voice):
    """speechocean762 as downloaded."""
    written = write_voice(tmp_path / "ocean" / "WAVE" / "SPEAKER0027" / "000270001.wav", rate=16000)
    written.rename(written.with_suffix(".WAV"))
    return tmp_path / "ocean"


@pytest.fixture
def tables(tmp_path, libri, ocean):
    """What is selected of them."""
    original = libri / "test-clean/61/1/61-1-0000.flac"
    samples = np.round(read_audio(original)[0] * 32768).astype("<i2").tobytes()
    rows = [
        {"path": FLAC, "corpus": "LibriSpeech", "speaker": "61", "sex": "M", "samples": 32000,
         "sha256": hashlib.sha256(original.read_bytes()).hexdigest()[:16],
         "samples_sha256": hashlib.sha256(samples).hexdigest()[:16]},
        {"path": OGG, "corpus": "LibriSpeech", "speaker": "19", "sex": "F", "samples": 32000, "sha256": "0" * 16},
        {"path": OCEAN, "corpus": "speechocean762", "speaker": "so0027", "sex": "F", "samples": 32000,
         "sha256": "0" * 16},
    ]  # fmt: skip
    folder = tmp_path / "tables"
    write_table(folder / "utterances.csv", list(rows[0]), rows)
    people = [{**row, "split": "test" if row["speaker"] == "61" else "train"} for row in rows]
    write_table(folder / "speakers.csv", ["corpus", "speaker", "sex", "split"], people_of(people))
    (folder / "HELD_OUT.txt").write_text("LibriSpeech 61\n")
    return folder


def people_of(rows):
    return [{name: row[name] for name in ("corpus", "speaker", "sex", "split")} for row in rows]


def outcomes(results):
    return {result.path: result.outcome for result in results}


def test_both_corpora(libri, ocean, tables, tmp_path):
    out = tmp_path / "out"
    results = main(Options(librispeech=libri, speechocean=ocean, output=out, tables=tables))
    assert outcomes(results) == {FLAC: "the same file", OGG: "encoded", OCEAN: "encoded"}
    assert (out / FLAC).read_bytes() == (libri / "test-clean/61/1/61-1-0000.flac").read_bytes()
    assert (out / "LibriSpeech/SPEAKERS.TXT").is_file()
    scan = read_corpus(out)
    assert not scan.problems
    assert scan.manifest.splits == {"61": "test", "19": "train", "so0027": "train"}
    assert report(results).splitlines() == ["    2 encoded", "    1 the same file", "    0 problems"]


def test_what_is_encoded_sounds_like_the_original_at_the_same_length(libri, tables, tmp_path):
    main(Options(librispeech=libri, output=tmp_path / "out", tables=tables))
    made, rate = read_audio(tmp_path / "out" / OGG)
    original, _ = read_audio(libri / "train-clean-100/19/1/19-1-0000.flac")
    assert (len(made), rate) == (len(original), 16000)
    error = np.mean((made - original) ** 2)
    assert 10 * np.log10(np.mean(original**2) / error) > 10
    assert audio_info(tmp_path / "out" / OGG).subtype == "VORBIS"


def test_the_hashes_in_the_new_table_are_those_of_the_new_files(libri, ocean, tables, tmp_path):
    out = tmp_path / "out"
    main(Options(librispeech=libri, speechocean=ocean, output=out, tables=tables))
    for row in read_table(out / "utterances.csv", ["path"]):
        assert hashlib.sha256((out / row.cells["path"]).read_bytes()).hexdigest().startswith(row.cells["sha256"])


def test_a_flac_packed_anew_counts_by_its_samples_and_other_samples_are_refused(libri, tables, tmp_path):
    original = libri / "test-clean/61/1/61-1-0000.flac"
    waveform, rate = read_audio(original)
    (original.parent / "new.wav").unlink(missing_ok=True)
    write_audio(original, waveform, rate, subtype="PCM_24")
    options = Options(librispeech=libri.parent, output=tmp_path / "out", tables=tables)
    assert outcomes(main(options))[FLAC] == "the same samples"
    write_audio(original, -waveform, rate, subtype="PCM_16")
    results = main(options)
    assert "another edition" in outcomes(results)[FLAC]
    assert FLAC not in (tmp_path / "out/utterances.csv").read_text()
    assert f"  {FLAC}: other samples" in report(results)


def test_another_length_is_refused(libri, tables, tmp_path, write_voice):
    write_voice(libri / "train-clean-100/19/1/19-1-0000.flac", seconds=1.0, rate=16000)
    results = main(Options(librispeech=libri, output=tmp_path / "out", tables=tables))
    assert outcomes(results)[OGG] == "16000 samples, expected 32000: another edition of the corpus?"
    assert not (tmp_path / "out" / OGG).exists()


def test_a_missing_file_is_told_and_the_rest_selected(libri, tables, tmp_path):
    (libri / "test-clean/61/1/61-1-0000.flac").unlink()
    results = main(Options(librispeech=libri, output=tmp_path / "out", tables=tables))
    assert outcomes(results) == {FLAC: "not in the corpus given", OGG: "encoded"}
    assert read_corpus(tmp_path / "out").manifest.speakers == ("19",)


def test_subsets_of_other_names_will_do(libri, tables, tmp_path):
    (libri / "train-clean-100").rename(libri / "train-clean-5")
    assert outcomes(main(Options(librispeech=libri, output=tmp_path / "out", tables=tables)))[OGG] == "encoded"


def test_without_a_corpus_or_with_a_wrong_folder_it_says_what_to_do(tables, tmp_path):
    with pytest.raises(CorpusError, match="give --librispeech, --speechocean, or both"):
        main(Options(output=tmp_path, tables=tables))
    with pytest.raises(CorpusError, match="no such folder"):
        main(Options(librispeech=tmp_path / "no", output=tmp_path, tables=tables))


def test_the_command_exits_with_2_and_one_line():
    command = [sys.executable, "-m", "experiments.select_speech", "-o", "nowhere"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: no corpus")
    assert done.stderr.count("\n") == 1


@pytest.mark.speech
def test_the_real_selection_passes_its_own_check(speech, tmp_path):
    """Its FLAC files in LibriSpeech's layout are what a download holds of them."""
    download = tmp_path / "LibriSpeech"
    for path in sorted((speech / "LibriSpeech").glob("test-other/*/*/*.flac"))[:5]:
        target = download / path.relative_to(speech / "LibriSpeech")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    results = main(Options(librispeech=download, output=tmp_path / "out"))
    assert [result.outcome for result in results if result.good] == ["the same file"] * 5
    assert len(results) == 551


def test_the_documented_tables_belong_together():
    rows = [row.cells for row in read_table(select_speech.TABLES / "utterances.csv", ["path", "sha256"])]
    people = [row.cells for row in read_table(select_speech.TABLES / "speakers.csv", ["speaker", "split"])]
    assert (len(rows), len(people)) == (967, 349)
    assert {row["speaker"] for row in rows} == {person["speaker"] for person in people}
    assert all(bool(row["samples_sha256"]) == row["path"].endswith(".flac") for row in rows)
    held = {line for line in (select_speech.TABLES / "HELD_OUT.txt").read_text().splitlines() if line[0] != "#"}
    assert held == {f"{p['corpus']} {p['speaker']}" for p in people if p["split"] == "test"}
