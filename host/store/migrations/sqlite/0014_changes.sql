-- What is applied after the checkout of a stamp: the text, kept once, and what else is said of it.
ALTER TABLE source_stamps ADD COLUMN patch TEXT REFERENCES blobs (digest);
ALTER TABLE source_stamps ADD COLUMN patch_facts TEXT;
