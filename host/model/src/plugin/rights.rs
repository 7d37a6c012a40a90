//! What a plugin may reach: lists of patterns per capability, in its manifest (asked for) and in the operator's file
//! (granted). The engine checks both before anything leaves a plugin.

use serde::{Deserialize, Serialize};

use super::lists;
use super::pattern::{Malformed, Pattern};

/// Rights, by capability. In a manifest: asked for. In the operator's file: granted. Empty is none.
///
/// Every text is a [`Pattern`] of its capability; reading a malformed one is an error that says where it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rights {
    /// Programs that a step may run on a worker; a shell line counts as the program `sh`.
    #[serde(deserialize_with = "lists::commands")]
    pub commands: Vec<String>,
    /// Requests that may be sent: `https://host/path/*`, with methods before it where only those are meant.
    #[serde(deserialize_with = "lists::http")]
    pub http: Vec<String>,
    /// Repositories that may be watched, by URL.
    #[serde(deserialize_with = "lists::git")]
    pub git: Vec<String>,
    /// Secrets that may be named: `NAME`, or `NAME@BUILDER` where only that builder's builds are meant.
    #[serde(deserialize_with = "lists::secrets")]
    pub secrets: Vec<String>,
    /// Files under the farm's folder that a reporter may append to.
    #[serde(deserialize_with = "lists::files")]
    pub files: Vec<String>,
    /// Recipients that a reporter may write to: `name@host`, or `*@host`.
    #[serde(deserialize_with = "lists::mail", skip_serializing_if = "Vec::is_empty")]
    pub mail: Vec<String>,
    /// Keys under which a reporter may keep what it wants to remember.
    #[serde(deserialize_with = "lists::state", skip_serializing_if = "Vec::is_empty")]
    pub state: Vec<String>,
    /// Names under which a step may store artefacts of its build.
    #[serde(deserialize_with = "lists::artefacts", skip_serializing_if = "Vec::is_empty")]
    pub artefacts: Vec<String>,
    /// Schedulers that a step may ask for builds, by name.
    #[serde(deserialize_with = "lists::triggers", skip_serializing_if = "Vec::is_empty")]
    pub triggers: Vec<String>,
}

/// One capability of [`Rights`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// [`Rights::commands`]
    Commands,
    /// [`Rights::http`]
    Http,
    /// [`Rights::git`]
    Git,
    /// [`Rights::secrets`]
    Secrets,
    /// [`Rights::files`]
    Files,
    /// [`Rights::mail`]
    Mail,
    /// [`Rights::state`]
    State,
    /// [`Rights::artefacts`]
    Artefacts,
    /// [`Rights::triggers`]
    Triggers,
}

impl Right {
    /// Every capability.
    pub const ALL: [Self; 9] = [
        Self::Commands,
        Self::Http,
        Self::Git,
        Self::Secrets,
        Self::Files,
        Self::Mail,
        Self::State,
        Self::Artefacts,
        Self::Triggers,
    ];

    /// The key in manifests and in the operator's file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Commands => "commands",
            Self::Http => "http",
            Self::Git => "git",
            Self::Secrets => "secrets",
            Self::Files => "files",
            Self::Mail => "mail",
            Self::State => "state",
            Self::Artefacts => "artefacts",
            Self::Triggers => "triggers",
        }
    }

    /// The capability of that key.
    pub fn parse(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|right| right.as_str() == key)
    }
}

/// A right that was not there. The text says which plugin, which right, for what, and which side refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("plugin `{plugin}` may not use {} `{value}`: {}", .right.as_str(), self.reason())]
pub struct Refusal {
    /// The plugin's name.
    pub plugin: String,
    /// The capability.
    pub right: Right,
    /// What it wanted to use.
    pub value: String,
    /// Which side did not allow it.
    pub side: Side,
}

/// Who has to allow something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The plugin's author did not ask for it.
    Manifest,
    /// The operator did not grant it.
    Operator,
}

impl Side {
    /// The word in the API and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Operator => "operator",
        }
    }
}

impl Refusal {
    /// The lines for capstan.toml that grant it beside what is `granted`, if the operator can: the narrowest pattern that
    /// covers the value.
    pub fn remedy(&self, granted: &Rights) -> Option<String> {
        let suggested = Pattern::suggest(self.right, &self.value).filter(|_| self.side == Side::Operator)?;
        let patterns = granted.of(self.right).iter().chain([&suggested]);
        // A text of JSON is one of TOML, too.
        let texts = patterns.map(|text| serde_json::Value::from(text.as_str()).to_string());
        let list = texts.collect::<Vec<_>>().join(", ");
        Some(format!(
            "[grants.{}]\n{} = [{list}]",
            self.plugin,
            self.right.as_str()
        ))
    }

    fn reason(&self) -> String {
        match self.side {
            Side::Manifest => "its manifest does not ask for it".to_owned(),
            Side::Operator => format!(
                "the manifest asks for it, the operator has not granted it; to grant it, add it to `{}` under \
                 [grants.{}] in capstan.toml",
                self.right.as_str(),
                self.plugin
            ),
        }
    }
}

