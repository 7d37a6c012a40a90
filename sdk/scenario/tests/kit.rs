//! What an author of a plugin is promised by scenario files, for each kind, with the built-in plugins.

use std::sync::OnceLock;

use capstan_engine::{Engine, Options, Plugin};
use capstan_model::plugin::Kind;
use capstan_scenario::{Report, Scenario};

fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let options = Options {
            step_instances: 8,
            call_instances: 8,
            ..Options::default()
        };
        Engine::new(options).expect("an engine")
    })
}

fn plugin(kind: Kind, name: &str) -> &'static Plugin {
    static PLUGINS: OnceLock<Vec<Plugin>> = OnceLock::new();
    let all = PLUGINS.get_or_init(|| {
        let files = capstan_builtin::components().iter();
        files
            .map(|(_, bytes)| engine().load(bytes).expect("it loads"))
            .collect()
    });
    let found = all
        .iter()
        .find(|plugin| plugin.kind() == kind && plugin.name() == name);
    found.expect("it is built in")
}

fn run(kind: Kind, name: &str, text: &str) -> Report {
    let plugin = plugin(kind, name);
    match Scenario::parse("tests/a.toml", text, kind) {
        Ok(scenario) => scenario.run(engine(), plugin),
        Err(fault) => Report {
            faults: vec![fault],
            ..Report::default()
        },
    }
}

fn faults(report: &Report) -> String {
    let all: Vec<String> = report.faults.iter().map(ToString::to_string).collect();
    all.join("\n")
}

fn passes(kind: Kind, name: &str, text: &str) -> Report {
    let report = run(kind, name, text);
    assert_eq!(faults(&report), "", "{text}");
    report
}

/// The scenario has this fault; the text may be the beginning of it.
fn fails(kind: Kind, name: &str, text: &str, expected: &str) {
    let found = faults(&run(kind, name, text));
    assert!(
        found.contains(expected),
        "expected {expected:?} in\n{found}\nfor\n{text}"
    );
}

const SHELL: &str = r#"
[parameters]
command = ["make", "all"]
env = { CC = "clang" }
timeout = "5min"

[build]
step = "compile"

[[command]]
match = "make *"
exit = 2
after = "3s"
stdout = "no rule"

[expect]
outcome = "failure"
duration = "3s"
calls = [
    "commands.run make all",
    { call = "build.set-summary", text = "exit code 2" },
]
"#;

#[test]
fn a_step_passes_and_is_run_again_from_every_prefix() {
    let report = passes(Kind::Step, "shell", SHELL);
    assert_eq!((report.host_calls, report.prefixes), (2, 4), "{report:?}");
    let table = SHELL.replace(
        r#""commands.run make all","#,
        r#"{ call = "commands.run", argv = ["make", "*"], env = { CC = "clang" }, workdir = "build", idle_timeout_ms = 300000 },"#,
    );
    passes(Kind::Step, "shell", &table);
}

#[test]
fn a_step_that_does_otherwise_is_told_with_line_expected_and_found() {
    for (right, wrong, expected) in [
        (
            r#"outcome = "failure""#,
            r#"outcome = "success""#,
            "tests/a.toml:17: outcome: expected success, found failure",
        ),
        (
            r#"outcome = "failure""#,
            "",
            "outcome: expected success, found failure",
        ),
        (
            "duration = \"3s\"",
            "duration = \"4s\"",
            "tests/a.toml:18: duration: expected 4s, found 3s",
        ),
        (
            "commands.run make all",
            "commands.run make",
            "tests/a.toml:20: call 1: expected `commands.run make`, found `commands.run make all`",
        ),
        (
            "exit code 2",
            "exit code 3",
            "tests/a.toml:21: call 2: `build.set-summary exit code 2`: text: expected \"exit code 3\"",
        ),
        (
            "outcome =",
            "summary = \"fine\"\noutcome =",
            "tests/a.toml:17: summary: expected `fine`, found `exit code 2`",
        ),
        (
            "outcome =",
            "error = \"*\"\noutcome =",
            "the step: error: expected `*`, found nothing",
        ),
        (
            "outcome =",
            "logs = { notes = \"x\" }\noutcome =",
            "the log notes: expected `x`, found nothing",
        ),
        (
            "outcome =",
            "links = [{ label = \"x\" }]\noutcome =",
            "links: expected [{\"label\":\"x\"}], found []",
        ),
        (
            "outcome =",
            "properties = { size = 3 }\noutcome =",
            "properties: size: expected 3, found nothing",
        ),
        (
            "outcome =",
            "said = [\"hello\"]\noutcome =",
            "said: expected `hello`, found none that fits",
        ),
        (
            r#"match = "make *""#,
            r#"match = "cmake *""#,
            "no [[command]] fits `make all`",
        ),
        (
            "exit = 2",
            "exit = 2\ntimes = 0",
            "no [[command]] fits `make all`",
        ),
        (
            "timeout = \"5min\"",
            "timeout = \"soon\"",
            "tests/a.toml:2: parameters: timeout: ",
        ),
        ("timeout", "timeoot", "tests/a.toml:2: parameters: "),
    ] {
        assert!(SHELL.contains(right), "{right}");
        fails(Kind::Step, "shell", &SHELL.replacen(right, wrong, 1), expected);
    }
}

