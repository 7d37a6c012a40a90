//! Scripted answers: the first rule that fits a call and is not used up answers it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::fit;

/// Rules for one kind of call, with how often each has answered.
#[derive(Debug)]
pub(crate) struct Rules<T> {
    rules: Vec<(Rule<T>, AtomicU64)>,
}

/// One rule.
#[derive(Clone, Debug)]
pub(crate) struct Rule<T> {
    /// What it answers to; anything by default.
    pub pattern: Option<String>,
    /// How often; always by default.
    pub times: Option<u64>,
    pub answer: T,
}

/// What the rules say to a call.
pub(crate) enum Found<'a, T> {
    Answer(&'a T),
    /// There are no rules for such calls.
    Free,
    /// There are, and none fits.
    None,
}

impl<T> Rules<T> {
    pub(crate) fn new(rules: impl IntoIterator<Item = Rule<T>>) -> Self {
        Self {
            rules: rules.into_iter().map(|rule| (rule, AtomicU64::new(0))).collect(),
        }
    }

    pub(crate) fn answer(&self, words: &str) -> Found<'_, T> {
        for (rule, used) in &self.rules {
            let fits = rule
                .pattern
                .as_ref()
                .is_none_or(|pattern| fit::text(pattern, words));
            let open = rule
                .times
                .is_none_or(|times| used.load(Ordering::Relaxed) < times);
            if fits && open {
                used.fetch_add(1, Ordering::Relaxed);
                return Found::Answer(&rule.answer);
            }
        }
        if self.rules.is_empty() {
            Found::Free
        } else {
            Found::None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_fits_and_is_not_used_up_answers() {
        let rule = |pattern: &str, times, answer| Rule {
            pattern: Some(pattern.to_owned()),
            times,
            answer,
        };
        let rules = Rules::new([rule("a*", Some(2), 1), rule("a", None, 2), rule("b", None, 3)]);
        let answer = |words| match rules.answer(words) {
            Found::Answer(answer) => Some(*answer),
            Found::Free | Found::None => None,
        };
        let all = ["a", "ab", "a", "ab", "b"].map(answer);
        assert_eq!(all, [Some(1), Some(1), Some(2), None, Some(3)]);
        assert!(matches!(Rules::<u8>::new([]).answer("a"), Found::Free));
    }
}
