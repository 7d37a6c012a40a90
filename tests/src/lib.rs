//! A farm in a temporary folder, for tests and for the demo: the real `capstan` and `capstan-worker` programs, a git
//! repository to build, a client of the REST interface, and waiting with a bound.
//!
//! Everything goes through doors that a user has: the command line, the REST interface, git, signals. The tests are in
//! `tests/tests`; `cargo xtask demo` starts the same farm and shows what it does.

pub mod api;
pub mod cluster;
pub mod commits;
pub mod farm;
pub mod logs;
pub mod port;
pub mod process;
pub mod project;
pub mod proxy;
pub mod sample;
pub mod small_disk;
pub mod story;
pub mod versions;
pub mod wait;
pub mod waiting;

pub use api::Api;
pub use farm::{Farm, Programs};
pub use project::Project;
pub use proxy::{Proxy, Weather};
pub use story::{Told, story};
pub use wait::{BOUND, wait_for};
