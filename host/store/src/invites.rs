//! Invitations: a worker joins with a secret that is good once and for a while. Only the secret's digest is kept.

use capstan_model::{Digest, Timestamp, WorkerId};
use futures::FutureExt as _;
use serde_json::json;

use crate::events::Draft;
use crate::sql::{Conn, args};
use crate::workers::{self, NewCertificate};
use crate::writer::Tx;
use crate::{Error, InviteError, Store};

impl Store {
    /// Invites a worker, who is made known if it is new.
    pub async fn create_invite(
        &self,
        worker: &str,
        secret_hash: Digest,
        expires: Timestamp,
        now: Timestamp,
    ) -> Result<(), Error> {
        let worker = worker.to_owned();
        self.write(move |tx| create(tx, worker, secret_hash, expires, now).boxed())
            .await
    }

    /// Whom that invitation is for, if it is good now. It stays good: this is for making the certificate.
    pub async fn check_invite(&self, secret_hash: Digest, now: Timestamp) -> Result<String, InviteError> {
        Ok(find(&mut self.reader().await?, secret_hash, now).await??.name)
    }

    /// Uses an invitation up and makes the worker a member with that certificate. Answers the worker's name.
    pub async fn use_invite(
        &self,
        secret_hash: Digest,
        certificate: NewCertificate,
        now: Timestamp,
    ) -> Result<String, InviteError> {
        self.write(move |tx| use_up(tx, secret_hash, certificate, now).boxed())
            .await?
    }
}

struct Invite {
    worker: WorkerId,
    name: String,
}

async fn create(
    tx: &mut Tx,
    worker: String,
    secret_hash: Digest,
    expires: Timestamp,
    now: Timestamp,
) -> Result<(), Error> {
    let id = workers::ensure(tx, &worker, now).await?;
    let insert = "INSERT INTO invites (worker, secret_hash, created, expires) VALUES ($1, $2, $3, $4)";
    tx.run(insert, args![id, secret_hash, now, expires]).await?;
    Draft::new("worker.invited")
        .payload(json!({ "worker": worker, "expires": expires }))
        .add(tx, now);
    Ok(())
}

async fn find(
    conn: &mut Conn,
    secret_hash: Digest,
    now: Timestamp,
) -> Result<Result<Invite, InviteError>, Error> {
    let sql = "SELECT invites.*, workers.name AS worker_name FROM invites JOIN workers ON workers.id = invites.worker
               WHERE invites.secret_hash = $1";
    let Some(row) = conn.row(sql, args![secret_hash]).await? else {
        return Ok(Err(InviteError::Unknown));
    };
    let name: String = row.get("worker_name")?;
    Ok(if row.maybe::<Timestamp>("used")?.is_some() {
        Err(InviteError::Used { worker: name })
    } else if row.get::<Timestamp>("expires")? <= now {
        Err(InviteError::Expired { worker: name })
    } else {
        Ok(Invite {
            worker: row.get("worker")?,
            name,
        })
    })
}

async fn use_up(
    tx: &mut Tx,
    secret_hash: Digest,
    certificate: NewCertificate,
    now: Timestamp,
) -> Result<Result<String, InviteError>, Error> {
    let invite = match find(tx, secret_hash, now).await? {
        Ok(invite) => invite,
        Err(refusal) => return Ok(Err(refusal)),
    };
    tx.run(
        "UPDATE invites SET used = $2 WHERE secret_hash = $1",
        args![secret_hash, now],
    )
    .await?;
    // Whoever joins takes the name over: of two machines with one name, each would push the other out.
    tx.run(
        "UPDATE certificates SET revoked = $2 WHERE worker = $1 AND revoked IS NULL",
        args![invite.worker, now],
    )
    .await?;
    workers::enrol(tx, invite.worker, certificate, now).await?;
    Draft::new("worker.enrolled")
        .payload(json!({ "worker": invite.name }))
        .add(tx, now);
    Ok(Ok(invite.name))
}
