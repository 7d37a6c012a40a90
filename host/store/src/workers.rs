//! Workers, and the certificates by which they are known. Which workers may be given builds is in the plan.

use capstan_model::{Digest, Timestamp, WorkerId};
use futures::FutureExt as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::events::Draft;
use crate::sql::{Json, Row, args};
use crate::writer::Tx;
use crate::{Error, Store, interruptions};

/// A worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Worker {
    /// The key.
    pub id: WorkerId,
    /// Its name.
    pub name: String,
    /// When it last joined; `None` before it ever did.
    pub enrolled: Option<Timestamp>,
    /// When its membership was ended, if it was and it has not joined again.
    pub revoked: Option<Timestamp>,
    /// Why it gets no builds, if somebody paused it.
    pub paused: Option<String>,
    /// Whether it is connected.
    pub connected: bool,
    /// Since when it has been connected, or not.
    pub since: Option<Timestamp>,
    /// When it was last heard of.
    pub last_seen: Option<Timestamp>,
    /// What it says of itself: labels, slots, facts of its machine.
    pub info: Value,
}

/// A certificate to be noted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCertificate {
    /// The SHA-256 of its DER form.
    pub fingerprint: Digest,
    /// Its serial number, for people.
    pub serial: Option<String>,
}

/// A certificate that this farm issued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The SHA-256 of its DER form.
    pub fingerprint: Digest,
    /// The worker that it was issued to.
    pub worker: String,
    /// Its serial number, for people.
    pub serial: Option<String>,
    /// When it was issued.
    pub issued: Timestamp,
    /// When it ceased to be good, if somebody revoked it.
    pub revoked: Option<Timestamp>,
}

impl Store {
    /// The key of that worker; made if it is new.
    pub async fn upsert_worker(&self, name: &str, now: Timestamp) -> Result<WorkerId, Error> {
        let name = name.to_owned();
        self.write(move |tx| async move { ensure(tx, &name, now).await }.boxed())
            .await
    }

    /// Every worker that was ever heard of or invited, by name.
    pub async fn workers(&self) -> Result<Vec<Worker>, Error> {
        let mut conn = self.reader().await?;
        conn.rows("SELECT * FROM workers ORDER BY name", args![])
            .await?
            .iter()
            .map(worker)
            .collect()
    }

    /// That worker.
    pub async fn worker(&self, name: &str) -> Result<Option<Worker>, Error> {
        let mut conn = self.reader().await?;
        conn.row("SELECT * FROM workers WHERE name = $1", args![name])
            .await?
            .as_ref()
            .map(worker)
            .transpose()
    }

    /// A worker connected, and says this of itself. `away` is for how many milliseconds it had no connection; without it the
    /// clock tells.
    pub async fn worker_connected(
        &self,
        name: &str,
        info: Value,
        away: Option<u64>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let name = name.to_owned();
        self.write(move |tx| connected(tx, name, info, away, now).boxed())
            .await
    }

    /// A worker's connection is gone; it was last heard at `heard`.
    pub async fn worker_disconnected(
        &self,
        name: &str,
        heard: Timestamp,
        now: Timestamp,
    ) -> Result<(), Error> {
        let name = name.to_owned();
        self.write(move |tx| disconnected(tx, name, heard, now).boxed())
            .await
    }

    /// A worker was heard of.
    pub async fn worker_seen(&self, name: &str, now: Timestamp) -> Result<(), Error> {
        let name = name.to_owned();
        self.write(move |tx| seen(tx, name, now).boxed()).await
    }

    /// Pauses a worker with a reason, or ends its pause, and the quarantine that it may be in.
    pub async fn set_paused(&self, name: &str, reason: Option<&str>, now: Timestamp) -> Result<(), Error> {
        let (name, reason) = (name.to_owned(), reason.map(str::to_owned));
        self.write(move |tx| set_paused(tx, name, reason, now).boxed())
            .await
    }

    /// Ends a worker's membership: its certificates and unused invitations are void. Answers whether there is such a
    /// worker.
    pub async fn revoke_worker(&self, name: &str, now: Timestamp) -> Result<bool, Error> {
        let name = name.to_owned();
        self.write(move |tx| revoke(tx, name, now).boxed()).await
    }

    /// Notes a further certificate of a worker, such as a renewed one. [`Error::Conflict`] when the worker is not a
    /// member.
    pub async fn add_certificate(
        &self,
        worker: &str,
        certificate: NewCertificate,
        now: Timestamp,
    ) -> Result<(), Error> {
        let worker = worker.to_owned();
        self.write(move |tx| renew(tx, worker, certificate, now).boxed())
            .await
    }

    /// The certificate of that fingerprint, good or revoked.
    pub async fn certificate(&self, fingerprint: Digest) -> Result<Option<Certificate>, Error> {
        let mut conn = self.reader().await?;
        let sql = "SELECT certificates.*, workers.name AS worker_name FROM certificates
                   JOIN workers ON workers.id = certificates.worker WHERE certificates.fingerprint = $1";
        let row = conn.row(sql, args![fingerprint]).await?;
        row.map(|row| {
            Ok(Certificate {
                fingerprint,
                worker: row.get("worker_name")?,
                serial: row.maybe("serial")?,
                issued: row.get("issued")?,
                revoked: row.maybe("revoked")?,
            })
        })
        .transpose()
    }
}

