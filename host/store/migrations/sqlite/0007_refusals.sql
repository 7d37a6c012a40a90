-- What plugins were refused for want of a right, for the operator. The same refusal soon after joins its row; of each plugin
-- the newest rows are kept. `step` is not checked: a row tells of the past.
CREATE TABLE refusals (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    capability TEXT NOT NULL,
    value TEXT NOT NULL,
    side TEXT NOT NULL CHECK (side IN ('manifest', 'operator')),
    owner TEXT NOT NULL,
    builder TEXT,
    step INTEGER,
    delivery TEXT,
    times INTEGER NOT NULL,
    began INTEGER NOT NULL,
    latest INTEGER NOT NULL
) STRICT;
CREATE INDEX refusals_by_plugin ON refusals (kind, name, latest);
CREATE INDEX refusals_by_time ON refusals (latest);
