//! What reporters keep and the mail that they send: what reaches the master's ports, and what is refused before.

use capstan_engine::CallError;
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::calls::{caller, everything, report};
use crate::support::plugin;

/// What came of it, and what the ports were asked.
async fn deliver(config: Value) -> (Result<(), CallError>, Vec<String>) {
    let (caller, world) = caller(everything());
    let delivered = plugin("fixture-reporter")
        .deliver(&caller, &config, &report())
        .await;
    (delivered, world.asked())
}

async fn refused(config: Value) -> String {
    let (delivered, asked) = deliver(config).await;
    assert!(asked.is_empty(), "nothing leaves the process: {asked:?}");
    delivered.unwrap_err().to_string()
}

#[tokio::test]
async fn what_a_reporter_keeps_belongs_to_its_name_in_the_configuration() {
    let calls = json!([
        ["get", "seen/roman"],
        ["set", "seen/roman", "7"],
        ["get", "seen/roman"],
        ["delete", "seen/roman"],
        ["get", "seen/roman"],
        ["fill", "seen/full", 65536]
    ]);
    let (delivered, mut asked) = deliver(json!({ "state": calls })).await;
    delivered.unwrap();
    let full = asked.remove(5);
    assert!(full.starts_with("set tell: seen/full Some([0, 0,"), "{full}");
    assert_snapshot!(asked.join("\n"), @r#"
    get tell: seen/roman
    set tell: seen/roman Some([55])
    get tell: seen/roman
    set tell: seen/roman None
    get tell: seen/roman
    reports/state: [null,"set",[55],"deleted",null,"filled"]
    "#);
}

#[tokio::test]
async fn a_key_needs_the_right_and_a_value_is_small() {
    let call = async |call: Value| refused(json!({ "state": [call] })).await;
    assert_snapshot!(call(json!(["get", "other"])).await, @r#"StateError::Denied("plugin `fixture-reporter` may not use state `other`: its manifest does not ask for it")"#);
    assert_snapshot!(call(json!(["set", "seen/../other", ""])).await, @r#"StateError::Invalid("expected a key of words joined by `/`, at most 128 bytes, found \"seen/../other\"")"#);
    assert_snapshot!(call(json!(["fill", "seen/a", 65537])).await, @r#"StateError::Invalid("expected a value of at most 65536 bytes, found 65537")"#);
}

#[tokio::test]
async fn a_message_reaches_the_port_whole() {
    let (delivered, asked) = deliver(json!({ "mail": {
        "to": ["Ann <ann@Example.ORG>"], "cc": ["bob@example.org"], "bcc": ["eve@example.org"],
        "subject": "roman/7 failed", "text": "It failed.", "html": "<b>It failed.</b>",
        "headers": [["Message-ID", "<d-1@example.org>"], ["x-builder", "römisch"]],
        "attach": [["a.log", "text/plain", 2]], "drafts": 7,
    }}))
    .await;
    delivered.unwrap();
    assert_snapshot!(asked.join("\n"), @r#"Mail { to: [Mailbox { name: Some("Ann"), address: "ann@example.org" }], cc: [Mailbox { name: None, address: "bob@example.org" }], bcc: [Mailbox { name: None, address: "eve@example.org" }], subject: "roman/7 failed", text: Some("It failed."), html: Some("<b>It failed.</b>"), headers: [("Message-ID", "<d-1@example.org>"), ("x-builder", "römisch")], attachments: [Attachment { name: "a.log", media_type: "text/plain", content: [120, 120] }] }"#);
}

#[tokio::test]
async fn each_recipient_needs_the_right() {
    for list in ["to", "cc", "bcc"] {
        let mut mail = json!({ "to": ["ann@example.org"] });
        mail[list] = json!(["ann@example.org", "thief@evil.example"]);
        let text = refused(json!({ "mail": mail })).await;
        assert!(
            text.contains("may not use mail `thief@evil.example`: its manifest"),
            "{list}: {text}"
        );
    }
}

/// Each of these would say more than the plugin may say, or to more people.
#[tokio::test]
async fn nothing_is_smuggled_into_a_message() {
    let evil = "x\r\nBcc: thief@evil.example";
    let mail = async |mut mail: Value| {
        if mail["to"].is_null() {
            mail["to"] = json!(["ann@example.org"]);
        }
        let text = refused(json!({ "mail": mail })).await;
        assert!(text.starts_with("MailError::Invalid("), "{text}");
        text
    };
    assert_snapshot!(mail(json!({ "subject": evil })).await, @r#"MailError::Invalid("expected a subject on one line, found \"x\\r\\nBcc: thief@evil.example\"")"#);
    for name in [
        "Bcc",
        "To",
        "From",
        "Sender",
        "Content-Type",
        "Received",
        "Resent-To",
        "X-",
        "X-A: b",
        "",
        "X-ä",
        "X-A\n",
    ] {
        mail(json!({ "headers": [[name, "thief@evil.example"]] })).await;
    }
    mail(json!({ "headers": [["X-A", evil]] })).await;
    mail(json!({ "attach": [[evil, "text/plain", 1]] })).await;
    for media in [
        "multipart/mixed",
        "text",
        "text/plain; name=x",
        "text/plain\r\nBcc: x",
        "",
    ] {
        mail(json!({ "attach": [["a", media, 1]] })).await;
    }
    for address in [
        "ann@example.org, thief@evil.example",
        "ann@example.org\r\nBcc: x@evil.example",
        "thief@evil.example>ann@example.org",
        "<ann@example.org> thief@evil.example",
        "\"a@b\"@example.org",
        "ann",
        "@example.org",
        "ann@",
        "ann@-example.org",
        "ann@example..org",
        "ann@example.org.",
        "ann@[127.0.0.1]",
        "ann @example.org",
        "änn@example.org",
        "ann@exämple.org",
        "ann@example.org SIZE=1",
        "<thief@evil.example> <ann@example.org>",
        "",
    ] {
        mail(json!({ "to": [address] })).await;
    }
    assert_snapshot!(refused(json!({ "mail": { "subject": "x" } })).await, @r#"MailError::Invalid("expected a recipient, found none")"#);
}

#[tokio::test]
async fn a_message_has_bounds() {
    let mail = async |mail: Value| refused(json!({ "mail": mail })).await;
    let many = |n: usize| vec!["ann@example.org"; n];
    assert_snapshot!(mail(json!({ "to": many(101) })).await, @r#"MailError::Invalid("expected at most 100 recipients, found more")"#);
    assert_snapshot!(mail(json!({ "to": many(1), "headers": vec![["X-A", "b"]; 51] })).await, @r#"MailError::Invalid("expected at most 50 headers, found more")"#);
    assert_snapshot!(mail(json!({ "to": many(1), "attach": vec![("a", "text/plain", 1); 21] })).await, @r#"MailError::Invalid("expected at most 20 attachments, found more")"#);
    assert_snapshot!(mail(json!({ "to": many(1), "attach": vec![("a", "text/plain", 3 << 20); 3] })).await, @r#"MailError::Invalid("expected at most 8 MiB in all, found more")"#);
    assert_snapshot!(mail(json!({ "to": many(1), "subject": "x".repeat(901) })).await, @r#"MailError::Invalid("expected a subject of at most 900 bytes, found 901")"#);
    assert_snapshot!(mail(json!({ "to": many(1), "drafts": 8 })).await, @"the plugin was ended: it used too much: more than 8 messages at once");
}
