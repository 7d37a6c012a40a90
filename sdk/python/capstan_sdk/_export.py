"""What the bindings call: the interfaces that a component exports, made of a plugin's class. `exported` is called while a
component is built."""

from __future__ import annotations

import dataclasses
import importlib
import json
import linecache
import sys
from collections.abc import Callable, Sequence
from typing import Any

from . import _host, log, step
from ._params import parse
from ._plugin import Plugin
from ._types import InvalidParameters, Outcome, Permanent, Property, SourceStamp, Span, Stop, Transient
from .change_source import ChangeSource, NewChange
from .generator import Generator, Output
from .reporter import Report, Reporter
from .scheduler import (
    Answer,
    Call,
    Change,
    CompletedBuildset,
    Event,
    Finished,
    Scheduler,
    Started,
    TimerDue,
)
from .step import Done, Step


def exported(module: str, parameters: Sequence[str] = ()) -> dict[str, Any]:
    """What a component of this module exports. Called by the entry module that `capstan plugin build` writes, with the names
    of the parameters in `plugin.toml`: `globals().update(capstan_sdk.exported("plugin", ["target"]))`."""
    source = importlib.import_module(module)
    classes = [cls for cls in Plugin.written if cls.__module__ == module]
    if len(classes) != 1:
        names = ", ".join(cls.__name__ for cls in classes) or "none"
        kinds = "Step, Scheduler, ChangeSource, Reporter or Generator"
        raise TypeError(f"expected one class in {source.__file__} that is a {kinds}, found {names}")
    _compare(classes[0], parameters)
    folder = str(source.__file__).rpartition("/")[0]
    for loaded in list(sys.modules.values()):
        file = str(getattr(loaded, "__file__", ""))
        if file.startswith(folder):
            _sources[file] = linecache.getlines(file)
    sys.stdout, sys.stderr = _Lines("INFO"), _Lines("WARN")
    base = next(kind for kind in _EXPORTS if issubclass(classes[0], kind))
    export = _EXPORTS[base](classes[0])
    also = ["Migration"] if isinstance(export, _Remembering) else []
    if base is Scheduler:
        also += _beside(classes[0])
    return dict.fromkeys([base.__name__, *also], export)


# What a scheduler may have beside its events, by the interface: its functions.
_BESIDE = {"calls": ("describe", "call"), "completions": ("completed",)}


def _beside(cls: type) -> list[str]:
    """The interfaces that plugin.toml says, which are those of the world: the class has their functions, and no others."""
    also = []
    for interface, functions in _BESIDE.items():
        written = [name for name in functions if name in cls.__dict__]
        said = not isinstance(_host.interface(interface, "exports"), _host.Absent)
        if said and len(written) < len(functions):
            missing = [name for name in functions if name not in written]
            raise TypeError(f"plugin.toml has exports = [\"{interface}\"]: expected {cls.__name__} to have {_names(missing)}")
        if written and not said:
            raise TypeError(
                f"{cls.__name__} has {_names(written)}: expected exports = [\"{interface}\"] under [build] in plugin.toml"
            )
        if said:
            also.append(interface.capitalize())
    return also


def _compare(cls: type, parameters: Sequence[str]) -> None:
    """A class with fields has one for each parameter; found when it is built, not when the parameter is first given."""
    fields = [f.name for f in dataclasses.fields(cls)]
    missing = [name for name in parameters if name not in fields]
    if fields and missing:
        file = cls.__module__.replace(".", "/") + ".py"
        more = [name for name in fields if name not in parameters] or fields
        raise TypeError(
            f"expected a field for each parameter of plugin.toml: {file} has no field {_names(missing)}; it has {_names(more)}"
        )


