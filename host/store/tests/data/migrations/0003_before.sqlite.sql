-- A farm as the second migration leaves one, with a build that runs.
PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE installation (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    uuid TEXT NOT NULL,
    created INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    epoch_began INTEGER
) STRICT;
INSERT INTO installation VALUES(1,'3f2b1c1e-6f0a-4d55-9b1e-0c9a6a2f7d11',1,1,1);
CREATE TABLE blobs (
    digest TEXT NOT NULL PRIMARY KEY,
    bytes BLOB NOT NULL
) STRICT;
CREATE TABLE plans (
    digest TEXT NOT NULL PRIMARY KEY,
    contents TEXT NOT NULL,
    created INTEGER NOT NULL
) STRICT;
INSERT INTO plans VALUES('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855','{}',1);
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
INSERT INTO changes VALUES(1,'git','a','lib','https://example.org/r.git','','main','abc','Ada','Mend it.','[]',NULL,2,3,'[]');
INSERT INTO changes VALUES(2,'git','b','','https://example.org/r.git','',NULL,'def','Bo','Break it.','[]',NULL,2,3,'[]');
CREATE TABLE schedulers (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    state BLOB,
    enabled INTEGER NOT NULL,
    failed INTEGER,
    error TEXT
) STRICT;
CREATE TABLE scheduler_events (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    scheduler TEXT NOT NULL,
    payload TEXT NOT NULL,
    created INTEGER NOT NULL
) STRICT;
CREATE TABLE timers (
    scheduler TEXT NOT NULL,
    name TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (scheduler, name)
) STRICT;
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
INSERT INTO source_stamps VALUES(1,'f1','','https://example.org/r.git','','main','abc',4);
INSERT INTO source_stamps VALUES(2,'f2','lib','https://example.org/lib.git','','main','def',4);
INSERT INTO source_stamps VALUES(3,'f3','','https://example.org/r.git','',NULL,NULL,4);
INSERT INTO source_stamps VALUES(4,'f4','','https://example.org/r.git','','release',NULL,4);
CREATE TABLE buildsets (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    scheduler TEXT,
    reason TEXT NOT NULL,
    properties TEXT NOT NULL,
    submitted INTEGER NOT NULL,
    finished INTEGER,
    outcome TEXT
) STRICT;
INSERT INTO buildsets VALUES(1,'on-push','a change','[]',5,NULL,NULL);
CREATE TABLE buildset_sources (
    buildset INTEGER NOT NULL REFERENCES buildsets (id),
    position INTEGER NOT NULL,
    source_stamp INTEGER NOT NULL REFERENCES source_stamps (id),
    PRIMARY KEY (buildset, position)
) STRICT;
INSERT INTO buildset_sources VALUES(1,0,1);
CREATE TABLE buildset_changes (
    buildset INTEGER NOT NULL REFERENCES buildsets (id),
    change INTEGER NOT NULL REFERENCES changes (id),
    PRIMARY KEY (buildset, change)
) STRICT;
INSERT INTO buildset_changes VALUES(1,1);
CREATE TABLE builders (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    next_number INTEGER NOT NULL
) STRICT;
INSERT INTO builders VALUES(1,'linux',3);
INSERT INTO builders VALUES(2,'windows',2);
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
INSERT INTO requests VALUES(1,1,1,0,'complete','success',NULL,5,6,8);
INSERT INTO requests VALUES(2,1,2,0,'claimed',NULL,NULL,5,6,NULL);
INSERT INTO requests VALUES(3,1,1,0,'complete','failure',NULL,5,6,9);
INSERT INTO requests VALUES(4,1,1,0,'pending',NULL,NULL,5,NULL,NULL);
INSERT INTO requests VALUES(5,1,1,9,'pending',NULL,NULL,5,NULL,NULL);
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
INSERT INTO workers VALUES(1,'w',1,NULL,NULL,NULL,NULL,0,NULL,NULL,'{}');
CREATE TABLE certificates (
    fingerprint TEXT NOT NULL PRIMARY KEY,
    worker INTEGER NOT NULL REFERENCES workers (id),
    serial TEXT,
    issued INTEGER NOT NULL,
    revoked INTEGER
) STRICT;
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
INSERT INTO builds VALUES(1,1,1,1,'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855','a change','complete','success','',6,8,NULL,NULL);
INSERT INTO builds VALUES(2,2,1,1,'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855','a change','running',NULL,'',6,NULL,NULL,NULL);
INSERT INTO builds VALUES(3,1,2,1,'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855','a change','complete','failure','',6,9,NULL,NULL);
CREATE TABLE build_requests (
    build INTEGER NOT NULL REFERENCES builds (id),
    request INTEGER NOT NULL REFERENCES requests (id),
    PRIMARY KEY (build, request)
) STRICT;
INSERT INTO build_requests VALUES(1,1);
INSERT INTO build_requests VALUES(2,2);
INSERT INTO build_requests VALUES(3,3);
CREATE TABLE build_sources (
    build INTEGER NOT NULL REFERENCES builds (id),
    position INTEGER NOT NULL,
    source_stamp INTEGER NOT NULL REFERENCES source_stamps (id),
    PRIMARY KEY (build, position)
) STRICT;
INSERT INTO build_sources VALUES(1,0,1);
INSERT INTO build_sources VALUES(1,1,2);
INSERT INTO build_sources VALUES(2,0,3);
INSERT INTO build_sources VALUES(3,0,4);
INSERT INTO build_sources VALUES(3,1,2);
CREATE TABLE build_properties (
    build INTEGER NOT NULL REFERENCES builds (id),
    name TEXT NOT NULL,
    position INTEGER NOT NULL,
    value TEXT NOT NULL,
    source TEXT NOT NULL,
    PRIMARY KEY (build, name)
) STRICT;
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
CREATE TABLE step_links (
    step INTEGER NOT NULL REFERENCES steps (id),
    position INTEGER NOT NULL,
    label TEXT NOT NULL,
    url TEXT NOT NULL,
    PRIMARY KEY (step, position)
) STRICT;
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
INSERT INTO events VALUES(1,5,'request.submitted','linux',NULL,NULL,1,'{}');
INSERT INTO events VALUES(2,6,'build.started','windows',2,NULL,NULL,'{}');
INSERT INTO events VALUES(3,8,'build.finished','linux',1,NULL,NULL,'{}');
CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL, installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL, checksum BLOB NOT NULL, execution_time BIGINT NOT NULL);
INSERT INTO _sqlx_migrations VALUES(1,'first','2026-01-01 00:00:00',1,X'e84bd8d9304ecfb80c49b9c7a8cc3ce3aa05b672762849fc90bada1324f3f7903ded3c29cbc07a923924e68c4b6a7846',0);
INSERT INTO _sqlx_migrations VALUES(2,'lists','2026-01-01 00:00:00',1,X'0ce50e836622f6a70dfbe37b32641303271d03b408793fd47ae0dd6e1288c90118990b2a0ea408e53fec85d674191451',1);
CREATE TABLE build_branches (
    branch TEXT NOT NULL,
    builder INTEGER NOT NULL REFERENCES builders (id),
    build INTEGER NOT NULL REFERENCES builds (id),
    PRIMARY KEY (branch, builder, build)
) STRICT, WITHOUT ROWID;
INSERT INTO build_branches VALUES('main',1,1);
INSERT INTO build_branches VALUES('main',1,3);
INSERT INTO build_branches VALUES('release',1,3);
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('changes',2);
INSERT INTO sqlite_sequence VALUES('source_stamps',4);
INSERT INTO sqlite_sequence VALUES('buildsets',1);
INSERT INTO sqlite_sequence VALUES('builders',2);
INSERT INTO sqlite_sequence VALUES('requests',5);
INSERT INTO sqlite_sequence VALUES('workers',1);
INSERT INTO sqlite_sequence VALUES('builds',3);
INSERT INTO sqlite_sequence VALUES('events',3);
CREATE INDEX scheduler_events_by_scheduler ON scheduler_events (scheduler, id);
CREATE INDEX buildset_changes_by_change ON buildset_changes (change);
CREATE INDEX requests_by_buildset ON requests (buildset);
CREATE INDEX certificates_by_worker ON certificates (worker);
CREATE INDEX builds_by_state ON builds (state, id);
CREATE INDEX build_requests_by_request ON build_requests (request);
CREATE INDEX steps_by_build ON steps (build, position);
CREATE INDEX commands_by_state ON commands (state, worker);
CREATE INDEX commands_by_log ON commands (log);
CREATE INDEX outbox_by_state ON outbox (state, next_at);
CREATE INDEX outbox_by_build ON outbox (build);
CREATE INDEX events_by_build ON events (build, id);
CREATE INDEX builds_by_outcome ON builds (outcome, id);
CREATE INDEX builds_by_builder ON builds (builder, outcome, id);
CREATE INDEX builds_by_worker ON builds (worker, outcome, id);
CREATE INDEX builds_by_builder_and_worker ON builds (builder, worker, outcome, id);
CREATE INDEX build_branches_by_branch ON build_branches (branch, build);
CREATE INDEX changes_by_author ON changes (author, id);
CREATE INDEX changes_by_branch ON changes (branch, id);
CREATE INDEX changes_by_repository ON changes (repository, id);
CREATE INDEX changes_by_branch_and_repository ON changes (branch, repository, id);
CREATE INDEX changes_by_codebase ON changes (codebase, id);
CREATE INDEX requests_by_state ON requests (state, id);
CREATE INDEX requests_by_builder ON requests (builder, state, id);
CREATE INDEX requests_by_urgency ON requests (state, priority DESC, id) WHERE state = 'pending';
CREATE INDEX requests_by_builder_and_urgency ON requests (builder, priority DESC, id) WHERE state = 'pending';
CREATE INDEX events_by_builder ON events (builder, id);
CREATE INDEX events_by_request ON events (request, id) WHERE request IS NOT NULL;
CREATE INDEX logs_by_completion ON logs (complete, id) WHERE sealed = 0;
COMMIT;
