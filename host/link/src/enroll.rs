//! The enrol protocol, the master's end: one request, one answer.

use std::time::Duration;

use capstan_model::Digest;
use capstan_wire::close::Code;
use capstan_wire::control;
use capstan_wire::enroll::{MAX_MESSAGE, Request, Response};
use quinn::{Connection, RecvStream};

use crate::link::Shared;
use crate::serve::End;
use crate::{Authority, peer};

/// How long the newcomer may take to read the answer and close.
const FAREWELL: Duration = Duration::from_secs(5);

pub(crate) async fn serve(connection: &Connection, shared: &Shared) -> Result<(), End> {
    let greeting = tokio::time::timeout(shared.options.greeting, request(connection));
    let (mut to, request) = greeting
        .await
        .map_err(|_| End::new(Code::Silent, "expected a request to join"))??;
    let address = connection.remote_address();
    let response = match admit(&request, shared).await {
        Ok(accepted) => {
            tracing::info!(%address, "a worker has joined");
            accepted
        }
        Err(reason) => {
            tracing::warn!(%address, reason, "a request to join was refused");
            Response::Refused { reason }
        }
    };
    let answer = control::encode(&response).map_err(|error| End::new(Code::Protocol, error))?;
    to.write_all(&answer)
        .await
        .map_err(|error| End::new(Code::Done, error))?;
    // Only a stream that was finished before cannot be.
    let _finished = to.finish();
    // Closing now would take the answer away from a newcomer that has not read it; it closes when it has.
    let _late = tokio::time::timeout(FAREWELL, connection.closed()).await;
    Err(End::new(Code::Done, "answered"))
}

async fn request(connection: &Connection) -> Result<(quinn::SendStream, Request), End> {
    let (to, mut from) = connection.accept_bi().await.map_err(|error| End::lost(&error))?;
    Ok((to, read(&mut from).await?))
}

async fn read(from: &mut RecvStream) -> Result<Request, End> {
    let message = peer::receive(from, MAX_MESSAGE).await?;
    message.ok_or_else(|| End::protocol("expected a request to join, found the end of the stream"))
}

/// First whatever can be wrong with the request, so that a bad one does not use the invitation up.
async fn admit(request: &Request, shared: &Shared) -> Result<Response, String> {
    let csr = Authority::check_csr(&request.csr).map_err(|error| error.to_string())?;
    let secret = request.secret.digest();
    let name = shared.port.invited(secret).await?;
    let signed = shared.authority.sign_csr(&csr, &name, shared.options.clock.now());
    let certificate = signed.map_err(|error| error.to_string())?;
    shared.port.redeem(secret, Digest::of(&certificate)).await?;
    Ok(Response::Accepted {
        name,
        certificate,
        authority: shared.authority.certificate().to_vec(),
    })
}