def _names(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


# The plugin's own files, for tracebacks: when a component runs there are none.
_sources: dict[str, list[str]] = {}


def _guarded(call: Callable[[], Any]) -> Any:
    """Calls it; what it raises becomes one of the errors that the master knows."""
    try:
        return call()
    except InvalidParameters as fault:
        problems = [_host.types.Problem(p.path, p.message) for p in fault.problems]
        raise _host.Err(_host.types.PluginError_InvalidConfig(problems)) from None
    except Transient as fault:
        raise _host.Err(_host.types.PluginError_Transient(str(fault))) from None
    except Permanent as fault:
        raise _host.Err(_host.types.PluginError_Permanent(str(fault))) from None
    except Exception as fault:
        log.error(_trace(fault))
        raise _host.Err(_host.types.PluginError_Permanent(f"{type(fault).__name__}: {fault}")) from None


def _trace(fault: BaseException) -> str:
    """As `traceback` has it, which would look for the sources in files that are not there."""
    lines = ["Traceback (most recent call last):"]
    at = fault.__traceback__
    while at is not None:
        code = at.tb_frame.f_code
        folder, _, name = code.co_filename.rpartition("/")
        if folder != __file__.rpartition("/")[0]:
            lines.append(f'  File "{name}", line {at.tb_lineno}, in {code.co_name}')
            text = _sources.get(code.co_filename, [])
            lines += ["    " + line.strip() for line in text[at.tb_lineno - 1 : at.tb_lineno]]
        at = at.tb_next
    return "\n".join([*lines, f"{type(fault).__name__}: {fault}"])


class _Export:
    """One exported interface. The bindings instantiate what they find: it stands for its own class."""

    def __init__(self, cls: type) -> None:
        self._cls = cls

    def __call__(self) -> Any:
        return self

    def check(self, config: str) -> None:
        _guarded(lambda: self._checked(config))

    def _checked(self, config: str) -> Any:
        plugin = parse(self._cls, config)
        problems = plugin.check()
        if problems:
            raise InvalidParameters(*problems)
        return plugin


class _StepExport(_Export):
    def run(self, config: str) -> Any:
        return _host.types.Outcome[_guarded(lambda: self._run(config)).name]

    def _run(self, config: str) -> Outcome:
        if "random" in sys.modules:
            sys.modules["random"].seed(step.seed())
        try:
            ended = parse(self._cls, config).run()
        except Stop as stop:
            if stop.summary:
                step.set_summary(stop.summary)
            return stop.outcome
        if isinstance(ended, Done):
            if not ended.ok:
                step.set_summary(ended.summary)
            return ended.outcome
        return Outcome.SUCCESS if ended is None else Outcome(ended)


class _Remembering(_Export):
    """With a state or a cursor, which a new version may have to translate."""

    def migrate(self, config: str, from_version: str, old: bytes) -> bytes:
        def call() -> bytes:
            migrated = parse(self._cls, config).migrate(from_version, _remembered("state", old, {}))
            return _host.dump(migrated).encode()

        return bytes(_guarded(call))


def _remembered(what: str, raw: bytes, first: Any) -> Any:
    try:
        return json.loads(raw) if raw else first
    except ValueError as fault:
        raise Permanent(f"expected a {what} as this version of the plugin writes it: {fault}") from None


class _SchedulerExport(_Remembering):
    def handle(self, config: str, state: bytes, now: int, event: Any) -> Any:
        return _guarded(lambda: self._handle(config, state, now, event))

    def _handle(self, config: str, raw: bytes, now: int, event: Any) -> Any:
        bound = _host.interface("scheduler", "exports")
        return _decided(bound, raw, lambda state: parse(self._cls, config).handle(state, now, _event(event)))

    def describe(self, config: str) -> str:
        return str(_guarded(lambda: _host.dump(parse(self._cls, config).describe())))

    def call(self, config: str, state: bytes, now: int, call: str) -> Any:
        return _guarded(lambda: self._shared(config, state, "call", now, _call(call)))

    def completed(self, config: str, state: bytes, now: int, buildset: Any) -> Any:
        return _guarded(lambda: self._shared(config, state, "completed", now, _completed(buildset)))

    def _shared(self, config: str, raw: bytes, function: str, now: int, told: Any) -> Any:
        plugin = parse(self._cls, config)
        return _decided(_host.decisions, raw, lambda state: getattr(plugin, function)(state, now, told))


def _decided(bound: Any, raw: bytes, decide: Callable[[Any], Answer | None]) -> Any:
    """The decision, in the words of one of the interfaces that have one."""
    state = _remembered("state", raw, {})
    answer = decide(state) or Answer()
    submit = [
        bound.Buildset(
            b.builders,
            _host.stamps(b.sources),
            b.priority,
            b.reason,
            _host.properties(b.properties),
            b.changes,
        )
        for b in answer.submit
    ]
    timers = [bound.Timer(name, at) for name, at in answer.set_timers.items()]
    return bound.Decision(_host.dump(state).encode(), submit, timers, answer.clear_timers)


def _call(text: str) -> Call:
    given = json.loads(text)
    values = {f.name: given[f.name] for f in dataclasses.fields(Call) if given.get(f.name) is not None}
    known = [f.name for f in dataclasses.fields(SourceStamp)]
    values["sources"] = [
        SourceStamp(**{name: stamp[name] for name in known if name in stamp}) for stamp in values.get("sources", [])
    ]
    return Call(**values)


def _completed(given: Any) -> CompletedBuildset:
    return CompletedBuildset(
        given.id,
        given.scheduler,
        Outcome[given.outcome.name],
        given.reason,
        [_host.stamp(stamp) for stamp in given.sources],
        _properties(given.properties),
        list(given.changes),
        [_finished(build) for build in given.builds],
    )


def _finished(build: Any) -> Finished:
    stamps = [_host.stamp(stamp) for stamp in build.sources]
    return Finished(build.builder, build.number, Outcome[build.outcome.name], stamps)


def _properties(given: Any) -> list[Property]:
    return [Property(p.name, json.loads(p.value), p.source) for p in given]


def _event(event: Any) -> Event:
    case, value = _host.case(event), getattr(event, "value", None)
    if value is None:
        return Started()
    if case == "Timer":
        return TimerDue(str(value))
    if case == "Finished":
        return _finished(value)
    values = {f.name: getattr(value, f.name) for f in dataclasses.fields(Change)}
    values["properties"] = _properties(value.properties)
    return Change(**values)


class _ChangeSourceExport(_Remembering):
    def poll(self, config: str, cursor: bytes) -> Any:
        return _guarded(lambda: self._poll(config, cursor))

    def _poll(self, config: str, raw: bytes) -> Any:
        bound = _host.interface("change_source", "exports")
        poll = parse(self._cls, config).poll(_remembered("cursor", raw, None))
        changes = []
        for change in poll.changes:
            values = {f.name: getattr(change, f.name) for f in dataclasses.fields(NewChange)}
            values["properties"] = _host.properties(change.properties)
            changes.append(bound.NewChange(**values))
        return bound.PollResult(_host.dump(poll.cursor).encode(), changes, Span(poll.poll_again))


class _ReporterExport(_Export):
    def deliver(self, config: str, report: Any) -> None:
        _guarded(lambda: parse(self._cls, config).deliver(Report(report)))


class _GeneratorExport(_Export):
    def generate(self, parameters: str) -> str:
        return str(_guarded(lambda: self._generate(parameters)))

    def _generate(self, parameters: str) -> str:
        made = self._checked(parameters).generate()
        output = made if isinstance(made, Output) else Output(made)
        return _host.dump(output.as_dict())


_EXPORTS: dict[type[Plugin], type[_Export]] = {
    Step: _StepExport,
    Scheduler: _SchedulerExport,
    ChangeSource: _ChangeSourceExport,
    Reporter: _ReporterExport,
    Generator: _GeneratorExport,
}


class _Lines:
    """Standard output or error: each line goes to the host's log."""

    def __init__(self, level: str) -> None:
        self._level, self._rest = level, ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            log.write(self._level, line)
        return len(text)

    def flush(self) -> None:
        if self._rest:
            log.write(self._level, self._rest)
            self._rest = ""
