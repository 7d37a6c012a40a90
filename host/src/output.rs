//! What a person sees: errors, tables, times, colours on a terminal only.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use capstan_model::{Clock, SystemClock, Timestamp};
use serde_json::Value;
use tracing_subscriber::EnvFilter;

/// Diagnostics go to standard error; `CAPSTAN_LOG` chooses what (`info` for a master, `warn` for a client).
pub fn start_tracing(master: bool) {
    let default = if master {
        "info,sqlx=warn,quinn=warn,rustls=warn"
    } else {
        "warn"
    };
    let filter = EnvFilter::try_from_env("CAPSTAN_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let colour = std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colour)
        .init();
}

/// Prints an error with its causes, and answers the exit code for it.
pub fn fail(error: &anyhow::Error) -> ExitCode {
    let causes: Vec<_> = error.chain().map(ToString::to_string).collect();
    print_error(&format!("capstan: {}", causes.join(": ")));
    ExitCode::FAILURE
}

/// Prints a line on standard error; a closed terminal is no reason to die.
pub fn print_error(line: &str) {
    let _closed = writeln!(std::io::stderr(), "{line}");
}

/// Prints a line on standard output.
pub fn print(line: &str) {
    let _closed = writeln!(std::io::stdout(), "{line}");
}

/// Prints a quiet remark beside what was asked for: never among it where a program may read that.
pub fn print_aside(line: &str) {
    if std::io::stdout().is_terminal() {
        print(&format!("\x1b[2m{line}\x1b[0m"));
    } else {
        print_error(line);
    }
}

/// How many characters a line of the terminal has; `None` where standard output is none.
pub fn width() -> Option<usize> {
    /// Of a terminal that does not say.
    const USUAL: usize = 80;
    let known = || terminal_size::terminal_size_of(std::io::stdout());
    let terminal = std::io::stdout().is_terminal();
    terminal.then(|| known().map_or(USUAL, |(width, _)| usize::from(width.0)))
}

/// Prints a JSON value, indented.
pub fn print_json(value: &Value) {
    print(&serde_json::to_string_pretty(value).unwrap_or_default());
}

/// A result with its colour, if standard output is a terminal.
pub fn outcome(value: &Value) -> String {
    let word = value.as_str().unwrap_or("running");
    let colour = match word {
        "success" => 32,
        "warnings" => 33,
        "failure" | "exception" => 31,
        "cancelled" | "retry" => 35,
        _ => 36,
    };
    if std::io::stdout().is_terminal() {
        format!("\x1b[{colour}m{word}\x1b[0m")
    } else {
        word.to_owned()
    }
}

/// How long ago, for people: `12 s ago`.
pub fn ago(value: &Value) -> String {
    match value.as_i64() {
        Some(at) => format!("{} ago", span(SystemClock.now().since(Timestamp(at)))),
        None => "-".to_owned(),
    }
}

/// How soon, for people: `in 12 s`.
pub fn until(value: &Value) -> String {
    match value.as_i64().map(Timestamp) {
        Some(at) if at > SystemClock.now() => format!("in {}", span(at.since(SystemClock.now()))),
        Some(_) => "now".to_owned(),
        None => "-".to_owned(),
    }
}

/// A duration in its two largest units.
pub fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0 => format!("{ms} ms"),
        1..=59 => format!("{seconds} s"),
        60..=3599 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..=86_399 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// Text from outside, made harmless for a terminal: on one line, and no control characters but tabs.
pub fn plain(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(without_controls).collect();
    lines.join(" ⏎ ")
}

fn without_controls(line: &str) -> String {
    line.replace(|c: char| c.is_control() && c != '\t', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_cannot_drive_the_terminal() {
        assert_eq!(plain("a\x1b[2Jb\rc"), "a\u{fffd}[2Jb\u{fffd}c");
        assert_eq!(
            plain("src/lib.rs:3:\nno way\r\n\tout\n"),
            "src/lib.rs:3: ⏎ no way ⏎ \tout"
        );
    }

    #[test]
    fn spans_have_two_units() {
        assert_eq!(span(999), "999 ms");
        assert_eq!(span(61_000), "1 min 1 s");
        assert_eq!(span(90_000_000), "1 d 1 h");
    }
}
