//! Secrets are masked before output reaches the disk: a stream filter that also catches a secret split across
//! reads.
//!
//! The result does not depend on how the output was cut into reads. Only bytes that may be the beginning of a
//! secret are held back, so that ordinary output passes at once.

use std::collections::BTreeMap;

use aho_corasick::AhoCorasick;

/// A shorter secret, or a shorter line of one, is not masked: it would be found everywhere.
pub const SHORTEST: usize = 4;

/// What to look for; shared by the channels of a command.
pub struct Patterns {
    finder: AhoCorasick,
    patterns: Vec<Pattern>,
}

struct Pattern {
    text: Vec<u8>,
    /// What stands in its place.
    mask: Vec<u8>,
}

impl Patterns {
    /// The values, and each line of values with several lines. `None` if there is nothing to look for.
    pub fn new(secrets: &BTreeMap<String, String>) -> Option<Self> {
        let mut patterns: Vec<Pattern> = Vec::new();
        for (name, value) in secrets {
            for text in std::iter::once(value.as_str()).chain(value.lines()) {
                let known = patterns.iter().any(|p| p.text == text.as_bytes());
                if text.len() >= SHORTEST && !known {
                    patterns.push(Pattern {
                        text: text.into(),
                        mask: format!("[secret {name}]").into_bytes(),
                    });
                }
            }
        }
        if patterns.is_empty() {
            return None;
        }
        let finder = AhoCorasick::new(patterns.iter().map(|p| &p.text)).ok()?;
        Some(Self { finder, patterns })
    }

    /// Masks a text that is known whole.
    pub fn mask(&self, text: &[u8]) -> Vec<u8> {
        let mut masker = Masker::default();
        let mut out = Vec::new();
        masker.push(self, text, &mut out);
        masker.finish(self, &mut out);
        out
    }

    /// Where the longest end of `bytes` begins that is the beginning of a pattern, but not all of it.
    fn undecided(&self, bytes: &[u8]) -> usize {
        let begins = |pattern: &Pattern| {
            let first = bytes.len().saturating_sub(pattern.text.len() - 1);
            (first..bytes.len()).find(|at| pattern.text.starts_with(&bytes[*at..]))
        };
        self.patterns
            .iter()
            .filter_map(begins)
            .min()
            .unwrap_or(bytes.len())
    }

    /// The stretches of `bytes` that matches cover, those that overlap joined, after `before`.
    fn stretches(&self, bytes: &[u8], before: Option<Stretch>) -> Vec<Stretch> {
        let mut found: Vec<Stretch> = self
            .finder
            .find_overlapping_iter(bytes)
            .map(|m| Stretch {
                start: m.start(),
                end: m.end(),
                pattern: m.pattern().as_usize(),
            })
            .collect();
        // Of two that begin together the longer gives the name.
        found.sort_by_key(|s| (s.start, std::cmp::Reverse(s.end)));
        let mut joined: Vec<Stretch> = before.into_iter().collect();
        for next in found {
            match joined.last_mut() {
                Some(last) if next.start < last.end => last.end = last.end.max(next.end),
                _ => joined.push(next),
            }
        }
        joined
    }
}

#[derive(Clone, Copy)]
struct Stretch {
    start: usize,
    end: usize,
    pattern: usize,
}

/// The state of one channel.
#[derive(Default)]
pub struct Masker {
    /// Read, and perhaps the beginning of a secret.
    held: Vec<u8>,
    /// A masked stretch that covers so much of the beginning of `held` and may yet grow.
    open: Option<(usize, usize)>,
}

impl Masker {
    /// Takes `bytes` in, and appends to `out` what can be told.
    pub fn push(&mut self, patterns: &Patterns, bytes: &[u8], out: &mut Vec<u8>) {
        self.held.extend_from_slice(bytes);
        let limit = patterns.undecided(&self.held);
        self.release(patterns, limit, out);
    }

    /// The channel has ended: appends the rest.
    pub fn finish(&mut self, patterns: &Patterns, out: &mut Vec<u8>) {
        self.release(patterns, self.held.len(), out);
        if let Some((pattern, _)) = self.open.take() {
            out.extend_from_slice(&patterns.patterns[pattern].mask);
        }
    }

