import numpy as np
import pytest

from jaxspk.errors import CorpusError
from jaxspk.systems import read_method_scores, score_methods, write_method_scores


@pytest.fixture
def scores(mixture):
    def separate(mixture):
        return {
            "swapped": mixture.sources[::-1] + 0.01 * np.random.default_rng(0).normal(size=mixture.sources.shape),
            "useless": np.stack([mixture.mixture] * 2),
        }

    return list(score_methods(separate, [mixture]))


def test_one_row_a_mixture_and_method(scores, mixture):
    swapped, useless = scores
    assert (swapped.method, useless.method) == ("swapped", "useless")
    assert swapped.mixture == mixture.name and swapped.genders == "FM" and swapped.seconds == 1.5
    assert swapped.improvement() > 10 and swapped.improvement("si_sdr") > 10
    assert useless.improvement() == pytest.approx(0, abs=1e-6)
    assert useless.improvement("si_sdr") == pytest.approx(0, abs=1e-6)
    assert swapped.sdr_input == useless.sdr_input


def test_scores_are_read_as_they_were_written(scores, tmp_path):
    write_method_scores(tmp_path / "scores.csv", scores)
    assert read_method_scores(tmp_path / "scores.csv") == scores


def test_a_damaged_table_is_refused_by_name(scores, tmp_path):
    file = tmp_path / "scores.csv"
    write_method_scores(file, scores)
    file.write_text(file.read_text().replace("swapped,", "swapped,loud"))
    with pytest.raises(CorpusError, match=r"scores\.csv: not a table of scores"):
        read_method_scores(file)
