//! A step that looks at the world through WASI, as its parameters say: `{"script": [{"op": "wall"}, …]}`. What it saw, in
//! order, becomes the property `trace`.

use serde_json::{Value, json};

wit_bindgen::generate!({ path: ["../../../wit", "wit"], world: "fixture:wasi/fixture", generate_all });

use capstan::plugin::types::{Outcome, PluginError};
use capstan::plugin::{build, clock, commands, timers};
use wasi::cli::{environment, exit, stderr, stdin, stdout};
use wasi::clocks::{monotonic_clock, wall_clock};
use wasi::filesystem::preopens;
use wasi::io::poll::{self, Pollable};
use wasi::io::streams::OutputStream;
use wasi::random::random;
use wasi::sockets::network::IpAddressFamily;
use wasi::sockets::{instance_network, ip_name_lookup, tcp_create_socket};

struct Fixture;
export!(Fixture);

impl exports::capstan::plugin::step::Guest for Fixture {
    fn check(_config: String) -> Result<(), PluginError> {
        print(stdout::get_stdout(), "checked\n");
        Ok(())
    }

    fn run(config: String) -> Result<Outcome, PluginError> {
        let config: Value =
            serde_json::from_str(&config).map_err(|error| PluginError::Permanent(error.to_string()))?;
        let mut trace = Vec::new();
        for op in config["script"].as_array().into_iter().flatten() {
            let name = op["op"].as_str().unwrap_or_default();
            trace.push(format!("{name}: {}", play(name, op)));
        }
        build::set_property("trace", &json!(trace).to_string()).map_err(PluginError::Permanent)?;
        Ok(Outcome::Success)
    }
}

fn play(name: &str, op: &Value) -> String {
    let text = op["text"].as_str().unwrap_or_default();
    let number = op["n"].as_u64().unwrap_or_default();
    match name {
        "run" => {
            let ran = commands::run(&commands::Spec::argv(&["make".to_owned()]));
            format!("{:?}", ran.map(|done| done.exit))
        }
        "timer" => timers::sleep_ms(number).to_string(),
        "now" => clock::now().to_string(),
        "wall" => {
            let now = wall_clock::now();
            format!("{}.{:09}", now.seconds, now.nanoseconds)
        }
        "monotonic" => monotonic_clock::now().to_string(),
        "sleep" => {
            let before = monotonic_clock::now();
            monotonic_clock::subscribe_duration(number * 1_000_000).block();
            format!("{} ms", (monotonic_clock::now() - before) / 1_000_000)
        }
        "poll" => polled(),
        "random" => format!(
            "{:x} {:?}",
            random::get_random_u64(),
            random::get_random_bytes(number)
        ),
        "out" => print(stdout::get_stdout(), text),
        "err" => print(stderr::get_stderr(), text),
        "zeroes" => format!("{:?}", stdout::get_stdout().write_zeroes(number)),
        "in" => format!("{:?}", stdin::get_stdin().blocking_read(1)),
        "environment" => format!(
            "{:?} {:?} {:?}",
            environment::get_environment(),
            environment::get_arguments(),
            environment::initial_cwd()
        ),
        "files" => preopens::get_directories().len().to_string(),
        "socket" => format!(
            "{:?}",
            tcp_create_socket::create_tcp_socket(IpAddressFamily::Ipv4).err()
        ),
        "lookup" => {
            let network = instance_network::instance_network();
            format!("{:?}", ip_name_lookup::resolve_addresses(&network, text).err())
        }
        hostile => ruthless(hostile),
    }
}

fn ruthless(name: &str) -> String {
    match name {
        "exit" => {
            exit::exit(Err(()));
            "it went on".to_owned()
        }
        "sleep-forever" => loop {
            monotonic_clock::subscribe_duration(1_000_000_000).block();
        },
        "wait-by-reading" => {
            let until = monotonic_clock::now() + 20_000_000;
            let mut read = 0;
            while monotonic_clock::now() < until {
                read += 1;
            }
            format!("{}", read > 0)
        }
        "hold" => {
            let all: Vec<Pollable> = (0..)
                .map(monotonic_clock::subscribe_duration)
                .take(100_000)
                .collect();
            all.len().to_string()
        }
        "bytes" => random::get_random_bytes(u64::MAX).len().to_string(),
        "poll-none" => format!("{:?}", poll::poll(&[])),
        other => format!("expected an op, found {other:?}"),
    }
}

/// Which of three times comes first, then which of a stream and a time.
fn polled() -> String {
    let second = 1_000_000_000;
    let [late, soon, later] = [3, 1, 5].map(|n| monotonic_clock::subscribe_duration(n * second));
    let first = poll::poll(&[&late, &soon, &later]);
    let stream = stdout::get_stdout().subscribe();
    format!(
        "{first:?} {} {} {:?}",
        late.ready(),
        soon.ready(),
        poll::poll(&[&late, &stream])
    )
}

fn print(stream: OutputStream, text: &str) -> String {
    let done = stream
        .check_write()
        .and_then(|_room| stream.write(text.as_bytes()))
        .and_then(|()| stream.blocking_flush());
    format!("{done:?}")
}
