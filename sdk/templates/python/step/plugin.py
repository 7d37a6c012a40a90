"""A step that runs make. Its fields are its parameters."""

from capstan_sdk import Done, Problem, Step, run


class Make(Step):
    target: str
    jobs: int = 1

    def check(self) -> list[Problem]:
        if self.target.startswith("-"):
            return [Problem("target", f"expected a target, found an option: {self.target}")]
        return []

    def run(self) -> Done:
        return run(["make", f"-j{self.jobs}", self.target])
