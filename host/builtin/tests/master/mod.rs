//! The world that plugins are called in: one repository, one web server, one worker whose commands end as a test says.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

use capstan_engine::{
    Abandoned, Caller, CommandFault, Commit, Engine, FileFault, FilesPort, GitFault, GitPort, HttpFault,
    HttpPort, HttpRequest, HttpResponse, Options, Plugin, Ports, Reference, StepEnd, StepPort, StepRun,
    WaitMode,
};
use capstan_model::journal::{Created, Effect, Entry, HOST_ABI};
use capstan_model::plugin::Rights;
use capstan_model::{
    CommandId, CommandSpec, Completion, Exit, Program, Properties, SourceStamp, StepId, Timestamp,
};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::Value;
use tokio::sync::watch;
use uuid::Uuid;

/// One built-in plugin.
pub fn plugin(name: &str) -> Plugin {
    let (_, bytes) = capstan_builtin::components()
        .iter()
        .find(|(found, _)| *found == name)
        .unwrap();
    engine().load(bytes).unwrap()
}

fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    let options = Options {
        step_instances: 4,
        call_instances: 4,
        ..Options::default()
    };
    ENGINE.get_or_init(|| Engine::new(options).unwrap())
}

/// What the world answers, and what it was asked.
#[derive(Clone, Default)]
pub struct Master {
    /// The head of `main`.
    pub head: String,
    /// What the web server answers.
    pub status: u16,
    pub sent: Arc<Mutex<Vec<HttpRequest>>>,
    pub lines: Arc<Mutex<Vec<(String, String)>>>,
    /// How commands end that hold such a text, and their standard output; the last of a kind stays. Others succeed.
    pub exits: Vec<(&'static str, Exit, &'static str)>,
}

/// Everything, so that a refusal is one of the manifest.
fn everything() -> Arc<Rights> {
    let all = || vec!["*".to_owned()];
    Arc::new(Rights {
        commands: all(),
        http: all(),
        git: all(),
        secrets: all(),
        files: all(),
        ..Rights::default()
    })
}

impl Master {
    pub fn caller(&self) -> Caller {
        let world = Arc::new(self.clone());
        let ports = Ports {
            git: world.clone(),
            http: world.clone(),
            files: world,
            ..Ports::nowhere()
        };
        Caller {
            owner: "test".to_owned(),
            grants: everything(),
            ports,
        }
    }

    /// Runs a step from its beginning to its end.
    pub async fn step(
        self,
        name: &str,
        config: &Value,
        stamp: SourceStamp,
        mode: WaitMode,
    ) -> (StepEnd, Ran) {
        let plugin = plugin(name);
        let created = Created {
            plugin: plugin.digest(),
            plugin_name: name.to_owned(),
            world: plugin.world(),
            host_abi: HOST_ABI,
            config: config.clone(),
            env: None,
            seed: 1,
            step_name: name.to_owned(),
            sources: vec![stamp],
            properties: Properties::default(),
        };
        let run = StepRun {
            plugin,
            grants: everything(),
            created,
            journal: Vec::new(),
            installation: Uuid::from_u128(1),
            step: StepId(1),
            builder: "hello".to_owned(),
            builder_dir: "hello".to_owned(),
            env: BTreeMap::new(),
            orphan_timeout_ms: 60_000,
            mode,
        };
        let worker = Arc::new(Worker {
            exits: Mutex::new(self.exits),
            ran: Mutex::default(),
        });
        let end = engine()
            .run_step(run, worker.clone(), watch::channel(None).1)
            .await
            .unwrap();
        let ran = worker.ran.lock().unwrap().clone();
        (end, ran)
    }
}

impl GitPort for Master {
    fn fetch(&self, _: String) -> BoxFuture<'_, Result<Vec<Reference>, GitFault>> {
        let main = Reference {
            name: "refs/heads/main".into(),
            revision: self.head.clone(),
        };
        let tag = Reference {
            name: "refs/tags/v1".into(),
            revision: "t".into(),
        };
        async { Ok(vec![main, tag]) }.boxed()
    }

    fn commits(
        &self,
        _: String,
        _: Vec<String>,
        until: String,
        _: u32,
    ) -> BoxFuture<'_, Result<Vec<Commit>, GitFault>> {
        let commit = Commit {
            revision: until,
            parents: Vec::new(),
            author: "Ada <ada@example.org>".into(),
            when_ms: 7,
            comments: "mend it".into(),
            files: Vec::new(),
        };
        async { Ok(vec![commit]) }.boxed()
    }
}

