//! Each reason why a request waits, and its words.

use super::super::tests::{builder, index, waiting};
use super::super::{Hold, Holds, NoGate, NoHooks};
use super::*;

fn worker(name: &str, labels: &[&str], slots: u32, running: &[(&str, i64)]) -> Standing {
    let directories = running;
    let running = running.iter().map(|&(builder, build)| Running {
        build: BuildId(build),
        builder: builder.to_owned(),
        number: 7,
        worker: name.to_owned(),
    });
    let directories = directories.iter().map(|(builder, _)| (*builder).to_owned());
    Standing {
        name: name.to_owned(),
        labels: labels.iter().map(|&label| label.to_owned()).collect(),
        slots,
        absent: None,
        running: running.collect(),
        directories: directories.collect(),
    }
}

fn absent(name: &str, labels: &[&str], why: Hindrance) -> Standing {
    Standing {
        absent: Some(why),
        ..worker(name, labels, 1, &[])
    }
}

fn reasons(builders: Vec<Builder>, queue: &[QueueEntry], workers: &[Standing]) -> Vec<Why> {
    with(builders, queue, workers, &Holds::default())
}

fn with(builders: Vec<Builder>, queue: &[QueueEntry], workers: &[Standing], holds: &Holds) -> Vec<Why> {
    let ids: Vec<_> = queue.iter().map(|entry| entry.id).collect();
    let mut rules = Rules {
        hooks: &NoHooks,
        gate: &mut NoGate,
        holds,
    };
    let mut found = why(
        &index(builders),
        &Lines::of(queue.to_vec()),
        workers,
        &mut rules,
        &ids,
    );
    ids.iter().map(|id| found.remove(id).unwrap()).collect()
}

/// Why the last of these requests waits.
fn last(builders: Vec<Builder>, queue: &[QueueEntry], workers: &[Standing]) -> (Why, String) {
    let why = reasons(builders, queue, workers).pop().unwrap();
    (why.clone(), why.to_string())
}

#[test]
fn without_builder_or_worker_it_waits_for_the_configuration() {
    let queue = [waiting(1, "b", "main", 0)];
    assert_eq!(last(vec![], &queue, &[]).0, Why::UnknownBuilder);
    assert_eq!(last(vec![builder("b", &[], &[])], &queue, &[]).0, Why::NoWorker);
    let other = [worker("w2", &[], 1, &[])];
    assert_eq!(
        last(vec![builder("b", &["w1"], &[])], &queue, &other).0,
        Why::NoWorker
    );
}

#[test]
fn each_worker_that_cannot_take_it_is_named_with_the_reason() {
    let queue = [waiting(1, "b", "main", 0)];
    let since = Hindrance::Silent(Some(Timestamp(5)));
    let workers = [
        absent("w1", &[], Hindrance::NeverJoined),
        absent("w2", &["gpu", "big"], since.clone()),
        absent("w3", &["gpu", "big"], Hindrance::Paused("disk".to_owned())),
        absent("w4", &["gpu", "big"], Hindrance::Revoked),
        worker("w5", &["gpu"], 1, &[]),
        absent("w6", &[], Hindrance::Paused("too".to_owned())),
        worker("unnamed", &["gpu", "big"], 1, &[]),
    ];
    let builders = vec![builder(
        "b",
        &["w1", "w2", "w3", "w4", "w5", "w6"],
        &["gpu", "big"],
    )];
    let (why, text) = last(builders, &queue, &workers);
    let Why::Hindered(each) = why else {
        panic!("{why:?}")
    };
    assert_eq!(each[1], ("w2".to_owned(), since));
    assert_eq!(
        text,
        "no worker can take it: w1 has never joined; w2 is not connected; w3 is paused (disk); \
         w4 was revoked; w5 lacks the label big; and 1 more"
    );
}

#[test]
fn what_is_in_the_way_is_named() {
    let queue = [waiting(1, "a", "main", 0), waiting(2, "b", "main", 0)];
    let builders = || vec![builder("a", &[], &[]), builder("b", &[], &[])];
    // All slots are taken by others.
    let full = worker("w1", &[], 2, &[("c", 10), ("d", 11)]);
    let (why, text) = last(builders(), &queue, &[full]);
    assert!(
        matches!(&why, Why::Busy { builds, ahead: 1 } if builds.len() == 2),
        "{why:?}"
    );
    assert_eq!(
        text,
        "its workers are busy with c/7 on w1, d/7 on w1; 1 request comes before it"
    );
    // There is room, but not for a second build of this builder.
    let own = worker("w1", &[], 3, &[("c", 10), ("b", 11)]);
    let (why, _) = last(builders(), &queue[1..], &[own]);
    assert!(
        matches!(&why, Why::Busy { builds, ahead: 0 } if builds[0].build == BuildId(11) && builds.len() == 1)
    );
    // The room goes to the one before.
    let free = worker("w1", &[], 1, &[]);
    let (why, text) = last(builders(), &queue, &[free]);
    assert_eq!(
        why,
        Why::Busy {
            builds: vec![],
            ahead: 1
        }
    );
    assert_eq!(
        text,
        "its workers get other requests first; 1 request comes before it"
    );
}

