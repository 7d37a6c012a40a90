//! The poller on a made-up repository, whose commits are letters and whose branches are words.

use super::*;

/// `main: a b c` is a branch whose commits, along first parents, are a, b and c.
struct Story(BTreeMap<String, Vec<String>>);

impl Story {
    fn new(lines: &[&str]) -> Self {
        let branch = |line: &&str| {
            let (name, commits) = line.split_once(": ").unwrap();
            (name.to_owned(), commits.split(' ').map(str::to_owned).collect())
        };
        Self(lines.iter().map(branch).collect())
    }
}

impl Repository for Story {
    fn heads(&self) -> Result<BTreeMap<String, String>, PluginError> {
        Ok(self
            .0
            .iter()
            .map(|(name, commits)| (name.clone(), commits.last().unwrap().clone()))
            .collect())
    }

    fn commits(&self, since: &[String], until: &str, limit: u32) -> Result<Vec<Commit>, PluginError> {
        let reach = |revision: &str| {
            let line = self
                .0
                .values()
                .find(|commits| commits.iter().any(|c| c == revision));
            let gone = || PluginError::Transient(format!("{revision} means nothing"));
            let line = line.ok_or_else(gone)?;
            let place = line.iter().position(|c| c == revision).unwrap_or_default();
            Ok::<_, PluginError>(line[..=place].to_vec())
        };
        let mut found = reach(until)?;
        for revision in since {
            let old = reach(revision)?;
            found.retain(|commit| !old.contains(commit));
        }
        let skip = found.len().saturating_sub(limit as usize);
        Ok(found.into_iter().skip(skip).map(commit).collect())
    }
}

fn commit(revision: String) -> Commit {
    Commit {
        parents: Vec::new(),
        author: "Ada <ada@example.org>".into(),
        when_ms: 5,
        comments: format!("make {revision}"),
        files: vec!["a.rs".into()],
        revision,
    }
}

fn poller(json: &str) -> GitPoller {
    let poller: GitPoller = serde_json::from_str(json).unwrap();
    poller.check().unwrap();
    poller
}

/// Looks once at each story; what each look found.
fn looks(poller: &GitPoller, stories: &[&[&str]]) -> Vec<String> {
    let mut cursor = None;
    let look = |lines: &&[&str]| {
        let poll = poller.look(&Story::new(lines), cursor.take()).unwrap();
        // As the master stores it.
        cursor = Some(serde_json::from_slice(&serde_json::to_vec(&poll.cursor).unwrap()).unwrap());
        let keys: Vec<_> = poll
            .changes
            .iter()
            .map(|change| change.dedup_key.clone())
            .collect();
        keys.join(" ")
    };
    stories.iter().map(look).collect()
}

const PLAIN: &str = r#"{"repository": "https://git.example/p.git"}"#;

