//! The page of plugins: what each is, may do and did, what cannot be used and why; loading everything anew.

mod refusals;

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use capstan_master::{PluginState, PluginStatus, Reloaded};
use capstan_model::plan::{Plan, PluginUse};
use capstan_model::plugin::{Kind, Right, Rights, Side};
use capstan_model::sized;

use super::glance::builder_link;
use super::session::SignedIn;
use super::{Fault, Layout, format, render};
use crate::guard::Visitor;
use crate::{App, Error};

/// Values of one right, uses and refusals that are shown before the rest is hidden.
const VALUES: usize = 12;
const USES: usize = 12;
const REFUSALS: usize = 10;
/// Rows of the audit that are read for the page.
const AUDIT: u32 = 1000;

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/plugins", get(list))
        .route("/reload", post(reload))
}

/// One right of a plugin, both sides together.
#[derive(Debug, PartialEq, Eq)]
struct RightRow {
    name: &'static str,
    /// What it may really use.
    granted: Vec<String>,
    /// What its manifest asks for and the operator granted not at all, or not all of it.
    denied: Vec<String>,
    /// What the operator granted and nobody asks for.
    idle: Vec<String>,
}

impl RightRow {
    fn new(right: Right, asks: &Rights, granted: &Rights) -> Self {
        let pick = |from: &Rights, keep: &dyn Fn(&str) -> bool| -> Vec<String> {
            let values = from.of(right).iter().filter(|value| keep(value));
            values.cloned().collect()
        };
        let mut effective = pick(asks, &|asked| granted.holds(right, asked));
        for narrower in pick(granted, &|value| asks.holds(right, value)) {
            if !effective.contains(&narrower) {
                effective.push(narrower);
            }
        }
        let is_wider = |value: &str| {
            let mut wider = Rights::default();
            wider.of_mut(right).push(value.to_owned());
            asks.of(right).iter().any(|asked| wider.holds(right, asked))
        };
        Self {
            name: right.as_str(),
            denied: pick(asks, &|asked| !granted.holds(right, asked)),
            idle: pick(granted, &|value| !asks.holds(right, value) && !is_wider(value)),
            granted: effective,
        }
    }

    fn is_empty(&self) -> bool {
        self.granted.is_empty() && self.denied.is_empty() && self.idle.is_empty()
    }
}

/// Where a configuration uses a plugin.
struct Use {
    name: String,
    /// The page of what uses it, if that has one.
    link: Option<String>,
    location: String,
}

struct Plugin {
    status: PluginStatus,
    rights: Vec<RightRow>,
    uses: Vec<Use>,
    refusals: Vec<refusals::Row>,
}

impl Plugin {
    fn new(status: PluginStatus, plan: &Plan, audit: &refusals::Audit) -> Self {
        let rights = Right::ALL
            .into_iter()
            .map(|right| RightRow::new(right, &status.asks, &status.granted));
        let audited = status
            .kind
            .zip(status.name.clone())
            .and_then(|key| audit.get(&key));
        let refusals = refusals::rows(&status, audited.map_or(&[], Vec::as_slice));
        let uses = match (status.kind, &status.name) {
            (Some(kind), Some(name)) if status.active => uses(plan, kind, name),
            _ => Vec::new(),
        };
        Self {
            rights: rights.filter(|row| !row.is_empty()).collect(),
            uses,
            refusals,
            status,
        }
    }

    /// Its name, or that of its file.
    fn name(&self) -> &str {
        self.status.name.as_deref().unwrap_or(&self.status.origin)
    }

    fn kind(&self) -> &'static str {
        self.status.kind.map_or("", Kind::as_str)
    }

    fn is_built_in(&self) -> bool {
        self.status.origin.starts_with("built in")
    }

    /// Where in the page it is: names are unique within a kind only, and not all files have one.
    fn anchor(&self) -> String {
        let kept = if self.status.state == PluginState::Kept {
            "kept-"
        } else {
            ""
        };
        format!("{kept}{}-{}", self.kind(), self.status.origin)
    }

    fn size(&self) -> String {
        self.status.size.map(sized).unwrap_or_default()
    }

    fn mean(&self) -> String {
        micros(self.status.mean_us)
    }

    fn longest(&self) -> String {
        micros(self.status.longest_us)
    }
}

