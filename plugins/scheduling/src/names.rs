//! Which names fit: exact texts, patterns, regular expressions, lists of these, and exceptions.

use std::cell::OnceCell;

use capstan_sdk::params::{Patterns, Texts};
use regex_lite::{Regex, RegexBuilder};
use serde::Deserialize;
use serde::de::IntoDeserializer as _;

/// The longest regular expression, in bytes.
const MAX_EXPRESSION: usize = 4096;
/// What one may become when it is compiled. A search takes time by this and the name's length, never more: there is nothing to
/// explode.
const MAX_COMPILED: usize = 128 << 10;

/// A condition on a name: a pattern such as `release/*`, a regular expression such as `~v\d+`, a list of which one has to fit, or an
/// object with `is`, `like`, `re` and `not`.
///
/// A pattern's `*` is anything but `/` and its `**` any number of folders; a text also fits itself. A regular expression has to
/// fit from the beginning, as in Buildbot.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Form")]
pub struct Names {
    form: Form,
    rule: OnceCell<Result<Rule, String>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a pattern, a regular expression such as \"~v[0-9]+\", a list of these, or an object with `is`, `like`, \
                 `re` or `not`"
)]
enum Form {
    Text(String),
    Several(Vec<Form>),
    Parts(Parts),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    is: Option<Texts>,
    like: Option<Texts>,
    re: Option<Texts>,
    not: Option<Box<Form>>,
}

#[derive(Clone, Debug)]
enum Rule {
    Is(String),
    Like(Patterns),
    Expression(Regex),
    /// One of `any`, if there are some, and not `not`.
    Parts {
        any: Option<Vec<Rule>>,
        not: Option<Box<Rule>>,
    },
}

impl From<Form> for Names {
    fn from(form: Form) -> Self {
        Self {
            form,
            rule: OnceCell::new(),
        }
    }
}

impl Names {
    /// What is wrong with it, as a condition that could never be asked.
    pub fn fault(&self) -> Option<String> {
        self.rule().as_ref().err().cloned()
    }

    /// Whether a name fits. One with a fault fits nothing.
    pub fn matches(&self, name: &str) -> bool {
        self.rule().as_ref().is_ok_and(|rule| rule.matches(name))
    }

    fn rule(&self) -> &Result<Rule, String> {
        self.rule.get_or_init(|| rule(&self.form))
    }
}

fn rule(form: &Form) -> Result<Rule, String> {
    match form {
        Form::Text(text) => match text.strip_prefix('~') {
            Some(text) => expression(text).map(Rule::Expression),
            None => like(text),
        },
        Form::Several(forms) if forms.is_empty() => {
            Err("expected something to take, found an empty list: nothing would be built".to_owned())
        }
        Form::Several(forms) => Ok(Rule::Parts {
            any: Some(forms.iter().map(rule).collect::<Result<_, _>>()?),
            not: None,
        }),
        Form::Parts(parts) => parts.rule(),
    }
}

impl Parts {
    fn rule(&self) -> Result<Rule, String> {
        let mut any = None;
        let mut add = |texts: &Option<Texts>, make: &dyn Fn(&str) -> Result<Rule, String>| {
            for text in texts.iter().flat_map(|texts| texts.iter()) {
                any.get_or_insert_with(Vec::new).push(make(text)?);
            }
            Ok::<(), String>(())
        };
        add(&self.is, &|text| Ok(Rule::Is(text.to_owned())))?;
        add(&self.like, &|text| like(text))?;
        add(&self.re, &|text| expression(text).map(Rule::Expression))?;
        let not = self.not.as_deref().map(rule).transpose()?.map(Box::new);
        if any.is_none() && not.is_none() {
            return Err("expected `is`, `like`, `re` or `not`, found nothing to compare with".to_owned());
        }
        Ok(Rule::Parts { any, not })
    }
}

fn like(text: &str) -> Result<Rule, String> {
    let pattern = Patterns::deserialize(text.into_deserializer());
    let pattern = pattern.map_err(|error: serde::de::value::Error| error.to_string())?;
    // `[` begins a class in a pattern and is a part of some URLs: a text fits itself in any case.
    Ok(Rule::Parts {
        any: Some(vec![Rule::Is(text.to_owned()), Rule::Like(pattern)]),
        not: None,
    })
}

