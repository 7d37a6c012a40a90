//! The whole server over a real store and real logs; only what changes the farm is recorded instead of done.

use std::sync::Mutex;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use capstan_logs::{Artefacts, Options as LogOptions};
use capstan_master::{
    About, Force, Forced, Forecast, Invitation, PluginStatus, Progress, QueuePage, Queued, Reloaded, Why,
    WorkerStatus,
};
use capstan_model::plan::Plan;
use capstan_model::{
    BuildId, BuildsetId, CallId, Channel, LogId, OutboxId, RequestId, SourceStamp, StepId, Timestamp,
};
use capstan_store::{Cancelled, NewBuild, NewBuildset, NewStep, Options as StoreOptions};
use capstan_wire::frame;
use futures::{FutureExt, StreamExt};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::control::Answer;

mod artefacts;
mod audit;
mod changes;
mod control;
mod log;
mod operation;
mod pages;
mod people;
mod replay;
mod reports;
mod rest;
mod schedulers;
mod streams;

const TOKEN: &str = "correct-horse";
const NOW: Timestamp = Timestamp(1_795_261_987_000);

/// Records what it is asked.
struct Recorder {
    plan: Arc<Plan>,
    workers: Mutex<Vec<WorkerStatus>>,
    plugins: Mutex<Vec<PluginStatus>>,
    /// Why the first requests of the queue wait; the others are next.
    why: Mutex<Vec<Why>>,
    store: Store,
    /// What the next reload answers; it is a fault of the code if nobody said so.
    reload: Mutex<Option<Result<Reloaded, Error>>>,
    asked: Mutex<Vec<String>>,
}

/// What comes of every wish for a build.
fn forced() -> Forced {
    Forced {
        buildset: BuildsetId(5),
        requests: vec![RequestId(6)],
    }
}

impl Recorder {
    fn note(&self, what: String) {
        self.asked.lock().unwrap().push(what);
    }
}

impl Recorder {
    /// What waits, each for the next of the reasons that the test gave.
    async fn queued(&self) -> Result<Vec<Queued>, Error> {
        let why = self.why.lock().unwrap().clone();
        let mut why = why.into_iter().chain(std::iter::repeat(Why::Next));
        let mut entries = self.store.queue_entries().await?;
        entries.sort_by_key(|entry| (std::cmp::Reverse(entry.priority), entry.id));
        let queued = entries.into_iter().zip(1..).map(|(entry, place)| Queued {
            entry,
            place,
            why: why.next().unwrap(),
        });
        Ok(queued.collect())
    }
}

impl Control for Recorder {
    fn plan(&self) -> Arc<Plan> {
        self.plan.clone()
    }

    fn about(&self) -> About {
        let (title, url) = ("A <farm>".to_owned(), "https://ci.example.org".to_owned());
        About {
            title,
            url,
            version: "0.1.0".to_owned(),
            epoch: 3,
            started: NOW,
        }
    }

    fn now(&self) -> Timestamp {
        NOW
    }

    fn plugins(&self) -> Vec<PluginStatus> {
        self.plugins.lock().unwrap().clone()
    }

