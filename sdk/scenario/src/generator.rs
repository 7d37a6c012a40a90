//! Running a scenario of a generator: one call, and the same once more, which must have the same answer.

use serde_json::Value;

use crate::Run;
use crate::fit;
use crate::format::At;
use crate::format::generator::{Expect, File};
use crate::listen::unheard;
use crate::time::Time;

pub(crate) fn run(run: &mut Run<'_>, file: &File) {
    let nothing = Expect::default();
    let expect = file.expect.as_ref().unwrap_or(&nothing);
    let first = generate(run);
    let again = unheard(|| generate(run));
    if first != again {
        run.judge
            .whole("the generator answers the same parameters otherwise when it is called again");
    }
    let failed = first.as_ref().err().map(String::as_str);
    run.judge
        .failure::<()>("generate", expect.error.as_ref(), failed, None);
    let Ok(answer) = first else { return };
    let list = |name: &str| answer[name].as_array().cloned().unwrap_or_default();
    run.judge
        .list("builder", expect.builders.as_ref(), &list("builders"));
    run.judge
        .list("scheduler", expect.schedulers.as_ref(), &list("schedulers"));
    remarks(run, expect.remarks.as_ref(), &list("remarks"));
}

fn generate(run: &mut Run<'_>) -> Result<Value, String> {
    run.report.calls += 1;
    match Time::new(run.judge.beginning).run(run.plugin.generate(&run.parameters)) {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(stuck) => Err(stuck.to_string()),
    }
}

fn remarks(run: &mut Run<'_>, expected: Option<&At<Vec<At<String>>>>, found: &[Value]) {
    let Some(all) = expected else { return };
    let patterns = all.get_ref();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let fits = patterns.len() == found.len()
        && patterns
            .iter()
            .zip(found)
            .all(|(pattern, found)| fit::text(pattern.get_ref(), &text(found)));
    if !fits {
        let expected: Vec<_> = patterns
            .iter()
            .map(|pattern| pattern.get_ref().as_str())
            .collect();
        let found = fit::shown(&Value::Array(found.to_vec()));
        run.judge.fault(
            Some(all),
            format!("remarks: expected {expected:?}, found {found}"),
        );
    }
}
