//! Gives a borrowed report back in time.
//!
//! A component that is lent a resource has to drop its handle before its function returns. What componentize-qjs makes
//! drops it when the answer was read, in the function that cleans up after the call; the master ends the plugin before
//! that. So the report is dropped as soon as JavaScript is done with it, and the cleaning is left out: an instance serves
//! one call. A version of the tool that does it itself would make this fail, and the reporters' tests with it.

use anyhow::{Context as _, ensure};
use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{CodeSection, ExportSection, Function, FunctionSection, Instruction, Module};
use wasmparser::{
    CodeSectionReader, Export, ExternalKind, FunctionBody, FunctionSectionReader, Parser, Payload, TypeRef,
};

/// The ends of the names of what is changed.
const DELIVER: &str = "/reporter@";
const FUNCTION: &str = "#deliver";
const DROP: &str = "[resource-drop]report";

/// The place of the report among the parameters: after the two words of the configuration's text.
const REPORT: u32 = 2;

/// The component of a reporter, mended. The module that has to be changed may be in a component in it.
pub(super) fn drop_in_time(component: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut found = 0;
    let mended = mend(component, &mut found)?;
    ensure!(
        found == 1,
        "expected one module that exports `deliver`, found {found}"
    );
    Ok(mended)
}

/// Copies the sections of a component, but for the module.
fn mend(component: &[u8], found: &mut u32) -> anyhow::Result<Vec<u8>> {
    let mut out = component
        .get(..8)
        .context("expected a component, found less than its head")?
        .to_vec();
    let mut rest = &component[8..];
    while let [id, after @ ..] = rest {
        let (size, after) = leb128(after)?;
        let inner = after
            .get(..size)
            .context("expected a whole section, found less")?;
        let inner = match *id {
            MODULE => match Places::find(inner)? {
                Some(places) => {
                    *found += 1;
                    places.rewrite(inner)?
                }
                None => inner.to_vec(),
            },
            COMPONENT => mend(inner, found)?,
            _ => inner.to_vec(),
        };
        out.push(*id);
        wasm_encoder::Encode::encode(&inner.as_slice(), &mut out);
        rest = &after[size..];
    }
    Ok(out)
}

/// Sections of a component that hold others.
const MODULE: u8 = 1;
const COMPONENT: u8 = 4;

fn leb128(bytes: &[u8]) -> anyhow::Result<(usize, &[u8])> {
    let mut reader = wasmparser::BinaryReader::new(bytes, 0);
    let size = reader.read_var_u32()?;
    let read = usize::try_from(reader.original_position())?;
    Ok((usize::try_from(size)?, bytes.get(read..).unwrap_or_default()))
}

/// Functions of the module, by their index.
#[derive(Clone, Copy)]
struct Places {
    deliver: u32,
    clean: u32,
    drop: u32,
    /// How many are imported, and how many there are.
    imported: u32,
    all: u32,
}

impl Places {
    /// In a module that exports `deliver`.
    fn find(module: &[u8]) -> anyhow::Result<Option<Self>> {
        let (mut deliver, mut clean, mut drop) = (None, None, None);
        let (mut imported, mut own) = (0, 0);
        for payload in Parser::new(0).parse_all(module) {
            match payload? {
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        let import = import?;
                        if let TypeRef::Func(_) = import.ty {
                            if import.name == DROP {
                                drop = Some(imported);
                            }
                            imported += 1;
                        }
                    }
                }
                Payload::FunctionSection(functions) => own = functions.count(),
                Payload::ExportSection(exports) => {
                    for export in exports {
                        let export = export?;
                        if export.name.ends_with(FUNCTION) && export.name.contains(DELIVER) {
                            let cleans = export.name.starts_with("cabi_post_");
                            *(if cleans { &mut clean } else { &mut deliver }) = Some(export.index);
                        }
                    }
                }
                _ => {}
            }
        }
        let Some(deliver) = deliver else { return Ok(None) };
        Ok(Some(Self {
            deliver,
            clean: clean.context("expected a function that cleans up after `deliver`, found none")?,
            drop: drop.context("expected a function that drops a report, found none")?,
            imported,
            all: imported + own,
        }))
    }

    fn rewrite(self, module: &[u8]) -> anyhow::Result<Vec<u8>> {
        let mut rewriter = Rewriter {
            places: self,
            body: self.imported,
            kind: None,
        };
        let mut out = Module::new();
        rewriter
            .parse_core_module(&mut out, Parser::new(0), module)
            .map_err(|error| anyhow::anyhow!("rewrite a module: {error}"))?;
        Ok(out.finish())
    }
}

struct Rewriter {
    places: Places,
    /// The function whose body comes next.
    body: u32,
    /// The type of `deliver`.
    kind: Option<u32>,
}

type Done = Result<(), Error<std::convert::Infallible>>;

impl Reencode for Rewriter {
    type Error = std::convert::Infallible;

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        all: FunctionSectionReader<'_>,
    ) -> Done {
        for (index, kind) in (self.places.imported..).zip(all) {
            let kind = kind?;
            if index == self.places.deliver {
                self.kind = Some(kind);
            }
            functions.function(kind);
        }
        functions.function(self.kind.unwrap_or_default());
        Ok(())
    }

    fn parse_export(&mut self, exports: &mut ExportSection, mut export: Export<'_>) -> Done {
        if export.kind == ExternalKind::Func && export.index == self.places.deliver {
            export.index = self.places.all;
        }
        utils::parse_export(self, exports, export)
    }

    fn parse_function_body(&mut self, code: &mut CodeSection, body: FunctionBody<'_>) -> Done {
        let index = self.body;
        self.body += 1;
        if index != self.places.clean {
            return utils::parse_function_body(self, code, body);
        }
        let mut nothing = Function::new([]);
        nothing.instruction(&Instruction::End);
        code.function(&nothing);
        Ok(())
    }

    /// Behind the others: what `deliver` is from now on.
    fn parse_code_section(&mut self, code: &mut CodeSection, all: CodeSectionReader<'_>) -> Done {
        utils::parse_code_section(self, code, all)?;
        let mut deliver = Function::new([]);
        for parameter in 0..=REPORT {
            deliver.instruction(&Instruction::LocalGet(parameter));
        }
        deliver.instruction(&Instruction::Call(self.places.deliver));
        deliver.instruction(&Instruction::LocalGet(REPORT));
        deliver.instruction(&Instruction::Call(self.places.drop));
        deliver.instruction(&Instruction::End);
        code.function(&deliver);
        Ok(())
    }
}
