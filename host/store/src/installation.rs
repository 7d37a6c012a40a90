//! The farm's identity, made with the database.

use capstan_model::Timestamp;
use uuid::Uuid;

use crate::Error;
use crate::sql::{Conn, args};

/// The id of the installation; the first caller makes it.
pub(crate) async fn ensure(conn: &mut Conn, now: Timestamp) -> Result<Uuid, Error> {
    let insert = "INSERT INTO installation (id, uuid, created, epoch) VALUES (1, $1, $2, 0) ON CONFLICT (id) DO NOTHING";
    conn.run(insert, args![Uuid::new_v4(), now]).await?;
    conn.one("SELECT uuid FROM installation", args![])
        .await?
        .get("uuid")
}
