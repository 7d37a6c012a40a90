//! What an author of a step is promised by the scripted host: answers as scripted, virtual time, and that a step which does not
//! repeat itself does not pass.

use std::cell::Cell;

use capstan_sdk::prelude::*;
use capstan_sdk::random::Random;
use capstan_sdk::test::{Ends, Host};

/// A step whose work is a function, chosen by its parameter.
#[parameters]
struct Scripted {
    what: String,
}

thread_local! {
    static RUNS: Cell<u32> = const { Cell::new(0) };
}

fn runs() -> u32 {
    RUNS.set(RUNS.get() + 1);
    RUNS.get()
}

impl Step for Scripted {
    fn check(&self) -> Result<(), Vec<Problem>> {
        match self.what.as_str() {
            "" => Err(vec![problem("what", "expected something to do")]),
            _ => Ok(()),
        }
    }

    fn run(self) -> Result<Outcome, Stop> {
        match self.what.as_str() {
            "parallel" => parallel(),
            "properties" => properties(),
            "random" => random(),
            "moody call" => Ok(Program::argv(["make", &format!("try-{}", runs())])
                .run()?
                .outcome()),
            "moody details" => {
                let workdir = format!("w{}", runs());
                Ok(Program::argv(["make"]).workdir(workdir).run()?.outcome())
            }
            "moody end" => Err(Stop::failure(format!("run {}", runs()))),
            "forgetful" => {
                let first = runs() == 1;
                Program::argv(["make"]).run()?;
                if first {
                    write_log("notes", "only once");
                }
                Ok(Outcome::Success)
            }
            "sleeps" => {
                let whole = step::sleep_ms(60_000);
                log::info(&format!("whole: {whole}"));
                Ok(Program::shell("make; make install").run()?.outcome())
            }
            "panics" => panic!("the author did not think of this"),
            other => Err(Stop::Error(PluginError::Permanent(format!(
                "no such work: {other}"
            )))),
        }
    }
}

fn parallel() -> Result<Outcome, Stop> {
    let (slow, fast) = (Program::argv(["slow"]).start()?, Program::argv(["fast"]).start()?);
    let first = wait_any(&[&slow, &fast]);
    slow.kill("not wanted");
    let ended = slow.wait()?;
    set_summary(&format!("{first} first, then {:?}", ended.exit));
    Ok(Outcome::Success)
}

fn properties() -> Result<Outcome, Stop> {
    let before = property("size");
    set_property(
        "size",
        &json!(before.and_then(|v| v.as_u64()).unwrap_or_default() + 1),
    )?;
    add_link("page", "https://example.org/");
    add_link("trap", "javascript:alert(1)");
    write_log("notes", &format!("{} {}\n", step::name(), step::now()));
    Ok(Outcome::Warnings)
}

fn random() -> Result<Outcome, Stop> {
    let number = Random::of_step().below(1000);
    Program::argv(["seeded", &number.to_string()]).run()?;
    Ok(Outcome::Success)
}

capstan_sdk::step!(Scripted);

fn what(what: &str) -> Value {
    json!({ "what": what })
}

#[test]
fn commands_go_on_side_by_side_and_take_no_real_time() {
    let host = Host::new()
        .command("slow", Ends::well().after(Span::from_secs(3600)))
        .command("fast", Ends::well().after(Span::from_secs(60)));
    let run = host.step::<Scripted>(what("parallel"));
    assert_eq!(run.took_ms, 60_000);
    assert_eq!(
        run.summary.as_deref(),
        Some("1 first, then Exit::Killed(\"not wanted\")")
    );
    run.assert_calls(&[
        "commands.start slow",
        "commands.start fast",
        "commands.wait-any 2",
        "command.kill slow",
        "command.wait slow",
        "build.set-summary *",
    ]);
}

#[test]
fn properties_links_and_logs_are_seen_as_the_master_would_have_them() {
    let host = Host::new().property("size", 2).step_name("compile").now(77);
    let run = host.step::<Scripted>(what("properties"));
    assert_eq!(run.outcome(), Outcome::Warnings);
    assert_eq!(
        run.properties["size"],
        json!(3),
        "each run begins with the property of the build"
    );
    assert_eq!(
        run.links,
        [("page".to_owned(), "https://example.org/".to_owned())]
    );
    assert_eq!(run.logs["notes"], "compile 77\n");
    assert!(run.said[0].1.contains("a link was left out"), "{:?}", run.said);
}

