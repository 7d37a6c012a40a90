//! Which builds of a builder may go, by the rules. Pure, but for how many newer ones there are.

use capstan_config::{Retention as Rules, RetentionRule};
use capstan_model::{BuilderId, Outcome, Timestamp};
use capstan_store::{Builder, OldBuild};

use super::ago;
use crate::Error;
use crate::farm::Farm;

/// The rules as they are for one builder.
#[derive(Debug)]
pub(super) struct Judge {
    rules: Vec<Rule>,
    /// What ended later stays.
    spared: Timestamp,
    /// What went well, as the last one, and ended later, stays with its artefacts. Without it however old it is.
    good_spared: Option<Timestamp>,
}

/// A rule with its ages as times, its counts as numbers of builds.
#[derive(Debug, Default)]
struct Rule {
    outcomes: Vec<Outcome>,
    builds: Bounds,
    logs: Bounds,
    artefacts: Bounds,
    /// Builds from this number on stay as they are.
    at_least: Option<u64>,
}

/// What lies before either is old.
#[derive(Clone, Copy, Debug, Default)]
struct Bounds {
    time: Option<Timestamp>,
    number: Option<u64>,
}

/// What of a build may go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    pub build: bool,
    pub logs: bool,
    pub artefacts: bool,
}

impl Bounds {
    fn passed(self, build: &OldBuild) -> bool {
        self.time.is_some_and(|time| build.finished < time)
            || self.number.is_some_and(|number| build.number < number)
    }

    /// Whether it may be passed by a build that is not older than this one.
    fn ahead_of(self, build: &OldBuild) -> bool {
        self.time.is_some_and(|time| build.started < time)
            || self.number.is_some_and(|number| build.number < number)
    }
}

impl Judge {
    pub fn judge(&self, build: &OldBuild) -> Verdict {
        let rule = self
            .rules
            .iter()
            .find(|rule| rule.outcomes.contains(&build.outcome));
        let Some(rule) = rule else {
            return Verdict::default();
        };
        let stays = build.kept
            || build.reporting
            || build.finished >= self.spared
            || rule.at_least.is_some_and(|number| build.number >= number);
        if stays {
            return Verdict::default();
        }
        let good = build.last_good && self.good_spared.is_none_or(|time| build.finished >= time);
        Verdict {
            build: !good && rule.builds.passed(build),
            logs: !build.logs_removed && rule.logs.passed(build),
            artefacts: !good && !build.artefacts_removed && rule.artefacts.passed(build),
        }
    }

    /// Whether this one and all later ones stay as they are.
    pub fn spares_from(&self, build: &OldBuild) -> bool {
        build.started >= self.spared
            || !self.rules.iter().any(|rule| {
                let all = [rule.builds, rule.logs, rule.artefacts];
                all.into_iter().any(|bounds| bounds.ahead_of(build))
            })
    }
}

/// A judge for each builder that some rule is for, also for those that are configured no more: these have no tags. A virtual one has
/// those of its newest build.
pub(super) async fn all(
    farm: &Farm,
    rules: &Rules,
    now: Timestamp,
) -> Result<Vec<(BuilderId, Judge)>, Error> {
    let mut judges = Vec::new();
    if rules.rules.is_empty() {
        return Ok(judges);
    }
    let plan = farm.plan();
    for Builder { id, name, about, .. } in farm.store.built().await? {
        let configured = plan.builder(&name).map(|builder| builder.tags.as_slice());
        let tags = configured.or(about.as_ref().map(|about| about.tags.as_slice()));
        let fitting = rules
            .rules
            .iter()
            .filter(|rule| rule.fits(&name, tags.unwrap_or_default()));
        let mut judge = Judge {
            rules: Vec::new(),
            spared: ago(now, rules.spare),
            good_spared: rules.last_good.map(|age| ago(now, age)),
        };
        for rule in fitting {
            judge.rules.push(bounds(farm, id, rule, now).await?);
        }
        if !judge.rules.is_empty() {
            judges.push((id, judge));
        }
    }
    Ok(judges)
}

async fn bounds(
    farm: &Farm,
    builder: BuilderId,
    rule: &RetentionRule,
    now: Timestamp,
) -> Result<Rule, Error> {
    let outcomes = rule.outcomes().to_vec();
    let nth = async |count: Option<u64>| match count {
        Some(count) => farm.store.nth_newest(builder, &outcomes, count).await,
        None => Ok(None),
    };
    let both = async |age: Option<std::time::Duration>, count: Option<u64>| {
        Ok::<_, Error>(Bounds {
            time: age.map(|age| ago(now, age)),
            number: nth(count).await?,
        })
    };
    let at_least = match rule.at_least {
        0 => None,
        // Where there are fewer, all of them stay.
        count => Some(nth(Some(count)).await?.unwrap_or(0)),
    };
    Ok(Rule {
        builds: both(rule.builds, rule.newest_builds).await?,
        logs: both(rule.logs, rule.newest_logs).await?,
        artefacts: both(rule.artefacts, rule.newest_artefacts).await?,
        at_least,
        outcomes,
    })
}

