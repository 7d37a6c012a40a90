-- The farm itself: one row.
CREATE TABLE installation (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    uuid TEXT NOT NULL,
    created INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    epoch_began INTEGER
) STRICT;

-- Content by its digest: large journal payloads, the files of plans.
CREATE TABLE blobs (
    digest TEXT NOT NULL PRIMARY KEY,
    bytes BLOB NOT NULL
) STRICT;

-- What configurations were made from; their files are blobs.
CREATE TABLE plans (
    digest TEXT NOT NULL PRIMARY KEY,
    contents TEXT NOT NULL,
    created INTEGER NOT NULL
) STRICT;

CREATE TABLE change_sources (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    cursor BLOB,
    accepted INTEGER,
    failed INTEGER,
    error TEXT
) STRICT;

CREATE TABLE changes (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    source TEXT NOT NULL,
    dedup_key TEXT NOT NULL,
    codebase TEXT NOT NULL,
    repository TEXT NOT NULL,
    project TEXT NOT NULL,
    branch TEXT,
    revision TEXT NOT NULL,
    author TEXT NOT NULL,
    comments TEXT NOT NULL,
    files TEXT NOT NULL,
    category TEXT,
    made INTEGER NOT NULL,
    received INTEGER NOT NULL,
    properties TEXT NOT NULL,
    UNIQUE (source, dedup_key)
) STRICT;

CREATE TABLE schedulers (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    state BLOB,
    enabled INTEGER NOT NULL,
    failed INTEGER,
    error TEXT
) STRICT;

-- What a scheduler has not been told yet.
CREATE TABLE scheduler_events (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    scheduler TEXT NOT NULL,
    payload TEXT NOT NULL,
    created INTEGER NOT NULL
) STRICT;
CREATE INDEX scheduler_events_by_scheduler ON scheduler_events (scheduler, id);

CREATE TABLE timers (
    scheduler TEXT NOT NULL,
    name TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (scheduler, name)
) STRICT;

-- The fingerprint is that of all other columns but the time: branch and revision may be NULL, so UNIQUE cannot serve.
CREATE TABLE source_stamps (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    fingerprint TEXT NOT NULL UNIQUE,
    codebase TEXT NOT NULL,
    repository TEXT NOT NULL,
    project TEXT NOT NULL,
    branch TEXT,
    revision TEXT,
    created INTEGER NOT NULL
) STRICT;

CREATE TABLE buildsets (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    scheduler TEXT,
    reason TEXT NOT NULL,
    properties TEXT NOT NULL,
    submitted INTEGER NOT NULL,
    finished INTEGER,
    outcome TEXT
) STRICT;

CREATE TABLE buildset_sources (
    buildset INTEGER NOT NULL REFERENCES buildsets (id),
    position INTEGER NOT NULL,
    source_stamp INTEGER NOT NULL REFERENCES source_stamps (id),
    PRIMARY KEY (buildset, position)
) STRICT;

CREATE TABLE buildset_changes (
    buildset INTEGER NOT NULL REFERENCES buildsets (id),
    change INTEGER NOT NULL REFERENCES changes (id),
    PRIMARY KEY (buildset, change)
) STRICT;
CREATE INDEX buildset_changes_by_change ON buildset_changes (change);

CREATE TABLE builders (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    next_number INTEGER NOT NULL
) STRICT;

CREATE TABLE requests (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    buildset INTEGER NOT NULL REFERENCES buildsets (id),
    builder INTEGER NOT NULL REFERENCES builders (id),
    priority INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'claimed', 'complete')),
    outcome TEXT,
    note TEXT,
    submitted INTEGER NOT NULL,
    claimed INTEGER,
    finished INTEGER
) STRICT;
CREATE INDEX requests_by_state ON requests (state, priority, id);
CREATE INDEX requests_by_buildset ON requests (buildset);
CREATE INDEX requests_by_builder ON requests (builder, id);

CREATE TABLE workers (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    created INTEGER NOT NULL,
    enrolled INTEGER,
    revoked INTEGER,
    paused INTEGER,
    pause_reason TEXT,
    connected INTEGER NOT NULL,
    since INTEGER,
    last_seen INTEGER,
    info TEXT NOT NULL
) STRICT;

CREATE TABLE certificates (
    fingerprint TEXT NOT NULL PRIMARY KEY,
    worker INTEGER NOT NULL REFERENCES workers (id),
    serial TEXT,
    issued INTEGER NOT NULL,
    revoked INTEGER
) STRICT;
CREATE INDEX certificates_by_worker ON certificates (worker);

-- The secret itself is nowhere: only its digest.
CREATE TABLE invites (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    worker INTEGER NOT NULL REFERENCES workers (id),
    secret_hash TEXT NOT NULL UNIQUE,
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    used INTEGER
) STRICT;

