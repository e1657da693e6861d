import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxspk.data import ScoredTrials, Trials, read_scores, read_trials, write_scores, write_trials
from jaxspk.errors import ArgumentError, CorpusError

NAMES = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=6)


def written(tmp_path, text: str | bytes):
    path = tmp_path / "trials.txt"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize(
    "text",
    [
        "1 a/1.wav b/1.wav\n0 a/1.wav c/1.wav\n",
        "a/1.wav b/1.wav target\na/1.wav c/1.wav nontarget\n",
        "\n  a/1.wav\tb/1.wav   target\r\n\r\na/1.wav c/1.wav nontarget",
        "\ufeff1 a/1.wav b/1.wav\n0 a/1.wav c/1.wav",
    ],
)
def test_both_forms_are_read(tmp_path, text):
    trials = read_trials(written(tmp_path, text))
    assert (trials.enrol, trials.test) == (("a/1.wav", "a/1.wav"), ("b/1.wav", "c/1.wav"))
    assert trials.labels.tolist() == [True, False]
    assert trials.names == ("a/1.wav", "b/1.wav", "c/1.wav")
    assert (trials.enrol_index.tolist(), trials.test_index.tolist()) == ([0, 0], [1, 2])


def test_trials_without_answers_are_read(tmp_path):
    trials = read_trials(written(tmp_path, "a b\nb c\n"))
    assert trials.labels is None and len(trials) == 2


def test_names_that_look_like_labels_do_not_confuse(tmp_path):
    assert read_trials(written(tmp_path, "1 2 target\n0 1 nontarget\n")).enrol == ("1", "0")
    assert read_trials(written(tmp_path, "1 0 1\n0 1 1\n")).labels.tolist() == [True, False]


@pytest.mark.parametrize(
    "text, message",
    [
        ("1 a b\n0 a\n", "line 2: expected `1 A B` or `0 A B`, as on the first line, got '0 a'"),
        ("1 a b\n\n2 a c\n", "line 3: expected `1 A B`"),
        ("1 a b\n0 a b c\n1 d\n", "line 2: .* got '0 a b c'"),
        ("a b target\na c\nx y z w\n", "line 2: expected `A B target` or `A B nontarget`"),
        ("a b target\n1 a c\n", "line 2: .* got '1 a c'"),
        ("a b\n1 a b\n", "line 2: expected `A B`"),
        ("\na b c\n", "line 2: expected a trial"),
        ("a\n", "line 1: expected a trial"),
        ("", "holds nothing"),
        ("\n \n", "holds nothing"),
        (b"1 a \xff\n", "line 1: .*xff"),
        ("1 a " + "b" * 200 + " c\n0 a\n", r"line 1: .*\.\.\."),
    ],
)
def test_a_bad_line_is_named(tmp_path, text, message):
    path = written(tmp_path, text)
    with pytest.raises(CorpusError, match=message) as error:
        read_trials(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_bad_line_far_down_is_named(tmp_path):
    lines = ["1 one/long/name/of/a/file.wav another/long/name/of/a/file.wav"] * 20_000
    lines[17_123] = "0 a"
    with pytest.raises(CorpusError, match="line 17124: "):
        read_trials(written(tmp_path, "\n".join(lines)))
    lines[17_123] = "yes a b"
    with pytest.raises(CorpusError, match=r"line 17124: .* got 'yes a b'"):
        read_trials(written(tmp_path, "\n\n".join(lines[:1]) + "\n" + "\n".join(lines[1:])))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(CorpusError, match="cannot be read"):
        read_trials(tmp_path / "nowhere.txt")
    with pytest.raises(CorpusError, match="cannot be read"):
        read_scores(tmp_path)


@given(st.lists(st.tuples(NAMES, NAMES, st.booleans(), st.floats(allow_nan=False, allow_infinity=False)), min_size=1))
def test_what_is_written_is_read(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("lists") / "list.txt"
    enrol, test, labels, scores = zip(*rows, strict=True)
    for known in (np.array(labels), None):
        trials = Trials(enrol, test, known)
        write_trials(path, trials)
        # The first line tells the forms apart; a name that is a word of theirs would be taken for it.
        if not {enrol[0], test[0]} & {"0", "1", "target", "nontarget"}:
            back = read_trials(path)
            assert (back.enrol, back.test) == (enrol, test)
            np.testing.assert_array_equal(back.labels, known)
        write_scores(path, ScoredTrials(trials, np.array(scores)))
        scored = read_scores(path)
        assert (scored.trials.enrol, scored.trials.test) == (enrol, test)
        assert scored.scores.tobytes() == np.array(scores).tobytes()
        np.testing.assert_array_equal(scored.trials.labels, known)


def test_scores_with_words_for_labels_are_read(tmp_path):
    scored = read_scores(written(tmp_path, "a b 1e-3 target\na c -2 0\n"))
    assert scored.trials.labels.tolist() == [True, False] and scored.scores.tolist() == [0.001, -2]


@pytest.mark.parametrize(
    "text, message",
    [
        ("a b 0.5 1\na b nan 0\n", "line 2: expected `A B SCORE LABEL`, a finite score.* got 'a b nan 0'"),
        ("a b 0.5 1\na b inf 0\n", "line 2"),
        ("a b 0.5 1\na b 0.5\n", "line 2"),
        ("a b 0.5\na b x\n", "line 2: expected `A B SCORE`, a finite score"),
        ("a b 0.5 yes\n", "line 1"),
        ("a b\n", "line 1: expected a scored trial"),
        ("", "holds nothing"),
    ],
)
def test_a_bad_line_of_scores_is_named(tmp_path, text, message):
    with pytest.raises(CorpusError, match=message):
        read_scores(written(tmp_path, text))


def test_names_with_spaces_are_refused_and_leave_the_old_file(tmp_path):
    path = written(tmp_path, "1 a b\n")
    with pytest.raises(CorpusError, match=r"'my voice.wav': cannot stand in a list"):
        write_trials(path, Trials(("my voice.wav",), ("b",)))
    assert path.read_text() == "1 a b\n"


def test_marked_trials_are_selected():
    trials = Trials(("a", "b", "c"), ("x", "y", "z"), np.array([True, False, True]))
    kept = trials.select(np.array([True, False, True]))
    assert (kept.enrol, kept.test, kept.labels.tolist()) == (("a", "c"), ("x", "z"), [True, True])


def test_lengths_must_agree(as_a_user):
    with pytest.raises(ArgumentError, match="one entry a trial"):
        Trials(("a",), ("b", "c"))
    with pytest.raises(ArgumentError, match="one value a trial"):
        ScoredTrials(Trials(("a",), ("b",)), np.zeros(2))


def test_long_lists_are_read_and_written_at_once(tmp_path):
    rng = np.random.default_rng(0)
    names = [f"speaker{n // 20:04d}/session{n % 20 // 5}/utterance{n % 5}.wav" for n in range(4000)]
    one, other = rng.integers(4000, size=(2, 100_000))
    trials = Trials(tuple(names[i] for i in one), tuple(names[i] for i in other), rng.random(100_000) < 0.1)
    path = tmp_path / "scores.txt"
    start = time.process_time()
    write_scores(path, ScoredTrials(trials, rng.normal(size=100_000)))
    scored = read_scores(path)
    write_trials(path, trials)
    assert read_trials(path).enrol == trials.enrol == scored.trials.enrol
    assert time.process_time() - start < 1.5  # A million in ten times that; an order of magnitude less when idle.
