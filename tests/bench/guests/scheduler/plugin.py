"""The scheduler that the bench calls: a build with each change."""

from capstan_sdk import Answer, Buildset, Change, Scheduler


class Bench(Scheduler):
    def handle(self, state, now, event):
        match event:
            case Change():
                return Answer(submit=[Buildset("a change", changes=[event.id])])
        return None
