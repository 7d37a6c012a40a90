"""A scheduler that builds a branch once it has been quiet for a while."""

from typing import Any

from capstan_sdk import Answer, Buildset, Change, Event, Scheduler, SourceStamp, Span, TimerDue


class Quiet(Scheduler):
    branch: str = "main"
    quiet: Span = Span("30s")

    def handle(self, state: dict[str, Any], now: int, event: Event) -> Answer | None:
        match event:
            case Change(branch=self.branch):
                state["repository"], state["revision"] = event.repository, event.revision
                state.setdefault("changes", []).append(event.id)
                return Answer(set_timers={"quiet": now + self.quiet})
            case TimerDue("quiet"):
                source = SourceStamp(state["repository"], self.branch, state["revision"])
                changes = state.pop("changes")
                return Answer(submit=[Buildset("the branch is quiet", [source], changes=changes)])
        return None
