-- Builds that somebody keeps, whatever the rules say, and why; when logs and artefacts were removed without their build.
ALTER TABLE builds ADD COLUMN kept TEXT;
ALTER TABLE builds ADD COLUMN logs_removed INTEGER;
ALTER TABLE builds ADD COLUMN artefacts_removed INTEGER;

-- What was removed, so that whoever follows an old link is told. No references: the build is no more.
CREATE TABLE removed_builds (
    id INTEGER NOT NULL PRIMARY KEY,
    builder INTEGER NOT NULL REFERENCES builders (id),
    number INTEGER NOT NULL,
    finished INTEGER NOT NULL,
    removed INTEGER NOT NULL,
    UNIQUE (builder, number)
) STRICT;

-- Files and blobs whose rows are gone: noted with the end of the rows, and forgotten when they are gone, too.
CREATE TABLE removals (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL CHECK (kind IN ('log', 'artefact', 'blob')),
    key TEXT NOT NULL
) STRICT;

-- Who refers to what is removed is looked up row by row: never by reading a whole table.
CREATE INDEX build_branches_by_build ON build_branches (build);
CREATE INDEX build_sources_by_stamp ON build_sources (source_stamp);
CREATE INDEX buildset_sources_by_stamp ON buildset_sources (source_stamp);
CREATE INDEX steps_by_parent ON steps (parent) WHERE parent IS NOT NULL;
CREATE INDEX artefacts_by_step ON artefacts (step_id);
CREATE INDEX artefacts_by_content ON artefacts (sha256);
CREATE INDEX journal_by_request_blob ON journal (request_blob) WHERE request_blob IS NOT NULL;
CREATE INDEX journal_by_response_blob ON journal (response_blob) WHERE response_blob IS NOT NULL;
CREATE INDEX source_stamps_by_patch ON source_stamps (patch) WHERE patch IS NOT NULL;
