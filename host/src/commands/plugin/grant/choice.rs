//! What the operator grants: by options, or answered on a terminal, right by right.

use std::io::{BufRead, IsTerminal as _, Write as _};

use anyhow::{Context as _, bail};
use capstan_model::plugin::{Pattern, Right, Rights};

use crate::cli::GrantArguments;
use crate::output::{plain, print, print_aside};

/// What came of asking.
#[derive(Debug, PartialEq, Eq)]
pub enum Choice {
    /// These are granted, and the file is accepted.
    Accept(Box<Rights>),
    /// Nothing is to be written.
    Nothing,
}

/// Takes the options, or asks on a terminal.
pub fn ask(
    arguments: &GrantArguments,
    asks: &Rights,
    missing: &Rights,
    accepted: bool,
) -> anyhow::Result<Choice> {
    let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let chosen = if arguments.all {
        missing.clone()
    } else if !arguments.only.is_empty() {
        only(&arguments.only, asks)?
    } else if accepted && missing.is_empty() {
        return Ok(Choice::Nothing);
    } else if terminal {
        return each(&mut std::io::stdin().lock(), asks, missing, accepted);
    } else {
        print_aside(
            "Nothing was changed: `--all` grants what is missing, `--only RIGHT=PATTERN` a part of it.",
        );
        return Ok(Choice::Nothing);
    };
    let sure =
        arguments.yes || !terminal || yes(&mut std::io::stdin().lock(), "Write that to capstan.toml?")?;
    Ok(if sure {
        Choice::Accept(Box::new(chosen))
    } else {
        Choice::Nothing
    })
}

/// The patterns of `--only`.
fn only(texts: &[String], asks: &Rights) -> anyhow::Result<Rights> {
    let mut chosen = Rights::default();
    for text in texts {
        let (key, pattern) = text
            .split_once('=')
            .with_context(|| format!("expected RIGHT=PATTERN after --only, found `{text}`"))?;
        let right = Right::parse(key).with_context(|| {
            let known: Vec<_> = Right::ALL.into_iter().map(Right::as_str).collect();
            format!(
                "expected one of {} before the `=`, found `{key}`",
                known.join(", ")
            )
        })?;
        chosen.of_mut(right).push(within(right, pattern, asks)?);
    }
    Ok(chosen)
}

/// A pattern that says something, and nothing beyond what the plugin asks for.
fn within(right: Right, pattern: &str, asks: &Rights) -> anyhow::Result<String> {
    Pattern::parse(right, pattern)?;
    if !asks.holds(right, pattern) {
        bail!(
            "expected a pattern within what the plugin asks for, found {} `{pattern}`; it asks for {:?}",
            right.as_str(),
            asks.of(right)
        );
    }
    Ok(pattern.to_owned())
}

fn each(input: &mut impl BufRead, asks: &Rights, missing: &Rights, accepted: bool) -> anyhow::Result<Choice> {
    let mut chosen = Rights::default();
    print("For each: y grants it, a narrower pattern grants that, anything else nothing.");
    for (right, pattern) in missing.each() {
        loop {
            let answer = line(
                input,
                &format!(
                    "{} `{pattern}`, to {}? [y/N/PATTERN]",
                    right.as_str(),
                    right.explain(pattern)
                ),
            )?;
            let granted = match answer.as_str() {
                "" | "n" | "N" | "no" => break,
                "y" | "Y" | "yes" => Ok(pattern.to_owned()),
                narrower => within(right, narrower, asks),
            };
            match granted {
                Ok(granted) => {
                    chosen.of_mut(right).push(granted);
                    break;
                }
                Err(error) => print(&plain(&format!("{error:#}"))),
            }
        }
    }
    let question = if accepted {
        "Write that to capstan.toml?"
    } else {
        "Write that, and accept this file?"
    };
    let something = !chosen.is_empty() || !accepted;
    Ok(if something && yes(input, question)? {
        Choice::Accept(Box::new(chosen))
    } else {
        Choice::Nothing
    })
}

fn yes(input: &mut impl BufRead, question: &str) -> anyhow::Result<bool> {
    Ok(matches!(
        line(input, &format!("{question} [y/N]"))?.as_str(),
        "y" | "Y" | "yes"
    ))
}

/// One line of an answer; the end of the input is none.
fn line(input: &mut impl BufRead, question: &str) -> anyhow::Result<String> {
    let mut out = std::io::stdout();
    write!(out, "{} ", plain(question))
        .and_then(|()| out.flush())
        .context("ask")?;
    let mut answer = String::new();
    input.read_line(&mut answer).context("read an answer")?;
    Ok(answer.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks() -> Rights {
        Rights {
            http: vec!["*".to_owned()],
            secrets: vec!["token".to_owned()],
            ..Rights::default()
        }
    }

    #[test]
    fn each_right_is_answered_for_itself() {
        let answered = |answers: &str| each(&mut answers.as_bytes(), &asks(), &asks(), true).unwrap();
        let Choice::Accept(chosen) = answered("nonsense\nhttps://a.example.org/*\ny\ny\n") else {
            panic!("nothing was accepted")
        };
        assert_eq!(
            (&*chosen.http, &*chosen.secrets),
            (
                &["https://a.example.org/*".to_owned()][..],
                &["token".to_owned()][..]
            )
        );
        let Choice::Accept(chosen) = answered("n\ntoken@release\ny\n") else {
            panic!("nothing was accepted")
        };
        assert!(chosen.http.is_empty());
        assert_eq!(chosen.secrets, ["token@release"]);
        for nothing in ["", "n\nn\n", "y\ny\nn\n", "\n\n\n"] {
            assert_eq!(answered(nothing), Choice::Nothing, "{nothing:?}");
        }
        // To accept a file and grant it nothing is a decision, too.
        let bare = each(&mut &b"n\nn\ny\n"[..], &asks(), &asks(), false).unwrap();
        assert_eq!(bare, Choice::Accept(Box::default()));
    }

    #[test]
    fn an_option_names_a_right_and_a_pattern_within_what_is_asked() {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let chosen = only(
            &texts(&["http=GET https://a.example.org/?a=b", "secrets=token@x"]),
            &asks(),
        )
        .unwrap();
        assert_eq!(
            (&*chosen.http[0], &*chosen.secrets[0]),
            ("GET https://a.example.org/?a=b", "token@x")
        );
        for wrong in ["http", "htp=*", "http=a.example.org", "secrets=other", "files=*"] {
            only(&texts(&[wrong]), &asks()).unwrap_err();
        }
    }
}