CREATE TABLE builds (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    builder INTEGER NOT NULL REFERENCES builders (id),
    number INTEGER NOT NULL,
    worker INTEGER NOT NULL REFERENCES workers (id),
    plan TEXT NOT NULL REFERENCES plans (digest),
    reason TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('running', 'complete')),
    outcome TEXT,
    summary TEXT NOT NULL,
    started INTEGER NOT NULL,
    finished INTEGER,
    stop_requested INTEGER,
    stop_reason TEXT,
    UNIQUE (builder, number)
) STRICT;
CREATE INDEX builds_by_state ON builds (state, id);
CREATE INDEX builds_by_worker ON builds (worker, id);

CREATE TABLE build_requests (
    build INTEGER NOT NULL REFERENCES builds (id),
    request INTEGER NOT NULL REFERENCES requests (id),
    PRIMARY KEY (build, request)
) STRICT;
CREATE INDEX build_requests_by_request ON build_requests (request);

CREATE TABLE build_sources (
    build INTEGER NOT NULL REFERENCES builds (id),
    position INTEGER NOT NULL,
    source_stamp INTEGER NOT NULL REFERENCES source_stamps (id),
    PRIMARY KEY (build, position)
) STRICT;

CREATE TABLE build_properties (
    build INTEGER NOT NULL REFERENCES builds (id),
    name TEXT NOT NULL,
    position INTEGER NOT NULL,
    value TEXT NOT NULL,
    source TEXT NOT NULL,
    PRIMARY KEY (build, name)
) STRICT;

-- Positions shift when a step inserts others, so they cannot be unique within one statement.
CREATE TABLE steps (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    build INTEGER NOT NULL REFERENCES builds (id),
    parent INTEGER REFERENCES steps (id),
    position INTEGER NOT NULL,
    origin TEXT NOT NULL,
    name TEXT NOT NULL,
    plugin TEXT NOT NULL,
    digest TEXT NOT NULL,
    config TEXT NOT NULL,
    options TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'running', 'complete')),
    outcome TEXT,
    summary TEXT NOT NULL,
    started INTEGER,
    finished INTEGER
) STRICT;
CREATE INDEX steps_by_build ON steps (build, position);

CREATE TABLE step_links (
    step INTEGER NOT NULL REFERENCES steps (id),
    position INTEGER NOT NULL,
    label TEXT NOT NULL,
    url TEXT NOT NULL,
    PRIMARY KEY (step, position)
) STRICT;

-- A payload is either in its own column or, when large, a blob.
CREATE TABLE journal (
    step INTEGER NOT NULL REFERENCES steps (id),
    seq INTEGER NOT NULL,
    kind TEXT NOT NULL,
    call TEXT NOT NULL,
    class TEXT NOT NULL,
    request_hash TEXT NOT NULL,
    request TEXT,
    request_blob TEXT REFERENCES blobs (digest),
    response TEXT,
    response_blob TEXT REFERENCES blobs (digest),
    at INTEGER NOT NULL,
    PRIMARY KEY (step, seq)
) STRICT;

-- A command's log is its own; one that a step opened is known by the name that it asked for.
CREATE TABLE logs (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    step INTEGER NOT NULL REFERENCES steps (id),
    name TEXT NOT NULL,
    opened_as TEXT,
    length INTEGER NOT NULL,
    lines INTEGER NOT NULL,
    complete INTEGER NOT NULL,
    sealed INTEGER NOT NULL,
    created INTEGER NOT NULL,
    UNIQUE (step, name)
) STRICT;

CREATE TABLE commands (
    id TEXT NOT NULL PRIMARY KEY,
    step INTEGER NOT NULL REFERENCES steps (id),
    seq INTEGER NOT NULL,
    log INTEGER NOT NULL REFERENCES logs (id),
    worker INTEGER NOT NULL REFERENCES workers (id),
    spec TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('running', 'complete')),
    completion TEXT,
    started INTEGER NOT NULL,
    finished INTEGER,
    UNIQUE (step, seq)
) STRICT;
CREATE INDEX commands_by_state ON commands (state, worker);
CREATE INDEX commands_by_log ON commands (log);

CREATE TABLE outbox (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    delivery_id TEXT NOT NULL UNIQUE,
    reporter TEXT NOT NULL,
    build INTEGER NOT NULL REFERENCES builds (id),
    phase TEXT NOT NULL,
    payload TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'parked')),
    attempts INTEGER NOT NULL,
    next_at INTEGER NOT NULL,
    last_error TEXT,
    created INTEGER NOT NULL,
    finished INTEGER
) STRICT;
CREATE INDEX outbox_by_state ON outbox (state, next_at);
CREATE INDEX outbox_by_build ON outbox (build);

-- The feed: every visible change, in the transaction that made it. No references: it outlives what it tells of.
CREATE TABLE events (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    builder TEXT,
    build INTEGER,
    step INTEGER,
    request INTEGER,
    payload TEXT NOT NULL
) STRICT;
CREATE INDEX events_by_build ON events (build, id);
