-- What schedulers were asked for by steps, people and command lines. Each has an event of its scheduler; the answer is written in the
-- transaction that consumes it.
CREATE TABLE scheduler_calls (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    scheduler TEXT NOT NULL,
    -- The caller's: the same key again is the same call.
    key TEXT NOT NULL UNIQUE,
    body TEXT NOT NULL,
    created INTEGER NOT NULL,
    answered INTEGER,
    buildsets TEXT,
    problems TEXT
) STRICT;
-- Who is told of whose complete buildsets.
CREATE TABLE scheduler_followers (
    upstream TEXT NOT NULL,
    follower TEXT NOT NULL,
    PRIMARY KEY (upstream, follower)
) STRICT;
