//! Makes what its parameters say, of every form that there is.

use capstan_sdk::generator::{Builder, Output, Use, interpolate, lock, prop, prop_or, secret};
use capstan_sdk::prelude::*;

#[parameters]
struct Conformance {
    words: Vec<String>,
    #[serde(default)]
    fail: String,
}

impl Generator for Conformance {
    fn generate(self) -> Result<Output, PluginError> {
        if self.words.is_empty() {
            let nothing = problem("words", "expected a word, found none: ü");
            return Err(PluginError::InvalidConfig(vec![nothing]));
        }
        match self.fail.as_str() {
            "permanent" => return Err(PluginError::Permanent("not here: ü".to_owned())),
            "bug" => panic!("no luck"),
            _ => {}
        }
        let builders = self.words.iter().map(|word| {
            let step = Use::new("shell")
                .name(word.clone())
                .parameter("command", vec![json!("make"), prop("target"), prop_or("rest", "all")])
                .parameter("env", json!({ "TOKEN": secret("deploy"), "WHERE": interpolate("{branch}/ü") }))
                .option("halt_on_failure", false);
            Builder::new(format!("builder {word}"))
                .option("labels", vec!["linux"])
                .option("locks", vec![lock("database")])
                .step(step)
                .step(Use::new("git"))
        });
        let names: Vec<_> = self.words.iter().map(|word| format!("builder {word}")).collect();
        let scheduler = Use::new("triggerable").name("all").option("builders", names);
        let remarks = vec![format!("made {}", self.words.len())];
        Ok(Output { builders: builders.collect(), schedulers: vec![scheduler], remarks })
    }
}

capstan_sdk::generator!(Conformance);
