//! A step's calls as a scenario expects them, from the form in which its journal compares them.

use capstan_engine::Asked;
use serde_json::{Map, Value, json};

use super::farm::{Farm, env};
use crate::call::Call;

pub(crate) fn calls(asked: &[Asked], farm: &Farm) -> Vec<Call> {
    asked.iter().map(|asked| call(asked, farm)).collect()
}

fn call(made: &Asked, farm: &Farm) -> Call {
    let (name, asked) = (made.call.as_str(), &made.asked);
    let text = |member: &str| asked[member].as_str().unwrap_or_default();
    let command = |id: &Value| farm.words_of(id.as_str().unwrap_or_default());
    match name {
        "commands.run" | "commands.start" => specification(name, asked),
        "command.wait" | "command.kill" => {
            let words = command(&asked["command"]);
            let with = json!({ "command": words, "reason": asked["reason"] });
            Call::new(name, words, with)
        }
        "commands.wait-any" => {
            let all: Vec<String> = asked["commands"]
                .as_array()
                .into_iter()
                .flatten()
                .map(command)
                .collect();
            Call::new(name, all.len().to_string(), json!({ "commands": all }))
        }
        "timers.sleep-ms" => {
            let ms = &asked["duration_ms"];
            Call::new(name, ms.to_string(), json!({ "ms": ms }))
        }
        "build.set-property" => {
            // As the plugin spelled it.
            let value: Value = serde_json::from_str(text("value")).unwrap_or_default();
            let words = format!("{} {value}", text("name"));
            Call::new(name, words, json!({ "name": asked["name"], "value": value }))
        }
        "build.set-summary" => Call::new(name, text("text"), asked.clone()),
        "build.add-link" => Call::new(name, format!("{} {}", text("label"), text("url")), asked.clone()),
        "artefacts.publish" => Call::new(name, format!("{} {}", text("path"), text("name")), asked.clone()),
        "artefacts.write" => Call::new(name, text("name"), asked.clone()),
        "ending.end-build" => {
            let words = format!("{} {}", text("outcome"), text("reason"));
            Call::new(name, words, asked.clone())
        }
        "triggers.call" => {
            // As the plugin spelled it: an object, or it would have been refused.
            let mut with: Map<String, Value> = serde_json::from_str(text("call")).unwrap_or_default();
            with.insert("scheduler".to_owned(), asked["scheduler"].clone());
            Call::new(name, text("scheduler"), Value::Object(with))
        }
        "triggers.wait" => {
            let number = asked["buildsets"].as_array().map_or(0, Vec::len);
            Call::new(name, number.to_string(), asked.clone())
        }
        "build.write-log" => Call::new(name, text("name"), asked.clone()),
        _ => Call::new(name, "", asked.clone()),
    }
}

/// A command with all of its defaults: what is compared on a replay leaves them out.
fn specification(name: &str, asked: &Value) -> Call {
    let mut with = Map::new();
    for (member, value) in [
        ("workdir", json!("build")),
        ("env", json!({})),
        ("log", json!("stdio")),
        ("idle_timeout_ms", json!(20 * 60 * 1000)),
        ("total_timeout_ms", json!(0)),
        ("term_grace_ms", json!(10_000)),
        ("capture_stdout", json!(0)),
    ] {
        with.insert(member.to_owned(), value);
    }
    let mut words = String::new();
    for (member, value) in asked.as_object().into_iter().flatten() {
        match (member.as_str(), value) {
            ("program", program) => {
                let argv = program["argv"].as_array().into_iter().flatten();
                let line = program["shell"].as_str().map(str::to_owned);
                words = line.unwrap_or_else(|| argv.filter_map(Value::as_str).collect::<Vec<_>>().join(" "));
                with.extend(program.as_object().cloned().unwrap_or_default());
            }
            ("env", Value::Object(all)) => {
                let all = all
                    .iter()
                    .map(|(name, value)| (name.clone(), env(value)))
                    .collect();
                with.insert(member.clone(), Value::Object(all));
            }
            _ => {
                with.insert(member.clone(), value.clone());
            }
        }
    }
    Call::new(name, words, Value::Object(with))
}
