//! Lists do not grow slow with history: `plans` shows that each reads an index that fits it, `timing` measures them on
//! a large farm. Both on SQLite, whose plans do not depend on what the tables hold, on a store that `filling` fills.
//!
//! A program of its own, as what it listens to is said of all stores in one process.

#![expect(clippy::unwrap_used, reason = "a test that meets an error ends there")]

mod filling;
mod plans;
mod reads;
mod timing;
