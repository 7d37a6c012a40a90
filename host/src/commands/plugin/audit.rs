//! `capstan plugin audit`: what plugins were refused, and what would grant it.

use std::process::ExitCode;

use anyhow::bail;
use capstan_model::counted;
use capstan_model::plugin::Kind;
use serde_json::{Value, json};

use crate::cli::{AuditArguments, Common};
use crate::client::{Client, segment};
use crate::output::{ago, plain, print, print_json};

/// Lists the refusals of one plugin, or of each; the last one first.
pub async fn run(common: &Common, arguments: &AuditArguments) -> anyhow::Result<ExitCode> {
    let client = Client::new(common)?;
    let list = client.get("/plugins").await?;
    let mut audits = Vec::new();
    for (kind, name) in plugins(&list, arguments)? {
        let path = format!(
            "/plugins/{kind}/{}/audit?limit={}",
            segment(&name),
            arguments.limit
        );
        let refusals = client.get(&path).await?["refusals"].take();
        audits.push(json!({ "kind": kind, "name": name, "refusals": refusals }));
    }
    if common.json {
        print_json(&json!({ "plugins": audits }));
        return Ok(ExitCode::SUCCESS);
    }
    let mut lines: Vec<String> = Vec::new();
    for audit in &audits {
        let refusals = audit["refusals"].as_array().into_iter().flatten();
        lines.extend(refusals.flat_map(|refusal| said(audit, refusal)));
    }
    if lines.is_empty() {
        lines.push("nothing was refused".to_owned());
    }
    lines.iter().for_each(|line| print(line));
    Ok(ExitCode::SUCCESS)
}

/// Which plugins are asked about: each once, whatever files there are of it.
fn plugins(list: &Value, arguments: &AuditArguments) -> anyhow::Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for plugin in list["plugins"].as_array().into_iter().flatten() {
        let (Some(kind), Some(name)) = (plugin["kind"].as_str(), plugin["name"].as_str()) else {
            continue;
        };
        let fits = arguments.name.as_ref().is_none_or(|wanted| wanted == name)
            && arguments.kind.is_none_or(|wanted| wanted.as_str() == kind);
        let known = (kind.to_owned(), name.to_owned());
        if fits && !found.contains(&known) {
            found.push(known);
        }
    }
    match (&arguments.name, arguments.kind) {
        // One that is gone may have been refused something.
        (Some(name), Some(kind)) if found.is_empty() => Ok(vec![(kind.as_str().to_owned(), name.clone())]),
        (Some(name), None) if found.is_empty() => bail!(
            "expected a plugin that the master knows, found `{name}`; of one that is gone, say its --kind: {}",
            Kind::ALL.map(Kind::as_str).join(", ")
        ),
        _ => Ok(found),
    }
}

fn said(audit: &Value, refusal: &Value) -> Vec<String> {
    let text = |name: &str| plain(refusal[name].as_str().unwrap_or_default());
    let shown = refusal["shown_under"].as_str().or(refusal["builder"].as_str());
    let whose = match (shown, refusal["number"].as_u64()) {
        (Some(builder), Some(number)) => format!("{} of {}/{number}", text("owner"), plain(builder)),
        (Some(builder), None) => format!("{} of {}", text("owner"), plain(builder)),
        _ => text("owner"),
    };
    let (kind, name) = (&audit["kind"], &audit["name"]);
    let mut lines = vec![format!(
        "{:<14} {:<14} {:<9} {}  by the {}, for {whose}, {}, {}",
        kind.as_str().unwrap_or_default(),
        plain(name.as_str().unwrap_or_default()),
        text("right"),
        text("value"),
        text("side"),
        counted(refusal["times"].as_u64().unwrap_or(1), "time"),
        ago(&refusal["last"])
    )];
    let remedy = refusal["remedy"].as_str().unwrap_or_default();
    lines.extend(remedy.lines().map(|line| format!("    {}", plain(line))));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(name: Option<&str>, kind: Option<Kind>) -> AuditArguments {
        AuditArguments {
            name: name.map(str::to_owned),
            kind,
            limit: 20,
        }
    }

    #[test]
    fn each_plugin_is_asked_about_once_and_one_that_is_gone_by_its_kind() {
        let list = json!({ "plugins": [
            { "kind": "step", "name": "shell" }, { "kind": "reporter", "name": "chat" },
            { "kind": "reporter", "name": "chat" }, { "kind": null, "name": null },
        ] });
        let names =
            |found: Vec<(String, String)>| found.into_iter().map(|(_, name)| name).collect::<Vec<_>>();
        assert_eq!(
            names(plugins(&list, &arguments(None, None)).unwrap()),
            ["shell", "chat"]
        );
        assert_eq!(
            names(plugins(&list, &arguments(Some("chat"), None)).unwrap()),
            ["chat"]
        );
        let gone = plugins(&list, &arguments(Some("gone"), Some(Kind::Step))).unwrap();
        assert_eq!(gone, [("step".to_owned(), "gone".to_owned())]);
        assert!(plugins(&list, &arguments(Some("gone"), None)).is_err());
    }

    #[test]
    fn a_refusal_names_the_place_and_what_grants_it() {
        let refusal = json!({ "right": "http", "value": "GET https://a.example.org/\u{1b}", "side": "operator",
            "owner": "team", "builder": "linux", "number": 7, "times": 3, "last": null,
            "remedy": "[grants.chat]\nhttp = [\"GET https://a.example.org/*\"]" });
        let audit = json!({ "kind": "reporter", "name": "chat" });
        assert_eq!(
            said(&audit, &refusal),
            [
                "reporter       chat           http      GET https://a.example.org/\u{fffd}  by the operator, for team of linux/7, 3 times, -",
                "    [grants.chat]",
                "    http = [\"GET https://a.example.org/*\"]",
            ]
        );
    }
}
