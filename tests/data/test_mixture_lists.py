import shutil

import numpy as np
import pytest

from jaxspk.data import (
    Manifest,
    MixtureConfig,
    MixtureSource,
    Utterance,
    read_mixture_list,
    write_mixture_list,
)
from jaxspk.errors import CorpusError


@pytest.fixture
def drawn(make_manifest):
    manifest = make_manifest({"ann": "F", "bob": "M", "cy": None}, split="test")
    return MixtureSource(manifest, MixtureConfig(speakers=3, seconds=0.4, level_range_db=(0.0, 3.0)), seed=3, size=5)


def test_a_list_makes_bit_identical_mixtures(drawn, tmp_path):
    write_mixture_list(tmp_path / "list.csv", drawn)
    listed = read_mixture_list(tmp_path / "list.csv")
    assert len(listed) == 5
    for first, second in zip(drawn, listed, strict=True):
        np.testing.assert_array_equal(first.sources, second.sources)
        np.testing.assert_array_equal(first.mixture, second.mixture)
        assert first.plan == second.plan


@pytest.mark.parametrize("length", ["shortest", "longest"])
def test_whole_utterances(make_manifest, tmp_path, length):
    source = MixtureSource(make_manifest({"a": "F", "b": "M"}), MixtureConfig(length=length), seed=0, size=3)
    write_mixture_list(tmp_path / "list.csv", source)
    listed = read_mixture_list(tmp_path / "list.csv")
    assert listed.config.seconds is None
    assert all(np.array_equal(source[k].mixture, listed[k].mixture) for k in range(3))


def test_paths_are_relative_and_the_folder_can_move(drawn, tmp_path, tmp_path_factory):
    lists = tmp_path_factory.mktemp("lists")
    write_mixture_list(lists / "list.csv", drawn, root=tmp_path)
    assert str(tmp_path) not in (lists / "list.csv").read_text()
    expected = drawn[4].mixture
    moved = tmp_path_factory.mktemp("moved") / "speech"
    shutil.copytree(tmp_path, moved)
    shutil.rmtree(tmp_path)
    np.testing.assert_array_equal(read_mixture_list(lists / "list.csv", root=moved)[4].mixture, expected)


def test_held_out_speakers_and_genders_are_remembered(drawn, tmp_path):
    write_mixture_list(tmp_path / "list.csv", drawn)
    listed = read_mixture_list(tmp_path / "list.csv")
    assert listed.held_out == drawn.held_out == ("ann", "bob", "cy")
    assert listed[0].genders is None


def test_the_fingerprint_follows_the_list(drawn, tmp_path):
    write_mixture_list(tmp_path / "a.csv", drawn)
    text = (tmp_path / "a.csv").read_text()
    (tmp_path / "b.csv").write_text(text.replace(repr(drawn.plan(0).gains_db[0]), "0.125"))
    first, again, other = (read_mixture_list(tmp_path / f"{n}.csv").fingerprint for n in "aab")
    assert first == again != other


def test_a_lost_file_is_named_with_the_way_out(drawn, tmp_path):
    write_mixture_list(tmp_path / "list.csv", drawn)
    lost = drawn.plan(2).utterances[0].path
    lost.unlink()
    with pytest.raises(CorpusError, match=rf"list.csv: names {lost}, which is not there; .*`root`"):
        read_mixture_list(tmp_path / "list.csv")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.splitlines()[0], "lists no mixture"),
        (lambda text: text.replace("gain_db", "gain", 1), "no column 'source_1_gain_db'"),
        (lambda text: text.replace("source_3_gain_db", "x", 1), "not a list of mixtures"),
        (lambda text: text.replace(",8000,", ",fast,", 1), "not a list of mixtures .*fast"),
        (lambda text: text.replace(",8000,", ",16000,", 1), "rows differ in sample_rate"),
        (lambda text: text.replace("shortest", "some", 1), "not a list of mixtures .*some"),
        (lambda text: text.replace(",F,", ",Q,", 1), "not a list of mixtures .*'Q'"),
    ],
)
def test_unusable_lists_are_refused(drawn, tmp_path, change, message):
    write_mixture_list(tmp_path / "list.csv", drawn)
    (tmp_path / "list.csv").write_text(change((tmp_path / "list.csv").read_text()))
    with pytest.raises(CorpusError, match=message) as caught:
        read_mixture_list(tmp_path / "list.csv")
    assert "\n" not in str(caught.value)


def test_files_outside_the_root_keep_their_whole_path(make_manifest, tmp_path, tmp_path_factory):
    inside = make_manifest({"a": None})
    away = tmp_path_factory.mktemp("away") / "b.wav"
    shutil.copy(inside.utterances[0].path, away)
    source = MixtureSource(Manifest((*inside.utterances, Utterance(away, "b", 2.0))), MixtureConfig(), seed=0, size=1)
    write_mixture_list(tmp_path / "list.csv", source)
    assert away in {u.path for u in read_mixture_list(tmp_path / "list.csv").plan(0).utterances}
