//! The nearest right name for a wrong one, for "did you mean".

use std::fmt::Write as _;

/// How many names a text lists before it says how many more there are.
const LISTED: usize = 12;

/// The candidate that is probably meant, if one is near enough. `_` and `-` count as the same, and so do cases.
pub(crate) fn nearest<'a>(wrong: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = |name: &str| name.to_lowercase().replace('-', "_");
    let wrong_folded = folded(wrong);
    candidates
        .into_iter()
        .map(|name| (strsim::osa_distance(&wrong_folded, &folded(name)), name))
        .filter(|(distance, name)| *distance <= tolerance(wrong.chars().count().max(name.chars().count())))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Short names differ by one letter, long ones by a third.
fn tolerance(length: usize) -> usize {
    (length / 3).clamp(1, 4)
}

/// ``did you mean `name`?``
pub(crate) fn did_you_mean<'a>(wrong: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(wrong, candidates).map(|name| format!("did you mean `{name}`?"))
}

/// `` `a`, `b` or `c` ``; a long list is cut.
pub(crate) fn choices<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.into_iter().collect();
    let shown = names.len().min(LISTED);
    let mut text = String::new();
    for (i, name) in names[..shown].iter().enumerate() {
        let separator = match i {
            0 => "",
            _ if i + 1 == names.len() => " or ",
            _ => ", ",
        };
        let _ = write!(text, "{separator}`{name}`");
    }
    if names.len() > shown {
        let _ = write!(text, " or one of {} others", names.len() - shown);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_slips_are_recognised_and_strangers_are_not() {
        let names = ["repository", "branch", "mode", "git-poller"];
        assert_eq!(nearest("repositry", names), Some("repository"));
        assert_eq!(nearest("git_poller", names), Some("git-poller"));
        assert_eq!(nearest("Mode", names), Some("mode"));
        assert_eq!(nearest("zebra", names), None);
        assert_eq!(nearest("x", [""; 0]), None);
    }

    #[test]
    fn lists_read_like_sentences() {
        assert_eq!(choices(["a"]), "`a`");
        assert_eq!(choices(["a", "b", "c"]), "`a`, `b` or `c`");
        let many: Vec<String> = (0..20).map(|n| n.to_string()).collect();
        assert!(choices(many.iter().map(String::as_str)).ends_with("`11` or one of 8 others"));
    }
}
