//! The reporter `report-file`: one line of JSON per report, appended to a file under the farm's folder.

use capstan_sdk::reporter::report_files::{self, FileError};
use capstan_sdk::reporter::{PluginError, Problem, Report, Reporter};
use serde::Deserialize;

/// The parameters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportFile {
    path: String,
}

impl Reporter for ReportFile {
    fn check(&self) -> Result<(), Vec<Problem>> {
        let climbs = self.path.split(['/', '\\']).any(|segment| segment == "..");
        if self.path.is_empty() || self.path.starts_with(['/', '\\']) || climbs {
            let message = format!("expected a path inside the farm's folder, found {:?}", self.path);
            return Err(vec![capstan_sdk::problem("path", message)]);
        }
        Ok(())
    }

    fn deliver(&self, report: &Report) -> Result<(), PluginError> {
        report_files::append_line(&self.path, &one_line(&report.to_json())).map_err(|error| match error {
            FileError::Denied(reason) => PluginError::Permanent(reason),
            FileError::Io(reason) => PluginError::Transient(reason),
        })
    }
}

/// A line break in JSON stands between tokens: within a text it is written `\n`.
fn one_line(json: &str) -> String {
    json.replace(['\n', '\r'], " ")
}

capstan_sdk::reporter!(ReportFile);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_one_line() {
        assert_eq!(
            one_line("{\n  \"summary\": \"a\\nb\"\r\n}"),
            "{   \"summary\": \"a\\nb\"  }"
        );
    }

    #[test]
    fn a_path_outside_the_farm_is_refused() {
        for (path, fits) in [
            ("reports.jsonl", true),
            ("a/b.jsonl", true),
            ("", false),
            ("/etc/x", false),
            ("a/../../x", false),
        ] {
            assert_eq!(ReportFile { path: path.into() }.check().is_ok(), fits, "{path}");
        }
    }
}
