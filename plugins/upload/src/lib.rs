//! The step `upload`: stores one file of the worker at the master, as an artefact of the build.

use capstan_sdk::artefacts::{publish, size_text};
use capstan_sdk::problem;
use capstan_sdk::step::{self, Outcome, Problem, Step, Stop};
use serde::Deserialize;

/// The parameters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upload {
    path: String,
    artefact: Option<String>,
}

impl Step for Upload {
    fn check(&self) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        let climbs = self.path.split(['/', '\\']).any(|word| word == "..");
        if climbs || self.path.starts_with(['/', '\\']) {
            problems.push(problem("path", "expected a path inside the builder's folder"));
        } else if self.path.ends_with('/') || matches!(self.base(), "" | ".") {
            problems.push(problem(
                "path",
                "expected the path of a file, found that of a folder",
            ));
        }
        let odd = |word: &str| matches!(word.trim(), "" | "." | "..");
        if self
            .artefact
            .as_ref()
            .is_some_and(|name| name.split('/').any(odd))
        {
            problems.push(problem(
                "artefact",
                "expected words joined by `/`, without `.` and `..`",
            ));
        }
        match problems.is_empty() {
            true => Ok(()),
            false => Err(problems),
        }
    }

    fn run(self) -> Result<Outcome, Stop> {
        let name = self.artefact.as_deref().unwrap_or(self.base());
        let stored = publish(&self.path, name)?;
        step::set_summary(&format!("{}, {}", stored.name, size_text(stored.size)));
        Ok(Outcome::Success)
    }
}

impl Upload {
    /// The last word of the path.
    fn base(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

capstan_sdk::step!(Upload);

#[cfg(test)]
mod tests {
    use capstan_sdk::artefacts::ArtefactError;
    use capstan_sdk::test::Host;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_file_is_stored_under_its_own_name_or_another() {
        let host = Host::new().worker_file("build/dist/x.whl", vec![0; 1_234_567]);
        let run = host.step::<Upload>(json!({ "path": "build/dist/x.whl" }));
        assert_eq!(run.outcome(), Outcome::Success);
        assert_eq!(run.summary.as_deref(), Some("x.whl, 1.2 MB"));
        let run = host.step::<Upload>(json!({ "path": "build/dist/x.whl", "artefact": "dist/x.whl" }));
        assert_eq!(run.summary.as_deref(), Some("dist/x.whl, 1.2 MB"));
        assert_eq!(run.artefacts["dist/x.whl"].len(), 1_234_567);
        run.assert_calls(&[
            "artefacts.publish build/dist/x.whl dist/x.whl",
            "build.set-summary dist/x.whl, 1.2 MB",
        ]);
    }

    #[test]
    fn a_file_that_cannot_be_stored_ends_the_step_with_the_reason() {
        let path = json!({ "path": "build/x" });
        let missing = Host::new().worker_file("build/y", *b"");
        assert_eq!(missing.step::<Upload>(&path).outcome(), Outcome::Failure);
        for (error, outcome) in [
            (ArtefactError::TooLarge("too large".into()), Outcome::Failure),
            (ArtefactError::Unavailable("disk full".into()), Outcome::Exception),
            (ArtefactError::WorkerLost("gone".into()), Outcome::Retry),
        ] {
            let run = Host::new().artefact_error("*", error).step::<Upload>(&path);
            assert_eq!(run.outcome(), outcome);
            assert!(run.summary.is_some_and(|summary| !summary.is_empty()));
        }
        let denied = Host::new().artefact_error("*", ArtefactError::Denied("no".into()));
        assert!(denied.step::<Upload>(&path).result.is_err());
    }

    #[test]
    fn a_wrong_parameter_is_named() {
        for (parameters, path) in [
            (json!({ "path": "../x" }), "path"),
            (json!({ "path": "/etc/passwd" }), "path"),
            (json!({ "path": "build/" }), "path"),
            (json!({ "path": "." }), "path"),
            (json!({ "path": "x", "artefact": "a/../b" }), "artefact"),
            (json!({ "path": "x", "artefact": "/a" }), "artefact"),
        ] {
            let problems = Host::new().check_step::<Upload>(&parameters);
            assert_eq!(problems.len(), 1, "{parameters}");
            assert_eq!(problems[0].path, path, "{parameters}");
        }
        assert!(
            Host::new()
                .check_step::<Upload>(json!({ "path": "build/x" }))
                .is_empty()
        );
    }
}
