"""The master's interfaces as the bindings have them, and values on their way to and from there. Called by the rest of the
SDK; a plugin has no use for it."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from ._types import Outcome, SourceStamp


class Absent:
    """Stands for an interface that this kind of plugin does not have, or for any of them outside of a component."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, function: str) -> Any:
        raise RuntimeError(
            f"expected the interface `{self.name}`; plugins of this kind, and programs outside of Capstan, have none"
        )


def interface(name: str, side: str = "imports") -> Any:
    """A module of the bindings."""
    try:
        return importlib.import_module(f"wit_world.{side}.{name}")
    except ImportError:
        return Absent(name)


types, log, clock, entropy = map(interface, ("types", "log", "clock", "entropy"))
timers, build, commands, git = map(interface, ("timers", "build", "commands", "git"))
http, files, state, mail = map(interface, ("http", "report_files", "state", "mail"))
artefacts, ending, triggers, decisions = map(interface, ("artefacts", "ending", "triggers", "decisions"))


class _NoErr(Exception):
    value: Any


try:
    Err: Any = importlib.import_module("componentize_py_types").Err
except ImportError:
    Err = _NoErr


def case(variant: Any) -> str:
    """The case of a variant, which the bindings write as `Exit_Code`."""
    return type(variant).__name__.rpartition("_")[2]


def dump(value: Any) -> str:
    """As JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def outcome(found: Any) -> Outcome | None:
    """An outcome, if there is one yet."""
    return None if found is None else Outcome[found.name]


def stamp(found: Any) -> SourceStamp:
    """One source stamp from the master."""
    return SourceStamp(found.repository, found.branch, found.revision, found.codebase, found.project)


def stamps(given: Sequence[SourceStamp]) -> list[Any]:
    """Source stamps for the master."""
    return [types.SourceStamp(s.codebase, s.repository, s.project, s.branch, s.revision) for s in given]


def properties(values: Mapping[str, Any]) -> list[Any]:
    """Properties for the master, which knows where they come from."""
    return [types.Property(name, dump(value), "") for name, value in values.items()]
