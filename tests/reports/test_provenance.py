import datetime
import getpass
import platform
import socket
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from jaxspk import reports
from jaxspk.reports import _provenance


def test_names_what_is_needed_to_repeat_a_number():
    origin = reports.provenance(seed=3, command="jaxspk train")
    datetime.date.fromisoformat(origin.date)
    assert origin.versions["python"] == platform.python_version()
    assert origin.versions["numpy"] == np.__version__
    assert {"jaxspk", "jax", "flax"} <= set(origin.versions)
    assert "cores" in origin.machine and platform.machine() in origin.machine
    shown = dict(origin.items())
    assert shown["Seed"] == "3"
    assert shown["Command"] == "jaxspk train"
    assert "Commit" not in dict(reports.Provenance("2026-01-01", "x", None, {}, "m").items())


def test_names_neither_folders_nor_people_nor_hosts(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/opt/x/bin/jaxspk", f"{Path.home()}/a b.wav", "--output", str(Path.cwd())])
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    text = " ".join(value for _, value in reports.provenance().items())
    assert "jaxspk PATH --output PATH" in text
    secrets = {str(Path.home()), str(Path.cwd()), "/opt"}
    # A user called "root" or a machine called "runner" would be found in ordinary words.
    secrets |= {name for name in (socket.gethostname(), getpass.getuser()) if len(name) > 7}
    assert not [secret for secret in secrets if secret in text]


@pytest.mark.parametrize(
    "typed, shown",
    [
        ("jaxspk separate mix.wav", "jaxspk separate mix.wav"),
        ("jaxspk -o ../out/x runs/1", "jaxspk -o ../out/x runs/1"),
        ("jaxspk --a=/data/b --c ~/d", "jaxspk --a=PATH --c PATH"),
        ("jaxspk '/data/b','/c'", "jaxspk 'PATH','PATH'"),
        ("rate 1/2", "rate 1/2"),
    ],
)
def test_absolute_paths_are_replaced(typed, shown):
    assert _provenance.without_paths(typed) == shown


@pytest.mark.parametrize(
    "spec, argv, shown",
    [
        ("experiments.deep_clustering", ["/x/e.py", "quick", "--fit.steps", "5"],
         "python -m experiments.deep_clustering quick --fit.steps 5"),
        ("gradcheck.__main__", ["/x/__main__.py"], "python -m gradcheck"),
        (None, ["/usr/bin/jaxspk", "cluster", "a b"], "jaxspk cluster 'a b'"),
        (None, ["/x/train.py"], "python train.py"),
        (None, [], "python"),
    ],
)  # fmt: skip
def test_the_command_can_be_typed_again(monkeypatch, spec, argv, shown):
    main = sys.modules["__main__"]
    monkeypatch.setattr(main, "__spec__", None if spec is None else types.SimpleNamespace(name=spec))
    monkeypatch.setattr(sys, "argv", argv)
    assert _provenance.provenance().command == shown


def test_accelerators_are_counted_and_processors_left_out(monkeypatch):
    devices = [
        types.SimpleNamespace(platform=p, device_kind=k) for p, k in (("cpu", "cpu"), ("gpu", "X"), ("gpu", "X"))
    ]
    monkeypatch.setitem(sys.modules, "jax", types.SimpleNamespace(devices=lambda: devices))
    assert _provenance._accelerators() == ["2 × X"]
    monkeypatch.delitem(sys.modules, "jax")
    assert _provenance._accelerators() == []
