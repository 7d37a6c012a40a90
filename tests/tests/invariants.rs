//! Who may depend on whom: the arrows that ARCHITECTURE.md draws. And the promises that `cargo xtask broken` breaks: they
//! are those that it lists.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
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
        (
            "capstan-pack",
            &["capstan-engine", "capstan-config", "capstan-master", "tokio"],
        ),
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

/// The patches of `cargo xtask broken`: their names, files and texts.
fn patches() -> Vec<(String, PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("broken");
    let files = std::fs::read_dir(&folder).expect("the folder of the patches can be read");
    let mut patches: Vec<_> = files
        .map(|file| file.expect("a file").path())
        .filter(|file| file.extension().is_some_and(|ending| ending == "patch"))
        .map(|file| {
            let name = file.file_stem().expect("a name").to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&file).expect("a patch is text");
            (name, file, text)
        })
        .collect();
    patches.sort();
    assert!(!patches.is_empty(), "no patch in {}", folder.display());
    patches
}

#[test]
fn each_broken_promise_says_what_it_breaks_and_what_notices() {
    for (name, _, text) in patches() {
        let mut head = text.lines();
        let breaks = head.next().and_then(|line| line.strip_prefix("breaks: "));
        assert!(
            breaks.is_some_and(|promise| !promise.trim().is_empty()),
            "{name}: expected a first line `breaks: …`"
        );
        let notices = head.next().and_then(|line| line.strip_prefix("caught by: "));
        let words: Vec<_> = notices.unwrap_or_default().split_whitespace().collect();
        assert!(
            words.first() == Some(&"cargo") && words.len() > 1,
            "{name}: expected a second line `caught by: cargo …`, found {notices:?}"
        );
    }
}

/// One that no longer fits breaks nothing, and nobody would see that a promise has lost its test.
#[test]
fn each_broken_promise_fits_the_sources() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.current_dir(&root).args(arguments);
        command.output()
    };
    if !git(&["rev-parse", "--is-inside-work-tree"]).is_ok_and(|output| output.status.success()) {
        eprintln!("left out: without git nobody can tell whether a patch fits");
        return;
    }
    for (name, file, _) in patches() {
        let file = file.to_str().expect("a path that is text");
        let output = git(&["apply", "--check", file]).expect("git runs");
        let fault = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name} has to be made anew: {fault}");
    }
}

#[test]
fn each_broken_promise_is_an_invariant_of_the_architecture() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../ARCHITECTURE.md");
    let text = std::fs::read_to_string(file).expect("ARCHITECTURE.md is there");
    let names = patches().into_iter().map(|(name, ..)| name);
    let missing: Vec<_> = names
        .filter(|name| !text.contains(&format!("`{name}`")))
        .collect();
    assert!(
        missing.is_empty(),
        "expected ARCHITECTURE.md to name each patch of tests/broken with its invariant, missing are {missing:?}"
    );
}
