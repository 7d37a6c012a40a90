//! A new project compiles at once, and the master can use what comes of it.

use std::path::Path;
use std::{fs, io};

use capstan_conformance::{languages, mistaken, template};
use capstan_model::plugin::Kind;
use capstan_pack::Language;
use capstan_scenario::Scenario;

use crate::support::engine;

#[test]
fn a_new_project_of_each_kind_and_language_can_be_used_at_once() {
    for language in languages().unwrap() {
        for kind in Kind::ALL {
            let exists = match kind {
                Kind::ChangeSource => language != Language::C,
                _ => true,
            };
            match template(kind, language) {
                Ok(bytes) => {
                    let plugin = engine().load(&bytes).unwrap();
                    assert_eq!(
                        (plugin.kind(), plugin.name()),
                        (kind, format!("template-{kind}").as_str()),
                        "{language}"
                    );
                    assert!(exists, "{language} has got a {kind}: test it");
                }
                Err(error) => assert!(!exists, "{language} {kind}: {error:#}"),
            }
        }
    }
}

/// The scenario files of a template.
fn scenarios(kind: Kind, language: Language) -> Vec<(String, String)> {
    let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdk/templates");
    let folder = templates.join(format!("{language}/{kind}/tests"));
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        entries => entries.unwrap(),
    };
    let files = entries.map(|entry| entry.unwrap().path());
    files
        .map(|path| (path.display().to_string(), fs::read_to_string(&path).unwrap()))
        .collect()
}

#[test]
fn the_scenarios_of_a_new_project_pass() {
    // As in the program.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _entered = runtime.enter();
    let mut played = 0;
    for language in languages().unwrap() {
        for kind in Kind::ALL {
            for (file, text) in scenarios(kind, language) {
                let plugin = engine().load(&template(kind, language).unwrap()).unwrap();
                let scenario = Scenario::parse(&file, &text, kind).unwrap();
                let report = scenario.run(engine(), &plugin);
                let faults: Vec<_> = report.faults.iter().map(ToString::to_string).collect();
                assert!(faults.is_empty(), "{}", faults.join("\n"));
                played += 1;
            }
        }
    }
    assert!(played >= 3, "each language has some");
}

#[test]
fn a_mistake_in_python_is_said_in_a_few_lines_when_it_is_built() {
    if !languages().unwrap().contains(&Language::Python) {
        return;
    }
    let said = |right, wrong| mistaken(Kind::Reporter, Language::Python, right, wrong).unwrap();
    let text = said("report: Report)", "report: Report");
    assert!(
        text.contains("File \"plugin.py\", line ") && text.contains("SyntaxError"),
        "{text}"
    );
    assert!(
        text.lines().count() < 10 && !text.contains("capstan_sdk"),
        "{text}"
    );
    let text = said("token: str", "tokn: str");
    assert!(
        text.contains("plugin.py has no field `token`; it has `tokn`"),
        "{text}"
    );
}
