//! The changes: made from a fixed seed, so that every run has the same. Bursts and long pauses, several branches, projects and
//! repositories, documentation alone, and files of all kinds. One codebase: Buildbot drops the changes of those that a scheduler
//! does not name, and here a filter says so.

use serde::Serialize;

/// How many there are.
pub const CHANGES: usize = 2_400;

/// A change, as both sides get it.
#[derive(Clone, Debug, Serialize)]
pub struct Change {
    /// Seconds since the Unix epoch.
    pub at: i64,
    pub author: String,
    pub comments: String,
    pub revision: String,
    pub branch: Option<String>,
    pub category: Option<String>,
    pub files: Vec<String>,
    pub project: String,
    pub repository: String,
    pub codebase: String,
    /// Names and [value, source].
    pub properties: serde_json::Map<String, serde_json::Value>,
}

/// A small generator (xorshift64*): the stream must not change with a library.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(high).unwrap_or_default() % sides
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.roll(from.len())]
    }
}

/// Seconds between two changes: most within a quiet period of the schedulers, some far outside.
const PAUSES: [i64; 12] = [1, 3, 7, 11, 29, 31, 61, 127, 599, 1_801, 7_207, 21_613];
const BRANCHES: [Option<&str>; 8] = [
    Some("main"),
    Some("main"),
    Some("main"),
    Some("release/1"),
    Some("release/2"),
    Some("topic/a"),
    Some("topic/b"),
    None,
];
const FILES: [&str; 7] = [
    "src/a.c",
    "src/b.c",
    "tests/t.py",
    "docs/index.rst",
    "docs/guide.md",
    "README.md",
    "setup.cfg",
];
/// Project, repository, codebase.
const PLACES: [(&str, &str, &str); 4] = [
    ("core", "https://git.example.org/core.git", ""),
    ("core", "https://git.example.org/core.git", ""),
    ("tools", "https://git.example.org/tools.git", ""),
    ("core", "https://mirror.example.org/core.git", ""),
];

/// So many changes from a beginning on.
pub fn changes(count: usize, begin: i64) -> Vec<Change> {
    let mut dice = Dice(0x5EED_CAFE_F00D_0001);
    let mut at = begin + 100;
    (0..count)
        .map(|number| {
            at += dice.pick(&PAUSES);
            change(&mut dice, number, at)
        })
        .collect()
}

fn change(dice: &mut Dice, number: usize, at: i64) -> Change {
    let (project, repository, codebase) = dice.pick(&PLACES);
    let files = match dice.roll(4) {
        0 => vec!["docs/index.rst".to_owned()],
        1 => vec!["docs/guide.md".to_owned(), "docs/index.rst".to_owned()],
        _ => (0..=dice.roll(3)).map(|_| dice.pick(&FILES).to_owned()).collect(),
    };
    Change {
        at,
        author: format!("{} <dev@example.org>", dice.pick(&["Ann", "Bob", "Cem"])),
        comments: format!("change {number}"),
        revision: format!("{number:040x}"),
        branch: dice.pick(&BRANCHES).map(str::to_owned),
        category: dice
            .pick(&[None, Some("tested"), Some("urgent")])
            .map(str::to_owned),
        files,
        project: project.to_owned(),
        repository: repository.to_owned(),
        codebase: codebase.to_owned(),
        properties: serde_json::Map::new(),
    }
}
