"""What the devices of a compiled program tell each other, read from the program itself."""

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")

_BYTES = {"pred": 1, "s8": 1, "u8": 1, "f8": 1, "s16": 2, "u16": 2, "f16": 2, "bf16": 2, "s32": 4, "u32": 4, "f32": 4}
_BYTES |= {"s64": 8, "u64": 8, "f64": 8, "c64": 8, "c128": 16}

_HEAD = re.compile(r"^(ENTRY )?%?([\w.-]+) .*\{$")
_COLLECTIVE = re.compile(rf"= (.*?) ({'|'.join(KINDS)})(-start)?\(")
_SHAPE = re.compile(r"\b([a-z]+\d*)\[([\d,]*)\]")
_CALLED = re.compile(r"(?:body|condition|calls|to_apply|true_computation|false_computation)=%?([\w.-]+)")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')


@dataclasses.dataclass(frozen=True)
class Collective:
    """One message of all devices.

    Attributes:
      kind: one of :data:`KINDS`.
      payload: bytes of its result on one device.
      times: how often it is sent when the program runs once.
    """

    kind: str
    payload: int
    times: int

    def sent(self, devices: int) -> float:
        """Bytes that each device sends in all, around a ring."""
        share = (devices - 1) / devices
        # The result of a reduce-scatter is a part of what is added up; that of an all-reduce goes round twice.
        factor = {"all-reduce": 2 * share, "reduce-scatter": devices - 1, "collective-permute": 1}.get(self.kind, share)
        return factor * self.payload * self.times


def collectives(program: str) -> list[Collective]:
    """All messages of a compiled program.

    Args:
      program: its text, as ``jax.stages.Compiled.as_text`` gives it.

    Raises:
      ValueError: a message lies in a loop whose number of rounds is not known.
    """
    bodies = dict(_computations(program))
    times = _times(bodies)
    found = []
    for name, lines in bodies.items():
        for line in lines:
            if match := _COLLECTIVE.search(line):
                if times[name] is None:
                    raise ValueError(f"{match[2]} in {name}, a loop of unknown length")
                found.append(Collective(match[2], _payload(match[1], started=bool(match[3])), times[name] or 0))
    return found


def _payload(shapes: str, *, started: bool) -> int:
    sizes = [
        _BYTES.get(dtype, 4) * math.prod(int(size) for size in dimensions.split(",") if size)
        for dtype, dimensions in _SHAPE.findall(shapes)
    ]
    # What begins a message names its operand beside its result.
    return max(sizes) if started and len(sizes) == 2 else sum(sizes)


def _computations(program: str) -> Iterator[tuple[str, list[str]]]:
    name = ""
    lines: list[str] = []
    for line in program.splitlines():
        if head := _HEAD.match(line):
            name, lines = ("ENTRY" if head[1] else head[2]), []
        elif line == "}":
            yield name, lines
        else:
            lines.append(line)


def _times(bodies: Mapping[str, list[str]]) -> dict[str, int | None]:
    """How often each computation runs; None where nobody knows."""
    times: dict[str, int | None] = dict.fromkeys(bodies, 0)
    times["ENTRY"] = 1
    callers = [
        (name, called, _rounds(line))
        for name, lines in bodies.items()
        for line in lines
        for called in _CALLED.findall(line)
    ]
    # Computations are printed before those that call them.
    for name in reversed(list(bodies)):
        for caller, called, rounds in callers:
            if caller == name and called in times:
                before, more = times[called], times[name]
                known = before is not None and (more == 0 or (more is not None and rounds is not None))
                times[called] = (before or 0) + (more or 0) * (rounds or 0) if known else None
    return times


def _rounds(line: str) -> int | None:
    if " while(" not in line:
        return 1
    found = _TRIPS.search(line)
    return int(found[1]) if found else None
