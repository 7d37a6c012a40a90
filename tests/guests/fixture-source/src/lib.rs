//! A change source that reports the tips of a repository's branches: `{"repository": URL}`, with `{"url": URL}` also what
//! an HTTP server answers, with `{"hold": MIB}` while it holds so much memory. What it is refused becomes its error.

use serde_json::Value;

wit_bindgen::generate!({ path: "../../../wit", world: "change-source-plugin" });

use capstan::plugin::types::{PluginError, Property};
use capstan::plugin::{git, http, log};
use exports::capstan::plugin::change_source::{Guest, NewChange, PollResult};

struct Fixture;
export!(Fixture);

impl Guest for Fixture {
    fn check(config: String) -> Result<(), PluginError> {
        let config = parse(&config)?;
        if config["in_check"] == "fetch" {
            let _ = git::fetch("https://git.example.org/a");
        }
        Ok(())
    }

    fn poll(config: String, cursor: Vec<u8>) -> Result<PollResult, PluginError> {
        let config = parse(&config)?;
        let mut changes = Vec::new();
        let held = vec![1_u8; config["hold"].as_u64().unwrap_or_default() as usize * (1 << 20)];
        std::hint::black_box(&held);
        if let Some(url) = config["url"].as_str() {
            changes.push(change(url, "index", &ask(url)?));
        }
        if let Some(repository) = config["repository"].as_str() {
            for reference in git::fetch(repository).map_err(refused)? {
                let since = config["since"].as_str().map(String::from);
                let since: Vec<_> = since.into_iter().collect();
                for commit in git::commits(repository, &since, &reference.name, 10).map_err(refused)? {
                    changes.push(change(repository, &reference.name, &commit.revision));
                }
            }
        }
        log::write(log::Level::Info, "polled");
        Ok(PollResult {
            cursor: [cursor, vec![1]].concat(),
            changes,
            poll_again_ms: 60_000,
        })
    }
}

fn ask(url: &str) -> Result<String, PluginError> {
    let request = http::Request {
        method: "GET".into(),
        url: url.into(),
        headers: Vec::new(),
        secret_headers: Vec::new(),
        body: Vec::new(),
        timeout_ms: 1000,
    };
    let answer = http::fetch(&request).map_err(|error| PluginError::Permanent(format!("{error:?}")))?;
    Ok(String::from_utf8_lossy(&answer.body).into_owned())
}

fn change(repository: &str, branch: &str, revision: &str) -> NewChange {
    NewChange {
        dedup_key: format!("{branch}@{revision}"),
        codebase: String::new(),
        repository: repository.into(),
        project: "fixture".into(),
        branch: Some(branch.into()),
        revision: revision.into(),
        author: "A <a@example.org>".into(),
        comments: String::new(),
        files: vec!["a.c".into()],
        category: None,
        when: 7,
        properties: vec![Property {
            name: "n".into(),
            value: "1".into(),
            source: "fixture".into(),
        }],
    }
}

fn refused(error: git::GitError) -> PluginError {
    match error {
        git::GitError::Unavailable(text) => PluginError::Transient(text),
        other => PluginError::Permanent(format!("{other:?}")),
    }
}

fn parse(config: &str) -> Result<Value, PluginError> {
    serde_json::from_str(config).map_err(|error| PluginError::Permanent(error.to_string()))
}
