-- The builder that a build was made from, where it is shown and numbered as one of another, virtual builder; null is the same one.
ALTER TABLE builds ADD COLUMN made_by BIGINT REFERENCES builders (id);
-- What is said of a virtual builder (`VirtualBuilder` as JSON); null where its newest build was made
-- from itself.
ALTER TABLE builders ADD COLUMN about TEXT;
