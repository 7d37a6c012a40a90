//! The table, for people and as one JSON document.

use serde_json::{Value, json};

use crate::row::{Aim, Figure, Measured, Usage};

/// One row's outcome.
#[derive(Debug)]
pub struct Outcome {
    /// The row's name.
    pub row: &'static str,
    /// Its lines, or why there are none.
    pub lines: anyhow::Result<Vec<Measured>>,
}

const HEADER: [&str; 9] = [
    "row",
    "what",
    "ours",
    "the machine's limit",
    "ratio",
    "aim",
    "met",
    "master CPU, peak memory",
    "worker CPU, peak memory",
];

/// The table as Markdown, padded so that it reads in a terminal too.
pub fn table(outcomes: &[Outcome]) -> String {
    let mut rows = vec![HEADER.map(str::to_owned).to_vec()];
    let mut below = String::new();
    for outcome in outcomes {
        match &outcome.lines {
            Err(error) => {
                let mut cells = vec![outcome.row.to_owned(), "failed, see below".to_owned()];
                cells.resize(HEADER.len(), String::new());
                rows.push(cells);
                below += &format!("\n{} failed: {error:#}", outcome.row);
            }
            Ok(lines) => {
                for line in lines {
                    rows.push(cells(outcome.row, line));
                    if !line.note.is_empty() {
                        below += &format!("\n{}, {}: {}", outcome.row, line.label, line.note);
                    }
                }
            }
        }
    }
    let widths: Vec<_> = (0..HEADER.len())
        .map(|column| {
            rows.iter()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    rows.insert(1, widths.iter().map(|&width| "-".repeat(width)).collect());
    let mut text = String::new();
    for row in rows {
        let padded = row
            .iter()
            .zip(&widths)
            .map(|(cell, &width)| format!(" {cell:<width$} |"));
        text += &format!("|{}\n", padded.collect::<String>());
    }
    text + &below + if below.is_empty() { "" } else { "\n" }
}

fn cells(row: &str, line: &Measured) -> Vec<String> {
    let unit = line.figure.unit;
    let aim = |aim| match aim {
        Aim::AtLeast(value) => format!("≥ {}", Figure::new(value, unit)),
        Aim::AtMost(value) => format!("≤ {}", Figure::new(value, unit)),
        Aim::RatioAtLeast(ratio) => format!("≥ {:.0} % of it", ratio * 100.0),
    };
    let usage = |usage: Usage| {
        format!(
            "{:.0} ms, {:.1} MB",
            usage.cpu_ms,
            usage.peak_memory_kb as f64 * 1.024 / 1000.0
        )
    };
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
    vec![
        row.to_owned(),
        line.label.clone(),
        line.figure.to_string(),
        or_dash(
            line.limit
                .as_ref()
                .map(|(what, figure)| format!("{figure} ({what})")),
        ),
        or_dash(line.ratio().map(|ratio| format!("{ratio:.2}"))),
        or_dash(line.aim.map(aim)),
        or_dash(line.met().map(|met| if met { "yes" } else { "no" }.to_owned())),
        or_dash(line.master.map(usage)),
        or_dash(line.worker.map(usage)),
    ]
}

/// Everything that the table shows and all repetitions, for programs.
pub fn json(outcomes: &[Outcome], quick: bool, repeat: usize) -> Value {
    let lines = |lines: &[Measured]| -> Vec<Value> { lines.iter().map(line).collect() };
    let rows: Vec<_> = outcomes
        .iter()
        .map(|outcome| match &outcome.lines {
            Ok(found) => json!({ "row": outcome.row, "lines": lines(found) }),
            Err(error) => json!({ "row": outcome.row, "error": format!("{error:#}") }),
        })
        .collect();
    json!({ "quick": quick, "repeat": repeat, "rows": rows })
}

fn line(line: &Measured) -> Value {
    let figure = |figure: Figure| json!({ "value": figure.value, "unit": figure.unit.symbol() });
    let aim = |aim| match aim {
        Aim::AtLeast(value) => json!({ "at_least": value }),
        Aim::AtMost(value) => json!({ "at_most": value }),
        Aim::RatioAtLeast(value) => json!({ "ratio_at_least": value }),
    };
    let usage = |usage: Usage| json!({ "cpu_ms": usage.cpu_ms, "peak_memory_kb": usage.peak_memory_kb });
    let limit = line
        .limit
        .as_ref()
        .map(|(what, found)| json!({ "what": what, "figure": figure(*found) }));
    json!({
        "label": line.label,
        "figure": figure(line.figure),
        "limit": limit,
        "ratio": line.ratio(),
        "aim": line.aim.map(aim),
        "met": line.met(),
        "master": line.master.map(usage),
        "worker": line.worker.map(usage),
        "note": line.note,
        "runs": line.runs,
    })
}
