//! What an operator sees for a wrong `capstan.toml`, and that the template means the defaults.

use super::*;

fn parse(text: &str) -> Result<Operator, Error> {
    Operator::parse(text, Path::new("/farm"))
}

fn error(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn the_template_is_valid_and_grants_what_the_built_in_plugins_need() {
    let operator = parse(&Operator::template()).unwrap();
    assert_eq!(operator.web.listen.to_string(), "127.0.0.1:8010");
    assert_eq!(operator.link.advertise, ["127.0.0.1:9010"]);
    assert_eq!(operator.grants["git"].commands, ["git", "rm"]);
    assert_eq!(operator.grants["report-file"].files, ["reports/*"]);
    assert!(operator.grants["http-push"].http.is_empty());
}

#[test]
fn what_the_template_shows_commented_out_is_accepted() {
    let text: String = Operator::template()
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(setting) if setting.starts_with('[') => setting,
            Some(setting) if setting.contains(" = ") && !setting.starts_with("url = \"postgres") => setting,
            _ => line,
        })
        .map(|line| format!("{line}\n"))
        .collect();
    let shown = parse(&text).unwrap();
    let default = parse("").unwrap();
    assert_eq!(shown.link.grace, default.link.grace);
    assert_eq!(shown.link.idle, default.link.idle);
    assert_eq!(shown.limits.max_log, default.limits.max_log);
    assert_eq!(shown.limits.max_artefact, default.limits.max_artefact);
    assert_eq!(shown.limits.keep_instances, default.limits.keep_instances);
    assert_eq!(shown.database.synchronous, default.database.synchronous);
    assert_eq!(shown.mail.unwrap().security, Security::default());
    assert_eq!(shown.master.data, default.master.data);
    assert_eq!(shown.master.config, default.master.config);
    assert_eq!(shown.retention.every, default.retention.every);
    assert_eq!(shown.retention.spare, default.retention.spare);
    assert_eq!(shown.retention.rules.len(), 2);
    assert!(default.retention.rules.is_empty() && default.retention.automatic);
}

#[test]
fn relative_paths_start_at_the_farm() {
    let operator = parse("[master]\nplugins = \"/opt/plugins\"\n[secrets]\nfolder = \"keys\"").unwrap();
    assert_eq!(operator.master.data, Path::new("/farm/data"));
    assert_eq!(operator.master.plugins, Path::new("/opt/plugins"));
    assert_eq!(operator.secrets.folder, Path::new("/farm/keys"));
    assert_eq!(operator.database.backend.url(), "sqlite:/farm/data/capstan.db");
    assert_eq!(operator.master.url, "http://127.0.0.1:8010");
}

#[test]
fn a_password_in_the_database_url_stays_out_of_debug_output() {
    let operator = parse("[database]\nurl = \"postgres://u:geheim@h/d\"").unwrap();
    assert!(!format!("{operator:?}").contains("geheim"));
    assert!(operator.database.backend.url().contains("geheim"));
}

