-- What a buildset's requests have in common with those that one build can serve, too: equal texts are served together.
-- NULL in buildsets that an earlier version made; it is worked out when they are read.
ALTER TABLE buildsets ADD COLUMN likeness TEXT;
