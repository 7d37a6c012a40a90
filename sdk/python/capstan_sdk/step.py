"""Steps: what a builder does, with commands on its worker, and the build that the step belongs to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from . import _host
from ._plugin import Plugin
from ._types import Outcome, Permanent, SourceStamp, Span, Stop

if TYPE_CHECKING:
    from typing import Unpack


class Step(Plugin):
    """A step. It must be deterministic: after a restart of the master it is run again from its beginning, answered from its
    journal, and must ask for the same things. Use `now` and `seed`, no other clock or randomness."""

    def run(self) -> Outcome | Done | None:
        """Does the step. Nothing is success; a `Done` gives its outcome and, if it did not end well, its summary."""
        raise NotImplementedError


class Options(TypedDict, total=False):
    """How to run a command. A span is a number of seconds, or a text such as "30s" or "20min"; 0 is never."""

    #: Where, relative to the builder's folder; `build` by default.
    workdir: str
    #: Variables; None removes one. `${NAME}` in a value is the worker's own variable.
    env: Mapping[str, str | None]
    #: Variables by the secret's name; the values are masked in every log.
    secrets: Mapping[str, str]
    #: How long it may print nothing; 20 minutes by default.
    timeout: float | str
    #: How long it may take in all; for ever by default.
    max_time: float | str
    #: How long its processes have between being asked to end and being killed; 10 seconds by default.
    term_grace: float | str
    #: The log for its output; `stdio` by default.
    log: str
    #: How many bytes of standard output to bring back, at most 65536; none by default.
    capture: int


@dataclass
class Done:
    """How a command ended, once every byte of its output is stored."""

    kind: Literal["code", "signal", "idle-timeout", "total-timeout", "killed", "not-started"]
    #: The exit code, or the signal's number.
    code: int | None = None
    #: Why it was killed or not started.
    reason: str = ""
    duration_ms: int = 0
    stdout_bytes: int = 0
    stderr_bytes: int = 0
    #: The start of standard output, as far as `capture` asked for it.
    stdout: bytes = b""

    @property
    def ok(self) -> bool:
        """Whether it ended by itself with code 0."""
        return self.kind == "code" and self.code == 0

    @property
    def outcome(self) -> Outcome:
        """The usual outcome of a step that runs just this: being stopped by the farm is an exception."""
        if self.ok:
            return Outcome.SUCCESS
        return Outcome.EXCEPTION if self.kind == "killed" else Outcome.FAILURE

    @property
    def summary(self) -> str:
        """How it ended, in a few words."""
        return {
            "code": f"exit code {self.code}" if self.code else "done",
            "signal": f"ended by signal {self.code}",
            "idle-timeout": "timed out: no output",
            "total-timeout": "timed out: ran too long",
            "killed": f"stopped: {self.reason}",
            "not-started": f"not started: {self.reason}",
        }[self.kind]

    @property
    def text(self) -> str:
        """The captured standard output as text, without the white space around it."""
        return self.stdout.decode(errors="replace").strip()

    def check(self) -> Done:
        """Itself if it ended well; else ends the step with this command's outcome and summary."""
        if self.ok:
            return self
        raise Stop(self.outcome, self.summary)


