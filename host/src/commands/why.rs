//! `capstan why`.

use std::process::ExitCode;

use serde_json::Value;

use crate::cli::Common;
use crate::client::Client;
use crate::output::{plain, print, print_json};

/// Says why a request waits, or what became of it.
pub async fn run(common: &Common, request: i64) -> anyhow::Result<ExitCode> {
    let answer = Client::new(common)?
        .get(&format!("/requests/{request}/why"))
        .await?;
    if common.json {
        print_json(&answer);
        return Ok(ExitCode::SUCCESS);
    }
    for line in lines(&answer) {
        print(&line);
    }
    Ok(ExitCode::SUCCESS)
}

fn lines(answer: &Value) -> Vec<String> {
    let text = |value: &Value| plain(value.as_str().unwrap_or("?"));
    let place = match answer["place"].as_u64() {
        Some(place) => format!(", place {place} in the queue"),
        None => String::new(),
    };
    let mut lines = vec![
        format!(
            "request {} for {}: {}{place}",
            answer["request"],
            text(&answer["builder"]),
            text(&answer["state"])
        ),
        text(&answer["text"]),
    ];
    let workers = answer["workers"].as_array().into_iter().flatten();
    lines.extend(
        workers.map(|worker| format!("  worker {:<20} {}", text(&worker["name"]), text(&worker["text"]))),
    );
    let builds = answer["builds"].as_array().into_iter().flatten();
    lines.extend(builds.map(|build| {
        format!(
            "  build  {:<20} on {}",
            format!("{}/{}", text(&build["builder"]), build["number"]),
            text(&build["worker"])
        )
    }));
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_waiting_request_is_told_with_its_place_and_what_is_in_the_way() {
        let answer = json!({
            "request": 7, "builder": "linux\u{1b}", "state": "pending", "place": 3, "text": "no worker can take it: w1 has never joined",
            "workers": [{ "name": "w1", "text": "has never joined" }],
            "builds": [{ "builder": "c", "number": 4, "worker": "w2" }],
        });
        assert_eq!(
            lines(&answer),
            [
                "request 7 for linux\u{fffd}: pending, place 3 in the queue",
                "no worker can take it: w1 has never joined",
                "  worker w1                   has never joined",
                "  build  c/4                  on w2",
            ]
        );
    }
}