#[test]
fn a_command_ends_as_its_rule_says() {
    for (rule, outcome, summary) in [
        ("exit = 0", "success", None),
        ("signal = 9", "failure", Some("ended by signal 9")),
        ("idle_timeout = true", "failure", Some("timed out*")),
        ("killed = \"disk full\"", "exception", Some("stopped: disk full")),
        (
            "not_started = \"no such program\"",
            "failure",
            Some("not started: no such program"),
        ),
        ("lost = \"w1 is gone\"", "retry", Some("worker lost: w1 is gone")),
    ] {
        let text = SHELL
            .replace("exit = 2", rule)
            .replace("\"failure\"", &format!("{outcome:?}"));
        let calls = text.find("calls = [").unwrap();
        let summary = summary
            .map(|text| format!("summary = {text:?}"))
            .unwrap_or_default();
        passes(Kind::Step, "shell", &format!("{}\n{summary}", &text[..calls]));
    }
}

#[test]
fn a_file_is_stored_as_its_rule_says() {
    let text = r#"
        parameters = { path = "build/dist/app.whl", artefact = "app.whl" }
        artefact = [{ match = "build/dist/*", content = "the bytes", after = "3s" }]
        [expect]
        summary = "app.whl, 9 B"
        artefacts = { "app.whl" = "the*" }
        duration = "3s"
        calls = [{ call = "artefacts.publish", path = "build/dist/app.whl", name = "app.whl" }, "..."]
    "#;
    let report = passes(Kind::Step, "upload", text);
    assert!(report.prefixes > 2, "it is run again from its journal");
    let others = [
        (text.replace("the*", "others"), "the artefact app.whl"),
        (text.replace(r#""app.whl" = "the*""#, ""), "expected no `app.whl`"),
        (
            text.replace("match = \"build/dist/*\"", "match = \"src/*\""),
            "no [[artefact]] fits `build/dist/app.whl`",
        ),
    ];
    for (text, expected) in others {
        fails(Kind::Step, "upload", &text, expected);
    }
    for (rule, outcome) in [
        ("missing = \"why\"", "failure"),
        ("too_large = \"why\"", "failure"),
        ("unavailable = \"why\"", "exception"),
    ] {
        let text = format!(
            "parameters = {{ path = \"build/app\" }}\nartefact = [{{ {rule} }}]\nexpect = {{ outcome = {outcome:?}, summary = \"why\", artefacts = {{}} }}"
        );
        passes(Kind::Step, "upload", &text);
    }
}

#[test]
fn a_scheduler_makes_what_its_rule_says() {
    let text = r#"
        parameters = { schedulers = ["tests", "later", "docs"], wait = true, unimportant = ["docs"], properties = { channel = "beta" } }

        [[trigger]]
        match = "te*"
        after = "10min"
        builds = [{ builder = "linux", number = 3 }, { builder = "mac", outcome = "failure" }]
        [[trigger]]
        match = "later"
        buildsets = 0
        [[trigger]]
        match = "docs"
        buildsets = 2
        after = "20min"
        outcome = "cancelled"

        [expect]
        outcome = "failure"
        summary = "tests: failure, asked later, which builds later, docs: cancelled"
        duration = "20min"
        calls = [
            { call = "triggers.call", scheduler = "tests", sources = "own", properties = { channel = "beta" } },
            "triggers.call later",
            "triggers.call docs",
            "build.set-summary waits for *",
            { call = "triggers.wait", buildsets = [1, 2, 3], give_back = false },
            "build.set-summary *",
        ]
    "#;
    let report = passes(Kind::Step, "trigger", text);
    assert!(report.prefixes > 6, "it is run again from its journal");
    let others = [
        (
            text.replace("\"beta\" } },", "\"b\" } },"),
            "properties.channel: expected \"b\", found \"beta\"",
        ),
        (
            text.replace("match = \"docs\"", "match = \"doc\""),
            "no [[trigger]] fits `docs`",
        ),
        (
            text.replace("match = \"te*\"", "times = 0"),
            "no [[trigger]] fits `tests`",
        ),
        (text.replace("buildsets = 2", "buildsets = 300"), "expected u8"),
        (
            text.replace("outcome = \"cancelled\"", "outcom = \"cancelled\""),
            "unknown key `outcom`; did you mean `outcome`?",
        ),
    ];
    for (text, expected) in others {
        fails(Kind::Step, "trigger", &text, expected);
    }
}

#[test]
fn a_scheduler_refuses_and_waiting_never_ends_as_the_rules_say() {
    for (rules, expected) in [
        ("", "summary = \"a: success\""),
        (
            "[[trigger]]\nrefused = [{ path = \"sources\", message = \"expected one\" }, { message = \"disabled\" }]",
            "outcome = \"exception\"\nerror = \"*scheduler `a`: sources: expected one; disabled*\"",
        ),
        (
            "[[trigger]]\nafter = \"3s\"\ndeadlock = \"a/1 waits for itself\"",
            "outcome = \"exception\"\nsummary = \"a/1 waits for itself\"\nduration = \"3s\"",
        ),
        (
            "[build]\nstop = { after = \"10s\", reason = \"Ann pressed stop\" }\n[[trigger]]\nafter = \"1min\"",
            "outcome = \"cancelled\"\nsummary = \"stopped: Ann pressed stop\"\nduration = \"10s\"",
        ),
        (
            "grants = { triggers = [\"b\"] }",
            "outcome = \"exception\"\nerror = \"*may not use triggers `a`*\"",
        ),
    ] {
        let text =
            format!("parameters = {{ schedulers = \"a\", wait = true }}\n{rules}\n[expect]\n{expected}");
        passes(Kind::Step, "trigger", &text);
    }
}

#[test]
fn a_stopped_build_and_a_missing_right_end_a_step() {
    let stopped = r#"
        parameters = { command = "sleep 60" }
        build = { stop = { after = "10s", reason = "Ann pressed stop" } }
        command = [{ after = "1min" }]
        expect = { outcome = "cancelled", summary = "stopped: Ann pressed stop", duration = "10s", calls = ["commands.run sleep 60", "..."] }
    "#;
    passes(Kind::Step, "shell", stopped);
    let denied = r#"
        parameters = { command = ["make"] }
        grants = { commands = ["cmake"] }
        expect = { outcome = "exception", error = "*may not use commands `make`*" }
    "#;
    passes(Kind::Step, "shell", denied);
}

#[test]
fn checks_tell_what_a_configuration_would() {
    let text = r#"
        [[check]]
        parameters = { command = ["make"] }
        [[check]]
        parameters = { command = ["make"], decode_rc = { "3" = "fine" } }
        problems = [{ path = "decode_rc*", message = "*fine*" }]
        [[check]]
        parameters = { command = ["make"], log = "" }
        problems = [{ path = "log" }]
    "#;
    passes(Kind::Step, "shell", text);
    fails(
        Kind::Step,
        "shell",
        "[[check]]\nparameters = {}\n",
        "tests/a.toml:1: check: the problems differ\n  expected: none\n  found:\n    : \"command\" is a required property",
    );
    fails(
        Kind::Step,
        "shell",
        "[[check]]\nparameters = { command = \"a\" }\nproblems = [{ path = \"x\" }]\n",
        "expected:\n    x: *\n  found: none",
    );
}

/// The engine takes an instance with much memory apart beside an executor, which virtual time must not take for its end.
#[test]
fn a_plugin_with_much_memory_is_tested_like_any_other() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _as_in_the_program = runtime.enter();
    let words = vec![r#""a""#; 200_000].join(",");
    let text = format!("[[check]]\nparameters = {{ command = [{words}] }}\n");
    assert_eq!(faults(&run(Kind::Step, "shell", &text)), "");
}

#[test]
fn an_unknown_key_is_an_error_with_the_nearest_name() {
    for (text, expected) in [
        (
            "[[comand]]\nexit = 0",
            "tests/a.toml:1: unknown key `comand`; did you mean `command`?",
        ),
        (
            "[expect]\noutcom = \"x\"",
            "tests/a.toml:2: unknown key `outcom`; did you mean `outcome`?",
        ),
        (
            "[expect]\nzebra = 1",
            "tests/a.toml:2: unknown key `zebra`; expected one of `outcome`, `summary`",
        ),
        ("[[event]]\nstarted = true", "tests/a.toml:1: unknown key `event`"),
        (
            "[[command]]\nafter = \"soon\"",
            "tests/a.toml:2: expected a duration such as \"30s\"",
        ),
        ("[expect]\ncalls = [3]", "tests/a.toml:2: expected a call"),
        ("[expect]\noutcome = \"good\"", "unknown variant `good`"),
        ("now = \n", "tests/a.toml:1: "),
        (
            "now = 2026-01-01",
            "tests/a.toml:1: expected a date with an offset",
        ),
        (
            "[grants]\ncomands = []",
            "unknown key `comands`; did you mean `commands`?",
        ),
    ] {
        fails(Kind::Step, "shell", text, expected);
    }
    let long = format!("description = \"{}\"", "x".repeat(capstan_scenario::MAX_FILE));
    fails(Kind::Step, "shell", &long, "expected at most 1048576 bytes");
}

const BRANCHES: &str = r#"
until = "1h"

[parameters]
tree_stable_timer = "10s"

[[event]]
started = true
expect = { requests = [], timers = [] }

[[event]]
after = "5min"
change = { branch = "main", revision = "a1", files = ["src/lib.rs"] }
expect = { requests = [], timers = [{ at = "5min10s" }] }

[[event]]
after = "5s"
change = { branch = "main", revision = "a2" }

[expect]
requests = [{ at = "5min15s", changes = [1, 2], sources = [{ branch = "main", revision = "a2" }] }]
timers = []
"#;

#[test]
fn a_schedulers_timers_fire_in_virtual_time() {
    let report = passes(Kind::Scheduler, "any-branch", BRANCHES);
    assert_eq!(report.calls, 1 + 2 * 4, "its check, and each event twice");
}

#[test]
fn a_scheduler_that_does_otherwise_is_told_with_line_expected_and_found() {
    for (right, wrong, expected) in [
        (
            "\"5min15s\"",
            "\"5min14s\"",
            "tests/a.toml:21: request 1: at: expected 5min14s, found 5min15s",
        ),
        (
            "\"5min15s\"",
            "2026-01-01T00:05:14Z",
            "request 1: at: expected 5min14s, found 5min15s",
        ),
        ("[1, 2]", "[1]", "request 1: changes: expected [1], found [1,2]"),
        (
            "\"a2\" }] }]",
            "\"a3\" }] }]",
            "request 1: sources[0].revision: expected \"a3\", found \"a2\"",
        ),
        (
            "requests = [{",
            "requests = [] # [{",
            "tests/a.toml:21: request 1: expected no more, found",
        ),
        (
            "timers = [{ at = \"5min10s\" }]",
            "timers = []",
            "tests/a.toml:14: timer 1: expected no more",
        ),
        ("until = \"1h\"", "", "request 1: expected {"),
        (
            "started = true",
            "started = true\ntimer = \"x\"",
            "tests/a.toml:7: event: expected one of `started = true`",
        ),
        ("started = true", "", "event: expected one of"),
        (
            "after = \"5s\"",
            "at = \"1min\"",
            "tests/a.toml:16: event: expected either `after` or an `at` that is not before 5min",
        ),
        (
            "timers = []\n",
            "timers = []\nstate = { a = 1 }\n",
            "state: a: expected 1, found nothing",
        ),
        (
            "timers = []\n",
            "timers = []\nerror = \"x\"\n",
            "the scheduler: error: expected `x`, found nothing",
        ),
    ] {
        assert!(BRANCHES.contains(right), "{right}");
        let (head, tail) = BRANCHES.split_at(BRANCHES.rfind(right).unwrap());
        fails(
            Kind::Scheduler,
            "any-branch",
            &format!("{head}{}", tail.replacen(right, wrong, 1)),
            expected,
        );
    }
}

#[test]
fn a_year_of_nights_passes_in_a_moment() {
    let text = r#"
        now = 2026-01-01T12:00:00Z
        until = "365d"
        parameters = { at = "03:30", timezone = "Europe/Madrid" }
        event = [{ started = true }]
    "#;
    let report = passes(Kind::Scheduler, "nightly", text);
    assert_eq!(report.calls, 1 + 2 * 366);
    let none = format!("{text}\nexpect = {{ requests = [] }}");
    fails(
        Kind::Scheduler,
        "nightly",
        &none,
        "request 1: expected no more, found",
    );
}

#[test]
fn what_a_scheduler_cannot_read_is_its_error() {
    let text = r#"
        state = "nonsense"
        [[event]]
        started = true
        expect = { error = "expected a state as this version of the plugin writes it*" }
    "#;
    passes(Kind::Scheduler, "any-branch", text);
    let silent = text.replace("expect =", "# expect =");
    fails(
        Kind::Scheduler,
        "any-branch",
        &silent,
        "the scheduler: expected no error, found `expected a state",
    );
    let migrate = "[migrate]\nfrom = \"0.0.9\"\n";
    fails(
        Kind::Scheduler,
        "any-branch",
        migrate,
        "tests/a.toml:1: migrate: expected no error, found `the plugin has no `migrate``",
    );
}

const POLLS: &str = r#"
[parameters]
repository = "https://git.example.org/a"
announce_existing = true

[[poll]]
git."https://git.example.org/a" = { branches = { main = "c1" }, commits = [{ revision = "c1" }] }
expect = { changes = [{ revision = "c1", branch = "main" }], poll_again = "60s" }

[[poll]]
git."https://git.example.org/a" = { branches = { main = "c3" }, commits = [
    { revision = "c2", comments = "second", files = ["a.c"], author = "Ann <ann@example.org>" },
    { revision = "c3" },
] }
expect = { changes = [{ revision = "c2", comments = "second", files = ["a.c"] }, { revision = "c3" }] }

[[poll]]
git."https://git.example.org/a" = { error = "no route" }
expect = { error = "no route", calls = ["git.fetch *"] }

[expect]
calls = ["git.fetch https://git.example.org/a", "..."]
cursor = { heads = { main = "c3" } }
"#;

#[test]
fn a_change_source_sees_a_repository_grow() {
    let report = passes(Kind::ChangeSource, "git-poller", POLLS);
    assert!(report.host_calls >= 5, "{report:?}");
    for (right, wrong, expected) in [
        (
            "\"c3\" }] }",
            "\"c4\" }] }",
            "tests/a.toml:15: change 2: revision: expected \"c4\", found \"c3\"",
        ),
        (
            "poll_again = \"60s\"",
            "poll_again = \"61s\"",
            "tests/a.toml:8: poll_again: expected 1min1s, found 1min",
        ),
        (
            "error = \"no route\", calls",
            "calls",
            "the change source: expected no error, found `no route`",
        ),
        (
            "error = \"no route\", calls",
            "error = \"x\", calls",
            "poll: error: expected `x`, found `no route`",
        ),
        (
            "main = \"c3\" } }\n",
            "main = \"c1\" } }\n",
            "cursor: heads.main: expected \"c1\", found \"c3\"",
        ),
        (
            "[\"git.fetch *\"]",
            "[]",
            "call 1: expected none, found `git.fetch",
        ),
        ("announce_existing = true", "", "change 1: expected"),
    ] {
        assert!(POLLS.contains(right), "{right}");
        fails(
            Kind::ChangeSource,
            "git-poller",
            &POLLS.replacen(right, wrong, 1),
            expected,
        );
    }
}

const PUSH: &str = r#"
[parameters]
url = "https://chat.example.org/hooks/ci"
secret_headers = { X-Token = "chat" }

[[http]]
match = "POST https://chat.example.org/*"
times = 1
status = 503
body = "later"

[[http]]
status = 200

[[report]]
builder = "hello"
outcome = "failure"
expect = { error = "*503: later" }

[[report]]
builder = "world"
number = 7

[expect]
calls = [
    "http.fetch POST https://chat.example.org/hooks/ci",
    { call = "http.fetch", method = "POST", headers = { Capstan-Delivery = "delivery-2" }, secret_headers = { X-Token = "chat" }, json = { builder = "world", number = 7, outcome = "success" } },
]
"#;

#[test]
fn a_reporter_meets_scripted_servers() {
    let report = passes(Kind::Reporter, "http-push", PUSH);
    assert_eq!((report.host_calls, report.calls), (2, 1 + 2 * 2));
    for (right, wrong, expected) in [
        (
            "status = 200",
            "error = \"timeout\"",
            "the reporter: expected no error, found `report 2 (of world): the server did not answer in time`",
        ),
        (
            "expect = { error = \"*503: later\" }",
            "",
            "found `report 1 (of hello): the server answered 503: later`",
        ),
        (
            "*503: later",
            "*500*",
            "tests/a.toml:18: report: error: expected `*500*`",
        ),
        (
            "status = 200",
            "times = 0",
            "no [[http]] fits `POST https://chat.example.org/hooks/ci`",
        ),
        (
            "number = 7, outcome",
            "number = 8, outcome",
            "json.number: expected 8, found 7",
        ),
        (
            "X-Token = \"chat\" }, json",
            "X-Tokken = \"chat\" }, json",
            "secret_headers.X-Tokken: expected \"chat\", found nothing",
        ),
    ] {
        assert!(PUSH.contains(right), "{right}");
        fails(
            Kind::Reporter,
            "http-push",
            &PUSH.replacen(right, wrong, 1),
            expected,
        );
    }
    let granted = PUSH.replace("[[http]]\nmatch", "[grants]\nhttp = []\n[[http]]\nmatch");
    fails(
        Kind::Reporter,
        "http-push",
        &granted,
        "may not use http `POST https://chat.example.org/hooks/ci`",
    );
}

#[test]
fn a_reporter_writes_files_that_a_scenario_reads() {
    let text = r#"
        parameters = { path = "reports/builds.jsonl" }
        file = [{ times = 1, error = "disk full" }]
        report = [{ expect = { error = "disk full" } }, {}, { phase = "started", builder = "b" }]
        [expect]
        files = { "reports/builds.jsonl" = "*delivery-2*\n*\"phase\":\"started\"*\n" }
        calls = ["...", { call = "report-files.append-line", json = { phase = "started" } }]
    "#;
    passes(Kind::Reporter, "report-file", text);
    fails(
        Kind::Reporter,
        "report-file",
        &text.replace("delivery-2", "delivery-9"),
        "the file reports/builds.jsonl: expected",
    );
}

/// A plugin that exists for tests.
fn fixture(name: &str) -> Plugin {
    let path = format!(
        "{}/../../target/guests/fixtures/{name}.wasm",
        env!("CARGO_MANIFEST_DIR")
    );
    let bytes = std::fs::read(&path).expect("`cargo xtask plugins` made it");
    engine().load(&bytes).expect("it loads")
}

#[test]
fn a_panic_is_told_with_its_text() {
    let text = r#"
        parameters = { script = [{ op = "run", argv = ["make"] }, { op = "panic", text = "not thought of" }] }
        expect = { outcome = "exception", error = "*it panicked: *not thought of*", calls = ["commands.run make"] }
    "#;
    let scenario = Scenario::parse("tests/a.toml", text, Kind::Step).unwrap();
    let report = scenario.run(engine(), &fixture("fixture-step"));
    assert_eq!(faults(&report), "");
    assert!(
        report
            .said
            .iter()
            .any(|message| message.level == "error" && message.text.contains("not thought of"))
    );
    let panics = report
        .said
        .iter()
        .filter(|message| message.text.contains("not thought of"));
    assert_eq!(panics.count(), 1, "the repetitions are not heard");
}

#[test]
fn what_a_reporter_remembers_is_given_as_text_or_as_json() {
    // Keys that it keeps as bytes, as JSON, and that were there before.
    let text = r#"
        parameters = { state = [["get", "seen/old"], ["get", "seen/count"], ["set", "seen/raw", "failure"],
            ["set", "seen/json", "\"failure\""], ["set", "seen/number", "6"], ["set", "seen/table", "{\"a\":[1,2],\"b\":3}"]] }
        state = { "seen/old" = "success", "seen/count" = 5 }
        report = [{}]
        [expect]
        files = { "reports/state" = "[[115,117,99,99,101,115,115],[53],*" }
        state = { "seen/old" = "success", "seen/count" = 5, "seen/raw" = "failure", "seen/json" = "failure", "seen/number" = 6, "seen/table" = { a = [1, 2] } }
    "#;
    let run = |text: &str| {
        let scenario = Scenario::parse("tests/a.toml", text, Kind::Reporter).unwrap();
        faults(&scenario.run(engine(), &fixture("fixture-reporter")))
    };
    assert_eq!(run(text), "");
    assert_eq!(
        run(&text.replace("number\" = 6", "number\" = \"6\"")),
        "",
        "as it is"
    );
    for (right, wrong, expected) in [
        (
            "json\" = \"failure\"",
            "json\" = \"success\"",
            "seen/json: expected \"success\", found \"failure\"",
        ),
        (
            "raw\" = \"failure\"",
            "raw\" = 5",
            "seen/raw: expected 5, found \"failure\"",
        ),
        ("number\" = 6", "number\" = 7", "seen/number: expected 7, found 6"),
        (
            "a = [1, 2]",
            "a = [1]",
            "seen/table: a: expected [1], found [1,2]",
        ),
        (
            "\"seen/number\" = 6",
            "\"seen/other\" = 6",
            "seen/other: expected 6, found nothing",
        ),
        (
            "\"seen/number\" = 6,",
            "",
            "expected no more, found the key `seen/number`",
        ),
    ] {
        assert!(text.contains(right), "{right}");
        let found = run(&text.replacen(right, wrong, 1));
        assert!(found.contains(expected), "expected {expected:?} in {found}");
    }
}

#[test]
fn what_a_plugin_says_is_heard_once() {
    let text = r#"
        report = [{}, {}]
        [expect]
        said = ["delivered", "delivered"]
    "#;
    let scenario = Scenario::parse("tests/a.toml", text, Kind::Reporter).unwrap();
    let report = scenario.run(engine(), &fixture("fixture-reporter"));
    assert_eq!(faults(&report), "");
    let said = |report: &Report| {
        report
            .said
            .iter()
            .filter(|message| message.text == "delivered")
            .count()
    };
    assert_eq!(said(&report), 2, "each report is delivered twice, and told once");
    assert!(report.calls >= 4);
}

#[test]
fn a_scheduler_translates_what_an_older_version_left() {
    let text = r#"
state = "7 and more"
event = [{ started = true }]
[migrate]
from = "0.1.0"
expect = "count 55"
[expect]
state = "count 56"
"#;
    let run = |text: &str| {
        let scenario = Scenario::parse("tests/a.toml", text, Kind::Scheduler).unwrap();
        faults(&scenario.run(engine(), &fixture("fixture-migrating")))
    };
    assert_eq!(run(text), "");
    let found = run(&text.replace("count 55", "count 5"));
    assert!(
        found.contains("tests/a.toml:6: migrate: expected \"count 5\", found \"count 55\""),
        "{found}"
    );
    let found = run(&text.replace("0.1.0", "0.0.1"));
    assert!(
        found.contains("tests/a.toml:4: migrate: expected no error, found `expected a state of 0.1.0"),
        "{found}"
    );
}

#[test]
fn the_formats_description_is_right() {
    let text = include_str!("../README.md");
    let kinds = [
        ("What all kinds have", Kind::Step),
        ("Steps", Kind::Step),
        ("Schedulers", Kind::Scheduler),
        ("Change sources", Kind::ChangeSource),
        ("Reporters", Kind::Reporter),
        ("Generators", Kind::Generator),
    ];
    for (title, kind) in kinds {
        let (_, section) = text.split_once(&format!("\n## {title}\n")).expect(title);
        let section = section.split("\n## ").next().unwrap_or_default();
        let blocks: Vec<&str> = section.split("```").skip(1).step_by(2).collect();
        assert!(!blocks.is_empty(), "{title}");
        for block in blocks {
            let example = block.strip_prefix("toml\n").expect("an example is TOML");
            if let Err(fault) = Scenario::parse("README.md", example, kind) {
                panic!("{title}: {fault}\n{example}");
            }
        }
    }
}

#[test]
fn nothing_outgrows_its_bounds() {
    let endless = r#"
        until = "365000d"
        parameters = { minute = "*" }
        event = [{ started = true }]
    "#;
    fails(
        Kind::Scheduler,
        "nightly",
        endless,
        "expected at most 20000 calls, found more",
    );
    let long = format!(
        "parameters = {{ command = \"a\" }}\nexpect = {{ calls = [{}] }}",
        "\"...\", ".repeat(10_001)
    );
    let found = faults(&run(Kind::Step, "shell", &long));
    assert!(found.contains("tests/a.toml:2: calls: expected at most 10000, found 10001"));
}
