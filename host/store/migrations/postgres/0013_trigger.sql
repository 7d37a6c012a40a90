-- The build whose step asked a scheduler, and asked so for a buildset. Not told to the database as a reference: what asked may be
-- removed before what it asked for.
ALTER TABLE scheduler_calls ADD COLUMN build BIGINT;
ALTER TABLE buildsets ADD COLUMN parent BIGINT;

-- What a build has asked for: few builds ask for anything.
CREATE INDEX buildsets_by_parent ON buildsets (parent, id) WHERE parent IS NOT NULL;
