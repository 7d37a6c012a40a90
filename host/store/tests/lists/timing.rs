//! How long each list takes with 100,000 builds in the store and eight readers at once. Run by hand:
//! `cargo test -p capstan-store --test lists -- --ignored --nocapture`.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::filling::Filled;
use crate::reads;

const READERS: usize = 8;
/// How often each reader reads each list.
const TIMES: usize = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, not a test; see the first lines"]
async fn each_list_with_a_long_history() {
    let builds = std::env::var("BUILDS").map_or(100_000, |text| text.parse().unwrap());
    let began = Instant::now();
    let farm = Filled::with(builds).await;
    println!("{builds} builds, filled in {:.1?}", began.elapsed());
    println!(
        "{:38} {:>5} {:>9} {:>9} {:>9}",
        "list", "rows", "alone", "p50", "p99"
    );
    let all: &'static [reads::Read] = reads::all(&farm).leak();
    for read in all {
        let rows = (read.call)(farm.store.clone()).await.unwrap();
        let alone = Instant::now();
        (read.call)(farm.store.clone()).await.unwrap();
        let alone = alone.elapsed();
        let mut readers = JoinSet::new();
        for _ in 0..READERS {
            let store = farm.store.clone();
            readers.spawn(async move {
                let mut times = Vec::with_capacity(TIMES);
                for _ in 0..TIMES {
                    let began = Instant::now();
                    (read.call)(store.clone()).await.unwrap();
                    times.push(began.elapsed());
                }
                times
            });
        }
        let mut times: Vec<Duration> = readers.join_all().await.concat();
        times.sort_unstable();
        let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
        println!(
            "{:38} {rows:>5} {:>9.1?} {:>9.1?} {:>9.1?}",
            read.name,
            alone,
            at(50),
            at(99)
        );
    }
}
