//! What a reload changes, by definition and by field: the lines of `capstan reload` and of the master's log, and what
//! `capstan plan --diff` shows. Where something is written does not count, nor how functions are numbered.

use std::collections::BTreeMap;
use std::fmt;

use capstan_model::Digest;
use capstan_model::plan::{FunctionRef, Plan};
use serde::Serialize;
use serde_json::{Map, Value};

/// The longest value that a line shows, in characters.
const MAX_VALUE: usize = 60;
/// The most fields that a line shows.
const MAX_FIELDS: usize = 8;

/// A definition that was added, removed or changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// What happened to it.
    pub change: Happened,
    /// What it is: `builder`, `change source`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// What is different, if it was there before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldChange>,
}

/// What happened to a definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Happened {
    /// It is new.
    Added,
    /// It is no more.
    Removed,
    /// It is different.
    Changed,
}

/// A field that is different. Without a value it is not there.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FieldChange {
    /// Its name; below a step `steps.NAME.…`.
    pub field: String,
    /// What it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// A plan as it is compared: what it means, and the digests of the files that it was made from.
#[derive(Clone, Debug, Default)]
struct Comparable {
    definitions: BTreeMap<(usize, String), Value>,
    files: BTreeMap<String, Digest>,
    functions: bool,
}

/// The kinds, in the order in which they are shown, and the plan's key for each.
const KINDS: [(&str, &str); 6] = [
    ("worker", "workers"),
    ("change source", "sources"),
    ("scheduler", "schedulers"),
    ("lock", "locks"),
    ("builder", "builders"),
    ("reporter", "reporters"),
];
/// The kind of what concerns all builds.
const FARM: usize = KINDS.len();

/// One line per definition that was added, removed or changed; empty if both plans do the same.
pub fn diff(old: &Plan, new: &Plan) -> Vec<String> {
    changes(old, new).iter().map(Change::line).collect()
}

/// The same for programs.
pub fn changes(old: &Plan, new: &Plan) -> Vec<Change> {
    let digests = |plan: &Plan| {
        let files = plan.bundle.files.iter();
        files
            .map(|(path, bytes)| (path.clone(), Digest::of(bytes)))
            .collect()
    };
    compare(
        &Comparable::of(old, digests(old)),
        &Comparable::of(new, digests(new)),
    )
}

/// The same, where of the old plan's files only the digests are known.
pub fn changes_since(old: &Plan, files: BTreeMap<String, Digest>, new: &Plan) -> Vec<Change> {
    let after = new.bundle.files.iter();
    let after = after
        .map(|(path, bytes)| (path.clone(), Digest::of(bytes)))
        .collect();
    compare(&Comparable::of(old, files), &Comparable::of(new, after))
}

impl Comparable {
    fn of(plan: &Plan, files: BTreeMap<String, Digest>) -> Self {
        let plan = Plan {
            bundle: capstan_model::plan::Bundle::default(),
            ..plan.clone()
        };
        let functions = &plan.functions;
        let mut all = serde_json::to_value(&plan).unwrap_or_default();
        let mut definitions = BTreeMap::new();
        for (kind, (_, key)) in KINDS.iter().enumerate() {
            let list = all[*key].take();
            for mut definition in list.as_array().into_iter().flatten().cloned() {
                bare(&mut definition, functions);
                let name = definition["name"].as_str().unwrap_or_default().to_owned();
                definitions.insert((kind, name), definition);
            }
        }
        for key in ["order", "properties", "env"] {
            let mut value = all[key].take();
            bare(&mut value, functions);
            if !value.is_null() {
                definitions.insert((FARM, key.to_owned()), serde_json::json!({ key: value }));
            }
        }
        Self {
            definitions,
            files,
            functions: !functions.is_empty(),
        }
    }
}

