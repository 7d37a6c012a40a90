//! A farm with a long history, made by a few statements in one transaction.

use capstan_model::{Digest, Timestamp};
use capstan_store::{Options, Store, Synchronous};
use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};

/// A store, with how many builds.
pub struct Filled {
    pub store: Store,
    pub url: String,
    pub builds: i64,
    _folder: tempfile::TempDir,
}

/// How many builders, and workers, a farm has; they do not come with history.
const BUILDERS: i64 = 100;
const WORKERS: i64 = 20;
/// The builds that run, and the requests that wait.
const RUNNING: i64 = 20;
const WAITING: i64 = 200;

/// Every build has a request, three steps and six events; every second one a change. Builders fail now and then; those
/// whose number ends in 0 have failed for 30 builds, number 99 always.
const ROWS: &str = "
CREATE TEMP TABLE numbers AS
 WITH RECURSIVE numbers (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM numbers WHERE i + 1 < $builds) SELECT i FROM numbers;
INSERT INTO plans VALUES ('$digest', '{}', 0);
INSERT INTO builders (id, name, next_number) SELECT i + 1, 'builder-' || i, ($builds - i - 1) / $builders + 2 FROM numbers WHERE i < $builders;
INSERT INTO workers (name, created, connected, info) SELECT 'worker-' || i, 0, 1, '{}' FROM numbers WHERE i < $workers;
INSERT INTO source_stamps (id, fingerprint, codebase, repository, project, branch, revision, created) SELECT i + 1, 'fingerprint-' || i, '', 'https://example.org/' || (i % 10) || '.git', '',
 CASE WHEN i % 50 = 7 THEN 'release' WHEN i % 25 = 3 THEN 'topic-' || i ELSE 'main' END, 'rev-' || i, i FROM numbers;
INSERT INTO changes SELECT i + 1, 'git', 'key-' || i, CASE WHEN i % 2 THEN '' ELSE 'lib' END,
 'https://example.org/' || (i % 10) || '.git', '', CASE WHEN i % 50 = 7 THEN 'release' ELSE 'main' END, 'rev-' || i,
 'Author ' || (i % 40), 'Mend what was broken before.', '[\"src/lib.rs\"]', NULL, i, i, '[]'
 FROM numbers WHERE i < $builds / 2;
INSERT INTO buildsets (id, scheduler, reason, properties, submitted, likeness)
 SELECT i + 1, 'on-push', 'a change', '[]', i, '$digest' FROM numbers;
INSERT INTO buildset_sources SELECT i + 1, 0, i + 1 FROM numbers;
INSERT INTO buildset_changes SELECT i + 1, i / 2 + 1 FROM numbers WHERE i / 2 < $builds / 2;
INSERT INTO requests SELECT i + 1, i + 1, i % $builders + 1, i % 3,
 CASE WHEN i < $builds - $running THEN 'complete' ELSE 'claimed' END,
 CASE WHEN i < $builds - $running THEN 'success' END, NULL, i, i, i FROM numbers;
INSERT INTO requests (buildset, builder, priority, state, submitted)
 SELECT i + 1, i % $builders + 1, i % 7, 'pending', i FROM numbers WHERE i < $waiting;
INSERT INTO builds (id, builder, number, worker, plan, reason, state, outcome, summary, started, finished)
 SELECT i + 1, i % $builders + 1, i / $builders + 1, i / 3 % $workers + 1, '$digest', 'a change',
 CASE WHEN i < $builds - $running THEN 'complete' ELSE 'running' END,
 CASE WHEN i >= $builds - $running THEN NULL WHEN i % $builders = 99 THEN 'failure'
  WHEN i % 10 = 0 AND i >= $builds - 30 * $builders THEN 'failure' WHEN i / $builders % 7 = 3 THEN 'failure'
  WHEN i / $builders % 11 = 5 THEN 'warnings' WHEN i / $builders % 13 = 6 THEN 'cancelled'
  WHEN i % 997 = 5 THEN 'exception' ELSE 'success' END,
 'make test: 3 of 4,000 tests failed', i * 1000, CASE WHEN i < $builds - $running THEN i * 1000 + 60000 + i % 1000 END
 FROM numbers;
INSERT INTO build_requests SELECT i + 1, i + 1 FROM numbers;
INSERT INTO build_sources SELECT i + 1, 0, i + 1 FROM numbers;
INSERT INTO build_branches SELECT branch, i % $builders + 1, i + 1 FROM numbers JOIN source_stamps ON id = i + 1;
INSERT INTO build_properties SELECT i + 1, 'owner', 0, '\"Ada\"', 'scheduler' FROM numbers;
INSERT INTO steps (id, build, position, origin, name, plugin, digest, config, options, state, outcome, summary, started)
 SELECT i * 3 + position + 1, i + 1, position, '\"plan\"', 'step ' || position, 'shell', '$digest', '{\"command\":\"make\"}', '{}',
 CASE WHEN i < $builds - $running OR position = 0 THEN 'complete' WHEN position = 1 THEN 'running' ELSE 'pending' END,
 CASE WHEN i < $builds - $running OR position = 0 THEN 'success' END, '', i
 FROM numbers, (SELECT 0 AS position UNION ALL SELECT 1 UNION ALL SELECT 2);
INSERT INTO events (at, kind, builder, build, step, request, payload)
 SELECT i, CASE WHEN place = 0 THEN 'request.submitted' ELSE 'step.started' END, 'builder-' || (i % $builders),
 CASE WHEN place > 0 THEN i + 1 END, CASE WHEN place > 0 THEN i * 3 + place % 3 + 1 END,
 CASE WHEN place = 0 THEN i + 1 END, '{}'
 FROM numbers, (SELECT 0 AS place UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4
 UNION ALL SELECT 5);
INSERT INTO blobs SELECT 'large', CAST(replace(hex(zeroblob(500000)), '0', 'x') AS BLOB);
INSERT INTO journal SELECT 1, i, 'local', 'build.set-property', 'local', '$digest', replace(hex(zeroblob(10000)), '0', 'x'),
 NULL, NULL, CASE WHEN i % 10 = 9 THEN 'large' END, i FROM numbers WHERE i < 1000;
";

impl Filled {
    /// A farm that has done so many builds.
    pub async fn with(builds: i64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}/farm.db", folder.path().display());
        let options = Options {
            synchronous: Synchronous::Normal,
            ..Options::new(url.as_str())
        };
        let store = Store::open(&options, Timestamp(1)).await.unwrap();
        let mut rows = ROWS.replace("$digest", &Digest::of(b"").to_string());
        for (name, number) in [
            ("$builders", BUILDERS),
            ("$builds", builds),
            ("$workers", WORKERS),
            ("$running", RUNNING),
            ("$waiting", WAITING),
        ] {
            rows = rows.replace(name, &number.to_string());
        }
        let mut conn = SqliteConnection::connect(&url).await.unwrap();
        let all = format!("PRAGMA foreign_keys = OFF; PRAGMA synchronous = OFF; BEGIN; {rows} COMMIT;");
        sqlx::raw_sql(AssertSqlSafe(all))
            .execute(&mut conn)
            .await
            .unwrap();
        conn.close().await.unwrap();
        Self {
            store,
            url,
            builds,
            _folder: folder,
        }
    }
}
