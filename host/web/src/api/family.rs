//! Who asked for a build, and what its own steps have asked for.

use capstan_model::BuildId;
use capstan_store::{ChildRequest, ChildSet, Kin};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{App, Error};

/// Buildsets of one build that are told; a step asks for few.
const MOST: u32 = 100;

/// A build that is another one's parent or child.
#[derive(Serialize, ToSchema)]
#[schema(as = Relative)]
pub(crate) struct Relative {
    pub(crate) id: i64,
    pub(crate) builder: String,
    /// Counts from 1 within the builder.
    pub(crate) number: u64,
    /// None while it runs.
    pub(crate) outcome: Option<String>,
}

impl From<Kin> for Relative {
    fn from(kin: Kin) -> Self {
        Self {
            id: kin.id.0,
            builder: kin.builder,
            number: kin.number,
            outcome: kin.outcome.map(|outcome| outcome.to_string()),
        }
    }
}

/// A request that a step has asked for.
#[derive(Serialize, ToSchema)]
pub(crate) struct Child {
    pub(crate) request: i64,
    pub(crate) buildset: i64,
    /// The scheduler that was asked.
    pub(crate) scheduler: String,
    pub(crate) builder: String,
    /// `pending`, `claimed` or `complete`.
    pub(crate) state: &'static str,
    /// How it ended.
    pub(crate) outcome: Option<String>,
    /// The build that serves it, or did last.
    pub(crate) build: Option<Relative>,
}

impl Child {
    /// Its result, or how far it is.
    pub(crate) fn word(&self) -> &str {
        match (&self.outcome, self.state) {
            (Some(outcome), _) => outcome,
            (None, "claimed") => "running",
            (None, state) => state,
        }
    }

    /// What the steps of a build have asked for, oldest first.
    pub(crate) async fn of_build(app: &App, build: BuildId) -> Result<Vec<Self>, Error> {
        let sets = app.store().children(build, MOST).await?;
        let child = |set: &ChildSet, request: ChildRequest| Self {
            request: request.request.0,
            buildset: set.buildset.0,
            scheduler: set.scheduler.clone(),
            builder: request.builder,
            state: request.state.as_str(),
            outcome: request.outcome.map(|outcome| outcome.to_string()),
            build: request.build.map(Relative::from),
        };
        let all = sets.into_iter().flat_map(|mut set| {
            let requests = std::mem::take(&mut set.requests);
            let children: Vec<_> = requests.into_iter().map(|request| child(&set, request)).collect();
            children
        });
        Ok(all.collect())
    }
}

impl Relative {
    /// The builds whose steps have asked for this one.
    pub(crate) async fn parents_of(app: &App, build: BuildId) -> Result<Vec<Self>, Error> {
        let parents = app.store().parents(build).await?;
        Ok(parents.into_iter().map(Self::from).collect())
    }
}
