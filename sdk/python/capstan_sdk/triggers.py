"""Builds that a step asks the farm's schedulers for, and waits for. `triggers.call` and `triggers.wait`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import _host
from ._types import Outcome, Permanent, Problem, SourceStamp, Stop


@dataclass
class TriggeredBuild:
    """A build of a buildset."""

    builder: str
    number: int
    outcome: Outcome


@dataclass
class Completed:
    """A buildset of which all requests have ended."""

    buildset: int
    scheduler: str
    #: The worst of its builds, and of its requests that never became one.
    outcome: Outcome
    #: Oldest first; none for a request that was cancelled before it became a build.
    builds: list[TriggeredBuild]


class Refused(Permanent):
    """There is no such scheduler, it takes no calls or is disabled, or this is wrong in the call, by its path there."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(f"{p.path}: {p.message}" if p.path else p.message for p in problems))
        self.problems = list(problems)


def call(scheduler: str, call: Mapping[str, Any]) -> list[int]:
    """Asks a scheduler for builds; answers its buildsets, of which there may be none. The call has, as far as they are given,
    `reason`, `builders`, `properties`, `priority` and `sources`: a list of source stamps, or "own" for what the build itself
    checks out, at the revisions that it got."""
    given = dict(call)
    if isinstance(given.get("sources"), (list, tuple)):
        given["sources"] = [
            dataclasses.asdict(stamp) if isinstance(stamp, SourceStamp) else stamp for stamp in given["sources"]
        ]
    return list(_asked(lambda: _host.triggers.call(scheduler, _host.dump(given))))


def wait(buildsets: Sequence[int], give_back: bool = False) -> list[Completed]:
    """Waits until each of these buildsets is complete, which this step must have asked for. With `give_back` others may use the
    build's slot on its worker meanwhile."""
    found = _asked(lambda: _host.triggers.wait(list(buildsets), give_back))
    return [Completed(s.buildset, s.scheduler, Outcome[s.outcome.name], _builds(s.builds)) for s in found]


def _builds(found: Any) -> list[TriggeredBuild]:
    return [TriggeredBuild(b.builder, b.number, Outcome[b.outcome.name]) for b in found]


def _asked(ask: Any) -> Any:
    """What is wrong in a call, and a right that is missing, are faults of the configuration."""
    try:
        return ask()
    except _host.Err as answer:
        case, value = _host.case(answer.value), answer.value.value
        if case == "Refused":
            raise Refused([Problem(p.path, p.message) for p in value]) from None
        if case == "Cancelled":
            raise Stop(Outcome.CANCELLED, f"stopped: {value}") from None
        if case == "Deadlock":
            raise Stop(Outcome.EXCEPTION, value) from None
        raise Permanent(value) from None
