//! Artefacts: told together with the row that answers the step, once under each name; and the logs that carry files, which nobody
//! sees. The same on both databases.

use capstan_model::journal::{Effect, Kind};
use capstan_model::{BuildId, Digest, Program, StepId, Stored};
use capstan_store::{Error, NewCommand, Record};

use crate::farm::{Farm, at, kinds, new_command, row};
use crate::on_both;

on_both! {
    an_artefact_is_there_with_the_row_that_tells_of_it
    a_name_is_used_once_in_a_build
    a_log_that_carries_a_file_is_no_log_of_the_step
}

fn stored(name: &str) -> Stored {
    Stored {
        name: name.to_owned(),
        size: 9,
        sha256: Digest::of(name.as_bytes()),
    }
}

fn publish(farm: &Farm, step: StepId, seq: u32) -> NewCommand {
    let mut command = new_command(&farm.store, step, seq);
    command.log = ".artefact".to_owned();
    command.spec.program = Program::File {
        path: "build/app".to_owned(),
        max_bytes: 10,
    };
    command
}

/// Notes the rows of one artefact from that position on.
async fn keep(farm: &Farm, step: StepId, seq: u32, name: &str) -> Result<(), Error> {
    let command = Some(publish(farm, step, seq));
    let start = vec![row(seq, Kind::Start)];
    farm.store
        .append_journal(step, start, vec![], command, at(10))
        .await?;
    let end = vec![row(seq + 1, Kind::End)];
    let effects = vec![Effect::AddArtefact(stored(name))];
    farm.store
        .append_journal(step, end, effects, None, at(11))
        .await
        .map(drop)
}

async fn names(farm: &Farm, build: BuildId) -> Vec<String> {
    let artefacts = farm.store.artefacts(build).await.unwrap();
    artefacts.into_iter().map(|artefact| artefact.name).collect()
}

async fn an_artefact_is_there_with_the_row_that_tells_of_it(farm: &Farm) {
    let (build, step) = farm.running_step().await;
    assert_eq!(farm.store.artefact(build, "dist/b").await.unwrap(), None);
    keep(farm, step, 1, "dist/b").await.unwrap();
    keep(farm, step, 3, "dist/a").await.unwrap();
    assert_eq!(names(farm, build).await, ["dist/a", "dist/b"]);
    assert_eq!(farm.store.count_artefacts(build).await.unwrap(), 2);
    let found = farm.store.artefact(build, "dist/b").await.unwrap().unwrap();
    assert_eq!(
        (found.build, found.step, found.size, found.created),
        (build, step, 9, at(11))
    );
    assert_eq!(found.sha256, Digest::of(b"dist/b"));
    // Who could not know whether it was noted asks again.
    let end = vec![row(4, Kind::End)];
    let again = vec![Effect::AddArtefact(stored("dist/a"))];
    farm.store
        .append_journal(step, end, again, None, at(12))
        .await
        .unwrap();
    assert_eq!(names(farm, build).await.len(), 2);
    let told = kinds(&farm.store).await;
    assert_eq!(told.iter().filter(|kind| *kind == "artefact.stored").count(), 2);
}

async fn a_name_is_used_once_in_a_build(farm: &Farm) {
    let (build, step) = farm.running_step().await;
    keep(farm, step, 1, "app").await.unwrap();
    let refused = keep(farm, step, 3, "app").await.unwrap_err();
    assert!(matches!(&refused, Error::Conflict { .. }), "{refused}");
    // All of it or nothing: the row that would have told of it is not there either.
    let journal = farm.store.journal(step).await.unwrap();
    assert_eq!((names(farm, build).await.len(), journal.len()), (1, 4));
}

async fn a_log_that_carries_a_file_is_no_log_of_the_step(farm: &Farm) {
    let (build, step) = farm.running_step().await;
    keep(farm, step, 1, "app").await.unwrap();
    assert_eq!(farm.store.logs(step).await.unwrap(), []);
    assert_eq!(farm.store.logs_of_build(build).await.unwrap(), []);
    let carried = farm.store.transports(step).await.unwrap();
    let [log] = carried[..] else { panic!("{carried:?}") };
    assert_eq!(farm.store.log(log).await.unwrap(), None);
    let command = publish(farm, step, 1).id;
    assert_eq!(farm.store.command(command).await.unwrap().unwrap().log, log);
    let gone = Record::LogSealed {
        log,
        length: 0,
        lines: 0,
    };
    farm.store.record(vec![(at(13), gone)]).await.unwrap();
    assert_eq!(farm.store.transports(step).await.unwrap(), []);
    let told = kinds(&farm.store).await;
    assert!(!told.iter().any(|kind| kind.starts_with("log.")), "{told:?}");
}
