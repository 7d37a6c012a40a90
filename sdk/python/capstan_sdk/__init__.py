"""Write plugins for Capstan in Python: a base class per kind of plugin, whose annotated fields are the parameters.

    from capstan_sdk import Step, run

    class Make(Step):
        target: str
        jobs: int = 1

        def run(self):
            return run(["make", f"-j{self.jobs}", self.target])

`capstan plugin build` makes a component of it. Outside of a component, as in ordinary unit tests, everything here can be
imported; only what asks the master for something raises `RuntimeError`.

A class without fields finds its parameters as a dict in `self.params`. `print` writes to the host's log. An exception that
nobody catches goes there with its traceback, and becomes a `Permanent` error.
"""

from . import log, triggers
from ._export import exported
from ._http import Response, http
from ._types import (
    InvalidParameters,
    Outcome,
    Permanent,
    Problem,
    Property,
    SourceStamp,
    Span,
    Stop,
    Transient,
)
from .change_source import ChangeSource, Commit, NewChange, Poll, git_commits, git_fetch
from .generator import Builder, Generator, Output, Use, interpolate, lock, prop, secret
from .reporter import (
    Attachment,
    Report,
    Reporter,
    StepResult,
    append_line,
    forget,
    recall,
    remember,
    send_mail,
)
from .scheduler import (
    Answer,
    Buildset,
    Call,
    Change,
    CompletedBuildset,
    Event,
    Finished,
    Scheduler,
    Started,
    TimerDue,
)
from .step import (
    Artefact,
    Command,
    Done,
    Step,
    add_link,
    end_build,
    get_property,
    now,
    publish,
    run,
    seed,
    set_property,
    set_summary,
    sleep,
    sources,
    start,
    step_name,
    wait_any,
    write_artefact,
    write_log,
)

__all__ = [name for name in dir() if not name.startswith("_")]
