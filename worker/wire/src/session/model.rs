//! The two machines against a world that is kept simple: a worker and a master with their disks, and a network that
//! delivers streams in any order, cuts them anywhere, and forgets what was on the way. Whatever happens, every command
//! starts once, every log arrives as it was written, and nothing is removed before its end is durable.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use capstan_model::{Channel, CommandId, CommandSpec, Exit, Program, Timestamp};
use proptest::prelude::*;
use uuid::Uuid;

use super::{Master, Worker, master, worker};
use crate::control::{ExitReport, FromMaster, FromWorker, Hello, Resume, ResumeAction};
use crate::frame;
use crate::log_stream::Assembler;

/// Each number picks what happens next, and to which of the things that it can happen to.
#[derive(Clone, Debug)]
enum Event {
    Order,
    Write(usize),
    Send(usize, u64),
    ToWorker,
    ToMaster,
    Log(usize, usize),
    Store(usize),
    Connect,
    Cut { appends_survive: bool },
    RestartMaster,
    RestartDaemon,
}

fn event() -> impl Strategy<Value = Event> {
    let any_one = 0..8usize;
    prop_oneof![
        2 => Just(Event::Order),
        8 => any_one.clone().prop_map(Event::Write),
        8 => (any_one.clone(), 1..200u64).prop_map(|(n, max)| Event::Send(n, max)),
        8 => Just(Event::ToWorker),
        8 => Just(Event::ToMaster),
        8 => (any_one.clone(), 1..120usize).prop_map(|(n, cut)| Event::Log(n, cut)),
        6 => any_one.prop_map(Event::Store),
        6 => Just(Event::Connect),
        1 => any::<bool>().prop_map(|appends_survive| Event::Cut { appends_survive }),
        1 => Just(Event::RestartMaster),
        1 => Just(Event::RestartDaemon),
    ]
}

/// What a command writes: its frames, one after the other.
type Script = Vec<Vec<u8>>;

fn scripts() -> impl Strategy<Value = Vec<Script>> {
    let frame = prop::collection::vec(any::<u8>(), 1..60).prop_map(|payload| {
        let mut bytes = Vec::new();
        frame::encode(&mut bytes, 1, Channel::Stdout, &payload);
        bytes
    });
    prop::collection::vec(prop::collection::vec(frame, 0..6), 1..5)
}

fn id_of(command: usize) -> CommandId {
    CommandId(Uuid::from_u128(command as u128 + 1))
}

struct World {
    scripts: Vec<Script>,
    worker: Worker,
    worker_disk: WorkerDisk,
    master_disk: MasterDisk,
    link: Option<Link>,
}

#[derive(Default)]
struct WorkerDisk {
    epoch: u64,
    /// How many frames of each command are in its spool; `None` once it has ended.
    commands: BTreeMap<CommandId, (usize, Option<ExitReport>)>,
    starts: BTreeMap<CommandId, u32>,
}

#[derive(Default)]
struct MasterDisk {
    epoch: u64,
    ordered: usize,
    logs: BTreeMap<CommandId, Vec<u8>>,
    ends: BTreeMap<CommandId, ExitReport>,
}

struct Link {
    session: Master,
    to_master: VecDeque<FromWorker>,
    to_worker: VecDeque<FromMaster>,
    streams: Vec<Stream>,
}

struct Stream {
    id: CommandId,
    wanted: Option<bool>,
    on_the_way: VecDeque<u8>,
    finished: bool,
    offset: u64,
    assembler: Assembler,
    /// Received, not yet durable; the link reads no further before it is.
    append: Option<(u64, Bytes)>,
    ended: bool,
}

impl World {
    fn new(scripts: Vec<Script>) -> Self {
        let master_disk = MasterDisk {
            epoch: 1,
            ..MasterDisk::default()
        };
        Self {
            scripts,
            worker: Worker::new(0),
            worker_disk: WorkerDisk::default(),
            master_disk,
            link: None,
        }
    }

