//! What a pattern covers, and above all what it does not.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;

use super::*;

fn covers(right: Right, pattern: &str, value: &str) -> bool {
    Pattern::parse(right, pattern)
        .unwrap_or_else(|error| panic!("{error}"))
        .covers(value)
}

fn http(pattern: &str, value: &str) -> bool {
    covers(Right::Http, pattern, value)
}

fn rights(right: Right, patterns: &[&str]) -> Rights {
    let mut rights = Rights::default();
    *rights.of_mut(right) = patterns.iter().map(|&p| p.to_owned()).collect();
    rights
}

#[test]
fn a_request_is_compared_part_by_part() {
    let pattern = "GET,POST https://ci.example.org/hooks/*";
    for covered in [
        "GET https://ci.example.org/hooks/",
        "POST https://ci.example.org/hooks/a/b?c=d",
        "GET https://CI.Example.ORG:443/hooks/a",
        "GET https://ci.example.org/x/../hooks/a",
    ] {
        assert!(http(pattern, covered), "{covered}");
    }
    for other in [
        "PUT https://ci.example.org/hooks/a",
        "https://ci.example.org/hooks/a",
        "GET http://ci.example.org/hooks/a",
        "GET https://ci.example.org:8443/hooks/a",
        "GET https://ci.example.org/hooks",
        "GET https://ci.example.org/hooksx/a",
        "GET https://ci.example.org/hooks/../admin",
        "GET https://ci.example.org/hooks/%2e%2e/admin",
        "GET https://ci.example.org/hooks/..%2fadmin",
        "GET https://ci.example.org/hooks/%252e%252e/admin",
        "GET https://ci.example.org/hooks/..;/admin",
        "GET https://ci.example.org/hooks/x%5c..%5cadmin",
        "GET https://ci.example.org.evil.net/hooks/a",
        "GET https://ci.example.org@evil.net/hooks/a",
        "GET https://me:pw@ci.example.org/hooks/a",
        "GET https://evil.net/hooks/?https://ci.example.org/hooks/a",
        "GET https://evil.net\\@ci.example.org/hooks/a",
        "GET https://ci.example.org./hooks/a",
        "GET file://ci.example.org/hooks/a",
        "GET ",
        "",
    ] {
        assert!(!http(pattern, other), "{other}");
    }
}

#[test]
fn hosts_ports_and_paths_have_their_forms() {
    assert!(http("https://*.example.org/*", "GET https://a.b.example.org/x"));
    for other in [
        "GET https://example.org/",
        "GET https://evilexample.org/",
        "GET https://a.example.org.evil.net/",
        "GET https://.example.org/",
    ] {
        assert!(!http("https://*.example.org/*", other), "{other}");
    }
    // Without a path: all of the host. With one: that very one, and its query.
    assert!(http("https://a.example.org", "GET https://a.example.org/x?y"));
    assert!(http("https://a.example.org/x", "GET https://a.example.org/x"));
    assert!(!http("https://a.example.org/x", "GET https://a.example.org/x?y"));
    assert!(http(
        "https://a.example.org/x?y=1",
        "GET https://a.example.org/x?y=1"
    ));
    assert!(http(
        "http://a.example.org:8080/*",
        "GET http://a.example.org:8080/"
    ));
    assert!(!http("http://a.example.org:8080/*", "GET http://a.example.org/"));
    // Any host of a scheme, as it was always written.
    assert!(http("https://*", "GET https://anywhere.example.org/x"));
    assert!(!http("https://*", "GET http://anywhere.example.org/x"));
    assert!(!http("https://*", "GET https://anywhere.example.org:8443/x"));
    assert!(http("GET *", "GET http://10.0.0.1/") && !http("GET *", "POST http://10.0.0.1/"));
    // One address, many spellings.
    for spelling in [
        "http://2130706433/",
        "http://0x7f.1/",
        "http://127.1/",
        "http://0177.0.0.1/",
    ] {
        assert!(
            http("http://127.0.0.1/*", &format!("GET {spelling}")),
            "{spelling}"
        );
        assert!(
            http(&format!("{spelling}*"), "GET http://127.0.0.1/"),
            "{spelling}"
        );
    }
}

