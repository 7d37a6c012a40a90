//! Joining: the one-time secret of a join string is exchanged for a certificate.

use std::sync::Arc;

use capstan_model::Digest;
use capstan_wire::ALPN_ENROLL;
use capstan_wire::close::Code;
use capstan_wire::enroll::{Request, Response};
use capstan_wire::join::Join;
use rcgen::{CertificateParams, KeyPair};
use zeroize::Zeroizing;

use crate::dial::{Connection, client_config, dial, provider, tls_builder};
use crate::pinned::Pinned;
use crate::{Error, Identity, Options, receive, send};

/// A worker that has joined.
#[derive(Clone)]
pub struct Enrolled {
    /// Its name, as the master knows it.
    pub name: String,
    /// Which of the join string's addresses answered.
    pub address: String,
    /// What to keep.
    pub identity: Identity,
}

/// Joins the master that issued `join`. The private key is made here and never leaves this machine.
pub async fn enroll(join: &Join, options: &Options) -> Result<Enrolled, Error> {
    let mut last = Error::NoAddress;
    for address in &join.addresses {
        match enroll_at(join, address, options).await {
            Ok(enrolled) => return Ok(enrolled),
            Err(error) if error.is_final() => return Err(error),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn enroll_at(join: &Join, address: &str, options: &Options) -> Result<Enrolled, Error> {
    let connection = reach(join, address, options).await?;
    let result = exchange(join, &connection).await;
    connection.close(Code::Done, "").await;
    let (name, identity) = result?;
    Ok(Enrolled {
        name,
        address: address.to_owned(),
        identity,
    })
}

async fn reach(join: &Join, address: &str, options: &Options) -> Result<Connection, Error> {
    let unusable = |error: rustls::Error| Error::Handshake {
        address: address.to_owned(),
        reason: error.to_string(),
    };
    let verifier = Arc::new(Pinned::new(join.authority, provider()));
    let builder = tls_builder(provider()).map_err(unusable)?;
    let builder = builder
        .dangerous()
        .with_custom_certificate_verifier(verifier.clone());
    let mut tls = builder.with_no_client_auth();
    tls.alpn_protocols = vec![ALPN_ENROLL.to_vec()];
    let dialled = dial(client_config(tls, options)?, address, options).await;
    dialled.map_err(|error| match verifier.foreign() {
        Some(found) => Error::Foreign {
            address: address.to_owned(),
            expected: join.authority,
            found,
        },
        None => error,
    })
}

async fn exchange(join: &Join, connection: &Connection) -> Result<(String, Identity), Error> {
    let key = KeyPair::generate().map_err(|e| Error::Identity(e.to_string()))?;
    let csr = CertificateParams::default()
        .serialize_request(&key)
        .map_err(|e| Error::Identity(e.to_string()))?;
    let request = Request {
        secret: join.secret.clone(),
        csr: csr.der().to_vec(),
    };
    let (mut to, mut from) = connection.quinn().open_bi().await?;
    send(&mut to, &request).await?;
    // Only the answer tells; a stream that was finished already is no concern.
    let _finished = to.finish();
    let answer = receive(&mut from).await?.ok_or(Error::Ended {
        expected: "an answer",
    })?;
    match answer {
        Response::Refused { reason } => Err(Error::Refused(reason)),
        Response::Accepted {
            name,
            certificate,
            authority,
        } => {
            if Digest::of(&authority) != join.authority {
                return Err(Error::Answer(
                    "it names another authority than the join string".to_owned(),
                ));
            }
            let key = Zeroizing::new(key.serialize_der());
            Ok((
                name,
                Identity {
                    certificate,
                    key,
                    authority,
                },
            ))
        }
    }
}
