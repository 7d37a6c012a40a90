//! Files that a step stores at the master under a name of its build. Called by the author of a step type.

pub use crate::host::artefacts::{Artefact, ArtefactError};
use crate::step::Stop;
use crate::{Outcome, PluginError};

/// Stores a file of the build's worker; the path is relative to the builder's directory: `build/dist/app.whl`. What comes back is
/// stored for good.
pub fn publish(path: &str, name: &str) -> Result<Artefact, ArtefactError> {
    crate::host::artefacts::publish(path, name)
}

/// Stores what the plugin itself has made, at most 1 MiB.
pub fn write(name: &str, content: &[u8]) -> Result<Artefact, ArtefactError> {
    crate::host::artefacts::write(name, content)
}

/// A number of bytes for people, cut to a tenth as the master's pages show it: `1.2 MB`.
pub fn size_text(bytes: u64) -> String {
    let mut tenths = bytes / 100;
    for unit in ["kB", "MB", "GB"] {
        if tenths < 10_000 {
            return match bytes {
                0..1000 => format!("{bytes} B"),
                _ => format!("{}.{} {unit}", tenths / 10, tenths % 10),
            };
        }
        tenths /= 1000;
    }
    format!("{}.{} TB", tenths / 10, tenths % 10)
}

impl From<ArtefactError> for Stop {
    /// A file that is not there or too large is a failure of what was built; a right or a name that is wrong is one of the
    /// configuration.
    fn from(error: ArtefactError) -> Self {
        match error {
            ArtefactError::Missing(reason) | ArtefactError::TooLarge(reason) => Self::failure(reason),
            ArtefactError::Cancelled(reason) => {
                Self::Outcome(Outcome::Cancelled, format!("stopped: {reason}"))
            }
            ArtefactError::WorkerLost(reason) => {
                Self::Outcome(Outcome::Retry, format!("worker lost: {reason}"))
            }
            ArtefactError::Unavailable(reason) => Self::Outcome(Outcome::Exception, reason),
            ArtefactError::Invalid(reason) | ArtefactError::Denied(reason) => {
                Self::Error(PluginError::Permanent(reason))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test::Host;
    use crate::{parameters, step::Step};

    #[parameters]
    struct Release {
        path: String,
    }

    impl Step for Release {
        fn run(self) -> Result<Outcome, Stop> {
            let stored = publish(&self.path, "app")?;
            write("app.sha256", stored.sha256.as_bytes())?;
            crate::step::set_summary(&size_text(stored.size));
            Ok(Outcome::Success)
        }
    }

    #[test]
    fn what_a_step_stored_is_there_for_the_test() {
        let host = Host::new().worker_file("build/app", *b"binary");
        let run = host.step::<Release>(serde_json::json!({ "path": "build/app" }));
        assert_eq!(run.outcome(), Outcome::Success);
        assert_eq!(run.artefacts["app"], b"binary");
        assert_eq!(run.artefacts["app.sha256"].len(), 64);
        run.assert_calls(&[
            "artefacts.publish build/app app",
            "artefacts.write app.sha256",
            "build.set-summary 6 B",
        ]);
    }

    #[test]
    fn what_cannot_be_stored_ends_the_step_as_it_should() {
        let gone = Host::new().worker_file("build/other", *b"");
        let run = gone.step::<Release>(serde_json::json!({ "path": "build/app" }));
        assert_eq!(run.outcome(), Outcome::Failure);
        let full = Host::new().artefact_error("app.*", ArtefactError::Unavailable("disk full".to_owned()));
        let run = full.step::<Release>(serde_json::json!({ "path": "build/app" }));
        assert_eq!(run.outcome(), Outcome::Exception);
        assert!(run.artefacts.contains_key("app") && run.artefacts.len() == 1);
    }

    #[test]
    fn sizes_are_short() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1_234_567, "1.2 MB"),
            (999_960, "999.9 kB"),
            (5_300_000_000, "5.3 GB"),
            (u64::MAX, "18446744.0 TB"),
        ] {
            assert_eq!(size_text(bytes), text, "{bytes}");
        }
    }
}
