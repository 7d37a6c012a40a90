//! A step that does what its parameters say: `{"script": [{"op": "run", "argv": ["make"]}, …], "outcome": "success"}`.
//! It uses every import of its world; what it was answered, in order, becomes the property `trace`.

use std::collections::HashMap;

use serde_json::{Value, json};

wit_bindgen::generate!({ path: "../../../wit", world: "step-plugin" });

use capstan::plugin::types::{Outcome, PluginError, Problem};
use capstan::plugin::{artefacts, build, clock, commands, ending, entropy, log, timers, triggers};

struct Fixture;
export!(Fixture);

impl exports::capstan::plugin::step::Guest for Fixture {
    fn check(config: String) -> Result<(), PluginError> {
        let config = parse(&config)?;
        if config["in_check"] == "run" {
            let _ = commands::run(&commands::Spec::shell("true"));
        }
        if config["script"].is_array() {
            return Ok(());
        }
        Err(PluginError::InvalidConfig(vec![Problem {
            path: "script".into(),
            message: "expected a list".into(),
        }]))
    }

    fn run(config: String) -> Result<Outcome, PluginError> {
        std::panic::set_hook(Box::new(|info| log::write(log::Level::Error, &info.to_string())));
        let config = parse(&config)?;
        let mut player = Player::default();
        for op in config["script"].as_array().into_iter().flatten() {
            let line = player.play(op)?;
            player.trace.push(format!("{}: {line}", text(op, "op")));
        }
        let trace = json!(player.trace).to_string();
        build::set_property("trace", &trace).map_err(PluginError::Permanent)?;
        Ok(outcome(text(&config, "outcome")))
    }
}

fn outcome(word: &str) -> Outcome {
    match word {
        "failure" => Outcome::Failure,
        "warnings" => Outcome::Warnings,
        "skipped" => Outcome::Skipped,
        _ => Outcome::Success,
    }
}

#[derive(Default)]
struct Player {
    trace: Vec<String>,
    started: Vec<commands::Command>,
    /// Buildsets that schedulers made.
    made: Vec<i64>,
}

impl Player {
    fn play(&mut self, op: &Value) -> Result<String, PluginError> {
        Ok(match text(op, "op") {
            "run" => completion(commands::run(&spec(op))),
            "start" => match commands::start(&spec(op)) {
                Ok(command) => {
                    let id = command.id();
                    self.started.push(command);
                    id
                }
                Err(error) => format!("{error:?}"),
            },
            "wait" => completion(self.started[number(op, "command") as usize].wait()),
            "kill" => {
                self.started[number(op, "command") as usize].kill(text(op, "reason"));
                "asked".into()
            }
            "wait-all" => self.wait_all(),
            "wait-none" => commands::wait_any(&[]).to_string(),
            "publish" => format!("{:?}", artefacts::publish(text(op, "path"), text(op, "name"))),
            "write" => {
                let content = text(op, "text").repeat(op["times"].as_u64().unwrap_or(1) as usize);
                format!("{:?}", artefacts::write(text(op, "name"), content.as_bytes()))
            }
            "trigger" => {
                let made = triggers::call(text(op, "scheduler"), text(op, "call"));
                self.made.extend(made.iter().flatten());
                format!("{made:?}")
            }
            "await" => format!("{:?}", triggers::wait(&self.made, true)),
            "await-other" => format!("{:?}", triggers::wait(&[4711], false)),
            "sleep" => timers::sleep_ms(number(op, "ms")).to_string(),
            other => local(other, op)?,
        })
    }

    /// Waits for all started commands in the order in which they end.
    fn wait_all(&mut self) -> String {
        let mut order = Vec::new();
        while !self.started.is_empty() {
            let all: Vec<_> = self.started.iter().collect();
            let first = commands::wait_any(&all) as usize;
            let ended = self.started.remove(first);
            order.push(format!("{first} {}", completion(ended.wait())));
        }
        order.join(", ")
    }
}

fn local(name: &str, op: &Value) -> Result<String, PluginError> {
    Ok(match name {
        "now" => clock::now().to_string(),
        "seed" => entropy::seed().to_string(),
        "step-name" => build::step_name(),
        "sources" => format!("{:?}", build::sources()),
        "get" => format!("{:?}", build::get_property(text(op, "name"))),
        "set" => format!("{:?}", build::set_property(text(op, "name"), text(op, "value"))),
        "summary" => {
            build::set_summary(text(op, "text"));
            String::new()
        }
        "link" => {
            build::add_link(text(op, "text"), text(op, "url"));
            String::new()
        }
        "text" => {
            build::write_log(text(op, "log"), text(op, "text"));
            String::new()
        }
        "end-build" => {
            ending::end_build(outcome(text(op, "outcome")), text(op, "text"));
            String::new()
        }
        "log" => {
            log::write(log::Level::Info, text(op, "text"));
            String::new()
        }
        "hash-map" => {
            let map: HashMap<u64, u64> = (0..20).map(|n| (n * 7919, n)).collect();
            format!("{:?}", map.keys().collect::<Vec<_>>())
        }
        "float" => format!("{:?}", (f64::NAN * number(op, "n") as f64).to_bits()),
        "transient" => return Err(PluginError::Transient(text(op, "text").into())),
        "permanent" => return Err(PluginError::Permanent(text(op, "text").into())),
        other => return Err(hostile(other, op)),
    })
}

fn hostile(name: &str, op: &Value) -> PluginError {
    match name {
        "panic" => panic!("{}", text(op, "text")),
        "spin" => loop {
            std::hint::black_box(());
        },
        "allocate" => {
            let mut all: Vec<Vec<u8>> = Vec::new();
            loop {
                all.push(std::hint::black_box(vec![1; 1 << 20]));
            }
        }
        "now-forever" => loop {
            clock::now();
        },
        other => PluginError::Permanent(format!("expected an op, found {other:?}")),
    }
}

fn spec(op: &Value) -> commands::Spec {
    let spec = match op["argv"].as_array() {
        Some(argv) => commands::Spec::argv(
            &argv
                .iter()
                .filter_map(Value::as_str)
                .map(String::from)
                .collect::<Vec<_>>(),
        ),
        None => commands::Spec::shell(text(op, "shell")),
    };
    let set = |key: &str, set: &dyn Fn(&str)| {
        if let Some(value) = op[key].as_str() {
            set(value);
        }
    };
    set("workdir", &|path| spec.set_workdir(path));
    set("log", &|name| spec.set_log(name));
    set("secret", &|name| spec.set_secret_env("TOKEN", name));
    set("unset", &|name| spec.unset_env(name));
    set("lang", &|value| spec.set_env("LANG", value));
    if let Some(ms) = op["timeouts"].as_u64() {
        spec.set_idle_timeout(ms);
        spec.set_total_timeout(ms * 2);
        spec.set_term_grace(ms / 2);
    }
    spec.set_capture_stdout(number(op, "capture") as u32);
    spec
}

fn completion(answer: Result<commands::Completion, commands::CommandError>) -> String {
    match answer {
        Ok(done) => format!("{:?} {:?}", done.exit, String::from_utf8_lossy(&done.stdout)),
        Err(error) => format!("{error:?}"),
    }
}

fn text<'a>(op: &'a Value, key: &str) -> &'a str {
    op[key].as_str().unwrap_or_default()
}

fn number(op: &Value, key: &str) -> u64 {
    op[key].as_u64().unwrap_or_default()
}

fn parse(config: &str) -> Result<Value, PluginError> {
    serde_json::from_str(config).map_err(|error| PluginError::Permanent(error.to_string()))
}
