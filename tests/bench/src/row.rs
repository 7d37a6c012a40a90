//! What a row of the table is made of: figures with units, the limit and the aim beside them, and what both sides used.

use std::fmt;
use std::path::PathBuf;

/// One row that can be asked for on the command line; it may measure several lines.
#[derive(Debug)]
pub struct Row {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it measures, for `--list`.
    pub what: &'static str,
    /// Measures it.
    pub run: fn(&Bench) -> anyhow::Result<Vec<Measured>>,
}

/// One line of the table.
#[derive(Clone, Debug)]
pub struct Measured {
    /// What was measured.
    pub label: String,
    /// Ours: the median of `runs`.
    pub figure: Figure,
    /// What the machine itself does in the same shape, and what that is; in the figure's unit.
    pub limit: Option<(String, Figure)>,
    /// What we want.
    pub aim: Option<Aim>,
    /// What the master used for it.
    pub master: Option<Usage>,
    /// What the worker and everything below it used.
    pub worker: Option<Usage>,
    /// What a reader should know beside the figures.
    pub note: String,
    /// All repetitions.
    pub runs: Vec<f64>,
}

impl Measured {
    /// A line whose figure is the median of `runs`; the rest is added with `Self { limit: …, ..Self::of(…) }`.
    pub fn of(label: impl Into<String>, unit: Unit, runs: Vec<f64>) -> Self {
        Self {
            label: label.into(),
            figure: Figure::new(median(&runs), unit),
            limit: None,
            aim: None,
            master: None,
            worker: None,
            note: String::new(),
            runs,
        }
    }

    /// Ours divided by the machine's limit.
    pub fn ratio(&self) -> Option<f64> {
        let (_, limit) = self.limit.as_ref()?;
        (limit.value > 0.0).then(|| self.figure.value / limit.value)
    }

    /// Whether the aim is met; `None` where there is no aim, or no limit to compare with.
    pub fn met(&self) -> Option<bool> {
        Some(match self.aim? {
            Aim::AtLeast(least) => self.figure.value >= least,
            Aim::AtMost(most) => self.figure.value <= most,
            Aim::RatioAtLeast(least) => self.ratio()? >= least,
        })
    }
}

/// A value with its unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// The value.
    pub value: f64,
    /// Its unit.
    pub unit: Unit,
}

impl Figure {
    /// A value with its unit.
    pub fn new(value: f64, unit: Unit) -> Self {
        Self { value, unit }
    }
}

impl fmt::Display for Figure {
    /// Three significant digits, no fraction from 100 on.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = match self.value.abs() {
            value if value >= 100.0 => 0,
            value if value >= 10.0 => 1,
            value if value >= 1.0 => 2,
            _ => 3,
        };
        write!(out, "{:.digits$} {}", self.value, self.unit.symbol())
    }
}

/// Units of figures. A megabyte is a million bytes, a kilobyte a thousand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    PerSecond,
    Milliseconds,
    Microseconds,
    MegabytesPerSecond,
    Megabytes,
    Kilobytes,
    Seconds,
    Percent,
    Times,
}

impl Unit {
    /// As it is written after a number.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::PerSecond => "/s",
            Self::Milliseconds => "ms",
            Self::Microseconds => "µs",
            Self::MegabytesPerSecond => "MB/s",
            Self::Megabytes => "MB",
            Self::Kilobytes => "kB",
            Self::Seconds => "s",
            Self::Percent => "%",
            Self::Times => "×",
        }
    }
}

/// What a figure should be, in its own unit, or as a part of the limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Aim {
    /// This much or more.
    AtLeast(f64),
    /// This much or less.
    AtMost(f64),
    /// This part of the limit or more.
    RatioAtLeast(f64),
}

/// What processes used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Processor time, user and system, in milliseconds.
    pub cpu_ms: f64,
    /// The most memory that was resident at once, in kilobytes as the kernel counts them.
    pub peak_memory_kb: u64,
}

/// How this run measures.
#[derive(Clone, Debug)]
pub struct Bench {
    /// The folder with `capstan` and `capstan-worker`.
    pub programs: PathBuf,
    /// A folder for this run's files; removed at its end.
    pub scratch: PathBuf,
    /// Small counts: shows that a row works, not what it measures.
    pub quick: bool,
    /// How often each row is repeated.
    pub repeat: usize,
}

impl Bench {
    /// `full`, or `quick` in a quick run.
    pub fn count(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }
}

/// The middle one; of an even number the mean of the two in the middle. NaN of none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => sorted[count / 2],
        count => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_odd_and_even_numbers_of_runs() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn an_aim_is_met_or_not() {
        let with = |aim| Measured {
            aim: Some(aim),
            limit: Some(("loop".to_owned(), Figure::new(200.0, Unit::PerSecond))),
            ..Measured::of("x", Unit::PerSecond, vec![100.0])
        };
        assert_eq!(with(Aim::AtLeast(100.0)).met(), Some(true));
        assert_eq!(with(Aim::AtMost(99.0)).met(), Some(false));
        assert_eq!(with(Aim::RatioAtLeast(0.5)).met(), Some(true));
        assert_eq!(with(Aim::RatioAtLeast(0.6)).met(), Some(false));
        assert_eq!(Measured::of("x", Unit::Seconds, vec![1.0]).met(), None);
    }

    #[test]
    fn figures_have_three_digits() {
        for (value, text) in [
            (1234.5, "1234 ms"),
            (12.34, "12.3 ms"),
            (1.234, "1.23 ms"),
            (0.1234, "0.123 ms"),
        ] {
            assert_eq!(Figure::new(value, Unit::Milliseconds).to_string(), text);
        }
    }
}