/// The row of that worker; made if it is new.
pub(crate) async fn ensure(tx: &mut Tx, name: &str, now: Timestamp) -> Result<WorkerId, Error> {
    if let Some(row) = tx
        .row("SELECT id FROM workers WHERE name = $1", args![name])
        .await?
    {
        return row.get("id");
    }
    let insert = "INSERT INTO workers (name, created, connected, info) VALUES ($1, $2, 0, '{}') RETURNING id";
    tx.one(insert, args![name, now]).await?.get("id")
}

/// Notes a certificate of a worker, which is a member from now on.
pub(crate) async fn enrol(
    tx: &mut Tx,
    worker: WorkerId,
    certificate: NewCertificate,
    now: Timestamp,
) -> Result<(), Error> {
    let insert = "INSERT INTO certificates (fingerprint, worker, serial, issued) VALUES ($1, $2, $3, $4)";
    tx.run(
        insert,
        args![
            certificate.fingerprint,
            worker,
            certificate.serial.as_deref(),
            now
        ],
    )
    .await?;
    tx.run(
        "UPDATE workers SET enrolled = $2, revoked = NULL WHERE id = $1",
        args![worker, now],
    )
    .await?;
    Ok(())
}

async fn renew(tx: &mut Tx, name: String, certificate: NewCertificate, now: Timestamp) -> Result<(), Error> {
    let member = "SELECT id FROM workers WHERE name = $1 AND enrolled IS NOT NULL AND revoked IS NULL";
    let row = tx.row(member, args![&name]).await?;
    let row = row.ok_or_else(|| {
        Error::conflict(format!(
            "expected worker `{name}` to be a member, found it is not"
        ))
    })?;
    enrol(tx, row.get("id")?, certificate, now).await
}

async fn connected(
    tx: &mut Tx,
    name: String,
    info: Value,
    away: Option<u64>,
    now: Timestamp,
) -> Result<(), Error> {
    let id = ensure(tx, &name, now).await?;
    interruptions::worker_is_back(tx, id, away, now).await?;
    let update = "UPDATE workers SET connected = 1, since = $2, last_seen = $2, info = $3 WHERE id = $1";
    tx.run(update, args![id, now, Json(&info)]).await?;
    Draft::new("worker.connected")
        .payload(json!({ "worker": name, "info": info }))
        .add(tx, now);
    Ok(())
}

async fn seen(tx: &mut Tx, name: String, now: Timestamp) -> Result<(), Error> {
    tx.run(
        "UPDATE workers SET last_seen = $2 WHERE name = $1",
        args![name, now],
    )
    .await
    .map(|_| ())
}

async fn disconnected(tx: &mut Tx, name: String, heard: Timestamp, now: Timestamp) -> Result<(), Error> {
    let update =
        "UPDATE workers SET connected = 0, since = $2, last_seen = $2 WHERE name = $1 AND connected = 1";
    if tx.run(update, args![&name, heard]).await? == 0 {
        return Ok(());
    }
    Draft::new("worker.disconnected")
        .payload(json!({ "worker": name }))
        .add(tx, now);
    Ok(())
}

async fn set_paused(tx: &mut Tx, name: String, reason: Option<String>, now: Timestamp) -> Result<(), Error> {
    let id = ensure(tx, &name, now).await?;
    let paused = reason.as_ref().map(|_| now);
    let update = "UPDATE workers SET paused = $2, pause_reason = $3 WHERE id = $1";
    tx.run(update, args![id, paused, reason.as_deref()]).await?;
    if reason.is_none() {
        let quarantine = "DELETE FROM quarantines WHERE worker = $1";
        tx.run(quarantine, args![id]).await?;
    }
    let kind = if reason.is_some() {
        "worker.paused"
    } else {
        "worker.unpaused"
    };
    Draft::new(kind)
        .payload(json!({ "worker": name, "reason": reason }))
        .add(tx, now);
    Ok(())
}

async fn revoke(tx: &mut Tx, name: String, now: Timestamp) -> Result<bool, Error> {
    let Some(row) = tx
        .row("SELECT id FROM workers WHERE name = $1", args![&name])
        .await?
    else {
        return Ok(false);
    };
    let id: WorkerId = row.get("id")?;
    tx.run("UPDATE workers SET revoked = $2 WHERE id = $1", args![id, now])
        .await?;
    let certificates = "UPDATE certificates SET revoked = $2 WHERE worker = $1 AND revoked IS NULL";
    tx.run(certificates, args![id, now]).await?;
    tx.run(
        "UPDATE invites SET expires = $2 WHERE worker = $1 AND used IS NULL AND expires > $2",
        args![id, now],
    )
    .await?;
    Draft::new("worker.revoked")
        .payload(json!({ "worker": name }))
        .add(tx, now);
    Ok(true)
}

fn worker(row: &Row) -> Result<Worker, Error> {
    Ok(Worker {
        id: row.get("id")?,
        name: row.get("name")?,
        enrolled: row.maybe("enrolled")?,
        revoked: row.maybe("revoked")?,
        paused: row.maybe("pause_reason")?,
        connected: row.get("connected")?,
        since: row.maybe("since")?,
        last_seen: row.maybe("last_seen")?,
        info: row.get::<Json<Value>>("info")?.0,
    })
}
