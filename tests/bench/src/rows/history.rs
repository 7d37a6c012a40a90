//! Every list and page of a master whose database holds 100,000 builds, read by 8 readers at once over HTTP; and the same
//! with 10,000 builds, enough to fill each page, which shows what grows with history. The time of a request is from before it is sent until its last
//! byte is read.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use capstan_model::{Clock as _, SystemClock};
use capstan_tests::Farm;
use ureq::Agent;

use crate::launch::{self, Master};
use crate::row::{Aim, Bench, Figure, Measured, Row, Unit, Usage, median};
use crate::usage::Watch;
use crate::{builders, past};

/// The row.
pub const ROW: Row = Row {
    name: "history",
    what: "each list and page with 100,000 builds in the store, 8 readers at once",
    run,
};

const READERS: usize = 8;
/// How long one farm is read.
const BOUND: Duration = Duration::from_secs(15);
/// What is faster than this is not asked how much it grew: a quick answer doubles by chance.
const NOTICEABLE_MS: f64 = 10.0;
/// The largest page that is read.
const MAX_PAGE: u64 = 64 << 20;

/// What is read. NEW and OLD are the newest and the oldest build's ids, and those of their changes and requests; MIDDLE is one
/// between. BUSY is a builder with more than a tenth of all builds, QUIET one that has three, the oldest.
const ROUTES: &[&str] = &[
    "/",
    "/builders",
    "/builders/BUSY",
    "/builders/BUSY?before=MIDDLE",
    "/builders/BUSY?result=failure",
    "/builders/BUSY?result=exception",
    "/builders/BUSY?branch=main",
    "/builders/QUIET",
    "/builders/BUSY/builds/1",
    "/builders/BUSY/force",
    "/builds",
    "/builds/NEW",
    "/builds/OLD",
    "/changes",
    "/changes?before=MIDDLE",
    "/changes?author=nobody",
    "/changes/OLD",
    "/requests",
    "/workers",
    "/plugins",
    "/api/v1/builders",
    "/api/v1/builders/BUSY",
    "/api/v1/builders/BUSY/builds/1",
    "/api/v1/builds",
    "/api/v1/builds?limit=500",
    "/api/v1/builds?before=MIDDLE",
    "/api/v1/builds?builder=BUSY",
    "/api/v1/builds?builder=QUIET",
    "/api/v1/builds?worker=w3",
    "/api/v1/builds?branch=main",
    "/api/v1/builds?branch=none",
    "/api/v1/builds?state=running",
    "/api/v1/builds?outcome=exception",
    "/api/v1/builds/NEW",
    "/api/v1/steps/OLD/logs",
    "/api/v1/logs/OLD",
    "/api/v1/changes",
    "/api/v1/changes?before=MIDDLE",
    "/api/v1/changes?author=nobody",
    "/api/v1/changes/OLD",
    "/api/v1/requests",
    "/api/v1/requests?state=pending",
    "/api/v1/requests?builder=QUIET",
    "/api/v1/requests/OLD",
    "/api/v1/reports?build=NEW",
    "/api/v1/workers",
    "/api/v1/plugins",
    "/api/v1/health",
];

/// Median and 99th percentile of each repetition, in milliseconds.
#[derive(Clone, Debug, Default)]
struct Times {
    p50: Vec<f64>,
    p99: Vec<f64>,
}

/// What the readers of one farm saw.
struct Seen {
    times: BTreeMap<&'static str, Times>,
    /// Routes that this version does not have.
    missing: Vec<&'static str>,
    samples: usize,
    usage: Usage,
}

