import itertools
from pathlib import Path

import numpy as np
import pytest

from jaxspk.data import Manifest, Utterance, make_trials, name_trials, read_corpus
from jaxspk.errors import ArgumentError, CorpusError


def utterance(speaker: str, session: str | None, number: int, gender=None, corpus=None) -> Utterance:
    path = Path("/corpus") / speaker / f"{session}-{number}.wav"
    return Utterance(path, speaker, 3.0, gender=gender, session=session, corpus=corpus)


@pytest.fixture
def manifest() -> Manifest:
    return Manifest(
        (
            utterance("ann", "1", 0, "F", "x"),
            utterance("ann", "1", 1, "F", "x"),
            utterance("ann", "2", 0, "F", "x"),
            utterance("bob", "1", 0, "M", "x"),
            utterance("cid", None, 0, "M", "y"),
            utterance("cid", None, 1, "M", "y"),
            utterance("dee", None, 0, None, "y"),
        )
    )


def by_definition(manifest, keep):
    pairs = itertools.combinations(range(len(manifest)), 2)
    return [(a, b, manifest.utterances[a].speaker == manifest.utterances[b].speaker)
            for a, b in pairs if keep(manifest.utterances[a], manifest.utterances[b])]  # fmt: skip


def one_session(a, b):
    return a.speaker == b.speaker and a.session is not None and a.session == b.session


@pytest.mark.parametrize(
    "options, keep",
    [
        ({}, lambda a, b: not one_session(a, b)),
        ({"sessions": "any"}, lambda a, b: True),
        ({"same_sex_only": True}, lambda a, b: not one_session(a, b) and a.gender == b.gender is not None),
        ({"corpora": "within"}, lambda a, b: not one_session(a, b) and a.corpus == b.corpus),
    ],
)
def test_pairs_are_those_of_the_definition(manifest, options, keep):
    trials = make_trials(manifest, **options)
    assert list(zip(*(column.tolist() for column in trials), strict=True)) == by_definition(manifest, keep)


def test_files_are_named_for_a_list(manifest):
    trials = make_trials(manifest)
    named = name_trials(trials, manifest, root="/corpus")
    assert (named.enrol[0], named.test[0]) == ("ann/1-0.wav", "ann/2-0.wav")
    assert name_trials(trials, manifest).enrol[0] == "/corpus/ann/1-0.wav"
    np.testing.assert_array_equal(named.labels, trials.labels)


def test_a_set_without_trials_of_both_kinds_is_refused(manifest):
    with pytest.raises(CorpusError, match="no trial of different speakers"):
        make_trials(manifest.where(speakers=["ann"]))
    with pytest.raises(CorpusError, match=r'no trial of the same speaker .* \(sessions="any"'):
        make_trials(manifest.where(lambda u: u.session == "1"))
    with pytest.raises(CorpusError, match="no trial of the same speaker"):
        make_trials(Manifest(()))


def test_unknown_choices_are_refused(as_a_user, manifest):
    with pytest.raises(ArgumentError, match="`sessions`"):
        make_trials(manifest, sessions="some")
    with pytest.raises(ArgumentError, match="`corpora`"):
        make_trials(manifest, corpora="some")


def test_a_hundred_thousand_trials_come_at_once():
    manifest = Manifest(tuple(utterance(f"s{n // 4}", str(n % 2), n) for n in range(600)))
    trials = make_trials(manifest)
    assert len(trials.labels) == 600 * 599 // 2 - 150 * 2
    assert trials.labels.sum() == 150 * 4


@pytest.mark.speech
def test_targets_of_librispeech_are_across_chapters(speech):
    manifest = read_corpus(speech).manifest.where(split="test", corpus="LibriSpeech")
    trials = make_trials(manifest)
    sessions = [utterance.session for utterance in manifest]
    assert None not in sessions
    assert all(sessions[a] != sessions[b] for a, b, same in zip(*trials, strict=True) if same)
