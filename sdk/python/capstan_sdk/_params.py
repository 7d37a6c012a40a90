"""From the JSON of a configuration to the fields of a plugin's class."""

from __future__ import annotations

import dataclasses
import enum
import json
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Union

from ._host import dump
from ._types import InvalidParameters, Problem, Span


def parse(cls: type, config: str) -> Any:
    """The plugin with its parameters; a class without fields takes any."""
    values = json.loads(config)
    plugin = cls(**_fields(cls, values, "", [])) if dataclasses.fields(cls) else cls()
    plugin.params = values
    return plugin


def _fields(cls: Any, values: Any, path: str, problems: list[Problem]) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    found: dict[str, Any] = {}
    known = {f.name: f for f in dataclasses.fields(cls)}
    for name in values:
        if name not in known:
            problems.append(Problem(_join(path, name), "expected a known parameter, found another"))
    for name, one in known.items():
        if name in values:
            found[name] = _read(hints[name], values[name], _join(path, name), problems)
        elif one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING:
            problems.append(Problem(_join(path, name), "expected a value, found none"))
    if problems:
        raise InvalidParameters(*problems)
    return found


def _read(kind: Any, value: Any, path: str, problems: list[Problem]) -> Any:
    """The value as a field of that type; what does not fit becomes a problem."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        for option in inner:
            trial: list[Problem] = []
            read = _read(option, value, path, trial)
            if not trial:
                return read
    elif origin is Literal:
        if value in inner:
            return value
    elif origin in (list, Sequence) or kind is list:
        if isinstance(value, list):
            item = inner[0] if inner else Any
            return [_read(item, one, f"{path}[{place}]", problems) for place, one in enumerate(value)]
    elif origin in (dict, Mapping) or kind is dict:
        if isinstance(value, dict):
            item = inner[1] if inner else Any
            return {name: _read(item, one, _join(path, name), problems) for name, one in value.items()}
    elif kind is Any:
        return value
    elif kind is type(None) and value is None:
        return None
    elif kind is Span:
        try:
            return Span(value)
        except ValueError as fault:
            problems.append(Problem(path, str(fault)))
            return None
    elif dataclasses.is_dataclass(kind) and isinstance(value, dict):
        try:
            return kind(**_fields(kind, value, path, []))  # type: ignore[operator]
        except InvalidParameters as fault:
            problems.extend(fault.problems)
            return None
    elif isinstance(kind, type) and issubclass(kind, enum.Enum):
        if value in [case.value for case in kind]:
            return kind(value)
    elif kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    elif isinstance(kind, type) and isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    problems.append(Problem(path, f"expected {_said(kind)}, found {dump(value)}"))
    return None


def _said(kind: Any) -> str:
    words = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", type(None): "nothing"}
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(_said(option) for option in inner)
    if origin is Literal:
        return "one of " + ", ".join(map(dump, inner))
    if origin in (list, Sequence) or kind is list:
        return "a list"
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return "one of " + ", ".join(dump(case.value) for case in kind)
    return words.get(kind, "an object")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
