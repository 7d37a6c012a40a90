//! Who may have broken a build: the authors of what came since the last good build of its builder and branch.

use capstan_model::{BuildId, BuilderId, ChangeId, RequestId};

use crate::sql::{Conn, args};
use crate::{Error, Store, builds};

/// More changes than this are not looked at: the newest count.
const MOST_CHANGES: u32 = 1000;

/// Who may be responsible for how a build ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blame {
    /// The builder's last build of that branch before this one that went well: its key and number.
    pub since: Option<(BuildId, u64)>,
    /// Who made what came since then, those with the newest changes first.
    pub people: Vec<Suspect>,
    /// Whether there were more changes than are looked at.
    pub truncated: bool,
}

/// Somebody who made changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspect {
    /// Who.
    pub author: String,
    /// Their changes, newest first; none for who wrote the patch of the build.
    pub changes: Vec<ChangeId>,
}

/// Where a build stands in the line of its builder and branch.
struct Place {
    build: BuildId,
    /// The one that it is shown under.
    builder: BuilderId,
    branch: String,
    /// The newest request that it serves.
    newest: RequestId,
}

impl Store {
    /// Who may be responsible for how that build ended; `None` if there is no such build. Changes count whose requests were
    /// cancelled, too: nobody has built them since; nobody knows the virtual builder that they would have been shown under, so they are the
    /// configured one's. What people tried with a patch does not.
    pub async fn blame(&self, build: BuildId) -> Result<Option<Blame>, Error> {
        let mut conn = self.reader().await?;
        let sql = "SELECT builder, (SELECT MAX(request) FROM build_requests WHERE build_requests.build = builds.id) AS newest
                   FROM builds WHERE id = $1";
        let Some(row) = conn.row(sql, args![build]).await? else {
            return Ok(None);
        };
        let sources = builds::sources_of(&mut conn, &[build]).await?;
        let sources = sources.into_values().next().unwrap_or_default();
        let patched = sources.iter().find_map(|source| source.patch.as_ref());
        let place = Place {
            build,
            builder: row.get("builder")?,
            branch: sources
                .first()
                .and_then(|source| source.branch.clone())
                .unwrap_or_default(),
            newest: row.maybe("newest")?.unwrap_or(RequestId(0)),
        };
        let mut blame = since_last_good(&mut conn, &place).await?;
        if let Some(patch) = patched.filter(|patch| !patch.author.is_empty()) {
            let author = patch.author.clone();
            blame.people.retain(|suspect| suspect.author != author);
            let changes = Vec::new();
            blame.people.insert(0, Suspect { author, changes });
        }
        Ok(Some(blame))
    }
}

async fn since_last_good(conn: &mut Conn, place: &Place) -> Result<Blame, Error> {
    let good = last_good(conn, place).await?;
    let oldest = good.as_ref().map_or(RequestId(0), |good| good.2);
    let sql = "SELECT DISTINCT changes.id, changes.author FROM requests
               JOIN buildset_sources ON buildset_sources.buildset = requests.buildset AND buildset_sources.position = 0
               JOIN source_stamps ON source_stamps.id = buildset_sources.source_stamp
               JOIN buildset_changes ON buildset_changes.buildset = requests.buildset
               JOIN changes ON changes.id = buildset_changes.change
               WHERE requests.id IN (
               SELECT requests.id FROM requests WHERE requests.builder = $1 AND requests.id > $2 AND requests.id <= $3
               AND requests.state IN ('complete', 'claimed', 'pending')
               AND NOT EXISTS (SELECT 1 FROM build_requests WHERE build_requests.request = requests.id)
               UNION ALL SELECT build_requests.request FROM build_requests CROSS JOIN builds
               WHERE builds.id = build_requests.build AND builds.builder = $1 AND build_requests.request > $2 AND build_requests.request <= $3)
               AND COALESCE(source_stamps.branch, '') = $4 AND source_stamps.patch IS NULL
               ORDER BY changes.id DESC LIMIT $5";
    let (builder, newest, branch) = (place.builder, place.newest, &place.branch);
    let rows = conn
        .rows(sql, args![builder, oldest, newest, branch, MOST_CHANGES + 1])
        .await?;
    let mut blame = Blame {
        since: good.map(|(id, number, _)| (id, number)),
        people: Vec::new(),
        truncated: rows.len() > MOST_CHANGES as usize,
    };
    for row in rows.iter().take(MOST_CHANGES as usize) {
        let (id, author): (ChangeId, String) = (row.get("id")?, row.get("author")?);
        match blame.people.iter_mut().find(|suspect| suspect.author == author) {
            Some(suspect) => suspect.changes.push(id),
            None => blame.people.push(Suspect {
                author,
                changes: vec![id],
            }),
        }
    }
    Ok(blame)
}

/// The last build before this one that went well: key, number, and the newest request that it served.
async fn last_good(conn: &mut Conn, place: &Place) -> Result<Option<(BuildId, u64, RequestId)>, Error> {
    let row = if place.branch.is_empty() {
        let sql = "SELECT builds.id, builds.number,
                   (SELECT MAX(request) FROM build_requests WHERE build_requests.build = builds.id) AS newest FROM builds
                   WHERE builds.builder = $1 AND builds.id < $2 AND builds.outcome IN ('success', 'warnings')
                   AND NOT EXISTS (SELECT 1 FROM build_sources JOIN source_stamps ON source_stamps.id = build_sources.source_stamp
                   WHERE build_sources.build = builds.id AND (source_stamps.patch IS NOT NULL
                   OR build_sources.position = 0 AND source_stamps.branch IS NOT NULL)) ORDER BY builds.id DESC LIMIT 1";
        conn.row(sql, args![place.builder, place.build]).await?
    } else {
        let sql = "SELECT builds.id, builds.number,
                   (SELECT MAX(request) FROM build_requests WHERE build_requests.build = builds.id) AS newest
                   FROM build_branches JOIN builds ON builds.id = build_branches.build
                   WHERE build_branches.branch = $3 AND build_branches.builder = $1 AND build_branches.build < $2
                   AND builds.outcome IN ('success', 'warnings')
                   AND NOT EXISTS (SELECT 1 FROM build_sources JOIN source_stamps ON source_stamps.id = build_sources.source_stamp
                   WHERE build_sources.build = builds.id AND (source_stamps.patch IS NOT NULL
                   OR build_sources.position = 0 AND COALESCE(source_stamps.branch, '') <> $3))
                   ORDER BY build_branches.build DESC LIMIT 1";
        conn.row(sql, args![place.builder, place.build, &place.branch])
            .await?
    };
    let Some(row) = row else { return Ok(None) };
    let newest: Option<RequestId> = row.maybe("newest")?;
    Ok(Some((
        row.get("id")?,
        row.get("number")?,
        newest.unwrap_or(RequestId(0)),
    )))
}
