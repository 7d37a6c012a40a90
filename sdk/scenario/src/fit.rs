//! Whether what was found fits what a scenario expects: texts may hold `*`, tables need not be whole, lists are.

use serde_json::Value;

/// How much of a value a message shows.
const SHOWN: usize = 300;

/// Whether a text fits a pattern in which `*` is any run of characters and `\*` a star.
pub(crate) fn text(pattern: &str, found: &str) -> bool {
    let pieces = pieces(pattern);
    let Some((first, rest)) = pieces.split_first() else {
        return found.is_empty();
    };
    let Some((last, middle)) = rest.split_last() else {
        return first == found;
    };
    let Some(mut left) = found.strip_prefix(first.as_str()) else {
        return false;
    };
    for piece in middle {
        match left.find(piece.as_str()) {
            Some(at) => left = &left[at + piece.len()..],
            None => return false,
        }
    }
    left.ends_with(last.as_str())
}

/// What stands between the stars.
fn pieces(pattern: &str) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let mut characters = pattern.chars().peekable();
    while let Some(c) = characters.next() {
        let star = c == '\\' && characters.next_if_eq(&'*').is_some();
        match (c, pieces.last_mut()) {
            ('*', _) => pieces.push(String::new()),
            (c, Some(piece)) => piece.push(if star { '*' } else { c }),
            (_, None) => {}
        }
    }
    pieces
}

/// Compares a value; the error says where it differs.
pub(crate) fn value(expected: &Value, found: &Value) -> Result<(), String> {
    compare("", expected, found)
}

fn compare(path: &str, expected: &Value, found: &Value) -> Result<(), String> {
    match (expected, found) {
        (Value::String(pattern), Value::String(found)) if text(pattern, found) => Ok(()),
        (Value::Number(one), Value::Number(other)) if one == other || one.as_f64() == other.as_f64() => {
            Ok(())
        }
        (Value::Object(expected), Value::Object(members)) => expected.iter().try_for_each(|(name, value)| {
            let path = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}.{name}")
            };
            match members.get(name) {
                Some(found) => compare(&path, value, found),
                None => Err(differs(&path, value, &Value::Null)),
            }
        }),
        (Value::Array(expected), Value::Array(items)) if expected.len() == items.len() => {
            let mut pairs = expected.iter().zip(items).enumerate();
            pairs.try_for_each(|(place, (value, found))| compare(&format!("{path}[{place}]"), value, found))
        }
        _ if expected == found => Ok(()),
        _ => Err(differs(path, expected, found)),
    }
}

fn differs(path: &str, expected: &Value, found: &Value) -> String {
    let place = if path.is_empty() {
        String::new()
    } else {
        format!("{path}: ")
    };
    format!("{place}expected {}, found {}", shown(expected), shown(found))
}

/// A value as messages show it: short, and `nothing` for none.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        other => cut(&other.to_string()),
    }
}

/// The beginning of a text.
pub(crate) fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_star_is_any_run_of_characters_and_an_escaped_one_is_a_star() {
        for (pattern, found, fits) in [
            ("make", "make", true),
            ("make", "make all", false),
            ("make *", "make all", true),
            ("*all", "make all", true),
            ("*", "", true),
            ("ab*ba", "aba", false),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "a1c2b", false),
            (r"2 \* 3", "2 * 3", true),
            (r"2 \* 3", "2 + 3", false),
            (r"\n*", r"\nx", true),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(text(pattern, found), fits, "{pattern} {found}");
        }
    }

    #[test]
    fn tables_need_not_be_whole_and_lists_are() {
        let found = json!({ "argv": ["make", "all"], "env": { "CC": "clang" }, "jobs": 2 });
        for expected in [
            json!({}),
            json!({ "argv": ["make", "*"] }),
            json!({ "env": {}, "jobs": 2.0 }),
        ] {
            value(&expected, &found).unwrap();
        }
        for (expected, message) in [
            (
                json!({ "argv": ["make"] }),
                r#"argv: expected ["make"], found ["make","all"]"#,
            ),
            (
                json!({ "argv": ["make", "x"] }),
                r#"argv[1]: expected "x", found "all""#,
            ),
            (
                json!({ "env": { "CXX": "c" } }),
                r#"env.CXX: expected "c", found nothing"#,
            ),
            (json!({ "jobs": "2" }), r#"jobs: expected "2", found 2"#),
        ] {
            assert_eq!(value(&expected, &found).unwrap_err(), message);
        }
    }
}
