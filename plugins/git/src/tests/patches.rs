//! Patches on top of a checkout, with the real git.

use super::*;

fn patch(body: &str) -> Patch {
    Patch {
        codebase: String::new(),
        body: body.to_owned(),
        level: 1,
        subdirectory: String::new(),
    }
}

impl Farm {
    /// What the author has not committed, as `git diff` tells it; the author's tree is as before then.
    fn diff(&self, edits: &str) -> String {
        let text = self.sh(&format!(
            "cd author; {edits}; git add -A; git diff --binary --cached HEAD; git reset -q --hard"
        ));
        // The shell's last line break went with the answer.
        text + "\n"
    }

    fn has(&self, name: &str) -> bool {
        self.path("build").join(name).exists()
    }
}

#[test]
fn the_tree_has_what_the_patch_changes_adds_and_removes() {
    let mut farm = Farm::new();
    farm.push("main", "one");
    let text = "'quoted' \"$HOME\" `x` \\ %s ä";
    fs::write(farm.path("author/kept"), text).unwrap();
    let revision = farm.push("main", "two");
    fs::write(farm.path("text"), format!("{text}\n{text}\n")).unwrap();
    let body = farm.diff("cp ../text file; echo new >added; git rm -q kept");
    let stamp = farm.stamp(Some("main"), Some(&revision));
    assert_eq!(farm.patched("{}", &stamp, vec![patch(&body)]).unwrap(), revision);
    assert_eq!(
        fs::read_to_string(farm.path("build/file")).unwrap(),
        format!("{text}\n{text}\n")
    );
    assert!(farm.has("added") && !farm.has("kept"));
    // The next build of the folder finds nothing of it.
    farm.check_out("{}", &stamp).unwrap();
    assert_eq!(farm.content(), "two");
    assert!(
        farm.has("kept") && !farm.has("added"),
        "an incremental checkout removes it"
    );
}

#[test]
fn a_large_patch_arrives_in_pieces() {
    let mut farm = Farm::new();
    let revision = farm.push("main", "one");
    let lines: String = (0..20_000).map(|n| format!("line {n} ä\n")).collect();
    fs::write(farm.path("text"), &lines).unwrap();
    let body = farm.diff("cp ../text large");
    assert!(body.len() > 200_000);
    let stamp = farm.stamp(Some("main"), Some(&revision));
    farm.patched("{}", &stamp, vec![patch(&body)]).unwrap();
    assert_eq!(fs::read_to_string(farm.path("build/large")).unwrap(), lines);
    assert!(farm.ran("capstan-write") > 3);
}

#[test]
fn a_patch_that_does_not_fit_names_the_file_and_changes_nothing() {
    let mut farm = Farm::new();
    let first = farm.push("main", "one");
    let body = farm.diff("echo else >file; echo new >added");
    farm.push("main", "two");
    let stamp = farm.stamp(Some("main"), None);
    let text = summary(farm.patched("{}", &stamp, vec![patch(&body)]));
    assert!(
        text.starts_with("the patch does not apply: ") && text.contains("file: patch does not apply"),
        "{text}"
    );
    assert_eq!(farm.content(), "two");
    assert!(!farm.has("added"));
    assert_eq!(farm.ran("remove"), 0, "there is nothing wrong with the checkout");
    let stamp = farm.stamp(Some("main"), Some(&first));
    for (body, part) in [
        ("no patch at all\n", "No valid patches"),
        ("--- a/../../x\n+++ b/../../x\n@@ -0,0 +1 @@\n+x\n", "x"),
    ] {
        let text = summary(farm.patched("{}", &stamp, vec![patch(body)]));
        assert!(text.contains(part), "{text}");
    }
    assert!(!farm.path("x").exists(), "nothing outside the checkout");
}

#[test]
fn a_patch_may_be_of_a_folder_and_leave_out_more_of_its_paths() {
    let mut farm = Farm::new();
    farm.sh("mkdir author/lib; echo one >author/lib/x");
    let revision = farm.push("main", "one");
    let body = "--- old/deep/x\n+++ new/deep/x\n@@ -1 +1 @@\n-one\n+two\n";
    let stamp = farm.stamp(Some("main"), Some(&revision));
    let there = Patch {
        level: 2,
        subdirectory: "lib".to_owned(),
        ..patch(body)
    };
    farm.patched("{}", &stamp, vec![there]).unwrap();
    assert_eq!(fs::read_to_string(farm.path("build/lib/x")).unwrap(), "two\n");
}

#[test]
fn a_patch_is_for_its_own_codebase_repository_and_branch() {
    let stamp = SourceStamp {
        codebase: "app".into(),
        repository: "https://git.example/app.git".into(),
        project: String::new(),
        branch: Some("main".into()),
        revision: None,
    };
    let of = |codebase: &str| Patch {
        codebase: codebase.into(),
        ..patch("x")
    };
    for (json, patches) in [
        ("{}", 1),
        (r#"{"repository": "https://git.example/app.git"}"#, 1),
        (r#"{"repository": "https://git.example/tools.git"}"#, 0),
        (r#"{"repository": "ssh://git.example/app.git", "patch": true}"#, 1),
        (r#"{"branch": "other"}"#, 0),
        (r#"{"patch": false}"#, 0),
    ] {
        let git: Git = serde_json::from_str(json).unwrap();
        let wanted = git
            .wanted(std::slice::from_ref(&stamp), vec![of("app"), of("lib")])
            .unwrap();
        assert_eq!(wanted.patches.len(), patches, "{json}");
        let said = wanted.summary("0123456789abcdef");
        let word = if patches == 1 {
            ", patched"
        } else {
            "without the patch"
        };
        assert!(said.contains(word), "{json}: {said}");
    }
    let git: Git = serde_json::from_str("{}").unwrap();
    let wanted = git.wanted(&[stamp], vec![of("lib")]).unwrap();
    assert_eq!(
        (wanted.patches.len(), wanted.summary("0123")),
        (0, "main at 0123".to_owned())
    );
}
