//! Builders that no worker of the configuration can serve, as far as the configuration knows: workers bring labels of their own when
//! they connect. Called by `remarks`.

use capstan_model::plan::{Builder, Worker};
use capstan_model::{Asked, Labels};

use crate::diagnostic::Diagnostic;
use crate::nearest::did_you_mean;
use crate::star::{Definitions, Site};

/// A remark on each of them.
pub(crate) fn remarks(definitions: &Definitions) -> Vec<Diagnostic> {
    let workers: Vec<_> = definitions.workers.iter().map(|(worker, _)| worker).collect();
    if workers.is_empty() {
        return Vec::new();
    }
    let labelled = workers.iter().any(|worker| !worker.labels.is_empty());
    let each = definitions.builders.iter();
    each.filter_map(|definition| unserved(&definition.builder, &definition.site, &workers, labelled))
        .collect()
}

fn unserved(builder: &Builder, site: &Site, workers: &[&Worker], labelled: bool) -> Option<Diagnostic> {
    let wants: Vec<Labels> = builder.labels.iter().flat_map(|text| text.parse()).collect();
    let named = |worker: &&Worker| builder.workers.is_empty() || builder.workers.contains(&worker.name);
    let named: Vec<_> = workers.iter().copied().filter(named).collect();
    // What may be a fact of a machine nobody knows before it connects.
    let looks = |worker: &Worker, label: &str| {
        if worker.labels.iter().any(|own| own == label) {
            Asked::Yes
        } else if label.contains('=') {
            Asked::Unknown
        } else {
            Asked::No
        }
    };
    let serves = |worker: &&Worker| {
        wants
            .iter()
            .all(|want| want.ask(&|label| looks(worker, label)) != Asked::No)
    };
    if wants.is_empty() || named.is_empty() || named.iter().any(serves) {
        return None;
    }
    let text = format!(
        "no worker of the configuration can serve the builder `{}`",
        builder.name
    );
    let remark = site.warning(text).code("unserved-builder").expected(format!(
        "a worker with the labels `{}`",
        builder.labels.join("`, `")
    ));
    let known = || {
        workers
            .iter()
            .flat_map(|worker| &worker.labels)
            .map(String::as_str)
    };
    let unknown = wants
        .iter()
        .flat_map(Labels::names)
        .find(|label| !known().any(|other| other == *label));
    let guess = unknown.and_then(|label| did_you_mean(label, known()));
    let hint =
        guess.unwrap_or_else(|| "a worker may also bring the label itself, by its worker.toml".to_owned());
    let remark = remark.hint(hint);
    // Where no worker is given labels here, they are likely to bring their own.
    Some(if labelled { remark } else { remark.note() })
}
