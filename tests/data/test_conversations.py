"""Conversations: turns where the voices are, as much overlap as asked for, levels, rooms and noise."""

import itertools

import numpy as np
import pytest

from jaxspk.data import (
    ConversationConfig,
    ConversationSource,
    Sound,
    Turn,
    generated_noises,
    overlapped_share,
)
from jaxspk.errors import ArgumentError, CorpusError

RATE = 8000


def config(**changes) -> ConversationConfig:
    options = {"sample_rate": RATE, "seconds": 20.0, "turn_seconds": (0.8, 2.0), "level_range_db": 0.0}
    return ConversationConfig(**{**options, **changes})


def active(waveform: np.ndarray, turns) -> tuple[np.ndarray, np.ndarray]:
    """Power within turns and outside all of them."""
    inside = np.zeros(len(waveform), bool)
    for start, end, _ in turns:
        inside[round(start * RATE) : round(end * RATE)] = True
    return np.square(waveform[inside]), np.square(waveform[~inside])


def test_a_conversation_is_a_function_of_seed_and_number(people):
    first, again = (ConversationSource(people, config(), seed=1, size=4) for _ in range(2))
    conversation = first[2]
    _ = again[0]
    np.testing.assert_array_equal(conversation.waveform, again[2].waveform)
    assert conversation.turns == again[2].turns
    assert first[1].turns != conversation.turns
    assert ConversationSource(people, config(), seed=2, size=4)[2].turns != conversation.turns


@pytest.mark.parametrize("speakers", [1, 2, 4, 6])
def test_all_speak_and_nobody_twice_in_a_row(people, speakers):
    conversation = ConversationSource(people, config(speakers=speakers, longest_pause=60.0), seed=0, size=1)[0]
    names = [turn.speaker for turn in conversation.turns]
    assert len(set(names)) == speakers
    assert speakers == 1 or all(one != following for one, following in itertools.pairwise(names))
    counts = [names.count(name) for name in set(names)]
    assert max(counts) - min(counts) <= 2
    assert conversation.seconds >= 20
    assert max(turn.end for turn in conversation.turns) <= conversation.seconds


def test_the_sound_is_in_the_turns(people):
    conversation = ConversationSource(people, config(longest_pause=0.2), seed=3, size=1)[0]
    inside, outside = active(conversation.waveform, conversation.turns)
    assert len(outside) > 0
    # Between the turns there is nothing, but for the soft pauses within recordings.
    assert outside.mean() < 0.01 * inside.mean()
    silent = np.mean(outside == 0)
    assert silent > 0.2


def test_without_overlap_there_is_none(people):
    conversations = ConversationSource(people, config(speakers=3), seed=0, size=3)
    assert [overlapped_share(conversations[index].turns) for index in range(3)] == [0.0] * 3


def test_overlap_is_about_what_is_asked_for_and_of_two(people):
    conversations = ConversationSource(people, config(speakers=3, overlap=0.1, longest_pause=60.0), seed=0, size=8)
    made = [conversations[index].turns for index in range(8)]
    assert np.mean([overlapped_share(turns) for turns in made]) == pytest.approx(0.1, abs=0.015)
    for turns in made:
        for one, _, following in zip(turns, turns[1:], turns[2:], strict=False):
            assert following.start >= one.end


def test_the_level_is_as_asked_for(people):
    loud, soft = (ConversationSource(people, config(level_dbfs=level), seed=0, size=1)[0] for level in (-30.0, -45.0))
    np.testing.assert_allclose(soft.waveform * 10 ** (15 / 20), loud.waveform, rtol=1e-4, atol=1e-7)
    inside, _ = active(loud.waveform, loud.turns)
    # Of the active part alone, which these syllables are for about half of the time.
    assert 10 * np.log10(inside.mean()) == pytest.approx(-30, abs=4)


def test_noise_lies_below_the_voices(people):
    clean = ConversationSource(people, config(), seed=0, size=1)[0].waveform
    noises = generated_noises(2, RATE, seed=0, seconds=2.0)
    noisy = ConversationSource(people, config(snr_db=(10.0, 10.0)), seed=0, size=1, noises=noises)[0].waveform
    ratio = np.mean(np.square(clean)) / np.mean(np.square(noisy - clean))
    assert 10 * np.log10(ratio) == pytest.approx(10.0, abs=0.01)


def test_a_room_changes_the_sound_and_not_the_turns(people):
    response = np.zeros(4000, np.float32)
    response[[0, 900, 2500]] = 1.0, 0.5, 0.3
    dry = ConversationSource(people, config(), seed=0, size=1)[0]
    wet = ConversationSource(people, config(room_share=1.0), seed=0, size=1, rooms=(Sound("r", "r", response),))[0]
    assert wet.turns == dry.turns
    assert len(wet.waveform) == len(dry.waveform)
    assert np.abs(wet.waveform - dry.waveform).max() > 1e-3


def test_loud_conversations_do_not_clip(people):
    conversation = ConversationSource(people, config(level_dbfs=-10.0), seed=0, size=1)[0]
    assert np.abs(conversation.waveform).max() <= 1.0


def test_overlapped_share_of_three():
    turns = [Turn(0.0, 4.0, "a"), Turn(1.0, 3.0, "b"), Turn(2.0, 3.0, "c"), Turn(6.0, 10.0, "a")]
    assert overlapped_share(turns) == 0.25
    assert overlapped_share([]) == 0.0


def test_what_cannot_be_is_refused(people, as_a_user):
    with pytest.raises(CorpusError, match="a conversation has 9 speakers, here are 7"):
        ConversationSource(people, config(speakers=9), seed=0, size=1)
    with pytest.raises(ArgumentError, match="`noises` must not be empty"):
        ConversationSource(people, config(snr_db=(0.0, 5.0)), seed=0, size=1)
    with pytest.raises(ArgumentError, match="`rooms` must not be empty"):
        ConversationSource(people, config(room_share=0.5), seed=0, size=1)
    with pytest.raises(ArgumentError, match="`overlap` must lie in"):
        config(overlap=0.5)
    with pytest.raises(ArgumentError, match="`overlap` must lie in"):
        config(speakers=1, overlap=0.1)
    with pytest.raises(IndexError):
        ConversationSource(people, config(), seed=0, size=1)[1]
