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
    workers = [worker("w%d" % n, slots = 1) for n in range({count})],
    steps = [step.shell(command = ["true"])],
)
"#
    )
}
