//! One branch: its changes together, whatever their codebase.

use capstan_sdk::scheduler::Change;
use capstan_sdk::test::{Host, change};
use serde_json::json;

use super::*;

fn span(text: &str) -> Span {
    Span::parse(text).unwrap()
}

fn of(branch: &str, codebase: &str, revision: &str) -> Change {
    Change {
        branch: Some(branch.to_owned()),
        codebase: codebase.to_owned(),
        files: vec!["src/a.c".to_owned()],
        ..change(revision)
    }
}

#[test]
fn changes_of_all_codebases_become_one_build_once_the_branch_is_quiet() {
    let parameters = json!({
        "branch": "main", "tree_stable_timer": "5min",
        "sources": [{"codebase": "lib", "branch": "stable"}, {"codebase": "doc", "branch": "main"}],
        "priority": 1,
    });
    let mut timeline = Host::new().scheduler::<Branch>(parameters);
    timeline.change(of("main", "app", "a1"));
    timeline.advance(span("4min"));
    timeline.change(of("main", "lib", "l1"));
    timeline.change(of("wip", "app", "a9"));
    timeline.advance(span("4min"));
    timeline.change(of("main", "app", "a2"));
    timeline.advance(span("4min"));
    assert!(timeline.requests().is_empty(), "the branch is not quiet");
    timeline.advance(span("1min"));
    let [request] = timeline.requests() else {
        panic!("expected one request, found {:?}", timeline.requests())
    };
    let mut sources: Vec<_> = request
        .buildset
        .sources
        .iter()
        .map(|s| format!("{}@{}", s.codebase, s.revision.as_deref().unwrap_or("-")))
        .collect();
    sources.sort();
    assert_eq!(sources, ["app@a2", "doc@-", "lib@l1"]);
    assert_eq!(request.buildset.changes, [1, 2, 4]);
    assert_eq!(request.buildset.reason, "3 changes on branch main");
    assert!(timeline.timers().is_empty());
}

#[test]
fn an_unimportant_change_starts_no_timer_but_begins_a_running_one_anew() {
    let parameters = json!({"branch": "main", "tree_stable_timer": "5min", "exclude_files": "docs/**"});
    let docs = |revision| Change {
        files: vec!["docs/a.md".to_owned()],
        ..of("main", "", revision)
    };
    let mut timeline = Host::new().scheduler::<Branch>(parameters);
    timeline.change(docs("r1"));
    timeline.advance(span("1h"));
    assert!(timeline.requests().is_empty());
    timeline.change(of("main", "", "r2"));
    timeline.advance(span("4min"));
    timeline.change(docs("r3"));
    timeline.advance(span("4min"));
    assert!(timeline.requests().is_empty(), "the tree is not stable");
    timeline.advance(span("1min"));
    assert_eq!(timeline.requests()[0].buildset.changes, [1, 2, 3]);
}

#[test]
fn without_a_timer_each_change_is_built() {
    let mut timeline = Host::new().scheduler::<Branch>(json!({"branch": "main", "authors": {"not": "~Bot"}}));
    timeline.change(of("main", "", "r1"));
    timeline.change(Change {
        author: "Bot".to_owned(),
        ..of("main", "", "r2")
    });
    timeline.change(of("main", "", "r3"));
    let built: Vec<_> = timeline
        .requests()
        .iter()
        .map(|r| r.buildset.changes.clone())
        .collect();
    assert_eq!(built, [[1], [3]]);
    let problems = Host::new().check_scheduler::<Branch>(json!({"branch": "main", "files": "~a("}));
    assert_eq!(problems[0].path, "files");
}

/// The state is stored with every event, and is bounded: names of branches of other codebases count too.
#[test]
fn what_waits_is_bounded_by_its_bytes() {
    let branch = "b".repeat(4_000);
    let parameters = json!({"branch": branch, "tree_stable_timer": "5min"});
    let mut timeline = Host::new().scheduler::<Branch>(parameters);
    for number in 0..150 {
        timeline.change(of(&branch, &format!("lib{number}"), "r1"));
    }
    let [request] = timeline.requests() else {
        panic!("expected one early request, found {}", timeline.requests().len())
    };
    assert!(
        request.buildset.sources.len() < 120,
        "{}",
        request.buildset.sources.len()
    );
}