    fn happen(&mut self, event: &Event) {
        match *event {
            Event::Order => self.order(),
            Event::Write(n) => self.write(n),
            Event::Send(n, max) => self.send(n, max),
            Event::ToWorker => self.deliver_to_worker(),
            Event::ToMaster => self.deliver_to_master(),
            Event::Log(n, cut) => self.log(n, cut),
            Event::Store(n) => self.store(n),
            Event::Connect => self.connect(),
            Event::Cut { appends_survive } => self.cut(appends_survive),
            Event::RestartMaster => {
                self.cut(false);
                self.master_disk.epoch += 1;
            }
            Event::RestartDaemon => self.restart_daemon(),
        }
    }

    fn order(&mut self) {
        if self.master_disk.ordered == self.scripts.len() {
            return;
        }
        let id = id_of(self.master_disk.ordered);
        self.master_disk.ordered += 1;
        self.master_disk.logs.insert(id, Vec::new());
        if let Some(link) = self.link.as_mut().filter(|link| link.session.is_ready()) {
            let actions = link.session.start(id, spec(), BTreeMap::new());
            self.master_does(actions);
        }
    }

    /// A supervisor writes a frame, or the end after the last one.
    fn write(&mut self, n: usize) {
        let running: Vec<_> = self
            .worker_disk
            .commands
            .iter()
            .filter(|(_, c)| c.1.is_none())
            .map(|(id, _)| *id)
            .collect();
        let Some(&id) = running.get(n % running.len().max(1)) else {
            return;
        };
        let script = &self.scripts[id.0.as_u128() as usize - 1];
        let Some(command) = self.worker_disk.commands.get_mut(&id) else {
            return;
        };
        let actions = if command.0 < script.len() {
            command.0 += 1;
            self.worker.grew(id, length(&script[..command.0]))
        } else {
            let (exit, log_length) = (Exit::Code(0), length(script));
            let report = ExitReport {
                exit,
                duration_ms: 1,
                log_length,
                stdout_bytes: 0,
                stderr_bytes: 0,
            };
            command.1 = Some(report.clone());
            self.worker.exited(id, report)
        };
        self.worker_does(actions);
    }

    /// The daemon copies a piece of a spool to its stream.
    fn send(&mut self, n: usize, max: u64) {
        let Some(link) = &mut self.link else { return };
        let streams = link.streams.len().max(1);
        let Some(stream) = link.streams.get_mut(n % streams) else {
            return;
        };
        let Some(piece) = self.worker.next_piece(stream.id, max) else {
            return;
        };
        let log = self.scripts[stream.id.0.as_u128() as usize - 1].concat();
        stream
            .on_the_way
            .extend(&log[piece.from as usize..piece.to as usize]);
        stream.finished |= piece.last;
    }

    fn deliver_to_worker(&mut self) {
        let Some(message) = self.link.as_mut().and_then(|link| link.to_worker.pop_front()) else {
            return;
        };
        let actions = self.worker.received(message).unwrap();
        self.worker_does(actions);
    }

    fn deliver_to_master(&mut self) {
        let Some(link) = &mut self.link else { return };
        let Some(message) = link.to_master.pop_front() else {
            return;
        };
        let actions = link.session.received(message).unwrap();
        self.master_does(actions);
    }

