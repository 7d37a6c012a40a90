//! Plugins that try to escape, stall or crash the master. `tests/corpus` calls each of them; the black-box tests put them
//! all into the plugin folder of a real master.
//!
//! A guest is a file `guests/GROUP/NAME.wat`, or made by `made` where it is too large or too broken for text. Its first
//! comment says what it tries and what must come of it, so there is no list of guests anywhere: see [`Header`]. What the
//! text of a guest may say beyond WebAssembly's own is described in `text`.

mod header;
mod made;
mod text;
mod wrap;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

pub use header::{Call, Expected, Header};
pub use wrap::{CHANGED, OFFERED};

/// One guest of the corpus.
#[derive(Clone, Debug)]
pub struct Guest {
    /// `GROUP-NAME`, which is also the plugin's name.
    pub name: String,
    /// What it tries, and what must come of it.
    pub header: Header,
    /// The plugin file.
    pub bytes: Vec<u8>,
}

/// Every hostile guest, by name. `port` is where a server of the test listens on the loopback interface; guests that try
/// to reach it name it as `{port}`.
pub fn corpus(port: u16) -> anyhow::Result<Vec<Guest>> {
    let mut all = Vec::new();
    for group in listed(&folder("guests"))? {
        for file in listed(&group)? {
            all.push(read(&file, &format!("{}-{}", stem(&group), stem(&file)), port)?);
        }
    }
    all.extend(made::all()?);
    all.sort_by(|a, b| a.name.cmp(&b.name));
    let twice = all.windows(2).find(|pair| pair[0].name == pair[1].name);
    ensure!(
        twice.is_none(),
        "expected names that differ, found two of {twice:?}"
    );
    Ok(all)
}

/// Plugins that do nothing wrong, one a kind: they must answer whatever the others did.
pub fn healthy() -> anyhow::Result<Vec<Guest>> {
    let files = listed(&folder("healthy"))?;
    files
        .iter()
        .map(|file| read(file, &format!("healthy-{}", stem(file)), 0))
        .collect()
}

fn read(file: &Path, name: &str, port: u16) -> anyhow::Result<Guest> {
    let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let text = text.replace("{port}", &port.to_string());
    let header = Header::read(&text).with_context(|| format!("read {}", file.display()))?;
    let bytes = wrap::component(name, &header, &text).with_context(|| format!("make {}", file.display()))?;
    let name = name.to_owned();
    Ok(Guest { name, header, bytes })
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn listed(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    let mut paths = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<anyhow::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn stem(path: &Path) -> String {
    path.file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
