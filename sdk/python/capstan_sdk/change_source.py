"""Change sources: what changed since the last look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from . import _host
from ._plugin import Plugin
from ._types import Permanent, Transient


@dataclass
class NewChange:
    """A change as it was found. The same key twice is the same change."""

    dedup_key: str
    repository: str
    revision: str
    author: str = ""
    comments: str = ""
    branch: str | None = None
    files: list[str] = field(default_factory=list)
    when: int = 0
    codebase: str = ""
    project: str = ""
    category: str | None = None
    properties: dict[str, Any] = field(default_factory=dict)


@dataclass
class Poll:
    """What a look brought: how far it went, what it found (oldest first), when to look again."""

    cursor: Any
    changes: list[NewChange] = field(default_factory=list)
    poll_again: float | str = "1min"


@dataclass
class Commit:
    """A commit of a Git repository."""

    revision: str
    parents: list[str]
    author: str
    when_ms: int
    comments: str
    files: list[str]


def git_fetch(repository: str) -> dict[str, str]:
    """Brings the master's mirror up to date and answers its branches and tags: full name to revision."""
    return {reference.name: reference.revision for reference in _git_call(lambda: _host.git.fetch(repository))}


def git_commits(repository: str, since: Sequence[str], until: str, limit: int = 100) -> list[Commit]:
    """The commits that `until` reaches and none of `since` does, oldest first; the newest `limit` of them."""
    found = _git_call(lambda: _host.git.commits(repository, list(since), until, limit))
    return [Commit(c.revision, c.parents, c.author, c.when_ms, c.comments, c.files) for c in found]


def _git_call(call: Any) -> Any:
    try:
        return call()
    except _host.Err as fault:
        raise (Transient if _host.case(fault.value) == "Unavailable" else Permanent)(fault.value.value) from None


class ChangeSource(Plugin):
    """A change source: from a cursor to the next cursor and the changes between, which the master stores together."""

    def poll(self, cursor: Any) -> Poll:
        """Looks for changes. The cursor is None the first time, then what the last `Poll` said."""
        raise NotImplementedError

    def migrate(self, from_version: str, cursor: Any) -> Any:
        """The cursor that the version `from_version` of this plugin left, in the form of this version."""
        return cursor
