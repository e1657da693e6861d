"""Short runs of the torture commands, and the machinery that counts them."""

import collections
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxspk import data
from jaxspk.errors import ArgumentError, CheckpointError, CorpusError, ModelError
from jaxspk.systems import SpeakerTraining, load_deep_clustering
from jaxspk.training import config_from_dict, read_config
from tests.torture import checkpoints, ledger, models, mutations, table, text

ROOT = Path(__file__).parents[2]


def torture(name: str, state: Path, *words: object) -> subprocess.CompletedProcess[str]:
    order = [sys.executable, "-m", f"tests.torture.{name}", "--state", str(state), *map(str, words)]
    return subprocess.run(order, cwd=ROOT, capture_output=True, text=True, check=False, timeout=1200)


def line_of(name: str, state: Path, *words: object) -> dict:
    done = torture(name, state, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = json.loads(state.read_text()).values()
    return line


def outcomes_of(command, prepared: object, count: int) -> dict[str, int]:
    """Some cases in this process: starting others would take longer than the cases."""
    found = collections.Counter(command.outcome(prepared, 1, number) for number in range(count))
    assert not [what for what in found if what.startswith("BROKEN")]
    return found


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    return models.begin(tmp_path_factory.mktemp("models"), systems=1)


def test_damaged_models_are_refused_or_the_same(stored, as_a_user):
    found = outcomes_of(models, stored, 60)
    assert {what.partition(":")[0] for what in found} == {
        name + repaired for name in (models.CONFIG, models.WEIGHTS) for repaired in ("", ", checksums right")
    }


def test_damaged_text_is_refused_or_read(tmp_path, as_a_user):
    found = outcomes_of(text, text.begin(tmp_path), 150)
    assert {what.partition(":")[0] for what in found} >= {"manifest", "RTTM", "trials", "scores", "mixture list"}


def test_damaged_checkpoints_are_passed_over(tmp_path, as_a_user):
    found = outcomes_of(checkpoints, checkpoints.begin(tmp_path), 6)
    assert any(what.endswith("the one before") for what in found)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, count", [("models", 2000), ("text", 10_000), ("checkpoints", 100), ("kills", 4), ("systems", 8)]
)
def test_longer(name, count, tmp_path):
    line = line_of(name, tmp_path / "state.json", "--count", count, "--seed", 2)
    assert line["done"] == count and not line["broken"]


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="failures are made in Linux's libc")
def test_a_disk_that_fails(tmp_path):
    line = line_of("failing_disk", tmp_path / "state.json", "--count", 8, "--seed", 2)
    assert line["done"] == 8 and any("one line, resumed, identical" in what for what in line["outcomes"])


# --- The machinery. ---


def careless(prepared: Path, seed: int, number: int) -> str:
    """Number 3 breaks a rule, 5 raises, 7 dies, 9 hangs."""
    assert prepared.is_dir()
    if number == 5:
        raise ValueError("not documented")
    if number == 7:
        os._exit(9)
    while number == 9:
        pass
    return "BROKEN 3 is wrong" if number == 3 else "odd" if number % 2 else "even"


CARELESS = ledger.Torture(
    name="careless", what="itself", total=12, chunk=4, begin=lambda folder: folder, outcome=careless, seconds=1.0
)


def test_every_broken_rule_is_counted_and_nothing_stops_the_count(tmp_path):
    state = tmp_path / "state.json"
    half = ledger.run(CARELESS, 6, 0, state)
    assert half["done"] == 6 and [number for number, _ in half["broken"]] == [3, 5]
    line = ledger.run(CARELESS, 12, 0, state)
    assert line["done"] == 12 and line["outcomes"] == {"even": 6, "odd": 2, "BROKEN": 4}
    told = dict(map(tuple, line["broken"]))
    assert told[5].startswith("BROKEN ValueError: not documented") and "died with code 9" in told[7]
    assert "hung" in told[9]
    # It goes on from there, and another seed begins anew.
    assert ledger.run(CARELESS, 12, 0, state) == line
    assert ledger.run(CARELESS, 2, 1, state)["outcomes"] == {"even": 1, "odd": 1}
    assert ledger.run(CARELESS, 12, 1, state, minutes=0.0)["done"] == 2


