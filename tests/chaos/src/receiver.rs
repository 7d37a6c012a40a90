//! The receiver of reports: a small HTTP server that remembers what it was sent, and is in trouble now and then: it answers
//! 500, hangs up before it has read, or hangs up when it has.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::found::Delivery;

/// How long a sender may be silent.
const SILENCE: Duration = Duration::from_secs(5);
/// The longest line of a request's head.
const MAX_LINE: u64 = 16 << 10;
/// The longest report.
const MAX_BODY: usize = 4 << 20;

/// See the module. Dropping it ends its thread.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct State {
    deliveries: Vec<Delivery>,
    /// Ids that were tried before: nobody is troubled twice, so that a seed does not wait for growing pauses.
    tried: BTreeSet<String>,
    random: SmallRng,
    calm: bool,
}

enum Mood {
    Good,
    Refuses,
    Deaf,
    HangsUp,
}

impl Receiver {
    /// Listens on a free port of the loopback. It is in no trouble until [`Receiver::begin`].
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let state = Arc::new(Mutex::new(State {
            deliveries: Vec::new(),
            tried: BTreeSet::new(),
            random: SmallRng::seed_from_u64(0),
            calm: true,
        }));
        let ended = Arc::new(AtomicBool::new(false));
        let (shared, stop) = (state.clone(), ended.clone());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let state = shared.clone();
                // A sender that dies in the middle of its report is no error of this receiver.
                std::thread::spawn(move || drop(serve(&stream, &state)));
            }
        });
        Ok(Self {
            address,
            state,
            ended,
            thread: Some(thread),
        })
    }

    /// Where reports are sent.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Forgets everything; its troubles are those of this seed, or none.
    pub fn begin(&self, seed: Option<u64>) {
        let mut state = lock(&self.state);
        state.deliveries.clear();
        state.tried.clear();
        state.calm = seed.is_none();
        state.random = SmallRng::seed_from_u64(seed.unwrap_or_default());
    }

    /// What came since it began.
    pub fn deliveries(&self) -> Vec<Delivery> {
        lock(&self.state).deliveries.clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // Wakes the thread; if that fails, it has ended already.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl State {
    fn mood(&mut self, id: &str) -> Mood {
        let first = self.tried.insert(id.to_owned());
        let drawn = self.random.random_range(0..100);
        if self.calm || !first {
            return Mood::Good;
        }
        match drawn {
            0..8 => Mood::Refuses,
            8..12 => Mood::Deaf,
            12..16 => Mood::HangsUp,
            _ => Mood::Good,
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(stream: &TcpStream, state: &Mutex<State>) -> Result<()> {
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(SILENCE))?;
    let mut reader = BufReader::new(stream);
    let (id, length) = head(&mut reader)?;
    let mood = lock(state).mood(&id);
    if matches!(mood, Mood::Deaf) {
        return Ok(());
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body = serde_json::from_slice(&body).context("expected a report as JSON")?;
    let accepted = matches!(mood, Mood::Good);
    // Before the answer: the sender may act on it at once.
    lock(state).deliveries.push(Delivery { id, body, accepted });
    let status = match mood {
        Mood::HangsUp => return Ok(()),
        Mood::Refuses => "500 In Trouble",
        _ => "200 OK",
    };
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let mut stream = stream;
    stream.write_all(answer.as_bytes())?;
    Ok(())
}

/// The delivery id and the length of the body that follows.
fn head(reader: &mut BufReader<&TcpStream>) -> Result<(String, usize)> {
    let (mut id, mut length) = (None, None);
    for _ in 0..100 {
        let mut line = String::new();
        reader.by_ref().take(MAX_LINE).read_line(&mut line)?;
        ensure!(line.ends_with('\n'), "expected a line, the sender hung up");
        let line = line.trim_end();
        if line.is_empty() {
            let length: usize = length.context("expected the length of the body")?;
            ensure!(
                length <= MAX_BODY,
                "expected {MAX_BODY} bytes at most, found {length}"
            );
            return Ok((id.context("expected the header Capstan-Delivery")?, length));
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        match name.to_ascii_lowercase().as_str() {
            "capstan-delivery" => id = Some(value.trim().to_owned()),
            "content-length" => length = Some(value.trim().parse()?),
            _ => {}
        }
    }
    bail!("expected fewer headers")
}
