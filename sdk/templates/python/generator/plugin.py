"""A generator that makes a builder for each package."""

from dataclasses import dataclass

from capstan_sdk import Builder, Generator, Problem, Use


@dataclass
class Package:
    name: str
    tests: bool = True


class Packages(Generator):
    packages: list[Package]
    labels: list[str] = []

    def check(self) -> list[Problem]:
        if not self.packages:
            return [Problem("packages", "expected at least one package, found none")]
        return []

    def generate(self) -> list[Builder]:
        return [self.builder(package) for package in self.packages]

    def builder(self, package: Package) -> Builder:
        def make(target: str, **options: bool) -> Use:
            return Use("shell", {"command": ["make", target, package.name]}, name=target, **options)

        steps = [make("build")]
        if package.tests:
            steps.append(make("check", halt_on_failure=False))
        return Builder(f"package {package.name}", steps, labels=self.labels)
