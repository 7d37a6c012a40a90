//! `generate.NAME(…)`: a component makes builders of parameters. What it answers becomes calls of the same functions that a file
//! calls, so that it is checked in the same way. Called by `builtins`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, Sender};

use capstan_model::plan::PluginUse;
use capstan_model::plugin::Kind;
use serde_json::{Map, Value as Json};
use starlark::eval::Evaluator;
use starlark::values::list::AllocList;
use starlark::values::{Heap, Value};

use super::arguments::Call;
use super::collector::failure;
use super::site::Made;
use super::values::{Function, Handle, number};
use super::{builders, forms, uses};
use crate::diagnostic::Diagnostic;
use crate::evaluate::Problem;
use crate::nearest::{choices, did_you_mean};
use crate::plugins::identifier;

/// The longest remark that is kept, in characters.
const MAX_REMARK: usize = 500;

type Result<T> = starlark::Result<T>;

/// What a generator answered.
pub(crate) type Generated = std::result::Result<Json, Vec<Problem>>;

/// Whoever has the components and runs in another thread.
#[derive(Debug)]
pub(crate) struct Asker {
    pub(crate) asked: Sender<PluginUse>,
    pub(crate) answers: Receiver<Generated>,
}

impl Asker {
    fn ask(&self, wanted: PluginUse) -> Generated {
        let gone = || {
            vec![Problem {
                path: String::new(),
                message: "nobody can run generators here".to_owned(),
            }]
        };
        self.asked.send(wanted).map_err(|_| gone())?;
        self.answers.recv().map_err(|_| gone())?
    }
}

/// Calls the component and defines what it answers; the value is the list of the builders.
pub(super) fn generate<'v>(
    function: &str,
    mut call: Call<'v, '_>,
    eval: &mut Evaluator<'v, '_, '_>,
) -> Result<Value<'v>> {
    let broken = |eval: &mut Evaluator<'v, '_, '_>| eval.heap().alloc(AllocList([Handle::Broken]));
    if call.collector.policy.is_some() {
        return Err(failure(format!(
            "expected steps alone in a pipeline, found `{}`, which defines builders",
            call.function
        )));
    }
    let Some((plugin, schema)) = uses::known(Kind::Generator, function, &mut call)? else {
        return Ok(broken(eval));
    };
    let wanted = uses::parameters(Kind::Generator, plugin, schema, &mut call)?;
    if call.faulty {
        return Ok(broken(eval));
    }
    let answer = match call.collector.asker.borrow().as_ref() {
        Some(asker) => asker.ask(wanted.clone()),
        None => {
            return Err(failure(
                "expected generators where a configuration is loaded, found a call elsewhere",
            ));
        }
    };
    call.collector.definitions.borrow_mut().generators.push(wanted);
    match answer {
        Err(problems) => {
            for problem in &problems {
                refused(&mut call, problem)?;
            }
            Ok(broken(eval))
        }
        Ok(answer) => {
            let heap = eval.heap();
            let handles = Output { call, heap }.define(answer)?;
            Ok(heap.alloc(AllocList(handles)))
        }
    }
}

fn refused(call: &mut Call<'_, '_>, problem: &Problem) -> Result<()> {
    let function = call.function.clone();
    let fault = match problem.path.split(['.', '[']).next().unwrap_or_default() {
        "" => call.site.error(format!("{function}: {}", problem.message)),
        argument => call.site.error_at(
            argument,
            format!("{function}: `{}`: {}", problem.path, problem.message),
        ),
    };
    call.report(fault.code("refused-by-plugin"))
}

/// What a generator answered, being defined.
struct Output<'v, 'c> {
    /// The call of the generator.
    call: Call<'v, 'c>,
    heap: Heap<'v>,
}

impl<'v, 'c> Output<'v, 'c> {
    fn define(mut self, answer: Json) -> Result<Vec<Handle>> {
        let Some(mut top) = self.object("", answer)? else {
            return Ok(vec![Handle::Broken]);
        };
        let builders = self.list("builders", top.remove("builders"))?;
        let schedulers = self.list("schedulers", top.remove("schedulers"))?;
        let remarks = self.list("remarks", top.remove("remarks"))?;
        self.nothing_else("", &top, &["builders", "schedulers", "remarks"])?;
        let mut defined = Vec::new();
        for (place, builder) in builders.into_iter().enumerate() {
            defined.push(self.builder(&format!("builders[{place}]"), builder)?);
        }
        for (place, scheduler) in schedulers.into_iter().enumerate() {
            self.used(Kind::Scheduler, &format!("schedulers[{place}]"), scheduler)?;
        }
        for (place, remark) in remarks.into_iter().enumerate() {
            match remark {
                Json::String(text) => {
                    let text: String = text.chars().take(MAX_REMARK).collect();
                    let remark = self.call.site.warning(format!("{}: {text}", self.call.function));
                    self.call.collector.report(remark.code("generator"))?;
                }
                other => self.wrong(&format!("remarks[{place}]"), "a string", &other)?,
            }
        }
        // A list without any would be a fault of its own wherever it is used.
        if defined.is_empty() && self.call.faulty {
            defined.push(Handle::Broken);
        }
        Ok(defined)
    }

