//! What a plugin file says of itself, read before anything is compiled: is it a component, which manifest does it carry,
//! does it import and export what its kind has.

use capstan_model::plugin::{self, Kind, Manifest, Wasi};
use wasmparser::{Encoding, Parser, Payload};

use crate::limits::{MAX_COMPONENT, MAX_PAYLOAD};
use crate::offered::lacks;
use crate::wasi;

/// How deep components may be nested. Tools make two or three; the compiler needs gigabytes for thousands.
const MAX_DEPTH: u32 = 50;

/// Why a file is no plugin of this master.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Too many bytes.
    #[error("expected a component of at most {} MiB, found {bytes} bytes", MAX_COMPONENT >> 20)]
    TooLarge {
        /// The size of the file.
        bytes: usize,
    },
    /// Not WebAssembly, or damaged.
    #[error(
        "expected a WebAssembly component, found something else: {0}; build it with `capstan plugin build`"
    )]
    NotWasm(String),
    /// A core module, as compilers make it.
    #[error("expected a WebAssembly component, found a core module; wrap it with `capstan plugin build`")]
    CoreModule,
    /// No manifest.
    #[error(
        "expected a manifest in the custom section `{}`, found none; embed plugin.toml with `capstan plugin build`",
        plugin::SECTION
    )]
    NoManifest,
    /// A manifest that cannot be read.
    #[error("read the manifest: {0}")]
    Manifest(String),
    /// A manifest of a newer shape.
    #[error(
        "expected a manifest with schema {}, found schema {found}; upgrade Capstan, or build the plugin with an older SDK",
        plugin::SCHEMA
    )]
    ManifestSchema {
        /// The schema in the file.
        found: u64,
    },
    /// Made for another version of the plugin interfaces.
    #[error(
        "{name} is made for {} {needs}{}, this master offers {}; {}",
        plugin::PACKAGE,
        if .lacks.is_empty() { String::new() } else { format!(" and uses `{}`", .lacks.join("`, `")) },
        plugin::PACKAGE_VERSION,
        if *.newer { "upgrade Capstan, or build the plugin with an older SDK" } else { "build the plugin with a newer SDK" }
    )]
    Version {
        /// The plugin.
        name: String,
        /// The version that it needs.
        needs: String,
        /// Whether that is newer than this master's.
        newer: bool,
        /// What it uses of it that this master does not have, as far as it can be named.
        lacks: Vec<String>,
    },
    /// A WASI import of a plugin that has not opted in.
    #[error(
        "{name} imports `{import}`, which a plugin does not get by default; add `wasi = \"stub\"` under [plugin] in plugin.toml for \
         stand-ins that reach nothing, or build it without WASI"
    )]
    NeedsWasi {
        /// The plugin.
        name: String,
        /// The import.
        import: String,
    },
    /// A WASI import that the stub set does not have.
    #[error(
        "{name} imports `{import}`, which the stub set of WASI does not have: it has cli, clocks, filesystem, io, random and \
         sockets of version 0.2; build it without that interface"
    )]
    NotInStubs {
        /// The plugin.
        name: String,
        /// The import.
        import: String,
    },
    /// An import from outside the plugin package.
    #[error(
        "{name} imports `{import}`, which no master offers: a plugin imports {} alone",
        plugin::PACKAGE
    )]
    ForeignImport {
        /// The plugin.
        name: String,
        /// The import.
        import: String,
    },
    /// An interface that plugins of this kind do not have.
    #[error("{name} is a {kind} and imports `{import}`, which is not in the world `{}`", .kind.world())]
    NotInWorld {
        /// The plugin.
        name: String,
        /// Its kind.
        kind: Kind,
        /// The import.
        import: String,
    },
    /// It does not implement its world.
    #[error(
        "{name} is a {kind} by its manifest, which exports `{expected}`; found {}",
        if .found.is_empty() { "no export".to_owned() } else { .found.join(", ") }
    )]
    MissingExport {
        /// The plugin.
        name: String,
        /// Its kind.
        kind: Kind,
        /// The interface.
        expected: String,
        /// What it exports.
        found: Vec<String>,
    },
    /// It asks for more than the operator allows.
    #[error(
        "{name} asks for {limit} = {asked}, this master allows at most {allowed}; raise the limit in capstan.toml"
    )]
    Greedy {
        /// The plugin.
        name: String,
        /// The limit.
        limit: &'static str,
        /// What the manifest says.
        asked: u32,
        /// The most.
        allowed: u32,
    },
    /// A function under the right name that takes or answers something else.
    #[error(
        "{name} cannot be used: `{function}` has another signature than its world says: expected {expected}, found {found} \
         ({reason}); build it with `capstan plugin build`"
    )]
    Signature {
        /// The plugin.
        name: String,
        /// `INTERFACE.NAME`.
        function: String,
        /// As the world has it.
        expected: &'static str,
        /// What the component has, its types written out.
        found: String,
        /// The first difference.
        reason: String,
    },
    /// The code is invalid, or its imports do not fit the world's types.
    #[error("{name} cannot be used: {reason}")]
    Invalid {
        /// The plugin.
        name: String,
        /// What the compiler or the linker says.
        reason: String,
    },
}