def test_the_table_has_every_line(tmp_path):
    state = tmp_path / "state.json"
    ledger.keep(state, "text", {**ledger.run(CARELESS, 4, 0, tmp_path / "other.json"), "what": "this | that"})
    audio = tmp_path / "audio.json"
    audio.write_text(json.dumps({"seed": 0, "done": 7, "outcomes": {"read": 7}, "broken": [], "slowest": 0.1}))
    ledger.keep(state, "audio", table.audio_line(audio))
    page = table.write(state, tmp_path / "page.md").read_text()
    assert "| make torture-text | 4 | 12 | 1 |" in page and "| make fuzz-audio | 7 |" in page


def test_damage_is_a_function_of_the_generator_and_changes_something():
    content = b"path,speaker\na.wav,ann\n" * 3
    for damage in (mutations.damaged_bytes, mutations.damaged_text):
        made = [damage(content, np.random.default_rng(number)) for number in range(50)]
        assert made == [damage(content, np.random.default_rng(number)) for number in range(50)]
        assert sum(one != content for one in made) > 40
    values = {"a": [1, 2.5], "b": {"c": "text"}}
    made = [mutations.damaged_values(values, np.random.default_rng(number)) for number in range(50)]
    assert sum(repr(one) != repr(values) for one in made) > 40 and values == {"a": [1, 2.5], "b": {"c": "text"}}


# --- What was found, and may not come back. ---


def test_errors_of_a_configuration_name_the_file_and_are_short(as_a_user):
    with pytest.raises(ArgumentError, match=r"there\.json: `spec_augment`: `time_masks` must lie in"):
        config_from_dict(SpeakerTraining, {"spec_augment": {"time_masks": -1}}, where="there.json")
    with pytest.raises(ArgumentError, match=r"got 'xxx") as raised:
        config_from_dict(SpeakerTraining, {"seed": "x" * 5000})
    assert len(str(raised.value)) < 300


def test_an_integer_beyond_all_floats_is_refused(as_a_user):
    with pytest.raises(ArgumentError, match=r"`data\.test` must be of type float, got an integer beyond"):
        config_from_dict(SpeakerTraining, {"data": {"test": 10**400}})


def test_a_format_of_two_lines_is_told_in_one(tmp_path, as_a_user):
    (tmp_path / "config.json").write_text(json.dumps({"run_format": "a\nb", "config": {}}))
    with pytest.raises(CheckpointError, match=r"written in format 'a\\nb'"):
        read_config(tmp_path, SpeakerTraining)


def test_a_nul_in_a_table_is_refused(tmp_path, as_a_user):
    (tmp_path / "table.csv").write_bytes(b"path,speaker,seconds\na\x00.wav,ann,1\n")
    with pytest.raises(CorpusError, match="line 2: holds a NUL character"):
        data.read_corpus(tmp_path / "table.csv")


def test_a_header_of_several_lines_is_told_in_one(tmp_path, as_a_user):
    (tmp_path / "table.csv").write_bytes(b'one,"two\n\nthree"\n1,2\n')
    with pytest.raises(CorpusError, match=r"found one, two three\."):
        data.Manifest.from_csv(tmp_path / "table.csv")


def test_names_that_no_file_can_have_are_refused_not_raised(tmp_path, as_a_user):
    """Of a mixture list and of Kaldi's tables: too long, or with a NUL."""
    _, kinds = text.begin(tmp_path)
    content = next(kind.content for kind in kinds if kind.name == "mixture list").decode()
    name = content.splitlines()[1].split(",")[4]
    (tmp_path / "table.csv").write_text(content.replace(name, f"{'x' * 300}.wav"))
    with pytest.raises(CorpusError, match="which is not there"):
        data.read_mixture_list(tmp_path / "table.csv")
    for bad in ("x" * 300, "a\0"):
        (tmp_path / "kaldi" / "wav.scp").write_text(f"u1 ../a/one.wav\nu2 {bad}.wav\n")
        scan = data.read_corpus(tmp_path / "kaldi", "kaldi")
        assert len(scan.manifest) == 1 and len(scan.problems) == 1


def test_a_model_that_would_be_built_for_ever_is_refused(stored, as_a_user):
    place = stored[0].folder / models.CONFIG
    described = json.loads(place.read_bytes())
    described["config"]["network"]["layers"] = 2**53
    place.write_bytes(models.with_checksum(described))
    with pytest.raises(ModelError, match=r"config\.json: describes no model of ours: .*layers"):
        load_deep_clustering(stored[0].folder)
    place.write_bytes(stored[0].files[models.CONFIG])