    fn builder(&mut self, path: &str, builder: Json) -> Result<Handle> {
        let Some(mut builder) = self.object(path, builder)? else {
            return Ok(Handle::Broken);
        };
        let steps = self.list(&format!("{path}.steps"), builder.remove("steps"))?;
        let mut handles = Vec::new();
        for (place, step) in steps.into_iter().enumerate() {
            handles.push(self.used(Kind::Step, &format!("{path}.steps[{place}]"), step)?);
        }
        let mut call = self.made("builder".to_owned(), path, builder, BTreeSet::new())?;
        call.named
            .insert("steps".to_owned(), self.heap.alloc(AllocList(handles)));
        builders::builder(call)
    }

    /// A step or a scheduler: `{"use": "shell", "name": …, "parameters": {…}, …}`.
    fn used(&mut self, kind: Kind, path: &str, object: Json) -> Result<Handle> {
        let Some(mut options) = self.object(path, object)? else {
            return Ok(Handle::Broken);
        };
        let plugin = match options.remove("use") {
            Some(Json::String(plugin)) => identifier(&plugin),
            other => {
                let expected = format!("the name of a {kind} plugin");
                self.wrong(&format!("{path}.use"), &expected, &other.unwrap_or_default())?;
                return Ok(Handle::Broken);
            }
        };
        let inside = format!("{path}.parameters");
        let Some(parameters) = self.object(
            &inside,
            options.remove("parameters").unwrap_or_else(|| Map::new().into()),
        )?
        else {
            return Ok(Handle::Broken);
        };
        let names: BTreeSet<String> = parameters.keys().cloned().collect();
        if let Some(name) = self.astray(kind, &plugin, &options, &names) {
            let fault = self.at(&format!("{path}.{name}"));
            let fault = fault.expected("each parameter of the plugin once, within `parameters`");
            self.call.report(fault.found(format!("`{name}` beside them")))?;
            return Ok(Handle::Broken);
        }
        options.extend(parameters);
        let function = Function::Plugin {
            kind: number(kind),
            name: plugin.clone(),
        };
        let call = self.made(function.to_string(), path, options, names)?;
        uses::plugin(kind, &plugin, call)
    }

    /// A name beside `parameters` that belongs into them.
    fn astray(
        &self,
        kind: Kind,
        plugin: &str,
        options: &Map<String, Json>,
        parameters: &BTreeSet<String>,
    ) -> Option<String> {
        let known = self.call.collector.catalogue.get(kind, plugin);
        let schema = known.and_then(|plugin| plugin.schema.as_ref().ok());
        let declares = |name: &str| schema.is_some_and(|schema| schema.declares(name));
        options
            .keys()
            .find(|name| parameters.contains(*name) || declares(name))
            .cloned()
    }

    /// A call of one of our functions, as the generator's answer has it.
    fn made(
        &mut self,
        function: String,
        path: &str,
        arguments: Map<String, Json>,
        parameters: BTreeSet<String>,
    ) -> Result<Call<'v, 'c>> {
        let site = self.call.site.made(Made {
            generator: self.call.function.clone(),
            path: path.to_owned(),
            parameters,
        });
        let mut made = self.call.another(function, site);
        let mut named = BTreeMap::new();
        for (name, value) in arguments {
            let value = forms::value(value, &name, &mut made, self.heap)?;
            named.insert(name, value);
        }
        made.named = named;
        Ok(made)
    }

    fn object(&mut self, path: &str, value: Json) -> Result<Option<Map<String, Json>>> {
        match value {
            Json::Object(object) => Ok(Some(object)),
            other => {
                self.wrong(path, "an object", &other)?;
                Ok(None)
            }
        }
    }

    fn list(&mut self, path: &str, value: Option<Json>) -> Result<Vec<Json>> {
        match value {
            None => Ok(Vec::new()),
            Some(Json::Array(items)) => Ok(items),
            Some(other) => {
                self.wrong(path, "a list", &other)?;
                Ok(Vec::new())
            }
        }
    }

    fn nothing_else(&mut self, path: &str, left: &Map<String, Json>, known: &[&str]) -> Result<()> {
        for name in left.keys() {
            let fault = self.at(path).expected(choices(known.iter().copied()));
            let fault = fault.found(format!("`{name}`"));
            self.call
                .report(fault.maybe_hint(did_you_mean(name, known.iter().copied())))?;
        }
        Ok(())
    }

    fn wrong(&mut self, path: &str, expected: &str, found: &Json) -> Result<()> {
        let fault = self.at(path).expected(expected).found(described(found));
        self.call.report(fault)
    }

    /// A fault of the answer itself.
    fn at(&self, path: &str) -> Diagnostic {
        let made = Made {
            generator: self.call.function.clone(),
            path: path.to_owned(),
            parameters: BTreeSet::new(),
        };
        self.call.site.made(made).error("the generator's answer")
    }
}

fn described(value: &Json) -> String {
    match value {
        Json::Null => "nothing".to_owned(),
        Json::Array(_) => "a list".to_owned(),
        Json::Object(_) => "an object".to_owned(),
        other => other.to_string().chars().take(80).collect(),
    }
}
