-- Who works on the database: JSON with host, process id, data folder and since when.
ALTER TABLE installation ADD COLUMN master TEXT;
