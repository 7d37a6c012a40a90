//! The chaos campaign: real masters and workers, several builds at once, a seeded schedule of faults, and afterwards a
//! comparison with a run in which nothing happened. Started by `cargo xtask chaos`.
//!
//! Read [`plan`] (what happens in a seed), [`lane`] (the farm that it happens to), [`faults`] (how), [`found`] (what is left)
//! and [`check`] (what must be so).

pub mod campaign;
pub mod check;
pub mod disk;
pub mod faults;
pub mod found;
pub mod lane;
pub mod leftovers;
pub mod plan;
pub mod receiver;
pub mod work;