#[test]
fn requests_for_other_workers_are_not_ahead() {
    let builders = vec![builder("a", &["w2"], &[]), builder("b", &["w1"], &[])];
    let queue = [waiting(1, "a", "main", 0), waiting(2, "b", "main", 0)];
    let workers = [
        worker("w1", &[], 1, &[("c", 10)]),
        worker("w2", &[], 1, &[("c", 11)]),
    ];
    let (why, _) = last(builders, &queue, &workers);
    assert!(
        matches!(&why, Why::Busy { builds, ahead: 0 } if builds[0].build == BuildId(10)),
        "{why:?}"
    );
}

#[test]
fn what_is_about_to_start_and_what_starts_with_it_is_told_apart() {
    let builders = || vec![builder("b", &[], &[])];
    let queue = [waiting(1, "b", "main", 0), waiting(2, "b", "main", 0)];
    let free = [worker("w1", &[], 1, &[])];
    assert_eq!(
        reasons(builders(), &queue, &free),
        [Why::Next, Why::Next],
        "both are served by one build"
    );
    let busy = [worker("w1", &[], 1, &[("c", 10)])];
    let (why, text) = last(builders(), &queue, &busy);
    assert_eq!(why, Why::With(RequestId(1)));
    assert_eq!(text, "it becomes one build with request 1");
}

#[test]
fn what_a_function_said_no_to_is_told_with_its_words() {
    let builders = || vec![builder("a", &[], &[]), builder("b", &[], &[])];
    let queue = [waiting(1, "a", "main", 0), waiting(2, "b", "main", 0)];
    let hold = Hold {
        reason: "b may not start now: quiet hours".to_owned(),
        until: Timestamp(9),
    };
    let mut holds = Holds::default();
    holds.requests.insert(RequestId(2), hold.clone());
    let free = [worker("w1", &[], 2, &[])];
    let why = with(builders(), &queue, &free, &holds);
    assert_eq!(why, [Why::Next, Why::Kept(hold.reason)]);
    let full = [worker("w1", &[], 1, &[("c", 10)])];
    let why = with(builders(), &queue, &full, &holds);
    assert!(
        matches!(&why[1], Why::Busy { ahead: 1, .. }),
        "without a worker that is what it waits for first"
    );
}

#[test]
fn more_urgent_requests_are_ahead_though_they_are_younger() {
    let builders = || vec![builder("a", &[], &[]), builder("b", &[], &[])];
    let queue = [
        waiting(1, "a", "x", 0),
        waiting(2, "b", "x", 5),
        waiting(3, "a", "y", -1),
    ];
    let busy = [worker("w1", &[], 1, &[("c", 10)])];
    let ahead: Vec<_> = reasons(builders(), &queue, &busy)
        .into_iter()
        .map(|why| match why {
            Why::Busy { ahead, .. } => ahead,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ahead, [1, 0, 2]);
}

#[test]
fn labels_that_do_not_fit_are_named() {
    let queue = [waiting(1, "b", "main", 0)];
    let of = |wants: &[&str], labels: &[&str]| {
        let builders = vec![builder("b", &[], wants)];
        last(builders, &queue, &[worker("w1", labels, 1, &[])]).1
    };
    assert_eq!(
        of(&["gpu", "os=linux"], &["os=linux"]),
        "no worker can take it: w1 lacks the label gpu"
    );
    assert_eq!(
        of(&["!slow", "gpu", "arch=x86_64|aarch64"], &["slow"]),
        "no worker can take it: w1 has the label slow and lacks the label gpu and has none of the labels arch=x86_64, arch=aarch64"
    );
}

#[test]
fn another_builder_in_a_shared_folder_is_in_the_way() {
    let sharing = |name: &str| Builder {
        directory: Some("group".to_owned()),
        ..builder(name, &[], &[])
    };
    let queue = [waiting(1, "a", "main", 0)];
    let mut busy = worker("w1", &[], 4, &[("b", 10), ("c", 11)]);
    busy.directories = vec!["group".to_owned(), "c".to_owned()];
    let (why, text) = last(vec![sharing("a"), sharing("b")], &queue, &[busy]);
    assert!(
        matches!(&why, Why::Busy { builds, .. } if builds.len() == 1),
        "{why:?}"
    );
    assert_eq!(text, "its workers are busy with b/7 on w1");
}
