"""Generators: builders out of parameters, when a configuration is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ._plugin import Plugin


class Use:
    """A step or a scheduler: a plugin with its parameters.

        Use("shell", {"command": ["make", "check"]}, name="check", halt_on_failure=False)

    The keywords are what every step or scheduler has, by its name in configurations: `name`, `locks`, `builders` and so on."""

    def __init__(self, plugin: str, parameters: Mapping[str, Any] | None = None, **options: Any) -> None:
        self.plugin, self.parameters, self.options = plugin, dict(parameters or {}), options

    def as_dict(self) -> dict[str, Any]:
        """The form in which the master takes it."""
        return {"use": self.plugin, **self.options, "parameters": self.parameters}


class Builder:
    """A builder. The keywords are the arguments of `builder(…)` in configurations: `workers`, `labels`, `tags`, `env` and so on."""

    def __init__(self, name: str, steps: Iterable[Use] = (), **options: Any) -> None:
        self.name, self.steps, self.options = name, list(steps), options

    def as_dict(self) -> dict[str, Any]:
        """The form in which the master takes it."""
        return {"name": self.name, **self.options, "steps": [step.as_dict() for step in self.steps]}


@dataclass
class Output:
    """What a generator makes."""

    #: In the order of the configuration.
    builders: Sequence[Builder] = ()
    #: Schedulers that belong to them.
    schedulers: Sequence[Use] = ()
    #: What `capstan check` is to say where the generator is called.
    remarks: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """The form in which the master takes it."""
        builders = [builder.as_dict() for builder in self.builders]
        schedulers = [scheduler.as_dict() for scheduler in self.schedulers]
        return {"builders": builders, "schedulers": schedulers, "remarks": list(self.remarks)}


class Generator(Plugin):
    """A generator. The same parameters have to make the same builders: there is nothing else to make them of."""

    def generate(self) -> Output | Sequence[Builder]:
        """Makes the builders. What comes out is checked like what a configuration says itself."""
        raise NotImplementedError


def secret(name: str) -> dict[str, Any]:
    """A secret, where the configuration takes `secret("name")`."""
    return {"$secret": name}


_NOTHING: Any = object()


def prop(name: str, default: Any = _NOTHING) -> dict[str, Any]:
    """A property of the build, where the configuration takes `prop("name", default = …)`."""
    return {"$prop": name} if default is _NOTHING else {"$prop": name, "default": default}


def interpolate(template: str, **values: Any) -> dict[str, Any]:
    """A text with properties of the build, where the configuration takes `interpolate("…{branch}…", key = …)`."""
    return {"$interpolate": template, "values": values} if values else {"$interpolate": template}


def lock(name: str, amount: int = 1, exclusive: bool = False) -> dict[str, Any]:
    """A lock that the configuration has defined, for the list `locks`: so many units of it, or all."""
    if exclusive:
        return {"$lock": name, "exclusive": True}
    return {"$lock": name} if amount == 1 else {"$lock": name, "amount": amount}
