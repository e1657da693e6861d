import subprocess
import sys
import threading
import time

from jaxspk.training._watchdog import Watchdog, begin_heartbeat, is_supervised


class Ends:
    """Instead of the end of the process."""

    def __init__(self):
        self.reason, self.came = "", threading.Event()

    def __call__(self, reason):
        self.reason = reason
        self.came.set()


def test_what_takes_too_long_ends_the_process_and_is_named():
    end = Ends()
    with Watchdog(0.2, end=end) as watchdog:
        watchdog.begin("step 7")
        assert end.came.wait(20)
    assert end.reason.startswith("stuck in step 7 for more than 0.2 s, waiting for another process or for itself")


def test_what_goes_on_does_not():
    end = Ends()
    with Watchdog(1.0, end=end) as watchdog:
        for step in range(6):
            watchdog.begin(f"step {step}")
            time.sleep(0.2)
        watchdog.begin("a validation", patience=100.0)
        time.sleep(1.2)
    assert not end.came.is_set()


def test_nothing_is_watched_before_the_beginning_or_where_there_is_nobody_to_wait_for():
    end = Ends()
    with Watchdog(0.05, end=end):
        time.sleep(0.2)
    with Watchdog(0.05, active=False, end=end) as watchdog:
        watchdog.begin("step 1")
        time.sleep(0.2)
    assert not end.came.is_set()


def test_it_ends_in_one_line_even_where_the_main_thread_waits():
    program = "from jaxspk.training._watchdog import Watchdog\nimport threading\nwith Watchdog(0.3) as w:\n" + (
        "    w.begin('step 3')\n    threading.Event().wait()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 75
    assert done.stderr.count("\n") == 1
    assert "jaxspk: stuck in step 3 for more than 0.3 s" in done.stderr


def test_a_heartbeat_changes_while_the_process_lives(tmp_path, monkeypatch):
    assert not is_supervised()
    file = tmp_path / "beat"
    monkeypatch.setenv("JAXSPK_HEARTBEAT", str(file))
    monkeypatch.setattr("jaxspk.training._watchdog._BEAT_SECONDS", 0.02)
    begin_heartbeat()
    begin_heartbeat()
    assert is_supervised()
    seen = set()
    until = time.monotonic() + 20
    while len(seen) < 3 and time.monotonic() < until:
        if file.exists() and (now := file.read_text()):
            seen.add(now)
    assert len(seen) == 3
