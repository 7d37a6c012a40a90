//! What a plugin was refused, as rows of its card: the audit, and what is too new to be in it.

use std::collections::HashMap;

use capstan_master::PluginStatus;
use capstan_model::plugin::{Kind, Refusal, Right, Side};
use capstan_store::Refusal as Audited;

use crate::pages::glance::builder_link;

/// One refusal.
pub(super) struct Row {
    pub right: Right,
    pub value: String,
    pub side: Side,
    pub times: u64,
    pub last: i64,
    /// Where it happened, in words, and the page of that.
    pub place: String,
    pub link: Option<String>,
    /// The lines for capstan.toml, where these would help.
    pub remedy: Option<String>,
}

/// The audit, by plugin.
pub(super) type Audit = HashMap<(Kind, String), Vec<Audited>>;

pub(super) fn by_plugin(rows: Vec<Audited>) -> Audit {
    let mut audit = Audit::new();
    for row in rows {
        let key = (row.refused.kind, row.refused.name.clone());
        audit.entry(key).or_default().push(row);
    }
    audit
}

/// The refusals of one plugin, the last first.
pub(super) fn rows(status: &PluginStatus, audited: &[Audited]) -> Vec<Row> {
    let known = |right, value: &str, side| {
        let same = |row: &Audited| {
            (row.refused.right, row.refused.side) == (right, side) && row.refused.value == value
        };
        audited.iter().any(same)
    };
    let fresh = status
        .refused
        .iter()
        .filter(|refused| !known(refused.right, &refused.value, refused.side))
        .map(|refused| Row {
            right: refused.right,
            value: refused.value.clone(),
            side: refused.side,
            times: refused.count,
            last: refused.last.0,
            place: String::new(),
            link: None,
            remedy: remedy(status, refused.right, &refused.value, refused.side),
        });
    let old = audited.iter().map(|row| {
        let (place, link) = place(row);
        let refused = &row.refused;
        Row {
            right: refused.right,
            value: refused.value.clone(),
            side: refused.side,
            times: refused.times,
            last: refused.at.0,
            place,
            link,
            remedy: remedy(status, refused.right, &refused.value, refused.side),
        }
    });
    let mut rows: Vec<_> = fresh.chain(old).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.last));
    rows
}

/// None, if it has been granted since.
fn remedy(status: &PluginStatus, right: Right, value: &str, side: Side) -> Option<String> {
    let refusal = Refusal {
        plugin: status.name.clone()?,
        right,
        value: value.to_owned(),
        side,
    };
    let private =
        right == Right::Http && status.granted.covers(right, value) && !status.granted.names_host(value);
    let granted = status.granted.covers(right, value) && !private;
    refusal.remedy(&status.granted).filter(|_| !granted)
}

/// `linux 12, step compile`, and the build's page.
fn place(row: &Audited) -> (String, Option<String>) {
    let refused = &row.refused;
    let what = match (refused.kind, &*refused.owner) {
        (_, "") => String::new(),
        (kind, owner) => format!("{kind} {owner}"),
    };
    match (&refused.builder, &row.build) {
        (Some(_), Some((build, shown, number))) => (
            format!("{shown}/{number}, {what}"),
            Some(format!("/builds/{}", build.0)),
        ),
        (Some(builder), None) => (format!("{builder}, {what}"), Some(builder_link(builder))),
        (None, _) => (what, None),
    }
}
