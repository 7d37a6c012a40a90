"""What all kinds share: the annotated fields of a class are its parameters."""

from __future__ import annotations

import copy
import functools
import typing
from dataclasses import dataclass, field
from typing import Any

from ._types import Problem


@typing.dataclass_transform()
class Plugin:
    """What the kinds share: the fields of a class are its parameters."""

    #: All parameters, as the configuration has them.
    params: typing.ClassVar[dict[str, Any]] = {}
    #: The classes that derive from one of the kinds.
    written: typing.ClassVar[list[type]] = []

    def __init_subclass__(cls) -> None:
        if Plugin in cls.__bases__:
            return
        for name in cls.__annotations__:
            default = cls.__dict__.get(name)
            if isinstance(default, (dict, list, set)):
                # An instance serves one call, but dataclasses refuse such a default.
                setattr(cls, name, field(default_factory=functools.partial(copy.copy, default)))
        dataclass(cls)
        Plugin.written.append(cls)

    def check(self) -> list[Problem] | None:
        """Checks what the schema of the parameters cannot say; an empty list or None is good."""
        return None
