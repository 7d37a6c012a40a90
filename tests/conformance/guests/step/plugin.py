"""Does what its script says; what it was answered becomes the property `trace`."""

import json
from typing import Any

from capstan_sdk import (
    Outcome,
    Permanent,
    Problem,
    Step,
    Stop,
    Transient,
    add_link,
    end_build,
    get_property,
    log,
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
    triggers,
    wait_any,
    write_artefact,
    write_log,
)


class Conformance(Step):
    script: list[dict[str, Any]]
    env: dict[str, str] = {}
    note: str = ""

    def check(self):
        problems = []
        if self.note == "bad":
            problems.append(Problem("note", "expected a good note, found bad"))
        for name in self.env:
            if " " in name:
                problems.append(Problem(f"env.{name}", "expected a name without blanks"))
        return problems

    def run(self):
        self.started, self.asked, trace = [], [], []
        for op in self.script:
            trace.append(f"{op['do']}: {self.play(op)}")
        set_property("trace", trace)
        return Outcome.WARNINGS

    def play(self, op):
        match op["do"]:
            case "run":
                return said(run(command(op), **options(op)))
            case "check":
                return said(run(command(op)).check())
            case "start":
                self.started.append(start(command(op), **options(op)))
            case "wait-all":
                order, left = [], list(self.started)
                while left:
                    first = wait_any(left)
                    order.append(f"{self.started.index(first)} {said(first.wait())}")
                    left.remove(first)
                return ", ".join(order)
            case "kill":
                self.started[op["which"]].kill(op["text"])
            case "sleep":
                return json.dumps(sleep(op["span"]))
            case "now":
                return now()
            case "seed":
                return seed()
            case "name":
                return step_name()
            case "sources":
                return ", ".join(f"{s.repository} {s.branch or '-'} {s.revision or '-'}" for s in sources())
            case "get":
                return json.dumps(get_property(op["name"]), ensure_ascii=False)
            case "set":
                set_property(op["name"], op["value"])
            case "summary":
                set_summary(op["text"])
            case "link":
                add_link(op["text"], op["url"])
            case "text":
                write_log(op["log"], op["text"])
            case "publish":
                return stored(publish(op["text"], op["name"]))
            case "artefact":
                return stored(write_artefact(op["name"], op["text"]))
            case "end-build":
                end_build(Outcome(op["outcome"]), op["text"])
            case "trigger":
                made = triggers.call(op["name"], op["value"])
                self.asked += made
                return len(made)
            case "await":
                return ", ".join(map(completed, triggers.wait(self.asked, give_back=True)))
            case "build-with":
                build_with(op["name"])
            case "log":
                log.info(op["text"])
            case "stop":
                raise Stop(Outcome(op["outcome"]), op["text"])
            case "transient":
                raise Transient(op["text"])
            case "permanent":
                raise Permanent(op["text"])
            case "bug":
                raise LookupError(op["text"])
        return ""


def command(op):
    return op["shell"] if "shell" in op else op["argv"]


def options(op):
    names = ("workdir", "env", "secrets", "timeout", "max_time", "term_grace", "log", "capture")
    return {name: op[name] for name in names if name in op}


def stored(artefact):
    return f"{artefact.name} {artefact.size} {artefact.sha256[:8]}"


# ANCHOR: asks
def build_with(scheduler):
    """Has a scheduler build what this build builds; what does not succeed ends the step."""
    made = triggers.call(scheduler, {"sources": "own", "properties": {"channel": "beta"}})
    for completed in triggers.wait(made, give_back=True):
        for build in completed.builds:
            write_log("builds", f"{build.builder}/{build.number}: {build.outcome.value}\n")
        if completed.outcome is not Outcome.SUCCESS:
            raise Stop(completed.outcome, f"{completed.scheduler}: {completed.outcome.value}")
# ANCHOR_END: asks


def completed(found):
    builds = [f"{build.builder}/{build.number} {build.outcome.value}" for build in found.builds]
    return " ".join([found.scheduler, found.outcome.value, *builds])


def said(done):
    return f"{done.summary} [{done.text}]"
