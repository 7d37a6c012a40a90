//! What `may_start` answers, and the clock that it is told.

use capstan_model::Timestamp;
use serde_json::{Value, json};

use crate::pairing::RETRY_MS;
use crate::pairing::{Hold, Verdict};

/// The longest pause that a function can ask for, in seconds: a day.
const LONGEST: f64 = 86_400.0;

/// `True`, `False`, a text (no, for this reason), or `{"reason": …, "retry_after": seconds}`, `{"reason": …, "quarantine":
/// seconds}`.
pub(super) fn read(answer: &Value, function: &str, now: Timestamp) -> Result<Verdict, String> {
    let no = |reason: String, ms: i64| Hold {
        reason,
        until: now.plus_ms(ms),
    };
    match answer {
        Value::Bool(true) => Ok(Verdict::Yes),
        Value::Bool(false) => Ok(Verdict::No(no(format!("{function} said no"), RETRY_MS))),
        Value::String(reason) => Ok(Verdict::No(no(format!("{function}: {reason}"), RETRY_MS))),
        Value::Object(map) => {
            if let Some(other) = map
                .keys()
                .find(|key| !["reason", "retry_after", "quarantine"].contains(&key.as_str()))
            {
                return Err(format!(
                    "expected `reason`, `retry_after` or `quarantine`, found `{other}`"
                ));
            }
            let reason = match map.get("reason") {
                Some(Value::String(reason)) => format!("{function}: {reason}"),
                Some(other) => return Err(format!("expected `reason` = a string, found {}", shown(other))),
                None => format!("{function} said no"),
            };
            match (seconds(map.get("retry_after"))?, seconds(map.get("quarantine"))?) {
                (Some(_), Some(_)) => {
                    Err("expected either `retry_after` or `quarantine`, found both".to_owned())
                }
                (None, Some(ms)) => Ok(Verdict::Quarantine(no(reason, ms))),
                (retry, None) => Ok(Verdict::No(no(reason, retry.unwrap_or(RETRY_MS)))),
            }
        }
        other => Err(format!(
            "expected True, False, a reason, or a dict with `reason`, found {}",
            shown(other)
        )),
    }
}

/// In milliseconds.
fn seconds(value: Option<&Value>) -> Result<Option<i64>, String> {
    let Some(value) = value else { return Ok(None) };
    let seconds = value.as_f64().filter(|seconds| (0.0..=LONGEST).contains(seconds));
    let seconds =
        seconds.ok_or_else(|| format!("expected seconds from 0 to {LONGEST}, found {}", shown(value)))?;
    // Not more often than this, whatever it says.
    Ok(Some(((seconds * 1000.0) as i64).max(1000)))
}

/// The time in that zone, as functions are told.
pub(super) fn clock(now: Timestamp, zone: &str) -> Result<Value, String> {
    let unknown =
        |error: jiff::Error| format!("expected a time zone such as Europe/Berlin, found `{zone}`: {error}");
    let zone = jiff::tz::TimeZone::get(if zone.is_empty() { "UTC" } else { zone }).map_err(unknown)?;
    let time = jiff::Timestamp::from_millisecond(now.0)
        .map_err(unknown)?
        .to_zoned(zone);
    Ok(json!({
        "seconds": now.0 / 1000,
        "date": time.date().to_string(),
        "hour": time.hour(),
        "minute": time.minute(),
        // Monday is 1.
        "weekday": time.weekday().to_monday_one_offset(),
    }))
}

/// A value, cut short.
pub(crate) fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_has_its_meaning_and_others_are_refused() {
        let now = Timestamp(1_000_000);
        let hold = |reason: &str, ms| Hold {
            reason: reason.to_owned(),
            until: now.plus_ms(ms),
        };
        let cases = [
            (json!(true), Verdict::Yes),
            (json!(false), Verdict::No(hold("quiet said no", RETRY_MS))),
            (json!("night"), Verdict::No(hold("quiet: night", RETRY_MS))),
            (
                json!({ "reason": "night", "retry_after": 90 }),
                Verdict::No(hold("quiet: night", 90_000)),
            ),
            (
                json!({ "retry_after": 0 }),
                Verdict::No(hold("quiet said no", 1000)),
            ),
            (
                json!({ "reason": "disk", "quarantine": 600 }),
                Verdict::Quarantine(hold("quiet: disk", 600_000)),
            ),
        ];
        for (answer, verdict) in cases {
            assert_eq!(read(&answer, "quiet", now), Ok(verdict), "{answer}");
        }
        for answer in [
            json!(null),
            json!(1),
            json!([]),
            json!({ "reason": 3 }),
            json!({ "retry_after": -1 }),
            json!({ "retry_after": 1e9 }),
            json!({ "retry_after": "soon" }),
            json!({ "retry_after": 1, "quarantine": 1 }),
            json!({ "retryafter": 1 }),
        ] {
            assert!(
                read(&answer, "quiet", now).unwrap_err().starts_with("expected"),
                "{answer}"
            );
        }
    }

    #[test]
    fn the_clock_is_that_of_the_zone_on_both_sides_of_a_change_of_the_clocks() {
        // 2026-03-29: the clocks of Berlin go from 02:00 to 03:00 at 01:00 UTC.
        let before = clock(Timestamp(1_774_745_940_000), "Europe/Berlin").unwrap();
        assert_eq!(
            (&before["hour"], &before["minute"], &before["weekday"]),
            (&json!(1), &json!(59), &json!(7))
        );
        let after = clock(Timestamp(1_774_746_000_000), "Europe/Berlin").unwrap();
        assert_eq!(
            (&after["hour"], &after["date"]),
            (&json!(3), &json!("2026-03-29"))
        );
        assert_eq!(clock(Timestamp(0), "").unwrap()["hour"], 0);
        assert!(
            clock(Timestamp(0), "Mars/Base")
                .unwrap_err()
                .contains("Mars/Base")
        );
    }
}
