//! A started command until nothing of it is left: both pipes into the spool, time-outs, stop, the end of its
//! tree.
//!
//! One loop waits for output, signals and deadlines; [`Phase`] says how far the end has come.

use std::collections::HashSet;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Child;
use std::time::{Duration, Instant};

use capstan_model::{Channel, Exit, TimeOut};

use super::spool::Spool;
use super::{Bell, Job};
use crate::folder::Folder;
use crate::os::{self, Alarm, Ended, Group, Reaped, Told};

/// How long the pipes may stay open, or processes live on, after the command itself has ended.
const LEAK_PATIENCE: Duration = Duration::from_secs(2);

/// How often `stop` and the heartbeat are looked at; a stop also comes as a signal.
const LOOK: Duration = Duration::from_millis(500);

/// How often an ending tree is looked through for processes that were made meanwhile.
const SWEEP: Duration = Duration::from_millis(50);

/// An ending tree is looked through so many times in a row: what forks all the time is met alive sooner or later.
const CHASE: usize = 10;

/// A process in uninterruptible sleep does not even obey KILL: then the command ends without it.
const KILL_PATIENCE: Duration = Duration::from_secs(60);

/// The heart beats every second: with a shorter orphan time-out a connected worker would end its own
/// commands.
const SHORTEST_ORPHAN_TIMEOUT: Duration = Duration::from_secs(3);

/// As much is read from a pipe at a time.
const READ: usize = capstan_wire::frame::MAX_PAYLOAD;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The command runs.
    Running,
    /// It has ended; its pipes or some of its descendants have not.
    Lingering(Instant),
    /// The tree was asked to end.
    Terminating(Instant),
    /// The tree is killed.
    Killing(Instant),
    /// No process is left; what is still in the pipes is read.
    Draining(Instant),
    /// Nothing is left.
    Done,
}

struct Pipe {
    channel: Channel,
    file: std::fs::File,
}

/// See the module.
pub struct Run<'a> {
    job: &'a Job,
    folder: &'a Folder,
    spool: &'a mut Spool,
    bell: &'a mut Bell,
    alarm: Alarm,
    begun: Instant,
    pipes: Vec<Pipe>,
    main: u32,
    /// How the command itself ended.
    ended: Option<Ended>,
    /// Why it was made to end.
    verdict: Option<Exit>,
    childless: bool,
    phase: Phase,
    asked: HashSet<u32>,
    last_output: Instant,
    last_look: Option<Instant>,
    last_sweep: Option<Instant>,
    heartbeat: Heartbeat,
    group: &'a mut Option<Group>,
}

impl<'a> Run<'a> {
    /// A run that has not begun. Time-outs count from `begun`.
    pub fn new(
        job: &'a Job,
        folder: &'a Folder,
        spool: &'a mut Spool,
        bell: &'a mut Bell,
        alarm: Alarm,
        begun: Instant,
        group: &'a mut Option<Group>,
    ) -> Self {
        Self {
            job,
            folder,
            spool,
            bell,
            alarm,
            begun,
            pipes: Vec::new(),
            main: 0,
            ended: None,
            verdict: None,
            childless: false,
            phase: Phase::Running,
            asked: HashSet::new(),
            last_output: begun,
            last_look: None,
            last_sweep: None,
            heartbeat: Heartbeat {
                seen: Vec::new(),
                at: begun,
            },
            group,
        }
    }

    /// Stays with `child` until it, its pipes and its descendants are gone.
    pub fn until_end(mut self, mut child: Child) -> Exit {
        self.main = child.id();
        let out = child
            .stdout
            .take()
            .map(|pipe| (Channel::Stdout, OwnedFd::from(pipe)));
        let err = child
            .stderr
            .take()
            .map(|pipe| (Channel::Stderr, OwnedFd::from(pipe)));
        for (channel, fd) in out.into_iter().chain(err) {
            // A pipe that cannot be read without waiting would silence the other one: better to lose it
            // loudly.
            match os::set_nonblocking(&fd) {
                Ok(()) => self.pipes.push(Pipe {
                    channel,
                    file: fd.into(),
                }),
                Err(error) => self
                    .spool
                    .header(&format!("a pipe of the command cannot be read: {error}")),
            }
        }
        self.bell.ring();
        let mut buffer = vec![0; READ];
        while self.phase != Phase::Done {
            self.wait();
            self.read_pipes(&mut buffer);
            self.reap();
            self.look();
            self.check_time();
            self.advance();
        }
        for channel in [Channel::Stdout, Channel::Stderr] {
            self.spool.end_of(channel);
        }
        self.exit()
    }

