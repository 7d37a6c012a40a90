//! A new project compiles at once, and the master can use what comes of it.

use capstan_conformance::{languages, mistaken, template};
use capstan_model::plugin::Kind;
use capstan_pack::Language;

use crate::support::engine;

#[test]
fn a_new_project_of_each_kind_and_language_can_be_used_at_once() {
    for language in languages().unwrap() {
        for kind in Kind::ALL {
            let exists = match kind {
                Kind::Generator => language == Language::Rust,
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
