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
mod following;
mod formats;
mod grants;
mod json;
mod lenient;
mod lock;
mod locking;
mod nearest;
mod operator;
pub mod pipeline;
mod plugins;
mod remarks;
mod render;
mod resolve;
mod schema;
mod serving;
mod shape;
mod show;
mod star;
mod template;
mod text;
mod triggering;
mod weight;

pub use diagnostic::{Diagnostic, Related, Severity, Snippet, grouped, render_all};
pub use difference::{Change, FieldChange, Happened, changes, changes_since, diff};
pub use evaluate::{Check, Evaluated, Generate, Problem, evaluate, evaluate_with};
pub use farm::{Farm, Limits as FileLimits};
pub use lock::{Accepted, LOCK_FILE, Lock, LockError};
pub use operator::{
    Backend, Database, Error, Limits, Link, Mail, Master, Operator, Plugins, Retention, RetentionRule,
    Secrets, Security, Synchronous, Vault, VaultLogin, Web, starter_star,
};
pub use plugins::PluginInfo;
pub use render::{BuildContext, RenderError, Renderer, Unrendered};
pub use shape::{Parameter, parameters};
pub use show::{counts, render_builders, render_plan};
pub use star::{CallLimits, FunctionError, Functions};
