//! The audit of rights: what plugins were refused, for the operator who decides what to grant. The master adds rows in
//! groups; pages and the API read them. Kept few, whatever a plugin tries.

use capstan_model::plugin::{Kind, Right, Side};
use capstan_model::{BuildId, Digest, StepId, Timestamp};
use futures::FutureExt as _;

use crate::sql::{Row, args};
use crate::writer::Tx;
use crate::{Error, Store};

/// A refusal that comes again within this time joins its row.
const WINDOW_MS: i64 = 3_600_000;
/// Rows of one plugin at most; the oldest go.
const MOST_OF_PLUGIN: i64 = 200;
/// Rows of all plugins at most.
const MOST: i64 = 5000;
/// More than either has at any time: PostgreSQL and SQLite agree on no way to say "the rest".
const REST: i64 = 1_000_000;

/// Something that a plugin was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRefusal {
    /// The plugin's kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// The digest of its file.
    pub digest: Digest,
    /// The capability.
    pub right: Right,
    /// What it wanted to use, cut.
    pub value: String,
    /// Who did not allow it.
    pub side: Side,
    /// The name in the configuration of what ran it; of a step, its name in the builder.
    pub owner: String,
    /// The builder whose build ran or was reported.
    pub builder: Option<String>,
    /// The step.
    pub step: Option<StepId>,
    /// The report that was delivered.
    pub delivery: Option<String>,
    /// How often.
    pub times: u64,
    /// When it happened last.
    pub at: Timestamp,
}

/// A row of the audit. Where it was the same several times, the place is the last one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The key.
    pub id: i64,
    /// When it happened first.
    pub began: Timestamp,
    /// The step's build, the builder that it is shown under, and its number within that.
    pub build: Option<(BuildId, String, u64)>,
    /// What happened, how often, and when last.
    pub refused: NewRefusal,
}

impl Store {
    /// Adds to the audit, in one transaction.
    pub async fn add_refusals(&self, new: Vec<NewRefusal>) -> Result<(), Error> {
        self.write(move |tx| add(tx, new).boxed()).await
    }

    /// The audit, the last refusal first: of one plugin, or of all.
    pub async fn refusals(&self, plugin: Option<(Kind, &str)>, limit: u32) -> Result<Vec<Refusal>, Error> {
        let sql = "SELECT refusals.*, builds.id AS build, builds.number AS build_number, shown.name AS shown_name FROM refusals
                   LEFT JOIN steps ON steps.id = refusals.step LEFT JOIN builds ON builds.id = steps.build
                   LEFT JOIN builders AS shown ON shown.id = builds.builder
                   WHERE ($1 IS NULL OR refusals.kind = $1) AND ($2 IS NULL OR refusals.name = $2)
                   ORDER BY refusals.latest DESC, refusals.id DESC LIMIT $3";
        let (kind, name) = plugin.unzip();
        let kind = kind.map(|kind| kind.as_str().to_owned());
        let mut conn = self.reader().await?;
        let rows = conn.rows(sql, args![kind, name, limit]).await?;
        rows.iter().map(refusal).collect()
    }
}

async fn add(tx: &mut Tx, new: Vec<NewRefusal>) -> Result<(), Error> {
    let mut plugins: Vec<(Kind, String)> = Vec::new();
    for one in new {
        if !plugins
            .iter()
            .any(|(kind, name)| *kind == one.kind && *name == one.name)
        {
            plugins.push((one.kind, one.name.clone()));
        }
        if !join(tx, &one).await? {
            insert(tx, one).await?;
        }
    }
    for (kind, name) in plugins {
        let surplus =
            "DELETE FROM refusals WHERE id IN (SELECT id FROM refusals WHERE kind = $1 AND name = $2
                       ORDER BY latest DESC, id DESC LIMIT $3 OFFSET $4)";
        tx.run(surplus, args![kind.as_str(), name, REST, MOST_OF_PLUGIN])
            .await?;
    }
    let surplus = "DELETE FROM refusals WHERE id IN
                   (SELECT id FROM refusals ORDER BY latest DESC, id DESC LIMIT $1 OFFSET $2)";
    tx.run(surplus, args![REST, MOST]).await?;
    Ok(())
}

/// Adds it to the row of the same refusal, if there is one of late.
async fn join(tx: &mut Tx, new: &NewRefusal) -> Result<bool, Error> {
    let same = "UPDATE refusals SET times = times + $9, latest = $10, step = $11, delivery = $12 WHERE kind = $1
                AND name = $2 AND latest >= $13 AND digest = $3 AND capability = $4 AND value = $5 AND side = $6
                AND owner = $7 AND COALESCE(builder, '') = $8";
    let joined = tx
        .run(
            same,
            args![
                new.kind.as_str(),
                &new.name,
                new.digest,
                new.right.as_str(),
                &new.value,
                new.side.as_str(),
                &new.owner,
                new.builder.as_deref().unwrap_or_default(),
                new.times,
                new.at,
                new.step,
                new.delivery.as_deref(),
                new.at.plus_ms(-WINDOW_MS),
            ],
        )
        .await?;
    Ok(joined > 0)
}

async fn insert(tx: &mut Tx, new: NewRefusal) -> Result<(), Error> {
    let insert = "INSERT INTO refusals (kind, name, digest, capability, value, side, owner, builder, step, delivery, times,
                  began, latest) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12)";
    let args = args![
        new.kind.as_str(),
        new.name,
        new.digest,
        new.right.as_str(),
        new.value,
        new.side.as_str(),
        new.owner,
        new.builder,
        new.step,
        new.delivery,
        new.times,
        new.at,
    ];
    tx.run(insert, args).await?;
    Ok(())
}

fn refusal(row: &Row) -> Result<Refusal, Error> {
    let word = |column: &str| row.get::<String>(column);
    let unknown = |column: &'static str| row.corrupt(column, "expected a known word");
    let (kind, right, side) = (word("kind")?, word("capability")?, word("side")?);
    let sides = [Side::Manifest, Side::Operator];
    let build: Option<BuildId> = row.maybe("build")?;
    let shown: Option<(String, u64)> = row.maybe("shown_name")?.zip(row.maybe("build_number")?);
    Ok(Refusal {
        id: row.get("id")?,
        began: row.get("began")?,
        build: build.zip(shown).map(|(id, (name, number))| (id, name, number)),
        refused: NewRefusal {
            kind: Kind::ALL
                .into_iter()
                .find(|known| known.as_str() == kind)
                .ok_or_else(|| unknown("kind"))?,
            name: row.get("name")?,
            digest: row.get("digest")?,
            right: Right::parse(&right).ok_or_else(|| unknown("capability"))?,
            value: row.get("value")?,
            side: sides
                .into_iter()
                .find(|known| known.as_str() == side)
                .ok_or_else(|| unknown("side"))?,
            owner: row.get("owner")?,
            builder: row.maybe("builder")?,
            step: row.maybe("step")?,
            delivery: row.maybe("delivery")?,
            times: row.get("times")?,
            at: row.get("latest")?,
        },
    })
}