#[test]
fn only_a_host_by_name_is_named() {
    let named = |pattern: &str| rights(Right::Http, &["*", pattern]).names_host("GET http://10.0.0.1/x");
    assert!(named("http://10.0.0.1/*") && named("GET http://10.0.0.1"));
    for pattern in [
        "*",
        "GET *",
        "http://*",
        "http://*/x",
        "https://10.0.0.1/*",
        "POST http://10.0.0.1/*",
    ] {
        assert!(!named(pattern), "{pattern}");
    }
    let below = rights(Right::Http, &["http://*.internal/*"]);
    assert!(!below.names_host("GET http://db.internal/"));
}

#[test]
fn a_secret_may_be_for_some_builders_only() {
    let covers = |pattern, value| covers(Right::Secrets, pattern, value);
    assert!(covers("token", "token@release-1") && covers("token", "token"));
    assert!(covers("token@release-*", "token@release-1"));
    assert!(covers("token@linux release", "token@linux release"));
    assert!(covers("deploy-*@release", "deploy-key@release"));
    assert!(covers("*", "token@any") && covers("*@release", "token@release"));
    for (pattern, value) in [
        ("token@release-*", "token@nightly"),
        ("token@release-*", "token"),
        ("token@release", "token@release-1"),
        ("token@release", "token@my-release"),
        ("token", "token2"),
        ("token", "my-token"),
        ("*@release", "token@nightly"),
    ] {
        assert!(!covers(pattern, value), "{pattern} {value}");
    }
}

#[test]
fn other_patterns_end_at_a_slash() {
    assert!(covers(Right::Files, "reports/*", "reports/a/b.txt"));
    assert!(!covers(Right::Files, "reports/*", "reports"));
    assert!(!covers(Right::Files, "reports/*", "reports/../x"));
    assert!(covers(Right::Files, "*", "reports/../x"));
    assert!(covers(Right::State, "seen/*", "seen/42") && !covers(Right::State, "seen", "seen/42"));
    assert!(covers(Right::Commands, "/usr/bin/*", "/usr/bin/make"));
    assert!(!covers(Right::Commands, "make", "makefile") && !covers(Right::Commands, "make", "/tmp/make"));
    assert!(covers(
        Right::Git,
        "https://git.example.org/*",
        "https://git.example.org/a"
    ));
    assert!(!covers(
        Right::Git,
        "https://git.example.org/*",
        "https://git.example.org.evil.net/a"
    ));
    assert!(!covers(
        Right::Git,
        "https://git.example.org/a/*",
        "https://git.example.org/a/%2E./b"
    ));
}

#[test]
fn mail_goes_to_an_address_or_to_a_host() {
    let covers = |pattern, value| covers(Right::Mail, pattern, value);
    assert!(covers("team@example.org", "team@example.org"));
    assert!(covers("team@Example.org", "team@example.org"));
    assert!(covers("*@example.org", "team@EXAMPLE.org") && covers("*", "team@example.org"));
    for value in [
        "team@example.org.evil.net",
        "team@sub.example.org",
        "evil@evil.net,team@example.org",
        "\"evil@evil.net\"@example.org",
        "evil@evil.net@example.org",
        "team@example.org\r\nBcc: evil@evil.net",
        "<team@example.org>",
        "@example.org",
    ] {
        assert!(!covers("*@example.org", value), "{value:?}");
        assert!(!covers("team@example.org", value), "{value:?}");
    }
}

