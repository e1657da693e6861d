"""Configs as JSON: nested frozen dataclasses to plain dictionaries and back; unknown keys are errors."""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from jaxspk.errors import ArgumentError

_Config = TypeVar("_Config")

_MAY_CHANGE = "jaxspk_may_change"
_LONGEST_SHOWN = 120
MAY_CHANGE: Mapping[str, bool] = {_MAY_CHANGE: True}
"""Metadata of such a field, for one made with ``dataclasses.field``."""


def may_change(default: Any) -> Any:
    """A dataclass field with this default in which a resumed run may differ from its beginning.

    For what changes how a run is carried out but not its numbers: folders, time budgets, numbers of workers.

    Args:
      default: the field's default.

    Returns:
      What stands right of the ``=`` in the dataclass.

    Example:
      >>> @dataclasses.dataclass(frozen=True)
      ... class Config:
      ...     steps: int = 100
      ...     workdir: Path = may_change(Path("runs/first"))
      >>> config_differences(Config(workdir=Path("a")), Config(workdir=Path("b")))
      []
    """
    if dataclasses.is_dataclass(default):
        return dataclasses.field(default_factory=lambda: default, metadata=MAY_CHANGE)
    return dataclasses.field(default=default, metadata=MAY_CHANGE)


def config_to_dict(config: Any) -> dict[str, Any]:
    """A config as a dictionary that JSON can hold.

    Args:
      config: an instance of a dataclass whose fields are numbers, strings, booleans, None, paths, tuples,
        lists, mappings with string keys, or dataclasses of the same kind.

    Returns:
      The fields in their order; paths as strings, tuples as lists.

    Raises:
      ArgumentError: a field holds something else, or a number that is not finite.
    """
    if not dataclasses.is_dataclass(config) or isinstance(config, type):
        raise ArgumentError(f"`config` must be an instance of a dataclass, got {type(config).__name__}.")
    return {field.name: _to_json(getattr(config, field.name), field.name) for field in dataclasses.fields(config)}


def config_from_dict(cls: type[_Config], values: Mapping[str, Any], *, where: str = "config") -> _Config:
    """The config that :func:`config_to_dict` wrote.

    Args:
      cls: the dataclass to make.
      values: what ``json.load`` gave; a field that is missing takes its default.
      where: what the values were read from, for messages.

    Returns:
      An instance of ``cls``.

    Raises:
      ArgumentError: a key is no field, a value has the wrong type, or a field without a default is missing.
    """
    return typing.cast(_Config, _dataclass_from_json(cls, values, "", where))


def config_differences(first: Any, second: Any) -> list[str]:
    """Names of the fields (``outer.inner``) that differ, but for those made with :func:`may_change`.

    Args:
      first: a config.
      second: another of the same class.

    Returns:
      The names, in the order of the fields; empty where a run with one may go on with the other.
    """
    if type(first) is not type(second):
        return ["(class of the config)"]
    return [
        name
        for field in dataclasses.fields(first)
        if not field.metadata.get(_MAY_CHANGE)
        for name in _differences(getattr(first, field.name), getattr(second, field.name), field.name)
    ]


def _differences(one: Any, other: Any, name: str) -> list[str]:
    if dataclasses.is_dataclass(one) and type(one) is type(other):
        return [f"{name}.{inner}" for inner in config_differences(one, other)]
    if isinstance(one, tuple | list) and isinstance(other, tuple | list) and len(one) == len(other):
        return [
            inner
            for index, (item, other_item) in enumerate(zip(one, other, strict=True))
            for inner in _differences(item, other_item, f"{name}[{index}]")
        ]
    return [] if one == other else [name]


