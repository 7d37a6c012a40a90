//! One pattern of a right: its forms, what it covers, and whether it lies within another. [`super::rights`] has the lists
//! of them.

use super::rights::Right;
use super::web::{WebPattern, WebValue};

/// Longer than any pattern that somebody means.
const MAX_LENGTH: usize = 2048;

/// A pattern, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// `*`: anything.
    Any,
    /// Exactly this text.
    Exact(String),
    /// Whatever starts with this text, which ends in `/`.
    Under(String),
    /// Requests.
    Web(WebPattern),
    /// A secret, perhaps for the builds of some builders only. Both may hold `*` for any run of characters.
    Secret {
        /// The secret's name.
        name: String,
        /// The builders' names; `*` is any, and where there is none.
        builder: String,
    },
    /// Every recipient at this host.
    MailHost(String),
    /// Names; it may hold `*` for any run of characters.
    Name(String),
}

/// A pattern that means nothing. The text says what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} for the right `{}`, found {found:?}{}", .right.as_str(), because(.why))]
pub struct Malformed {
    /// Whose pattern.
    pub right: Right,
    /// The right forms.
    pub expected: &'static str,
    /// The text, shortened.
    pub found: String,
    /// What is wrong with it, if that is not plain.
    pub why: String,
}

fn because(why: &str) -> String {
    if why.is_empty() {
        String::new()
    } else {
        format!(": {why}")
    }
}

impl Right {
    /// The forms of this capability's patterns, for error texts.
    pub fn forms(self) -> &'static str {
        match self {
            Self::Commands => "a program such as `make`, a folder of programs such as `/usr/bin/*`, or `*`",
            Self::Http => {
                "`https://host/path/*`, perhaps with methods before it (`GET,POST https://host/path`), `https://*.host/*`, \
                 or `*`"
            }
            Self::Git => "a repository's URL, a URL that ends in `/*`, or `*`",
            Self::Secrets => "a secret's name such as `token`, `token@builder`, `token@release-*`, or `*`",
            Self::Files => {
                "a path inside the farm's folder such as `reports/builds.txt`, `reports/*`, or `*`"
            }
            Self::Mail => "an address such as `team@example.org`, `*@example.org`, or `*`",
            Self::State => "a key such as `seen`, `seen/*`, or `*`",
            Self::Triggers => "a scheduler's name such as `nightly`, `deploy-*`, or `*`",
            Self::Artefacts => "an artefact's name such as `app.tar.gz`, `dist/*`, or `*`",
        }
    }
}

impl Pattern {
    /// Reads a pattern of `right`.
    pub fn parse(right: Right, text: &str) -> Result<Self, Malformed> {
        let wrong = |why: &str| Malformed {
            right,
            expected: right.forms(),
            found: text.chars().take(200).collect(),
            why: why.to_owned(),
        };
        if text.is_empty() {
            return Err(wrong("it is empty"));
        }
        if text.len() > MAX_LENGTH {
            return Err(wrong("it is longer than 2048 bytes"));
        }
        if text.chars().any(char::is_control) {
            return Err(wrong("it holds a control character"));
        }
        if text == "*" {
            return Ok(Self::Any);
        }
        match right {
            Right::Http => WebPattern::parse(text).map(Self::Web),
            Right::Secrets => secret(text),
            Right::Mail => mail(text),
            Right::Triggers => Ok(Self::Name(text.to_owned())),
            Right::Files | Right::State | Right::Artefacts => inside(text).and_then(|()| plain(text)),
            Right::Commands | Right::Git => plain(text),
        }
        .map_err(|why| wrong(&why))
    }

    /// Whether it covers `value`: a program, a URL of a repository, a path, a recipient, a key; for requests
    /// `METHOD URL`; for secrets `NAME@BUILDER`, or `NAME` where no builder is known.
    ///
    /// A path that climbs (`..`) is covered by `*` only.
    pub fn covers(&self, value: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(text) => text == value && !climbs(value),
            Self::Under(prefix) => value.starts_with(prefix.as_str()) && !climbs(value),
            Self::Web(pattern) => WebValue::parse(value).is_some_and(|asked| pattern.covers(&asked)),
            Self::Secret { name, builder } => {
                let (asked, whose) = split(value);
                fits(name, asked) && (builder == "*" || whose.is_some_and(|whose| fits(builder, whose)))
            }
            Self::Name(name) => fits(name, value),
            Self::MailHost(host) => address(value).is_some_and(|(_, at)| at.eq_ignore_ascii_case(host)),
        }
    }

    /// Whether it is one of requests to one host, by its very name or address.
    pub fn names_host(&self) -> bool {
        matches!(self, Self::Web(web) if web.names_host())
    }

    /// The narrowest pattern that covers a value as a refusal shows it: of a request whose query is left out, all of its
    /// folder. None for a value that was cut, or that only `*` covers.
    pub fn suggest(right: Right, value: &str) -> Option<String> {
        let (text, probe) = match (right, value.strip_suffix("?…")) {
            (Right::Http, Some(address)) => (format!("{}/*", address.rsplit_once('/')?.0), address),
            _ => (value.to_owned(), value),
        };
        let pattern = Self::parse(right, &text).ok()?;
        (pattern != Self::Any && pattern.covers(probe)).then_some(text)
    }

    /// Whether everything that this one covers is covered by `known` together. May answer no where the answer is yes in
    /// a way that people do not write; never the other way round.
    pub(super) fn within_any(&self, known: &[Pattern]) -> bool {
        match self {
            // Methods may be spread over several patterns.
            Self::Web(pattern) => pattern
                .each_method()
                .all(|one| known.iter().any(|wider| Self::Web(one.clone()).within(wider))),
            other => known.iter().any(|wider| other.within(wider)),
        }
    }

    fn within(&self, wider: &Pattern) -> bool {
        match (self, wider) {
            (_, Self::Any) => true,
            (Self::Exact(text), wider) => wider.covers(text),
            (Self::Under(prefix), Self::Under(wide)) => prefix.starts_with(wide.as_str()) && !climbs(prefix),
            (Self::Web(pattern), Self::Web(wide)) => pattern.within(wide),
            (
                Self::Secret { name, builder },
                Self::Secret {
                    name: wide,
                    builder: whose,
                },
            ) => fits(wide, name) && fits(whose, builder),
            (Self::MailHost(host), Self::MailHost(wide)) => host == wide,
            (Self::Name(name), Self::Name(wide)) => fits(wide, name),
            _ => false,
        }
    }
}

