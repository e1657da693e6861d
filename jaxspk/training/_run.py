"""The run directory: what was asked for, on what, and everything that came of it.

::

    config.json        the config, whole; another one is refused
    environment.json   versions, platform, devices, seed
    metrics.jsonl      one JSON object a line
    checkpoints/       what a killed run goes on from
    results/           whatever the experiment adds

Of several processes only the first has the run's folder; the others get one that is removed when they end, and the same
log in it, so that an experiment need not know which it is in.
"""

import atexit
import dataclasses
import datetime
import fcntl
import json
import os
import re
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, SupportsFloat, TypeVar

from jaxspk._checks import check_range
from jaxspk._files import is_unfinished, write_whole
from jaxspk.errors import ArgumentError, CheckpointError
from jaxspk.training._config import config_differences, config_from_dict, config_to_dict
from jaxspk.training._environment import describe_environment, version_changes
from jaxspk.training._files import writing
from jaxspk.training._log import TIMES, MetricsLog
from jaxspk.training._processes import check_equal, connect, from_leader, note_failure
from jaxspk.training._progress import say
from jaxspk.training._watchdog import HEARTBEAT, begin_heartbeat

_Config = TypeVar("_Config")

_FORMAT = 1
_LOCK = ".lock"


class Run:
    """A run's folder, made or gone on with; locked, so that no two processes write it.

    Use it in a ``with`` statement, or :meth:`close` it; the lock goes with the process in any case.

    Joins the processes of a distributed training (:func:`connect`), if it is one.

    Args:
      folder: missing or empty for a new run; the folder of an earlier one to go on with it.
      config: the whole config of the experiment, a frozen dataclass; written to config.json.
      resume: whether to go on with a run that is there; False refuses it.

    Raises:
      CheckpointError: the folder holds something else, a run with another config, or a run in progress.

    Example:
      >>> import tempfile
      >>> from jaxspk.training import FitConfig
      >>> with tempfile.TemporaryDirectory() as folder, Run(folder, FitConfig()) as run:
      ...     run.log(10, "train", loss=0.5)
    """

    def __init__(self, folder: Path | str, config: Any, *, resume: bool = True) -> None:
        who = connect()
        begin_heartbeat()
        note_failure(None)
        self.folder = Path(folder) if who.is_leader else _scratch()
        self.config = config
        self._unlock: Callable[[], Any] = lambda: None
        values = config_to_dict(config)
        check_equal(json.dumps(values), "a config")

        def begin() -> dict[str, Any]:
            self._begin(values, resume)
            log = self._log_path.read_bytes() if who.count > 1 and self._log_path.is_file() else b""
            return {"resumed": self.resumed, "log": log.decode("latin-1")}

        begun = from_leader(begin)
        if not who.is_leader:
            self._begin(values, resume)
            self.resumed = begun["resumed"]
            self._log_path.write_bytes(begun["log"].encode("latin-1"))
            self.metrics = MetricsLog(self._log_path)
        self._began = time.monotonic()
        self._stages: set[str] = set()

    def _begin(self, values: Mapping[str, Any], resume: bool) -> None:
        """Makes the folder, or looks at what is there."""
        if self.folder.exists() and not self.folder.is_dir():
            raise CheckpointError(f"{self.folder}: a file; a run needs a folder.")
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        self.resumed = self._config_path.is_file()
        if not self.resumed:
            self._check_empty()
        elif not resume:
            raise CheckpointError(f"{self.folder}: already holds a run; take another folder, or resume it.")
        self._lock()
        try:
            self._remove_unfinished()
            if self.resumed:
                self._check_config(self.config)
            self._write_json("config.json", {"run_format": _FORMAT, "config": values})
            self._write_environment(values.get("seed"))
            with writing(self.folder):
                self.results.mkdir(exist_ok=True)
            self.metrics = MetricsLog(self._log_path)
        except BaseException:
            self.close()
            raise

    @property
    def results(self) -> Path:
        """The folder for what comes of the run: tables, figures."""
        return self.folder / "results"

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.folder / "checkpoints"

    def log(
        self,
        step: int,
        split: str,
        *,
        stage: str = "",
        times: Mapping[str, SupportsFloat | None] | None = None,
        **metrics: SupportsFloat | None,
    ) -> None:
        """Adds a line to metrics.jsonl, flushed at once.

        Args:
          step: training steps done.
          split: what the metrics are of: train, validation, test.
          stage: of a run with several; left out where empty.
          times: whatever depends on the clock and so may differ when a run is repeated.
          metrics: numbers; those not finite become null.

        Raises:
          ArgumentError: the step is negative.
          CheckpointError: the file system refuses.
        """
        check_range("step", step, low=0)
        clock = {"utc": _now(), "seconds": round(time.monotonic() - self._began, 3)}
        named = {"stage": stage} if stage else {}
        self.metrics.write({"step": step, "split": split, **named, **metrics, TIMES: {**clock, **(times or {})}})

    def begin_stage(self, stage: str) -> None:
        """Notes that a part of the run begins; each has its own name, and checkpoints.

        Args:
          stage: the name; empty in a run of one part.

        Raises:
          ArgumentError: the name is taken, or unfit for a folder.
        """
        if not re.fullmatch(r"[A-Za-z0-9_-]*", stage):
            raise ArgumentError(f"`stage` must be made of letters, digits, '-' and '_', got {stage!r}.")
        if stage in self._stages:
            raise ArgumentError(
                f"`stage` {stage!r} was fitted in this run already; name each call: fit(..., stage='second')."
            )
        self._stages.add(stage)

    def close(self) -> None:
        """Lets other processes have the folder."""
        self._unlock()

    def __enter__(self) -> "Run":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        note_failure(error)
        self.close()

    @property
    def _config_path(self) -> Path:
        return self.folder / "config.json"

    @property
    def _log_path(self) -> Path:
        return self.folder / "metrics.jsonl"

    def _check_empty(self) -> None:
        foreign = [path for path in self.folder.iterdir() if path.name != _LOCK and not is_unfinished(path)]
        if foreign:
            raise CheckpointError(
                f"{self.folder}: not the folder of a run (no config.json, but {min(foreign).name}); "
                "take an empty or a new one."
            )

    def _lock(self) -> None:
        with writing(self.folder):
            descriptor = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        self._unlock = weakref.finalize(self, os.close, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._unlock()
            raise CheckpointError(
                f"{self.folder}: in use by another process; wait for it, or take another folder."
            ) from None

    def _remove_unfinished(self) -> None:
        for path in self.folder.iterdir():
            if is_unfinished(path) and path.is_file():
                path.unlink(missing_ok=True)

    def _check_config(self, config: Any) -> None:
        before = read_config(self.folder, type(config))
        different = config_differences(before, config)
        if different:
            names = ", ".join(f"`{name}`" for name in different)
            verb = "differs" if len(different) == 1 else "differ"
            raise CheckpointError(
                f"{self.folder}: begun with another config: {names} {verb} "
                f"({_change(before, config, different[0])}); "
                "take another folder, or the config it was begun with."
            )

    def _write_environment(self, seed: Any) -> None:
        path = self.folder / "environment.json"
        now = {"utc": _now(), "seed": seed, **describe_environment()}
        if not self.resumed or not path.is_file():
            self._write_json(path.name, {**now, "resumptions": []})
            return
        begun = _read_json(path)
        changes = version_changes(begun, now)
        if changes:
            say(f"{self.folder}: begun with {changes}; the last bits of the results may differ.")
        changed = {key: value for key, value in now.items() if value != begun.get(key)}
        resumptions = [*begun.get("resumptions", []), changed]
        self._write_json(path.name, {**begun, "resumptions": resumptions})

    def _write_json(self, name: str, values: Any) -> None:
        with writing(self.folder):
            write_whole(self.folder / name, (json.dumps(values, indent=2) + "\n").encode(), durable=True)


def read_config(folder: Path | str, cls: type[_Config]) -> _Config:
    """The config of a run.

    Args:
      folder: the run's.
      cls: the dataclass that it is of.

    Returns:
      An instance of ``cls``.

    Raises:
      CheckpointError: there is no run, its config.json is damaged, or it is of another class.
    """
    path = Path(folder) / "config.json"
    values = _read_json(path)
    if not isinstance(values, dict) or set(values) != {"run_format", "config"}:
        raise CheckpointError(f"{path}: not the config of a run.")
    if values["run_format"] != _FORMAT:
        raise CheckpointError(
            f"{path}: written in format {repr(values['run_format'])[:40]}, this version of jaxspk reads {_FORMAT}."
        )
    try:
        return config_from_dict(cls, values["config"], where=str(path))
    except ArgumentError as error:
        raise CheckpointError(str(error)) from None


def _scratch() -> Path:
    """A folder that lasts as long as this process, or as the attempt of its supervisor where that kills it."""
    beat = os.environ.get(HEARTBEAT)
    folder = Path(tempfile.mkdtemp(prefix="jaxspk-", dir=Path(beat).parent if beat else None))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); is this the folder of a run?") from None
    except ValueError:
        raise CheckpointError(f"{path}: damaged, it is no JSON.") from None


def _change(before: Any, after: Any, name: str) -> str:
    """What a field was and is, in a few words."""
    for part in name.split("."):
        before, after = getattr(before, part, before), getattr(after, part, after)
    if dataclasses.is_dataclass(before) or dataclasses.is_dataclass(after):
        return f"a {type(before).__name__} before, a {type(after).__name__} now"
    return f"{before!r} before, {after!r} now"


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
