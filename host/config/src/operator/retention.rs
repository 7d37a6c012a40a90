//! `[retention]`: how long what happened is kept. Builds, logs, artefacts and changes for ever where nothing is said: they are
//! people's history, and nobody is to lose it by not having read a page. What only the farm itself looks at goes after a while.

use std::time::Duration;

use capstan_model::Outcome;
use capstan_model::plugin::fits;
use serde::{Deserialize, Deserializer};

use super::forms::{Form, duration};
use crate::text;

const DAY: u64 = 86_400;

/// `[retention]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Whether the rules are carried out by themselves; if not, `capstan retention run` does it.
    pub automatic: bool,
    /// How often.
    #[serde(deserialize_with = "pause")]
    pub every: Duration,
    /// What ended less than this ago stays, whatever the rules say.
    #[serde(deserialize_with = "duration")]
    pub spare: Duration,
    /// How long the last build of each builder and branch that went well stays, whatever the rules say, with its artefacts.
    #[serde(deserialize_with = "age")]
    pub last_good: Option<Duration>,
    /// What becomes of builds: the first rule that fits one decides. One that none fits is kept.
    pub rules: Vec<RetentionRule>,
    /// Changes that led to no build that is left.
    #[serde(deserialize_with = "age")]
    pub changes: Option<Duration>,
    /// Requests and buildsets that ended, of which no build is left.
    #[serde(deserialize_with = "age")]
    pub requests: Option<Duration>,
    /// Calls of schedulers that were answered.
    #[serde(deserialize_with = "age")]
    pub calls: Option<Duration>,
    /// Reports that were delivered.
    #[serde(deserialize_with = "age")]
    pub reports: Option<Duration>,
    /// What plugins were refused.
    #[serde(deserialize_with = "age")]
    pub refusals: Option<Duration>,
    /// The feed of events.
    #[serde(deserialize_with = "age")]
    pub events: Option<Duration>,
    /// That a build was removed: until then an old link is told so.
    #[serde(deserialize_with = "age")]
    pub traces: Option<Duration>,
}

impl Default for Retention {
    fn default() -> Self {
        let days = |days: u64| Some(Duration::from_secs(days * DAY));
        Self {
            automatic: true,
            every: Duration::from_secs(3600),
            spare: Duration::from_secs(3600),
            last_good: None,
            rules: Vec::new(),
            changes: None,
            requests: days(90),
            calls: days(30),
            reports: days(90),
            refusals: None,
            // Pages follow the feed from where they were: a browser that slept for longer loads the page anew.
            events: days(30),
            traces: days(365),
        }
    }
}

/// `[[retention.rules]]`: which builds it is for, and how long they, their logs and their artefacts stay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetentionRule {
    /// Builders by name; `*` is any run of characters. All if there are none.
    pub builders: Vec<String>,
    /// Builders with one of these tags. All if there are none.
    pub tags: Vec<String>,
    /// Builds with one of these results. All if there are none.
    pub results: Vec<Outcome>,
    /// How long builds are kept, with all that they have.
    #[serde(deserialize_with = "age")]
    pub builds: Option<Duration>,
    /// How many builds of each builder are kept.
    #[serde(deserialize_with = "count")]
    pub newest_builds: Option<u64>,
    /// How long logs are kept, if shorter than their builds.
    #[serde(deserialize_with = "age")]
    pub logs: Option<Duration>,
    /// Of how many builds of each builder the logs are kept.
    #[serde(deserialize_with = "count")]
    pub newest_logs: Option<u64>,
    /// How long artefacts are kept, if shorter than their builds.
    #[serde(deserialize_with = "age")]
    pub artefacts: Option<Duration>,
    /// Of how many builds of each builder the artefacts are kept.
    #[serde(deserialize_with = "count")]
    pub newest_artefacts: Option<u64>,
    /// So many of the newest builds of each builder stay as they are, however old they are.
    pub at_least: u64,
}

impl RetentionRule {
    /// Whether it is for builds of that builder.
    pub fn fits(&self, builder: &str, tags: &[String]) -> bool {
        let named = self.builders.iter().any(|pattern| fits(pattern, builder));
        let tagged = self.tags.iter().any(|tag| tags.contains(tag));
        (self.builders.is_empty() || named) && (self.tags.is_empty() || tagged)
    }

    /// The results that it is for.
    pub fn outcomes(&self) -> &[Outcome] {
        match self.results.is_empty() {
            true => &Outcome::ALL,
            false => &self.results,
        }
    }
}

fn pause<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    deserializer.deserialize_str(Form {
        expecting: "a duration of at least \"1min\", such as \"1h\" or \"1d\"",
        parse: |text| text::duration(text).filter(|length| *length >= Duration::from_secs(60)),
    })
}

fn age<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    deserializer.deserialize_str(Form {
        expecting: "a duration such as \"12h\" or \"90d\", or \"forever\"",
        parse: |text| match text {
            "forever" => Some(None),
            _ => text::duration(text).map(Some),
        },
    })
}

/// None at all is a mistake rather than a wish: the last one that went well stays in any case.
fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    struct Count;
    impl serde::de::Visitor<'_> for Count {
        type Value = Option<u64>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a number from 1 on")
        }
        fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Self::Value, E> {
            let found = u64::try_from(number).ok().filter(|number| *number > 0);
            let wrong = || E::invalid_value(serde::de::Unexpected::Signed(number), &self);
            found.map(Some).ok_or_else(wrong)
        }
    }
    deserializer.deserialize_i64(Count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_name_with_any_run_of_characters_for_a_star() {
        for (pattern, name, expected) in [
            ("linux", "linux", true),
            ("linux", "linux-2", false),
            ("linux*", "linux-2", true),
            ("*-x86", "linux-x86", true),
            ("*-x86", "linux-x86-2", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c", false),
            ("ab*b", "ab", false),
            ("*", "", true),
            ("größe *", "größe 1+1", true),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_rule_is_for_builders_that_fit_all_that_it_says() {
        let rule = RetentionRule {
            builders: vec!["linux*".to_owned(), "mac".to_owned()],
            tags: vec!["nightly".to_owned()],
            ..RetentionRule::default()
        };
        let tags = ["nightly".to_owned()];
        assert!(rule.fits("linux-2", &tags));
        assert!(!rule.fits("linux-2", &[]));
        assert!(!rule.fits("windows", &tags));
        assert!(RetentionRule::default().fits("any", &[]));
        assert_eq!(rule.outcomes(), &Outcome::ALL);
    }
}
