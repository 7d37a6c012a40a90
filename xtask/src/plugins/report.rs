//! What came out of a build, for people.

use super::Places;
use super::build::Packed;

/// One line per plugin: kind, name, size, digest, and whether its file is new.
pub(super) fn print(places: &Places, packed: &[Packed]) {
    for plugin in packed {
        let path = plugin
            .path
            .strip_prefix(&places.repository)
            .unwrap_or(&plugin.path);
        let fresh = if plugin.changed { "written" } else { "unchanged" };
        println!(
            "  {:<13} {:<18} {:>9}  sha256 {}  {} {fresh}",
            plugin.kind.as_str(),
            plugin.name,
            size(plugin.size),
            plugin.digest.short(),
            path.display()
        );
    }
}

fn size(bytes: usize) -> String {
    format!("{:.1} kB", bytes as f64 / 1000.0)
}
