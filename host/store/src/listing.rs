//! Lists of builds, newest first: which index answers which filter. Read by `web`.
//!
//! There are seven results, so that a list of any of them is seven short lists put together, each read from an index
//! that ends in result and id. What runs is few, and a list of its own.

use capstan_model::{BuildId, BuilderId, ChangeId, Outcome, WorkerId};

use crate::builds::{self, Build, BuildState, select_builds};
use crate::dialect::{in_keys, keys};
use crate::sql::{Conn, Row, Value, args};
use crate::{Error, Store};

/// Which builds to list: those that fit all that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildFilter {
    /// Only of this builder.
    pub builder: Option<String>,
    /// Only on this worker.
    pub worker: Option<String>,
    /// Only with a source of this branch.
    pub branch: Option<String>,
    /// Only this far.
    pub state: Option<BuildState>,
    /// Only with one of these results; empty for any, and for those without one.
    pub outcomes: Vec<Outcome>,
    /// Only older ones than this.
    pub before: Option<BuildId>,
}

impl Store {
    /// Builds, newest first, at most `limit`.
    ///
    /// Builder, worker, state and results together are answered in full, and so are branch and builder. A branch with
    /// a worker or a result looks through the newest 5,000 builds of that branch (and builder) before `before`, no further.
    pub async fn builds(&self, filter: &BuildFilter, limit: u32) -> Result<Vec<Build>, Error> {
        let mut conn = self.reader().await?;
        let ids = matching(&mut conn, filter, limit).await?;
        by_ids(&mut conn, &ids).await
    }

    /// The builds that a change led to, newest first, at most `limit`.
    pub async fn builds_of_change(&self, change: ChangeId, limit: u32) -> Result<Vec<Build>, Error> {
        let mut conn = self.reader().await?;
        let sql = "SELECT DISTINCT build_requests.build AS id FROM buildset_changes
                   JOIN requests ON requests.buildset = buildset_changes.buildset
                   JOIN build_requests ON build_requests.request = requests.id
                   WHERE buildset_changes.change = $1 ORDER BY id DESC LIMIT $2";
        let rows = conn.rows(sql, args![change, limit]).await?;
        let ids = ids(&rows)?;
        by_ids(&mut conn, &ids).await
    }
}

/// What a filter's names mean; a name that nobody has fits no build.
struct Scope {
    builder: Option<BuilderId>,
    worker: Option<WorkerId>,
}

async fn scope(conn: &mut Conn, filter: &BuildFilter) -> Result<Option<Scope>, Error> {
    let mut scope = Scope {
        builder: None,
        worker: None,
    };
    if let Some(name) = filter.builder.as_deref() {
        let row = conn
            .row("SELECT id FROM builders WHERE name = $1", args![name])
            .await?;
        let Some(row) = row else { return Ok(None) };
        scope.builder = Some(row.get("id")?);
    }
    if let Some(name) = filter.worker.as_deref() {
        let row = conn
            .row("SELECT id FROM workers WHERE name = $1", args![name])
            .await?;
        let Some(row) = row else { return Ok(None) };
        scope.worker = Some(row.get("id")?);
    }
    Ok(Some(scope))
}

async fn matching(conn: &mut Conn, filter: &BuildFilter, limit: u32) -> Result<Vec<BuildId>, Error> {
    let contradiction = filter.state == Some(BuildState::Running) && !filter.outcomes.is_empty();
    let scope = match scope(conn, filter).await? {
        Some(scope) if !contradiction => scope,
        _ => return Ok(Vec::new()),
    };
    let before = filter.before.unwrap_or(BuildId(i64::MAX));
    if let Some(branch) = filter.branch.as_deref() {
        return of_branch(conn, branch, &scope, filter, before, limit).await;
    }
    let everything = scope.builder.is_none() && scope.worker.is_none() && filter.outcomes.is_empty();
    if everything && filter.state.is_none() {
        let all = "SELECT id FROM builds WHERE id < $1 ORDER BY id DESC LIMIT $2";
        return ids(&conn.rows(all, args![before, limit]).await?);
    }
    let mut found = Vec::new();
    // What runs comes first: a build that ends meanwhile is then found twice, and not never.
    if filter.outcomes.is_empty() && filter.state != Some(BuildState::Complete) {
        let running =
            "SELECT id FROM builds WHERE state = 'running' AND id < $1 AND ($2 IS NULL OR builder = $2)
                       AND ($3 IS NULL OR worker = $3) ORDER BY id DESC LIMIT $4";
        let args = args![before, scope.builder, scope.worker, limit];
        found.extend(ids(&conn.rows(running, args).await?)?);
    }
    let outcomes = match filter.outcomes.as_slice() {
        [] if filter.state == Some(BuildState::Running) => &[],
        [] => Outcome::ALL.as_slice(),
        some => some,
    };
    for outcome in outcomes {
        let (sql, args) = of_outcome(&scope, *outcome, before, limit);
        found.extend(ids(&conn.rows(sql, args).await?)?);
    }
    found.sort_unstable_by(|one, other| other.cmp(one));
    found.dedup();
    found.truncate(limit as usize);
    Ok(found)
}

