//! Configurations with many builders or workers, made by a loop as real ones are. For the rows about size.

/// A `ci.star` with `count` builders of 7 steps each, on ten workers.
pub fn many(count: usize) -> String {
    format!(
        r#"workers = [worker("w%d" % n, slots = 4) for n in range(10)]

def part(builder, n):
    return step.shell(name = "part-%d" % n, command = ["make", "-C", "parts/%d" % builder, "part-%d" % n])

for b in range({count}):
    builder("builder-%d" % b, workers = workers, steps = [part(b, n) for n in range(7)])
"#
    )
}

/// A `ci.star` with one builder on `count` workers named `w0`, `w1` …
pub fn on_workers(count: usize) -> String {
    format!(
        r#"builder(
    "hello",
    collapse = False,
    workers = [worker("w%d" % n, slots = 1) for n in range({count})],
    steps = [step.shell(command = ["true"])],
)
"#
    )
}

/// A `ci.star` with `side` builders named `b0`, `b1` … on as many workers `w0`, `w1` …, each with room for one build of
/// every builder: more of one builder do not run on a worker at a time.
pub fn square(side: usize) -> String {
    format!(
        r#"workers = [worker("w%d" % n, slots = {side}) for n in range({side})]

for b in range({side}):
    builder("b%d" % b, collapse = False, workers = workers, steps = [step.shell(command = ["true"])])
"#
    )
}