#[test]
fn a_malformed_pattern_says_the_right_form() {
    for (right, pattern, says) in [
        (
            Right::Http,
            "https://ci.example*",
            "stands alone, or at the start",
        ),
        (
            Right::Http,
            "https://*example.org/",
            "stands alone, or at the start",
        ),
        (Right::Http, "https://*.*.org/", "stands alone, or at the start"),
        (Right::Http, "https://a.example.org/x*", "at its end after a `/`"),
        (Right::Http, "https://a.example.org/*/x", "at its end after a `/`"),
        (Right::Http, "https://a.example.org/a/../*", "`..`"),
        (Right::Http, "https://me@a.example.org/", "user name"),
        (Right::Http, "ci.example.org", "`https://`"),
        (Right::Http, "ftp://ci.example.org/", "scheme"),
        (Right::Http, "https:///x", "empty host"),
        (Right::Http, "https://*./x", ""),
        (Right::Http, "https://*.10.0.0.1/", "numbers"),
        (Right::Http, "https://a.example.org:x/", "port"),
        (Right::Http, "get https://a.example.org/", "capital letters"),
        (Right::Http, "GET, POST https://a.example.org/", "capital letters"),
        (Right::Http, "GET", "`https://`"),
        (Right::Secrets, "a b", "letters"),
        (Right::Secrets, "token@", "builder"),
        (Right::Secrets, "@release", "letters"),
        (Right::Files, "/etc/passwd", "relative"),
        (Right::Files, "../x", "relative"),
        (Right::Files, "a*", "after a `/`"),
        (Right::State, "a/*/b", "after a `/`"),
        (Right::Commands, "git*", "after a `/`"),
        (Right::Git, "https://git.example.org*", "after a `/`"),
        (Right::Mail, "team", "address"),
        (Right::Mail, "a*@example.org", "before the `@`"),
        (Right::Mail, "*@*.example.org", "before the `@`"),
        (Right::Mail, "", "empty"),
        (Right::Commands, "a\nb", "control"),
    ] {
        let error = Pattern::parse(right, pattern).expect_err(pattern).to_string();
        assert!(
            error.contains(right.as_str()) && error.contains(says),
            "{pattern}: {error}"
        );
    }
}