    fn workers(&self) -> Answer<'_, Vec<WorkerStatus>> {
        async { Ok(self.workers.lock().unwrap().clone()) }.boxed()
    }

    fn locks(&self) -> Vec<capstan_master::LockStatus> {
        vec![capstan_master::LockStatus {
            lock: "database".to_owned(),
            scope: capstan_model::Scope::Farm,
            worker: None,
            limit: Some(3),
            used: 2,
            exclusive: false,
            holders: vec![capstan_master::Holder::build(BuildId(7), "linux", 3).step("test")],
            waiting: vec![capstan_master::Holder::request(RequestId(9), "mac")],
            waiters: 1,
        }]
    }

    fn queue<'a>(&'a self, builder: Option<&'a str>, limit: usize) -> Answer<'a, QueuePage> {
        async move {
            let mut all = self.queued().await?;
            all.retain(|queued| builder.is_none_or(|name| *name == *queued.entry.builder));
            let total = all.len();
            all.truncate(limit);
            Ok(QueuePage { total, first: all })
        }
        .boxed()
    }

    fn why<'a>(&'a self, requests: &'a [RequestId]) -> Answer<'a, Vec<Queued>> {
        async move {
            let mut all = self.queued().await?;
            all.retain(|queued| requests.contains(&queued.entry.id));
            Ok(all)
        }
        .boxed()
    }

    fn force<'a>(&'a self, builder: &'a str, force: Force) -> Answer<'a, Forced> {
        if let Err(refused) = force.check() {
            return async { Err(refused.into()) }.boxed();
        }
        self.note(format!(
            "force {builder} {}",
            serde_json::to_string(&force).unwrap()
        ));
        async { Ok(forced()) }.boxed()
    }

    fn send_change(&self, change: capstan_master::SentChange) -> Answer<'_, (capstan_model::Change, bool)> {
        self.note(format!("send {change:?}"));
        changes::answer(change)
    }

    fn schedulers(&self) -> Answer<'_, Vec<capstan_master::SchedulerStatus>> {
        async { Ok(schedulers::statuses(&self.plan)) }.boxed()
    }

    fn describe_scheduler<'a>(&'a self, name: &'a str, values: &'a Value) -> Answer<'a, Value> {
        async move { schedulers::form(name, values) }.boxed()
    }

    fn call_scheduler<'a>(
        &'a self,
        name: &'a str,
        key: Option<&'a str>,
        call: Value,
    ) -> Answer<'a, capstan_master::Called> {
        self.note(format!("call {name} {key:?} {call}"));
        async move { schedulers::answer(&call) }.boxed()
    }

    fn scheduler_call<'a>(&'a self, _: &'a str, id: CallId) -> Answer<'a, capstan_master::Called> {
        async move { Ok(capstan_master::Called { id, made: None }) }.boxed()
    }

    fn enable_scheduler<'a>(&'a self, name: &'a str, enabled: bool) -> Answer<'a, bool> {
        self.note(format!("enable {name} {enabled}"));
        async { Ok(true) }.boxed()
    }

    fn stop<'a>(&'a self, build: BuildId, reason: &'a str) -> Answer<'a, ()> {
        self.note(format!("stop {build} {reason}"));
        let ended = capstan_master::Error::Conflict(format!("build {build} has ended already"));
        async { Err(ended.into()) }.boxed()
    }

    fn cancel<'a>(&'a self, request: RequestId, reason: &'a str) -> Answer<'a, ()> {
        self.note(format!("cancel {request} {reason}"));
        async { Ok(()) }.boxed()
    }

    fn rebuild<'a>(&'a self, build: BuildId, reason: Option<&'a str>) -> Answer<'a, Forced> {
        self.note(format!("rebuild {build} {reason:?}"));
        async { Ok(forced()) }.boxed()
    }

    fn rebuild_buildset<'a>(
        &'a self,
        buildset: BuildsetId,
        only_failed: bool,
        reason: Option<&'a str>,
    ) -> Answer<'a, Forced> {
        self.note(format!("rebuild set {buildset} {only_failed} {reason:?}"));
        async { Ok(forced()) }.boxed()
    }

    fn cancel_buildset<'a>(&'a self, buildset: BuildsetId, reason: &'a str) -> Answer<'a, Cancelled> {
        self.note(format!("cancel set {buildset} {reason}"));
        async move {
            let cancelled = self.store.cancel_buildset(buildset, reason, NOW).await?;
            cancelled.ok_or_else(|| Error::not_found("buildset", buildset))
        }
        .boxed()
    }

    fn retry_report(&self, report: OutboxId) -> Answer<'_, ()> {
        self.note(format!("retry {report}"));
        async { Ok(()) }.boxed()
    }

    fn retry_reports(&self) -> Answer<'_, u64> {
        async { Ok(self.store.requeue_reports(NOW).await?) }.boxed()
    }

    fn reload(&self) -> Answer<'_, Reloaded> {
        let answer = self.reload.lock().unwrap().take();
        async { answer.expect("a reload that breaks the master's code") }.boxed()
    }

    fn retention(&self) -> Answer<'_, Forecast> {
        async { Err(Error::invalid("no rules here")) }.boxed()
    }

    fn retention_progress(&self) -> Progress {
        Progress::default()
    }

    fn run_retention(&self) -> u64 {
        self.note("run retention".to_owned());
        1
    }

    fn keep<'a>(&'a self, build: BuildId, reason: Option<&'a str>) -> Answer<'a, ()> {
        self.note(format!("keep {build} {reason:?}"));
        async { Ok(()) }.boxed()
    }

    fn invite<'a>(&'a self, worker: &'a str, ttl_ms: u64) -> Answer<'a, Invitation> {
        self.note(format!("invite {worker} {ttl_ms}"));
        async {
            Ok(Invitation {
                join: "capstan-join-x".to_owned(),
                expires: NOW,
            })
        }
        .boxed()
    }

    fn pause<'a>(&'a self, worker: &'a str, reason: Option<&'a str>) -> Answer<'a, ()> {
        self.note(format!("pause {worker} {reason:?}"));
        async { Ok(()) }.boxed()
    }

    fn revoke<'a>(&'a self, worker: &'a str) -> Answer<'a, ()> {
        self.note(format!("revoke {worker}"));
        async { Ok(()) }.boxed()
    }
}

struct Site {
    _folder: tempfile::TempDir,
    store: Store,
    logs: Logs,
    artefacts: Artefacts,
    control: Arc<Recorder>,
    shutdown: CancellationToken,
    listen: SocketAddr,
}

impl Site {
    async fn new() -> Self {
        Self::with(&[]).await
    }

