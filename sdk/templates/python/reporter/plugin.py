"""A reporter that tells a chat when a builder breaks, and when it works again."""

import json

from capstan_sdk import Report, Reporter, http


class Chat(Reporter):
    url: str
    token: str | None = None

    def deliver(self, report: Report) -> None:
        if report.outcome is None or report.outcome == report.previous_outcome:
            return
        text = f"{report.builder} #{report.number}: {report.outcome.value}"
        secret = {"Authorization": self.token} if self.token else {}
        http("POST", self.url, secret_headers=secret, body=json.dumps({"text": text})).check()
