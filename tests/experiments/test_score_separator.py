"""Scores of the packaged separator, with and without noise, on the page and beside it."""

import csv

import pytest

from experiments import score_separator
from jaxspk.errors import CorpusError


@pytest.fixture(scope="module")
def written(spoken, noises, tmp_path_factory):
    output = tmp_path_factory.mktemp("scores") / "separation"
    score_separator.main(score_separator.Config(data=spoken, sounds=noises, mixtures=2, snr=(20.0, 0.0), output=output))
    return output


def rows(file):
    with file.open() as stream:
        return list(csv.DictReader(stream))


def test_a_row_for_every_condition(written):
    page = written.with_suffix(".md").read_text(encoding="utf-8")
    name = next(written.parent.glob("*_mixtures.csv")).name.removesuffix("_mixtures.csv").removeprefix("separation_")
    table = [line for line in page.splitlines() if line.startswith(f"| {name}")]
    assert [line.split("|")[2].strip() for line in table] == ["none", "20 dB", "0 dB"]
    assert "coffee-shop" in page and "standard error" in page


def test_more_noise_is_worse_and_the_mixtures_are_the_same(written):
    (listed,) = written.parent.glob("*_mixtures.csv")
    stem = listed.name.removesuffix("_mixtures.csv")
    clean, soft, loud = (rows(listed.with_name(stem + end)) for end in (".csv", "_noise_20db.csv", "_noise_0db.csv"))
    assert [r["name"] for r in clean] == [r["name"] for r in loud] == [r["name"] for r in soft]
    assert len(rows(listed)) == 2
    for one, two, three in zip(clean, soft, loud, strict=True):
        assert float(one["sdr_input"]) > float(two["sdr_input"]) > float(three["sdr_input"])
        assert float(one["sdr_ideal"]) > float(three["sdr_ideal"])


def test_a_list_gives_the_scores_of_the_mixtures_it_was_written_of(spoken, written, tmp_path):
    (listed,) = written.parent.glob("*_mixtures.csv")
    config = score_separator.Config(data=spoken, lists=(listed,), output=tmp_path / "listed")
    score_separator.main(config)
    again = rows(tmp_path / f"listed_{listed.stem}.csv")
    assert again == rows(listed.with_name(listed.name.replace("_mixtures", "")))
    assert f"{listed.name}: 2 mixtures of 2 voices" in config.output.with_suffix(".md").read_text().replace("\\", "")


def test_a_folder_without_noise_says_what_is_missing(spoken, tmp_path):
    config = score_separator.Config(data=spoken, sounds=tmp_path, mixtures=1, snr=(10.0,), output=tmp_path / "s")
    with pytest.raises(CorpusError, match=r"holds no noise\.csv"):
        score_separator.main(config)