class Command:
    """A command that was started."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    @property
    def id(self) -> str:
        """The id that makes it run once."""
        return str(self._handle.id())

    def wait(self) -> Done:
        """Waits for its end."""
        return _done(_call(self._handle.wait))

    def kill(self, reason: str) -> None:
        """Stops its process tree; `wait` then answers `killed`."""
        self._handle.kill(reason)


def run(command: str | Sequence[str], **options: Unpack[Options]) -> Done:
    """Runs a command on the worker and waits for its end. A text is a line for the worker's shell, a list a program and
    its arguments."""
    with _spec(command, options) as spec:
        completion = _call(lambda: _host.commands.run(spec))
    return _done(completion)


def start(command: str | Sequence[str], **options: Unpack[Options]) -> Command:
    """Starts a command; started commands go on side by side."""
    with _spec(command, options) as spec:
        handle = _call(lambda: _host.commands.start(spec))
    return Command(handle)


def wait_any(commands: Sequence[Command]) -> Command:
    """Waits until one of the commands has ended, and answers it."""
    if not commands:
        raise ValueError("expected at least one command to wait for, found none")
    first: int = _host.commands.wait_any([command._handle for command in commands])
    return commands[first]


def _spec(command: str | Sequence[str], options: Options) -> Any:
    unknown = sorted(options.keys() - Options.__annotations__.keys())
    if unknown:
        known = ", ".join(Options.__annotations__)
        raise TypeError(f"expected an option of a command ({known}), found {', '.join(unknown)}")
    make = _host.commands.Spec
    spec = make.shell(command) if isinstance(command, str) else make.argv(list(command))
    for name, value in options.get("env", {}).items():
        if value is None:
            spec.unset_env(name)
        else:
            spec.set_env(name, value)
    for name, secret in options.get("secrets", {}).items():
        spec.set_secret_env(name, secret)
    if "workdir" in options:
        spec.set_workdir(options["workdir"])
    if "log" in options:
        spec.set_log(options["log"])
    if "timeout" in options:
        spec.set_idle_timeout(Span(options["timeout"]))
    if "max_time" in options:
        spec.set_total_timeout(Span(options["max_time"]))
    if "term_grace" in options:
        spec.set_term_grace(Span(options["term_grace"]))
    if options.get("capture"):
        spec.set_capture_stdout(options["capture"])
    return spec


def _call(call: Any) -> Any:
    try:
        return call()
    except _host.Err as answer:
        case, text = _host.case(answer.value), answer.value.value
        if case == "Cancelled":
            raise Stop(Outcome.CANCELLED, f"stopped: {text}") from None
        if case == "WorkerLost":
            raise Stop(Outcome.RETRY, f"worker lost: {text}") from None
        raise Permanent(text) from None


_KINDS: dict[str, Any] = {
    "Code": "code",
    "Signal": "signal",
    "IdleTimeout": "idle-timeout",
    "TotalTimeout": "total-timeout",
    "Killed": "killed",
    "NotStarted": "not-started",
}


def _done(completion: Any) -> Done:
    value = getattr(completion.exit, "value", None)
    return Done(
        kind=_KINDS[_host.case(completion.exit)],
        code=value if isinstance(value, int) else None,
        reason=value if isinstance(value, str) else "",
        duration_ms=completion.duration_ms,
        stdout_bytes=completion.stdout_bytes,
        stderr_bytes=completion.stderr_bytes,
        stdout=completion.stdout,
    )


@dataclass
class Artefact:
    """A file as it was stored at the master."""

    name: str
    size: int
    #: The digest of its bytes, in 64 hexadecimal digits.
    sha256: str


def publish(path: str, name: str) -> Artefact:
    """Stores a file of the worker as an artefact of the build. The path is relative to the builder's folder:
    `build/dist/app.whl`. A file that is not there or too large fails the step."""
    return _stored(lambda: _host.artefacts.publish(path, name))


def write_artefact(name: str, content: bytes | str) -> Artefact:
    """Stores what the step itself made as an artefact of the build, at most 1 MiB."""
    data = content.encode() if isinstance(content, str) else content
    return _stored(lambda: _host.artefacts.write(name, data))


def _stored(store: Any) -> Artefact:
    try:
        found = store()
    except _host.Err as answer:
        case, text = _host.case(answer.value), answer.value.value
        if case in ("Missing", "TooLarge"):
            raise Stop(Outcome.FAILURE, text) from None
        if case == "Cancelled":
            raise Stop(Outcome.CANCELLED, f"stopped: {text}") from None
        if case == "WorkerLost":
            raise Stop(Outcome.RETRY, f"worker lost: {text}") from None
        if case == "Unavailable":
            raise Stop(Outcome.EXCEPTION, text) from None
        raise Permanent(text) from None
    return Artefact(found.name, found.size, found.sha256)


def step_name() -> str:
    """The step's name in the configuration."""
    return str(_host.build.step_name())


def sources() -> list[SourceStamp]:
    """What the build was asked to check out."""
    return [_host.stamp(stamp) for stamp in _host.build.sources()]


def get_property(name: str, default: Any = None) -> Any:
    """The value of a property of the build."""
    found = _host.build.get_property(name)
    return default if found is None else json.loads(found.value)


def set_property(name: str, value: Any) -> None:
    """Sets a property of the build."""
    try:
        _host.build.set_property(name, _host.dump(value))
    except _host.Err as answer:
        raise Permanent(answer.value) from None


def set_summary(text: str) -> None:
    """Says in a few words how the step goes, or went."""
    _host.build.set_summary(text)


def end_build(outcome: Outcome, reason: str = "") -> None:
    """Has the build end when this step has returned, with this result. Steps that always run still do."""
    _host.ending.end_build(_host.types.Outcome[outcome.name], reason)


def add_link(label: str, url: str) -> None:
    """Shows a link on the step."""
    _host.build.add_link(label, url)


def write_log(name: str, text: str) -> None:
    """Appends text to a log of this step, which is made if it does not exist."""
    _host.build.write_log(name, text)


def now() -> int:
    """The master's wall clock in milliseconds, the same on every replay."""
    return int(_host.clock.now())


def seed() -> int:
    """A number that is fixed for the life of the step. `random`, where it is used, is seeded with it."""
    return int(_host.entropy.seed())


def sleep(span: float | str) -> bool:
    """Waits, over restarts of the master too. False if the step was stopped meanwhile."""
    return bool(_host.timers.sleep_ms(Span(span)))
