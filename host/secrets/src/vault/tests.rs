//! Vault as the farm uses it, against a small server with real HTTP: what is read, logged in with, renewed, and refused.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;
use crate::Secrets;

mod server;

use server::{Authority, Server};

/// Values that no error may hold.
const VALUE: &str = "s3cret-value";
const TOKEN: &str = "t0ken-of-the-operator";
const SECRET_ID: &str = "s3cret-id";

fn read(field: &str, value: &str) -> Option<(u16, String)> {
    let body = serde_json::json!({ "data": { "data": { field: value, "user": "ci" }, "metadata": { "version": 3 } } });
    Some((200, body.to_string()))
}

fn granted(token: &str, seconds: u64, renewable: bool) -> Option<(u16, String)> {
    let auth =
        serde_json::json!({ "client_token": token, "lease_duration": seconds, "renewable": renewable });
    Some((200, serde_json::json!({ "auth": auth }).to_string()))
}

/// A farm's folder of secrets with what logins need.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, value) in [("vault-token", TOKEN), ("vault-id", SECRET_ID)] {
        write(&folder, name, value);
    }
    folder
}

fn write(folder: &tempfile::TempDir, name: &str, value: &str) {
    let path = folder.path().join(name);
    std::fs::write(&path, value).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn app_role() -> Login {
    Login::AppRole {
        mount: "approle".to_owned(),
        role: "builders".to_owned(),
        secret_id: "vault-id".to_owned(),
    }
}

fn settings(address: String, login: Login) -> Settings {
    Settings {
        address,
        namespace: None,
        mount: "secret".to_owned(),
        folder: "ci".to_owned(),
        field: "value".to_owned(),
        login,
        authority: None,
        timeout: Duration::from_secs(10),
    }
}

fn secrets(folder: &tempfile::TempDir, settings: Settings) -> Secrets {
    // The program that runs a master does that at its start.
    let _set_already = rustls::crypto::ring::default_provider().install_default();
    Secrets::new(folder.path(), "").with_vault(settings)
}

fn here(server: &Server) -> String {
    format!("http://127.0.0.1:{}", server.port)
}

fn own_token(server: &Server) -> Settings {
    settings(here(server), Login::Token("vault-token".to_owned()))
}

/// The error for `name`, without the address; no value is in any form of it.
async fn fault(secrets: &Secrets, name: &str) -> String {
    let error = secrets.get(name).await.unwrap_err();
    let text = format!("{error} {error:?}");
    for value in [VALUE, TOKEN, SECRET_ID] {
        assert!(!text.contains(value), "{text}");
    }
    error.to_string()
}

#[tokio::test]
async fn a_secret_is_read_where_the_operator_said_with_the_token_of_now() {
    let server = Server::start(None, |_| read("password", VALUE)).await;
    let folder = folder();
    let secrets = secrets(
        &folder,
        Settings {
            namespace: Some("team".to_owned()),
            mount: "kv/ci".to_owned(),
            folder: String::new(),
            field: "password".to_owned(),
            ..own_token(&server)
        },
    );
    assert_eq!(
        secrets.get("deploy.key").await.unwrap().expose_text(),
        Some(VALUE)
    );
    write(&folder, "vault-token", "another\n");
    secrets.get("deploy.key").await.unwrap();
    let asked = server.asked();
    assert_eq!(asked[0].line, "GET /v1/kv/ci/data/deploy.key");
    assert_eq!(
        (asked[0].token.as_str(), asked[0].namespace.as_str()),
        (TOKEN, "team")
    );
    assert_eq!(asked[1].token, "another");
}

#[tokio::test]
async fn what_this_machine_has_is_not_asked_of_vault() {
    let server = Server::start(None, |_| read("value", VALUE)).await;
    let folder = folder();
    let secrets = secrets(&folder, own_token(&server));
    assert_eq!(
        secrets.get("vault-token").await.unwrap().expose_text(),
        Some(TOKEN)
    );
    // A name that could lead elsewhere does not leave.
    assert!(matches!(secrets.get("../sys/seal").await, Err(Error::Name(_))));
    assert!(server.lines().is_empty());
}

#[tokio::test]
async fn a_role_logs_in_once_and_again_when_its_token_is_gone() {
    let (logins, revoked) = (AtomicUsize::new(0), Arc::new(AtomicBool::new(false)));
    let gone = Arc::clone(&revoked);
    let server = Server::start(None, move |asked| match asked.line.as_str() {
        "POST /v1/auth/approle/login" => {
            let sent: serde_json::Value = serde_json::from_str(&asked.body).unwrap();
            assert_eq!(
                sent,
                serde_json::json!({ "role_id": "builders", "secret_id": SECRET_ID })
            );
            granted(
                &format!("token-{}", logins.fetch_add(1, Ordering::SeqCst)),
                3600,
                true,
            )
        }
        "GET /v1/secret/data/ci/forbidden" => Some((403, format!("{{\"errors\":[\"{VALUE}\"]}}"))),
        _ if gone.load(Ordering::SeqCst) && asked.token == "token-0" => Some((403, "{}".to_owned())),
        "GET /v1/auth/token/lookup-self" => Some((200, "{}".to_owned())),
        _ => read("value", VALUE),
    })
    .await;
    let folder = folder();
    let secrets = secrets(&folder, settings(here(&server), app_role()));
    let (a, b) = tokio::join!(secrets.get("a"), secrets.get("b"));
    assert_eq!(
        (a.unwrap().expose_text(), b.unwrap().expose_text()),
        (Some(VALUE), Some(VALUE))
    );
    // A path that the role may not read is no reason for another login.
    let text = fault(&secrets, "forbidden").await;
    assert!(text.contains("`secret/data/ci/forbidden`: found 403"), "{text}");
    let login = "POST /v1/auth/approle/login";
    let count = || server.lines().iter().filter(|line| *line == login).count();
    assert_eq!(count(), 1);
    revoked.store(true, Ordering::SeqCst);
    assert_eq!(secrets.get("a").await.unwrap().expose_text(), Some(VALUE));
    assert_eq!(count(), 2);
    assert_eq!(server.asked().last().unwrap().token, "token-1");
}

#[tokio::test]
async fn tokens_are_renewed_while_they_live() {
    let server = Server::start(None, |asked| match asked.line.as_str() {
        "POST /v1/auth/approle/login" => granted("lease", 1, true),
        "POST /v1/auth/token/renew-self" => granted(&asked.token, 1, true),
        _ => read("value", VALUE),
    })
    .await;
    let folder = folder();
    for login in [app_role(), Login::Token("vault-token".to_owned())] {
        let role = matches!(login, Login::AppRole { .. });
        let secrets = secrets(&folder, settings(here(&server), login));
        let before = server.lines().len();
        let kept = async {
            secrets.get("a").await.unwrap();
            let renewals = server
                .lines()
                .iter()
                .filter(|line| line.contains("renew-self"))
                .count();
            server.until("POST /v1/auth/token/renew-self", renewals + 3).await;
            // Longer than the first lease: what was renewed serves still.
            secrets.get("a").await.unwrap();
        };
        tokio::select! {
            () = secrets.keep() => panic!("it keeps for ever"),
            () = kept => {}
        }
        let asked = server.asked().split_off(before);
        let logins = asked.iter().filter(|asked| asked.line.ends_with("login")).count();
        assert_eq!(logins, usize::from(role), "{asked:?}");
        let token = if role { "lease" } else { TOKEN };
        let renewed = asked.iter().filter(|asked| asked.line.contains("renew-self"));
        assert!(renewed.clone().all(|asked| asked.token == token), "{asked:?}");
    }
}

#[tokio::test]
async fn a_token_that_is_not_renewed_any_more_is_exchanged() {
    // Its life cannot be made longer than the server's maximum: the rest of it is shorter each time.
    let server = Server::start(None, |asked| match asked.line.as_str() {
        "POST /v1/auth/approle/login" => granted("lease", 4, true),
        "POST /v1/auth/token/renew-self" => granted("lease", 1, true),
        _ => read("value", VALUE),
    })
    .await;
    let folder = folder();
    let secrets = secrets(&folder, settings(here(&server), app_role()));
    let exchanged = async {
        secrets.get("a").await.unwrap();
        server.until("POST /v1/auth/token/renew-self", 1).await;
        while server
            .lines()
            .iter()
            .filter(|line| line.ends_with("login"))
            .count()
            < 2
        {
            secrets.get("a").await.unwrap();
        }
    };
    tokio::select! {
        () = secrets.keep() => panic!("it keeps for ever"),
        ended = tokio::time::timeout(Duration::from_secs(20), exchanged) => ended.unwrap(),
    }
}

#[tokio::test]
async fn refusals_name_path_and_status_and_no_value() {
    let secret = format!("{{\"errors\":[\"{VALUE} {TOKEN}\"]}}");
    for (status, meaning) in [
        (400, "does not take the request"),
        (403, "do not allow this path"),
        (307, "name the server"),
        (500, "found 500"),
        (503, "sealed"),
    ] {
        let body = secret.clone();
        let server = Server::start(None, move |_| Some((status, body.clone()))).await;
        let folder = folder();
        let text = fault(&secrets(&folder, own_token(&server)), "deploy").await;
        assert!(
            text.contains(&here(&server)) && text.contains("`secret/data/ci/deploy`"),
            "{text}"
        );
        assert!(
            text.contains(&status.to_string()) && text.contains(meaning),
            "{text}"
        );
        // A login that is refused is named by its own path.
        let text = fault(&secrets(&folder, settings(here(&server), app_role())), "deploy").await;
        assert!(
            text.contains("`auth/approle/login`") && text.contains(&status.to_string()),
            "{text}"
        );
    }
}

#[tokio::test]
async fn answers_that_are_no_secret_are_refused_without_showing_them() {
    let long = "x".repeat(MAX_SIZE as usize + 1);
    for (body, reason) in [
        (
            format!("{{\"data\":{{\"data\":{{\"other\":\"{VALUE}\"}}}}}}"),
            "found no field `value`",
        ),
        (
            "{\"data\":{\"data\":{\"value\":17}}}".to_owned(),
            "expected text in the field `value`",
        ),
        // The first version of the engine.
        (format!("{{\"data\":{{\"value\":\"{VALUE}\"}}}}"), "of version 2"),
        (format!("{{\"data\":\"{VALUE}\"}}"), "of version 2"),
        (format!("<html>{VALUE}"), "of version 2"),
        (
            format!("{{\"data\":{{\"data\":{{\"value\":\"{long}\"}}}}}}"),
            "at most 65536 bytes",
        ),
        ("x".repeat(3 << 20), "with more than 1048576 bytes"),
    ] {
        let server = Server::start(None, move |_| Some((200, body.clone()))).await;
        let folder = folder();
        let text = fault(&secrets(&folder, own_token(&server)), "deploy").await;
        assert!(
            text.contains("`secret/data/ci/deploy`") && text.contains(reason),
            "{reason}: {text}"
        );
        let text = fault(&secrets(&folder, settings(here(&server), app_role())), "deploy").await;
        assert!(text.contains("no token") || text.contains("more than"), "{text}");
    }
}

#[tokio::test]
async fn a_secret_that_nobody_has_says_where_it_could_be() {
    let server = Server::start(None, |_| Some((404, "{\"errors\":[]}".to_owned()))).await;
    let folder = folder();
    let text = fault(&secrets(&folder, own_token(&server)), "deploy").await;
    let text = text.replace(folder.path().to_str().unwrap(), "FOLDER");
    insta::assert_snapshot!(text, @"there is no secret `deploy`; write it to `FOLDER/deploy` with mode 600, or store it in Vault: `secret/ci/deploy` with the field `value`");
    // What the login needs is of this machine.
    std::fs::remove_file(folder.path().join("vault-token")).unwrap();
    let text = fault(&secrets(&folder, own_token(&server)), "deploy").await;
    assert!(
        text.contains("`vault-token`") && !text.contains("Vault:"),
        "{text}"
    );
}

#[tokio::test]
async fn a_server_that_is_silent_or_away_is_given_up_in_time() {
    let server = Server::start(None, |_| None).await;
    let folder = folder();
    let silent = Settings {
        timeout: Duration::from_millis(200),
        ..own_token(&server)
    };
    let text = fault(&secrets(&folder, silent), "deploy").await;
    assert!(
        text.contains("`secret/data/ci/deploy`: found none within 0.2 s"),
        "{text}"
    );
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let away = settings(address, Login::Token("vault-token".to_owned()));
    let text = fault(&secrets(&folder, away), "deploy").await;
    assert!(text.contains("refused"), "{text}");
    // A token that no header can hold is not sent, and not shown.
    write(&folder, "vault-token", &format!("{TOKEN}\nx"));
    let text = fault(&secrets(&folder, own_token(&server)), "deploy").await;
    assert!(text.contains("the token has characters"), "{text}");
}

#[tokio::test]
async fn the_operator_says_whose_certificates_are_good() {
    let (authority, folder) = (Authority::new(), folder());
    let file = folder.path().join("vault.pem");
    let server = Server::start(Some(authority.acceptor("127.0.0.1")), |_| read("value", VALUE)).await;
    let elsewhere = Server::start(Some(authority.acceptor("vault.example")), |_| {
        read("value", VALUE)
    })
    .await;
    let trusting = |server: &Server, file: Option<PathBuf>| Settings {
        address: format!("https://127.0.0.1:{}", server.port),
        authority: file,
        ..own_token(server)
    };
    let known = secrets(&folder, trusting(&server, Some(file.clone())));
    for (pem, reason) in [
        (None, "No such file"),
        (Some("no certificate".to_owned()), "found none"),
        (Some("-".repeat(2 << 20)), "at most"),
        (
            Some("-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n".to_owned()),
            "vault.pem",
        ),
        (Some(Authority::new().pem), "its certificate is not accepted"),
    ] {
        if let Some(pem) = pem {
            std::fs::write(&file, pem).unwrap();
        }
        let text = fault(&known, "deploy").await;
        assert!(
            text.contains("`authority`") && text.contains(reason),
            "{reason}: {text}"
        );
    }
    // The file is read anew when it was exchanged.
    std::fs::write(&file, &authority.pem).unwrap();
    assert_eq!(known.get("deploy").await.unwrap().expose_text(), Some(VALUE));
    let other = secrets(&folder, trusting(&elsewhere, Some(file)));
    assert!(
        fault(&other, "deploy")
            .await
            .contains("its certificate is not accepted")
    );
    fault(&secrets(&folder, trusting(&server, None)), "deploy").await;
    assert_eq!(server.lines().len(), 1);
    assert!(elsewhere.lines().is_empty(), "nothing is said to a stranger");
}