    /// The link reads some bytes of a stream.
    fn log(&mut self, n: usize, cut: usize) {
        let Some(link) = self.link.as_mut().filter(|link| link.session.is_ready()) else {
            return;
        };
        let streams = link.streams.len().max(1);
        let Some(stream) = link.streams.get_mut(n % streams) else {
            return;
        };
        if stream.append.is_some() || stream.ended {
            return;
        }
        let wanted = stream.wanted.get_or_insert_with(|| {
            link.session.stream_opened(stream.id, stream.offset).unwrap() == master::Stream::Read
        });
        let piece: Vec<_> = stream
            .on_the_way
            .drain(..cut.min(stream.on_the_way.len()))
            .collect();
        if !*wanted {
            return;
        }
        stream.assembler.push(&piece);
        let frames = stream.assembler.take().unwrap();
        if !frames.is_empty() {
            let offset = stream.offset;
            stream.offset += frames.len() as u64;
            match link
                .session
                .log_bytes(stream.id, offset, frames.len() as u64)
                .unwrap()
            {
                Some(known) => stream.append = Some((offset + known, frames.slice(known as usize..))),
                None => stream.wanted = Some(false),
            }
        } else if stream.finished && stream.on_the_way.is_empty() {
            stream.ended = true;
            link.session
                .stream_ended(stream.id, stream.assembler.pending())
                .unwrap();
        }
    }

    /// The store has made durable what a stream brought.
    fn store(&mut self, n: usize) {
        let Some(link) = &mut self.link else { return };
        let streams = link.streams.len().max(1);
        let Some(stream) = link.streams.get_mut(n % streams) else {
            return;
        };
        let Some((offset, new)) = stream.append.take() else {
            return;
        };
        let durable = self.master_disk.append(stream.id, offset, &new);
        let actions = link.session.stored(stream.id, durable);
        self.master_does(actions);
    }

    fn connect(&mut self) {
        if self.link.is_some() {
            return;
        }
        self.link = Some(Link {
            session: Master::new(Uuid::nil(), self.master_disk.epoch, "w".to_owned()),
            to_master: VecDeque::new(),
            to_worker: VecDeque::new(),
            streams: Vec::new(),
        });
        let actions = self.worker.connected(hello());
        self.worker_does(actions);
    }

    fn cut(&mut self, appends_survive: bool) {
        self.worker.disconnected();
        let Some(link) = self.link.take() else { return };
        for (id, (offset, new)) in link.streams.into_iter().filter_map(|s| Some((s.id, s.append?))) {
            if appends_survive {
                self.master_disk.append(id, offset, &new);
            }
        }
    }

    fn restart_daemon(&mut self) {
        self.cut(true);
        self.worker = Worker::new(self.worker_disk.epoch);
        for (id, (frames, exit)) in &self.worker_disk.commands {
            let script = &self.scripts[id.0.as_u128() as usize - 1];
            self.worker
                .restore(*id, Some(Timestamp(1)), length(&script[..*frames]), exit.clone());
        }
    }

    fn worker_does(&mut self, actions: Vec<worker::Action>) {
        for action in actions {
            let link = self.link.as_mut();
            match action {
                worker::Action::Send(message) => link.expect("connected").to_master.push_back(message),
                worker::Action::RememberEpoch(epoch) => {
                    assert!(epoch > self.worker_disk.epoch);
                    self.worker_disk.epoch = epoch;
                }
                worker::Action::Start { id, .. } => {
                    *self.worker_disk.starts.entry(id).or_default() += 1;
                    assert!(self.worker_disk.commands.insert(id, (0, None)).is_none());
                    let actions = self.worker.started(id, Timestamp(1));
                    self.worker_does(actions);
                }
                worker::Action::OpenLog { id, offset } => link.expect("connected").streams.push(Stream {
                    id,
                    wanted: None,
                    on_the_way: VecDeque::new(),
                    finished: false,
                    offset,
                    assembler: Assembler::default(),
                    append: None,
                    ended: false,
                }),
                worker::Action::Remove(id) => {
                    assert!(
                        self.master_disk.ends.contains_key(&id),
                        "{id} was removed before its end was durable"
                    );
                    assert!(self.worker_disk.commands.remove(&id).is_some());
                }
                worker::Action::LogReady(_) | worker::Action::Ready => {}
                worker::Action::Kill { .. } | worker::Action::Close { .. } => {
                    panic!("nobody asked for {action:?}")
                }
            }
        }
    }