/// Takes away where something is written, and puts functions' names for their numbers: a line above changes both.
fn bare(value: &mut Value, functions: &[FunctionRef]) {
    let named = |number: &Value| {
        let number = number.as_u64()?;
        let function = functions.iter().find(|f| u64::from(f.number) == number)?;
        Some(Value::from(function.name.clone()))
    };
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| bare(item, functions)),
        Value::Object(map) => {
            if map.get("location").is_some_and(is_location) {
                map.remove("location");
                if map.get("number").is_some_and(Value::is_u64) {
                    map.remove("number");
                }
            }
            if let Some(deferred) = map.get_mut("$deferred")
                && let Some(name) = deferred.get("function").and_then(named)
            {
                deferred["function"] = name;
            }
            map.values_mut().for_each(|item| bare(item, functions));
        }
        _ => {}
    }
}

fn is_location(value: &Value) -> bool {
    let has = |key: &str| value.get(key).is_some();
    value.as_object().is_some_and(|map| map.len() == 3) && has("file") && has("line") && has("column")
}

fn compare(old: &Comparable, new: &Comparable) -> Vec<Change> {
    let mut keys: Vec<_> = old.definitions.keys().chain(new.definitions.keys()).collect();
    keys.sort();
    keys.dedup();
    let mut changes = Vec::new();
    for key in keys {
        let (before, after) = (old.definitions.get(key), new.definitions.get(key));
        let (happened, fields) = match (before, after) {
            _ if before == after => continue,
            (None, _) => (Happened::Added, Vec::new()),
            (_, None) => (Happened::Removed, Vec::new()),
            (Some(before), Some(after)) => (Happened::Changed, fields(before, after)),
        };
        changes.push(Change {
            change: happened,
            kind: KINDS.get(key.0).map_or("farm-wide setting", |(kind, _)| kind),
            name: key.1.clone(),
            fields,
        });
    }
    if old.functions || new.functions {
        changes.extend(programs(&old.files, &new.files));
    }
    changes
}

/// Files that changed: what a function of theirs does nobody can compare.
fn programs(old: &BTreeMap<String, Digest>, new: &BTreeMap<String, Digest>) -> Vec<Change> {
    let changed = new
        .iter()
        .filter(|(path, digest)| old.get(*path).is_some_and(|known| known != *digest));
    changed
        .map(|(path, _)| Change {
            change: Happened::Changed,
            kind: "file, whose functions may do otherwise:",
            name: path.clone(),
            fields: Vec::new(),
        })
        .collect()
}

fn fields(before: &Value, after: &Value) -> Vec<FieldChange> {
    let mut found = Vec::new();
    let (before, after) = (flat(before), flat(after));
    let keys: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
    for key in keys {
        let (old, new) = (before.get(key), after.get(key));
        if old != new {
            found.push(FieldChange {
                field: key.clone(),
                before: old.cloned(),
                after: new.cloned(),
            });
        }
    }
    found
}

/// The fields of a definition: those of `use` and of each step by their own names, the steps' names in their order.
fn flat(definition: &Value) -> Map<String, Value> {
    let mut fields = Map::new();
    for (key, value) in definition.as_object().into_iter().flatten() {
        match (key.as_str(), value) {
            ("name", _) => {}
            ("use", value) => used(&mut fields, "", value),
            ("steps", Value::Array(steps)) => {
                let names = steps.iter().map(|step| step["name"].clone()).collect();
                fields.insert("steps".to_owned(), Value::Array(names));
                for step in steps {
                    let name = step["name"].as_str().unwrap_or_default();
                    for (field, value) in flat(step) {
                        fields.insert(format!("steps.{name}.{field}"), value);
                    }
                }
            }
            (key, value) => drop(fields.insert(key.to_owned(), value.clone())),
        }
    }
    fields
}

/// A plugin, its version, and its parameters one by one. Of a plugin whose parameters are called so, too, these keep their names:
/// the plugin's own stand in brackets, as no parameter can.
fn used(fields: &mut Map<String, Value>, prefix: &str, value: &Value) {
    let parameters = value["config"].as_object();
    for (name, parameter) in parameters.into_iter().flatten() {
        fields.insert(format!("{prefix}{name}"), parameter.clone());
    }
    for (name, own) in [("plugin", &value["plugin"]), ("version", &value["digest"])] {
        let taken = parameters.is_some_and(|parameters| parameters.contains_key(name));
        let name = if taken {
            format!("[{name}]")
        } else {
            name.to_owned()
        };
        fields.insert(format!("{prefix}{name}"), own.clone());
    }
}

