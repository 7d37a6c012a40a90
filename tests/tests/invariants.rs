//! Who may depend on whom: the arrows that ARCHITECTURE.md draws.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// The packages that depend on each other, as cargo resolves them.
struct Graph {
    names: BTreeMap<String, String>,
    /// Dependencies by package id; those of tests apart.
    normal: BTreeMap<String, Vec<String>>,
    members: Vec<String>,
}

impl Graph {
    fn read() -> Self {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
        let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
        command.args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--manifest-path",
            root,
        ]);
        let output = command.output().expect("cargo runs");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let all: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let list = |value: &Value| value.as_array().expect("a list").clone();
        let names = list(&all["packages"])
            .iter()
            .map(|p| (text(&p["id"]), text(&p["name"])))
            .collect();
        let normal = list(&all["resolve"]["nodes"]).into_iter().map(|node| {
            let deps = list(&node["deps"])
                .into_iter()
                .filter(|dep| list(&dep["dep_kinds"]).iter().any(|kind| kind["kind"] != "dev"));
            (text(&node["id"]), deps.map(|dep| text(&dep["pkg"])).collect())
        });
        Self {
            names,
            normal: normal.collect(),
            members: list(&all["workspace_members"]).iter().map(text).collect(),
        }
    }

    /// The members of the workspace that name `package` themselves.
    fn users(&self, package: &str) -> BTreeSet<&str> {
        let uses = |id: &&String| self.normal[*id].iter().any(|dep| self.names[dep] == package);
        self.members
            .iter()
            .filter(uses)
            .map(|id| self.names[id].as_str())
            .collect()
    }

    /// Everything that a member needs to be built.
    fn tree(&self, member: &str) -> BTreeSet<&str> {
        let start = self.members.iter().find(|id| self.names[*id] == member);
        let mut open = vec![start.unwrap_or_else(|| panic!("expected a member {member}"))];
        let mut seen = BTreeSet::new();
        while let Some(id) = open.pop() {
            if seen.insert(id) {
                open.extend(&self.normal[id]);
            }
        }
        seen.into_iter().map(|id| self.names[id].as_str()).collect()
    }
}

#[test]
fn each_large_dependency_has_one_home() {
    let graph = Graph::read();
    for (package, homes) in [
        ("wasmtime", vec!["capstan-engine"]),
        // The bench measures the bare library beside what is made with it: here, and where else it is named.
        ("sqlx", vec!["capstan-store", "capstan-bench"]),
        ("starlark", vec!["capstan-config"]),
        // The program binds the socket and hands it to the server.
        ("axum", vec!["capstan-web", "capstan"]),
        ("rcgen", vec!["capstan-link", "capstan-client", "capstan-bench"]),
        (
            "quinn",
            vec![
                "capstan-link",
                "capstan-client",
                "capstan-worker",
                "capstan-bench",
            ],
        ),
    ] {
        let users = graph.users(package);
        let strangers: Vec<_> = users.iter().filter(|user| !homes.contains(user)).collect();
        assert!(
            strangers.is_empty(),
            "{package} belongs to {homes:?}; {strangers:?} name it too"
        );
        assert!(!users.is_empty(), "nobody names {package}: this test cannot fail");
    }
}

#[test]
fn a_worker_carries_nothing_of_the_master() {
    let graph = Graph::read();
    let tree = graph.tree("capstan-worker");
    for package in [
        "wasmtime",
        "sqlx",
        "starlark",
        "axum",
        "capstan-store",
        "capstan-engine",
        "capstan-link",
    ] {
        assert!(!tree.contains(package), "capstan-worker depends on {package}");
    }
    assert!(tree.contains("capstan-wire"));
}

#[test]
fn the_engine_knows_neither_store_nor_link() {
    let graph = Graph::read();
    for (member, strangers) in [
        (
            "capstan-engine",
            ["capstan-store", "capstan-link", "capstan-master"].as_slice(),
        ),
        (
            "capstan-store",
            &["capstan-engine", "capstan-link", "capstan-master"],
        ),
        (
            "capstan-link",
            &["capstan-engine", "capstan-store", "capstan-master"],
        ),
        (
            "capstan-config",
            &["capstan-engine", "capstan-store", "capstan-master"],
        ),
        ("capstan-master", &["capstan-web", "capstan-builtin"]),
        ("capstan-model", &["tokio"]),
        ("capstan-wire", &["tokio", "quinn"]),
        ("xtask", &["capstan-engine", "capstan-master", "tokio"]),
    ] {
        let tree = graph.tree(member);
        let found: Vec<_> = strangers.iter().filter(|name| tree.contains(**name)).collect();
        assert!(found.is_empty(), "{member} depends on {found:?}");
    }
}

#[test]
fn one_cryptographic_provider() {
    let graph = Graph::read();
    let tree = graph.tree("capstan");
    for package in ["aws-lc-rs", "aws-lc-sys", "openssl", "native-tls"] {
        assert!(
            !tree.contains(package),
            "capstan depends on {package}; ring is the one provider"
        );
    }
}
