-- Workers that get no builds for a while because a function of the configuration said so, and why.
CREATE TABLE quarantines (
    worker BIGINT NOT NULL PRIMARY KEY REFERENCES workers (id),
    reason TEXT NOT NULL,
    until BIGINT NOT NULL
);
