-- When a running build was without its master or its worker. `away` is unknown where no clock tells; without `ended` it lasts.
CREATE TABLE interruptions (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    build INTEGER NOT NULL REFERENCES builds (id),
    kind TEXT NOT NULL CHECK (kind IN ('master', 'worker')),
    began INTEGER NOT NULL,
    ended INTEGER,
    away INTEGER,
    times INTEGER NOT NULL,
    lost INTEGER NOT NULL
) STRICT;
CREATE INDEX interruptions_by_build ON interruptions (build, kind, id);
