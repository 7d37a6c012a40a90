//! A connection as the master's end sees it, and what is on its way through it. Its streams arrive in any order; what is on
//! the way when it ends is lost.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::control::{FromMaster, FromWorker, Hello, Resume};
use crate::log_stream::Assembler;
use crate::session::Master;

pub(super) struct Link {
    /// Counts connections; the worker talks through one of them.
    pub number: u64,
    pub session: Master,
    pub seat: Seat,
    pub to_master: VecDeque<FromWorker>,
    pub to_worker: VecDeque<FromMaster>,
    pub streams: Vec<Stream>,
}

/// How far the greeting has come. One connection at a time is beyond `Waiting`.
#[derive(Debug)]
pub(super) enum Seat {
    Dialled,
    /// Its hello is there; another connection has the seat.
    Waiting(Hello),
    /// The master has made up its mind about the hello.
    Greeted {
        held: Vec<usize>,
        resumes: Vec<Resume>,
    },
    /// Orders go through it.
    Occupied,
}

pub(super) struct Stream {
    pub command: usize,
    pub offset: u64,
    pub wanted: Option<bool>,
    pub on_the_way: VecDeque<u8>,
    pub finished: bool,
    pub assembler: Assembler,
    /// Received, not yet durable; the link reads no further before it is.
    pub append: Option<(u64, Bytes)>,
}

impl Link {
    pub fn new(number: u64, session: Master) -> Self {
        Self {
            number,
            session,
            seat: Seat::Dialled,
            to_master: VecDeque::new(),
            to_worker: VecDeque::new(),
            streams: Vec::new(),
        }
    }

    pub fn is_occupied(&self) -> bool {
        matches!(self.seat, Seat::Occupied)
    }

    pub fn is_seated(&self) -> bool {
        matches!(self.seat, Seat::Occupied | Seat::Greeted { .. })
    }
}

impl Stream {
    pub fn new(command: usize, offset: u64) -> Self {
        Self {
            command,
            offset,
            wanted: None,
            on_the_way: VecDeque::new(),
            finished: false,
            assembler: Assembler::default(),
            append: None,
        }
    }
}
