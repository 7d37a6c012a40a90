//! Configuration: the operator's `capstan.toml`, and the Starlark files that become a checked [`Plan`].
//!
//! The master calls [`Operator::load`] once and [`evaluate`] on start and on reload; the command line renders what
//! comes back. Nothing here touches the database, the network or a plugin's code: a plugin's own check is a
//! function that the caller hands in.
//!
//! [`Plan`]: capstan_model::plan::Plan

mod diagnostic;
mod difference;
mod evaluate;
mod farm;
mod grants;
mod json;
mod lock;
mod nearest;
mod operator;
mod plugins;
mod resolve;
mod schema;
mod shape;
mod show;
mod star;
mod text;
mod weight;

pub use diagnostic::{Diagnostic, Related, Severity, Snippet, render_all};
pub use difference::diff;
pub use evaluate::{Check, Evaluated, Problem, evaluate};
pub use farm::{Farm, Limits as FileLimits};
pub use lock::{Accepted, LOCK_FILE, Lock, LockError};
pub use operator::{
    Backend, Database, Error, Limits, Link, Mail, Master, Operator, Plugins, Secrets, Security, Synchronous,
    Web, starter_star,
};
pub use plugins::PluginInfo;
pub use shape::{Parameter, parameters};
pub use show::render_plan;
