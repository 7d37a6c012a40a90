//! What a page complains about: errors of scripts, violations of the content security policy, resources that did not load.

use std::fmt;

use serde_json::Value;

/// One entry of the browser's log that a good page does not cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// Who complains: `javascript`, `security`, `network`, `console-api` …
    pub source: String,
    /// What about.
    pub text: String,
}

impl Complaint {
    /// The complaints among the entries of the browser's log.
    pub(crate) fn among(log: &Value) -> Vec<Self> {
        let entries = log.as_array().into_iter().flatten();
        entries
            .filter(|entry| matches!(entry["level"].as_str(), Some("SEVERE" | "WARNING")))
            .map(|entry| Self {
                source: entry["source"].as_str().unwrap_or_default().to_owned(),
                text: entry["message"].as_str().unwrap_or_default().to_owned(),
            })
            .collect()
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.source, self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_page_merely_says_is_no_complaint() {
        let log = serde_json::json!([
            { "level": "INFO", "source": "console-api", "message": "hello" },
            { "level": "SEVERE", "source": "security", "message": "Refused to run" },
        ]);
        let found: Vec<_> = Complaint::among(&log).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["security: Refused to run"]);
    }
}
