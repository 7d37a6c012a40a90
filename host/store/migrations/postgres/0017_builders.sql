-- The folder on its worker that a build uses, which several builders may share. Empty in builds that an earlier version made: each then
-- had the folder of its builder.
ALTER TABLE builds ADD COLUMN directory TEXT NOT NULL DEFAULT '';