/// `NAME`, or `NAME@BUILDER`. No secret's name holds an `@`.
fn split(value: &str) -> (&str, Option<&str>) {
    match value.split_once('@') {
        Some((name, builder)) => (name, Some(builder)),
        None => (value, None),
    }
}

fn secret(text: &str) -> Result<Pattern, String> {
    let (name, builder) = split(text);
    let fit = |c: char| c.is_ascii_alphanumeric() || "._-*".contains(c);
    if name.is_empty() || !name.chars().all(fit) {
        return Err("a secret's name is of letters, digits, `.`, `_` and `-`".to_owned());
    }
    if builder == Some("") {
        return Err("there is no builder after the `@`".to_owned());
    }
    Ok(Pattern::Secret {
        name: name.to_owned(),
        builder: builder.unwrap_or("*").to_owned(),
    })
}

fn mail(text: &str) -> Result<Pattern, String> {
    let (name, host) = address(text).ok_or("it is no address")?;
    if host.contains('*') || (name.contains('*') && name != "*") {
        return Err("a `*` stands alone or before the `@`".to_owned());
    }
    let host = host.to_ascii_lowercase();
    Ok(match name {
        "*" => Pattern::MailHost(host),
        name => Pattern::Exact(format!("{name}@{host}")),
    })
}

/// The two parts of an address without a display name, comments or quotes.
fn address(text: &str) -> Option<(&str, &str)> {
    let odd = |c: char| c.is_whitespace() || c.is_control() || "<>(),;:\"\\[]".contains(c);
    let (name, host) = text.split_once('@')?;
    let fits = !name.is_empty() && !host.is_empty() && !host.contains('@') && !text.contains(odd);
    fits.then_some((name, host))
}

fn inside(text: &str) -> Result<(), String> {
    if text.starts_with('/') || text.contains('\\') || climbs(text) {
        return Err("it is relative, with `/` between its parts and without `..`".to_owned());
    }
    Ok(())
}

/// A text, or the start of one up to a slash.
fn plain(text: &str) -> Result<Pattern, String> {
    let (body, under) = match text.strip_suffix("/*") {
        Some(_) => (&text[..text.len() - 1], true),
        None => (text, false),
    };
    if body.contains('*') {
        return Err("a `*` stands alone, or at the end after a `/`".to_owned());
    }
    if climbs(body) {
        return Err("a `..` is never covered".to_owned());
    }
    Ok(if under {
        Pattern::Under(body.to_owned())
    } else {
        Pattern::Exact(body.to_owned())
    })
}

/// Whether a path has a segment that leads upwards, in any spelling that a server might read as one: `..`, `%2e%2e`,
/// `%252e.`, `..%2f`, `..;x`.
pub(super) fn climbs(text: &str) -> bool {
    let mut text = text.to_owned();
    for _ in 0..4 {
        let upwards = |segment: &str| segment.split(';').next() == Some("..");
        if text.split(['/', '\\', '?', '#']).any(upwards) {
            return true;
        }
        let plain = decoded(&text);
        if plain == text {
            return false;
        }
        text = plain;
    }
    // Nobody encodes so often in good faith.
    true
}

/// `%2e`, `%2f`, `%5c`, `%25` and `%3b` as the characters that they stand for; the rest leads nowhere.
fn decoded(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        plain.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 3).map(str::to_ascii_lowercase);
        let known = match code.as_deref() {
            Some("2e") => Some('.'),
            Some("2f") => Some('/'),
            Some("5c") => Some('\\'),
            Some("25") => Some('%'),
            Some("3b") => Some(';'),
            _ => None,
        };
        plain.push(known.unwrap_or('%'));
        rest = &rest[at + if known.is_some() { 3 } else { 1 }..];
    }
    plain.push_str(rest);
    plain
}

/// Whether `text` has the form of `pattern`, in which `*` is any run of characters. A `*` in `text` is a character like
/// others, so that the answer for another pattern in its place holds for all that it covers.
pub fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}