/// What can be said of a plugin file without compiling it.
#[derive(Clone, Debug)]
pub struct Outside {
    /// What it says of itself.
    pub manifest: Manifest,
    /// The interfaces that it imports, with their versions: what it can do at most.
    pub imports: Vec<String>,
    /// The interfaces that it exports, with their versions.
    pub exports: Vec<String>,
    /// The newest version of the plugin package that an import or export names.
    pub needs: String,
    /// The same, where it is newer than the master's but may still fit.
    pub newer: Option<String>,
    /// What it exports beside its world.
    pub(crate) beside: Beside,
}

/// The interfaces that a plugin may export beside its world.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Beside {
    pub migration: bool,
    pub calls: bool,
    pub completions: bool,
}

/// Reads and checks the outside.
pub fn inspect(bytes: &[u8]) -> Result<Outside, LoadError> {
    if bytes.len() > MAX_COMPONENT {
        return Err(LoadError::TooLarge { bytes: bytes.len() });
    }
    if !bytes.starts_with(b"\0asm") {
        return Err(LoadError::NotWasm(
            "it does not begin as WebAssembly does".to_owned(),
        ));
    }
    let shell = read(bytes)?;
    let manifest = manifest(shell.manifest.as_deref())?;
    let needs = check_names(&manifest, &shell)?;
    if needs > Version::OFFERED {
        check_offer(&manifest, &shell, bytes, needs)?;
    }
    let exports = |name| {
        let is = |full: &String| split(full).is_some_and(|(interface, _)| interface == name);
        shell.exports.iter().any(is)
    };
    let beside = Beside {
        migration: exports("migration"),
        calls: exports("calls"),
        completions: exports("completions"),
    };
    Ok(Outside {
        manifest,
        beside,
        imports: shell.imports,
        exports: shell.exports,
        newer: (needs > Version::OFFERED).then(|| needs.to_string()),
        needs: needs.to_string(),
    })
}

#[derive(Default)]
struct Shell {
    manifest: Option<Vec<u8>>,
    imports: Vec<String>,
    exports: Vec<String>,
}

fn broken(error: wasmparser::BinaryReaderError) -> LoadError {
    LoadError::NotWasm(error.message().to_owned())
}

fn read(bytes: &[u8]) -> Result<Shell, LoadError> {
    let mut shell = Shell::default();
    // Nested modules and components carry sections of their own, which are not the plugin's.
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(broken)? {
            Payload::Version {
                encoding: Encoding::Module,
                ..
            } if depth == 0 => return Err(LoadError::CoreModule),
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } if depth < MAX_DEPTH => {
                depth += 1
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                return Err(LoadError::NotWasm(format!(
                    "components inside components, more than {MAX_DEPTH} deep"
                )));
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    shell.imports.push(import.map_err(broken)?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    shell.exports.push(export.map_err(broken)?.name.name.to_owned());
                }
            }
            Payload::CustomSection(section)
                if depth == 0
                    && section.name() == plugin::SECTION
                    && shell.manifest.replace(section.data().to_vec()).is_some() =>
            {
                return Err(LoadError::Manifest("expected one, found two".to_owned()));
            }
            _ => {}
        }
    }
    Ok(shell)
}

fn manifest(bytes: Option<&[u8]>) -> Result<Manifest, LoadError> {
    #[derive(serde::Deserialize)]
    struct Schema {
        schema: u64,
    }
    let bytes = bytes.ok_or(LoadError::NoManifest)?;
    if bytes.len() > MAX_PAYLOAD {
        let found = bytes.len();
        return Err(LoadError::Manifest(format!(
            "expected at most {MAX_PAYLOAD} bytes, found {found}"
        )));
    }
    let wrong = |error: serde_json::Error| LoadError::Manifest(error.to_string());
    // The schema first: a newer manifest may have fields that this master does not know.
    let Schema { schema } = serde_json::from_slice(bytes).map_err(wrong)?;
    if schema != u64::from(plugin::SCHEMA) {
        return Err(LoadError::ManifestSchema { found: schema });
    }
    let manifest: Manifest = serde_json::from_slice(bytes).map_err(wrong)?;
    manifest.check().map_err(LoadError::Manifest)?;
    Ok(manifest)
}

