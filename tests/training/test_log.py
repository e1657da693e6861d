import errno
import json
import os
from pathlib import Path

import pytest

from jaxspk.errors import CheckpointError
from jaxspk.training import read_metrics
from jaxspk.training._log import MetricsLog


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "metrics.jsonl"


def line(step: int, second: int = 0, loss: float | None = 0.5) -> dict:
    return {"step": step, "split": "train", "loss": loss, "times": {"seconds": second}}


def test_one_object_a_line(path):
    log = MetricsLog(path)
    log.write(line(1))
    log.write(line(2, loss=float("nan")))
    assert path.read_text().count("\n") == 2
    assert read_metrics(path.parent) == [line(1), line(2, loss=None)]


def test_the_same_lines_again_are_passed_over_whatever_their_times(path):
    log = MetricsLog(path)
    for step in (1, 2, 3):
        log.write(line(step, second=step))
    before = path.read_bytes()
    again = MetricsLog(path)
    for step in (1, 2, 3):
        again.write(line(step, second=step + 10))
    assert path.read_bytes() == before
    again.write(line(4))
    assert path.read_bytes().startswith(before) and len(read_metrics(path.parent)) == 4
    assert again.position.lines == 4


def test_the_first_line_that_differs_takes_the_rest_with_it(path):
    log = MetricsLog(path)
    for step in (1, 2, 3):
        log.write(line(step))
    again = MetricsLog(path)
    again.write(line(1))
    again.write(line(2, loss=0.7))
    assert read_metrics(path.parent) == [line(1), line(2, loss=0.7)]


def test_goes_to_a_place_and_leaves_what_follows(path):
    log = MetricsLog(path)
    log.write(line(1))
    place = log.position
    log.write(line(2))
    again = MetricsLog(path)
    again.seek(place)
    assert read_metrics(path.parent) == [line(1), line(2)]
    assert again.position == place
    again.write(line(3))
    assert read_metrics(path.parent) == [line(1), line(3)]


def test_removes_what_follows_when_told(path):
    log = MetricsLog(path)
    log.write(line(1))
    log.write(line(2))
    again = MetricsLog(path)
    again.write(line(1))
    again.truncate()
    assert read_metrics(path.parent) == [line(1)]


def test_a_place_does_not_depend_on_times(path, tmp_path):
    one, other = MetricsLog(path), MetricsLog(tmp_path / "other.jsonl")
    one.write(line(1, second=1))
    other.write(line(1, second=2))
    assert other.holds(one.position)


@pytest.mark.parametrize(
    "spoil",
    [lambda text: text[:-3], lambda text: text.replace("0.5", "0.6"), lambda text: "", lambda text: "[]" + text],
)
def test_knows_when_what_came_before_a_place_was_altered(path, spoil):
    log = MetricsLog(path)
    log.write(line(1))
    log.write(line(2))
    place = log.position
    path.write_text(spoil(path.read_text()))
    again = MetricsLog(path)
    assert not again.holds(place)
    with pytest.raises(CheckpointError, match="are not as they were written"):
        again.seek(place)


@pytest.mark.parametrize("cut", range(1, 30))
def test_a_line_that_was_cut_is_written_again(path, cut):
    log = MetricsLog(path)
    log.write(line(1))
    log.write(line(2))
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    assert [found["step"] for found in read_metrics(path.parent)] == [1]
    again = MetricsLog(path)
    again.write(line(1))
    again.write(line(2))
    assert path.read_bytes() == whole


def test_a_full_disk_is_one_line_and_what_was_written_stays(path, monkeypatch):
    log = MetricsLog(path)
    log.write(line(1))

    def full(*arguments, **named):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        with pytest.raises(CheckpointError, match=r"No space left on device\); make room"):
            log.write(line(2))
    log.write(line(2))
    assert read_metrics(path.parent) == [line(1), line(2)]


def test_reading_says_what_is_wrong(path):
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl: cannot be read \(No such file"):
        read_metrics(path.parent)
    path.write_text(json.dumps(line(1)) + "\nnonsense\n")
    with pytest.raises(CheckpointError, match="line 2 is no JSON"):
        read_metrics(path.parent)