fn run(bench: &Bench) -> Result<Vec<Measured>> {
    let (many, few) = (bench.count(100_000, 3000), bench.count(10_000, 300));
    let builders = bench.count(300, 30);
    let small = read_farm(bench, few, builders)?;
    let large = read_farm(bench, many, builders)?;
    show(&small, few, &large, many);
    let is_list = |route: &str| route.starts_with("/api/");
    let mut lines = Vec::new();
    for (label, api) in [("slowest page", false), ("slowest answer of the API", true)] {
        let chosen: Vec<_> = large
            .times
            .iter()
            .filter(|(route, _)| is_list(route) == api)
            .collect();
        lines.push(slowest(label, &chosen, &small, &large, few));
    }
    if !large.missing.is_empty() {
        eprintln!("history: this version has no {}", large.missing.join(", "));
    }
    lines.push(growth(&small, &large, few, many));
    Ok(lines)
}

/// Makes a farm with so many builds and reads it.
fn read_farm(bench: &Bench, builds: usize, builders: usize) -> Result<Seen> {
    let farm = launch::farm(bench)?;
    farm.write("ci.star", builders::many(builders))?;
    let start = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(past::fill(&farm.folder(), builds, builders, SystemClock.now()))?;
    eprintln!(
        "history: {builds} builds made in {:.1} s",
        start.elapsed().as_secs_f64()
    );
    let master = Master::start(bench, &farm.folder())?;
    let watch = Watch::start(master.id())?;
    let routes = present(&farm, builds, builders)?;
    let missing = ROUTES
        .iter()
        .copied()
        .filter(|route| routes.iter().all(|(known, _)| known != route))
        .collect();
    let (mut times, mut samples) = (BTreeMap::<_, Times>::new(), 0);
    for _ in 0..bench.repeat.max(1) {
        let bound = BOUND / u32::try_from(bench.repeat.max(1))?;
        for (route, mut found) in read(&routes, bench.count(40, 3), bound)? {
            found.sort_by(f64::total_cmp);
            samples = found.len();
            let times = times.entry(route).or_default();
            times.p50.push(found[found.len() / 2]);
            times
                .p99
                .push(found[(found.len() * 99 / 100).min(found.len() - 1)]);
        }
    }
    let usage = watch.so_far()?;
    master.stop()?;
    Ok(Seen {
        times,
        missing,
        samples,
        usage,
    })
}

/// The routes that this version has, each with its address.
fn present(farm: &Farm, builds: usize, builders: usize) -> Result<Vec<(&'static str, String)>> {
    let web = farm.web()?;
    let agent = agent();
    let mut found = Vec::new();
    for route in ROUTES {
        let address = route
            .replace("NEW", &builds.to_string())
            .replace("OLD", "2")
            .replace("MIDDLE", &(builds / 2).to_string())
            .replace("BUSY", "builder-1")
            .replace("QUIET", &format!("builder-{}", builders - 1));
        let address = format!("{web}{address}");
        match get(&agent, &address)? {
            200 => found.push((*route, address)),
            404 => {}
            status => anyhow::bail!("expected {address} to be answered, found status {status}"),
        }
    }
    Ok(found)
}

/// Every route `rounds` times by each reader, or as often as the bound allows. The readers start at different routes.
fn read(
    routes: &[(&'static str, String)],
    rounds: usize,
    bound: Duration,
) -> Result<BTreeMap<&'static str, Vec<f64>>> {
    let start = Instant::now();
    let one = |reader: usize| -> Result<Vec<(&'static str, f64)>> {
        let agent = agent();
        let mut times = Vec::new();
        for round in 0..rounds {
            if round > 0 && start.elapsed() > bound {
                break;
            }
            for place in 0..routes.len() {
                let (route, address) = &routes[(place + reader * routes.len() / READERS) % routes.len()];
                let sent = Instant::now();
                let status = get(&agent, address)?;
                times.push((*route, sent.elapsed().as_secs_f64() * 1000.0));
                ensure!(
                    status == 200,
                    "expected {address} to be answered, found status {status}"
                );
            }
        }
        Ok(times)
    };
    let mut all: BTreeMap<_, Vec<f64>> = BTreeMap::new();
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS)
            .map(|reader| scope.spawn(move || one(reader)))
            .collect();
        for reader in readers {
            let times = reader
                .join()
                .map_err(|_| anyhow::anyhow!("a reader panicked"))??;
            times
                .into_iter()
                .for_each(|(route, ms)| all.entry(route).or_default().push(ms));
        }
        Ok(all)
    })
}

