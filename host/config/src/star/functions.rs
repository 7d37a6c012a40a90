//! Functions that outlive their evaluation: kept by number while a configuration is evaluated, called later by the master
//! within bounds of their own. A call reads nothing but its arguments.

use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use capstan_model::plan::{Bundle, FunctionRef, Location};
use serde_json::{Map, Value as Json};
use starlark::environment::{FrozenModule, Module};
use starlark::values::structs::AllocStruct;
use starlark::values::{Heap, OwnedFrozenValue, Value};

use super::collector::Collector;
use super::convert::{Keeper, Unfit, to_json};
use super::site::location;
use super::{faults, limits, read};
use crate::farm::Farm;
use crate::plugins::Catalogue;

/// The most functions that a configuration keeps.
pub(super) const MAX_FUNCTIONS: usize = 10_000;

/// How many of the last functions are looked at before one is taken for new; 1,000 builders that share a function keep it once.
const LOOK_BACK: usize = 64;

/// The stack of a call; only touched pages take memory.
const CALL_STACK: usize = 64 << 20;

/// What one call may take. The master's own calls use the default.
#[derive(Clone, Copy, Debug)]
pub struct CallLimits {
    /// Calls and rounds of loops.
    pub ticks: u64,
    /// Time, for work that does not count as ticks.
    pub time: Duration,
    /// Bytes of values.
    pub heap: usize,
    /// Bytes of the answer, about.
    pub answer: usize,
}

impl Default for CallLimits {
    fn default() -> Self {
        Self {
            ticks: 1_000_000,
            time: Duration::from_secs(5),
            heap: 64 << 20,
            answer: 4 << 20,
        }
    }
}

/// Why a function has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct FunctionError {
    /// The function's name.
    pub function: String,
    /// What went wrong, as a fragment.
    pub message: String,
    /// Where it went wrong first, then each call that led there.
    pub trace: Vec<Location>,
}

impl fmt::Display for FunctionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the function `{}` failed", self.function)?;
        for (i, place) in self.trace.iter().enumerate() {
            write!(f, "{}{place}", if i == 0 { " at " } else { ", called from " })?;
        }
        write!(f, ": {}", self.message)
    }
}

/// The functions of one evaluation. Cheap to clone.
#[derive(Clone, Default)]
pub struct Functions(Arc<Vec<Kept>>);

struct Kept {
    about: FunctionRef,
    value: OwnedFrozenValue,
}

impl fmt::Debug for Functions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|kept| &kept.about))
            .finish()
    }
}

impl Functions {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Calls the function of that number and answers what it returns. An argument that is an object is a struct to the function
    /// (`build.properties`); objects within it are dicts. Blocks its thread for at most about `limits.time`: call it where
    /// that is allowed.
    pub fn call(&self, number: u32, args: Vec<Json>, limits: CallLimits) -> Result<Json, FunctionError> {
        let Some(kept) = self.0.get(number as usize) else {
            return Err(FunctionError {
                function: format!("#{number}"),
                message: format!("expected one of {} functions of the configuration", self.0.len()),
                trace: Vec::new(),
            });
        };
        let failed = |message: &str| FunctionError {
            function: kept.about.name.clone(),
            message: message.to_owned(),
            trace: vec![kept.about.location.clone()],
        };
        // A stack of its own: functions may call each other as deep as when the configuration is loaded.
        thread::scope(|scope| {
            let call = thread::Builder::new()
                .name("function".to_owned())
                .stack_size(CALL_STACK)
                .spawn_scoped(scope, || kept.call(&args, limits))
                .map_err(|error| failed(&format!("no thread to call it in: {error}")))?;
            call.join()
                .unwrap_or_else(|_| Err(failed("the interpreter failed; this is a fault of Capstan")))
        })
    }
}

impl Kept {
    fn call(&self, args: &[Json], limits: CallLimits) -> Result<Json, FunctionError> {
        let nothing = Farm::bundle(Bundle::default());
        let collector = Collector::for_call(nothing, Catalogue::default(), limits);
        Module::with_temp_heap(|module| {
            let answer = self.answer(&module, &collector, args);
            drop(module);
            answer
        })
    }