#[cfg(test)]
mod tests {
    use capstan_model::BuildId;

    use super::*;

    fn build(number: u64) -> OldBuild {
        OldBuild {
            id: BuildId(i64::try_from(number).unwrap()),
            number,
            outcome: Outcome::Success,
            started: Timestamp(i64::try_from(number).unwrap() * 10),
            finished: Timestamp(i64::try_from(number).unwrap() * 10 + 5),
            kept: false,
            reporting: false,
            last_good: false,
            logs_removed: false,
            artefacts_removed: false,
        }
    }

    fn before(time: i64) -> Bounds {
        Bounds {
            time: Some(Timestamp(time)),
            number: None,
        }
    }

    fn judge() -> Judge {
        let failures = Rule {
            outcomes: vec![Outcome::Failure],
            builds: before(20),
            ..Rule::default()
        };
        let all = Rule {
            outcomes: Outcome::ALL.to_vec(),
            builds: before(50),
            logs: Bounds {
                time: None,
                number: Some(8),
            },
            at_least: Some(9),
            ..Rule::default()
        };
        Judge {
            rules: vec![failures, all],
            spared: Timestamp(1000),
            good_spared: Some(Timestamp(0)),
        }
    }

    /// Everything goes.
    fn all() -> Judge {
        let rule = Rule {
            outcomes: Outcome::ALL.to_vec(),
            builds: before(50),
            logs: before(50),
            artefacts: before(50),
            at_least: None,
        };
        Judge {
            rules: vec![rule],
            ..judge()
        }
    }

    const ALL: Verdict = Verdict {
        build: true,
        logs: true,
        artefacts: true,
    };
    const BUILD: Verdict = Verdict {
        build: true,
        ..NOTHING
    };
    const NOTHING: Verdict = Verdict {
        build: false,
        logs: false,
        artefacts: false,
    };

    #[test]
    fn the_first_rule_that_fits_decides() {
        let failed = |number| OldBuild {
            outcome: Outcome::Failure,
            ..build(number)
        };
        assert_eq!(judge().judge(&build(4)), Verdict { logs: true, ..BUILD });
        assert_eq!(judge().judge(&failed(4)), NOTHING);
        assert_eq!(judge().judge(&failed(1)), BUILD);
        let logs = Verdict {
            logs: true,
            ..NOTHING
        };
        assert_eq!(judge().judge(&build(7)), logs);
        assert_eq!(judge().judge(&build(8)), NOTHING);
    }

    #[test]
    fn what_somebody_needs_stays() {
        let old = build(1);
        let kept = OldBuild {
            kept: true,
            ..old.clone()
        };
        let reporting = OldBuild {
            reporting: true,
            ..old.clone()
        };
        for stays in [kept, reporting] {
            assert_eq!(judge().judge(&stays), NOTHING);
        }
        // Of the last good one only the logs go.
        let good = OldBuild {
            last_good: true,
            ..old.clone()
        };
        assert_eq!(all().judge(&old), ALL);
        assert_eq!(
            all().judge(&good),
            Verdict {
                logs: true,
                ..NOTHING
            }
        );
        // Unless it is older than even that one is to be.
        let short = Judge {
            good_spared: Some(Timestamp(16)),
            ..all()
        };
        assert_eq!(short.judge(&good), ALL);
        let fresh = Judge {
            spared: Timestamp(15),
            ..judge()
        };
        assert_eq!(fresh.judge(&old), NOTHING);
        let few = Judge {
            rules: vec![Rule {
                at_least: Some(0),
                ..judge().rules.pop().unwrap()
            }],
            ..judge()
        };
        assert_eq!(few.judge(&old), NOTHING);
    }

    #[test]
    fn the_look_ends_where_nothing_can_be_old() {
        assert!(!judge().spares_from(&build(1)));
        assert!(!judge().spares_from(&build(7)));
        assert!(judge().spares_from(&build(8)));
        let fresh = Judge {
            spared: Timestamp(15),
            ..judge()
        };
        assert!(fresh.spares_from(&build(2)));
    }
}
