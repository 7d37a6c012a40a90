//! A log on the link: one unidirectional stream that the worker opens per command and connection.
//!
//! First a header (a control-style message: length, CBOR), then raw [`crate::frame`] bytes from the offset that the master
//! asked for, up to the end of the log. The stream is finished when the command has ended and everything was sent.

use capstan_model::CommandId;
use serde::{Deserialize, Serialize};

/// The first message of a log stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Whose log.
    pub id: CommandId,
    /// The offset of the first frame byte that follows; a frame boundary.
    pub offset: u64,
}