fn agent() -> Agent {
    let settings = Agent::config_builder().http_status_as_error(false).proxy(None);
    settings
        .timeout_global(Some(Duration::from_secs(30)))
        .build()
        .into()
}

fn get(agent: &Agent, address: &str) -> Result<u16> {
    let answer = agent
        .get(address)
        .call()
        .with_context(|| format!("failed to get {address}"))?;
    let status = answer.status().as_u16();
    answer.into_body().with_config().limit(MAX_PAGE).read_to_vec()?;
    Ok(status)
}

fn slowest(
    label: &str,
    chosen: &[(&&'static str, &Times)],
    small: &Seen,
    large: &Seen,
    few: usize,
) -> Measured {
    let by_p99 = |a: &&(&&'static str, &Times), b: &&(&&'static str, &Times)| {
        median(&a.1.p99).total_cmp(&median(&b.1.p99))
    };
    let Some((route, times)) = chosen.iter().max_by(by_p99) else {
        return Measured::of(format!("{label}: there is none"), Unit::Milliseconds, Vec::new());
    };
    let above: Vec<_> = chosen
        .iter()
        .filter(|(_, times)| median(&times.p99) > 50.0)
        .map(|(route, _)| **route)
        .collect();
    let note = format!(
        "median {:.1} ms; 99th percentile of {} requests by {READERS} readers; {} of {} routes are above 50 ms{}",
        median(&times.p50),
        large.samples,
        above.len(),
        chosen.len(),
        if above.is_empty() {
            String::new()
        } else {
            format!(": {}", above.join(", "))
        },
    );
    let before = small.times.get(*route).map(|times| median(&times.p99));
    Measured {
        limit: before.map(|ms| (format!("with {few} builds"), Figure::new(ms, Unit::Milliseconds))),
        aim: Some(Aim::AtMost(50.0)),
        master: Some(large.usage),
        note,
        ..Measured::of(
            format!("{label}, p99: {route}"),
            Unit::Milliseconds,
            times.p99.clone(),
        )
    }
}

/// How much longer the median of a request is with the large past, where that is most.
fn growth(small: &Seen, large: &Seen, few: usize, many: usize) -> Measured {
    let ratio = |(route, times): (&&'static str, &Times)| {
        let before = small.times.get(*route)?;
        let pairs = times.p50.iter().zip(&before.p50);
        let runs: Vec<_> = pairs.map(|(large, small)| large / small * 100.0).collect();
        (median(&times.p50) >= NOTICEABLE_MS).then_some((*route, runs))
    };
    let all = large.times.iter().filter_map(ratio);
    let Some((route, runs)) = all.max_by(|a, b| median(&a.1).total_cmp(&median(&b.1))) else {
        let label = format!("growth: no route takes {NOTICEABLE_MS} ms");
        return Measured::of(label, Unit::Percent, vec![100.0]);
    };
    Measured {
        aim: Some(Aim::AtMost(150.0)),
        note: format!(
            "its median with {many} builds, of that with {few}; 100 % is no growth; of the routes whose median is at \
             least {NOTICEABLE_MS} ms"
        ),
        ..Measured::of(format!("growth where it is most: {route}"), Unit::Percent, runs)
    }
}

/// Every route, for whoever looks for the slow ones.
fn show(small: &Seen, few: usize, large: &Seen, many: usize) {
    eprintln!("history: p50 and p99 in ms with {few} builds, then with {many}");
    for (route, times) in &large.times {
        let before = small.times.get(route).cloned().unwrap_or_default();
        eprintln!(
            "  {route:<34} {:>8.1} {:>8.1}   {:>8.1} {:>8.1}",
            median(&before.p50),
            median(&before.p99),
            median(&times.p50),
            median(&times.p99)
        );
    }
}
