//! One spelling for every JSON value: keys sorted, no white space. Requests are hashed in it, and guests are given it,
//! so that a replay sees the same bytes whatever made the value.

use std::fmt::Write as _;

use capstan_model::Digest;
use serde_json::Value;

/// The canonical text.
pub(crate) fn text(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out);
    out
}

/// The digest of the canonical text.
pub(crate) fn hash(value: &Value) -> Digest {
    Digest::of(text(value).as_bytes())
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut members: Vec<_> = map.iter().collect();
            members.sort_unstable_by_key(|(key, _)| *key);
            list(members, ('{', '}'), out, |(key, value), out| {
                write(&Value::String(key.clone()), out);
                out.push(':');
                write(value, out);
            });
        }
        Value::Array(items) => list(items, ('[', ']'), out, write),
        leaf => {
            let _ = write!(out, "{leaf}");
        }
    }
}

fn list<T>(
    items: impl IntoIterator<Item = T>,
    (open, close): (char, char),
    out: &mut String,
    mut one: impl FnMut(T, &mut String),
) {
    out.push(open);
    for (place, item) in items.into_iter().enumerate() {
        if place > 0 {
            out.push(',');
        }
        one(item, out);
    }
    out.push(close);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((".{0,4}", inner), 0..4)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_canonical_text_means_the_same_and_does_not_change(value in json()) {
            let once = text(&value);
            let back: Value = serde_json::from_str(&once).unwrap();
            prop_assert_eq!(&back, &value);
            prop_assert_eq!(text(&back), once);
        }
    }

    #[test]
    fn the_order_of_keys_does_not_matter() {
        let (a, b) = (
            r#"{"b":[1,{"y":2,"x":1}],"a":null}"#,
            r#"{"a":null,"b":[1,{"x":1,"y":2}]}"#,
        );
        let parse = |text| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(hash(&parse(a)), hash(&parse(b)));
        assert_eq!(text(&parse(a)), b);
    }
}
