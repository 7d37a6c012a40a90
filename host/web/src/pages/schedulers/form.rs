//! A scheduler's form: from what the scheduler asks for and what was typed to the rows of a page, and to the values of a call.
//!
//! A field is called `v.NAME` on the page, one of a group `v.GROUP.NAME`; what is wrong with it has the path `values.GROUP.NAME`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The names of fields begin so: a field of the form may be called as the page's own are.
const PREFIX: &str = "v.";
/// Groups within groups; who makes the form says what is too deep.
const DEEPEST: usize = 16;

/// What was typed, by the names on the page.
#[derive(Debug, Default)]
pub(super) struct Typed(BTreeMap<String, Vec<String>>);

impl Typed {
    pub(super) fn new(pairs: Vec<(String, String)>) -> Self {
        let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in pairs {
            // Browsers end the lines of a text as mail does.
            all.entry(name).or_default().push(value.replace("\r\n", "\n"));
        }
        Self(all)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the page itself asks for: `reason`.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.last().map(String::as_str)
    }

    pub(super) fn all(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// The values of a call; what is not on the page is left out.
    pub(super) fn values(&self, fields: &Value) -> Value {
        Value::Object(self.group(fields, PREFIX, 0))
    }

    fn group(&self, fields: &Value, path: &str, depth: usize) -> Map<String, Value> {
        let mut values = Map::new();
        for field in fields
            .as_array()
            .into_iter()
            .flatten()
            .filter(|_| depth < DEEPEST)
        {
            let key = field["name"].as_str().unwrap_or_default();
            let name = format!("{path}{key}");
            let value = match field["type"].as_str() {
                Some("group") if key.is_empty() => {
                    values.extend(self.group(&field["fields"], path, depth + 1));
                    continue;
                }
                Some("group") => Value::Object(self.group(&field["fields"], &format!("{name}."), depth + 1)),
                Some("codebase") => Value::Object(self.parts(field, &name)),
                Some("fixed") => continue,
                _ if field["multiple"] == true => {
                    let given = self.all(&name).iter().filter(|one| !one.is_empty());
                    Value::Array(given.map(|one| one.as_str().into()).collect())
                }
                _ => match self.text(&name) {
                    Some(text) => text.into(),
                    None => continue,
                },
            };
            values.insert(key.to_owned(), value);
        }
        values
    }

    fn parts(&self, field: &Value, name: &str) -> Map<String, Value> {
        let parts = parts(field).filter_map(|part| {
            let text = self.text(&format!("{name}.{part}"))?;
            Some((part.to_owned(), text.trim().into()))
        });
        parts.collect()
    }
}

/// What of a codebase may be filled in.
fn parts(field: &Value) -> impl Iterator<Item = &str> {
    field["ask"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

/// What a page shows below each other.
#[derive(Debug)]
pub(super) enum Row {
    /// What follows until `End` belongs together.
    Group(Group),
    End,
    Field(Box<Field>),
}

/// The head of a group.
#[derive(Debug)]
pub(super) struct Group {
    pub label: String,
    pub help: String,
    pub error: Option<String>,
}

/// A field as the page shows it.
#[derive(Debug, Default)]
pub(super) struct Field {
    /// Its name on the page; none is sent for one that is fixed.
    pub name: String,
    pub kind: String,
    pub label: String,
    pub help: String,
    pub hint: String,
    pub required: bool,
    /// What was typed, or the default.
    pub value: String,
    pub chosen: Vec<String>,
    pub choices: Vec<String>,
    pub multiple: bool,
    /// Whether something else than the choices may be given.
    pub other: bool,
    /// Why what there is to choose cannot be known.
    pub fault: Option<String>,
    pub error: Option<String>,
}

impl Field {
    /// Whether one of several is chosen already; if not, the page offers to choose nothing.
    pub(super) fn is_chosen(&self) -> bool {
        self.choices.contains(&self.value)
    }
}

/// The rows of a form.
pub(super) fn rows(fields: &Value, typed: &Typed, problems: &[(String, String)]) -> Vec<Row> {
    let mut rows = Rows {
        typed,
        problems,
        rows: Vec::new(),
    };
    rows.group(fields, PREFIX, 0);
    rows.rows
}

struct Rows<'a> {
    typed: &'a Typed,
    problems: &'a [(String, String)],
    rows: Vec<Row>,
}

impl Rows<'_> {
    fn group(&mut self, fields: &Value, path: &str, depth: usize) {
        for field in fields
            .as_array()
            .into_iter()
            .flatten()
            .filter(|_| depth < DEEPEST)
        {
            let key = field["name"].as_str().unwrap_or_default();
            let name = format!("{path}{key}");
            match field["type"].as_str() {
                Some("group") => {
                    let inside = if key.is_empty() {
                        path.to_owned()
                    } else {
                        format!("{name}.")
                    };
                    self.begin(field, &name);
                    self.group(&field["fields"], &inside, depth + 1);
                    self.rows.push(Row::End);
                }
                Some("codebase") => {
                    self.begin(field, &name);
                    for part in parts(field) {
                        self.part(field, part, &format!("{name}.{part}"));
                    }
                    self.rows.push(Row::End);
                }
                _ => {
                    let row = self.field(field, name);
                    self.rows.push(Row::Field(Box::new(row)));
                }
            }
        }
    }

    fn begin(&mut self, field: &Value, name: &str) {
        let key = field["name"].as_str().unwrap_or_default();
        self.rows.push(Row::Group(Group {
            label: text(&field["label"]),
            help: text(&field["help"]),
            error: self.error(name).filter(|_| !key.is_empty()),
        }));
    }

    fn part(&mut self, field: &Value, part: &str, name: &str) {
        let mut label = part.to_owned();
        if let Some(first) = label.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        let default = text(&field["source"][part]);
        let hint = match (part, default.as_str()) {
            ("branch", "") => "Empty: the repository's default.".to_owned(),
            ("revision", "") => "Empty: the newest of the branch.".to_owned(),
            (_, "") => String::new(),
            (_, default) => format!("Empty: {default}."),
        };
        self.rows.push(Row::Field(Box::new(Field {
            value: self.typed.text(name).map_or(default, str::to_owned),
            error: self.error(name),
            name: name.to_owned(),
            kind: "string".to_owned(),
            label,
            hint,
            ..Field::default()
        })));
    }

    fn field(&self, field: &Value, name: String) -> Field {
        let multiple = field["multiple"] == true;
        let typed = self.typed.all(&name);
        let default = &field["default"];
        let chosen = match (typed, default) {
            ([], Value::Array(all)) => all.iter().map(text).collect(),
            ([], Value::String(all)) => all.split(',').map(|one| one.trim().to_owned()).collect(),
            (typed, _) => typed.to_vec(),
        };
        let choices = field["choices"].as_array().into_iter().flatten().map(text);
        Field {
            kind: text(&field["type"]),
            label: text(&field["label"]),
            help: text(&field["help"]),
            hint: hint(field),
            required: field["required"] == true,
            value: typed.last().cloned().unwrap_or_else(|| text(default)),
            chosen,
            choices: choices.collect(),
            multiple,
            other: field["other"] == true,
            fault: field["choices_fault"].as_str().map(str::to_owned),
            error: self.error(&name),
            name,
        }
    }

    fn error(&self, name: &str) -> Option<String> {
        let path = path(name);
        let found = self.problems.iter().filter(|(at, _)| *at == path);
        let texts: Vec<_> = found.map(|(_, message)| message.as_str()).collect();
        (!texts.is_empty()).then(|| texts.join("; "))
    }
}

/// The path of what is wrong with a field.
fn path(name: &str) -> String {
    format!("values.{}", name.strip_prefix(PREFIX).unwrap_or(name))
}

/// Those problems that no row shows.
pub(super) fn unplaced(rows: &[Row], own: &[&str], problems: &[(String, String)]) -> Vec<(String, String)> {
    let shown = |(at, message): &&(String, String)| {
        let at_row = rows.iter().any(|row| match row {
            Row::Field(field) => path(&field.name) == *at,
            Row::Group(group) => group
                .error
                .as_deref()
                .is_some_and(|error| error.contains(message)),
            Row::End => false,
        });
        at_row || own.contains(&at.as_str())
    };
    problems
        .iter()
        .filter(|problem| !shown(problem))
        .cloned()
        .collect()
}

/// What is said of a field beside its help.
fn hint(field: &Value) -> String {
    let mut hints = Vec::new();
    let number = |name: &str| field[name].as_i64();
    match (number("min"), number("max")) {
        (Some(min), Some(max)) => hints.push(format!("A whole number from {min} to {max}.")),
        (Some(min), None) => hints.push(format!("A whole number from {min} on.")),
        (None, Some(max)) => hints.push(format!("A whole number up to {max}.")),
        (None, None) if field["type"] == "int" => hints.push("A whole number.".to_owned()),
        (None, None) => {}
    }
    if let Some(regex) = field["regex"].as_str() {
        hints.push(format!("Has to fit {regex} as a whole."));
    }
    match field["type"].as_str() {
        Some("file") => hints.push(format!(
            "A file of text of at most {} bytes.",
            field["max_size"].as_u64().unwrap_or_default()
        )),
        Some("secret") => {
            hints.push("The build gets the secret's name, never its value from here.".to_owned())
        }
        _ => {}
    }
    hints.join(" ")
}

/// A value as somebody would type it.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields() -> Value {
        json!([
            {"name": "version", "type": "string", "label": "Version", "required": true},
            {"name": "clean", "type": "bool", "label": "Clean"},
            {"name": "targets", "type": "choice", "multiple": true, "choices": ["a", "b"], "default": ["b"]},
            {"name": "publish", "type": "group", "label": "Publish", "fields": [
                {"name": "notes", "type": "text"}, {"name": "to", "type": "choice", "choices": ["x"]}]},
            {"name": "", "type": "group", "fields": [{"name": "beside", "type": "int", "default": 3}]},
            {"name": "app", "type": "codebase", "ask": ["branch"], "source": {"branch": "main"}},
            {"name": "fixed", "type": "fixed", "default": [1]},
        ])
    }

    fn typed(pairs: &[(&str, &str)]) -> Typed {
        Typed::new(
            pairs
                .iter()
                .map(|&(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        )
    }

    /// A value of a page is that of the call's field, and nothing else gets into the call.
    #[test]
    fn what_is_typed_becomes_the_values_of_a_call() {
        let typed = typed(&[
            ("v.version", "v1"),
            // A box that is not ticked sends nothing itself.
            ("v.clean", "false"),
            ("v.clean", "true"),
            ("v.targets", ""),
            ("v.targets", "a"),
            ("v.targets", "b"),
            ("v.publish.notes", "one\r\ntwo"),
            ("v.beside", "4"),
            ("v.app.branch", " devel "),
            ("v.app.repository", "elsewhere"),
            ("v.fixed", "2"),
            ("v.other", "x"),
            ("reason", "because"),
        ]);
        assert_eq!(
            typed.values(&fields()),
            json!({
                "version": "v1", "clean": "true", "targets": ["a", "b"], "publish": {"notes": "one\ntwo"}, "beside": "4",
                "app": {"branch": "devel"},
            })
        );
    }

    #[test]
    fn a_row_shows_what_was_typed_or_the_default_and_what_is_wrong_with_it() {
        let problems: Vec<_> = [
            ("values.version", "expected v1"),
            ("values.publish", "expected an object"),
            ("values.nothing", "expected less"),
            ("reason", "expected one"),
        ]
        .map(|(path, message)| (path.to_owned(), message.to_owned()))
        .to_vec();
        let rows = rows(&fields(), &typed(&[("v.version", "w1")]), &problems);
        let field = |name: &str| {
            let found = rows.iter().find_map(|row| match row {
                Row::Field(field) if field.name == name => Some(field),
                _ => None,
            });
            found.unwrap()
        };
        assert_eq!(field("v.version").value, "w1");
        assert_eq!(field("v.version").error.as_deref(), Some("expected v1"));
        assert_eq!(field("v.targets").chosen, ["b"]);
        assert_eq!(field("v.beside").value, "3");
        assert_eq!(field("v.app.branch").value, "main");
        assert!(
            rows.iter()
                .any(|row| matches!(row, Row::Group(group) if group.error.is_some()))
        );
        assert_eq!(
            unplaced(&rows, &["reason"], &problems),
            [("values.nothing".to_owned(), "expected less".to_owned())]
        );
    }
}
