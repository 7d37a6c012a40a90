-- Which version of its plugin wrote a scheduler's state or a change source's cursor; NULL where nobody noted it.
ALTER TABLE schedulers ADD COLUMN state_digest TEXT;
ALTER TABLE schedulers ADD COLUMN state_version TEXT;
ALTER TABLE change_sources ADD COLUMN cursor_digest TEXT;
ALTER TABLE change_sources ADD COLUMN cursor_version TEXT;

-- The versions of plugins from the plugin folder that are in force; their bytes are blobs. `predecessor` is the one that the
-- master goes back to.
CREATE TABLE plugins_in_force (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    version TEXT NOT NULL,
    origin TEXT NOT NULL,
    predecessor TEXT,
    since BIGINT NOT NULL,
    PRIMARY KEY (kind, name)
);