impl HttpPort for Master {
    fn fetch(&self, request: HttpRequest) -> BoxFuture<'_, Result<HttpResponse, HttpFault>> {
        self.sent.lock().unwrap().push(request);
        async {
            Ok(HttpResponse {
                status: self.status,
                headers: Vec::new(),
                body: Vec::new(),
            })
        }
        .boxed()
    }
}

impl FilesPort for Master {
    fn append_line(&self, path: String, line: String) -> BoxFuture<'_, Result<(), FileFault>> {
        self.lines.lock().unwrap().push((path, line));
        async { Ok(()) }.boxed()
    }
}

/// What a step did.
#[derive(Clone, Default)]
pub struct Ran {
    pub commands: Vec<CommandSpec>,
    pub properties: Vec<(String, Value)>,
    ids: Vec<(CommandId, Completion)>,
    journal: Vec<Entry>,
}

struct Worker {
    exits: Mutex<Vec<(&'static str, Exit, &'static str)>>,
    ran: Mutex<Ran>,
}

impl Worker {
    fn apply(&self, rows: Vec<Entry>, effects: Vec<Effect>) {
        let mut ran = self.ran.lock().unwrap();
        ran.journal.extend(rows);
        for effect in effects {
            if let Effect::SetProperty(property) = effect {
                ran.properties.push((property.name, property.value));
            }
        }
    }

    fn end(&self, spec: &CommandSpec) -> Completion {
        let mut exits = self.exits.lock().unwrap();
        let line = line(spec);
        let fits = |(text, ..): &(&str, Exit, &str)| line.contains(text);
        let (_, exit, stdout) = match exits.iter().filter(|exit| fits(exit)).count() {
            0 => ("", Exit::Code(0), ""),
            1 => exits.iter().find(|exit| fits(exit)).cloned().unwrap(),
            _ => {
                let place = exits.iter().position(fits).unwrap();
                exits.remove(place)
            }
        };
        let stdout = stdout.as_bytes().to_vec();
        Completion {
            exit,
            duration_ms: 1,
            stdout_bytes: stdout.len() as u64,
            stderr_bytes: 0,
            stdout,
        }
    }
}

fn line(spec: &CommandSpec) -> String {
    match &spec.program {
        Program::Argv(argv) => argv.join(" "),
        Program::Shell(line) => line.clone(),
        Program::File { path, .. } => path.clone(),
    }
}

/// `fetch` of `git -c x=y fetch …`; the program where it is not git.
pub fn verb(spec: &CommandSpec) -> String {
    let line = line(spec);
    let mut words = line.split(' ');
    match words.next() {
        Some("git") => words
            .find(|word| !word.starts_with('-') && !word.contains('='))
            .unwrap()
            .to_owned(),
        other => other.unwrap().to_owned(),
    }
}

impl StepPort for Worker {
    fn append(&self, rows: Vec<Entry>, effects: Vec<Effect>) -> BoxFuture<'_, Result<(), Abandoned>> {
        self.apply(rows, effects);
        async { Ok(()) }.boxed()
    }

    fn append_start(
        &self,
        rows: Vec<Entry>,
        effects: Vec<Effect>,
        id: CommandId,
        spec: CommandSpec,
    ) -> BoxFuture<'_, Result<(), Abandoned>> {
        self.apply(rows, effects);
        let end = self.end(&spec);
        let mut ran = self.ran.lock().unwrap();
        ran.commands.push(spec);
        ran.ids.push((id, end));
        async { Ok(()) }.boxed()
    }

    fn journal(&self) -> BoxFuture<'_, Result<Vec<Entry>, Abandoned>> {
        let rows = self.ran.lock().unwrap().journal.clone();
        async { Ok(rows) }.boxed()
    }

    fn start_command(&self, _: u32, _: CommandId, _: CommandSpec) -> BoxFuture<'_, Result<(), CommandFault>> {
        async { Ok(()) }.boxed()
    }

    fn wait_command(&self, id: CommandId) -> BoxFuture<'_, Result<Completion, CommandFault>> {
        let ran = self.ran.lock().unwrap();
        let (_, end) = ran.ids.iter().find(|(found, _)| *found == id).cloned().unwrap();
        let lost = match &end.exit {
            Exit::Lost(reason) => Err(CommandFault::Lost(reason.clone())),
            _ => Ok(end),
        };
        async { lost }.boxed()
    }

    fn kill_command(&self, _: CommandId, _: String) -> BoxFuture<'_, Result<(), Abandoned>> {
        async { Ok(()) }.boxed()
    }

    fn sleep_until(&self, _: Timestamp) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }

    fn now(&self) -> Timestamp {
        Timestamp(0)
    }

    fn write_log(&self, _: String, _: u64, _: String) -> BoxFuture<'_, Result<(), Abandoned>> {
        async { Ok(()) }.boxed()
    }
}
