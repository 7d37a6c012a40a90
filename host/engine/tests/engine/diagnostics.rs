//! What a plugin tells its operator through `log`: bounded, and once.

use std::fmt::Debug;
use std::future::Future;
use std::sync::{Arc, Mutex, OnceLock};

use capstan_engine::{Caller, SchedulerEvent, WaitMode};
use capstan_model::Timestamp;
use serde_json::json;
use tracing::field::{Field, Visit};
use tracing::span;

use crate::calls::caller;
use crate::farm::{Death, Farm, Lasting, in_every_mode, no_stop, run_of};
use crate::support::plugin;

/// Collects the messages of plugins, each with its other fields.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Said>>>);

/// A message, and its fields as `name=value`.
type Said = (String, Vec<String>);

impl tracing::Subscriber for Collector {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "plugin"
    }

    fn event(&self, event: &tracing::Event<'_>) {
        #[derive(Default)]
        struct Message(String, Vec<String>);
        impl Visit for Message {
            fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
                match field.name() {
                    "message" => self.0 = format!("{value:?}"),
                    name => self.1.push(format!("{name}={value:?}")),
                }
            }
        }
        let mut message = Message::default();
        event.record(&mut message);
        self.0.lock().unwrap().push((message.0, message.1));
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// The messages of plugins while `work` runs, on one thread.
pub fn messages(work: impl Future) -> Vec<String> {
    told(work).into_iter().map(|(message, _)| message).collect()
}

/// The same, each with its other fields.
fn told(work: impl Future) -> Vec<(String, Vec<String>)> {
    // With a single dispatcher, tracing asks the current thread's alone whether an event is wanted, and remembers the
    // answer: that of a test without one.
    static SECOND: OnceLock<tracing::Dispatch> = OnceLock::new();
    SECOND.get_or_init(|| tracing::Dispatch::new(Collector::default()));
    let collector = Collector::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tracing::subscriber::with_default(collector.clone(), || runtime.block_on(work));
    let messages = collector.0.lock().unwrap();
    messages.clone()
}

#[test]
fn a_plugin_that_prints_without_end_fills_no_log() {
    let (caller, _): (Caller, _) = caller(Default::default());
    let (scheduler, config) = (plugin("fixture-scheduler"), json!({ "do": "print" }));
    let messages = messages(scheduler.handle(&caller, &config, &[], Timestamp(0), SchedulerEvent::Started));
    assert_eq!(messages.len(), 1001);
    assert!(
        messages.iter().all(|message| message.len() <= 4100),
        "long messages are cut"
    );
    assert_eq!(messages[1000], "more than 1000 messages in one call");
}

#[test]
fn a_step_that_is_run_again_does_not_repeat_its_messages() {
    let log = |text: &str| json!({ "op": "log", "text": text });
    let make = json!({ "op": "run", "argv": ["make"] });
    let script = json!([log("one"), make, log("two"), make, log("three"), { "op": "now" }, log("four")]);
    let told = messages(in_every_mode(async |mode| {
        let farm = Farm::new(Lasting::default(), Death::Never);
        let run = run_of(&plugin("fixture-step"), script.clone(), Vec::new(), mode);
        farm.run(run, no_stop()).await.unwrap().unwrap()
    }));
    // Once in each mode.
    for told in told.chunks(4) {
        assert_eq!(told, ["one", "two", "three", "four"]);
    }
}

#[test]
fn a_message_says_for_whom_its_plugin_was_called() {
    let (caller, _): (Caller, _) = caller(Default::default());
    let (scheduler, config) = (plugin("fixture-scheduler"), json!({ "do": "panic" }));
    let messages = told(scheduler.handle(&caller, &config, &[], Timestamp(0), SchedulerEvent::Started));
    let [(message, fields)] = &messages[..] else {
        panic!("{messages:?}")
    };
    assert!(message.contains("told to"), "{message}");
    assert_eq!(
        fields.join(" "),
        r#"plugin="fixture-scheduler" kind="scheduler" owner="tell""#
    );
    let script = json!([{ "op": "panic", "text": "too bad" }]);
    let messages = told(async {
        let farm = Farm::new(Lasting::default(), Death::Never);
        let run = run_of(&plugin("fixture-step"), script, Vec::new(), WaitMode::Warm);
        farm.run(run, no_stop()).await.unwrap().unwrap()
    });
    let [(message, fields)] = &messages[..] else {
        panic!("{messages:?}")
    };
    assert!(message.contains("too bad"), "{message}");
    assert_eq!(
        fields.join(" "),
        r#"plugin="fixture-step" kind="step" owner="compile" builder="hello" step=9"#
    );
}