def _to_json(value: Any, name: str) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: _to_json(getattr(value, field.name), f"{name}.{field.name}")
            for field in dataclasses.fields(value)
        }
    if isinstance(value, float) and not math.isfinite(value):
        raise ArgumentError(f"`{name}` must be finite to be written as JSON, got {value}.")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple | list):
        return [_to_json(item, f"{name}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _to_json(item, f"{name}.{key}") for key, item in value.items()}
    raise ArgumentError(f"`{name}` of a config cannot be written as JSON: it is a {type(value).__name__}.")


def _dataclass_from_json(cls: type, values: Any, name: str, where: str) -> Any:
    at = f"`{name}`" if name else "the config"
    if not isinstance(values, Mapping):
        raise ArgumentError(f"{where}: {at} must be an object with the fields of {cls.__name__}, got {_shown(values)}.")
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
    for key in values:
        if key not in fields:
            close = difflib.get_close_matches(str(key), fields, n=1)
            hint = f"did you mean `{close[0]}`?" if close else f"{cls.__name__} has {', '.join(fields)}."
            raise ArgumentError(f"{where}: unknown key `{_join(name, _shown_key(key))}`; {hint}")
    hints = typing.get_type_hints(cls)
    arguments = {}
    for key, field in fields.items():
        if key in values:
            arguments[key] = _from_json(hints[key], values[key], _join(name, key), where)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ArgumentError(f"{where}: `{_join(name, key)}` is missing and has no default.")
    try:
        return cls(**arguments)
    except ArgumentError as error:
        raise ArgumentError(f"{where}: {f'{at}: ' if name else ''}{error}") from None


def _from_json(kind: Any, value: Any, name: str, where: str) -> Any:
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        return _from_json(typing.get_args(kind)[0], value, name, where)
    if origin in (typing.Union, types.UnionType):
        return _one_of(typing.get_args(kind), value, name, where)
    if origin is typing.Literal:
        # `True == 1`: the type must agree too.
        if any(value == choice and type(value) is type(choice) for choice in typing.get_args(kind)):
            return value
        choices = ", ".join(repr(choice) for choice in typing.get_args(kind))
        raise ArgumentError(f"{where}: `{name}` must be one of {choices}, got {_shown(value)}.")
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _dataclass_from_json(kind, value, name, where)
    if kind is Any:
        return value
    converted = _container_from_json(kind, origin or kind, value, name, where)
    if converted is not _NO_CONTAINER:
        return converted
    return _scalar_from_json(kind, value, name, where)


def _one_of(kinds: Sequence[Any], value: Any, name: str, where: str) -> Any:
    """The first member of a union that takes the value."""
    refusal: ArgumentError | None = None
    for kind in kinds:
        try:
            return _from_json(kind, value, name, where)
        except ArgumentError as error:
            # A dataclass says more about what is wrong than "must be None".
            if refusal is None or dataclasses.is_dataclass(kind):
                refusal = error
    assert refusal is not None
    raise refusal


_NO_CONTAINER = object()


def _container_from_json(kind: Any, container: Any, value: Any, name: str, where: str) -> Any:
    arguments = typing.get_args(kind)
    if container in (tuple, list) or container is Sequence:
        if not isinstance(value, list | tuple):
            raise ArgumentError(f"{where}: `{name}` must be a list, got {_shown(value)}.")
        if container is tuple and arguments and arguments[-1] is not Ellipsis:
            if len(value) != len(arguments):
                raise ArgumentError(
                    f"{where}: `{name}` must have {len(arguments)} elements, got {len(value)}: {_shown(value)}."
                )
            kinds: Sequence[Any] = arguments
        else:
            kinds = [arguments[0] if arguments else Any] * len(value)
        items = [
            _from_json(item_kind, item, f"{name}[{index}]", where)
            for index, (item_kind, item) in enumerate(zip(kinds, value, strict=True))
        ]
        return items if container is list else tuple(items)
    if container is dict or container is Mapping:
        if not isinstance(value, Mapping):
            raise ArgumentError(f"{where}: `{name}` must be an object, got {_shown(value)}.")
        item_kind = arguments[1] if arguments else Any
        return {key: _from_json(item_kind, item, f"{name}.{key}", where) for key, item in value.items()}
    return _NO_CONTAINER


def _scalar_from_json(kind: Any, value: Any, name: str, where: str) -> Any:
    if kind is None or kind is type(None):
        if value is None:
            return None
        raise ArgumentError(f"{where}: `{name}` must be null, got {_shown(value)}.")
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise ArgumentError(f"{where}: `{name}` must be of type float, got an integer beyond its range.") from None
    if isinstance(kind, type) and issubclass(kind, Path) and isinstance(value, str):
        return kind(value)
    # A bool is an int to Python, but `steps: true` is a mistake.
    if kind in (bool, int, str) and type(value) is kind:
        return value
    expected = getattr(kind, "__name__", str(kind))
    raise ArgumentError(f"{where}: `{name}` must be of type {expected}, got {_shown(value)}.")


def _join(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key


def _shown(value: Any) -> str:
    """A value as it may stand in a message: on one line, and no longer than one."""
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 3]}..."


def _shown_key(key: Any) -> str:
    text = _shown(key)
    return text[1:-1] if isinstance(key, str) else text
