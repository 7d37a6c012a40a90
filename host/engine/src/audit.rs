//! Refusals on their way to the audit: what was refused, to whom, and where in the farm. The engine tells; the master
//! keeps.

use std::sync::{Arc, OnceLock};

use capstan_model::plugin::{Kind, Refusal, Right};
use capstan_model::{Digest, StepId};

/// Values are shown and kept up to this many characters.
const MAX_VALUE: usize = 1000;

/// Where in the farm a plugin was called. What is not known is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The name of the scheduler, change source or reporter in the configuration; of a step, its name in the builder.
    pub owner: String,
    /// The builder whose build runs or is reported.
    pub builder: Option<String>,
    /// The step.
    pub step: Option<StepId>,
    /// The report that is delivered.
    pub delivery: Option<String>,
}

/// One refusal. Its value is cut; a request's is without its query, which may hold what nobody is to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The plugin's kind.
    pub kind: Kind,
    /// The digest of its file.
    pub digest: Digest,
    /// Which plugin, right, value and side.
    pub refusal: Refusal,
    /// Where.
    pub place: Place,
}

/// Who wants to know of refusals.
pub trait Audit: Send + Sync {
    /// Takes note of one. Called while a plugin runs: it must not block.
    fn refused(&self, refused: Refused);
}

/// Set once, by the master.
pub(crate) type Ear = Arc<OnceLock<Arc<dyn Audit>>>;

/// The refusal as people may see it.
pub(crate) fn presentable(mut refusal: Refusal) -> Refusal {
    if refusal.right == Right::Http
        && let Some(query) = refusal.value.find('?')
    {
        refusal.value.truncate(query);
        refusal.value.push_str("?…");
    }
    // A page and a database take text.
    refusal.value = refusal.value.replace(char::is_control, "\u{fffd}");
    if let Some((end, _)) = refusal.value.char_indices().nth(MAX_VALUE) {
        refusal.value.truncate(end);
        refusal.value.push('…');
    }
    refusal
}

#[cfg(test)]
mod tests {
    use capstan_model::plugin::Side;

    use super::*;

    #[test]
    fn what_a_query_holds_is_kept_nowhere() {
        let refusal = |value: String| Refusal {
            plugin: "p".to_owned(),
            right: Right::Http,
            value,
            side: Side::Operator,
        };
        let shown = presentable(refusal("GET https://a.example.org/x?token=hunter2".to_owned()));
        assert_eq!(shown.value, "GET https://a.example.org/x?…");
        assert_eq!(
            presentable(refusal("a\0b\n".to_owned())).value,
            "a\u{fffd}b\u{fffd}"
        );
        let long = presentable(refusal("ä".repeat(5000)));
        assert_eq!(long.value.chars().count(), MAX_VALUE + 1);
    }
}
