"""What every kind of plugin shares: outcomes, errors, durations."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any


class Outcome(enum.Enum):
    """How a step or a build ended."""

    SUCCESS = "success"
    WARNINGS = "warnings"
    FAILURE = "failure"
    SKIPPED = "skipped"
    EXCEPTION = "exception"
    RETRY = "retry"
    CANCELLED = "cancelled"


@dataclass
class Problem:
    """A fault in the parameters, addressed by its path in them: `command`, `env.PATH`."""

    path: str
    message: str


class InvalidParameters(Exception):
    """The parameters are wrong; people see each problem at its line of the configuration."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("; ".join(f"{p.path}: {p.message}" if p.path else p.message for p in problems))
        self.problems = list(problems)


class Transient(Exception):
    """It may work later: the master tries again, with growing pauses."""


class Permanent(Exception):
    """It will not work until somebody does something."""


class Stop(Exception):
    """Ends a step at once, with an outcome and a few words for the people who look at it."""

    def __init__(self, outcome: Outcome, summary: str = "") -> None:
        super().__init__(summary)
        self.outcome, self.summary = outcome, summary


@dataclass
class Property:
    """A named value that knows where it came from. The value is anything that JSON can hold."""

    name: str
    value: Any
    source: str = ""


@dataclass
class SourceStamp:
    """What to check out for one codebase. No branch is the default branch, no revision the newest."""

    repository: str = ""
    branch: str | None = None
    revision: str | None = None
    codebase: str = ""
    project: str = ""


class Span(int):
    """A duration in milliseconds, made from a number of seconds or a text such as "30s", "20min", "12h"."""

    _UNITS = {"ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}

    def __new__(cls, span: Span | float | str) -> Span:
        if isinstance(span, Span):
            return span
        if isinstance(span, (int, float)) and not isinstance(span, bool) and 0 <= span < 9e12:
            return super().__new__(cls, round(span * 1000))
        if isinstance(span, str):
            number = span.strip().rstrip("abcdefghijklmnopqrstuvwxyz")
            unit = cls._UNITS.get(span.strip()[len(number) :])
            if unit and number.strip().isascii() and number.strip().isdigit():
                return super().__new__(cls, int(number) * unit)
        raise ValueError(
            f'expected a duration (a number of seconds, or a text such as "30s" or "20min"), found {span!r}'
        )
