-- What a build holds from its start to its end, and what a step holds while it runs or waits for before it begins: lists of
-- accesses, so that a new configuration changes nothing about them. NULL: nothing.
ALTER TABLE builds ADD COLUMN locks TEXT;
ALTER TABLE steps ADD COLUMN locks TEXT;
-- Since when a step that has not begun waits for its locks.
ALTER TABLE steps ADD COLUMN locks_since BIGINT;
