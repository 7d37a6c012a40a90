//! A reporter that keeps a count from report to report and mails it, while the master is killed: nobody is counted twice or left
//! out, and a mail that was sent again is recognised as the same.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use anyhow::{Result, ensure};
use capstan_tests::versions::guest;
use capstan_tests::{BOUND, Farm, story, wait_for};
use serde_json::json;

/// How many builds there are.
const BUILDS: u64 = 8;

/// A mail server that keeps what it is given, and may hold its answer back.
struct Sink {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Subject and Message-ID of each message that was given whole, in order; the answer may not have gone out.
    given: Mutex<Vec<(String, String)>>,
    held: Mutex<bool>,
    released: Condvar,
}

impl Sink {
    fn open() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&own);
                // A connection whose client is gone ends by itself.
                std::thread::spawn(move || converse(&stream, &shared));
            }
        });
        Ok(Self { port, shared })
    }

    fn hold(&self, held: bool) {
        *self.shared.held.lock().expect("the sink's lock") = held;
        self.shared.released.notify_all();
    }

    fn given(&self) -> Vec<(String, String)> {
        self.shared.given.lock().expect("the sink's lock").clone()
    }

    fn wait_for_given(&self, count: usize) -> Result<()> {
        wait_for(&format!("{count} messages"), BOUND, || {
            Ok((self.given().len() >= count).then_some(()))
        })
    }
}

fn converse(mut stream: &TcpStream, shared: &Shared) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    stream.write_all(b"220 sink ESMTP\r\n").ok()?;
    while let Some(Ok(line)) = lines.next() {
        let answer: &[u8] = match line.split(' ').next()? {
            "DATA" => {
                stream.write_all(b"354 go on\r\n").ok()?;
                let letter: Vec<_> = lines
                    .by_ref()
                    .map_while(Result::ok)
                    .take_while(|line| line != ".")
                    .collect();
                let header = |name: &str| {
                    letter
                        .iter()
                        .find_map(|line| line.strip_prefix(name))
                        .map(str::to_owned)
                };
                let about = (header("Subject: ")?, header("Message-ID: ")?);
                shared.given.lock().ok()?.push(about);
                let held = shared.held.lock().ok()?;
                drop(shared.released.wait_while(held, |held| *held).ok()?);
                b"250 taken\r\n"
            }
            "QUIT" => b"221 bye\r\n",
            _ => b"250 fine\r\n",
        };
        stream.write_all(answer).ok()?;
    }
    None
}

fn prepare(farm: &Farm, sink: &Sink) -> Result<()> {
    farm.write("plugins/fixture-tally.wasm", guest("fixture-tally")?)?;
    let text = farm.read("capstan.toml")?;
    farm.write(
        "capstan.toml",
        format!(
            "{text}\n[mail]\nserver = \"127.0.0.1:{}\"\nfrom = \"ci@farm.example\"\nsecurity = \"none\"\n\
             [grants.fixture-tally]\nmail = [\"*@team.example\"]\nstate = [\"*\"]\n",
            sink.port
        ),
    )?;
    farm.write(
        "ci.star",
        "w1 = worker(\"w1\")\n\
         builder(\"hello\", workers = [w1], steps = [step.shell(command = \"true\")])\n\
         notify.fixture_tally(name = \"tally\", to = \"dev@team.example\", on = [\"finished\"])\n",
    )
}

#[test]
fn a_count_and_its_mail_survive_the_master() {
    let sink = Sink::open().expect("a port on the loopback interface");
    story(|farm| {
        prepare(farm, &sink)?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        let build = |farm: &Farm| farm.force("hello", &json!({})).map(drop);
        // The first mail is given, and the master dies before it hears that it was taken.
        sink.hold(true);
        build(farm)?;
        build(farm)?;
        sink.wait_for_given(1)?;
        farm.kill_master()?;
        farm.start_master()?;
        // It is told again; and it dies again, with another build that waits to be told.
        sink.wait_for_given(2)?;
        build(farm)?;
        farm.kill_master()?;
        sink.hold(false);
        farm.start_master()?;
        // Now at any moment, as it comes.
        for _ in 3..BUILDS {
            build(farm)?;
            farm.kill_master()?;
            farm.start_master()?;
        }
        let last = format!("{BUILDS} builds");
        wait_for("the last mail", Duration::from_secs(120), || {
            Ok(sink
                .given()
                .iter()
                .any(|(subject, _)| *subject == last)
                .then_some(()))
        })?;
        let given = sink.given();
        let mut by_subject: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (subject, id) in &given {
            by_subject.entry(subject).or_default().push(id);
        }
        let expected: Vec<_> = (2..=BUILDS)
            .step_by(2)
            .map(|count| format!("{count} builds"))
            .collect();
        ensure!(
            by_subject.keys().copied().eq(expected.iter().map(String::as_str)),
            "expected every second count once, found {given:?}"
        );
        for (subject, ids) in &by_subject {
            ensure!(
                ids.iter().all(|id| *id == ids[0]),
                "expected one id for all attempts at {subject:?}, found {ids:?}"
            );
        }
        ensure!(
            by_subject["2 builds"].len() >= 2,
            "the first mail was sent again, found {given:?}"
        );
        let ids: BTreeSet<_> = given.iter().map(|(_, id)| id).collect();
        ensure!(
            ids.len() == expected.len(),
            "each mail has an id of its own, found {given:?}"
        );
        Ok(())
    });
}