impl Change {
    /// `~ builder linux (steps -a +b ~c, workers)`
    pub fn line(&self) -> String {
        let sign = match self.change {
            Happened::Added => '+',
            Happened::Removed => '-',
            Happened::Changed => '~',
        };
        let detail = self.detail();
        let space = if detail.is_empty() { "" } else { " " };
        format!("{sign} {} {}{space}{detail}", self.kind, self.name)
    }

    fn detail(&self) -> String {
        let mut parts = Vec::new();
        let steps = self.steps();
        if !steps.is_empty() {
            parts.push(format!("steps {}", steps.join(" ")));
        }
        let own = self.fields.iter().filter(|field| !is_of_steps(&field.field));
        parts.extend(own.map(|field| field.field.clone()));
        let more = parts.len().saturating_sub(MAX_FIELDS);
        parts.truncate(MAX_FIELDS);
        if more > 0 {
            parts.push(format!("{more} more"));
        }
        match parts.is_empty() {
            true => String::new(),
            false => format!("({})", parts.join(", ")),
        }
    }

    /// Steps that went, came, changed.
    fn steps(&self) -> Vec<String> {
        let mut names = Vec::new();
        if let Some(list) = self.fields.iter().find(|field| field.field == "steps") {
            let named = |list: &Option<Value>| -> Vec<String> {
                let all = list.as_ref().and_then(Value::as_array);
                let texts = all.into_iter().flatten().filter_map(Value::as_str);
                texts.map(str::to_owned).collect()
            };
            let (before, after) = (named(&list.before), named(&list.after));
            names.extend(
                before
                    .iter()
                    .filter(|name| !after.contains(name))
                    .map(|name| format!("-{name}")),
            );
            names.extend(
                after
                    .iter()
                    .filter(|name| !before.contains(name))
                    .map(|name| format!("+{name}")),
            );
            if names.is_empty() {
                names.push("in another order".to_owned());
            }
        }
        for field in &self.fields {
            let Some(rest) = field.field.strip_prefix("steps.") else {
                continue;
            };
            let Some((name, _)) = rest.rsplit_once('.') else {
                continue;
            };
            let known = |sign: char| names.contains(&format!("{sign}{name}"));
            if !known('-') && !known('+') && !known('~') {
                names.push(format!("~{name}"));
            }
        }
        names
    }
}

fn is_of_steps(field: &str) -> bool {
    field == "steps" || field.starts_with("steps.")
}

/// The line, and each field below it with what it was and what it is.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = self.line().chars().next().unwrap_or('~');
        write!(f, "{sign} {} {}", self.kind, self.name)?;
        for field in &self.fields {
            let (before, after) = (shown(field.before.as_ref()), shown(field.after.as_ref()));
            write!(f, "\n    {}: {before} → {after}", field.field)?;
        }
        Ok(())
    }
}

fn shown(value: Option<&Value>) -> String {
    let Some(value) = value else {
        return "nothing".to_owned();
    };
    let text = value.to_string();
    match text.char_indices().nth(MAX_VALUE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_parameter_does_not_hide_the_version_of_its_plugin() {
        let scheduler = |digest: &str, version: &str| json!({ "use": { "plugin": "p", "digest": digest, "config": { "version": version, "a": 1 } } });
        let changed = |after: Value| {
            let found = fields(&scheduler("d1", "1"), &after);
            found.into_iter().map(|change| change.field).collect::<Vec<_>>()
        };
        assert_eq!(changed(scheduler("d2", "1")), ["[version]"]);
        assert_eq!(changed(scheduler("d1", "2")), ["version"]);
        let plain = |digest: &str| json!({ "use": { "plugin": "p", "digest": digest, "config": {} } });
        let found = fields(&plain("d1"), &plain("d2"));
        assert_eq!(found[0].field, "version");
    }
}
