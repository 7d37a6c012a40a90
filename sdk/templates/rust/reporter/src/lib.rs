//! The reporter `{{name}}`: tells a chat about builds that do not succeed.

use capstan_sdk::http::{self, HttpError};
use capstan_sdk::prelude::*;

/// The parameters.
#[parameters]
struct Plugin {
    /// Where the chat takes messages.
    url: String,
}

impl Reporter for Plugin {
    fn deliver(&self, report: &Report) -> Result<(), PluginError> {
        let Some(outcome) = report
            .outcome()
            .filter(|outcome| *outcome != Outcome::Success)
        else {
            return Ok(());
        };
        let text = format!(
            "{} #{}: {outcome} {}",
            report.builder(),
            report.number(),
            report.url()
        );
        let message = http::post_json(&self.url, &json!({ "text": text }));
        match message.and_then(http::Call::send) {
            Ok(answer) if answer.status < 300 => Ok(()),
            // The same report comes again later, with the same delivery id.
            Ok(answer) => Err(PluginError::Transient(format!(
                "the chat answered {}",
                answer.status
            ))),
            Err(HttpError::Denied(reason)) => Err(PluginError::Permanent(reason)),
            Err(error) => Err(PluginError::Transient(format!("{error:?}"))),
        }
    }
}

capstan_sdk::reporter!(Plugin);

#[cfg(test)]
mod tests {
    use super::*;
    use capstan_sdk::test::{Facts, Host};

    #[test]
    fn only_what_did_not_succeed_is_told() {
        let mut chat =
            Host::new().reporter::<Plugin>(json!({ "url": "https://chat.example.org/ci" }));
        chat.deliver(Facts::default()).assert_calls(&[]);
        let failed = Facts {
            outcome: Some(Outcome::Failure),
            ..Facts::default()
        };
        chat.deliver(failed)
            .assert_calls(&["http.fetch POST https://chat.example.org/ci"]);
    }
}