#[test]
fn a_stopped_build_ends_waits() {
    let host = Host::new().stopped_after(Span::from_secs(10), "Ann pressed stop");
    let run = host.step::<Scripted>(what("sleeps"));
    assert_eq!((run.outcome(), run.took_ms), (Outcome::Cancelled, 10_000));
    assert_eq!(run.summary.as_deref(), Some("stopped: Ann pressed stop"));
    assert_eq!(run.said[0].1, "whole: false");
    let run = Host::new().step::<Scripted>(what("sleeps"));
    assert_eq!((run.outcome(), run.took_ms), (Outcome::Success, 60_000));
    run.assert_calls(&["timers.sleep-ms 60000", "commands.run make; make install"]);
}

#[test]
fn a_seed_makes_the_same_numbers_and_another_seed_others() {
    let number = |seed| Host::new().seed(seed).step::<Scripted>(what("random")).calls[0].to_string();
    assert_eq!(number(7), number(7));
    assert_ne!(number(7), number(8));
}

#[test]
fn a_step_that_asks_otherwise_when_it_is_run_again_is_caught_with_both_calls() {
    let difference = Host::new().try_step::<Scripted>(what("moody call")).unwrap_err();
    assert_eq!(
        difference.to_string(),
        "run again after 0 answers, call 1 differs\n  recorded: commands.run make try-1\n  found:    commands.run make try-3"
    );
    let difference = Host::new()
        .try_step::<Scripted>(what("moody details"))
        .unwrap_err();
    assert!(difference.found.contains("\"workdir\":\"w"), "{difference}");
    RUNS.set(0);
    let difference = Host::new().try_step::<Scripted>(what("forgetful")).unwrap_err();
    assert_eq!(
        (
            difference.call,
            difference.recorded.as_str(),
            difference.found.as_str()
        ),
        (Some(2), "build.write-log notes", "none: it returned")
    );
}

#[test]
fn a_step_that_ends_otherwise_is_caught_with_both_ends() {
    // It is the summary that differs, which is a call too.
    let difference = Host::new().try_step::<Scripted>(what("moody end")).unwrap_err();
    assert!(
        difference.recorded.contains("run 1") && difference.found.contains("run 3"),
        "{difference}"
    );
}

#[test]
#[should_panic(expected = "the step does not repeat itself: run again after 0 answers, call 1 differs")]
fn a_test_that_runs_such_a_step_fails() {
    Host::new().step::<Scripted>(what("moody call"));
}

#[test]
#[should_panic(expected = "the author did not think of this")]
fn a_panic_is_the_tests_own() {
    Host::new().step::<Scripted>(what("panics"));
}

#[test]
#[should_panic(expected = "the script has no answer to: command make; make install")]
fn a_command_that_no_rule_fits_fails_the_test() {
    Host::new()
        .command("cmake *", Ends::well())
        .step::<Scripted>(what("sleeps"));
}

#[test]
#[should_panic(expected = "1. timers.sleep-ms 60000")]
fn wrong_calls_are_shown_with_those_that_were_made() {
    Host::new()
        .step::<Scripted>(what("sleeps"))
        .assert_calls(&["commands.run make"]);
}

#[test]
fn errors_and_problems_are_answered_as_they_are() {
    let run = Host::new().step::<Scripted>(what("nonsense"));
    assert_eq!(
        run.result,
        Err(PluginError::Permanent("no such work: nonsense".to_owned()))
    );
    let problems = Host::new().check_step::<Scripted>(what(""));
    assert_eq!((problems[0].path.as_str(), problems.len()), ("what", 1));
    let problems = Host::new().check_step::<Scripted>(json!({ "what": "x", "wat": 1 }));
    assert_eq!(
        problems[0].path, "wat",
        "an unknown parameter is a fault: {problems:?}"
    );
}

#[test]
fn what_a_rule_says_is_what_a_command_does() {
    let run = |ends: Ends| {
        let host = Host::new()
            .command("make*", ends.times(1))
            .command("*", Ends::code(9));
        let run = host.step::<Scripted>(what("sleeps"));
        run.result
    };
    assert_eq!(run(Ends::well()), Ok(Outcome::Success));
    assert_eq!(run(Ends::code(2)), Ok(Outcome::Failure));
    assert_eq!(
        run(Ends::with(Exit::Killed("disk full".to_owned()))),
        Ok(Outcome::Exception)
    );
    assert_eq!(run(Ends::lost("w1 is gone")), Ok(Outcome::Retry));
    assert!(run(Ends::denied("no right")).is_err());
}