    fn answer<'v>(
        &self,
        module: &Module<'v>,
        collector: &Collector,
        args: &[Json],
    ) -> Result<Json, FunctionError> {
        let mut eval = limits::bounded(module, collector).map_err(|error| self.failed(&error, collector))?;
        eval.extra = Some(collector);
        let args: Vec<_> = args.iter().map(|arg| argument(module.heap(), arg)).collect();
        let function = eval.module().heap().access_owned_frozen_value(&self.value);
        let answer = eval
            .eval_function(function, &args, &[])
            .map_err(|error| self.failed(&error, collector))?;
        let keeper = Keeper {
            collector,
            module: None,
            location: Location::default(),
            only_looks: false,
        };
        to_json(answer, &keeper).map_err(|unfit| self.unfit(unfit))
    }

    fn unfit(&self, unfit: Unfit) -> FunctionError {
        let message = match unfit {
            Unfit::Broken => "expected a value as its answer, found a faulty one".to_owned(),
            Unfit::Other {
                expected,
                found,
                hint,
            } => {
                let hint = hint.map_or(String::new(), |hint| format!("; {hint}"));
                format!("expected {expected} as its answer, found {found}{hint}")
            }
        };
        FunctionError {
            function: self.about.name.clone(),
            message,
            trace: vec![self.about.location.clone()],
        }
    }

    fn failed(&self, error: &starlark::Error, collector: &Collector) -> FunctionError {
        let statement = collector.statement.borrow().clone();
        let mut message = None;
        let mut trace = Vec::new();
        let reported = collector.first_error();
        let explained = faults::explain(error, &self.about.location.file, statement, &collector.limits);
        if let Some(found) = explained.or(reported) {
            message = Some(found.text());
            // Before its first statement there is no place but that where it was given away.
            trace.push(match found.snippet {
                Some(_) => found.location,
                None => self.about.location.clone(),
            });
        }
        for frame in error.call_stack().frames.iter().rev() {
            let Some(place) = frame.location.as_ref().map(location) else {
                continue;
            };
            if trace.len() < 10 && trace.last() != Some(&place) {
                trace.push(place);
            }
        }
        FunctionError {
            function: self.about.name.clone(),
            message: message.unwrap_or_else(|| "it failed".to_owned()),
            trace,
        }
    }
}

/// An object becomes a struct, whose fields are plain values.
fn argument<'v>(heap: Heap<'v>, value: &Json) -> Value<'v> {
    let fields = |map: &Map<String, Json>| {
        let fields: Vec<_> = map
            .iter()
            .map(|(name, value)| (name.clone(), read::alloc(heap, value)))
            .collect();
        heap.alloc(AllocStruct(fields))
    };
    match value {
        Json::Object(map) => fields(map),
        plain => read::alloc(heap, plain),
    }
}

/// The functions that one evaluation has met.
#[derive(Default)]
pub(super) struct Gathered(Vec<(FunctionRef, Option<OwnedFrozenValue>)>);

impl fmt::Debug for Gathered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(about, _)| about))
            .finish()
    }
}

impl Gathered {
    /// Keeps a function beyond the file that is being run, once. `None` if there are too many.
    pub(super) fn keep<'v>(
        &mut self,
        module: &Module<'v>,
        function: Value<'v>,
        location: Location,
    ) -> Option<FunctionRef> {
        let known = self.0.iter().rev().take(LOOK_BACK);
        // Those of finished files are not in this module, and their numbers are not looked up in vain.
        let mut open = known.filter(|(_, frozen)| frozen.is_none());
        if let Some((about, _)) = open.find(|(about, _)| {
            module
                .get(&slot(about.number))
                .is_some_and(|kept| kept.ptr_eq(function))
        }) {
            return Some(about.clone());
        }
        let number = u32::try_from(self.0.len())
            .ok()
            .filter(|_| self.0.len() < MAX_FUNCTIONS)?;
        let about = FunctionRef {
            number,
            name: name(function),
            location,
        };
        module.set(&slot(number), function);
        self.0.push((about.clone(), None));
        Some(about)
    }

    /// Takes over those of a file that has been run.
    pub(super) fn take(&mut self, module: &FrozenModule) {
        for (about, value) in self.0.iter_mut().filter(|(_, value)| value.is_none()) {
            *value = module.get_option(&slot(about.number)).ok().flatten();
        }
    }

    pub(super) fn finish(self) -> Functions {
        let all = self.0.into_iter();
        let kept = all.map_while(|(about, value)| {
            let value = value?;
            Some(Kept { about, value })
        });
        Functions(Arc::new(kept.collect()))
    }
}

impl Functions {
    /// What the plan says of them.
    pub fn list(&self) -> Vec<FunctionRef> {
        self.0.iter().map(|kept| kept.about.clone()).collect()
    }
}

/// The module's variable that keeps a function; no name that a file can say.
fn slot(number: u32) -> String {
    format!("$function:{number}")
}

/// The name of a function, for people.
fn name(function: Value<'_>) -> String {
    let text = function.to_str();
    let text = text.strip_prefix("def ").unwrap_or(&text);
    let text = text.split('(').next().unwrap_or_default();
    // Starlark puts the file in front of it.
    let name = text.rsplit('.').next().unwrap_or(text);
    name.chars().take(80).collect()
}
