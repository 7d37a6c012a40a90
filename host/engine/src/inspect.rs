//! What a plugin file says of itself, read before anything is compiled: is it a component, which manifest does it carry,
//! does it import and export what its kind has.

use capstan_model::plugin::{self, Kind, Manifest};
use wasmparser::{Encoding, Parser, Payload};

use crate::limits::MAX_COMPONENT;

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
        "{name} is made for {} {needs}, this master offers {}; {}", plugin::PACKAGE, plugin::PACKAGE_VERSION,
        if *.newer { "upgrade Capstan, or build the plugin with an older SDK" } else { "build the plugin with a newer SDK" }
    )]
    Version {
        /// The plugin.
        name: String,
        /// The version that it needs.
        needs: String,
        /// Whether that is newer than this master's.
        newer: bool,
    },
    /// An import from outside the plugin package.
    #[error(
        "{name} imports `{import}`, which no master offers: a plugin imports {} alone; build it without WASI",
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
    /// The code is invalid, or does not fit the world's types.
    #[error("{name} cannot be used: {reason}")]
    Invalid {
        /// The plugin.
        name: String,
        /// What the compiler or the linker says.
        reason: String,
    },
}

/// The outside of a component.
pub(crate) struct Outside {
    pub manifest: Manifest,
    pub imports: Vec<String>,
    /// The newest version of the plugin package that an import or export names, where it is newer than the master's
    /// but may still fit.
    pub newer: Option<String>,
}

/// Reads and checks the outside.
pub(crate) fn inspect(bytes: &[u8]) -> Result<Outside, LoadError> {
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
    let newer = check_names(&manifest, &shell)?;
    Ok(Outside {
        manifest,
        imports: shell.imports,
        newer,
    })
}

#[derive(Default)]
struct Shell {
    manifest: Option<Vec<u8>>,
    imports: Vec<String>,
    exports: Vec<String>,
}

fn read(bytes: &[u8]) -> Result<Shell, LoadError> {
    let broken = |error: wasmparser::BinaryReaderError| LoadError::NotWasm(error.message().to_owned());
    let mut shell = Shell::default();
    // Nested modules and components carry sections of their own, which are not the plugin's.
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(broken)? {
            Payload::Version {
                encoding: Encoding::Module,
                ..
            } if depth == 0 => return Err(LoadError::CoreModule),
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
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
    let wrong = |error: serde_json::Error| LoadError::Manifest(error.to_string());
    // The schema first: a newer manifest may have fields that this master does not know.
    let Schema { schema } = serde_json::from_slice(bytes).map_err(wrong)?;
    if schema != u64::from(plugin::SCHEMA) {
        return Err(LoadError::ManifestSchema { found: schema });
    }
    let manifest: Manifest = serde_json::from_slice(bytes).map_err(wrong)?;
    check_manifest(&manifest).map_err(LoadError::Manifest)?;
    Ok(manifest)
}

fn check_manifest(manifest: &Manifest) -> Result<(), String> {
    let name = &manifest.plugin.name;
    let word = |w: &str| !w.is_empty() && w.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if name.len() > 64 || !name.split('-').all(word) || name.starts_with(|c: char| c.is_ascii_digit()) {
        let shown: String = name.chars().take(80).collect();
        return Err(format!(
            "plugin.name: expected lower-case words joined by hyphens, at most 64 characters, found {shown:?}"
        ));
    }
    if manifest.plugin.version.is_empty() {
        return Err("plugin.version: expected a version, found nothing".to_owned());
    }
    match manifest
        .parameters
        .get("type")
        .and_then(serde_json::Value::as_str)
    {
        Some("object") => Ok(()),
        _ => Err("parameters: expected a JSON Schema with \"type\": \"object\"".to_owned()),
    }
}

/// The interfaces that a plugin of this kind may import. `types` comes along wherever its types are used.
pub(crate) fn world(kind: Kind) -> (&'static [&'static str], &'static str) {
    match kind {
        Kind::Step => (
            &["types", "log", "clock", "entropy", "timers", "build", "commands"],
            "step",
        ),
        Kind::Scheduler => (&["types", "log"], "scheduler"),
        Kind::ChangeSource => (&["types", "log", "git", "http"], "change-source"),
        Kind::Reporter => (&["types", "log", "http", "report-files", "reports"], "reporter"),
    }
}

fn check_names(manifest: &Manifest, shell: &Shell) -> Result<Option<String>, LoadError> {
    let kind = manifest.plugin.kind;
    let name = || manifest.plugin.name.clone();
    let (imports, export) = world(kind);
    let mut newest: Option<Version> = None;
    for full in shell.imports.iter().chain(&shell.exports) {
        let Some((_, version)) = split(full) else { continue };
        if !version.may_fit() {
            let newer = version > Version::OFFERED;
            return Err(LoadError::Version {
                name: name(),
                needs: version.to_string(),
                newer,
            });
        }
        newest = newest.max(Some(version));
    }
    for full in &shell.imports {
        match split(full) {
            Some((interface, _)) if imports.contains(&interface) => {}
            Some(_) => {
                return Err(LoadError::NotInWorld {
                    name: name(),
                    kind,
                    import: full.clone(),
                });
            }
            None => {
                return Err(LoadError::ForeignImport {
                    name: name(),
                    import: full.clone(),
                });
            }
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
    Ok(newest
        .filter(|&version| version > Version::OFFERED)
        .map(|version| version.to_string()))
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
    const OFFERED: Self = Self(0, 1, 0);

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
