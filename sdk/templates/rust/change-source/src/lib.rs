//! The change source `{{name}}`: asks a server which version is the newest, and reports each new one.

use capstan_sdk::http::{self, HttpError};
use capstan_sdk::prelude::*;

/// The parameters.
#[parameters]
struct Plugin {
    /// What answers with JSON, `{"version": "1.2.3"}`.
    url: String,
    /// How often to ask.
    #[serde(default = "five_minutes")]
    interval: Span,
}

fn five_minutes() -> Span {
    Span::from_secs(300)
}

impl ChangeSource for Plugin {
    /// The version that was reported last.
    type Cursor = String;

    fn poll(&self, last: Option<String>) -> Result<Poll<String>, PluginError> {
        let version = self.version()?;
        let news = last.as_ref() != Some(&version);
        Ok(Poll {
            changes: if news {
                vec![self.change(&version)]
            } else {
                Vec::new()
            },
            cursor: version,
            poll_again: self.interval,
        })
    }
}

impl Plugin {
    fn version(&self) -> Result<String, PluginError> {
        let answer = http::get(&self.url).send().map_err(|error| match error {
            HttpError::Denied(reason) => PluginError::Permanent(reason),
            error => PluginError::Transient(format!("{error:?}")),
        })?;
        let answer: Value = capstan_sdk::serde_json::from_slice(&answer.body).unwrap_or_default();
        let version = answer["version"].as_str().map(str::to_owned);
        version.ok_or_else(|| PluginError::Transient("expected a version, found none".to_owned()))
    }

    fn change(&self, version: &str) -> NewChange {
        NewChange {
            // The same key is the same change: it is reported once.
            dedup_key: version.to_owned(),
            codebase: String::new(),
            repository: self.url.clone(),
            project: String::new(),
            branch: None,
            revision: version.to_owned(),
            author: String::new(),
            comments: format!("version {version}"),
            files: Vec::new(),
            category: None,
            when: 0,
            properties: Vec::new(),
        }
    }
}

capstan_sdk::change_source!(Plugin);

#[cfg(test)]
mod tests {
    use super::*;
    use capstan_sdk::test::{Answers, Host};

    #[test]
    fn a_version_is_reported_once() {
        let host = Host::new().http("GET *", Answers::json(&json!({ "version": "1.2.3" })));
        let mut source =
            host.change_source::<Plugin>(json!({ "url": "https://example.org/newest" }));
        assert_eq!(
            source.poll().expect("an answer").changes[0].revision,
            "1.2.3"
        );
        assert!(source.poll().expect("an answer").changes.is_empty());
    }
}
