"""Requests to HTTP servers, of change sources and reporters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import _host
from ._types import Permanent, Span, Transient


@dataclass
class Response:
    """What a server answered."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode(errors="replace")

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        """The first header of that name, in any case."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def check(self) -> Response:
        """Itself if the status is 200 to 299. Else raises: `Transient` for what a server may get over (408, 425, 429, from
        500 on), `Permanent` for the rest."""
        if 200 <= self.status < 300:
            return self
        message = f"the server answered {self.status}: {self.text[:300].strip()}"
        raise (Transient if self.status in (408, 425, 429) or self.status >= 500 else Permanent)(message)


def http(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    secret_headers: Mapping[str, str] | None = None,
    body: bytes | str = b"",
    timeout: float | str = "30s",
) -> Response:
    """Sends one request. `secret_headers`: headers by the secret's name, which the master fills in on the way out. A
    redirection is an answer like any other."""

    def listed(pairs: Mapping[str, str] | None) -> list[Any]:
        return [_host.http.Header(name, value) for name, value in (pairs or {}).items()]

    raw = body.encode() if isinstance(body, str) else body
    span = min(Span(timeout), 2**32 - 1)
    request = _host.http.Request(method, url, listed(headers), listed(secret_headers), raw, span)
    try:
        answer = _host.http.fetch(request)
    except _host.Err as fault:
        text = getattr(fault.value, "value", "")
        raise {
            "Denied": Permanent(text),
            "Invalid": Permanent(f"the request is malformed: {text}"),
            "TooLarge": Permanent("the server's answer is larger than the limit"),
            "Timeout": Transient("the server did not answer in time"),
            "Transport": Transient(f"the server cannot be reached: {text}"),
        }[_host.case(fault.value)] from None
    return Response(answer.status, [(h.name, h.value) for h in answer.headers], answer.body)
