//! What both sides asked for, scheduler by scheduler: what is the same, and what only one has.

use std::collections::BTreeMap;
use std::fmt;

use crate::Asked;
use crate::cases::Plan;

/// Differences of one scheduler that are shown.
const SHOWN: usize = 3;

/// What came of one scheduler.
#[derive(Debug)]
struct Line {
    scheduler: String,
    same: usize,
    only_ours: Vec<Asked>,
    only_theirs: Vec<Asked>,
}

/// What came of all.
#[derive(Debug)]
pub struct Verdict(Vec<Line>);

/// Compares what was asked for; both sides sorted.
pub fn compare(
    plan: &Plan,
    mut ours: BTreeMap<String, Vec<Asked>>,
    mut theirs: BTreeMap<String, Vec<Asked>>,
) -> Verdict {
    let lines = plan.cases.iter().map(|case| {
        let ours = ours.remove(&case.name).unwrap_or_default();
        let mut theirs = theirs.remove(&case.name).unwrap_or_default();
        let mut only_ours = Vec::new();
        let mut same = 0;
        for asked in ours {
            match theirs.binary_search(&asked) {
                Ok(place) => {
                    theirs.remove(place);
                    same += 1;
                }
                Err(_) => only_ours.push(asked),
            }
        }
        Line {
            scheduler: case.name.clone(),
            same,
            only_ours,
            only_theirs: theirs,
        }
    });
    Verdict(lines.collect())
}

impl Line {
    /// Something was compared, and it is the same.
    fn is_good(&self) -> bool {
        self.same > 0 && self.only_ours.is_empty() && self.only_theirs.is_empty()
    }
}

impl Verdict {
    /// Whether both sides asked for the same, of every scheduler.
    pub fn is_good(&self) -> bool {
        self.0.iter().all(Line::is_good)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.0 {
            let (ours, theirs) = (line.only_ours.len(), line.only_theirs.len());
            let mark = if line.is_good() { "  " } else { "! " };
            writeln!(
                f,
                "{mark}{:<24} {:>5} the same, {ours:>4} only Capstan, {theirs:>4} only Buildbot",
                line.scheduler, line.same
            )?;
            for (whose, asked) in [("Capstan ", &line.only_ours), ("Buildbot", &line.only_theirs)] {
                for one in asked.iter().take(SHOWN) {
                    writeln!(f, "      {whose} {} {:?}", one.at, one.stamps)?;
                }
            }
        }
        Ok(())
    }
}
