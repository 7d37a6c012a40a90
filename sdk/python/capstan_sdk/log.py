"""Diagnostics for the plugin's author and the operator; not part of any build's log."""

from __future__ import annotations

import sys

from . import _host


def debug(message: object) -> None:
    """For the plugin's author."""
    write("DEBUG", message)


def info(message: object) -> None:
    """For whoever wants to know."""
    write("INFO", message)


def warn(message: object) -> None:
    """Somebody should look."""
    write("WARN", message)


def error(message: object) -> None:
    """Something was not done."""
    write("ERROR", message)


def write(level: str, message: object) -> None:
    """At that level, line by line. Outside of a component it goes to standard error."""
    for line in str(message).split("\n"):
        if isinstance(_host.log, _host.Absent):
            print(f"{level}: {line}", file=sys.__stderr__)
        else:
            _host.log.write(_host.log.Level[level], line)
