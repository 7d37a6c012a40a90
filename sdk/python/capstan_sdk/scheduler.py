"""Schedulers: from changes and times to builds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ._plugin import Plugin
from ._types import Outcome, Property, SourceStamp


@dataclass
class Change:
    """A change that a change source reported."""

    id: int
    source: str
    codebase: str
    repository: str
    project: str
    branch: str | None
    revision: str
    author: str
    comments: str
    files: list[str]
    category: str | None
    when: int
    properties: list[Property]

    def stamp(self) -> SourceStamp:
        """What to check out to build it."""
        return SourceStamp(self.repository, self.branch, self.revision, self.codebase, self.project)


@dataclass
class Started:
    """The scheduler was configured, or configured anew, or the master was started."""


@dataclass
class TimerDue:
    """A timer is due, by the name under which it was set."""

    name: str


@dataclass
class Finished:
    """A build that has ended."""

    builder: str
    number: int
    outcome: Outcome
    sources: list[SourceStamp]


Event = Started | Change | TimerDue | Finished


@dataclass
class Buildset:
    """A request for one build on each of some builders; no list means all of the scheduler's."""

    reason: str
    sources: list[SourceStamp] = field(default_factory=list)
    builders: list[str] | None = None
    priority: int = 0
    properties: dict[str, Any] = field(default_factory=dict)
    #: The changes that led to it, by id.
    changes: list[int] = field(default_factory=list)


@dataclass
class Answer:
    """What an event leads to."""

    submit: list[Buildset] = field(default_factory=list)
    #: By name, when they are due, in milliseconds since 1970. One of the same name is replaced.
    set_timers: dict[str, int] = field(default_factory=dict)
    clear_timers: list[str] = field(default_factory=list)


@dataclass
class Call:
    """What a scheduler is asked for: by a step of another build ("trigger"), by a person with a form ("force") or with a patch
    ("try")."""

    kind: str
    #: Their name, for people.
    owner: str | None = None
    #: Why, for people.
    reason: str | None = None
    #: Some of the scheduler's builders; None is all.
    builders: list[str] | None = None
    sources: list[SourceStamp] = field(default_factory=list)
    properties: dict[str, Any] = field(default_factory=dict)
    #: What was filled in, by field.
    values: dict[str, Any] = field(default_factory=dict)
    #: What is not committed: a dict with `digest`, `bytes`, `level`, `subdirectory`, `codebase`, `author` and `comment`.
    patch: dict[str, Any] | None = None
    #: Higher is sooner; None is as the scheduler likes.
    priority: int | None = None


@dataclass
class CompletedBuildset:
    """A buildset of which all requests have ended."""

    id: int
    scheduler: str
    #: The worst of its requests.
    outcome: Outcome
    reason: str
    #: What it was asked to check out.
    sources: list[SourceStamp]
    properties: list[Property]
    changes: list[int]
    #: Oldest first; none for a request that was cancelled before it became a build.
    builds: list[Finished]


class Scheduler(Plugin):
    """A scheduler. It has no side effects: the master stores state and answer together, and repeats a call that was cut
    off."""

    def handle(self, state: dict[str, Any], now: int, event: Event) -> Answer | None:
        """Handles one event. The state is an empty dict at first; change it in place, with what JSON can hold."""
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """With `exports = ["calls"]` in plugin.toml: what to ask a person for, a dict with `kind` ("trigger", "force" or "try")
        and `fields`, a list of dicts with at least `name`, `type` and `label`."""
        raise NotImplementedError

    def call(self, state: dict[str, Any], now: int, call: Call) -> Answer | None:
        """With `exports = ["calls"]`: handles one call. `InvalidParameters` says what is wrong in it, by its path there:
        `values.branch`."""
        raise NotImplementedError

    def completed(self, state: dict[str, Any], now: int, buildset: CompletedBuildset) -> Answer | None:
        """With `exports = ["completions"]`: handles one complete buildset of the schedulers that it follows, which are those that
        its parameters name whose schema has the format `scheduler`."""
        raise NotImplementedError

    def migrate(self, from_version: str, state: Any) -> Any:
        """The state that the version `from_version` of this plugin left, in the form of this version."""
        return state
