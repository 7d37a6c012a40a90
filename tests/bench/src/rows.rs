//! The rows, one file each. A file has `pub const ROW: Row` and says at its top from where to where it measures.

mod builds;
mod compile;
mod history;
mod instances;
mod isolation;
mod journal;
mod languages;
mod live;
mod log;
mod logs;
mod plugins;
mod queue;
mod reaction;
mod reattach;
mod reload;
mod start;
mod steps;
mod store;
mod waiting;
mod worker_size;
mod workers;

use crate::row::Row;

/// Every row, in the order of the table.
pub const ALL: &[Row] = &[
    steps::ROW,
    builds::ROW,
    reaction::ROW,
    live::ROW,
    log::ROW,
    logs::ROW,
    workers::ROW,
    reattach::ROW,
    waiting::ROW,
    queue::ROW,
    start::ROW,
    reload::ROW,
    worker_size::ROW,
    plugins::ROW,
    instances::ROW,
    compile::ROW,
    isolation::ROW,
    languages::ROW,
    journal::ROW,
    store::ROW,
    history::ROW,
];
