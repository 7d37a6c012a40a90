//! How pages write times, spans and links.

pub(super) use capstan_model::shell_word;
use jiff::Timestamp;

/// What templates hand over: numbers, or references to them, however deep.
pub(crate) trait Number {
    fn number(&self) -> i64;
}

impl Number for i64 {
    fn number(&self) -> i64 {
        *self
    }
}

impl Number for u64 {
    fn number(&self) -> i64 {
        i64::try_from(*self).unwrap_or(i64::MAX)
    }
}

impl Number for u32 {
    fn number(&self) -> i64 {
        i64::from(*self)
    }
}

impl Number for usize {
    fn number(&self) -> i64 {
        i64::try_from(*self).unwrap_or(i64::MAX)
    }
}

impl<N: Number + ?Sized> Number for &N {
    fn number(&self) -> i64 {
        (**self).number()
    }
}

/// `2026-11-21 11:53:07 UTC`.
pub(super) fn time(ms: impl Number) -> String {
    let ms = ms.number();
    let time = Timestamp::from_millisecond(ms);
    time.map_or_else(
        |_| format!("{ms} ms"),
        |time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
    )
}

/// `2026-11-21T11:53:07Z`, for programs.
pub(super) fn iso(ms: impl Number) -> String {
    Timestamp::from_millisecond(ms.number()).map_or_else(|_| String::new(), |time| time.to_string())
}

/// `just now`, `40 s ago`, `5 min ago`, `3 h ago`, `12 d ago`.
pub(super) fn ago(ms: impl Number, now: impl Number) -> String {
    let seconds = now.number().saturating_sub(ms.number()).max(0) / 1000;
    match seconds {
        0..10 => "just now".to_owned(),
        10..60 => format!("{seconds} s ago"),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..86_400 => format!("{} h ago", seconds / 3600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

/// `4.2 s`, `45 s`, `3 min 5 s`, `2 h 10 min`, `3 d 4 h`.
pub(crate) fn span(ms: impl Number) -> String {
    let ms = ms.number().max(0);
    let seconds = ms / 1000;
    match seconds {
        0..10 => format!("{seconds}.{} s", ms % 1000 / 100),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// How long it is from one moment to another.
pub(super) fn between(from: impl Number, to: impl Number) -> String {
    span(to.number().saturating_sub(from.number()))
}

/// Whether a link that a step made may be followed: `javascript:` and the like may not.
pub(super) fn leads_to_the_web(url: &str) -> bool {
    let lower = url.trim_start().to_ascii_lowercase();
    lower.starts_with("https://") || lower.starts_with("http://")
}

/// A name as the value in a query.
pub(crate) fn encode(name: &str) -> String {
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

/// `1 line`, `20 lines`.
pub(super) fn count(number: impl Number, what: &str) -> String {
    capstan_model::counted(u64::try_from(number.number()).unwrap_or(0), what)
}

/// What a change's author says it is, in one line of a list.
pub(super) fn first_line(text: &str) -> String {
    const LONG: usize = 120;
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    let line = line.unwrap_or("(no message)");
    if line.chars().count() <= LONG {
        return line.to_owned();
    }
    let cut: String = line.chars().take(LONG - 1).collect();
    format!("{cut}…")
}

/// The beginning of a payload, as long as a cell of a table holds.
pub(super) fn start(json: &str) -> String {
    const LONG: usize = 200;
    match json.char_indices().nth(LONG) {
        Some((end, _)) => format!("{}…", &json[..end]),
        None => json.to_owned(),
    }
}

/// An author without the address: `Ann <ann@example.org>` is Ann.
pub(super) fn person(author: &str) -> &str {
    let name = author.split('<').next().unwrap_or_default().trim();
    if name.is_empty() { author } else { name }
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
        assert_eq!(time(1_795_261_987_123i64), "2026-11-21 11:53:07 UTC");
        assert_eq!(time(i64::MAX), "9223372036854775807 ms");
        for (ms, text) in [
            (0, "0.0 s"),
            (4_250, "4.2 s"),
            (185_000, "3 min 5 s"),
            (45_999, "45 s"),
            (7_800_000, "2 h 10 min"),
            (273_600_000, "3 d 4 h"),
            (-5, "0.0 s"),
        ] {
            assert_eq!(between(10i64, 10i64 + ms), text);
        }
        for (ms, text) in [
            (9_999, "just now"),
            (59_000, "59 s ago"),
            (86_400_000, "1 d ago"),
            (-1, "just now"),
        ] {
            assert_eq!(ago(1_000i64, 1_000i64 + ms), text);
        }
        assert_eq!(iso(1_795_261_987_000i64), "2026-11-21T11:53:07Z");
    }

    #[test]
    fn counts_and_first_lines_read_well() {
        assert_eq!(count(0u64, "line"), "0 lines");
        assert_eq!(count(1u64, "build"), "1 build");
        assert_eq!(count(1_234_567u64, "line"), "1,234,567 lines");
        assert_eq!(first_line("\n  Mend it\n\nBecause."), "Mend it");
        assert_eq!(first_line("\n"), "(no message)");
        assert_eq!(person("Ann B <ann@example.org>"), "Ann B");
        assert_eq!(person("<ann@example.org>"), "<ann@example.org>");
        let long = first_line(&"ä".repeat(500));
        assert!(long.chars().count() == 120 && long.ends_with('…'), "{long}");
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