/// A regular expression that a configuration gives, which has to fit at the beginning or anywhere, as who asks likes.
pub fn expression(text: &str) -> Result<Regex, String> {
    if text.len() > MAX_EXPRESSION {
        let found = text.len();
        return Err(format!(
            "expected a regular expression of at most {MAX_EXPRESSION} bytes, found {found}"
        ));
    }
    compiled(text).map_err(|error| format!("expected a regular expression, found {text:?}: {error}"))
}

/// The same of one that has to fit the whole of a text.
pub fn whole_expression(text: &str) -> Result<Regex, String> {
    // By itself first: an odd parenthesis must not pair with ours.
    expression(text)?;
    compiled(&format!("^(?:{text})$"))
        .map_err(|error| format!("expected a regular expression, found {text:?}: {error}"))
}

fn compiled(text: &str) -> Result<Regex, regex_lite::Error> {
    RegexBuilder::new(text)
        .size_limit(MAX_COMPILED)
        .nest_limit(50)
        .build()
}

impl Rule {
    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Is(text) => text == name,
            Self::Like(patterns) => patterns.matches(name),
            Self::Expression(expression) => expression.find(name).is_some_and(|found| found.start() == 0),
            Self::Parts { any, not } => {
                any.as_ref()
                    .is_none_or(|rules| rules.iter().any(|rule| rule.matches(name)))
                    && !not.as_ref().is_some_and(|rule| rule.matches(name))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn names(json: &str) -> Names {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn each_form_takes_what_it_says() {
        for (json, name, fits) in [
            (r#""main""#, "main", true),
            (r#""main""#, "main2", false),
            (r#""release/*""#, "release/1", true),
            (r#""release/*""#, "release/1/2", false),
            (r#""*""#, "", true),
            (r#""https://[::1]/a*.git""#, "https://[::1]/a*.git", true),
            (r#""~v\\d+""#, "v12-rc", true),
            (r#""~v\\d+""#, "a-v12", false),
            (r#""~v\\d+$""#, "v12-rc", false),
            (r#""~.*rc""#, "v12-rc", true),
            (r#"["main", "~v\\d"]"#, "v1", true),
            (r#"["main", "~v\\d"]"#, "w1", false),
            (r#"{"is": "a*b"}"#, "a*b", true),
            (r#"{"is": "a*b"}"#, "axb", false),
            (r#"{"is": "~x"}"#, "~x", true),
            (r#"{"re": "a|b"}"#, "b", true),
            (r#"{"re": ["x", "y"], "is": "z"}"#, "z", true),
            (r#"{"not": "main"}"#, "main", false),
            (r#"{"not": "main"}"#, "", true),
            (
                r#"{"like": "release/*", "not": "~release/0"}"#,
                "release/0.1",
                false,
            ),
            (
                r#"{"like": "release/*", "not": "~release/0"}"#,
                "release/1.1",
                true,
            ),
            (r#"{"not": ["a", "b"]}"#, "b", false),
        ] {
            assert_eq!(names(json).matches(name), fits, "{json} {name}");
        }
    }

    #[test]
    fn what_cannot_be_asked_is_a_fault() {
        let long = format!(r#""~{}""#, "a".repeat(5000));
        for (json, text) in [
            (r#""a[""#, "expected a pattern"),
            (r#""~(""#, "expected a regular expression, found \"(\""),
            (r#""~(a{1000}){1000}""#, "expected a regular expression"),
            (r#""~(?<=a)b""#, "expected a regular expression"),
            (&long, "of at most 4096 bytes, found 5000"),
            ("[]", "found an empty list"),
            ("{}", "expected `is`, `like`, `re` or `not`"),
            (r#"{"not": []}"#, "found an empty list"),
            (r#"["a", "~("]"#, "expected a regular expression"),
        ] {
            let fault = names(json).fault().unwrap_or_default();
            assert!(fault.contains(text), "{json}: {fault}");
            assert!(!names(json).matches("a"), "{json}");
        }
        for json in ["3", r#"{"regex": "a"}"#, r#"[1]"#] {
            let error = serde_json::from_str::<Names>(json).unwrap_err().to_string();
            assert!(error.contains("`is`, `like`,"), "{json}: {error}");
        }
    }

    /// What takes other engines longer than the universe lasts.
    #[test]
    fn no_expression_explodes() {
        let names = names(r#""~(a+)+$""#);
        let began = Instant::now();
        assert!(!names.matches(&format!("{}b", "a".repeat(20_000))));
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    }
}
