//! `capstan build show --journal`: what steps asked of the master and what they were answered, a row for each, no wider than
//! the terminal.

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::cli::Common;
use crate::client::Client;
use crate::output::{plain, print, print_json, span, width};

/// Rows fetched at a time.
const PAGE: u32 = 500;
/// Rows of one step at most.
const MOST: usize = 100_000;
/// What stays for requests and answers where the terminal is narrow.
const NARROWEST: usize = 24;

/// Shows the journals of these steps.
pub async fn show(common: &Common, client: &Client, steps: &[&Value]) -> anyhow::Result<ExitCode> {
    let mut all = Vec::new();
    for step in steps {
        let rows = read(client, step).await?;
        if common.json {
            let (id, position, name) = (&step["id"], &step["position"], &step["name"]);
            all.push(json!({ "step": id, "position": position, "name": name, "journal": rows }));
            continue;
        }
        print(&heading(step, rows.len()));
        for line in table(step, &rows, width()) {
            print(&line);
        }
    }
    if common.json {
        print_json(&json!({ "steps": all }));
    }
    Ok(ExitCode::SUCCESS)
}

async fn read(client: &Client, step: &Value) -> anyhow::Result<Vec<Value>> {
    let mut rows: Vec<Value> = Vec::new();
    let mut after = String::new();
    while rows.len() < MOST {
        let page = client
            .get(&format!("/steps/{}/journal?limit={PAGE}{after}", step["id"]))
            .await?;
        rows.extend(page["entries"].as_array().into_iter().flatten().cloned());
        match page["next"].as_u64() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    Ok(rows)
}

fn heading(step: &Value, rows: usize) -> String {
    let name = plain(step["name"].as_str().unwrap_or("?"));
    let state = step["outcome"].as_str().or(step["state"].as_str()).unwrap_or("?");
    let rows = match rows {
        0 => "no journal".to_owned(),
        1 => "1 row".to_owned(),
        rows => format!("{rows} rows"),
    };
    format!("{} {name}, {state}, {rows}", step["position"])
}

/// The rows as lines of equal columns; the last column, what was asked and answered, gets what is left of the width.
fn table(step: &Value, rows: &[Value], width: Option<usize>) -> Vec<String> {
    if rows.is_empty() {
        return Vec::new();
    }
    let began = step["started"].as_i64().or(rows[0]["at"].as_i64()).unwrap_or(0);
    let mut cells = vec![["row", "kind", "call", "class", "after"].map(str::to_owned)];
    cells.extend(rows.iter().map(|row| {
        let text = |name: &str| plain(row[name].as_str().unwrap_or("?"));
        let after = row["at"].as_i64().unwrap_or(began).saturating_sub(began);
        let after = span(u64::try_from(after).unwrap_or(0));
        [
            row["seq"].to_string(),
            text("kind"),
            text("call"),
            text("class"),
            after,
        ]
    }));
    let widths: [usize; 5] = std::array::from_fn(|column| {
        let lengths = cells.iter().map(|row| row[column].chars().count());
        lengths.max().unwrap_or(0)
    });
    // A margin, two spaces after each column.
    let left = 2 + widths.iter().map(|width| width + 2).sum::<usize>();
    let room = width.map(|width| width.saturating_sub(left).max(NARROWEST));
    let said = std::iter::once("asked = answered".to_owned()).chain(rows.iter().map(|row| said(row, room)));
    let lines = cells.iter().zip(said).map(|(cells, said)| {
        let [seq, kind, call, class, after] = cells;
        let [a, b, c, d, e] = widths;
        let line = format!("  {seq:>a$}  {kind:<b$}  {call:<c$}  {class:<d$}  {after:>e$}  {said}");
        line.trim_end().to_owned()
    });
    lines.collect()
}

/// `asked`, `= answered`, or both, of which each then gets half of the room.
fn said(row: &Value, room: Option<usize>) -> String {
    let (asked, answered) = (&row["request"], &row["response"]);
    match (asked.is_null(), answered.is_null()) {
        (true, true) => String::new(),
        (false, true) => start(asked, room),
        (true, false) => format!("= {}", start(answered, room.map(|room| room - 2))),
        (false, false) => {
            let (mut asked_whole, answered_whole) = (start(asked, None), start(answered, None));
            // An end names the row of its start.
            if row["kind"] == "end" && asked_whole.bytes().all(|byte| byte.is_ascii_digit()) {
                asked_whole = format!("row {asked_whole}");
            }
            let Some(room) = room.map(|room| room - 3) else {
                return format!("{asked_whole} = {answered_whole}");
            };
            // What one of them leaves of its half is the other's.
            let (a, b) = (asked_whole.chars().count(), answered_whole.chars().count());
            let for_answer = b.min((room / 2).max(room.saturating_sub(a)));
            let asked = shorten(asked_whole, room - for_answer);
            format!("{asked} = {}", shorten(answered_whole, for_answer))
        }
    }
}

/// The beginning of a payload; how long it is where that is not all.
fn start(payload: &Value, room: Option<usize>) -> String {
    let text = plain(payload["start"].as_str().unwrap_or_default());
    let length = payload["length"].as_u64().unwrap_or(0);
    let cut = length > text.len() as u64;
    let text = if cut {
        format!("{text}… {length} bytes")
    } else {
        text
    };
    match room {
        Some(room) => shorten(text, room),
        None => text,
    }
}

fn shorten(text: String, room: usize) -> String {
    if text.chars().count() <= room {
        return text;
    }
    let kept: String = text.chars().take(room.saturating_sub(1)).collect();
    format!("{kept}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(seq: u32, kind: &str, asked: Option<&str>, answered: Option<&str>) -> Value {
        let said = |text: Option<&str>| text.map(|text| json!({ "start": text, "length": text.len() }));
        json!({
            "seq": seq, "kind": kind, "call": "commands.start", "class": "run-once", "at": 1500 + seq,
            "request": said(asked), "response": said(answered),
        })
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_both_sides_are_seen() {
        let long = "x".repeat(500);
        let rows = [
            row(0, "created", Some(&long), None),
            row(1, "start", Some("{\"a\":1}"), None),
            row(2, "end", None, Some(&long)),
            row(3, "local", Some(&long), Some("null")),
            row(4, "local", Some("\"k\""), Some(&long)),
            row(5, "local", Some("\u{1b}[2Jä"), Some("null")),
            row(6, "end", Some("1"), Some("{}")),
        ];
        let step = json!({ "started": 1000 });
        for width in [80, 100, 237] {
            for line in table(&step, &rows, Some(width)) {
                assert!(line.chars().count() <= width, "{width}: {line}");
                assert!(!line.contains('\u{1b}'), "{line}");
            }
        }
        let lines = table(&step, &rows, Some(80));
        assert!(lines[7].ends_with("row 1 = {}"), "{}", lines[7]);
        assert!(lines[4].ends_with("… = null"), "{}", lines[4]);
        assert!(lines[5].contains("\"k\" = xxx"), "{}", lines[5]);
        assert!(
            table(&step, &rows, None)[4].contains(&long),
            "a pipe gets all of it"
        );
        for narrow in [0, 1, 10] {
            table(&step, &rows, Some(narrow));
        }
    }

    #[test]
    fn what_the_master_left_out_is_counted() {
        let payload = json!({ "start": "[1,2", "length": 5000 });
        assert_eq!(start(&payload, None), "[1,2… 5000 bytes");
    }
}
