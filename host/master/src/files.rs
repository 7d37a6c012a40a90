//! Files under the farm's folder that reporters append to.

use std::path::{Component, Path, PathBuf};

use capstan_engine::{FileFault, FilesPort};
use futures::FutureExt;
use futures::future::BoxFuture;
use nix::fcntl::OFlag;
use tokio::io::AsyncWriteExt;

/// The folder that paths are relative to.
pub struct Folder(pub PathBuf);

impl Folder {
    async fn append(&self, path: &str, line: &str) -> Result<(), FileFault> {
        let relative = Path::new(path);
        if !relative
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
        {
            return Err(FileFault(format!(
                "expected a path inside the farm's folder, found {path:?}"
            )));
        }
        let full = self.0.join(relative);
        let fault = |e: std::io::Error| FileFault(format!("failed to append to {path}: {e}"));
        if let Some(parent) = full.parent() {
            // What is there already decides where a new folder would be made.
            if let Some(there) = parent
                .ancestors()
                .find(|folder| folder.symlink_metadata().is_ok())
            {
                self.refuse_escape(there, path)?;
            }
            tokio::fs::create_dir_all(parent).await.map_err(fault)?;
            self.refuse_escape(parent, path)?;
        }
        let mut file = tokio::fs::OpenOptions::new()
            .create(true)
            .append(true)
            // The file may be a link out of the folder, and a pipe would wait for its reader.
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
            .open(&full)
            .await
            .map_err(fault)?;
        // One write, so that lines of two reporters never mix.
        file.write_all(format!("{line}\n").as_bytes())
            .await
            .map_err(fault)?;
        file.sync_data().await.map_err(fault)
    }

    /// A symbolic link in the folder must not lead out of it.
    fn refuse_escape(&self, parent: &Path, path: &str) -> Result<(), FileFault> {
        let fault = |e: std::io::Error| FileFault(format!("failed to resolve {path}: {e}"));
        let root = self.0.canonicalize().map_err(fault)?;
        if parent.canonicalize().map_err(fault)?.starts_with(root) {
            return Ok(());
        }
        Err(FileFault(format!(
            "expected a path inside the farm's folder, found that {path:?} leads out of it"
        )))
    }
}

impl FilesPort for Folder {
    fn append_line(&self, path: String, line: String) -> BoxFuture<'_, Result<(), FileFault>> {
        async move { self.append(&path, &line).await }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_appended_and_nothing_leaves_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let files = Folder(folder.path().to_owned());
        files.append("reports/a.jsonl", "1").await.unwrap();
        files.append("reports/a.jsonl", "2").await.unwrap();
        assert_eq!(
            std::fs::read_to_string(folder.path().join("reports/a.jsonl")).unwrap(),
            "1\n2\n"
        );
        assert!(files.append("../x", "1").await.is_err());
        assert!(files.append("/tmp/x", "1").await.is_err());
        std::os::unix::fs::symlink("/tmp", folder.path().join("out")).unwrap();
        assert!(files.append("out/x", "1").await.is_err());
        let outside = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), folder.path().join("away")).unwrap();
        assert!(files.append("away/new/x", "1").await.is_err());
        std::os::unix::fs::symlink(outside.path().join("x"), folder.path().join("reports/link")).unwrap();
        assert!(files.append("reports/link", "1").await.is_err());
        assert_eq!(
            std::fs::read_dir(outside.path()).unwrap().count(),
            0,
            "nothing is made outside"
        );
    }
}
