"""Reporters: telling people and programs how builds go."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from . import _host
from ._plugin import Plugin
from ._types import Outcome, Permanent, SourceStamp, Transient


@dataclass
class StepResult:
    """How one step of a build went; no outcome before its end."""

    name: str
    outcome: Outcome | None
    summary: str


class Report:
    """One moment of one build."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    @property
    def delivery_id(self) -> str:
        """The same on every attempt to deliver this report."""
        return str(self._handle.delivery_id())

    @property
    def phase(self) -> Literal["started", "finished"]:
        """Which moment it is."""
        return self._handle.phase().name.lower()  # type: ignore[no-any-return]

    @property
    def builder(self) -> str:
        """The builder's name."""
        return str(self._handle.builder())

    @property
    def number(self) -> int:
        """The build's number within its builder."""
        return int(self._handle.number())

    @property
    def url(self) -> str:
        """The build's page."""
        return str(self._handle.url())

    @property
    def worker(self) -> str:
        """The worker's name."""
        return str(self._handle.worker())

    @property
    def reason(self) -> str:
        """Why the build was asked for."""
        return str(self._handle.reason())

    @property
    def outcome(self) -> Outcome | None:
        """None until it has ended."""
        return _host.outcome(self._handle.outcome())

    @property
    def previous_outcome(self) -> Outcome | None:
        """How the builder's build before this one ended."""
        return _host.outcome(self._handle.previous_outcome())

    @property
    def summary(self) -> str:
        """A few words that say how it went."""
        return str(self._handle.summary())

    @property
    def started(self) -> int:
        """In milliseconds since 1970."""
        return int(self._handle.started())

    @property
    def finished(self) -> int | None:
        """In milliseconds since 1970; None until it has ended."""
        return self._handle.finished()  # type: ignore[no-any-return]

    @property
    def sources(self) -> list[SourceStamp]:
        """What the build checked out."""
        return [_host.stamp(stamp) for stamp in self._handle.sources()]

    @property
    def properties(self) -> dict[str, Any]:
        """The build's properties by name."""
        return {p.name: json.loads(p.value) for p in self._handle.properties()}

    @property
    def steps(self) -> list[StepResult]:
        """The steps so far."""
        return [StepResult(s.name, _host.outcome(s.outcome), s.summary) for s in self._handle.steps()]

    def to_json(self) -> str:
        """The whole report as one JSON object."""
        return str(self._handle.to_json())


def append_line(path: str, line: str) -> None:
    """Appends one line to a file under the farm's folder and syncs it."""
    _call(lambda: _host.files.append_line(path, line))


def recall(key: str, default: Any = None) -> Any:
    """What `remember` kept under that key. Each reporter of the configuration has its own keys: words joined by `/`.
    What is no JSON, as a version in another language may have left, is answered as text."""
    kept = _call(lambda: _host.state.get(key))
    if kept is None:
        return default
    try:
        return json.loads(kept)
    except ValueError:
        return kept.decode(errors="replace")


def remember(key: str, value: Any) -> None:
    """Keeps a value, durably: anything that JSON can hold in 65536 bytes, under at most 256 keys."""
    _call(lambda: _host.state.set(key, _host.dump(value).encode()))


def forget(key: str) -> None:
    """Drops a key."""
    _call(lambda: _host.state.delete(key))


@dataclass
class Attachment:
    """A file of a mail, with its media type: `text/plain`."""

    name: str
    content: bytes
    media_type: str = "application/octet-stream"


def send_mail(
    to: Sequence[str],
    subject: str,
    text: str = "",
    *,
    html: str = "",
    cc: Sequence[str] = (),
    bcc: Sequence[str] = (),
    headers: Mapping[str, str] | None = None,
    attachments: Sequence[Attachment] = (),
) -> None:
    """Sends one mail through the operator's server, under the operator's address."""
    message = _host.mail.Message()
    for add, addresses in ((message.add_to, to), (message.add_cc, cc), (message.add_bcc, bcc)):
        for address in addresses:
            add(address)
    message.set_subject(subject)
    if text:
        message.set_text(text)
    if html:
        message.set_html(html)
    for name, value in (headers or {}).items():
        message.add_header(name, value)
    for file in attachments:
        message.attach(file.name, file.media_type, file.content)
    _call(lambda: _host.mail.send(message))


def _call(call: Any) -> Any:
    try:
        return call()
    except _host.Err as fault:
        again = _host.case(fault.value) in ("Unavailable", "Io")
        raise (Transient if again else Permanent)(fault.value.value) from None


class Reporter(Plugin):
    """A reporter."""

    def deliver(self, report: Report) -> None:
        """Delivers one report. A receiver may see it more than once, always with the same delivery id."""
        raise NotImplementedError
