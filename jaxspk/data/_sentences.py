"""Made-up English sentences of a wished-for length, for synthetic voices to say."""

import numpy as np

_ADJECTIVES = """
    amber ancient bitter blue brave broad calm careful cheap clever cloudy cold crooked curious damp deep
    distant dusty early empty faded familiar fancy fearless fierce flat foggy fragile fresh gentle giant
    golden green happy heavy hollow honest hungry icy jolly kind lazy light little lonely loud lucky
    marble mild modest muddy narrow nervous new noisy northern old orange pale patient plain polite proud
    purple quick quiet rapid red rich rough round rusty sharp shiny short silent silver simple sleepy slow
    small smooth soft southern square steep stormy strange sudden sunny sweet tall tender thick thin tidy
    tiny violet warm weary western white wide wild wise wooden yellow young
""".split()
_NOUNS = """
    actor anchor apple artist baker balloon basket beach bear bell bicycle bird boat bottle bridge brother
    bucket butcher button cabin camel candle captain carpet castle cat chair church circle cloud clown
    coat cousin cow cup dancer daughter desk doctor dog door dragon drum eagle engine farmer father
    feather fence finger flag flower forest fox friend garden gate goat guitar hammer harbour hat hill
    horse hotel island jacket jar judge kettle key king kitchen kitten ladder lake lamp lawyer lemon
    letter lion market meadow mirror monkey mother mountain needle neighbour nurse ocean office orchard
    owl painter palace parrot pencil piano picture pigeon pilot pocket prince queen rabbit railway river
    road roof rope sailor school sculptor shadow ship shoe singer sister soldier spoon station stone
    stranger student summer table tailor teacher theatre thunder tiger tower train tree uncle valley
    village violin wagon wall watch water whale wheel window winter writer zebra
""".split()
_VERBS = """
    admired answered avoided borrowed bought brought built called carried caught chased cleaned copied
    counted covered crossed described discovered drew dropped examined fetched finished followed forgot
    found gathered guarded heard helped hid imagined invited joined kept kicked left lifted liked lost
    loved measured mended missed moved needed noticed offered opened ordered painted passed planned played
    praised promised pulled pushed reached received remembered repaired returned saved sold sought studied
    taught thanked touched trusted understood visited wanted washed watched welcomed wrote
""".split()
_ADVERBS = """
    again almost always badly barely boldly calmly carefully certainly cheerfully closely daily early
    easily eagerly finally gladly happily hardly kindly later lightly loudly maybe never nicely often
    politely proudly quickly quietly rarely really sadly seldom shyly slowly softly sometimes soon
    suddenly surely truly twice usually wisely
""".split()
_PLACES = """
    above across against along among around before behind below beneath beside between beyond from inside
    into near on opposite outside over past through toward under without
""".split()
_OPENINGS = (
    "yesterday", "in the morning", "after supper", "on Friday", "as everyone knew", "at half past nine",
    "for once",
    "during the holidays", "to be fair", "last October", "far from home", "without a word", "by the way",
    "later on",
)  # fmt: skip
_LINKS = ("and", "but", "because", "while", "although", "so", "until", "whenever", "and then", "though")
_DETERMINERS = ("the", "the", "a", "this", "every", "my", "your", "our", "their", "another", "one", "no")
_NUMBERS = "two three four five six seven eight nine ten eleven twelve thirteen fifteen twenty thirty fifty".split()
_QUESTIONS = (
    "why do you think",
    "who told you that",
    "is it true that",
    "did you hear that",
    "how can it be that",
)


def sentence(rng: np.random.Generator, characters: float) -> str:
    """A sentence of about so many characters; now and then a question."""
    candidates = [_sentence(rng, clauses=int(rng.integers(1, 4))) for _ in range(16)]
    return min(candidates, key=lambda text: abs(len(text) - characters))


def _sentence(rng: np.random.Generator, clauses: int) -> str:
    asks = rng.random() < 1 / 6
    parts = [_pick(rng, _QUESTIONS)] if asks else []
    if not asks and rng.random() < 0.3:
        parts.append(_pick(rng, _OPENINGS) + ",")
    parts.append(_clause(rng))
    for _ in range(clauses - 1):
        parts.append(f"{_pick(rng, _LINKS)} {_clause(rng)}")
    if rng.random() < 0.5:
        parts.append(f"{_pick(rng, _PLACES)} {_thing(rng)}")
    text = " ".join(parts)
    return text[0].upper() + text[1:] + ("?" if asks else ".")


def _clause(rng: np.random.Generator) -> str:
    adverb = f"{_pick(rng, _ADVERBS)} " if rng.random() < 0.4 else ""
    return f"{_thing(rng)} {adverb}{_pick(rng, _VERBS)} {_thing(rng)}"


def _thing(rng: np.random.Generator) -> str:
    adjective = f"{_pick(rng, _ADJECTIVES)} " if rng.random() < 0.6 else ""
    noun = _pick(rng, _NOUNS)
    if rng.random() < 0.15:
        return f"{_pick(rng, _NUMBERS)} {adjective}{_plural(noun)}"
    determiner = _pick(rng, _DETERMINERS)
    vowel = (adjective or noun)[0] in "aeiou"
    return f"{'an' if determiner == 'a' and vowel else determiner} {adjective}{noun}"


def _plural(noun: str) -> str:
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")


def _pick(rng: np.random.Generator, words: tuple[str, ...] | list[str]) -> str:
    return words[rng.integers(len(words))]
