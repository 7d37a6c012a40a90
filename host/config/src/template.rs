//! The texts of `interpolate`: `"{branch:-main|slug}-{src.lib.revision|first:8}"`. Parsed when the configuration is loaded, so
//! that a slip is found before a build meets it; `render` fills the holes.

use std::collections::BTreeSet;

use capstan_model::deferred::{Filter, Hole, Instead, Name, Part, SourceField};

use crate::nearest::{choices, did_you_mean};

/// The longest text that is taken, in bytes.
const MAX_TEXT: usize = 64 << 10;

/// What follows `worker.`, `builder.` and `build.`.
const OWN: [(&str, &str, Name); 3] = [
    ("worker", "name", Name::Worker),
    ("builder", "name", Name::Builder),
    ("build", "number", Name::BuildNumber),
];

const FILTERS: [&str; 7] = ["lower", "upper", "slug", "basename", "json", "first", "replace"];

/// What is wrong with a text, and where in it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// In bytes from the start.
    pub(crate) at: usize,
    /// How many bytes are meant.
    pub(crate) width: usize,
    pub(crate) expected: String,
    pub(crate) found: String,
    pub(crate) hint: Option<String>,
}

/// The parts of a text. `values` are the names that were given with it; each of them has to be used.
pub(crate) fn parse(text: &str, values: &BTreeSet<&str>) -> Result<Vec<Part>, Fault> {
    if text.len() > MAX_TEXT {
        let found = format!("{} bytes", text.len());
        return Err(fault(
            0,
            1,
            format!("a text of at most {MAX_TEXT} bytes"),
            found,
            None,
        ));
    }
    let mut parts = Parts::default();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        if rest.starts_with("{{") || rest.starts_with("}}") {
            parts.text.push(c);
            at += 2;
        } else if c == '}' {
            let hint = Some("write `}}` for a brace".to_owned());
            return Err(fault(at, 1, "`{` before `}`", "`}`", hint));
        } else if c == '{' {
            let end = hole_end(text, at)?;
            parts.flush();
            parts.all.push(Part::Hole(hole(text, at + 1, end, values)?));
            at = end + 1;
        } else {
            parts.text.push(c);
            at += c.len_utf8();
        }
    }
    parts.flush();
    unused(&parts.all, values)?;
    Ok(parts.all)
}

#[derive(Default)]
struct Parts {
    all: Vec<Part>,
    text: String,
}

impl Parts {
    fn flush(&mut self) {
        if !self.text.is_empty() {
            self.all.push(Part::Text(std::mem::take(&mut self.text)));
        }
    }
}

fn fault(
    at: usize,
    width: usize,
    expected: impl Into<String>,
    found: impl Into<String>,
    hint: Option<String>,
) -> Fault {
    Fault {
        at,
        width: width.max(1),
        expected: expected.into(),
        found: found.into(),
        hint,
    }
}

/// Where the `}` of the hole that opens at `open` is.
fn hole_end(text: &str, open: usize) -> Result<usize, Fault> {
    let inside = &text[open + 1..];
    match inside.find(['{', '}']) {
        Some(end) if inside[end..].starts_with('}') => Ok(open + 1 + end),
        Some(inner) => {
            let hint = "holes do not hold holes; give the value by name: interpolate(\"{x}\", x = …)";
            let at = open + 1 + inner;
            Err(fault(at, 1, "`}`", "another `{`", Some(hint.to_owned())))
        }
        None => {
            let hint = Some("write `{{` for a brace".to_owned());
            Err(fault(open, 1, "`}` after `{`", "none", hint))
        }
    }
}

fn hole(text: &str, start: usize, end: usize, values: &BTreeSet<&str>) -> Result<Hole, Fault> {
    let inside = &text[start..end];
    let mut pieces = inside.split('|');
    let first = pieces.next().unwrap_or_default();
    let (name, instead) = match first.split_once(':') {
        None => (first, None),
        Some((name, rest)) => (name, Some(instead(rest, start + name.len())?)),
    };
    let of = named(name, start, values)?;
    let mut at = start + first.len() + 1;
    let mut filters = Vec::new();
    for piece in pieces {
        filters.push(filter(piece, at)?);
        at += piece.len() + 1;
    }
    Ok(Hole { of, instead, filters })
}