#[test]
fn a_file_with_a_malformed_pattern_names_its_place() {
    let text = "commands = [\"make\"]\nhttp = [\n  \"https://a.example.org/*\",\n  \"https://b*\",\n]\n";
    let error = toml::from_str::<Rights>(text).unwrap_err().to_string();
    assert!(
        error.contains("line 4") && error.contains("`https://host/path/*`"),
        "{error}"
    );
    let error = serde_json::from_str::<Rights>(r#"{"mail": ["team"]}"#)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("line 1 column") && error.contains("team@example.org"),
        "{error}"
    );
    // What a master without these capabilities wrote reads, and the other way round.
    let old: Rights =
        serde_json::from_str(r#"{"commands":["*"],"http":[],"git":[],"secrets":[],"files":[]}"#).unwrap();
    assert_eq!(
        serde_json::to_string(&old).unwrap(),
        r#"{"commands":["*"],"http":[],"git":[],"secrets":[],"files":[]}"#
    );
}

#[test]
fn an_update_is_beyond_only_where_it_reaches_further() {
    let beyond = |right, new: &[&str], accepted: &[&str]| -> Vec<String> {
        rights(right, new)
            .beyond(&rights(right, accepted))
            .of(right)
            .to_vec()
    };
    let https = |new: &str, accepted: &[&str]| beyond(Right::Http, &[new], accepted).is_empty();
    assert!(https("https://a.example.org/x/*", &["https://a.example.org/*"]));
    assert!(https("https://a.example.org/x", &["https://*.example.org"]));
    assert!(https("https://*.b.example.org/*", &["https://*.example.org/*"]));
    assert!(https("GET https://a.example.org/*", &["https://a.example.org/*"]));
    assert!(https(
        "GET,POST https://a.example.org/*",
        &["GET https://a.example.org/*", "POST https://*.example.org"]
    ));
    assert!(!https(
        "https://a.example.org/*",
        &["GET https://a.example.org/*"]
    ));
    assert!(!https(
        "GET,PUT https://a.example.org/*",
        &["GET,POST https://a.example.org/*"]
    ));
    assert!(!https("https://a.example.org/*", &["https://a.example.org/x/*"]));
    assert!(!https("https://*.example.org/*", &["https://a.example.org/*"]));
    assert!(!https("https://*.aexample.org/*", &["https://*.example.org/*"]));
    assert!(!https("http://a.example.org/*", &["https://a.example.org/*"]));
    assert!(!https("*", &["https://*", "http://*"]));
    assert_eq!(
        beyond(
            Right::Secrets,
            &["token@release", "token", "other"],
            &["token@release-*", "token@release"]
        ),
        ["token", "other"]
    );
    assert!(beyond(Right::Secrets, &["token@release-1"], &["token@release-*"]).is_empty());
    assert!(
        beyond(
            Right::Mail,
            &["team@example.org", "*@example.org"],
            &["*@EXAMPLE.org"]
        )
        .is_empty()
    );
    assert_eq!(beyond(Right::Mail, &["*"], &["*@example.org"]), ["*"]);
    assert_eq!(beyond(Right::Files, &["a/*", "b/c/*"], &["b/*", "a/b"]), ["a/*"]);
    let all = rights(Right::Commands, &["*"]);
    assert!(all.covers_all(&rights(Right::Commands, &["make", "/usr/bin/*"])));
    assert!(!all.covers_all(&rights(Right::Git, &["x"])) && all.covers_all(&Rights::default()));
}

#[test]
fn a_refusal_names_the_side_that_refused() {
    let (all, none) = (rights(Right::Http, &["*"]), Rights::default());
    let check = |asked, granted| check_right("p", asked, granted, Right::Http, "GET https://x/");
    assert_eq!(check(&none, &all).unwrap_err().side, Side::Manifest);
    let refusal = check(&all, &none).unwrap_err();
    assert_eq!(refusal.side, Side::Operator);
    assert!(refusal.to_string().contains("[grants.p]"), "{refusal}");
    check(&all, &all).unwrap();
}

#[test]
fn a_refusal_says_what_to_write() {
    let refusal = |right, value: &str, side| Refusal {
        plugin: "chat".to_owned(),
        right,
        value: value.to_owned(),
        side,
    };
    let line = |right, value: &str| {
        refusal(right, value, Side::Operator).remedy(&rights(Right::Http, &["https://a.example.org/*"]))
    };
    for (right, value, expected) in [
        (
            Right::Http,
            "GET https://b.example.org/x",
            "http = [\"https://a.example.org/*\", \"GET https://b.example.org/x\"]",
        ),
        (
            Right::Http,
            "GET https://b.example.org/x/y?…",
            "http = [\"https://a.example.org/*\", \"GET https://b.example.org/x/*\"]",
        ),
        (
            Right::Http,
            "GET https://b.example.org/?…",
            "http = [\"https://a.example.org/*\", \"GET https://b.example.org/*\"]",
        ),
        (
            Right::Secrets,
            "token@linux \"x\"",
            "secrets = [\"token@linux \\\"x\\\"\"]",
        ),
        (Right::Commands, "make", "commands = [\"make\"]"),
        (Right::Mail, "team@example.org", "mail = [\"team@example.org\"]"),
        (Right::State, "seen/a", "state = [\"seen/a\"]"),
    ] {
        assert_eq!(line(right, value).unwrap(), format!("[grants.chat]\n{expected}"));
    }
    for (right, value) in [
        (Right::Commands, "../make"),
        (Right::Commands, "a*b"),
        (Right::Commands, "*"),
        (Right::Git, "https://git.example.org/../x"),
    ] {
        assert_eq!(line(right, value), None, "{value}");
    }
    assert_eq!(
        refusal(Right::Commands, "make", Side::Manifest).remedy(&Rights::default()),
        None
    );
}

/// Texts around real addresses: what somebody might try who wants to look like another host.
fn address() -> impl Strategy<Value = String> {
    let scheme = prop::sample::select(vec![
        "http://",
        "http://",
        "https://",
        "HTTP://",
        "http:/",
        "http:\\\\",
        "http:",
        "//",
        "",
    ]);
    let host = prop::sample::select(vec![
        "a.example.org",
        "A.EXAMPLE.org",
        "b.example.org",
        "example.org",
        "a.example.org.evil.net",
        "evil.net",
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "[::ffff:127.0.0.1]",
        "a%2eexample.org",
        "ａ.example.org",
    ]);
    let glue = || {
        prop_oneof![
            Just(String::new()),
            Just("/".to_owned()),
            "[@:/\\\\?#.;%a-c0-9 \\t]{0,6}"
        ]
    };
    (
        scheme,
        glue(),
        host.clone(),
        glue(),
        host,
        "[/.%a-z0-9?#*@;]{0,12}",
    )
        .prop_map(|(scheme, a, host, b, other, path)| format!("{scheme}{a}{host}{b}{other}{path}"))
}

#[test]
fn the_odd_addresses_reach_real_hosts_too() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let pattern = Pattern::parse(Right::Http, "http://a.example.org").unwrap();
    let hits = (0..1000)
        .map(|_| address().new_tree(&mut runner).unwrap().current())
        .filter(|value| pattern.covers(&format!("GET {value}")));
    assert!(hits.count() > 20);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn a_pattern_of_one_host_covers_no_other(value in address(), path in "(/[a-c]{0,2}){0,2}(/\\*)?") {
        for (scheme, port) in [("http", 80), ("https", 443)] {
            let pattern = Pattern::parse(Right::Http, &format!("{scheme}://a.example.org{path}")).unwrap();
            if pattern.covers(&format!("GET {value}")) {
                let url = url::Url::parse(&value).unwrap();
                prop_assert_eq!(url.host_str(), Some("a.example.org"));
                prop_assert_eq!(url.scheme(), scheme);
                prop_assert_eq!(url.port_or_known_default(), Some(port));
                prop_assert!(url.username().is_empty() && url.password().is_none());
                prop_assert!(url.path().starts_with(path.trim_end_matches('*')));
            }
        }
    }

    #[test]
    fn a_pattern_of_subdomains_covers_nothing_else(value in address()) {
        let pattern = Pattern::parse(Right::Http, "http://*.example.org").unwrap();
        if pattern.covers(&format!("GET {value}")) {
            let url = url::Url::parse(&value).unwrap();
            prop_assert!(url.host_str().unwrap().ends_with(".example.org"), "{}", url);
        }
    }

    #[test]
    fn what_is_within_covers_no_more(
        narrow in pattern(), wide in pattern(), value in address(), method in "GET|POST"
    ) {
        let (small, large) = (rights(Right::Http, &[&narrow]), rights(Right::Http, &[&wide]));
        let value = format!("{method} {value}");
        if large.covers_all(&small) && small.covers(Right::Http, &value) {
            prop_assert!(large.covers(Right::Http, &value), "{} within {}: {}", narrow, wide, value);
        }
        prop_assert!(small.covers_all(&small));
    }

    #[test]
    fn no_text_is_too_odd_to_be_read(text in "\\PC{0,40}", value in "\\PC{0,40}") {
        for right in Right::ALL {
            if let Ok(pattern) = Pattern::parse(right, &text) {
                pattern.covers(&value);
            }
        }
    }
}

