//! Chromium and its driver, which the tests of the pages need.

use std::path::Path;

use crate::workspace;

/// The package whose tests need them.
pub const PACKAGE: &str = "capstan-browser";

/// Debian's package of the driver; it depends on the browser's own, of the same version.
const DEBIAN: &str = "chromium-driver";

/// Makes sure that both programs are in the search path.
pub fn require() -> anyhow::Result<()> {
    if ["chromium", "chromedriver"].into_iter().all(is_there) {
        return Ok(());
    }
    workspace::install(
        DEBIAN,
        "the programs `chromium` and `chromedriver` (or --no-browser)",
    )
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| Path::is_file(&folder.join(program)))
}
