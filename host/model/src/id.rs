//! Integer keys, one type per table, so that a build's key cannot be passed for a step's.

use serde::{Deserialize, Serialize};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = std::num::ParseIntError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }

        impl From<i64> for $name {
            fn from(value: i64) -> Self {
                Self(value)
            }
        }
    )*};
}

ids! {
    /// A change that a change source accepted.
    ChangeId;
    /// What to check out: a row shared by every request for the same sources.
    SourceStampId;
    /// A set of requests made by one decision of a scheduler.
    BuildsetId;
    /// One builder's share of a buildset.
    RequestId;
    /// A builder, by the name it has had since it was first configured.
    BuilderId;
    /// A build over the whole farm; people also write `builder/number`.
    BuildId;
    /// One step of one build.
    StepId;
    /// One log of one step.
    LogId;
    /// A worker, by its name.
    WorkerId;
    /// A report waiting for delivery.
    OutboxId;
    /// A row of the event feed.
    EventId;
    /// Something that a scheduler was asked for.
    CallId;
}
