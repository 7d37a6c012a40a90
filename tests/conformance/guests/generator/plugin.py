"""Makes what its parameters say, of every form that there is."""

from capstan_sdk import Builder, Generator, Output, Permanent, Problem, Use, interpolate, lock, prop, secret


class Conformance(Generator):
    words: list[str]
    fail: str = ""

    def check(self):
        return [] if self.words else [Problem("words", "expected a word, found none: ü")]

    def generate(self):
        if self.fail == "permanent":
            raise Permanent("not here: ü")
        if self.fail == "bug":
            raise LookupError("no luck")
        builders = [self.builder(word) for word in self.words]
        scheduler = Use("triggerable", name="all", builders=[builder.name for builder in builders])
        return Output(builders, [scheduler], [f"made {len(self.words)}"])

    def builder(self, word):
        step = Use(
            "shell",
            {
                "command": ["make", prop("target"), prop("rest", "all")],
                "env": {"TOKEN": secret("deploy"), "WHERE": interpolate("{branch}/ü")},
            },
            name=word,
            halt_on_failure=False,
        )
        return Builder(f"builder {word}", [step, Use("git")], labels=["linux"], locks=[lock("database")])