    fn exit(self) -> Exit {
        self.verdict.unwrap_or(match self.ended {
            Some(Ended::Code(code)) => Exit::Code(code),
            Some(Ended::Signal(signal)) => Exit::Signal(signal),
            None => Exit::Lost("the end of the process was not seen".to_owned()),
        })
    }

    fn wait(&mut self) {
        let mut sources: Vec<BorrowedFd<'_>> = vec![self.alarm.as_fd()];
        sources.extend(self.pipes.iter().map(|pipe| pipe.file.as_fd()));
        if os::wait_readable(&sources, self.patience()).is_err() {
            // Without poll the loop still works, by looking again and again.
            std::thread::sleep(Duration::from_millis(10));
        }
        self.alarm.clear();
    }

    /// How long nothing can become due.
    fn patience(&self) -> Duration {
        let since = |at: Instant, limit: Duration| limit.saturating_sub(at.elapsed());
        let ms = Duration::from_millis;
        let spec = &self.job.spec;
        match self.phase {
            Phase::Running => {
                let look = self.last_look.map_or(Duration::ZERO, |at| since(at, LOOK));
                let idle = spec
                    .idle_timeout_ms
                    .map(|limit| since(self.last_output, ms(limit)));
                let total = spec.total_timeout_ms.map(|limit| since(self.begun, ms(limit)));
                [Some(look), idle, total]
                    .into_iter()
                    .flatten()
                    .min()
                    .unwrap_or(LOOK)
            }
            Phase::Lingering(_) | Phase::Terminating(_) | Phase::Draining(_) => SWEEP,
            Phase::Killing(_) => SWEEP / 5,
            Phase::Done => Duration::ZERO,
        }
    }

    /// Takes at most one buffer from each pipe, so that neither starves the other or the deadlines.
    fn read_pipes(&mut self, buffer: &mut [u8]) {
        let mut heard = false;
        let spool = &mut *self.spool;
        self.pipes.retain_mut(|pipe| {
            let (length, open) = drain(&mut pipe.file, buffer);
            if length > 0 {
                heard = true;
                spool.output(pipe.channel, &buffer[..length]);
            }
            if !open {
                spool.end_of(pipe.channel);
            }
            open
        });
        if heard {
            self.last_output = Instant::now();
            self.bell.ring();
        }
        if self.verdict.is_none()
            && let Some(full) = self.spool.full()
        {
            self.verdict = Some(Exit::Killed(full.to_string()));
        }
    }

    fn reap(&mut self) {
        loop {
            match os::reap() {
                Ok(Reaped::Child(pid, ended)) if pid == self.main => self.ended = Some(ended),
                Ok(Reaped::Child(..)) => {}
                Ok(Reaped::NoneYet) => break self.childless = false,
                Ok(Reaped::NoChildren) | Err(_) => break self.childless = true,
            }
        }
    }

    /// Looks whether the command is to end: told by a signal, by the file `stop`, or by the master's long
    /// silence.
    fn look(&mut self) {
        let told = self.alarm.was_told_to_end();
        let due = self.last_look.is_none_or(|at| at.elapsed() >= LOOK);
        if !(told || due) || self.verdict.is_some() || self.ended.is_some() {
            return;
        }
        self.last_look = Some(Instant::now());
        match self.folder.stop() {
            Ok(Some(stop)) => self.verdict = Some(Exit::Killed(stop.reason)),
            _ if told => self.verdict = Some(Exit::Killed("the supervisor was told to end".to_owned())),
            _ => {}
        }
        let silence = self.heartbeat.silence(&self.job.heartbeat);
        let limit = Duration::from_millis(self.job.spec.orphan_timeout_ms).max(SHORTEST_ORPHAN_TIMEOUT);
        if self.verdict.is_none() && silence >= limit {
            self.verdict = Some(Exit::TimedOut(TimeOut::Orphan));
        }
    }

