//! What this master offers to plugins, function by function, so that one that was made for a newer master and uses what is
//! not there is told so before it is compiled. `inspect` asks.

use wasmparser::component_types::ComponentEntityType;
use wasmparser::{BinaryReaderError, Parser, Payload, Validator};

/// The interfaces that plugins import, and their functions as components name them; a test compares it with the WIT.
#[rustfmt::skip]
pub const OFFERED: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("log", &["write"]),
    ("decisions", &[]),
    ("clock", &["now"]),
    ("entropy", &["seed"]),
    ("timers", &["sleep-ms"]),
    ("build", &[
        "step-name",
        "sources",
        "get-property",
        "set-property",
        "set-summary",
        "add-link",
        "write-log",
    ]),
    ("commands", &[
        "[static]spec.argv",
        "[static]spec.shell",
        "[method]spec.set-workdir",
        "[method]spec.set-env",
        "[method]spec.unset-env",
        "[method]spec.set-secret-env",
        "[method]spec.set-log",
        "[method]spec.set-idle-timeout",
        "[method]spec.set-total-timeout",
        "[method]spec.set-term-grace",
        "[method]spec.set-capture-stdout",
        "[method]command.id",
        "[method]command.wait",
        "[method]command.kill",
        "start",
        "run",
        "wait-any",
    ]),
    ("artefacts", &["publish", "write"]),
    ("ending", &["end-build"]),
    ("triggers", &["call", "wait"]),
    ("git", &["fetch", "commits"]),
    ("http", &["fetch"]),
    ("report-files", &["append-line"]),
    ("state", &["get", "set", "delete"]),
    ("mail", &[
        "[constructor]message",
        "[method]message.add-to",
        "[method]message.add-cc",
        "[method]message.add-bcc",
        "[method]message.set-subject",
        "[method]message.set-text",
        "[method]message.set-html",
        "[method]message.add-header",
        "[method]message.attach",
        "send",
    ]),
    ("reports", &[
        "[method]report.delivery-id",
        "[method]report.phase",
        "[method]report.builder",
        "[method]report.number",
        "[method]report.url",
        "[method]report.worker",
        "[method]report.reason",
        "[method]report.outcome",
        "[method]report.previous-outcome",
        "[method]report.summary",
        "[method]report.sources",
        "[method]report.properties",
        "[method]report.steps",
        "[method]report.started",
        "[method]report.finished",
        "[method]report.to-json",
    ]),
];

/// The functions and interfaces that the component imports and this master lacks. `imports` are full names of the plugin
/// package, each with the interface's own; `world` are the interfaces of the plugin's kind.
///
/// It reads types alone: no function's body is looked at.
pub(crate) fn lacks(
    bytes: &[u8],
    imports: &[(&str, &str)],
    world: &[&str],
) -> Result<Vec<String>, BinaryReaderError> {
    let validator = read(bytes)?;
    let Some(types) = validator.types(0) else {
        return Ok(Vec::new());
    };
    let mut missing = Vec::new();
    for (full, interface) in imports {
        let offered = OFFERED
            .iter()
            .find(|(known, _)| known == interface && world.contains(known));
        let Some((_, offered)) = offered else {
            missing.push((*interface).to_owned());
            continue;
        };
        let item = types.component_item_for_import(full);
        let Some(ComponentEntityType::Instance(id)) = item.map(|item| item.ty) else {
            continue;
        };
        for (name, item) in &types[id].exports {
            let function = matches!(item.ty, ComponentEntityType::Func(_));
            if function && !offered.contains(&name.as_str()) {
                // `[method]message.send` reads as `message.send`.
                let plain = name.split_once(']').map_or(name.as_str(), |(_, plain)| plain);
                missing.push(format!("{interface}.{plain}"));
            }
        }
    }
    Ok(missing)
}

/// Everything but the last `End`, which would forget the types.
fn read(bytes: &[u8]) -> Result<Validator, BinaryReaderError> {
    let mut validator = Validator::new();
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload?;
        match &payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) if depth == 0 => break,
            Payload::End(_) => depth -= 1,
            _ => {}
        }
        validator.payload(&payload)?;
    }
    Ok(validator)
}
