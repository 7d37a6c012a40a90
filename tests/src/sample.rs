//! The project that the demo and the tests of the whole chain build: numbers as Roman numerals, in shell, with a test
//! that takes about a second; and the configuration that builds it.

/// One commit of the sample's history.
#[derive(Clone, Copy, Debug)]
pub struct Commit {
    /// The commit message.
    pub message: &'static str,
    /// `roman.sh` as of this commit.
    pub program: &'static str,
    /// How its build has to end.
    pub outcome: &'static str,
}

/// The history: it works, somebody breaks it, somebody mends it.
pub const HISTORY: [Commit; 3] = [
    Commit {
        message: "Roman numerals",
        program: PROGRAM,
        outcome: "success",
    },
    Commit {
        message: "Drop the pairs, they only repeat the digits",
        program: BROKEN,
        outcome: "failure",
    },
    Commit {
        message: "Put the pairs back, four is not IIII",
        program: MENDED,
        outcome: "success",
    },
];

impl Commit {
    /// Every file of the project as of this commit.
    pub fn files(&self) -> [(&'static str, &'static str); 3] {
        [
            ("roman.sh", self.program),
            ("test.sh", TEST),
            ("cases.txt", CASES),
        ]
    }
}

/// The steps of the sample's build after the checkout, for a `ci.star`.
pub const STEPS: &str = r#"
        step.shell(name = "syntax", command = ["sh", "-n", "roman.sh"]),
        step.shell(name = "test", command = ["sh", "./test.sh"]),
"#;

/// A `ci.star` that builds `repository` on `workers` with `steps` after the checkout, and reports to a file.
pub fn configuration(repository: &str, workers: &[&str], steps: &str) -> String {
    let define: String = workers
        .iter()
        .map(|name| format!("worker({name:?}, slots = 2)\n"))
        .collect();
    format!(
        r#"REPOSITORY = {repository:?}

{define}
source.git_poller(name = "roman", repository = REPOSITORY, interval = 1, announce_existing = True)

roman = builder(
    "roman",
    workers = {workers:?},
    steps = [
        step.git(repository = REPOSITORY),
{steps}
    ],
)

schedule.any_branch(name = "each-push", builders = [roman], tree_stable_timer = 0.5)
notify.report_file(path = "reports/builds.jsonl")
"#
    )
}

/// A `ci.star` with one builder, `hello`, on the worker `w1`, that only runs when it is asked to.
pub fn hello(steps: &str) -> String {
    format!("hello = builder(\"hello\", workers = [worker(\"w1\", slots = 2)], steps = [\n{steps}\n])\n")
}

const PROGRAM: &str = r#"#!/bin/sh
# Prints a number from 1 to 3999 as a Roman numeral.
number=$1
numeral=
for pair in 1000:M 900:CM 500:D 400:CD 100:C 90:XC 50:L 40:XL 10:X 9:IX 5:V 4:IV 1:I; do
    while [ "$number" -ge "${pair%%:*}" ]; do
        numeral=$numeral${pair#*:}
        number=$((number - ${pair%%:*}))
    done
done
echo "$numeral"
"#;

const BROKEN: &str = r#"#!/bin/sh
# Prints a number from 1 to 3999 as a Roman numeral.
number=$1
numeral=
for pair in 1000:M 500:D 100:C 50:L 10:X 5:V 1:I; do
    while [ "$number" -ge "${pair%%:*}" ]; do
        numeral=$numeral${pair#*:}
        number=$((number - ${pair%%:*}))
    done
done
echo "$numeral"
"#;

const MENDED: &str = r#"#!/bin/sh
# Prints a number from 1 to 3999 as a Roman numeral. Smaller before larger is subtracted: 4 is IV.
number=$1
numeral=
for pair in 1000:M 900:CM 500:D 400:CD 100:C 90:XC 50:L 40:XL 10:X 9:IX 5:V 4:IV 1:I; do
    while [ "$number" -ge "${pair%%:*}" ]; do
        numeral=$numeral${pair#*:}
        number=$((number - ${pair%%:*}))
    done
done
echo "$numeral"
"#;

/// Slow enough to be watched, and to be interrupted at every place.
const TEST: &str = r#"#!/bin/sh
# Compares roman.sh with every line of cases.txt.
failed=0
while read -r number expected; do
    found=$(sh ./roman.sh "$number")
    if [ "$found" = "$expected" ]; then
        echo "ok      $number is $found"
    else
        echo "not ok  $number is $found, expected $expected" >&2
        failed=$((failed + 1))
    fi
    sleep 0.05
done < cases.txt
echo "$failed failed"
[ "$failed" -eq 0 ]
"#;

const CASES: &str = "1 I\n2 II\n3 III\n4 IV\n5 V\n9 IX\n14 XIV\n40 XL\n90 XC\n400 CD\n1969 MCMLXIX\n2024 MMXXIV\n3999 MMMCMXCIX\n";
