// A change source that reports new commits of one branch. Its cursor is the last revision that it saw.

import { defineChangeSource, gitCommits, gitFetch } from "./capstan-sdk/change-source.js";

export const { changeSource, migration } = defineChangeSource({
    poll({ repository, branch = "main" }, cursor) {
        const newest = gitFetch(repository)[`refs/heads/${branch}`] ?? null;
        if (newest === null || cursor === null || newest === cursor) return { cursor: newest ?? cursor };
        const changes = gitCommits(repository, [cursor], newest).map((commit) => ({
            dedupKey: commit.revision,
            repository,
            branch,
            revision: commit.revision,
            author: commit.author,
            comments: commit.comments,
            files: commit.files,
            when: commit.whenMs,
        }));
        return { cursor: newest, changes };
    },
});