    fn master_does(&mut self, actions: Vec<master::Action>) {
        for action in actions {
            let Some(link) = &mut self.link else { return };
            match action {
                master::Action::Send(message) => link.to_worker.push_back(message),
                master::Action::Greet(hello) => {
                    let held: Vec<_> = hello.commands.iter().map(|held| held.id).collect();
                    let resumes = held.iter().map(|id| self.master_disk.resume(*id)).collect();
                    let mut actions = link.session.welcome(resumes).unwrap();
                    let lost = (0..self.master_disk.ordered).map(id_of);
                    let lost =
                        lost.filter(|id| !held.contains(id) && !self.master_disk.ends.contains_key(id));
                    actions.extend(lost.flat_map(|id| link.session.start(id, spec(), BTreeMap::new())));
                    self.master_does(actions);
                }
                master::Action::Completed(id, report) => {
                    let script = &self.scripts[id.0.as_u128() as usize - 1];
                    assert_eq!(self.master_disk.logs[&id], script.concat(), "the log of {id}");
                    assert!(
                        self.master_disk.ends.insert(id, report).is_none(),
                        "{id} ended twice"
                    );
                    let actions = link.session.forget(id);
                    self.master_does(actions);
                }
                master::Action::Started(..) | master::Action::Alive | master::Action::Leaving => {}
            }
        }
    }

    /// Nothing bad happens any more: everything must come to its end.
    fn settle(&mut self) {
        let rounds = 2_000;
        for _ in 0..rounds {
            self.connect();
            self.order();
            for n in 0..8 {
                self.write(n);
                self.send(n, 1000);
                self.log(n, 1000);
                self.store(n);
            }
            self.deliver_to_master();
            self.deliver_to_worker();
            if self.master_disk.ends.len() == self.scripts.len() && self.worker_disk.commands.is_empty() {
                return;
            }
        }
        panic!(
            "after {rounds} rounds without a fault, {} of {} commands have ended",
            self.master_disk.ends.len(),
            self.scripts.len()
        );
    }
}

impl MasterDisk {
    fn append(&mut self, id: CommandId, offset: u64, new: &[u8]) -> u64 {
        let log = self.logs.entry(id).or_default();
        let known = log.len() - offset as usize;
        log.extend_from_slice(new.get(known..).unwrap_or_default());
        log.len() as u64
    }

    fn resume(&self, id: CommandId) -> Resume {
        let length = self.logs.get(&id).map(|log| log.len() as u64);
        let action = match length {
            Some(length) if !self.ends.contains_key(&id) => ResumeAction::From(length),
            _ => ResumeAction::Forget,
        };
        Resume { id, action }
    }
}

fn length(frames: &[Vec<u8>]) -> u64 {
    frames.iter().map(|frame| frame.len() as u64).sum()
}

pub(super) fn hello() -> Hello {
    Hello {
        minor: 0,
        version: String::new(),
        boot: Uuid::nil(),
        slots: 1,
        labels: vec![],
        facts: BTreeMap::new(),
        epoch_seen: 0,
        commands: vec![],
    }
}

pub(super) fn spec() -> Box<CommandSpec> {
    Box::new(CommandSpec {
        program: Program::Argv(vec!["true".to_owned()]),
        builder_dir: "b".to_owned(),
        workdir: String::new(),
        env: BTreeMap::new(),
        log: "stdio".to_owned(),
        idle_timeout_ms: None,
        total_timeout_ms: None,
        term_grace_ms: 0,
        orphan_timeout_ms: 0,
        capture_stdout: 0,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn builds_survive_whatever_the_link_does(scripts in scripts(), events in prop::collection::vec(event(), 0..400)) {
        let mut world = World::new(scripts);
        for event in &events {
            world.happen(event);
        }
        world.settle();
        for command in 0..world.scripts.len() {
            prop_assert_eq!(&world.master_disk.logs[&id_of(command)], &world.scripts[command].concat());
            prop_assert_eq!(world.worker_disk.starts[&id_of(command)], 1, "command {} was started so often", command);
        }
        prop_assert_eq!(world.worker.held().count(), 0);
    }
}
