//! `[grants.NAME]` in capstan.toml: adds patterns, and leaves every other byte of the operator's file as it is.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use capstan_model::plugin::Rights;
use toml_edit::{Array, DocumentMut, Item, Table, TableLike, value};

const FILE: &str = "capstan.toml";

/// Adds to what the plugin of that name is granted. The file is replaced as a whole, or not at all.
pub fn add(farm: &Path, name: &str, rights: &Rights) -> anyhow::Result<()> {
    let path = farm.join(FILE);
    // Behind a link: the link stays.
    let path = path
        .canonicalize()
        .with_context(|| format!("find {}", path.display()))?;
    let folder = path
        .parent()
        .with_context(|| format!("find the folder of {}", path.display()))?;
    // One at a time, as with the lock.
    let turn = File::open(folder).with_context(|| format!("open {}", folder.display()))?;
    turn.lock()
        .with_context(|| format!("lock {}", folder.display()))?;
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let text = added(&text, name, rights).with_context(|| format!("change {}", path.display()))?;
    replace(folder, &path, &text).with_context(|| format!("write {}", path.display()))
}

fn replace(folder: &Path, path: &Path, text: &str) -> std::io::Result<()> {
    let new = folder.join(format!(".{FILE}.new"));
    let mut file = File::create(&new)?;
    file.set_permissions(std::fs::metadata(path)?.permissions())?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    File::open(folder)?.sync_all()
}

fn added(text: &str, name: &str, rights: &Rights) -> anyhow::Result<String> {
    let mut document: DocumentMut = text.parse().context("read it")?;
    let end = document.trailing().as_str().unwrap_or_default().to_owned();
    let grants = document.entry("grants").or_insert_with(implicit);
    let grants = table(grants, "grants")?;
    let is_new = grants.get(name).is_none();
    let entry = grants.entry(name).or_insert_with(|| last(&end));
    let moved = is_new && entry.is_table();
    let entry = table(entry, name)?;
    for (right, pattern) in rights.each() {
        let key = right.as_str();
        let list = entry.entry(key).or_insert_with(|| value(Array::new()));
        let list = list.as_array_mut().with_context(|| {
            format!("expected a list of patterns as `{key}` of [grants.{name}], found something else")
        })?;
        if !list.iter().any(|known| known.as_str() == Some(pattern)) {
            push(list, pattern);
        }
    }
    if moved {
        document.set_trailing("");
    }
    Ok(document.to_string().trim_start_matches('\n').to_owned())
}

/// A table at the end of the file, after the comments that stand there.
fn last(end: &str) -> Item {
    let mut table = Table::new();
    table.set_position(Some(isize::MAX));
    table.decor_mut().set_prefix(format!("{end}\n"));
    Item::Table(table)
}

/// A table that has no line of its own.
fn implicit() -> Item {
    let mut table = Table::new();
    table.set_implicit(true);
    Item::Table(table)
}

fn table<'a>(item: &'a mut Item, name: &str) -> anyhow::Result<&'a mut dyn TableLike> {
    item.as_table_like_mut()
        .with_context(|| format!("expected a table `{name}`, found something else"))
}

/// Adds at the end, laid out as the element before it: a list with a line for each stays one.
fn push(list: &mut Array, pattern: &str) {
    let before = list.iter().last().and_then(|last| last.decor().prefix());
    let before = before.and_then(|prefix| prefix.as_str()).map(str::to_owned);
    list.push(pattern);
    if let Some((_, indent)) = before.as_deref().and_then(|prefix| prefix.rsplit_once('\n')) {
        // A comment behind the element before stays there.
        let end = list.trailing().as_str().unwrap_or_default().trim_end().to_owned();
        list.set_trailing("\n");
        list.set_trailing_comma(true);
        if let Some(last) = list.iter_mut().last() {
            last.decor_mut().set_prefix(format!("{end}\n{indent}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use capstan_model::plugin::Right;

    use super::*;

    fn rights(patterns: &[(Right, &str)]) -> Rights {
        let mut rights = Rights::default();
        for &(right, pattern) in patterns {
            rights.of_mut(right).push(pattern.to_owned());
        }
        rights
    }

    #[test]
    fn what_the_operator_wrote_stays_as_it_is() {
        let before = "\
# Our farm.
[web]
listen = \"127.0.0.1:8010\"   # inside

[grants.shell]
# Anything.
commands = [\"*\"]

[grants.chat] # talks
http = [
    # the team
    \"https://a.example.org/*\", # ours
    \"https://b.example.org/*\", # theirs
]

[limits]
keep_instances = \"1s\"
";
        let more = rights(&[
            (Right::Http, "https://c.example.org/*"),
            (Right::Http, "https://b.example.org/*"),
            (Right::Secrets, "token@release-*"),
        ]);
        insta::assert_snapshot!(added(before, "chat", &more).unwrap(), @r#"
        # Our farm.
        [web]
        listen = "127.0.0.1:8010"   # inside

        [grants.shell]
        # Anything.
        commands = ["*"]

        [grants.chat] # talks
        http = [
            # the team
            "https://a.example.org/*", # ours
            "https://b.example.org/*", # theirs
            "https://c.example.org/*",
        ]
        secrets = ["token@release-*"]

        [limits]
        keep_instances = "1s"
        "#);
        let once = added(before, "chat", &more).unwrap();
        assert_eq!(
            added(&once, "chat", &more).unwrap(),
            once,
            "nothing is there twice"
        );
        let shell = added(before, "shell", &rights(&[(Right::Commands, "make")])).unwrap();
        assert!(shell.contains("commands = [\"*\", \"make\"]"), "{shell}");
    }

    #[test]
    fn a_first_grant_makes_its_table() {
        let one = rights(&[(Right::Mail, "*@example.org")]);
        let read = |text: &str| {
            let text = added(text, "chat", &one).unwrap();
            let document: DocumentMut = text.parse().unwrap();
            assert_eq!(
                document["grants"]["chat"]["mail"][0].as_str(),
                Some("*@example.org"),
                "{text}"
            );
            text
        };
        assert_eq!(read(""), "[grants.chat]\nmail = [\"*@example.org\"]\n");
        let after = "[web]\nlisten = \"127.0.0.1:1\"\n\n[grants]\n# chat = {}\n";
        assert_eq!(
            read(after),
            format!("{after}\n[grants.chat]\nmail = [\"*@example.org\"]\n")
        );
        read("grants.shell.commands = [\"*\"]\n");
        read("grants = { shell = { commands = [\"*\"] } }\n");
        read("[grants]\nchat = { http = [] }\n");
        added("grants = 3", "chat", &one).unwrap_err();
        added("[grants.chat]\nmail = \"x\"", "chat", &one).unwrap_err();
    }

    #[test]
    fn a_file_is_replaced_with_its_mode_and_behind_its_link() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let (farm, real) = (folder.path().join("farm"), folder.path().join("real.toml"));
        std::fs::create_dir(&farm).unwrap();
        std::fs::write(&real, "# kept\n").unwrap();
        std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&real, farm.join(FILE)).unwrap();
        add(&farm, "chat", &rights(&[(Right::State, "seen")])).unwrap();
        assert!(farm.join(FILE).is_symlink());
        assert_eq!(
            std::fs::metadata(&real).unwrap().permissions().mode() & 0o777,
            0o640
        );
        let text = std::fs::read_to_string(&real).unwrap();
        assert!(
            text.starts_with("# kept\n") && text.contains("state = [\"seen\"]"),
            "{text}"
        );
    }
}
