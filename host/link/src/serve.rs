//! One newcomer, from its handshake to the protocol that it speaks.

use std::sync::Arc;

use capstan_model::Digest;
use capstan_wire::close::Code;
use capstan_wire::{ALPN_ENROLL, ALPN_WORKER};
use quinn::crypto::rustls::HandshakeData;
use quinn::{Connection, Incoming, VarInt};
use rustls::pki_types::CertificateDer;
use tokio::sync::OwnedSemaphorePermit;

use crate::link::Shared;
use crate::{enroll, peer};

/// Why a connection ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub code: Code,
    pub reason: String,
}

impl End {
    pub fn new(code: Code, reason: impl std::fmt::Display) -> Self {
        Self {
            code,
            reason: reason.to_string(),
        }
    }

    /// The peer broke the rules.
    pub fn protocol(reason: impl std::fmt::Display) -> Self {
        Self::new(Code::Protocol, reason)
    }

    /// The connection is gone, whoever ended it.
    pub fn lost(error: &quinn::ConnectionError) -> Self {
        Self::new(Code::Done, error)
    }

    pub fn close(&self, connection: &Connection) {
        // A reason is for people; a long one would not fit into a packet.
        let reason = &self.reason[..self.reason.floor_char_boundary(500)];
        connection.close(VarInt::from_u32(self.code as u32), reason.as_bytes());
    }
}

/// Deals with a newcomer, the `arrival`th. `permit` is held until it is known and welcome.
pub(crate) async fn newcomer(
    incoming: Incoming,
    arrival: u64,
    shared: Arc<Shared>,
    permit: OwnedSemaphorePermit,
) {
    let address = incoming.remote_address();
    let Ok(connecting) = incoming.accept() else { return };
    let connection = match tokio::time::timeout(shared.options.greeting, connecting).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return tracing::warn!(%address, %error, "a connection failed before it was secure"),
        Err(_) => return tracing::warn!(%address, "a connection was not secure in time"),
    };
    let result = match protocol(&connection).as_deref() {
        Some(ALPN_ENROLL) => enroll::serve(&connection, &shared).await,
        Some(ALPN_WORKER) => match member(&connection, &shared).await {
            Ok(name) => peer::serve(name, &connection, arrival, &shared, permit).await,
            Err(end) => Err(end),
        },
        _ => Err(End::protocol("expected a protocol of Capstan's")),
    };
    if let Err(end) = result {
        if end.code != Code::Done {
            tracing::warn!(%address, code = %end.code, reason = end.reason, "a connection was closed");
        }
        end.close(&connection);
    }
}

fn protocol(connection: &Connection) -> Option<Vec<u8>> {
    connection
        .handshake_data()?
        .downcast::<HandshakeData>()
        .ok()?
        .protocol
}

/// The name of the worker, if it is a member and welcome.
pub(crate) async fn member(connection: &Connection, shared: &Shared) -> Result<String, End> {
    let refused = |reason: String| End::new(Code::NotAdmitted, reason);
    let shown = connection
        .peer_identity()
        .and_then(|shown| shown.downcast::<Vec<CertificateDer<'_>>>().ok());
    let certificate = shown.and_then(|chain| chain.first().cloned());
    let certificate = certificate.ok_or_else(|| {
        refused("expected a worker's certificate, found none; join with `capstan-worker join`".to_owned())
    })?;
    let name = shared
        .authority
        .member(&certificate)
        .map_err(|error| refused(error.to_string()))?;
    shared
        .port
        .admit(name.clone(), Digest::of(&certificate))
        .await
        .map_err(refused)?;
    Ok(name)
}
