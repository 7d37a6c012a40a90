"""Builds a branch at every second change, later if it has to; counts what it is told."""

from capstan_sdk import (
    Answer,
    Buildset,
    Change,
    Finished,
    InvalidParameters,
    Permanent,
    Problem,
    Scheduler,
    SourceStamp,
    Started,
    TimerDue,
)


class Conformance(Scheduler):
    branch: str
    quiet: int = 1000

    def handle(self, state, now, event):
        match event:
            case Started():
                state["started"] = state.get("started", 0) + 1
                return Answer(set_timers={"first": now + self.quiet})
            case Change():
                if event.comments == "bad":
                    raise Permanent(f"no such change: {event.revision}")
                state.setdefault("waiting", []).append(event.id)
                if event.branch != self.branch or len(state["waiting"]) < 2:
                    return Answer(set_timers={"late": now + self.quiet})
                return Answer(submit=[buildset(state.pop("waiting"), event)], clear_timers=["late"])
            case TimerDue(name):
                state.setdefault("timers", []).append(name)
            case Finished():
                word = event.outcome.value
                state[word] = state.get(word, 0) + 1
                state["builder"] = f"{event.builder} {event.number} {event.sources[0].revision}"

    # ANCHOR: asked
    def describe(self):
        return {"kind": "force", "fields": [{"name": "version", "type": "string", "label": "Ver\u017eion " + self.branch}]}

    def call(self, state, now, call):
        version = call.values.get("version")
        if not version:
            raise InvalidParameters(Problem("values.version", "expected a version, found none"))
        state["calls"] = state.get("calls", 0) + 1
        properties = {"version": version, "owner": call.owner, "size": call.properties.get("size")}
        return Answer(
            submit=[Buildset(call.reason or "asked", call.sources, call.builders, call.priority or 1, properties)],
            set_timers={"after": now + self.quiet},
            clear_timers=["before"],
        )

    def completed(self, state, now, buildset):
        color = next((p.value for p in buildset.properties if p.name == "color"), None)
        builds = [f"{b.builder} {b.number} {b.outcome.value} {b.sources[0].revision}" for b in buildset.builds]
        state["seen"] = f"{buildset.scheduler} {buildset.id} {buildset.outcome.value} {color}: " + ", ".join(builds)
        if buildset.outcome.value != "success":
            return None
        return Answer(submit=[Buildset(f"after {buildset.reason}", buildset.sources, changes=buildset.changes)])
    # ANCHOR_END: asked

    def migrate(self, from_version, state):
        return {**state, "migrated": from_version}


def buildset(changes, change):
    color = next(p.value for p in change.properties if p.name == "color")
    return Buildset(
        reason=f"{len(changes)} changes by {change.author}",
        builders=["hello"],
        sources=[SourceStamp(change.repository, change.branch, change.revision)],
        priority=3,
        properties={"files": change.files, "color": color},
        changes=changes,
    )
