//! Control messages over a QUIC stream, length first.

use capstan_wire::control;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;

/// Writes one message.
pub async fn send<T: Serialize>(stream: &mut quinn::SendStream, message: &T) -> Result<(), Error> {
    stream
        .write_all(&control::encode(message)?)
        .await
        .map_err(|error| match error {
            quinn::WriteError::ConnectionLost(lost) => lost.into(),
            other => Error::Lost(other.to_string()),
        })
}

/// Reads one message; `None` when the stream has ended properly. Not cancel-safe: give it a task of its own.
pub async fn receive<T: DeserializeOwned>(stream: &mut quinn::RecvStream) -> Result<Option<T>, Error> {
    let mut prefix = [0; 4];
    match stream.read_exact(&mut prefix).await {
        Ok(()) => {}
        Err(quinn::ReadExactError::FinishedEarly(0)) => return Ok(None),
        Err(error) => return Err(broken(error)),
    }
    let mut bytes = vec![0; control::decode_length(prefix)?];
    stream.read_exact(&mut bytes).await.map_err(broken)?;
    Ok(Some(control::decode(&bytes)?))
}

fn broken(error: quinn::ReadExactError) -> Error {
    match error {
        quinn::ReadExactError::FinishedEarly(_) => Error::Ended {
            expected: "the rest of a message",
        },
        quinn::ReadExactError::ReadError(quinn::ReadError::ConnectionLost(lost)) => lost.into(),
        quinn::ReadExactError::ReadError(other) => Error::Lost(other.to_string()),
    }
}