    /// Gives out what lies before `limit`; a secret may begin there, so a stretch that reaches beyond it
    /// stays open.
    fn release(&mut self, patterns: &Patterns, limit: usize, out: &mut Vec<u8>) {
        if limit == 0 {
            return;
        }
        let before = self.open.take().map(|(pattern, end)| Stretch {
            start: 0,
            end,
            pattern,
        });
        let mut done = 0;
        for stretch in patterns.stretches(&self.held, before) {
            if stretch.start >= limit {
                break;
            }
            out.extend_from_slice(&self.held[done..stretch.start]);
            done = stretch.end.min(limit);
            if stretch.end > limit {
                self.open = Some((stretch.pattern, stretch.end - limit));
                break;
            }
            out.extend_from_slice(&patterns.patterns[stretch.pattern].mask);
        }
        out.extend_from_slice(&self.held[done..limit]);
        self.held.drain(..limit);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn patterns(secrets: &[(&str, &str)]) -> Patterns {
        Patterns::new(
            &secrets
                .iter()
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
                .collect(),
        )
        .unwrap()
    }

    fn masked(patterns: &Patterns, parts: &[&[u8]]) -> Vec<u8> {
        let (mut masker, mut out) = (Masker::default(), Vec::new());
        for part in parts {
            masker.push(patterns, part, &mut out);
        }
        masker.finish(patterns, &mut out);
        out
    }

    proptest! {
        #[test]
        fn cutting_the_output_anywhere_changes_nothing(
            text in "[ab\n]{0,60}",
            secrets in prop::collection::btree_map("[A-Z]", "[ab\n]{4,9}", 1..4),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let Some(patterns) = Patterns::new(&secrets) else { return Ok(()) };
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let parts: Vec<&[u8]> = cuts.windows(2).map(|w| &text.as_bytes()[w[0]..w[1]]).collect();
            let whole = patterns.mask(text.as_bytes());
            prop_assert_eq!(&masked(&patterns, &parts), &whole);
            for pattern in &patterns.patterns {
                prop_assert!(patterns.finder.find(&whole).is_none(), "{:?} shows", pattern.text);
            }
        }

        #[test]
        fn a_secret_never_shows_however_it_is_read(
            before in ".{0,20}", secret in "[!-~]{4,30}", after in ".{0,20}", size in 1usize..9,
        ) {
            let patterns = patterns(&[("TOKEN", &secret)]);
            let text = format!("{before}{secret}{after}");
            let out = masked(&patterns, &text.as_bytes().chunks(size).collect::<Vec<_>>());
            prop_assume!(!"[secret TOKEN]".contains(&secret));
            prop_assert!(String::from_utf8_lossy(&out).contains("[secret TOKEN]"));
            if !before.contains(&secret) && !after.contains(&secret) && !"[secret TOKEN]".contains(&secret[..1]) {
                prop_assert!(!String::from_utf8_lossy(&out).contains(&secret));
            }
        }
    }

    #[test]
    fn ordinary_output_is_not_held_back() {
        let patterns = patterns(&[("TOKEN", "hunter22")]);
        let (mut masker, mut out) = (Masker::default(), Vec::new());
        masker.push(&patterns, b"compiling\n", &mut out);
        assert_eq!(out, b"compiling\n");
        masker.push(&patterns, b"hunt", &mut out);
        assert_eq!(out, b"compiling\n");
        masker.push(&patterns, b"ing\n", &mut out);
        assert_eq!(out, b"compiling\nhunting\n");
    }

    #[test]
    fn each_line_of_a_key_is_masked_even_alone() {
        let patterns = patterns(&[("KEY", "first line\nsecond line\n")]);
        assert_eq!(masked(&patterns, &[b"> second line\r\n"]), b"> [secret KEY]\r\n");
        assert_eq!(
            masked(&patterns, &[b"first line\nsecond line\n"]),
            b"[secret KEY]"
        );
    }

    #[test]
    fn no_end_of_a_longer_or_overlapping_secret_shows() {
        let patterns = patterns(&[("A", "abcd"), ("B", "abcdef"), ("C", "cdxy")]);
        assert_eq!(masked(&patterns, &[b"-abcd", b"ef-"]), b"-[secret B]-");
        assert_eq!(masked(&patterns, &[b"-ab", b"cdxy-"]), b"-[secret A]-");
    }

    #[test]
    fn an_endless_repetition_needs_no_endless_memory() {
        let patterns = patterns(&[("A", "aaaa")]);
        let (mut masker, mut out) = (Masker::default(), Vec::new());
        for _ in 0..1000 {
            masker.push(&patterns, &[b'a'; 100], &mut out);
            assert!(masker.held.len() < 4);
        }
        masker.push(&patterns, b"b", &mut out);
        assert_eq!(out, b"[secret A]b");
    }
}
