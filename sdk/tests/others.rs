//! What authors of schedulers, change sources and reporters are promised by the scripted host.

use std::cell::Cell;
use std::collections::BTreeMap;

use capstan_sdk::change_source::git::{self, GitError};
use capstan_sdk::prelude::*;
use capstan_sdk::reporter::http::{self, HttpError, Request};
use capstan_sdk::reporter::{mail, report_files, state};
use capstan_sdk::test::{Answers, Facts, Host, Repository, change};

/// Builds a branch once it was quiet for a while.
#[parameters]
struct Quiet {
    wait: Span,
}

#[remembered]
#[derive(Default)]
struct Waiting {
    branches: BTreeMap<String, i64>,
}

impl Scheduler for Quiet {
    type State = Waiting;

    fn handle(&self, state: &mut Waiting, now: TimestampMs, event: Event) -> Result<Answer, PluginError> {
        let mut answer = Answer::default();
        match event {
            Event::Change(change) => {
                let branch = change.branch.unwrap_or_default();
                if branch == "cursed" {
                    return Err(PluginError::Permanent("cursed".to_owned()));
                }
                state.branches.insert(branch.clone(), change.id);
                let at = now.saturating_add_unsigned(self.wait.ms());
                answer.set_timers.push(Timer { name: branch, at });
            }
            Event::Timer(branch) => {
                let changes = state.branches.remove(&branch).into_iter().collect();
                answer.submit.push(Buildset {
                    builders: None,
                    sources: Vec::new(),
                    priority: 0,
                    reason: branch,
                    properties: Vec::new(),
                    changes,
                });
            }
            Event::Finished(finished) => answer.clear_timers.push(finished.builder),
            Event::Started => {}
        }
        Ok(answer)
    }
}

impl Migrate for Quiet {
    fn migrate(&self, from_version: &str, old: Vec<u8>) -> Result<Vec<u8>, PluginError> {
        match from_version {
            // It kept a list of branches.
            "0.1.0" => {
                let old: Vec<String> = serde_json::from_slice(&old)
                    .map_err(|error| PluginError::Permanent(error.to_string()))?;
                let branches: BTreeMap<_, _> = old.into_iter().map(|branch| (branch, 0)).collect();
                Ok(json!({ "branches": branches }).to_string().into_bytes())
            }
            other => Err(PluginError::Permanent(format!("unknown version {other}"))),
        }
    }
}

capstan_sdk::scheduler!(Quiet, migrate);

#[test]
fn an_older_versions_state_is_translated() {
    let migrate = |from| Host::new().migrate::<Quiet>(json!({ "wait": 1 }), from, &json!(["main"]));
    assert_eq!(migrate("0.1.0"), Ok(json!({ "branches": { "main": 0 } })));
    assert!(migrate("9.9.9").is_err());
    let state = Waiting {
        branches: BTreeMap::from([("main".to_owned(), 7)]),
    };
    let mut timeline = Host::new()
        .scheduler::<Quiet>(json!({ "wait": 1 }))
        .with_state(&state);
    timeline.handle(Event::Timer("main".to_owned())).unwrap();
    assert_eq!(timeline.requests()[0].buildset.changes, [7]);
}

/// One that remembers outside its state.
#[parameters]
struct Leaky {}

thread_local! {
    static CALLS: Cell<i32> = const { Cell::new(0) };
}

impl Scheduler for Leaky {
    type State = Waiting;

    fn handle(&self, _: &mut Waiting, _: TimestampMs, _: Event) -> Result<Answer, PluginError> {
        CALLS.set(CALLS.get() + 1);
        let clear_timers = vec![CALLS.get().to_string()];
        Ok(Answer {
            clear_timers,
            ..Answer::default()
        })
    }
}

#[test]
fn timers_fire_by_themselves_at_their_time() {
    let mut timeline = Host::new().now(0).scheduler::<Quiet>(json!({ "wait": "10s" }));
    timeline.started();
    timeline.change(change("a1"));
    timeline.advance(Span::from_secs(5));
    timeline.change(change("a2"));
    assert_eq!(timeline.timers()["main"], 15_000);
    timeline.advance(Span::from_secs(9));
    assert!(
        timeline.requests().is_empty(),
        "the second change starts the time anew"
    );
    timeline.advance(Span::from_secs(100));
    let requests = timeline.requests();
    assert_eq!((requests.len(), requests[0].at), (1, 15_000));
    assert_eq!(requests[0].buildset.changes, [2]);
    assert!(timeline.timers().is_empty() && timeline.state().branches.is_empty());
    assert_eq!(timeline.now(), 114_000);
}

#[test]
fn a_failed_event_changes_nothing() {
    let mut timeline = Host::new().scheduler::<Quiet>(json!({ "wait": 1 }));
    timeline.change(change("a1"));
    let cursed = Event::Change(Change {
        branch: Some("cursed".to_owned()),
        ..change("a2")
    });
    assert_eq!(
        timeline.handle(cursed),
        Err(PluginError::Permanent("cursed".to_owned()))
    );
    assert_eq!(timeline.timers().len(), 1);
    assert_eq!(timeline.state().branches["main"], 1);
}

