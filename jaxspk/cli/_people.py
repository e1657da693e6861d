"""``jaxspk people``."""

import dataclasses
import json
from pathlib import Path

import tyro


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """List the people whose voices you enrolled, or forget some of them for good.

    Example: jaxspk people --remove Ann
    """

    remove: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Forget this person: name and voice. May be given several times."""
    store: Path | None = None
    """The file of voices; by default JAXSPK_PEOPLE, or people.safetensors in your data folder."""
    json: bool = False
    """Print one JSON document instead of lines."""


def run(options: Options) -> int:
    """Removes, then lists."""
    from jaxspk.systems import VoiceStore, default_store

    # Which model heard the voices does not matter to those who only list or remove.
    store = VoiceStore(default_store() if options.store is None else options.store, model=None)
    removed = [store.remove(name) for name in options.remove]
    people = store.people()
    if options.json:
        facts = {"store": str(store.path), "people": people, "removed": removed}
        print(json.dumps(facts, indent=2, default=dataclasses.asdict))
        return 0
    for person in removed:
        print(f"{person.name}: forgotten")
    width = max((len(person.name) for person in people), default=0)
    for person in people:
        print(f"{person.name:<{width}}  {person.recordings:>4} recordings  {person.speech_seconds:>8.1f} s of speech")
    if not people:
        print(f"{store.path}: knows nobody")
    return 0
