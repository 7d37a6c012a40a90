//! Which of 10,000 requests go to which of 1,000 workers, decided in memory: no store, no locks, no functions. Beside it sorting
//! the same requests, which any order of them costs at least.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, ensure};
use capstan_master::{Lines, Place, Places, Trial};
use capstan_model::plan::Plan;
use capstan_model::{BuildsetId, Digest, RequestId, Timestamp};
use capstan_store::QueueEntry;
use serde_json::json;

use crate::row::{Aim, Bench, Figure, Measured, Unit, median};

/// How often it is done in each repetition.
const ROUNDS: usize = 20;

pub(super) fn measure(bench: &Bench) -> Result<Measured> {
    let (requests, workers) = (bench.count(10_000, 1_000), bench.count(1_000, 100));
    let builders = workers;
    let trial = Trial::new(Arc::new(plan(builders)?));
    let entries: Vec<_> = (0..requests).map(|number| entry(number, builders)).collect();
    let lines = Lines::of(entries.clone());
    let places = places(workers);
    let (mut ours, mut sorted) = (Vec::new(), Vec::new());
    for _ in 0..bench.repeat.max(1) {
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            let start = Instant::now();
            let started = trial.pair(&lines, &places);
            times.push(start.elapsed().as_secs_f64() * 1000.0);
            ensure!(
                started == workers,
                "expected {workers} builds to start, found {started}"
            );
            let mut order = entries.clone();
            let start = Instant::now();
            order.sort_unstable_by_key(|entry| (-entry.priority, entry.id));
            sorted.push(start.elapsed().as_secs_f64() * 1000.0);
        }
        ours.push(median(&times));
    }
    Ok(Measured {
        limit: Some((
            "sorting the requests".to_owned(),
            Figure::new(median(&sorted), Unit::Milliseconds),
        )),
        aim: Some(Aim::AtMost(50.0)),
        note: format!(
            "{requests} requests of {builders} builders on {workers} workers, all of which get a build"
        ),
        ..Measured::of("requests matched with workers", Unit::Milliseconds, ours)
    })
}

fn plan(builders: usize) -> Result<Plan> {
    let builder = |number: usize| {
        json!({
            "name": format!("b{number}"), "description": "", "tags": [], "workers": [],
            // A third needs nothing, a third needs what half of the workers have, a third what a few have.
            "labels": match number % 3 { 0 => vec![], 1 => vec!["linux".to_owned()], _ => vec![format!("rack={}", number % 10)] },
            "env": {}, "properties": {}, "collapse": number.is_multiple_of(2), "steps": [],
            "location": { "file": "ci.star", "line": 1, "column": 1 },
        })
    };
    let builders: Vec<_> = (0..builders).map(builder).collect();
    let plan = json!({
        "bundle": { "entry": "", "files": {}, "plugins": [] },
        "workers": [], "builders": builders, "sources": [], "schedulers": [], "reporters": [],
    });
    Ok(serde_json::from_value(plan)?)
}

fn places(count: usize) -> Places {
    let place = |number: usize| {
        let mut labels = vec![format!("rack={}", number % 10), "arch=x86_64".to_owned()];
        labels.extend((number.is_multiple_of(2)).then(|| "linux".to_owned()));
        let place = Place {
            idle: 0,
            unknown: false,
            labels: labels.into_iter().collect(),
            slots: 1,
            running: Vec::new(),
        };
        (format!("w{number}"), place)
    };
    (0..count).map(place).collect()
}

fn entry(number: usize, builders: usize) -> QueueEntry {
    let id = i64::try_from(number).unwrap_or(i64::MAX);
    QueueEntry {
        id: RequestId(id),
        buildset: BuildsetId(id),
        builder: format!("b{}", number % builders).into(),
        priority: i32::from(number.is_multiple_of(7)),
        submitted: Timestamp(id),
        likeness: Digest::of(&[u8::try_from(number % 3).unwrap_or(0)]),
    }
}
