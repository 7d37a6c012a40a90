//! Builds of several codebases.

use super::*;

#[test]
fn the_right_codebase_is_checked_out() {
    let stamp = |codebase: &str| SourceStamp {
        codebase: codebase.into(),
        repository: format!("https://git.example/{codebase}.git"),
        project: String::new(),
        branch: None,
        revision: None,
    };
    let wanted = |json: &str, stamps: &[SourceStamp]| {
        let git: Git = serde_json::from_str(json).unwrap();
        git.wanted(stamps, Vec::new()).map(|wanted| wanted.repository)
    };
    let both = [stamp("lib"), stamp("app")];
    assert_eq!(wanted("{}", &both[1..]).unwrap(), "https://git.example/app.git");
    assert_eq!(
        wanted(r#"{"codebase": "lib"}"#, &both).unwrap(),
        "https://git.example/lib.git"
    );
    assert_eq!(wanted(r#"{"repository": "x"}"#, &both).unwrap(), "x");
    assert!(
        format!("{:?}", wanted("{}", &both))
            .contains("expected `codebase`: the build has sources of lib, app")
    );
    assert!(
        format!("{:?}", wanted(r#"{"codebase": "x"}"#, &both)).contains("expected a source of codebase `x`")
    );
    assert!(format!("{:?}", wanted("{}", &[])).contains("expected a repository"));
    let all = got_revision("app", Some(got_revision("lib", None, "1")), "2");
    assert_eq!(all, json!({"lib": "1", "app": "2"}));
    assert_eq!(got_revision("", None, "1"), json!("1"));
}