/// The interfaces that a plugin of this kind may import. `types` comes along wherever its types are used.
pub(crate) fn world(kind: Kind) -> (&'static [&'static str], &'static str) {
    match kind {
        Kind::Step => (
            &[
                "types",
                "log",
                "clock",
                "entropy",
                "timers",
                "build",
                "commands",
                "artefacts",
                "ending",
                "triggers",
            ],
            "step",
        ),
        Kind::Scheduler => (&["types", "log", "decisions"], "scheduler"),
        Kind::ChangeSource => (&["types", "log", "git", "http"], "change-source"),
        Kind::Reporter => (
            &["types", "log", "http", "report-files", "reports", "state", "mail"],
            "reporter",
        ),
        Kind::Generator => (&["types", "log"], "generator"),
    }
}

/// Answers the newest version that a name has.
fn check_names(manifest: &Manifest, shell: &Shell) -> Result<Version, LoadError> {
    let kind = manifest.plugin.kind;
    let name = || manifest.plugin.name.clone();
    let (imports, export) = world(kind);
    let mut newest = Version(0, 0, 0);
    for full in shell.imports.iter().chain(&shell.exports) {
        let Some((_, version)) = split(full) else { continue };
        if !version.may_fit() {
            let newer = version > Version::OFFERED;
            return Err(LoadError::Version {
                name: name(),
                needs: version.to_string(),
                newer,
                lacks: Vec::new(),
            });
        }
        newest = newest.max(version);
    }
    for full in &shell.imports {
        match split(full) {
            Some((interface, _)) if imports.contains(&interface) => {}
            // A later version of the world may have it.
            Some((_, version)) if version > Version::OFFERED => {}
            Some(_) => {
                return Err(LoadError::NotInWorld {
                    name: name(),
                    kind,
                    import: full.clone(),
                });
            }
            None => check_foreign(manifest, full)?,
        }
    }
    if !shell
        .exports
        .iter()
        .any(|full| split(full).is_some_and(|(interface, _)| interface == export))
    {
        let expected = format!("{}/{export}@{}", plugin::PACKAGE, plugin::PACKAGE_VERSION);
        return Err(LoadError::MissingExport {
            name: name(),
            kind,
            expected,
            found: shell.exports.clone(),
        });
    }
    Ok(newest)
}

/// Checks that a plugin for a newer version uses nothing that came with it.
fn check_offer(manifest: &Manifest, shell: &Shell, bytes: &[u8], needs: Version) -> Result<(), LoadError> {
    let (known, _) = world(manifest.plugin.kind);
    let own = |full| split(full).map(|(interface, _)| (full, interface));
    let imports: Vec<_> = shell
        .imports
        .iter()
        .filter_map(|full| own(full.as_str()))
        .collect();
    let lacks = lacks(bytes, &imports, known).map_err(broken)?;
    if lacks.is_empty() {
        return Ok(());
    }
    Err(LoadError::Version {
        name: manifest.plugin.name.clone(),
        needs: needs.to_string(),
        newer: true,
        lacks,
    })
}

/// Checks an import from outside the plugin package.
fn check_foreign(manifest: &Manifest, full: &str) -> Result<(), LoadError> {
    let (name, import) = (manifest.plugin.name.clone(), full.to_owned());
    match (manifest.plugin.wasi, wasi::is_wasi(full)) {
        (Some(Wasi::Stub), true) if wasi::has(full) => Ok(()),
        (Some(Wasi::Stub), true) => Err(LoadError::NotInStubs { name, import }),
        (None, true) => Err(LoadError::NeedsWasi { name, import }),
        (_, false) => Err(LoadError::ForeignImport { name, import }),
    }
}

/// `capstan:plugin/INTERFACE@VERSION`.
fn split(full: &str) -> Option<(&str, Version)> {
    let (interface, version) = full
        .strip_prefix(plugin::PACKAGE)?
        .strip_prefix('/')?
        .split_once('@')?;
    Some((interface, Version::parse(version)?))
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u64, u64, u64);

impl Version {
    const OFFERED: Self = Self(0, 1, 1);

    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.splitn(3, '.').map(|n| n.parse().ok());
        Some(Self(numbers.next()??, numbers.next()??, numbers.next()??))
    }

    /// Within 0.1.x everything fits that uses only what the master has; the linker finds the rest.
    fn may_fit(self) -> bool {
        (self.0, self.1) == (Self::OFFERED.0, Self::OFFERED.1)
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}
