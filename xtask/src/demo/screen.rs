//! What the demo prints: lines with the time since its start, in colours where there is a terminal.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Instant;

/// The terminal.
#[derive(Debug)]
pub struct Screen {
    start: Instant,
    colours: bool,
}

/// The few colours that are needed, by their meaning.
#[derive(Clone, Copy, Debug)]
pub enum Tone {
    /// A title.
    Strong,
    /// What a command prints.
    Faint,
    /// It went well.
    Good,
    /// It did not.
    Bad,
    /// Everything else.
    Plain,
}

impl Screen {
    /// The clock starts now. `NO_COLOR` is honoured.
    pub fn new() -> Arc<Self> {
        let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Arc::new(Self {
            start: Instant::now(),
            colours,
        })
    }

    /// A new part of the demo.
    pub fn phase(&self, text: &str) {
        println!();
        self.line(Tone::Strong, &format!("── {text}"));
    }

    /// Something that happened.
    pub fn note(&self, text: &str) {
        self.line(Tone::Plain, text);
    }

    /// Something that happened, with its result.
    pub fn line(&self, tone: Tone, text: &str) {
        let time = format!("[{:7.2} s]", self.start.elapsed().as_secs_f64());
        let code = match tone {
            Tone::Strong => "1",
            Tone::Faint => "2",
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Plain => "0",
        };
        if self.colours {
            println!("\x1b[2m{time}\x1b[0m \x1b[{code}m{text}\x1b[0m");
        } else {
            println!("{time} {text}");
        }
    }
}

impl Tone {
    /// The tone of a result.
    pub fn of(outcome: &str) -> Self {
        if matches!(outcome, "success" | "warnings" | "skipped") {
            Self::Good
        } else {
            Self::Bad
        }
    }
}
