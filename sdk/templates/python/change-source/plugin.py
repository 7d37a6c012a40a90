"""A change source that reports new commits of one branch. Its cursor is the last revision that it saw."""

from capstan_sdk import ChangeSource, NewChange, Poll, git_commits, git_fetch


class Commits(ChangeSource):
    repository: str
    branch: str = "main"

    def poll(self, cursor: str | None) -> Poll:
        newest = git_fetch(self.repository).get(f"refs/heads/{self.branch}")
        if newest is None or cursor is None or newest == cursor:
            return Poll(newest or cursor)
        changes = [
            NewChange(
                dedup_key=commit.revision,
                repository=self.repository,
                branch=self.branch,
                revision=commit.revision,
                author=commit.author,
                comments=commit.comments,
                files=commit.files,
                when=commit.when_ms,
            )
            for commit in git_commits(self.repository, [cursor], newest)
        ]
        return Poll(newest, changes)