    fn check_time(&mut self) {
        if self.verdict.is_some() || self.ended.is_some() {
            return;
        }
        let over = |limit: Option<u64>, since: Instant| {
            limit.is_some_and(|limit| since.elapsed() >= Duration::from_millis(limit))
        };
        if over(self.job.spec.total_timeout_ms, self.begun) {
            self.verdict = Some(Exit::TimedOut(TimeOut::Total));
        } else if over(self.job.spec.idle_timeout_ms, self.last_output) {
            self.verdict = Some(Exit::TimedOut(TimeOut::Idle));
        }
    }

    fn advance(&mut self) {
        let empty = self.childless && self.ended.is_some();
        match self.phase {
            Phase::Running | Phase::Lingering(_) if empty && self.pipes.is_empty() => {
                self.phase = Phase::Done
            }
            Phase::Running if self.verdict.is_some() => self.phase = Phase::Terminating(Instant::now()),
            Phase::Running if self.ended.is_some() => self.phase = Phase::Lingering(Instant::now()),
            Phase::Lingering(since) if since.elapsed() >= LEAK_PATIENCE || self.verdict.is_some() => {
                self.spool
                    .header("the command left processes behind, which are ended now");
                self.phase = Phase::Terminating(Instant::now());
            }
            Phase::Terminating(_) | Phase::Killing(_) if empty => {
                self.phase = Phase::Draining(Instant::now())
            }
            Phase::Terminating(since)
                if since.elapsed() >= Duration::from_millis(self.job.spec.term_grace_ms) =>
            {
                self.last_sweep = None;
                self.phase = Phase::Killing(Instant::now());
            }
            Phase::Killing(since) if since.elapsed() >= KILL_PATIENCE => {
                self.spool.header(
                    "some processes of the command cannot be ended; the worker gives up waiting for them",
                );
                self.phase = Phase::Draining(Instant::now());
            }
            Phase::Draining(_) if self.pipes.is_empty() => self.phase = Phase::Done,
            Phase::Draining(since) if since.elapsed() >= LEAK_PATIENCE => {
                self.spool.header(
                    "a process outside the command holds its output open; what it writes is not read",
                );
                self.phase = Phase::Done;
            }
            _ => {}
        }
        let (sweep, pause): (fn(&mut Self), _) = match self.phase {
            Phase::Terminating(_) => (Self::ask, SWEEP),
            Phase::Killing(_) => (Self::kill, SWEEP / 5),
            _ => return,
        };
        if self.last_sweep.is_none_or(|at| at.elapsed() >= pause) {
            self.last_sweep = Some(Instant::now());
            sweep(self);
        }
    }

    /// Tells every living descendant to end. Once to each: a second time may mean something else to it.
    fn ask(&mut self) {
        let found = os::descendants(std::process::id()).unwrap_or_else(|_| vec![self.main]);
        for pid in found {
            if self.asked.insert(pid) {
                os::send(pid, Told::Terminate);
            }
        }
    }

    /// Ends the command's group, and every living descendant: one may have left the group.
    fn kill(&mut self) {
        if let Some(group) = self.group.as_mut() {
            group.kill();
        }
        for _ in 0..CHASE {
            match os::kill_descendants(std::process::id()) {
                Ok(0) => return,
                Ok(_) => {}
                Err(_) => return os::send(self.main, Told::Kill),
            }
        }
    }
}

/// Reads until the buffer is full or the pipe has nothing more for now. Says how much, and whether more may
/// come.
fn drain(pipe: &mut std::fs::File, buffer: &mut [u8]) -> (usize, bool) {
    let mut length = 0;
    while length < buffer.len() {
        match pipe.read(&mut buffer[length..]) {
            Ok(0) => return (length, false),
            Ok(read) => length += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return (length, error.kind() == ErrorKind::WouldBlock),
        }
    }
    (length, true)
}

/// How long the master has not been heard, by this process's monotonic clock: only changes of the file count,
/// never the time in it, so that a clock that jumps ends nothing.
struct Heartbeat {
    seen: Vec<u8>,
    at: Instant,
}

impl Heartbeat {
    fn silence(&mut self, file: &std::path::Path) -> Duration {
        let mut now = Vec::new();
        if let Ok(file) = std::fs::File::open(file) {
            let _ = file.take(64).read_to_end(&mut now);
        }
        if now != self.seen {
            self.seen = now;
            self.at = Instant::now();
        }
        self.at.elapsed()
    }
}
