-- Whether pages leave a step out, and what it made of its build if it ended that.
ALTER TABLE steps ADD COLUMN hidden BIGINT NOT NULL DEFAULT 0;
ALTER TABLE steps ADD COLUMN ends_build TEXT;
ALTER TABLE steps ADD COLUMN ends_reason TEXT;

-- Whether the first failure cancels what is left of a buildset.
ALTER TABLE buildsets ADD COLUMN fail_fast BIGINT NOT NULL DEFAULT 0;

-- Builds that were asked to stop and have not ended: few of many.
CREATE INDEX builds_by_stop ON builds (id) WHERE state = 'running' AND stop_requested IS NOT NULL;
