//! Secrets of this machine: what is read, and what is refused and how that is said.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn folder_with(name: &str, value: &[u8], mode: u32) -> (tempfile::TempDir, Secrets) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, value).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    let secrets = Secrets::new(folder.path(), "");
    (folder, secrets)
}

#[test]
fn a_file_gives_its_value_without_the_line_end_of_an_editor() {
    for (written, value) in [
        ("s3cret\n", "s3cret"),
        ("a\r\n", "a"),
        ("two\nlines\n", "two\nlines"),
        ("", ""),
        ("x\n\n", "x\n"),
    ] {
        let (_folder, secrets) = folder_with("hook", written.as_bytes(), 0o600);
        assert_eq!(
            secrets.local.get("hook").unwrap().unwrap().expose_text(),
            Some(value)
        );
        assert_eq!(secrets.names().unwrap(), ["hook"]);
    }
}

#[test]
fn formatting_a_secret_shows_nothing_of_it() {
    let secret = Secret::new("s3cret");
    assert!(!format!("{secret} {secret:?}").contains("s3cret"));
}

#[tokio::test]
async fn a_file_that_everybody_can_read_is_refused_with_the_cure() {
    let (folder, secrets) = folder_with("hook", b"x", 0o644);
    let text = secrets.get("hook").await.unwrap_err().to_string();
    let text = text.replace(folder.path().to_str().unwrap(), "FOLDER");
    insta::assert_snapshot!(text, @"expected a secret that not everybody can read, found mode 644 of `FOLDER/hook`; run `chmod 600 FOLDER/hook`");
}

#[tokio::test]
async fn a_missing_secret_says_where_to_put_it() {
    let text = Secrets::new("/srv/secrets", "CAPSTAN_SECRET_")
        .get("mail.password")
        .await
        .unwrap_err()
        .to_string();
    insta::assert_snapshot!(text, @"there is no secret `mail.password`; write it to `/srv/secrets/mail.password` with mode 600, or set the environment variable CAPSTAN_SECRET_MAIL_PASSWORD");
    assert!(Secrets::new("/srv/secrets", "").names().unwrap().is_empty());
}

#[tokio::test]
async fn the_environment_is_asked_when_there_is_no_file() {
    // Cargo sets this for every test: CARGO_PKG_NAME.
    let secrets = Secrets::new("/nonexistent", "CARGO_");
    assert_eq!(
        secrets.get("pkg-name").await.unwrap().expose(),
        b"capstan-secrets"
    );
}

#[tokio::test]
async fn names_cannot_leave_the_folder() {
    let (_folder, secrets) = folder_with("hook", b"x", 0o600);
    for name in [
        "",
        "..",
        ".hidden",
        "a/b",
        "../hook",
        "a b",
        "a\0b",
        "ä",
        &"x".repeat(101),
    ] {
        assert!(matches!(secrets.get(name).await, Err(Error::Name(_))), "{name:?}");
    }
}

#[tokio::test]
async fn what_is_no_small_file_is_refused() {
    let (folder, secrets) = folder_with("big", &vec![b'x'; MAX_SIZE as usize + 1], 0o600);
    assert!(matches!(secrets.get("big").await, Err(Error::Unfit(_))));
    std::fs::create_dir(folder.path().join("dir")).unwrap();
    std::fs::set_permissions(folder.path().join("dir"), std::fs::Permissions::from_mode(0o700)).unwrap();
    assert!(matches!(secrets.get("dir").await, Err(Error::Unfit(_))));
}
