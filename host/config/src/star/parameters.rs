//! Whether a function can be called as it will be: what nobody could call is refused where the configuration gives it away, not
//! when a build needs it.

use starlark::docs::{DocFunction, DocItem, DocMember};
use starlark::values::Value;

/// `a function of 2 arguments`.
pub(super) fn of(arguments: usize) -> String {
    match arguments {
        1 => "a function of one argument".to_owned(),
        many => format!("a function of {many} arguments"),
    }
}

/// What a function takes, if it cannot be called with so many arguments by their places.
pub(super) fn unlike(function: Value<'_>, arguments: usize) -> Option<String> {
    let DocItem::Member(DocMember::Function(about)) = function.documentation() else {
        return None;
    };
    let params = &about.params;
    let places = || params.pos_only.iter().chain(&params.pos_or_named);
    let least = places().filter(|param| param.default_value.is_none()).count();
    let most = params.args.as_ref().map_or(places().count(), |_| usize::MAX);
    let by_name = params
        .named_only
        .iter()
        .find(|param| param.default_value.is_none());
    match by_name {
        Some(param) => Some(format!("one that needs `{}` by its name", param.name)),
        None if (least..=most).contains(&arguments) => None,
        None => Some(format!("one of {}", taken(&about, least))),
    }
}

/// `none`, `3 (build, worker, clock)`.
fn taken(about: &DocFunction, least: usize) -> String {
    let places = about.params.pos_only.iter().chain(&about.params.pos_or_named);
    let names: Vec<&str> = places.map(|param| param.name.as_str()).collect();
    match names.len() {
        0 => "none".to_owned(),
        most if most == least => format!("{most} ({})", names.join(", ")),
        most => format!("{least} to {most} ({})", names.join(", ")),
    }
}
