"""The step that the bench runs: nothing, some host calls, or one command."""

from capstan_sdk import Step, now, run


class Bench(Step):
    def run(self):
        for _ in range(self.params.get("now", 0)):
            now()
        if self.params.get("wait"):
            return run(["true"])