macro_rules! of_outcome {
    ($scope:literal) => {
        concat!(
            "SELECT id FROM builds WHERE outcome = $1 AND id < $2",
            $scope,
            " ORDER BY id DESC LIMIT $3"
        )
    };
}

/// The statement that lists builds with one result.
fn of_outcome(scope: &Scope, outcome: Outcome, before: BuildId, limit: u32) -> (&'static str, Vec<Value>) {
    let mut args = args![outcome, before, limit];
    let sql = match (scope.builder, scope.worker) {
        (None, None) => of_outcome!(""),
        (Some(builder), None) => {
            args.extend(args![builder]);
            of_outcome!(" AND builder = $4")
        }
        (None, Some(worker)) => {
            args.extend(args![worker]);
            of_outcome!(" AND worker = $4")
        }
        (Some(builder), Some(worker)) => {
            args.extend(args![builder, worker]);
            of_outcome!(" AND builder = $4 AND worker = $5")
        }
    };
    (sql, args)
}

/// How many builds of a branch are looked through for other conditions.
const CANDIDATES: u32 = 5000;

macro_rules! of_branch {
    ($scope:literal) => {
        concat!(
            "SELECT builds.id FROM (SELECT build FROM build_branches WHERE branch = $1 AND build < $2",
            $scope,
            " ORDER BY build DESC LIMIT $7) AS candidates CROSS JOIN builds WHERE builds.id = candidates.build
             AND ($4 IS NULL OR worker = $4) AND ($5 IS NULL OR state = $5)
             AND ($6 IS NULL OR $6 LIKE '%,' || outcome || ',%') ORDER BY candidates.build DESC LIMIT $3"
        )
    };
}

/// The builds of a branch. Results are compared as a list between commas: `,failure,exception,`.
async fn of_branch(
    conn: &mut Conn,
    branch: &str,
    scope: &Scope,
    filter: &BuildFilter,
    before: BuildId,
    limit: u32,
) -> Result<Vec<BuildId>, Error> {
    let words: Vec<_> = filter.outcomes.iter().map(|outcome| outcome.as_str()).collect();
    let outcomes = (!words.is_empty()).then(|| format!(",{},", words.join(",")));
    let exact = scope.worker.is_none() && filter.state.is_none() && outcomes.is_none();
    let candidates = if exact { limit } else { CANDIDATES };
    let mut args = args![
        branch,
        before,
        limit,
        scope.worker,
        filter.state,
        outcomes,
        candidates
    ];
    let sql = match scope.builder {
        None => of_branch!(""),
        Some(builder) => {
            args.extend(args![builder]);
            of_branch!(" AND builder = $8")
        }
    };
    ids(&conn.rows(sql, args).await?)
}

fn ids(rows: &[Row]) -> Result<Vec<BuildId>, Error> {
    rows.iter().map(|row| row.get("id")).collect()
}

/// Those builds, newest first.
async fn by_ids(conn: &mut Conn, ids: &[BuildId]) -> Result<Vec<Build>, Error> {
    let sql = in_keys!(select_builds!("WHERE builds.id IN "), " ORDER BY builds.id DESC");
    let rows = conn.rows(sql, vec![keys(ids.iter().map(|id| id.0))]).await?;
    builds::load(conn, rows).await
}