#[test]
#[should_panic(expected = "the scheduler does not repeat itself: Event::Started")]
fn a_scheduler_that_remembers_outside_its_state_is_caught() {
    Host::new().scheduler::<Leaky>(json!({})).started();
}

/// Reports each new commit of a branch.
#[parameters]
struct Watch {
    repository: String,
}

impl ChangeSource for Watch {
    type Cursor = String;

    fn poll(&self, cursor: Option<String>) -> Result<Poll<String>, PluginError> {
        let fail = |error: GitError| PluginError::Transient(format!("{error:?}"));
        let heads = git::fetch(&self.repository).map_err(fail)?;
        let head = heads
            .first()
            .map(|head| head.revision.clone())
            .unwrap_or_default();
        let since: Vec<String> = cursor.into_iter().collect();
        let commits = git::commits(&self.repository, &since, &head, 10).map_err(fail)?;
        let change = |commit: git::Commit| NewChange {
            dedup_key: commit.revision.clone(),
            codebase: String::new(),
            repository: self.repository.clone(),
            project: String::new(),
            branch: None,
            revision: commit.revision,
            author: commit.author,
            comments: commit.comments,
            files: commit.files,
            category: None,
            when: commit.when_ms,
            properties: Vec::new(),
        };
        Ok(Poll {
            cursor: head,
            changes: commits.into_iter().map(change).collect(),
            poll_again: Span::from_secs(60),
        })
    }
}

#[test]
fn a_change_source_sees_the_repository_as_it_is_now_and_keeps_its_cursor() {
    let url = "https://git.example.org/a";
    let repository = Repository::new().commit("c1").branch("main", "c1");
    let host = Host::new().git(url, repository.clone());
    let mut polls = host.change_source::<Watch>(json!({ "repository": url }));
    assert_eq!(polls.poll().unwrap().revisions(), ["c1"]);
    polls.host = Host::new().git(url, repository.clone().unavailable("no route"));
    assert!(polls.poll().is_err(), "a failure keeps the cursor");
    polls.host = Host::new().git(url, repository.commit("c2").commit("c3").branch("main", "c3"));
    let found = polls.poll().unwrap();
    assert_eq!(found.revisions(), ["c2", "c3"]);
    assert_eq!(found.poll_again_ms, 60_000);
    found.assert_calls(&["git.fetch https://git.example.org/a", "git.commits * c3"]);
}

/// Tells in every way there is.
#[parameters]
struct Loud {
    url: String,
}

impl Reporter for Loud {
    fn deliver(&self, report: &Report) -> Result<(), PluginError> {
        let fail = |error: HttpError| PluginError::Transient(format!("{error:?}"));
        let request = Request {
            method: "POST".to_owned(),
            url: self.url.clone(),
            headers: Vec::new(),
            secret_headers: Vec::new(),
            body: report.to_json().into_bytes(),
            timeout_ms: 1000,
        };
        let answer = http::fetch(&request).map_err(fail)?;
        if answer.status >= 500 {
            return Err(PluginError::Transient(format!("status {}", answer.status)));
        }
        let before = state::get("last").ok().flatten().unwrap_or_default();
        let told = format!("{} after {}", report.builder(), String::from_utf8_lossy(&before));
        report_files::append_line("told", &told)
            .map_err(|error| PluginError::Permanent(format!("{error:?}")))?;
        state::set("last", report.builder().as_bytes())
            .map_err(|error| PluginError::Permanent(format!("{error:?}")))?;
        let message = mail::Message::new();
        message.add_to("ann@example.org");
        message.set_subject(&told);
        mail::send(&message).map_err(|error| PluginError::Permanent(format!("{error:?}")))
    }
}

#[test]
fn a_reporter_meets_servers_files_memory_and_mail() {
    let host = Host::new()
        .http("POST *", Answers::status(503).times(1))
        .http("POST https://chat.example.org/*", Answers::status(200));
    let mut deliveries = host.reporter::<Loud>(json!({ "url": "https://chat.example.org/hook" }));
    let first = deliveries.deliver(Facts::default());
    assert_eq!(first.result, Err(PluginError::Transient("status 503".to_owned())));
    for builder in ["a", "b"] {
        let facts = Facts {
            builder: builder.to_owned(),
            ..Facts::default()
        };
        let delivered = deliveries.deliver(facts);
        delivered.result.as_ref().unwrap();
        delivered.assert_calls(&[
            "http.fetch POST *",
            "state.get last",
            "report-files.append-line told",
            "...",
            "mail.send *",
        ]);
        assert_eq!(delivered.calls[0].asked["json"]["builder"], builder);
        assert_eq!(delivered.calls[0].asked["json"]["outcome"], "success");
    }
    assert_eq!(deliveries.files()["told"], "a after \nb after a\n");
    assert_eq!(deliveries.mails()[1].subject, "b after a");
    assert_eq!(deliveries.state()["last"], b"b");
}
