//! A farm's store on one of the databases, and the words in which the tests tell their stories.

use capstan_model::journal::{Class, Entry, Kind};
use capstan_model::plan::Bundle;
use capstan_model::{
    BuildId, ChangeId, CommandId, CommandSpec, Digest, EventId, NewChange, Outcome, Program, Properties,
    RequestId, SourceStamp, StepId, Timestamp,
};
use capstan_store::{
    BuildFinish, CreatedBuild, EventFilter, NewBuild, NewBuildset, NewCommand, NewStep, Options, Owner,
    Store, Synchronous,
};
use serde_json::json;

use crate::postgres;

/// Makes a test on each database of each story: an `async fn` that takes a farm.
#[macro_export]
macro_rules! on_both {
    ($($story:ident)*) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $story() {
                let farm = $crate::farm::Farm::sqlite().await;
                super::$story(&farm).await;
                farm.end().await;
            })*
        }
        mod postgres {
            $(#[tokio::test]
            async fn $story() {
                let Some(farm) = $crate::farm::Farm::postgres().await else { return };
                super::$story(&farm).await;
                farm.end().await;
            })*
        }
    };
}

/// A store of its own.
pub struct Farm {
    pub store: Store,
    pub options: Options,
    /// The database, as other clients can reach it.
    pub url: String,
    /// Where a SQLite file is.
    pub folder: Option<tempfile::TempDir>,
}

/// A time; the number is all that matters.
pub fn at(ms: i64) -> Timestamp {
    Timestamp(ms)
}

/// A master on this machine.
pub fn owner() -> Owner {
    Owner {
        host: "here".to_owned(),
        process: 1,
        folder: "/srv/farm/data".into(),
        since: at(0),
    }
}

impl Farm {
    pub async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}/farm.db", folder.path().display());
        // A killed test is no power failure.
        let options = Options {
            synchronous: Synchronous::Normal,
            ..Options::new(url.as_str())
        };
        let store = Store::open(&options, at(1)).await.unwrap();
        Self {
            store,
            options,
            url,
            folder: Some(folder),
        }
    }

    /// `None` when PostgreSQL is left out.
    pub async fn postgres() -> Option<Self> {
        let url = postgres::database().await?;
        let options = Options::new(url.as_str());
        let store = Store::open(&options, at(1)).await.unwrap();
        Some(Self {
            store,
            options,
            url,
            folder: None,
        })
    }

    /// Closes the store; answers how to open it again.
    pub async fn close(&self) -> Options {
        self.store.close().await;
        self.options.clone()
    }

    /// Takes a test's database away.
    pub async fn end(self) {
        self.store.close().await;
        if self.folder.is_none() {
            postgres::remove(&self.url).await;
        }
    }

    /// One request for `builder`.
    pub async fn request(&self, builder: &str, priority: i32) -> RequestId {
        let buildset = NewBuildset {
            reason: "because".to_owned(),
            sources: vec![stamp("main", "abc")],
            builders: vec![builder.to_owned()],
            priority,
            ..NewBuildset::default()
        };
        self.store.submit(buildset, at(10)).await.unwrap().requests[0]
    }

    /// A build of `builder` on worker `w` with these steps, for these requests.
    pub async fn build(&self, builder: &str, requests: &[RequestId], steps: &[&str]) -> CreatedBuild {
        self.try_build(builder, requests, steps)
            .await
            .expect("the requests wait")
    }

    pub async fn try_build(
        &self,
        builder: &str,
        requests: &[RequestId],
        steps: &[&str],
    ) -> Option<CreatedBuild> {
        let build = self.new_build(builder, requests, steps).await;
        self.store.create_build(build, at(20)).await.unwrap()
    }

    /// A build to be made, with nothing in it but these steps.
    pub async fn new_build(&self, builder: &str, requests: &[RequestId], steps: &[&str]) -> NewBuild {
        let plan = self.store.put_plan(Bundle::default(), at(1)).await.unwrap();
        NewBuild {
            shown: None,
            directory: String::new(),
            locks: Vec::new(),
            builder: builder.to_owned(),
            requests: requests.to_owned(),
            worker: "w".to_owned(),
            plan,
            reason: "because".to_owned(),
            sources: vec![stamp("main", "abc")],
            properties: Properties::default(),
            steps: steps.iter().map(|name| new_step(name)).collect(),
            reports: vec![],
        }
    }

    /// A running build with one step that has begun.
    pub async fn running_step(&self) -> (BuildId, StepId) {
        let request = self.request("b", 0).await;
        let build = self.build("b", &[request], &["test"]).await;
        self.store
            .begin_step(build.steps[0], row(0, Kind::Created), at(30))
            .await
            .unwrap();
        (build.id, build.steps[0])
    }
}

