//! What is left of one seed: what its builds say, how often commands ran, what the receiver of reports was told.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use capstan_tests::Api;
use capstan_tests::logs::{Printed, printed};
use serde_json::Value;

/// What builds of one builder cannot have in common.
const OWN_PROPERTIES: [&str; 3] = ["buildnumber", "workername", "worker"];

/// Everything that is compared.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The builds of this seed, by builder and number.
    pub builds: Vec<Build>,
    /// What commands noted, in their order.
    pub executions: Vec<Execution>,
    /// What the receiver of reports was sent, in its order.
    pub deliveries: Vec<Delivery>,
}

/// A build.
#[derive(Clone, Debug)]
pub struct Build {
    /// Its builder.
    pub builder: String,
    /// Its number there.
    pub number: u64,
    /// Its result.
    pub outcome: String,
    /// What is said about the result.
    pub summary: String,
    /// Name, result and its summary of each step.
    pub steps: Vec<[String; 3]>,
    /// By name.
    pub properties: BTreeMap<String, String>,
    /// The bytes of each channel of each log.
    pub printed: Printed,
}

/// A line that a command wrote when it began or ended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Execution {
    /// `begin` or `end`.
    pub moment: String,
    /// The builder.
    pub builder: String,
    /// The step.
    pub step: String,
    /// The command's id.
    pub command: String,
}

/// One report that arrived whole.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The header `Capstan-Delivery`.
    pub id: String,
    /// The report.
    pub body: Value,
    /// Whether the receiver said that it has it.
    pub accepted: bool,
}

impl Found {
    /// The bytes of all logs.
    pub fn bytes(&self) -> usize {
        let logs = self.builds.iter().flat_map(|build| build.printed.values());
        logs.map(Vec::len).sum()
    }

    /// How many commands began.
    pub fn begun(&self) -> usize {
        self.executions
            .iter()
            .filter(|noted| noted.moment == "begin")
            .count()
    }

    /// How many delivery ids the receiver saw.
    pub fn ids(&self) -> usize {
        let ids: std::collections::BTreeSet<_> = self.deliveries.iter().map(|one| &one.id).collect();
        ids.len()
    }
}

impl Build {
    /// Reads a build from the master. The farm's temporary folder and the build's revision, which differ from seed to seed,
    /// become words.
    pub fn read(api: &Api, id: i64, root: &str) -> Result<Self> {
        let build = api.get(&format!("/builds/{id}"))?;
        let revision = build["sources"][0]["revision"].as_str().unwrap_or_default();
        let plain = |text: &str| without(text.as_bytes(), revision);
        let words =
            |value: &Value| String::from_utf8_lossy(&plain(value.as_str().unwrap_or("?"))).into_owned();
        let steps = build["steps"].as_array().context("expected steps in a build")?;
        let properties = build["properties"].as_array().context("expected properties")?;
        let properties = properties
            .iter()
            .filter(|property| !OWN_PROPERTIES.iter().any(|&own| property["name"] == own));
        let value = |property: &Value| {
            let text = format!("{} from {}", property["value"], property["source"]).replace(root, "FARM");
            String::from_utf8_lossy(&plain(&text)).into_owned()
        };
        Ok(Self {
            builder: words(&build["builder"]),
            number: build["number"].as_u64().context("expected a number")?,
            outcome: words(&build["outcome"]),
            summary: words(&build["summary"]),
            steps: steps
                .iter()
                .map(|step| ["name", "outcome", "summary"].map(|member| words(&step[member])))
                .collect(),
            properties: properties
                .map(|property| (words(&property["name"]), value(property)))
                .collect(),
            printed: printed(api, &build, root)?
                .into_iter()
                .map(|(channel, bytes)| (channel, without(&bytes, revision)))
                .collect(),
        })
    }
}

/// Reads the lines that commands wrote.
pub fn executions(text: &str) -> Result<Vec<Execution>> {
    let line = |line: &str| {
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        let [moment, builder, step, command] = <[String; 4]>::try_from(words)
            .ok()
            .with_context(|| format!("expected `begin|end BUILDER STEP COMMAND`, found `{line}`"))?;
        Ok(Execution {
            moment,
            builder,
            step,
            command,
        })
    };
    text.lines().map(line).collect()
}

/// A text in which the revision, whole or as its start, is a word of the same length.
fn without(text: &[u8], revision: &str) -> Vec<u8> {
    let mut text = text.to_vec();
    for length in [40, 12, 10, 8, 7] {
        let Some(short) = revision.get(..length).map(str::as_bytes) else {
            continue;
        };
        let mut from = 0;
        while let Some(at) = text[from..].windows(length).position(|part| part == short) {
            text[from + at..from + at + length].fill(b'R');
            from += at + length;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_masked_whole_and_short() {
        let revision = "0123456789abcdef0123456789abcdef01234567";
        let text = format!("at {revision}, that is 0123456, not 012345");
        let masked = format!("at {}, that is RRRRRRR, not 012345", "R".repeat(40));
        assert_eq!(without(text.as_bytes(), revision), masked.as_bytes());
        assert_eq!(without(b"nothing", ""), b"nothing");
    }

    #[test]
    fn a_torn_note_is_an_error() {
        assert_eq!(executions("begin talk git 1\nend talk git 1\n").unwrap().len(), 2);
        assert!(executions("begin talk gi").is_err());
    }
}
