//! The arguments of builders about the order in which their requests are served and where, and `queue(…)`, which says so for the
//! whole farm.

use capstan_model::plan::Queueing;

use super::arguments::Call;
use super::builtins::define;
use super::values::Handle;

type Result<T> = starlark::Result<T>;

/// Whether requests of a builder become one build, and the rest of what it says of them.
pub(super) fn of(call: &mut Call<'_, '_>) -> Result<(bool, Queueing)> {
    let (collapses, collapse) = if call.is_function("collapse") {
        (true, call.function("collapse", 2)?)
    } else {
        (call.flag("collapse", true)?, None)
    };
    let queueing = Queueing {
        priority: call.integer("priority")?.unwrap_or(0),
        collapse,
        next_worker: call.function("next_worker", 2)?,
        may_start: call.function("may_start", 3)?,
        time_zone: time_zone(call)?,
    };
    Ok((collapses, queueing))
}

fn time_zone(call: &mut Call<'_, '_>) -> Result<String> {
    let Some(zone) = call.text("time_zone")? else {
        return Ok(String::new());
    };
    if jiff::tz::TimeZone::get(&zone).is_err() {
        let fault = call
            .site
            .error_at("time_zone", format!("{}: `time_zone`", call.function));
        call.report(
            fault
                .expected("a time zone such as \"Europe/Berlin\"")
                .found(format!("`{zone}`")),
        )?;
    }
    Ok(zone)
}

/// `queue(order = by_release)`: which builders are served first.
pub(super) fn queue(mut call: Call<'_, '_>) -> Result<Handle> {
    let order = call.function("order", 1)?;
    call.only(&[])?;
    if order.is_none() && !call.faulty {
        let fault = call.site.error_at("order", "queue");
        call.report(fault.expected("`order` = a function").found("nothing"))?;
    }
    // There is one queue: a second definition is a fault.
    if define(&mut call, "queue", "queue")? && !call.faulty {
        call.collector.definitions.borrow_mut().order = order;
    }
    Ok(Handle::Other(call.function))
}
