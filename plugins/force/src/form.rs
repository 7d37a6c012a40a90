//! Whether a form makes sense, asked when the configuration is loaded.

use capstan_sdk::problem;
use capstan_sdk::scheduler::Problem;
use serde_json::Value;

use crate::field::{Choices, Field, Kind, MOST};
use crate::values;

/// How deep groups may stand in groups.
pub(crate) const DEEPEST: usize = 8;
/// So many fields nobody fills in.
const MOST_FIELDS: usize = 500;

/// What is wrong with a form, by the path of the field: `fields[2].regex`.
pub(crate) fn faults(fields: &[Field]) -> Vec<Problem> {
    let mut look = Look::default();
    look.fields("fields", fields, &mut Vec::new(), 1);
    look.faults.truncate(50);
    look.faults
}

#[derive(Default)]
struct Look {
    faults: Vec<Problem>,
    count: usize,
}

impl Look {
    fn fields<'a>(&mut self, path: &str, fields: &'a [Field], names: &mut Vec<&'a str>, depth: usize) {
        if depth > DEEPEST {
            self.faults
                .push(problem(path, format!("expected groups at most {DEEPEST} deep")));
            return;
        }
        for (place, field) in fields.iter().enumerate() {
            self.count += 1;
            if self.count > MOST_FIELDS {
                self.faults
                    .push(problem(path, format!("expected at most {MOST_FIELDS} fields")));
                return;
            }
            let path = format!("{path}[{place}]");
            self.field(&path, field, names);
            if field.kind == Kind::Group {
                let inside = format!("{path}.fields");
                // A group without a name puts its fields beside the others.
                if field.name.is_empty() {
                    self.fields(&inside, &field.fields, names, depth + 1);
                } else {
                    self.fields(&inside, &field.fields, &mut Vec::new(), depth + 1);
                }
            }
        }
    }

    fn field<'a>(&mut self, path: &str, field: &'a Field, names: &mut Vec<&'a str>) {
        let mut fault = |part: &str, text: String| self.faults.push(problem(format!("{path}.{part}"), text));
        let key = field.key();
        if key.is_empty() && field.kind != Kind::Group {
            fault("name", "expected the property's name, found none".to_owned());
        } else if !key.is_empty() && names.contains(&key) {
            fault("name", format!("expected another name, found `{key}` again"));
        }
        if key.contains('.') {
            fault("name", format!("expected a name without a dot, found `{key}`"));
        }
        names.push(key);
        if let Some(Err(text)) = field.expression() {
            fault("regex", text);
        }
        if matches!((field.min, field.max), (Some(min), Some(max)) if min > max) {
            fault("max", "expected at least `min`".to_owned());
        }
        if field.max_size.is_some_and(|size| size > MOST) {
            fault("max_size", format!("expected at most {MOST} bytes"));
        }
        let is_empty = field.choices == Choices::default();
        let is_chosen = matches!(field.kind, Kind::Choice | Kind::Secret);
        if !is_chosen && !is_empty {
            fault(
                "choices",
                format!("expected a choice or secret, found a {}", field.kind.word()),
            );
        }
        if field.choices != Choices::Live && !field.fallback.is_empty() {
            fault(
                "fallback",
                "expected a function as `choices`: a list cannot fail".to_owned(),
            );
        }
        match field.kind {
            Kind::Choice if is_empty && !field.other => {
                fault("choices", "expected something to choose, found none".to_owned());
            }
            Kind::Secret if is_empty => fault(
                "choices",
                "expected the names of the secrets to choose from, found none".to_owned(),
            ),
            Kind::Group if field.fields.is_empty() => {
                fault("fields", "expected fields, found none".to_owned())
            }
            Kind::Fixed if field.default.is_none() => {
                fault(
                    "default",
                    "expected the value that is always given, found none".to_owned(),
                );
            }
            _ => {}
        }
        if !matches!(field.kind, Kind::String | Kind::Text) && field.regex.is_some() {
            fault(
                "regex",
                format!("expected a string or text, found a {}", field.kind.word()),
            );
        }
        self.preset(path, field);
    }

    /// A default has to be something that could be filled in.
    fn preset(&mut self, path: &str, field: &Field) {
        let asks = !matches!(field.kind, Kind::Group | Kind::Codebase | Kind::Fixed);
        let Some(value) = field
            .default
            .as_ref()
            .filter(|value| asks && **value != Value::Null)
        else {
            return;
        };
        // Nothing filled in is what `required` is about; what there is to choose is known when the form is opened.
        if *value == Value::String(String::new()) || field.choices == Choices::Live {
            return;
        }
        if let Err(text) = values::read(field, value) {
            self.faults.push(problem(format!("{path}.default"), text));
        }
    }
}