    /// Whose plan has these builders.
    async fn with(builders: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("farm.db").display());
        let store = Store::open(&StoreOptions::new(url), NOW).await.unwrap();
        let logs = LogOptions {
            sync: false,
            ..LogOptions::default()
        };
        let logs = Logs::open(folder.path().join("logs"), logs).unwrap();
        let artefacts = Artefacts::at(folder.path().join("artefacts")).unwrap();
        let plan = Plan {
            builders: builders.iter().map(|name| builder(name)).collect(),
            ..Plan::default()
        };
        let control = Arc::new(Recorder {
            plan: Arc::new(plan),
            workers: Mutex::default(),
            plugins: Mutex::default(),
            why: Mutex::default(),
            store: store.clone(),
            reload: Mutex::default(),
            asked: Mutex::default(),
        });
        let listen = "127.0.0.1:8010".parse().unwrap();
        Self {
            _folder: folder,
            store,
            logs,
            artefacts,
            control,
            shutdown: CancellationToken::new(),
            listen,
        }
    }

    fn router(&self) -> Router {
        let control: Arc<dyn Control> = self.control.clone();
        let shutdown = self.shutdown.clone();
        serve(App::new(
            self.store.clone(),
            (self.logs.clone(), self.artefacts.clone()),
            control,
            TOKEN,
            self.listen,
            shutdown,
        ))
    }

    async fn send(&self, request: Request<Body>) -> Response {
        self.router().oneshot(request).await.unwrap()
    }

    async fn get(&self, path: &str) -> Response {
        self.send(request("GET", path).body(Body::empty()).unwrap()).await
    }

    async fn json(&self, path: &str) -> Value {
        let response = self.get(path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        serde_json::from_str(&text(response).await).unwrap()
    }

    async fn page(&self, path: &str) -> String {
        let response = self.get(path).await;
        assert_eq!(
            response.headers()[header::CONTENT_TYPE],
            "text/html; charset=utf-8"
        );
        text(response).await
    }

    /// A POST with the token.
    async fn post(&self, path: &str, body: &Value) -> Response {
        let request = request("POST", path)
            .header(header::AUTHORIZATION, format!("Bearer {TOKEN}"))
            .header(header::CONTENT_TYPE, "application/json");
        self.send(request.body(Body::from(body.to_string())).unwrap())
            .await
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.control.asked.lock().unwrap())
    }

    /// A build of `builder` with one step that has one open log.
    async fn build(&self, builder: &str, reason: &str) -> (BuildId, StepId, LogId) {
        let source = SourceStamp {
            branch: Some("main".to_owned()),
            ..SourceStamp::default()
        };
        let set = NewBuildset {
            reason: reason.to_owned(),
            sources: vec![source.clone()],
            builders: vec![builder.to_owned()],
            ..NewBuildset::default()
        };
        self.store.upsert_worker("w1", NOW).await.unwrap();
        self.store
            .put_plan(self.control.plan.bundle.clone(), NOW)
            .await
            .unwrap();
        let submitted = self.store.submit(set, NOW).await.unwrap();
        let mut properties = capstan_model::Properties::default();
        properties.set("owner", "<b>ann</b>", "force");
        let step = NewStep {
            name: "compile".to_owned(),
            plugin: "shell".to_owned(),
            digest: Digest::of(b"shell"),
            config: json!({}),
            options: json!({}),
        };
        let new = NewBuild {
            shown: None,
            directory: String::new(),
            locks: Vec::new(),
            builder: builder.to_owned(),
            requests: submitted.requests,
            worker: "w1".to_owned(),
            plan: self.control.plan.digest(),
            reason: reason.to_owned(),
            sources: vec![source],
            properties,
            steps: vec![step],
            reports: vec![],
        };
        let created = self.store.create_build(new, NOW).await.unwrap().unwrap();
        let step = self.store.steps(created.id).await.unwrap()[0].id;
        let log = self.store.open_log(step, "stdio", NOW).await.unwrap();
        (created.id, step, log)
    }

    async fn print(&self, log: LogId, text: &str) {
        let mut bytes = Vec::new();
        frame::encode(&mut bytes, 7, Channel::Stdout, text.as_bytes());
        let mut writer = self.logs.writer(log).await.unwrap();
        writer.append(writer.length(), Bytes::from(bytes)).await.unwrap();
    }
}

fn builder(name: &str) -> capstan_model::plan::Builder {
    capstan_model::plan::Builder {
        name: name.to_owned(),
        description: String::new(),
        project: String::new(),
        tags: vec![],
        directory: None,
        workers: vec![],
        labels: vec![],
        env: Default::default(),
        properties: Default::default(),
        defaults: Default::default(),
        virtual_builder: std::collections::BTreeMap::new(),
        collapse: true,
        queueing: capstan_model::plan::Queueing::default(),
        cancel_older: false,
        locks: capstan_model::plan::LockList::default(),
        steps: vec![],
        location: Default::default(),
    }
}

fn request(method: &str, path: &str) -> axum::http::request::Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "127.0.0.1:8010")
}

async fn text(response: Response) -> String {
    let bytes = axum::body::to_bytes(response.into_body(), 16 * 1024 * 1024)
        .await
        .unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}