fn instead(rest: &str, colon: usize) -> Result<Instead, Fault> {
    let mut chars = rest.chars();
    let sign = chars.next();
    let text = chars.as_str().to_owned();
    match sign {
        Some('-') => Ok(Instead::IfUnset(text)),
        Some('~') => Ok(Instead::IfEmpty(text)),
        Some('+') => Ok(Instead::IfSet(text)),
        _ => Err(fault(
            colon,
            1 + rest.len(),
            "`:-text` (if it is not set), `:~text` (if it is not set or empty) or `:+text` (if it is set)",
            format!("`:{rest}`"),
            None,
        )),
    }
}

fn named(name: &str, at: usize, values: &BTreeSet<&str>) -> Result<Name, Fault> {
    if values.contains(name) {
        return Ok(Name::Value(name.to_owned()));
    }
    if name.is_empty() || name.trim() != name || name.contains(char::is_control) {
        let hint = Some("write `{{` and `}}` for braces".to_owned());
        let found = format!("{name:?}");
        return Err(fault(at, name.len(), "the name of a property", found, hint));
    }
    if let Some(rest) = name.strip_prefix("src.") {
        return source(name, rest, at);
    }
    for (owner, field, own) in OWN {
        let Some(rest) = name.strip_prefix(owner).and_then(|rest| rest.strip_prefix('.')) else {
            continue;
        };
        if rest == field {
            return Ok(own);
        }
        let expected = format!("`{owner}.{field}`");
        let hint = did_you_mean(rest, [field]).map(|_| format!("did you mean `{owner}.{field}`?"));
        return Err(fault(at, name.len(), expected, format!("`{name}`"), hint));
    }
    Ok(Name::Property(name.to_owned()))
}

fn source(name: &str, rest: &str, at: usize) -> Result<Name, Fault> {
    let fields = SourceField::ALL.map(|(word, _)| word);
    let Some((codebase, word)) = rest.rsplit_once('.') else {
        let hint = match fields.contains(&rest) {
            true => Some(format!("`src..{rest}` is that of the codebase without a name")),
            false => None,
        };
        let expected = "`src.CODEBASE.branch` or another field of a source";
        return Err(fault(at, name.len(), expected, format!("`{name}`"), hint));
    };
    match SourceField::ALL.into_iter().find(|(known, _)| *known == word) {
        Some((_, field)) => Ok(Name::Source {
            codebase: codebase.to_owned(),
            field,
        }),
        None => Err(fault(
            at + name.len() - word.len(),
            word.len(),
            choices(fields),
            format!("`{word}`"),
            did_you_mean(word, fields),
        )),
    }
}

fn filter(piece: &str, at: usize) -> Result<Filter, Fault> {
    let (name, argument) = match piece.split_once(':') {
        Some((name, argument)) => (name, Some(argument)),
        None => (piece, None),
    };
    let wrong = |expected: &str| fault(at, piece.len(), expected, format!("`{piece}`"), None);
    match (name, argument) {
        ("lower", None) => Ok(Filter::Lower),
        ("upper", None) => Ok(Filter::Upper),
        ("slug", None) => Ok(Filter::Slug),
        ("basename", None) => Ok(Filter::Basename),
        ("json", None) => Ok(Filter::Json),
        ("first", argument) => {
            let count = argument.and_then(|n| n.parse().ok()).filter(|&n| n > 0);
            count
                .map(Filter::First)
                .ok_or_else(|| wrong("`first:8`, a number of characters"))
        }
        ("replace", argument) => argument
            .and_then(|both| both.split_once(','))
            .filter(|(from, _)| !from.is_empty())
            .map(|(from, to)| Filter::Replace(from.to_owned(), to.to_owned()))
            .ok_or_else(|| wrong("`replace:this,that`")),
        (known, Some(_)) if FILTERS.contains(&known) => {
            Err(wrong(&format!("`{known}`, without anything after it")))
        }
        _ => Err(fault(
            at,
            piece.len(),
            format!("a filter: {}", choices(FILTERS)),
            format!("`{piece}`"),
            did_you_mean(name, FILTERS),
        )),
    }
}

