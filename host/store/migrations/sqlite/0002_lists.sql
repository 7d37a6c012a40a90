-- Lists that people page through, each in an index of its own: no list reads the history beside it.

-- A list of any result is the lists of all seven put together.
DROP INDEX builds_by_worker;
CREATE INDEX builds_by_outcome ON builds (outcome, id);
CREATE INDEX builds_by_builder ON builds (builder, outcome, id);
CREATE INDEX builds_by_worker ON builds (worker, outcome, id);
CREATE INDEX builds_by_builder_and_worker ON builds (builder, worker, outcome, id);

-- The branches of a build's sources, found without their revisions.
CREATE TABLE build_branches (
    branch TEXT NOT NULL,
    builder INTEGER NOT NULL REFERENCES builders (id),
    build INTEGER NOT NULL REFERENCES builds (id),
    PRIMARY KEY (branch, builder, build)
) STRICT, WITHOUT ROWID;
CREATE INDEX build_branches_by_branch ON build_branches (branch, build);
INSERT INTO build_branches (branch, builder, build)
SELECT DISTINCT source_stamps.branch, builds.builder, builds.id FROM builds
JOIN build_sources ON build_sources.build = builds.id
JOIN source_stamps ON source_stamps.id = build_sources.source_stamp
WHERE source_stamps.branch IS NOT NULL;

CREATE INDEX changes_by_author ON changes (author, id);
CREATE INDEX changes_by_branch ON changes (branch, id);
CREATE INDEX changes_by_repository ON changes (repository, id);
CREATE INDEX changes_by_branch_and_repository ON changes (branch, repository, id);
CREATE INDEX changes_by_codebase ON changes (codebase, id);

-- A list of any state is the lists of all three put together. The queue is in the order in which it is served; SQLite
-- only takes that index when it begins with the state.
DROP INDEX requests_by_state;
DROP INDEX requests_by_builder;
CREATE INDEX requests_by_state ON requests (state, id);
CREATE INDEX requests_by_builder ON requests (builder, state, id);
CREATE INDEX requests_by_urgency ON requests (state, priority DESC, id) WHERE state = 'pending';
CREATE INDEX requests_by_builder_and_urgency ON requests (builder, priority DESC, id) WHERE state = 'pending';

CREATE INDEX events_by_builder ON events (builder, id);
CREATE INDEX events_by_request ON events (request, id) WHERE request IS NOT NULL;

-- What is still to be sealed.
CREATE INDEX logs_by_completion ON logs (complete, id) WHERE sealed = 0;