fn uses(plan: &Plan, kind: Kind, name: &str) -> Vec<Use> {
    let its = |used: &PluginUse| used.plugin == name;
    let plain = |name: &str, used: &PluginUse| Use {
        name: name.to_owned(),
        link: None,
        location: used.location.to_string(),
    };
    match kind {
        Kind::Step => {
            let steps = plan
                .builders
                .iter()
                .flat_map(|builder| builder.steps.iter().map(move |step| (builder, step)));
            steps
                .filter(|(_, step)| its(&step.plugin))
                .map(|(builder, step)| Use {
                    name: format!("{}: {}", builder.name, step.name),
                    link: Some(builder_link(&builder.name)),
                    location: step.plugin.location.to_string(),
                })
                .collect()
        }
        Kind::Scheduler => plan
            .schedulers
            .iter()
            .filter(|scheduler| its(&scheduler.plugin))
            .map(|scheduler| plain(&scheduler.name, &scheduler.plugin))
            .collect(),
        Kind::ChangeSource => plan
            .sources
            .iter()
            .filter(|source| its(&source.plugin))
            .map(|source| plain(&source.name, &source.plugin))
            .collect(),
        Kind::Reporter => plan
            .reporters
            .iter()
            .filter(|reporter| its(&reporter.plugin))
            .map(|reporter| plain(&reporter.name, &reporter.plugin))
            .collect(),
        // The plan has what they made, not their calls.
        Kind::Generator => Vec::new(),
    }
}

/// `12 µs`, `3.4 ms`, `1.2 s`.
fn micros(us: u64) -> String {
    match us {
        0..1000 => format!("{us} µs"),
        1000..1_000_000 => format!("{}.{} ms", us / 1000, us % 1000 / 100),
        _ => format!("{}.{} s", us / 1_000_000, us % 1_000_000 / 100_000),
    }
}

/// What became of loading everything anew.
enum Outcome {
    Applied(Reloaded),
    /// Nothing was changed, and why.
    Refused(String, Vec<String>),
}

#[derive(Template)]
#[template(path = "plugins.html")]
struct PluginsPage {
    layout: Layout,
    /// Files that cannot be used.
    broken: Vec<Plugin>,
    plugins: Vec<Plugin>,
    outcome: Option<Outcome>,
}

impl PluginsPage {
    async fn new(app: &App, layout: Layout, outcome: Option<Outcome>) -> Result<Self, Fault> {
        let audit = app.store().refusals(None, AUDIT).await.map_err(Error::from)?;
        let audit = refusals::by_plugin(audit);
        let plan = app.control().plan();
        let status = app.control().plugins().into_iter();
        let (broken, mut plugins): (Vec<_>, Vec<_>) = status
            .map(|status| Plugin::new(status, &plan, &audit))
            .partition(|plugin| plugin.status.error.is_some());
        plugins.sort_by_key(|plugin| (plugin.status.kind, plugin.name().to_owned()));
        Ok(Self {
            layout,
            broken,
            plugins,
            outcome,
        })
    }
}

async fn list(State(app): State<App>, visitor: Visitor) -> Result<Response, Fault> {
    let layout = Layout::new(&app, "plugins", &visitor);
    Ok(render(&PluginsPage::new(&app, layout, None).await?))
}

/// Shows what changed in the answer itself: there is nowhere to keep it for another page.
async fn reload(State(app): State<App>, visitor: Visitor, _operator: SignedIn) -> Result<Response, Fault> {
    let (status, outcome) = match app.control().reload().await {
        Ok(reloaded) => (StatusCode::OK, Outcome::Applied(reloaded)),
        Err(refused) if refused.status().is_client_error() => {
            let outcome = Outcome::Refused(refused.message().to_owned(), refused.faults().to_vec());
            (refused.status(), outcome)
        }
        Err(fault) => return Err(fault.into()),
    };
    let layout = Layout::new(&app, "plugins", &visitor).still();
    let page = PluginsPage::new(&app, layout, Some(outcome)).await?;
    Ok((status, render(&page)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(asks: &[&str], granted: &[&str]) -> RightRow {
        let rights = |http: &[&str]| Rights {
            http: http.iter().map(|&value| value.to_owned()).collect(),
            ..Rights::default()
        };
        RightRow::new(Right::Http, &rights(asks), &rights(granted))
    }

    #[test]
    fn both_sides_of_a_right_are_told_apart() {
        let all = row(&["https://a/*"], &["*"]);
        assert_eq!(all.granted, ["https://a/*"]);
        assert!(all.denied.is_empty() && all.idle.is_empty());
        let part = row(&["*"], &["https://a/x", "https://b/*"]);
        assert_eq!(
            (part.granted.len(), part.denied.as_slice()),
            (2, &["*".to_owned()][..])
        );
        let nothing = row(&["https://a/*"], &["https://b/*"]);
        assert!(nothing.granted.is_empty());
        assert_eq!(
            (&*nothing.denied, &*nothing.idle),
            (&["https://a/*".to_owned()][..], &["https://b/*".to_owned()][..])
        );
        assert!(row(&[], &[]).is_empty());
    }

    #[test]
    fn times_read_well() {
        assert_eq!(
            [micros(12), micros(3_450), micros(1_250_000)],
            ["12 µs", "3.4 ms", "1.2 s"]
        );
    }
}
