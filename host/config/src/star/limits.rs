//! Bounds on an evaluation: work, memory, depth. A slip in a configuration must end with an error at its line; for
//! programs of strangers a process with limits of its own is needed as well, since Starlark's bounds are best effort.

use std::num::NonZeroI32;
use std::time::Duration;

use starlark::codemap::FileSpanRef;
use starlark::environment::Module;
use starlark::eval::{Arguments, BeforeStmtFunc, BeforeStmtFuncDyn, Evaluator};
use starlark::values::list::ListRef;
use starlark::values::range::Range;
use starlark::values::tuple::TupleRef;
use starlark::values::{UnpackValue, Value};

use super::collector::{Collector, failure};
use super::functions::CallLimits;

/// What an evaluation may take.
pub(super) const EVALUATION: CallLimits = CallLimits {
    ticks: TICKS,
    time: DEADLINE,
    heap: HEAP_BYTES,
    answer: PLAN_BYTES,
};

/// What the pipeline of a repository may take: a tenth of a configuration's work. The process that it runs in has limits of its own.
pub(super) const PIPELINE: CallLimits = CallLimits {
    ticks: TICKS / 10,
    time: Duration::from_secs(10),
    heap: 64 << 20,
    answer: 4 << 20,
};

/// Calls and rounds of loops. A configuration of 1,000 builders with 7 steps takes some 20,000. A count and not a time
/// decides, so that the same bundle never fails on a busier day.
const TICKS: u64 = 10_000_000;

/// The last resort for work that does not count as ticks.
const DEADLINE: Duration = Duration::from_secs(30);

/// Starlark's heap.
const HEAP_BYTES: usize = 256 << 20;

/// The values of the plan; a list that holds one list many times is written out in JSON.
const PLAN_BYTES: usize = 64 << 20;

/// Calls within calls.
pub(super) const CALL_DEPTH: usize = 200;

/// How deep an expression may be; parser and compiler recurse over it.
pub(super) const EXPRESSION_DEPTH: usize = 5_000;

/// Lists within lists of a value, files that load files.
pub(super) const NESTING: usize = 100;

/// Enough for [`EXPRESSION_DEPTH`] and [`CALL_DEPTH`] many times over; only touched pages take memory.
pub(super) const STACK_BYTES: usize = 256 << 20;

/// The largest list or text that `*` makes, and the longest `range`.
const MAX_LENGTH: usize = 10_000_000;

/// An evaluator with every bound set.
pub(super) fn bounded<'v, 'a, 'e: 'a>(
    module: &'a Module<'v>,
    collector: &'a Collector,
) -> starlark::Result<Evaluator<'v, 'a, 'e>> {
    let mut eval = Evaluator::new(module);
    eval.set_max_tick_count(
        collector
            .limits
            .ticks
            .saturating_sub(collector.ticks.get())
            .max(1),
    )?;
    eval.set_max_heap_size(collector.limits.heap)?;
    eval.set_max_callstack_size(CALL_DEPTH)?;
    let deadline = collector.deadline;
    eval.set_check_cancelled(Box::new(move || std::time::Instant::now() > deadline));
    // Starlark looks at its heap only every 1,000 ticks; `x = x + x` needs 40 rounds to fill any memory. And its own
    // errors for limits do not say where they were reached.
    eval.before_stmt_for_dap(BeforeStmtFunc::from_dyn(Box::new(EachStatement)));
    Ok(eval)
}

struct EachStatement;

/// How Starlark's own error for a full heap begins; ours reads the same.
pub(super) const HEAP_EXCEEDED: &str = "Heap memory limit";

impl<'e> BeforeStmtFuncDyn<'e> for EachStatement {
    fn call<'v>(
        &mut self,
        span: FileSpanRef<'_>,
        _continued: bool,
        eval: &mut Evaluator<'v, '_, 'e>,
    ) -> starlark::Result<()> {
        let collector = Collector::of(eval)?;
        collector.statement.replace(Some(span.to_file_span()));
        let bytes = eval.heap().allocated_bytes() + eval.frozen_heap().allocated_bytes();
        if bytes > collector.limits.heap {
            Err(failure(HEAP_EXCEEDED))
        } else {
            Ok(())
        }
    }
}

/// `a * b`, if the result is not too long.
pub(super) fn multiply<'v>(
    args: &Arguments<'v, '_>,
    eval: &mut Evaluator<'v, '_, '_>,
) -> starlark::Result<Value<'v>> {
    let heap = eval.heap();
    let [left, right] = positional(args, eval)?;
    let length = |value: Value<'v>| {
        let text = value.unpack_str().map(str::len);
        let list = || ListRef::from_value(value).map(|list| list.len());
        text.or_else(list)
            .or_else(|| TupleRef::from_value(value).map(|tuple| tuple.len()))
    };
    let times = |value| {
        i64::unpack_value(value)
            .ok()
            .flatten()
            .map(|n| usize::try_from(n).unwrap_or(0))
    };
    let huge = |value: Value<'v>| value.get_type() == "int" && value.unpack_i32().is_none();
    for (sequence, count) in [(left, right), (right, left)] {
        let Some(length) = length(sequence).filter(|&length| length > 0) else {
            continue;
        };
        let result = times(count).map(|count| count.saturating_mul(length));
        if result.is_some_and(|result| result > MAX_LENGTH) || result.is_none() && huge(count) {
            return Err(failure(format!(
                "expected a result of at most {MAX_LENGTH} elements, found a longer one"
            )));
        }
    }
    left.mul(right, heap)
}

/// `range(stop)`, `range(start, stop, step=1)`, if it is not too long.
pub(super) fn range<'v>(
    args: &Arguments<'v, '_>,
    eval: &mut Evaluator<'v, '_, '_>,
) -> starlark::Result<Value<'v>> {
    args.no_named_args()?;
    let values: Vec<_> = args.positions(eval.heap())?.collect();
    let number = |value: &Value<'v>| {
        value.unpack_i32().ok_or_else(|| {
            failure(format!(
                "expected whole numbers below 2147483648, found {}",
                value.to_string_for_type_error()
            ))
        })
    };
    let numbers = values.iter().map(number).collect::<Result<Vec<_>, _>>()?;
    let (start, stop, step) = match numbers.as_slice() {
        [stop] => (0, *stop, 1),
        [start, stop] => (*start, *stop, 1),
        [start, stop, step] => (*start, *stop, *step),
        other => return Err(failure(format!("expected 1 to 3 numbers, found {}", other.len()))),
    };
    let step = NonZeroI32::new(step).ok_or_else(|| failure("expected a step other than 0, found 0"))?;
    let distance = if step.get() > 0 {
        i64::from(stop) - i64::from(start)
    } else {
        i64::from(start) - i64::from(stop)
    };
    let length = distance
        .max(0)
        .unsigned_abs()
        .div_ceil(u64::from(step.unsigned_abs().get()));
    if length > MAX_LENGTH as u64 {
        return Err(failure(format!(
            "expected a range of at most {MAX_LENGTH} numbers, found {length}"
        )));
    }
    Ok(eval.heap().alloc(Range::new(start, stop, step)))
}

fn positional<'v>(
    args: &Arguments<'v, '_>,
    eval: &Evaluator<'v, '_, '_>,
) -> starlark::Result<[Value<'v>; 2]> {
    let values: Vec<_> = args.positions(eval.heap())?.collect();
    <[Value<'v>; 2]>::try_from(values)
        .map_err(|values| failure(format!("expected 2 operands, found {}", values.len())))
}
