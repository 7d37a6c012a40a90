//! Good plugins with damage: whatever the bytes are, loading them ends with a plugin or a reason.

use capstan_engine::Engine;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};

use crate::engine;

/// Mutated files that are loaded; each that gets past the first look is compiled.
const CASES: u32 = 1600;

/// One kind of damage.
#[derive(Clone, Debug)]
enum Damage {
    /// A bit is turned.
    Bit(usize),
    /// A byte is another.
    Byte(usize, u8),
    /// Everything from here on is missing.
    Cut(usize),
    /// These bytes are put in.
    Insert(usize, Vec<u8>),
    /// So many bytes from the first place on stand at the second, too.
    Splice(usize, usize, usize),
    /// So many bytes are taken out.
    Remove(usize, usize),
}

fn damage(length: usize) -> impl Strategy<Value = Damage> {
    let place = 0..length;
    prop_oneof![
        4 => (0..length * 8).prop_map(Damage::Bit),
        4 => (place.clone(), any::<u8>()).prop_map(|(at, byte)| Damage::Byte(at, byte)),
        1 => place.clone().prop_map(Damage::Cut),
        2 => (place.clone(), prop::collection::vec(any::<u8>(), 1..16)).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        2 => (place.clone(), place.clone(), 1..64_usize).prop_map(|(from, to, count)| Damage::Splice(from, to, count)),
        2 => (place, 1..64_usize).prop_map(|(at, count)| Damage::Remove(at, count)),
    ]
}

fn apply(bytes: &mut Vec<u8>, damage: &Damage) {
    let end = |at: usize, count: usize| (at + count).min(bytes.len());
    match *damage {
        Damage::Bit(at) => bytes[at / 8] ^= 1 << (at % 8),
        Damage::Byte(at, byte) => bytes[at] = byte,
        Damage::Cut(at) => bytes.truncate(at),
        Damage::Insert(at, ref new) => drop(bytes.splice(at..at, new.iter().copied())),
        Damage::Splice(from, to, count) => {
            let copied = bytes[from..end(from, count)].to_vec();
            bytes.splice(to..to, copied);
        }
        Damage::Remove(at, count) => drop(bytes.drain(at..end(at, count))),
    }
}

#[test]
fn a_damaged_plugin_is_loaded_or_refused() {
    let engine = engine();
    let guests = capstan_hostile::healthy().unwrap();
    let mut runner = runner(CASES);
    let mut refused = 0;
    for guest in &guests {
        let strategy = damage(guest.bytes.len());
        for _ in 0..CASES / 4 {
            let mut bytes = guest.bytes.clone();
            apply(&mut bytes, &strategy.new_tree(&mut runner).unwrap().current());
            refused += u32::from(loads(&engine, &bytes).is_err());
        }
    }
    assert!(
        refused > CASES / 4,
        "only {refused} of {CASES} damaged plugins were refused: is anything damaged?"
    );
}

/// What has a manifest but arbitrary sections before it.
#[test]
fn arbitrary_sections_are_loaded_or_refused() {
    let engine = engine();
    let mut runner = runner(CASES);
    let sections = prop::collection::vec((0..16_u8, prop::collection::vec(any::<u8>(), 0..40)), 0..6);
    for _ in 0..CASES {
        let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
        for (id, content) in sections.new_tree(&mut runner).unwrap().current() {
            bytes.extend([id, u8::try_from(content.len()).unwrap()]);
            bytes.extend(content);
        }
        loads(&engine, &bytes).expect_err("no arbitrary bytes are a plugin");
    }
}

#[test]
fn an_arbitrary_manifest_is_read_or_refused() {
    let engine = engine();
    let mut runner = runner(CASES);
    let good = capstan_hostile::healthy().unwrap().remove(0);
    // The manifest is the last section: its text runs to the end of the file.
    let found = good.bytes.windows(2).position(|pair| pair == b"{\"").unwrap();
    let start = good.bytes[..found]
        .windows(16)
        .rposition(|name| name == b"capstan:manifest")
        .unwrap()
        + 16;
    let text = String::from_utf8(good.bytes[start..].to_vec()).unwrap();
    for _ in 0..CASES {
        let mut manifest = text.clone().into_bytes();
        // Bytes for bytes, so that the section keeps its length.
        for at in prop::collection::vec(0..manifest.len(), 1..4)
            .new_tree(&mut runner)
            .unwrap()
            .current()
        {
            manifest[at] = any::<u8>().new_tree(&mut runner).unwrap().current();
        }
        let mut bytes = good.bytes[..start].to_vec();
        bytes.extend(manifest);
        if let Err(reason) = loads(&engine, &bytes) {
            assert!(reason.len() < 4096, "a reason of {} bytes", reason.len());
        }
    }
}

fn runner(cases: u32) -> TestRunner {
    TestRunner::new_with_rng(
        Config::with_cases(cases),
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    )
}

/// Loads it; a reason has to fit a line of a page.
fn loads(engine: &Engine, bytes: &[u8]) -> Result<(), String> {
    engine.load(bytes).map(drop).map_err(|error| error.to_string())
}