fn unused(parts: &[Part], values: &BTreeSet<&str>) -> Result<(), Fault> {
    let used: BTreeSet<&str> = parts
        .iter()
        .filter_map(|part| match part {
            Part::Hole(Hole {
                of: Name::Value(name),
                ..
            }) => Some(name.as_str()),
            _ => None,
        })
        .collect();
    let Some(name) = values.iter().find(|name| !used.contains(*name)) else {
        return Ok(());
    };
    let holes = parts.iter().filter_map(|part| match part {
        Part::Hole(Hole {
            of: Name::Property(name),
            ..
        }) => Some(name.as_str()),
        _ => None,
    });
    let hint = crate::nearest::nearest(name, holes).map(|near| format!("the text has `{{{near}}}`"));
    Err(fault(0, 1, format!("`{{{name}}}` in the text"), "none", hint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn explained(text: &str, values: &[&str]) -> String {
        match parse(text, &values.iter().copied().collect()) {
            Ok(parts) => format!("{parts:?}"),
            Err(Fault {
                at,
                width,
                expected,
                found,
                hint,
            }) => {
                let meant = text.get(at..at + width).unwrap_or_default();
                let hint = hint.map_or(String::new(), |hint| format!("; {hint}"));
                format!("{at} {meant:?}: expected {expected}, found {found}{hint}")
            }
        }
    }

    #[test]
    fn braces_are_doubled_and_everything_else_stays() {
        let parts = parse("a{{b}}c ${HOME} 'ü'", &BTreeSet::new()).unwrap();
        assert_eq!(parts.len(), 3, "`${{HOME}}` has a hole: {parts:?}");
        assert_eq!(parts[0], Part::Text("a{b}c $".to_owned()));
        assert_eq!(parse("", &BTreeSet::new()).unwrap(), []);
        let deep = parse("{a b:-x:y, z|replace:/,|first:3}", &BTreeSet::new()).unwrap();
        assert_eq!(
            deep,
            [Part::Hole(Hole {
                of: Name::Property("a b".to_owned()),
                instead: Some(Instead::IfUnset("x:y, z".to_owned())),
                filters: vec![Filter::Replace("/".to_owned(), String::new()), Filter::First(3)],
            })]
        );
    }

    #[test]
    fn names_with_dots_belong_to_the_build_unless_they_are_properties() {
        for (text, of) in [
            ("{worker.name}", Name::Worker),
            ("{builder.name}", Name::Builder),
            ("{build.number}", Name::BuildNumber),
            ("{deploy.target}", Name::Property("deploy.target".to_owned())),
            ("{workername}", Name::Property("workername".to_owned())),
        ] {
            let parts = parse(text, &BTreeSet::new()).unwrap();
            assert!(
                matches!(&parts[..], [Part::Hole(hole)] if hole.of == of),
                "{parts:?}"
            );
        }
        for (text, name) in [
            ("{src.lib.branch}", "lib"),
            ("{src..branch}", ""),
            ("{src.a.b-c.branch}", "a.b-c"),
        ] {
            let parts = parse(text, &BTreeSet::new()).unwrap();
            assert!(
                matches!(&parts[..], [Part::Hole(Hole { of: Name::Source { codebase, .. }, .. })] if codebase == name),
                "{parts:?}"
            );
        }
    }

    #[test]
    fn slips_are_shown_where_they_are() {
        let slips = [
            ("on {branch", &[][..]),
            ("on branch}", &[]),
            ("{}", &[]),
            ("{ branch }", &[]),
            ("{a{b}}", &[]),
            ("{branch:main}", &[]),
            ("{branch|lowr}", &[]),
            ("{branch|first}", &[]),
            ("{branch|first:x}", &[]),
            ("{branch|replace:a}", &[]),
            ("{branch|upper:2}", &[]),
            ("{branch|}", &[]),
            ("{src.lib.brnach}", &[]),
            ("{src.branch}", &[]),
            ("{worker.nmae}", &[]),
            ("{build.id}", &[]),
            ("{verison}", &["version"]),
        ];
        let all: Vec<_> = slips
            .iter()
            .map(|(text, values)| explained(text, values))
            .collect();
        insta::assert_snapshot!(all.join("\n"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]
        #[test]
        fn any_text_is_parsed_or_refused_at_a_place_in_it(text in "[{}|:a.é,\\-+~ src]{0,24}") {
            match parse(&text, &BTreeSet::new()) {
                Ok(_) => {}
                Err(fault) => prop_assert!(text.is_char_boundary(fault.at) && fault.at <= text.len()),
            }
        }

        #[test]
        fn text_with_doubled_braces_is_itself(text in "[{}a|:$ ]{0,20}") {
            let doubled = text.replace('{', "{{").replace('}', "}}");
            let parts = parse(&doubled, &BTreeSet::new()).unwrap();
            let expected: Vec<_> = Some(Part::Text(text.clone())).filter(|_| !text.is_empty()).into_iter().collect();
            prop_assert_eq!(parts, expected);
        }
    }
}
