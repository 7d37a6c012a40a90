//! Runs the files of one configuration: each once, in the order in which `load` asks for them.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use capstan_model::plan::Location;
use starlark::environment::{FrozenModule, Globals, Module};
use starlark::eval::FileLoader;
use starlark::syntax::{AstModule, Dialect};

use super::builtins::{self, MULTIPLY};
use super::collector::{Collector, failure, reported};
use super::{faults, limits, scan};
use crate::diagnostic::Diagnostic;
use crate::farm::{self, Sort, resolve};

/// Bytes of stack that [`Session::run`] may use.
pub(crate) const STACK_BYTES: usize = limits::STACK_BYTES;

/// One run. It stays in its thread; the collector outlives it.
pub(crate) struct Session<'a> {
    collector: &'a Collector,
    globals: Globals,
    finished: RefCell<BTreeMap<String, FrozenModule>>,
    /// The files that are being run, each loaded by the one before it.
    running: RefCell<Vec<String>>,
}

impl<'a> Session<'a> {
    pub(crate) fn new(collector: &'a Collector) -> Self {
        let globals = builtins::globals(&collector.catalogue);
        Self {
            collector,
            globals,
            finished: RefCell::default(),
            running: RefCell::default(),
        }
    }

    /// Runs the file that everything starts with.
    pub(crate) fn run(&self, entry: &str) {
        let outcome = match resolve("", &format!("//{entry}")) {
            Ok(path) => match self.text(&path) {
                Ok(text) => self.module(&path, text).map(drop),
                Err(error) => Err(error),
            },
            Err(error) => Err(failure(error.to_string())),
        };
        if let Err(error) = outcome {
            self.fault(&error, entry);
        }
    }

    fn fault(&self, error: &starlark::Error, file: &str) {
        self.collector.halted.set(true);
        let statement = self.collector.statement.borrow().clone();
        if let Some(diagnostic) = faults::explain(error, file, statement, &self.collector.limits) {
            // A full list is no reason to lose the flag above.
            let _ = self.collector.report(diagnostic);
        }
    }

    fn text(&self, path: &str) -> starlark::Result<String> {
        let text = self.collector.reader.borrow_mut().text(path, Sort::Program);
        text.or_else(|error| match error {
            farm::Error::NotText { path, line } => self.in_line(&path, line, |fault| {
                fault.expected("UTF-8 text").found("another byte")
            }),
            other => Err(failure(other.to_string())),
        })
    }

    /// Reports a fault of a line that is not parsed yet.
    fn in_line<T>(
        &self,
        path: &str,
        line: usize,
        tell: impl Fn(Diagnostic) -> Diagnostic,
    ) -> starlark::Result<T> {
        let line = u32::try_from(line).unwrap_or(u32::MAX);
        self.collector.report(tell(Diagnostic::error(
            Location {
                file: path.to_owned(),
                line,
                column: 1,
            },
            "",
        )))?;
        Err(reported())
    }

    fn module(&self, path: &str, text: String) -> starlark::Result<FrozenModule> {
        if let Some(line) = scan::too_deep(&text, limits::EXPRESSION_DEPTH) {
            let limit = limits::EXPRESSION_DEPTH;
            return self.in_line(path, line, |fault| {
                let fault = fault.expected(format!(
                    "expressions of at most {limit} operators, brackets and words"
                ));
                fault.found("a longer one").hint("give its parts names")
            });
        }
        let dialect = Dialect {
            enable_keyword_only_arguments: true,
            enable_top_level_stmt: true,
            enable_f_strings: true,
            ..Dialect::Standard
        };
        let mut program = AstModule::parse(path, text, &dialect)?;
        program.replace_binary_operators(&HashMap::from([("*".to_owned(), MULTIPLY.to_owned())]));
        self.running.borrow_mut().push(path.to_owned());
        let loader = Loader {
            session: self,
            file: path,
        };
        let module = Module::with_temp_heap(|module| {
            let mut eval = limits::bounded(&module, self.collector)?;
            eval.set_loader(&loader);
            eval.extra = Some(self.collector);
            let outcome = eval.eval_module(program, &self.globals).map(drop);
            self.collector
                .ticks
                .set(self.collector.ticks.get() + eval.get_total_tick_count());
            drop(eval);
            outcome?;
            let frozen = module.freeze().map_err(starlark::Error::from)?;
            self.collector.functions.borrow_mut().take(&frozen);
            Ok(frozen)
        });
        self.running.borrow_mut().pop();
        module
    }
}

/// `load` in one file.
struct Loader<'s, 'a> {
    session: &'s Session<'a>,
    file: &'s str,
}

impl FileLoader for Loader<'_, '_> {
    fn load(&self, written: &str) -> starlark::Result<FrozenModule> {
        let path = resolve(self.file, written).map_err(|error| failure(format!("load: {error}")))?;
        if let Some(module) = self.session.finished.borrow().get(&path) {
            return Ok(module.clone());
        }
        let cycle = self
            .session
            .running
            .borrow()
            .iter()
            .position(|file| *file == path);
        if let Some(start) = cycle {
            let running = self.session.running.borrow();
            let mut files: Vec<&str> = running[start..].iter().map(String::as_str).collect();
            files.push(&path);
            return Err(failure(format!(
                "load: expected files without a cycle, found {}",
                files.join(" → ")
            )));
        }
        if self.session.running.borrow().len() >= limits::NESTING {
            return Err(failure(format!(
                "load: expected files that load each other at most {} deep",
                limits::NESTING
            )));
        }
        let text = self.session.text(&path)?;
        let module = self.session.module(&path, text).map_err(|error| {
            self.session.fault(&error, &path);
            reported()
        })?;
        self.session.finished.borrow_mut().insert(path, module.clone());
        Ok(module)
    }
}
