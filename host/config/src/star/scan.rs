//! Finds an argument in the text of a call, because Starlark tells a function only where the whole call is.

use std::ops::Range;

/// Where `name = value` stands in the text of a call such as `f(a, name = value)`.
pub(super) fn argument(call: &str, name: &str) -> Option<Range<usize>> {
    let mut scanner = Scanner {
        text: call,
        at: call.find('(')? + 1,
    };
    while !scanner.rest().is_empty() {
        scanner.skip_blank();
        let start = scanner.at;
        let found = scanner.keyword() == Some(name);
        let end = scanner.skip_value();
        if found {
            return Some(start..end.max(start));
        }
        if !scanner.rest().starts_with(',') {
            return None;
        }
        scanner.at += 1;
    }
    None
}

/// Where the string literal `text` stands within `range` of the call.
pub(super) fn literal(call: &str, range: Range<usize>, text: &str) -> Option<Range<usize>> {
    ['"', '\''].into_iter().find_map(|quote| {
        let literal = format!("{quote}{text}{quote}");
        let start = range.start + call.get(range.clone())?.find(&literal)?;
        Some(start..start + literal.len())
    })
}

/// The line in which an expression, or a chain of `elif`, goes deeper than `limit`: parser and compiler would follow
/// it with one frame per operator. An upper estimate: each bracket, operator and word between two commas counts.
pub(super) fn too_deep(program: &str, limit: usize) -> Option<usize> {
    let mut scanner = Scanner { text: program, at: 0 };
    // For each open bracket: the depth of its current element, and of its deepest.
    let mut levels = vec![(0usize, 0usize)];
    let mut elifs = 0usize;
    while let Some(token) = scanner.token(levels.len() == 1) {
        let (current, deepest) = levels.pop()?;
        match token {
            "(" | "[" | "{" => levels.extend([(current, deepest), (1, 1)]),
            ")" | "]" | "}" => match levels.pop() {
                Some((outer, outer_deepest)) => {
                    levels.push((outer + deepest, outer_deepest.max(outer + deepest)))
                }
                None => levels.push((current, deepest)),
            },
            "," | "\n" | ";" => levels.push((0, deepest)),
            _ => levels.push((current + 1, deepest.max(current + 1))),
        }
        elifs += usize::from(token == "elif");
        if elifs > limit || levels.iter().map(|level| level.0).sum::<usize>() > limit {
            return Some(program[..scanner.at].matches('\n').count() + 1);
        }
    }
    None
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip_blank(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            if !trimmed.starts_with('#') {
                return;
            }
            self.at += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    /// The next word or sign; strings and comments are skipped, and ends of lines unless `lines` are asked for.
    fn token(&mut self, lines: bool) -> Option<&'a str> {
        loop {
            let rest = self.rest();
            let c = rest.chars().next()?;
            let length = match c {
                '\n' if lines => 1,
                '#' => {
                    self.at += rest.find('\n').unwrap_or(rest.len());
                    continue;
                }
                '\\' => {
                    // Joins two lines.
                    self.at += rest.char_indices().nth(2).map_or(rest.len(), |(at, _)| at);
                    continue;
                }
                '"' | '\'' => {
                    self.skip_string(c);
                    continue;
                }
                c if c.is_whitespace() => {
                    self.at += c.len_utf8();
                    continue;
                }
                c if c.is_alphanumeric() || c == '_' => rest
                    .find(|c: char| !c.is_alphanumeric() && c != '_')
                    .unwrap_or(rest.len()),
                c => c.len_utf8(),
            };
            self.at += length;
            return Some(&rest[..length]);
        }
    }

    /// The name before a single `=`, if the argument has one; stays behind it.
    fn keyword(&mut self) -> Option<&'a str> {
        let rest = self.rest();
        let name = rest.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
        let name = &rest[..rest.len() - name.len()];
        let before = self.at;
        self.at += name.len();
        self.skip_blank();
        let equals = self.rest();
        if !name.is_empty() && equals.starts_with('=') && !equals.starts_with("==") {
            self.at += 1;
            return Some(name);
        }
        self.at = before;
        None
    }

    /// Goes to the comma or bracket that ends the value; answers the end of its text.
    fn skip_value(&mut self) -> usize {
        let mut depth = 0usize;
        let mut end = self.at;
        loop {
            self.skip_blank();
            let Some(c) = self.rest().chars().next() else {
                return end;
            };
            match c {
                ',' | ')' | ']' | '}' if depth == 0 => return end,
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' => depth -= 1,
                '"' | '\'' => self.skip_string(c),
                _ => {}
            }
            if !matches!(c, '"' | '\'') {
                self.at += c.len_utf8();
            }
            end = self.at;
        }
    }

    fn skip_string(&mut self, quote: char) {
        let triple = quote.to_string().repeat(3);
        let close = if self.rest().starts_with(&triple) {
            triple
        } else {
            quote.to_string()
        };
        self.at += close.len();
        loop {
            let rest = self.rest();
            if let Some(escaped) = rest.strip_prefix('\\') {
                self.at += 1 + escaped.chars().next().map_or(0, char::len_utf8);
            } else if rest.starts_with(&close) {
                self.at += close.len();
                return;
            } else if let Some(c) = rest.chars().next() {
                self.at += c.len_utf8();
            } else {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found<'a>(call: &'a str, name: &str) -> Option<&'a str> {
        argument(call, name).map(|range| &call[range])
    }

    #[test]
    fn arguments_are_found_between_strings_brackets_and_comments() {
        let call = r#"step.shell("x, b = 1", # b = 2
            a = [1, {"b": 3}], c = x == y,
            b = "it's (4", d = '''q, e = 5''', e = f(
                g = 6,
            ),
        )"#;
        assert_eq!(found(call, "b"), Some(r#"b = "it's (4""#));
        assert_eq!(found(call, "a"), Some(r#"a = [1, {"b": 3}]"#));
        assert_eq!(found(call, "c"), Some("c = x == y"));
        assert_eq!(
            found(call, "e").map(|e| e.starts_with("e = f(") && e.ends_with(')')),
            Some(true)
        );
        assert_eq!(found(call, "g"), None);
        assert_eq!(found(call, "y"), None);
        let range = argument(call, "a").unwrap();
        assert_eq!(&call[literal(call, range, "b").unwrap()], "\"b\"");
    }

    #[test]
    fn depth_counts_what_is_between_two_commas() {
        assert_eq!(too_deep("x = [[\n[1]]]", 4), Some(2));
        assert_eq!(too_deep("x = '[[[[[' # [[[[\ny = [[]]", 6), None);
        assert_eq!(too_deep(&"f(1, 2, 3)\n".repeat(100), 6), None);
        assert_eq!(too_deep("x = 1 +\\\n 1 + 1", 6), Some(2));
        // The brackets come first and the chain is around them.
        assert_eq!(too_deep("((((((1)))))) + 1", 13), None);
        assert_eq!(too_deep("((((((1)))))) + 1", 7), Some(1));
        assert_eq!(too_deep(&"elif x:\n".repeat(9), 8), Some(9));
        assert_eq!(too_deep(")]},(", 3), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn any_text_ends(call in "[(){}\\[\\]'\"\\\\#,=ab é\n]{0,40}") {
            if let Some(range) = argument(&call, "a") {
                prop_assert!(call.get(range).is_some());
            }
            let _ = too_deep(&call, 5);
        }
    }
}
