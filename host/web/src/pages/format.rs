//! How pages write times, spans and links.

use jiff::Timestamp;

/// `2026-11-21 11:53:07 UTC`.
pub(super) fn time(ms: &i64) -> String {
    let time = Timestamp::from_millisecond(*ms);
    time.map_or_else(
        |_| format!("{ms} ms"),
        |time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
    )
}

/// `4.2 s`, `3 min 5 s`, `2 h 10 min`; empty while it lasts.
pub(super) fn duration(started: Option<i64>, finished: Option<i64>) -> String {
    let (Some(started), Some(finished)) = (started, finished) else {
        return String::new();
    };
    let ms = finished.saturating_sub(started).max(0);
    let seconds = ms / 1000;
    match seconds {
        0..60 => format!("{seconds}.{} s", ms % 1000 / 100),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Whether a link that a step made may be followed: `javascript:` and the like may not.
pub(super) fn leads_to_the_web(url: &str) -> bool {
    let lower = url.trim_start().to_ascii_lowercase();
    lower.starts_with("https://") || lower.starts_with("http://")
}

/// A name as the value in a query.
pub(super) fn encode(name: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    name.bytes()
        .map(|b| {
            if keep(b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

/// A revision as people write it: twelve digits tell commits apart.
pub(super) fn short(revision: &str) -> String {
    let hash = revision.len() >= 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit());
    revision.chars().take(if hash { 12 } else { 60 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_spans_read_well() {
        assert_eq!(time(&1_795_261_987_123), "2026-11-21 11:53:07 UTC");
        assert_eq!(time(&i64::MAX), "9223372036854775807 ms");
        for (ms, text) in [
            (0, "0.0 s"),
            (4_250, "4.2 s"),
            (185_000, "3 min 5 s"),
            (7_800_000, "2 h 10 min"),
            (-5, "0.0 s"),
        ] {
            assert_eq!(duration(Some(10), Some(10 + ms)), text);
        }
        assert_eq!(duration(Some(1), None), "");
    }

    #[test]
    fn only_links_to_the_web_are_links() {
        assert!(leads_to_the_web("https://example.org/x"));
        for url in [
            "javascript:alert(1)",
            " JavaScript:x",
            "data:text/html,x",
            "//example.org",
            "/logs/1",
            "",
        ] {
            assert!(!leads_to_the_web(url), "{url}");
        }
    }
}
