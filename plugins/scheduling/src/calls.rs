//! What is wrong with a call, whichever scheduler without a form it goes to.

use capstan_sdk::problem;
use capstan_sdk::scheduler::{Call, CallKind, Problem};

/// What a scheduler that is triggered does not take: a patch, and fields of a form.
pub fn trigger_faults(call: &Call) -> Vec<Problem> {
    let kind = (call.kind == CallKind::Try).then(|| {
        problem(
            "kind",
            "expected a trigger, found a patch to try: use a try-build",
        )
    });
    kind.into_iter().chain(form_faults(call)).collect()
}

/// What a scheduler without a form does not take: each field of one.
pub fn form_faults(call: &Call) -> Vec<Problem> {
    let fault = |name: &String| {
        let text = "expected properties alone: there is no form";
        problem(format!("values.{name}"), text)
    };
    call.values.keys().map(fault).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_fault_is_named() {
        let call = json!({"kind": "try", "values": {"a": 1, "b": 2}, "properties": {"c": 3}});
        let faults = trigger_faults(&serde_json::from_value(call).unwrap());
        let paths: Vec<_> = faults.iter().map(|fault| fault.path.as_str()).collect();
        assert_eq!(paths, ["kind", "values.a", "values.b"]);
        let call = json!({"kind": "force", "properties": {"c": 3}});
        assert!(trigger_faults(&serde_json::from_value(call).unwrap()).is_empty());
    }
}