#[test]
fn every_wrong_file_is_answered_with_place_and_remedy() {
    insta::assert_snapshot!(error("[web]\nlisen = \"127.0.0.1:80\""), @"capstan.toml:2:1: unknown key: expected `listen`, found `lisen`; did you mean `listen`?");
    insta::assert_snapshot!(error("[wep]\nlisten = \"127.0.0.1:80\""), @"capstan.toml:1:2: unknown key: expected `master`, `web`, `link`, `database`, `secrets`, `grants`, `limits`, `plugins`, `mail` or `retention`, found `wep`; did you mean `web`?");
    insta::assert_snapshot!(error("[grants.git]\ncommand = [\"git\"]"), @"capstan.toml:2:1: unknown key: expected `commands`, `http`, `git`, `secrets`, `files`, `mail`, `state`, `artefacts` or `triggers`, found `command`; did you mean `commands`?");
    insta::assert_snapshot!(error("[web]\nlisten = 8010"), @r#"capstan.toml:2:10: expected an address and port such as "127.0.0.1:8010" or "[::]:8010", found integer `8010`"#);
    insta::assert_snapshot!(error("[web]\nlisten = \"localhost\""), @r#"capstan.toml:2:10: expected an address and port such as "127.0.0.1:8010" or "[::]:8010", found string "localhost""#);
    insta::assert_snapshot!(error("[link]\ngrace = 5"), @r#"capstan.toml:2:9: expected a duration such as "30s", "5min" or "2h", found integer `5`"#);
    insta::assert_snapshot!(error("[link]\ngrace = \"5 minutes\""), @r#"capstan.toml:2:9: expected a duration such as "30s", "5min" or "2h", found string "5 minutes""#);
    insta::assert_snapshot!(error("[link]\nidle = \"0s\""), @r#"capstan.toml:2:8: expected a duration from "1s" to "60s", found string "0s""#);
    insta::assert_snapshot!(error("[link]\nidle = \"5min\""), @r#"capstan.toml:2:8: expected a duration from "1s" to "60s", found string "5min""#);
    insta::assert_snapshot!(error("[link]\nadvertise = [\"https://ci.example.org:9010\"]"), @r#"capstan.toml:2:14: expected a host and port such as "ci.example.org:9010", found string "https://ci.example.org:9010""#);
    insta::assert_snapshot!(error("[database]\nsynchronous = \"ful\""), @"capstan.toml:2:15: unknown word: expected `full` or `normal`, found `ful`; did you mean `full`?");
    insta::assert_snapshot!(error("[limits]\nkeep_instances = \"long\""), @r#"capstan.toml:2:18: expected a duration such as "30s", "5min" or "2h", found string "long""#);
    insta::assert_snapshot!(error("[database]\nurl = \"mysql://x\""), @r#"capstan.toml:2:7: expected "sqlite:data/capstan.db" or "postgres://user@host/database", found string "mysql://x""#);
    insta::assert_snapshot!(error("[master]\nurl = \"ci.example.org\""), @r#"capstan.toml:2:7: expected a web address such as "https://ci.example.org", found string "ci.example.org""#);
    insta::assert_snapshot!(error("[master\n"), @"capstan.toml:1:8: unclosed table, expected `]`");
    insta::assert_snapshot!(error("[web]\nlisten = \"127.0.0.1:1\"\nlisten = \"127.0.0.1:2\""), @"capstan.toml:3:1: duplicate key");
}

#[test]
fn a_wrong_rule_of_retention_is_answered_with_its_place_and_the_right_form() {
    for (text, words) in [
        (
            "[retention]\nbuilds = \"90d\"",
            "capstan.toml:2:1: unknown key: expected `automatic`",
        ),
        (
            "[retention]\nevery = \"1s\"",
            "capstan.toml:2:9: expected a duration of at least \"1min\"",
        ),
        (
            "[retention]\nchanges = \"never\"",
            "or \"forever\", found string \"never\"",
        ),
        (
            "[[retention.rules]]\nbuilds = 90",
            "capstan.toml:2:10: expected a duration such as",
        ),
        (
            "[[retention.rules]]\nnewest_logs = 0",
            "capstan.toml:2:15: expected a number from 1 on, found integer `0`",
        ),
        ("[[retention.rules]]\nresults = [\"failed\"]", "found `failed`"),
    ] {
        let found = error(text);
        assert!(found.contains(words), "{text}: expected {words}, found {found}");
    }
    let rules = parse("[[retention.rules]]\nbuilds = \"90d\"\nnewest_logs = 3\nlogs = \"forever\"").unwrap();
    let rule = &rules.retention.rules[0];
    assert_eq!(
        (rule.builds, rule.logs),
        (Some(std::time::Duration::from_secs(90 * 86_400)), None)
    );
    assert_eq!(rule.newest_logs, Some(3));
}

#[test]
fn files_that_are_no_configuration_are_refused() {
    let farm = tempfile::tempdir().unwrap();
    let load = || {
        let text = Operator::load(farm.path()).unwrap_err().to_string();
        let canonical = farm.path().canonicalize().unwrap();
        text.replace(farm.path().to_str().unwrap(), "FARM")
            .replace(canonical.to_str().unwrap(), "FARM")
    };
    insta::assert_snapshot!(load(), @"expected capstan.toml in FARM, found no such file; `capstan init` makes one");
    std::fs::write(farm.path().join(FILE), b"title = \"\xff\"").unwrap();
    insta::assert_snapshot!(load(), @"expected UTF-8 text in FARM/capstan.toml, found other bytes at offset 9");
    std::fs::write(farm.path().join(FILE), vec![b'#'; 2 << 20]).unwrap();
    insta::assert_snapshot!(load(), @"expected FARM/capstan.toml to be at most 1048576 bytes long, found a longer file");
    std::fs::remove_file(farm.path().join(FILE)).unwrap();
    std::fs::create_dir(farm.path().join(FILE)).unwrap();
    insta::assert_snapshot!(load(), @"expected capstan.toml in FARM, found no such file; `capstan init` makes one");
}

fn shown(remarks: &[Diagnostic]) -> String {
    let lines: Vec<_> = remarks.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

#[test]
fn secrets_for_builders_that_are_not_there_are_remarked_on() {
    let operator = parse(
        "[grants.shell]\nsecrets = [\"a@release-*\", \"b@relase-*\", \"c@linux 1\", \"d\", \"*\", \"e@*\", \"f*@gone\"]",
    )
    .unwrap();
    let shell = crate::PluginInfo::new(
        serde_json::from_value(serde_json::json!({
            "schema": 1, "plugin": { "name": "shell", "kind": "step", "version": "1.0.0" },
            "rights": { "secrets": ["*"] },
        }))
        .unwrap(),
        capstan_model::Digest::of(b"shell"),
    );
    insta::assert_snapshot!(shown(&operator.check_grants(&[shell], &[], &["release-2", "linux 1"])), @r#"
    capstan.toml:1:9: [grants.shell] has the secret "b@relase-*": no builder has such a name, so it has no effect
    capstan.toml:1:9: [grants.shell] has the secret "f*@gone": no builder has such a name, so it has no effect
    "#);
}

#[test]
fn grants_that_can_mean_nothing_are_remarked_on() {
    let operator = parse(
        "[grants.gti]\ncommands = [\"git\"]\n[grants.git]\ncommands = [\"*\"]\nhttp = [\"*\"]\nmail = []",
    )
    .unwrap();
    let git = crate::PluginInfo::new(
        serde_json::from_value(serde_json::json!({
            "schema": 1, "plugin": { "name": "git", "kind": "step", "version": "1.0.0" },
            "rights": { "commands": ["git"] },
        }))
        .unwrap(),
        capstan_model::Digest::of(b"git"),
    );
    insta::assert_snapshot!(shown(&operator.check_grants(&[git], &[], &[])), @r"
    capstan.toml:3:9: [grants.git] has `http`, which the plugin's manifest does not ask for: it has no effect
    capstan.toml:1:9: [grants.gti] is for a plugin that is not there; did you mean `git`?
    ");
}

#[test]
fn a_plugin_that_is_used_and_granted_nothing_at_all_is_remarked_on() {
    let plugin = |name: &str, rights: serde_json::Value| {
        crate::PluginInfo::new(
            serde_json::from_value(serde_json::json!({
                "schema": 1, "plugin": { "name": name, "kind": "step", "version": "1.0.0" }, "rights": rights,
            }))
            .unwrap(),
            capstan_model::Digest::of(name.as_bytes()),
        )
    };
    let http = serde_json::json!({ "http": ["*"], "secrets": ["token"] });
    let plugins = [
        plugin("tally", http.clone()),
        plugin("decided", http.clone()),
        plugin("unused", http),
        plugin("modest", serde_json::json!({})),
    ];
    let used: Vec<_> = plugins
        .iter()
        .filter(|plugin| plugin.name != "unused")
        .map(|plugin| capstan_model::plan::PluginPin {
            kind: plugin.kind,
            name: plugin.name.clone(),
            digest: plugin.digest,
        })
        .collect();
    let operator = parse("[grants.decided]").unwrap();
    insta::assert_snapshot!(shown(&operator.check_grants(&plugins, &used, &[])), @"capstan.toml:1:1: the step `tally` is used and asks for `http`, `secrets`, of which nothing is granted; `capstan plugin grant tally` grants it");
}

#[test]
fn a_malformed_grant_is_a_fault_with_its_place_and_the_right_form() {
    insta::assert_snapshot!(error("[grants.git]\ncommands = [\"git\", \"make*\"]"), @r#"capstan.toml:2:20: expected a program such as `make`, a folder of programs such as `/usr/bin/*`, or `*` for the right `commands`, found "make*": a `*` stands alone, or at the end after a `/`"#);
    insta::assert_snapshot!(error("[grants.chat]\nhttp = [\n  \"https://chat.example.org/*\",\n  \"chat.example.org\",\n]"), @r#"capstan.toml:4:3: expected `https://host/path/*`, perhaps with methods before it (`GET,POST https://host/path`), `https://*.host/*`, or `*` for the right `http`, found "chat.example.org": there is no `https://` in it"#);
    insta::assert_snapshot!(error("[grants.chat]\nsecrets = \"token\""), @r#"capstan.toml:2:11: expected a list of patterns, found string "token""#);
    insta::assert_snapshot!(error("[grants.chat]\nmail = [7]"), @"capstan.toml:2:9: expected a text: an address such as `team@example.org`, `*@example.org`, or `*`, found integer `7`");
}
