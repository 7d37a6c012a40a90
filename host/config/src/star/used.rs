//! Keys of a data file that the configuration does not use: `read_toml(path, used = [...])` says which ones it does, and the others
//! are remarked on. Said once where the file is read: Starlark's own dictionaries tell nobody who looked into them, and a type of ours
//! in their place would be none to `type`, `dict` and `|`.

use serde_json::Value as Json;

/// The most keys that one remark names.
const LISTED: usize = 5;
/// The most keys that are counted.
const COUNTED: usize = 10_000;

/// The paths of all keys that no pattern leads to, and how many more there are than are named. A pattern's words are joined by
/// dots; `*` is any key, or any place in a list. What is below a pattern's end is used.
pub(super) fn unused(data: &Json, patterns: &[String]) -> (Vec<String>, usize) {
    let patterns: Vec<Vec<&str>> = patterns
        .iter()
        .map(|pattern| pattern.split('.').collect())
        .collect();
    let mut look = Look::default();
    let whole: Vec<&[&str]> = patterns.iter().map(Vec::as_slice).collect();
    look.at(data, &whole);
    let more = look.count - look.found.len();
    (look.found, more)
}

#[derive(Default)]
struct Look {
    path: Vec<String>,
    found: Vec<String>,
    count: usize,
}

impl Look {
    fn at(&mut self, value: &Json, patterns: &[&[&str]]) {
        match value {
            Json::Object(map) => {
                for (key, item) in map {
                    let rest = below(patterns, |word| word == "*" || word == key);
                    self.item(key.clone(), item, &rest, true);
                }
            }
            Json::Array(items) => {
                let rest = below(patterns, |word| word == "*");
                for (place, item) in items.iter().enumerate() {
                    self.item(place.to_string(), item, &rest, false);
                }
            }
            _ => {}
        }
    }

    fn item(&mut self, name: String, item: &Json, rest: &[&[&str]], is_key: bool) {
        if self.count >= COUNTED {
            return;
        }
        self.path.push(name);
        if rest.is_empty() && is_key {
            self.count += 1;
            if self.found.len() < LISTED {
                self.found.push(self.path.join("."));
            }
        } else if !rest.iter().any(|words| words.is_empty()) {
            self.at(item, rest);
        }
        self.path.pop();
    }
}

/// What is left of the patterns whose first word fits.
fn below<'a>(patterns: &[&'a [&'a str]], fits: impl Fn(&str) -> bool) -> Vec<&'a [&'a str]> {
    let split = patterns.iter().filter_map(|words| words.split_first());
    split
        .filter(|(first, _)| fits(first))
        .map(|(_, rest)| rest)
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(data: &Json, patterns: &[&str]) -> (Vec<String>, usize) {
        let patterns: Vec<_> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        unused(data, &patterns)
    }

    #[test]
    fn a_key_is_used_where_a_pattern_leads_to_it_or_past_it() {
        let data = json!({
            "builders": [{ "name": "a", "os": "linux" }, { "name": "b", "oss": "linux", "env": { "X": 1 } }],
            "limits": { "a": 1, "b": 2 },
            "old": { "deep": true },
        });
        let patterns = ["builders.*.name", "builders.*.os", "builders.*.env", "limits.*"];
        assert_eq!(found(&data, &patterns).0, ["builders.1.oss", "old"]);
        assert_eq!(found(&data, &["*"]).0, Vec::<String>::new());
        assert_eq!(found(&data, &["limits.a"]).0, ["builders", "limits.b", "old"]);
        assert_eq!(found(&json!([{ "a": 1 }]), &["*.b"]).0, ["0.a"]);
    }

    #[test]
    fn many_are_counted_and_few_are_named() {
        let map: serde_json::Map<_, _> = (0..20_000).map(|n| (n.to_string(), json!(1))).collect();
        let (named, more) = found(&Json::Object(map), &[]);
        assert_eq!((named.len(), more), (LISTED, COUNTED - LISTED));
    }
}
