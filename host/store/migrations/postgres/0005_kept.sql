-- Small values that reporters keep, by the reporter's name in the configuration and a key of its own.
CREATE TABLE kept (
    owner TEXT NOT NULL,
    key TEXT NOT NULL,
    value BYTEA NOT NULL,
    changed BIGINT NOT NULL,
    PRIMARY KEY (owner, key)
);
