//! The large example: what its rules make of its tables, counted.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use capstan_tests::{Farm, story};
use serde_json::Value;

#[test]
fn a_thousand_builders_come_from_four_tables() {
    story(|farm| {
        let plan = plan_of(farm, "cpython")?;
        let names = |what: &str| -> Result<BTreeSet<String>> {
            let list = plan[what]
                .as_array()
                .with_context(|| format!("expected {what} in the plan"))?;
            Ok(list
                .iter()
                .filter_map(|one| one["name"].as_str())
                .map(str::to_owned)
                .collect())
        };
        let builders = names("builders")?;
        assert_eq!(
            (
                builders.len(),
                names("workers")?.len(),
                names("schedulers")?.len()
            ),
            (1176, 57, 23)
        );
        let steps = |builder: &Value| builder["steps"].as_array().map_or(0, Vec::len);
        let all = plan["builders"].as_array().context("expected builders")?;
        assert_eq!(all.iter().map(steps).sum::<usize>(), STEPS);

        let branches_of = |definition: &str| -> Vec<&str> {
            let every = ["main", "3.15", "3.14", "3.13", "3.12", "3.11", "3.10", "pull"];
            let is_built = |branch: &&str| builders.contains(&format!("{definition} {branch}"));
            every.into_iter().filter(is_built).collect()
        };
        // Allowed everywhere.
        assert_eq!(branches_of("AMD64 Debian Alder").len(), 8);
        // Branches without the feature have no such builder.
        let without_lock = definition_of(farm, "nogil")?;
        assert_eq!(
            branches_of(&without_lock),
            ["main", "3.15", "3.14", "3.13", "pull"]
        );
        // One kind of build is younger than some branches.
        let younger = definition_of(farm, "msan")?;
        assert_eq!(
            branches_of(&younger),
            ["main", "3.15", "3.14", "3.13", "3.12", "pull"]
        );
        Ok(())
    });
}

/// Of all builders together.
const STEPS: usize = 8461;

/// What `capstan check` makes of an example.
fn plan_of(farm: &Farm, example: &str) -> Result<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../examples")
        .join(example);
    for file in files(&folder)? {
        let path = file
            .strip_prefix(&folder)?
            .to_str()
            .context("expected a readable path")?;
        farm.write(path, std::fs::read(&file)?)?;
    }
    let mut checked: Value = serde_json::from_str(&farm.capstan_ok(&["check", "--json"])?)?;
    Ok(checked["plan"].take())
}

/// Every file in a folder, at any depth.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    Ok(found)
}

/// The name of the first definition that uses a factory, and no list of branches.
fn definition_of(farm: &Farm, factory: &str) -> Result<String> {
    let tables: toml::Table = toml::from_str(&farm.read("tables/definitions.toml")?)?;
    let all = tables["definition"].as_array().context("expected definitions")?;
    let own = all
        .iter()
        .find(|one| one["factory"].as_str() == Some(factory) && one.get("branches").is_none());
    let name = own.and_then(|one| one["name"].as_str());
    ensure!(name.is_some(), "expected a definition that uses {factory}");
    Ok(name.unwrap_or_default().to_owned())
}
