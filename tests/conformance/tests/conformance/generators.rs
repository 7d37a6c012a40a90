//! What generators make, in every language.

use capstan_engine::CallError;
use capstan_model::plugin::Kind;
use serde_json::{Value, json};

use crate::support::guests;

/// What a generator makes of two words, every form among it.
fn made() -> Value {
    let builder = |word: &str| {
        let shell = json!({
            "use": "shell",
            "name": word,
            "halt_on_failure": false,
            "parameters": {
                "command": ["make", { "$prop": "target" }, { "$prop": "rest", "default": "all" }],
                "env": { "TOKEN": { "$secret": "deploy" }, "WHERE": { "$interpolate": "{branch}/ü" } },
            },
        });
        json!({
            "name": format!("builder {word}"),
            "labels": ["linux"],
            "locks": [{ "$lock": "database" }],
            "steps": [shell, { "use": "git", "parameters": {} }],
        })
    };
    json!({
        "builders": [builder("a \"b\""), builder("ü")],
        "schedulers": [
            { "use": "triggerable", "name": "all", "builders": ["builder a \"b\"", "builder ü"], "parameters": {} },
        ],
        "remarks": ["made 2"],
    })
}

#[tokio::test]
async fn a_generator_makes_the_same_in_every_language() {
    let words = json!({ "words": ["a \"b\"", "ü"] });
    for (language, plugin) in guests(Kind::Generator) {
        assert_eq!(plugin.generate(&words).await.unwrap(), made(), "{language}");
    }
}

#[tokio::test]
async fn a_generator_fails_the_same_in_every_language() {
    for (language, plugin) in guests(Kind::Generator) {
        for (parameters, expected) in [
            (json!({ "words": [] }), "expected a word, found none: ü"),
            (json!({ "words": 3 }), ""),
        ] {
            let error = plugin.generate(&parameters).await.unwrap_err();
            let CallError::InvalidConfig(problems) = error else {
                panic!("{language} {parameters}: {error}");
            };
            assert_eq!(problems.len(), 1, "{language} {parameters}: {problems:?}");
            assert_eq!(problems[0].path, "words", "{language} {parameters}");
            assert!(problems[0].message.contains(expected), "{language}: {problems:?}");
        }
        let failed = async |how: &str| {
            let parameters = json!({ "words": ["a"], "fail": how });
            plugin.generate(&parameters).await.unwrap_err()
        };
        let permanent = failed("permanent").await;
        assert!(
            matches!(&permanent, CallError::Permanent(text) if text == "not here: ü"),
            "{language}: {permanent}"
        );
        let bug = failed("bug").await.to_string();
        assert!(bug.contains("no luck"), "{language}: {bug}");
    }
}