pub fn stamp(branch: &str, revision: &str) -> SourceStamp {
    SourceStamp {
        repository: "https://example.org/r.git".to_owned(),
        branch: Some(branch.to_owned()),
        revision: Some(revision.to_owned()),
        ..SourceStamp::default()
    }
}

pub fn new_change(key: &str) -> NewChange {
    let mut properties = Properties::default();
    properties.set("zeta", 1, "change");
    properties.set("alpha", json!({ "x": [1, null] }), "change");
    NewChange {
        dedup_key: key.to_owned(),
        codebase: String::new(),
        repository: "https://example.org/r.git".to_owned(),
        project: "p".to_owned(),
        branch: None,
        revision: format!("rev-{key}"),
        author: "Ada".to_owned(),
        comments: "say \"hé\"\n'; DROP TABLE changes; --".to_owned(),
        files: vec!["src/main.rs".to_owned(), "naïve name".to_owned()],
        category: None,
        when: at(-5),
        properties,
    }
}

pub fn new_step(name: &str) -> NewStep {
    NewStep {
        name: name.to_owned(),
        plugin: "shell".to_owned(),
        digest: Digest::of(b"shell"),
        config: json!({ "command": name }),
        options: json!({ "halt_on_failure": true }),
    }
}

/// A row of a journal.
pub fn row(seq: u32, kind: Kind) -> Entry {
    Entry {
        seq,
        kind,
        call: kind.as_str().to_owned(),
        class: Class::RunOnce,
        request_hash: Digest::of(&seq.to_le_bytes()),
        request: Some(json!({ "seq": seq })),
        response: (kind == Kind::End).then_some(serde_json::Value::Null),
        at: at(100 + i64::from(seq)),
    }
}

pub fn new_command(store: &Store, step: StepId, seq: u32) -> NewCommand {
    NewCommand {
        id: CommandId::derive(store.installation(), step, seq),
        seq,
        log: "stdio".to_owned(),
        worker: "w".to_owned(),
        spec: CommandSpec {
            program: Program::Shell("make".to_owned()),
            builder_dir: "b".to_owned(),
            workdir: "build".to_owned(),
            env: [].into(),
            log: "stdio".to_owned(),
            idle_timeout_ms: Some(1_200_000),
            total_timeout_ms: None,
            term_grace_ms: 10_000,
            orphan_timeout_ms: 60_000,
            capture_stdout: 0,
        },
    }
}

pub fn finish(outcome: Outcome) -> BuildFinish {
    BuildFinish {
        outcome,
        summary: format!("{outcome}!"),
        reports: vec![],
        subscribers: vec![],
        retry: false,
    }
}

/// The only change that a source reported.
pub async fn one_change(store: &Store, key: &str, subscribers: &[String]) -> ChangeId {
    store
        .accept_changes("git", b"c", vec![new_change(key)], subscribers, at(5))
        .await
        .unwrap()[0]
        .id
}

/// The kinds of all events, oldest first.
pub async fn kinds(store: &Store) -> Vec<String> {
    let events = store
        .events_after(EventId(0), &EventFilter::default(), 1000)
        .await
        .unwrap();
    events.into_iter().map(|event| event.kind).collect()
}
