//! What the master and the process that evaluates a pipeline say to each other: JSON, a line each, over its standard input and output.
//! First the master says the [`Request`]; then the process asks for files until it has its answer.

use std::io::{self, BufRead, Read as _, Write};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::{Answer, Request, evaluate};
use crate::farm::Farm;

/// The longest line that either side reads, in bytes.
pub const MAX_LINE: u64 = 16 << 20;

/// What the process says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Said {
    /// It wants the file of that path, and waits for a [`Reply`].
    Read(String),
    /// It is done.
    Done(Answer),
}

/// What the master answers: the file's content, or why there is none.
pub type Reply = Result<Vec<u8>, String>;

/// Evaluates what it reads a request for, and says what came of it.
pub fn serve(input: impl BufRead + Send + 'static, output: impl Write + Send + 'static) -> io::Result<()> {
    let mut ends = Ends { input, output };
    let request: Request = ends.hear()?;
    let (file, ends) = (request.file.clone(), Arc::new(Mutex::new(ends)));
    let asked = Arc::clone(&ends);
    let ask = move |path: &str| {
        let mut ends = asked.lock().unwrap_or_else(PoisonError::into_inner);
        let reply = ends.say(&Said::Read(path.to_owned())).and_then(|()| ends.hear());
        reply.unwrap_or_else(|error: io::Error| Err(format!("expected `{path}` from the master: {error}")))
    };
    let answer = evaluate(Farm::asked(file, Box::new(ask)), &request);
    let mut ends = ends.lock().unwrap_or_else(PoisonError::into_inner);
    ends.say(&Said::Done(answer))
}

/// Both ends of the talk, as the process sees them.
struct Ends<I, O> {
    input: I,
    output: O,
}

impl<I: BufRead, O: Write> Ends<I, O> {
    fn say(&mut self, what: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.output, what)?;
        self.output.write_all(b"\n")?;
        self.output.flush()
    }

    fn hear<T: for<'a> Deserialize<'a>>(&mut self) -> io::Result<T> {
        let mut line = Vec::new();
        (&mut self.input).take(MAX_LINE).read_until(b'\n', &mut line)?;
        Ok(serde_json::from_slice(&line)?)
    }
}