impl Rights {
    /// The patterns of one capability.
    pub fn of(&self, right: Right) -> &[String] {
        match right {
            Right::Commands => &self.commands,
            Right::Http => &self.http,
            Right::Git => &self.git,
            Right::Secrets => &self.secrets,
            Right::Files => &self.files,
            Right::Mail => &self.mail,
            Right::State => &self.state,
            Right::Artefacts => &self.artefacts,
            Right::Triggers => &self.triggers,
        }
    }

    /// The patterns of one capability, to be changed.
    pub fn of_mut(&mut self, right: Right) -> &mut Vec<String> {
        match right {
            Right::Commands => &mut self.commands,
            Right::Http => &mut self.http,
            Right::Git => &mut self.git,
            Right::Secrets => &mut self.secrets,
            Right::Files => &mut self.files,
            Right::Mail => &mut self.mail,
            Right::State => &mut self.state,
            Right::Artefacts => &mut self.artefacts,
            Right::Triggers => &mut self.triggers,
        }
    }

    /// Whether there is no pattern at all.
    pub fn is_empty(&self) -> bool {
        Right::ALL.into_iter().all(|right| self.of(right).is_empty())
    }

    /// Every pattern with its capability, in the order of [`Right::ALL`].
    pub fn each(&self) -> impl Iterator<Item = (Right, &str)> {
        Right::ALL
            .into_iter()
            .flat_map(|right| self.of(right).iter().map(move |text| (right, text.as_str())))
    }

    /// Whether some pattern of this capability covers `value`. What a value looks like, [`Pattern::covers`] says.
    pub fn covers(&self, right: Right, value: &str) -> bool {
        self.matching(right, value).next().is_some()
    }

    /// The patterns of this capability that cover `value`.
    pub fn matching(&self, right: Right, value: &str) -> impl Iterator<Item = Pattern> {
        self.of(right)
            .iter()
            .filter_map(move |text| Pattern::parse(right, text).ok())
            .filter(move |pattern| pattern.covers(value))
    }

    /// Whether some pattern that covers this request (`METHOD URL`) names its host, by its very name or address. Only such
    /// a grant reaches into the operator's own network.
    pub fn names_host(&self, request: &str) -> bool {
        self.matching(Right::Http, request)
            .any(|pattern| pattern.names_host())
    }

    /// What these rights hold that `accepted` does not cover: nothing, if an update asks for no more than its
    /// predecessor did. The patterns are those of `self`, whole.
    pub fn beyond(&self, accepted: &Rights) -> Rights {
        let mut more = Rights::default();
        for right in Right::ALL {
            let missing = self.of(right).iter().filter(|text| !accepted.holds(right, text));
            *more.of_mut(right) = missing.cloned().collect();
        }
        more
    }

    /// What has to be written beside `granted` for these to hold: what that does not cover, and the hosts that it covers
    /// without naming them, for only [a name](Self::names_host) reaches into the operator's own network.
    pub fn to_write(&self, granted: &Rights) -> Rights {
        let names =
            |text: &&String| Pattern::parse(Right::Http, text).is_ok_and(|pattern| pattern.names_host());
        let named = Rights {
            http: granted.http.iter().filter(names).cloned().collect(),
            ..granted.clone()
        };
        let unnamed = self.http.iter().filter(|text| {
            !granted.holds(Right::Http, text) || names(text) && !named.holds(Right::Http, text)
        });
        Rights {
            http: unnamed.cloned().collect(),
            ..self.beyond(granted)
        }
    }

    /// Whether these rights cover whatever the pattern `text` covers.
    pub fn holds(&self, right: Right, text: &str) -> bool {
        let known: Vec<Pattern> = self
            .of(right)
            .iter()
            .filter_map(|text| Pattern::parse(right, text).ok())
            .collect();
        Pattern::parse(right, text).is_ok_and(|pattern| pattern.within_any(&known))
    }

    /// Whether these rights cover all that `other` holds.
    pub fn covers_all(&self, other: &Rights) -> bool {
        other.beyond(self).is_empty()
    }

    /// The patterns that mean nothing, for rights that were not read from a file.
    pub fn check(&self) -> Result<(), Malformed> {
        self.each()
            .try_for_each(|(right, text)| Pattern::parse(right, text).map(drop))
    }
}

/// Checks both sides: what the manifest asks for AND what the operator granted.
pub fn check_right(
    plugin: &str,
    asked: &Rights,
    granted: &Rights,
    right: Right,
    value: &str,
) -> Result<(), Refusal> {
    let refuse = |side| Refusal {
        plugin: plugin.to_owned(),
        right,
        value: value.to_owned(),
        side,
    };
    if !asked.covers(right, value) {
        return Err(refuse(Side::Manifest));
    }
    if !granted.covers(right, value) {
        return Err(refuse(Side::Operator));
    }
    Ok(())
}