fn pattern() -> impl Strategy<Value = String> {
    let methods = prop::sample::select(vec!["", "GET ", "POST ", "GET,POST "]);
    let host = prop::sample::select(vec![
        "*",
        "*.example.org",
        "a.example.org",
        "127.0.0.1",
        "evil.net",
    ]);
    let path = prop::sample::select(vec!["", "/*", "/a", "/a/*", "/a/b/*", "/a?b"]);
    (methods, host, path).prop_map(|(methods, host, path)| format!("{methods}http://{host}{path}"))
}

#[test]
fn a_host_that_is_covered_and_not_named_is_still_to_be_written() {
    let one = |pattern: &str| rights(Right::Http, &[pattern]);
    let local = one("POST http://127.0.0.1:18120/*");
    for granted in ["*", "POST *", "http://*:18120/*", "POST http://127.0.0.1:18121/*"] {
        assert_eq!(local.to_write(&one(granted)), local, "{granted}");
    }
    for granted in ["http://127.0.0.1:18120/*", "GET,POST http://127.0.0.1:18120"] {
        assert!(local.to_write(&one(granted)).is_empty(), "{granted}");
    }
    assert!(one("POST *").to_write(&one("*")).is_empty(), "it names no host");
    let token = rights(Right::Secrets, &["token"]);
    assert_eq!(token.to_write(&one("*")), token);
    assert!(token.to_write(&token).is_empty());
}
