//! The generator `{{name}}`: makes a builder for each package.

use capstan_sdk::generator::{Builder, Output, Use};
use capstan_sdk::prelude::*;

/// The parameters.
#[parameters]
struct Plugin {
    /// The packages, in the order in which they are built.
    packages: Vec<Package>,
    /// The labels that a worker must have.
    #[serde(default)]
    labels: Vec<String>,
}

/// One package.
#[parameters]
struct Package {
    /// Its name.
    name: String,
    /// Whether it has tests.
    #[serde(default = "yes")]
    tests: bool,
}

fn yes() -> bool {
    true
}

impl Generator for Plugin {
    fn generate(self) -> Result<Output, PluginError> {
        if self.packages.is_empty() {
            let nothing = problem("packages", "expected at least one package, found none");
            return Err(PluginError::InvalidConfig(vec![nothing]));
        }
        let builder = |package: &Package| {
            let make = |target: &str| {
                let command = ["make", target, &package.name];
                Use::new("shell")
                    .name(target)
                    .parameter("command", command.to_vec())
            };
            let mut builder = Builder::new(format!("package {}", package.name))
                .option("labels", self.labels.clone())
                .step(make("build"));
            if package.tests {
                builder = builder.step(make("check").option("halt_on_failure", false));
            }
            builder
        };
        Ok(self.packages.iter().map(builder).collect())
    }
}

capstan_sdk::generator!(Plugin);

#[cfg(test)]
mod tests {
    use super::*;
    use capstan_sdk::test::Host;

    #[test]
    fn a_package_without_tests_has_no_step_for_them() {
        let packages = json!([{ "name": "core" }, { "name": "docs", "tests": false }]);
        let output = Host::new()
            .generate::<Plugin>(json!({ "packages": packages }))
            .unwrap();
        assert_eq!(output["builders"][0]["steps"][1]["name"], "check");
        assert_eq!(output["builders"][1]["steps"].as_array().unwrap().len(), 1);
    }
}
