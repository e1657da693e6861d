import threading
import time
from typing import Any

from jaxspk.training._pace import Pace


class Output:
    """An output of a step that is done when we say so."""

    def __init__(self) -> None:
        self.done = threading.Event()

    def block_until_ready(self) -> None:
        self.done.wait()


def finish(pace: Pace, output: Any) -> float:
    before = pace._finished[0]
    output.done.set()
    while pace._finished[0] == before:
        time.sleep(0.001)
    return pace._finished[1]


def test_only_the_time_with_nothing_left_to_do_counts(as_a_user):
    with Pace() as pace:
        assert pace.idle(10.0, 11.0) == 1.0
        first: Any = Output()
        second: Any = Output()
        pace.sent(first)
        pace.sent(second)
        assert pace.idle(10.0, 11.0) == 0.0
        finish(pace, first)
        assert pace.idle(10.0, 11.0) == 0.0
        finished = finish(pace, second)
        assert pace.idle(finished - 1, finished + 2) == 2.0
        assert pace.idle(finished + 1, finished + 2) == 1.0
        assert pace.idle(finished - 2, finished - 1) == 0.0


def test_an_error_on_the_device_does_not_stop_the_watch(as_a_user):
    class Broken:
        def block_until_ready(self) -> None:
            raise RuntimeError

    with Pace() as pace:
        broken: Any = Broken()
        pace.sent(broken)
        last: Any = Output()
        pace.sent(last)
        finish(pace, last)
    assert pace._finished[0] == 2
