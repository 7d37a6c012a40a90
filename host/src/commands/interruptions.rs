//! What interrupted a build, for those who print its logs: each interruption once, and beside the output, never in it.

use std::cell::RefCell;
use std::collections::HashSet;

use serde_json::Value;

use crate::client::Client;
use crate::output::{plain, print_aside};

/// What was told already.
#[derive(Default)]
pub struct Told(RefCell<HashSet<String>>);

impl Told {
    /// Tells what interrupted the build so far; only what touches that step, if one is given.
    pub fn tell(&self, build: &Value, step: Option<&Value>) {
        let all = build["interruptions"].as_array().into_iter().flatten();
        for away in all.filter(|away| step.is_none_or(|step| touches(away, step))) {
            // A later absence may have joined one that was told.
            let this = format!("{} {} {}", away["id"], away["times"], away["ended"]);
            if self.0.borrow_mut().insert(this) {
                print_aside(&line(away));
            }
        }
    }

    /// Tells what is new since another master has come. It can be told later, if that one does not answer.
    pub async fn tell_anew(&self, client: &Client, build: Option<i64>) {
        let Some(build) = build else { return };
        if let Ok(build) = client.get(&format!("/builds/{build}")).await {
            self.tell(&build, None);
        }
    }
}

/// One interruption in a line.
pub fn line(away: &Value) -> String {
    plain(away["summary"].as_str().unwrap_or("?"))
}

fn touches(away: &Value, step: &Value) -> bool {
    let Some(started) = step["started"].as_i64() else {
        return false;
    };
    // A clock that was turned back meanwhile says nothing of the end.
    let finished = step["finished"].as_i64().filter(|&finished| finished >= started);
    let finished = finished.unwrap_or(i64::MAX);
    let ended = away["ended"].as_i64().unwrap_or(i64::MAX);
    away["began"].as_i64().is_some_and(|began| began <= finished) && ended >= started
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_clock_that_was_turned_back_hides_nothing() {
        let step = json!({ "started": 100, "finished": 20 });
        assert!(touches(&json!({ "began": 150, "ended": 160 }), &step));
    }

    #[test]
    fn a_step_is_touched_by_what_happened_while_it_ran() {
        let step = json!({ "started": 100, "finished": 200 });
        let away = |began: i64, ended: Option<i64>| json!({ "began": began, "ended": ended });
        for (away, expected) in [
            (away(50, Some(99)), false),
            (away(50, Some(100)), true),
            (away(150, None), true),
            (away(201, Some(300)), false),
        ] {
            assert_eq!(touches(&away, &step), expected, "{away}");
        }
        assert!(touches(
            &away(300, None),
            &json!({ "started": 100, "finished": null })
        ));
        assert!(!touches(&away(300, None), &json!({ "started": null })));
    }
}
