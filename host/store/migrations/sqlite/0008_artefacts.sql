-- Files that steps stored under a name of their build. Their bytes are files at the master, by their digest.
CREATE TABLE artefacts (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    build_id INTEGER NOT NULL REFERENCES builds (id),
    step_id INTEGER NOT NULL REFERENCES steps (id),
    name TEXT NOT NULL,
    size INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (build_id, name)
) STRICT;
-- A log that carries a file on its way to become an artefact: nobody reads it as a log, and it is removed when the file is stored.
ALTER TABLE logs ADD COLUMN transport INTEGER NOT NULL DEFAULT 0;
