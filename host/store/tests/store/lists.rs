//! Lists that people filter and page through: whichever conditions are put together, the answer is what fits all of
//! them, newest first.

use capstan_model::journal::Kind;
use capstan_model::{EventId, NewChange, Outcome, Properties, SourceStamp};
use capstan_store::{
    Build, BuildFilter, BuildState, ChangeFilter, EventFilter, Excerpt, NewBuild, NewBuildset, RequestFilter,
    RequestState, Store,
};
use serde_json::{Value, json};

use crate::farm::{Farm, at, finish, new_change, row, stamp};

crate::on_both! {
    builds_fit_every_condition_together
    requests_fit_every_condition_together
    the_queue_is_in_the_order_in_which_it_is_served
    changes_fit_every_condition_together
    events_of_one_thing_leave_the_others_out
    a_journal_is_read_by_its_beginnings
}

/// `None`, and each of these.
fn any_of<T: Clone>(values: &[T]) -> Vec<Option<T>> {
    let some = values.iter().cloned().map(Some);
    std::iter::once(None).chain(some).collect()
}

fn fits<T: PartialEq>(condition: &Option<T>, found: &T) -> bool {
    condition.as_ref().is_none_or(|condition| condition == found)
}

fn texts(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// Builds of all kinds; every fifth runs, some are of two branches, one of none.
async fn some_builds(farm: &Farm) {
    let store = &farm.store;
    let plan = store.put_plan(Default::default(), at(1)).await.unwrap();
    for i in 0..24usize {
        let builder = ["b1", "b2"][i % 2].to_owned();
        let request = farm.request(&builder, 0).await;
        let sources = match i % 6 {
            0 => vec![],
            1 => vec![stamp("main", "a"), stamp("release", &format!("r{i}"))],
            2 => vec![stamp("main", "a"), stamp("main", "b")],
            3 => vec![SourceStamp::default()],
            _ => vec![stamp("release", "c")],
        };
        let new = NewBuild {
            shown: None,
            directory: String::new(),
            locks: Vec::new(),
            builder,
            requests: vec![request],
            worker: ["w1", "w2"][i / 3 % 2].to_owned(),
            plan,
            reason: String::new(),
            sources,
            properties: Properties::default(),
            steps: vec![],
            reports: vec![],
        };
        let id = store.create_build(new, at(20)).await.unwrap().unwrap().id;
        if i % 5 != 4 {
            let outcome = Outcome::ALL[i % 4];
            store.finish_build(id, finish(outcome), at(30)).await.unwrap();
        }
    }
}

async fn builds_fit_every_condition_together(farm: &Farm) {
    some_builds(farm).await;
    let store = &farm.store;
    let all = store.builds(&BuildFilter::default(), 1000).await.unwrap();
    assert_eq!(all.len(), 24);
    assert!(all.is_sorted_by(|newer, older| newer.id > older.id));
    let outcomes = [
        vec![],
        vec![Outcome::Failure],
        vec![Outcome::Success, Outcome::Warnings],
    ];
    let mut hits = 0;
    for builder in any_of(&texts(&["b1", "nobody"])) {
        for worker in any_of(&texts(&["w2", "nobody"])) {
            for branch in any_of(&texts(&["main", "release", "nowhere"])) {
                for state in any_of(&[BuildState::Running, BuildState::Complete]) {
                    for outcomes in outcomes.clone() {
                        let filter = BuildFilter {
                            builder: builder.clone(),
                            worker: worker.clone(),
                            branch: branch.clone(),
                            state,
                            outcomes,
                            before: None,
                        };
                        hits += check_builds(store, &all, filter).await;
                    }
                }
            }
        }
    }
    assert!(hits > 20, "only {hits} combinations fit several builds");
}

/// Reads the list at once and in pages; answers 1 if there were several pages.
async fn check_builds(store: &Store, all: &[Build], filter: BuildFilter) -> usize {
    let of_branch = |build: &Build, branch: &String| {
        let mut branches = build.sources.iter().map(|source| source.branch.as_ref());
        branches.any(|found| found == Some(branch))
    };
    let fits = |build: &&Build| {
        fits(&filter.builder, &build.builder)
            && fits(&filter.worker, &build.worker)
            && fits(&filter.state, &build.state)
            && filter
                .branch
                .as_ref()
                .is_none_or(|branch| of_branch(build, branch))
            && (filter.outcomes.is_empty()
                || build
                    .outcome
                    .is_some_and(|outcome| filter.outcomes.contains(&outcome)))
    };
    let expected: Vec<_> = all.iter().filter(fits).cloned().collect();
    assert_eq!(store.builds(&filter, 1000).await.unwrap(), expected, "{filter:?}");
    if expected.len() < 2 {
        return 0;
    }
    let mut paged = store.builds(&filter, 1).await.unwrap();
    let rest = BuildFilter {
        before: paged.last().map(|build| build.id),
        ..filter.clone()
    };
    paged.extend(store.builds(&rest, 1000).await.unwrap());
    assert_eq!(paged, expected, "{filter:?}");
    1
}

async fn requests_fit_every_condition_together(farm: &Farm) {
    let store = &farm.store;
    for i in 0..12 {
        let builder = ["b1", "b2"][i % 2];
        let request = farm.request(builder, 0).await;
        if i % 3 == 0 {
            store.cancel_request(request, "no", at(11)).await.unwrap();
        } else if i % 3 == 1 {
            farm.build(builder, &[request], &[]).await;
        }
    }
    let all = store.requests(&RequestFilter::default(), 1000).await.unwrap();
    assert_eq!(all.len(), 12);
    assert!(all.is_sorted_by(|newer, older| newer.id > older.id));
    let states = [
        RequestState::Pending,
        RequestState::Claimed,
        RequestState::Complete,
    ];
    for state in any_of(&states) {
        for builder in any_of(&texts(&["b1", "b2", "nobody"])) {
            for buildset in any_of(&[all[3].buildset]) {
                for before in any_of(&[all[5].id]) {
                    let filter = RequestFilter {
                        state,
                        builder: builder.clone(),
                        buildset,
                        before,
                    };
                    let fits = all.iter().filter(|request| {
                        fits(&state, &request.state)
                            && fits(&builder, &request.builder)
                            && fits(&buildset, &request.buildset)
                            && before.is_none_or(|before| request.id < before)
                    });
                    let expected: Vec<_> = fits.take(3).cloned().collect();
                    assert_eq!(store.requests(&filter, 3).await.unwrap(), expected, "{filter:?}");
                }
            }
        }
    }
}

async fn the_queue_is_in_the_order_in_which_it_is_served(farm: &Farm) {
    let store = &farm.store;
    let mut requests = Vec::new();
    for (builder, priority) in [("b1", 0), ("b2", 5), ("b1", 5), ("b1", -1), ("b1", 9)] {
        requests.push(farm.request(builder, priority).await);
    }
    farm.build("b1", &requests[4..], &[]).await;
    let queue = async |builder, limit| {
        let waiting = store.queue(builder, limit).await.unwrap();
        waiting.iter().map(|request| request.id).collect::<Vec<_>>()
    };
    let served: Vec<_> = store.pending_requests().await.unwrap();
    let served: Vec<_> = served.iter().map(|request| request.id).collect();
    assert_eq!(served, [requests[1], requests[2], requests[0], requests[3]]);
    assert_eq!(queue(None, 10).await, served);
    assert_eq!(queue(None, 2).await, served[..2]);
    assert_eq!(
        queue(Some("b1"), 10).await,
        [requests[2], requests[0], requests[3]]
    );
    assert_eq!(queue(Some("nobody"), 10).await, []);
}

async fn changes_fit_every_condition_together(farm: &Farm) {
    let store = &farm.store;
    let found = (0..24usize).map(|i| NewChange {
        branch: [None, Some("main".to_owned()), Some("release".to_owned())][i % 3].clone(),
        repository: ["r1", "r2"][i / 3 % 2].to_owned(),
        author: ["Ada", "Bo"][i / 6 % 2].to_owned(),
        codebase: ["", "lib"][i / 12].to_owned(),
        ..new_change(&i.to_string())
    });
    store
        .accept_changes("git", b"", found.collect(), &[], at(5))
        .await
        .unwrap();
    let all = store.changes(&ChangeFilter::default(), 1000).await.unwrap();
    assert_eq!(all.len(), 24);
    assert!(all.is_sorted_by(|newer, older| newer.id > older.id));
    for branch in any_of(&texts(&["main", "nowhere"])) {
        for repository in any_of(&texts(&["r2"])) {
            for author in any_of(&texts(&["Ada"])) {
                for codebase in any_of(&texts(&["", "lib"])) {
                    for before in any_of(&[all[9].id]) {
                        let filter = ChangeFilter {
                            branch: branch.clone(),
                            repository: repository.clone(),
                            author: author.clone(),
                            codebase: codebase.clone(),
                            before,
                        };
                        let fits = all.iter().filter(|change| {
                            let facts = &change.facts;
                            (branch.is_none() || facts.branch == branch)
                                && fits(&repository, &facts.repository)
                                && fits(&author, &facts.author)
                                && fits(&codebase, &facts.codebase)
                                && before.is_none_or(|before| change.id < before)
                        });
                        let expected: Vec<_> = fits.take(3).cloned().collect();
                        assert_eq!(store.changes(&filter, 3).await.unwrap(), expected, "{filter:?}");
                    }
                }
            }
        }
    }
}

async fn events_of_one_thing_leave_the_others_out(farm: &Farm) {
    let store = &farm.store;
    let mut builds = Vec::new();
    for builder in ["b1", "b2", "b1"] {
        let request = farm.request(builder, 0).await;
        let build = farm.build(builder, &[request], &["one", "two"]).await;
        for step in &build.steps {
            store
                .begin_step(*step, row(0, Kind::Created), at(30))
                .await
                .unwrap();
        }
        builds.push((request, build));
    }
    let submit = NewBuildset {
        builders: vec!["b2".to_owned()],
        ..NewBuildset::default()
    };
    store.submit(submit, at(40)).await.unwrap();
    let all = store
        .events_after(EventId(0), &EventFilter::default(), 1000)
        .await
        .unwrap();
    let (request, build) = &builds[1];
    for builder in any_of(&texts(&["b1", "b2", "nobody"])) {
        for of_build in any_of(&[build.id]) {
            for step in any_of(&[build.steps[1]]) {
                for of_request in any_of(&[*request]) {
                    let filter = EventFilter {
                        builder: builder.clone(),
                        build: of_build,
                        step,
                        request: of_request,
                    };
                    let fits = all.iter().filter(|event| {
                        event.id > all[1].id
                            && (builder.is_none() || event.builder == builder)
                            && (of_build.is_none() || event.build == of_build)
                            && (step.is_none() || event.step == step)
                            && (of_request.is_none() || event.request == of_request)
                    });
                    let expected: Vec<_> = fits.take(4).cloned().collect();
                    let found = store.events_after(all[1].id, &filter, 4).await.unwrap();
                    assert_eq!(found, expected, "{filter:?}");
                }
            }
        }
    }
}

async fn a_journal_is_read_by_its_beginnings(farm: &Farm) {
    let store = &farm.store;
    let (_, step) = farm.running_step().await;
    // As JSON: a quote, then characters of three bytes, of which 666 fit whole into what is left of 2,000 bytes.
    let (short, long) = ("€".repeat(700), "€".repeat(100_000));
    let mut entries = vec![row(1, Kind::Start), row(2, Kind::End), row(3, Kind::Start)];
    entries[0].request = Some(Value::from(long));
    entries[1].request = None;
    entries[1].response = Some(Value::from(short));
    entries[2].request = Some(json!("x".repeat(1998)));
    store
        .append_journal(step, entries, vec![], None, at(50))
        .await
        .unwrap();
    let cut = |length| {
        Some(Excerpt {
            start: format!("\"{}", "€".repeat(666)),
            length,
        })
    };
    let found = store.journal_glance(step, Some(0), 10).await.unwrap();
    assert_eq!(found[0].request, cut(300_002), "a payload that is a blob");
    assert_eq!(found[0].response, None);
    assert_eq!(
        (found[1].request.clone(), found[1].response.clone()),
        (None, cut(2102))
    );
    let whole = found[2].request.clone().unwrap();
    assert_eq!((whole.start.len(), whole.length), (2000, 2000));

    let all = store.journal_glance(step, None, 10).await.unwrap();
    assert_eq!(all[1..], found);
    let entries = store.journal(step).await.unwrap();
    for (glance, entry) in all.iter().zip(&entries) {
        assert_eq!(
            (glance.seq, glance.kind, &glance.call, glance.class, glance.at),
            (entry.seq, entry.kind, &entry.call, entry.class, entry.at)
        );
    }
    assert_eq!(all.len(), entries.len());
    let page = store.journal_glance(step, Some(0), 2).await.unwrap();
    assert_eq!(page, all[1..3]);
    assert_eq!(store.journal_glance(step, Some(3), 2).await.unwrap(), []);
}