#[test]
fn only_what_comes_after_the_first_look_is_a_change() {
    let found = looks(
        &poller(PLAIN),
        &[
            &["main: a b"],
            &["main: a b"],
            &["main: a b c d"],
            &["main: a b c d"],
        ],
    );
    assert_eq!(found, ["", "", "main@c main@d", ""]);
    let eager = poller(r#"{"repository": "https://git.example/p.git", "announce_existing": true}"#);
    assert_eq!(
        looks(&eager, &[&["main: a b", "x: a"], &["main: a b c", "x: a"]]),
        ["main@b x@a", "main@c"]
    );
}

#[test]
fn a_new_branch_is_a_change_of_its_head_alone() {
    let found = looks(
        &poller(PLAIN),
        &[
            &["main: a b"],
            &["main: a b", "topic: a b c d"],
            &["main: a b", "topic: a b c d"],
        ],
    );
    assert_eq!(found, ["", "topic@d", ""]);
}

#[test]
fn a_branch_may_be_set_back_or_rewritten_or_vanish() {
    let stories: &[&[&str]] = &[
        &["main: a b c"],
        &["main: a b"],
        &["main: a x y"],
        &["other: a"],
        &["main: a x y", "other: a"],
    ];
    // Set back: the head. Rewritten, with the old head gone: the head. Gone and back: a new branch.
    assert_eq!(
        looks(&poller(PLAIN), stories),
        ["", "main@b", "main@y", "other@a", "main@y"]
    );
    // Rewritten while another branch still has the old head: all that is new.
    let kept: &[&[&str]] = &[&["main: a b", "old: a b"], &["main: a x y", "old: a b"]];
    assert_eq!(looks(&poller(PLAIN), kept), ["", "main@x main@y"]);
}

#[test]
fn only_some_branches_are_watched() {
    let poller =
        poller(r#"{"repository": "r", "branches": ["main", "release/*"], "announce_existing": true}"#);
    assert_eq!(
        looks(&poller, &[&["main: a", "release/1: b", "wip: c"]]),
        ["main@a release/1@b"]
    );
}

#[test]
fn a_tag_is_a_change_of_its_own_where_tags_are_watched() {
    let tagged: &[&[&str]] = &[
        &["main: a b", "refs/tags/v1: a"],
        &[
            "main: a b",
            "refs/tags/v1: a",
            "refs/tags/v2: a b",
            "refs/tags/wip: a",
        ],
        // One that is moved names another commit.
        &["main: a b", "refs/tags/v1: a", "refs/tags/v2: a"],
    ];
    assert_eq!(
        looks(&poller(PLAIN), tagged),
        ["", "", ""],
        "nobody asked for them"
    );
    let poller_of = |more: &str| {
        poller(&format!(
            r#"{{"repository": "https://git.example/p.git", "tags": "v*", "category": "k"{more}}}"#
        ))
    };
    assert_eq!(
        looks(&poller_of(""), tagged),
        ["", "refs/tags/v2@b", "refs/tags/v2@a"]
    );
    let eager = poller_of(r#", "announce_existing": true"#);
    assert_eq!(looks(&eager, tagged)[0], "main@b refs/tags/v1@a");
    // Whoever asks for tags later does not get all that there ever were.
    let before = poller(PLAIN).look(&Story::new(tagged[0]), None).unwrap().cursor;
    let later = poller_of("").look(&Story::new(tagged[0]), Some(before)).unwrap();
    assert!(later.changes.is_empty());
    let found = poller_of("")
        .look(&Story::new(tagged[1]), Some(later.cursor))
        .unwrap()
        .changes
        .remove(0);
    assert_eq!(
        (found.branch.as_deref(), found.category.as_deref()),
        (Some("refs/tags/v2"), Some("tag"))
    );
    assert_eq!(
        (
            found.properties[0].name.as_str(),
            found.properties[0].value.as_str()
        ),
        ("tag", "\"v2\"")
    );
}

#[test]
fn tags_that_a_wider_pattern_finds_are_nothing_new_and_later_ones_are() {
    let poller_of = |tags: &str| poller(&format!(r#"{{"repository": "r", "tags": {tags}}}"#));
    let before: &[&str] = &["refs/tags/old1: a", "refs/tags/v1: a"];
    let narrow = poller_of(r#""v*""#).look(&Story::new(before), None).unwrap();
    let there: &[&str] = &[
        "refs/tags/old1: a",
        "refs/tags/old2: a",
        "refs/tags/v1: a",
        "refs/tags/v2: a b",
    ];
    let keys = |poll: &Poll<Heads>| {
        poll.changes
            .iter()
            .map(|change| change.dedup_key.clone())
            .collect::<Vec<_>>()
    };
    // Those that the narrow pattern would have found are new all the same.
    let wide = poller_of(r#"["v*", "old*"]"#);
    let widened = wide
        .look(&Story::new(there), Some(narrow.cursor.clone()))
        .unwrap();
    assert_eq!(keys(&widened), ["refs/tags/v2@b"]);
    let later: &[&str] = &[
        "refs/tags/old1: a b c",
        "refs/tags/old3: a b",
        "refs/tags/v1: a",
        "refs/tags/v2: a b",
    ];
    let later = wide.look(&Story::new(later), Some(widened.cursor)).unwrap();
    assert_eq!(keys(&later), ["refs/tags/old1@c", "refs/tags/old3@b"]);
    let eager = poller(r#"{"repository": "r", "tags": "*", "announce_existing": true}"#);
    let all = eager.look(&Story::new(before), Some(narrow.cursor)).unwrap();
    assert_eq!(keys(&all), ["refs/tags/old1@a"]);
    // What an earlier version left does not say which tags it looked at.
    let earlier = r#"{"repository": "r", "tags": true, "heads": {"refs/tags/v1": "a"}}"#;
    let found = poller_of(r#""v*""#)
        .look(&Story::new(there), serde_json::from_str(earlier).unwrap())
        .unwrap();
    assert_eq!(keys(&found), ["refs/tags/v2@b"]);
}

#[test]
fn a_large_push_is_cut_to_the_newest_and_many_branches_take_several_looks() {
    let poller = poller(r#"{"repository": "r", "limit": 2, "announce_existing": true}"#);
    assert_eq!(
        looks(&poller, &[&["main: a"], &["main: a b c d e"]]),
        ["main@a", "main@d main@e"]
    );
    let lines: Vec<_> = (0..1500).map(|n| format!("b{n:04}: c{n}")).collect();
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    let first = poller.look(&Story::new(&lines), None).unwrap();
    assert_eq!((first.changes.len(), first.poll_again), (1000, Span::from_ms(1)));
    let second = poller.look(&Story::new(&lines), Some(first.cursor)).unwrap();
    assert_eq!(
        (second.changes.len(), second.poll_again),
        (500, Span::from_secs(60))
    );
}

#[test]
fn too_many_branches_are_refused_with_a_way_out() {
    let lines: Vec<_> = (0..100)
        .map(|n| format!("{n}{}: a", "x".repeat(10_000)))
        .collect();
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    let error = poller(PLAIN).look(&Story::new(&lines), None).unwrap_err();
    assert!(format!("{error:?}").contains("100 branches, more than can be watched; name some in `branches`"));
    let some = poller(r#"{"repository": "r", "branches": "1*"}"#);
    assert!(some.look(&Story::new(&lines), None).is_ok());
}

#[test]
fn heads_of_another_repository_are_forgotten() {
    let first = poller(PLAIN).look(&Story::new(&["main: a"]), None).unwrap();
    let other = poller(r#"{"repository": "https://git.example/q.git"}"#);
    assert!(
        other
            .look(&Story::new(&["main: z"]), Some(first.cursor))
            .unwrap()
            .changes
            .is_empty()
    );
}

#[test]
fn a_change_carries_what_the_configuration_says() {
    let poller = poller(
        r#"{"repository": "/srv/p.git", "worker_repository": "ssh://git.example/p.git", "project": "p", "codebase": "c",
            "category": "k", "announce_existing": true}"#,
    );
    let change = poller
        .look(&Story::new(&["main: a"]), None)
        .unwrap()
        .changes
        .remove(0);
    assert_eq!(change.repository, "ssh://git.example/p.git");
    assert_eq!(
        (
            change.project.as_str(),
            change.codebase.as_str(),
            change.category.as_deref()
        ),
        ("p", "c", Some("k"))
    );
    assert_eq!(
        (change.revision.as_str(), change.branch.as_deref(), change.when),
        ("a", Some("main"), 5)
    );
    assert_eq!(change.author, "Ada <ada@example.org>");
}

#[test]
fn a_repository_that_vanished_may_come_back() {
    assert!(matches!(
        explain(GitError::Unavailable("gone".into())),
        PluginError::Transient(_)
    ));
    assert!(matches!(
        explain(GitError::Denied("no".into())),
        PluginError::Permanent(_)
    ));
    let wrong = [
        "{\"repository\": \"--upload-pack=x\"}",
        "{\"repository\": \"a\\nb\"}",
        "{\"repository\": \"\"}",
    ];
    for json in wrong {
        let poller: GitPoller = serde_json::from_str(json).unwrap();
        assert_eq!(poller.check().unwrap_err()[0].path, "repository", "{json}");
    }
}
