//! The comment at the top of a guest: what it tries, how it is called, what must come of it.

use std::time::Duration;

use anyhow::{Context as _, bail};
use capstan_model::plugin::{Kind, Rights};
use serde_json::Value;

/// Read from lines `;; KEY: VALUE`; a line `;; TEXT` without a known key is a sentence about the guest.
#[derive(Clone, Debug)]
pub struct Header {
    /// What it tries.
    pub about: String,
    /// `kind`: the world that it is wrapped with and the kind in its manifest; a step if nothing is said.
    pub kind: Kind,
    /// `with`: WIT that is added to the world; `migration` is there if `call` is `migrate`.
    pub with: String,
    /// `wit: THIS => THAT`: what the package that it is wrapped with has instead, in the first place
    /// where it stands.
    pub wit: Vec<(String, String)>,
    /// `call`: what is called.
    pub call: Call,
    /// `manifest`: TOML that is laid over the usual manifest, which asks for every right.
    pub manifest: toml::Table,
    /// `grants`: TOML, the operator's side of the rights; none if nothing is said.
    pub grants: Rights,
    /// `config`: the parameters as JSON; an empty object if nothing is said.
    pub config: Value,
    /// `expect`: what must come of it.
    pub expected: Vec<Expected>,
    /// `leaves`: texts, each in something that reaches the world outside. Without any, nothing may.
    pub leaves: Vec<String>,
    /// `within`: seconds that all of it may take.
    pub within: Duration,
}

/// What is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// `check`: its parameters are checked.
    Check,
    /// `run`: what its kind is for.
    Run,
    /// `repeat`: a step is run, and run again from its journal, whose answer to `clock.now` was changed.
    Repeat,
    /// `configure`: a configuration uses it.
    Configure,
    /// `migrate`: it translates what another version left, twice; both answers have to be the same.
    Migrate,
}

/// What must come of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// `refused TEXT`: it is not loaded, for a reason that has this text.
    Refused(String),
    /// `ends TEXT`: the call has no answer, for a reason that has this text.
    Ends(String),
    /// `answers TEXT`: the call is answered, and the answer has this text.
    Answers(String),
}

impl Header {
    /// Reads the header at the top of `text`.
    pub fn read(text: &str) -> anyhow::Result<Self> {
        let mut header = Self {
            about: String::new(),
            kind: Kind::Step,
            with: String::new(),
            wit: Vec::new(),
            call: Call::Run,
            manifest: toml::Table::new(),
            grants: Rights::default(),
            config: Value::Object(serde_json::Map::new()),
            expected: Vec::new(),
            leaves: Vec::new(),
            within: Duration::from_secs(10),
        };
        let mut grants = toml::Table::new();
        for line in text.lines().map_while(|line| line.strip_prefix(";;")) {
            let line = line.trim();
            match line.split_once(": ").unwrap_or((line, "")) {
                ("kind", kind) => header.kind = serde_json::from_value(kind.into())?,
                ("with", wit) => header.with.push_str(wit),
                ("wit", change) => {
                    let (this, that) = change.split_once(" =>").context("expected `THIS => THAT`")?;
                    header.wit.push((this.to_owned(), that.trim_start().to_owned()));
                }
                ("call", call) => header.call = Call::read(call)?,
                ("manifest", part) => merge(&mut header.manifest, toml::from_str(part).context("manifest")?),
                ("grants", part) => merge(&mut grants, toml::from_str(part).context("grants")?),
                ("config", config) => header.config = serde_json::from_str(config).context("config")?,
                ("expect", expected) => header.expected.push(Expected::read(expected)?),
                ("leaves", text) => header.leaves.push(text.to_owned()),
                ("within", seconds) => {
                    header.within = Duration::from_secs(seconds.parse().context("within")?)
                }
                _ => {
                    header.about.push_str(line);
                    header.about.push(' ');
                }
            }
        }
        header.grants = grants.try_into().context("grants")?;
        anyhow::ensure!(
            !header.about.is_empty(),
            "expected a first comment that says what the guest tries"
        );
        anyhow::ensure!(
            !header.expected.is_empty(),
            "expected a line `;; expect: …` in the first comment"
        );
        Ok(header)
    }

    /// Whether it must be refused when it is loaded.
    pub fn is_refused(&self) -> bool {
        matches!(self.expected.as_slice(), [Expected::Refused(_), ..])
    }
}

impl Call {
    fn read(text: &str) -> anyhow::Result<Self> {
        Ok(match text {
            "check" => Self::Check,
            "run" => Self::Run,
            "repeat" => Self::Repeat,
            "configure" => Self::Configure,
            "migrate" => Self::Migrate,
            _ => bail!("expected the call check, run, repeat, configure or migrate, found {text:?}"),
        })
    }
}

impl Expected {
    fn read(text: &str) -> anyhow::Result<Self> {
        let (how, reason) = text.split_once(' ').unwrap_or((text, ""));
        Ok(match how {
            "refused" => Self::Refused(reason.to_owned()),
            "ends" => Self::Ends(reason.to_owned()),
            "answers" => Self::Answers(reason.to_owned()),
            _ => bail!("expected `refused`, `ends` or `answers` and a text, found {text:?}"),
        })
    }
}

/// Lays `over` over `table`, member by member.
pub(crate) fn merge(table: &mut toml::Table, over: toml::Table) {
    for (key, value) in over {
        match (table.get_mut(&key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => merge(below, above),
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}
