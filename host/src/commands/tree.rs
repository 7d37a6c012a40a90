//! The working tree that `capstan try` is called in: what it has and its base has not.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

use crate::output::print_error;

/// What differs in a working tree, and from what.
pub struct Difference {
    /// A unified diff; binary files included.
    pub text: String,
    /// The whole hash of the revision that it is against.
    pub base: String,
    /// The upstream's branch, if the base was found there.
    pub branch: Option<String>,
}

/// Compares the tree that the folder is in with a revision, or else with where it left its upstream branch.
pub fn difference(folder: &Path, base: Option<&str>) -> anyhow::Result<Difference> {
    let top = git(folder, ["rev-parse", "--show-toplevel"])
        .context("expected a working tree of Git here; `--diff FILE` takes a patch from elsewhere")?;
    let top = Path::new(&top);
    let (base, branch) = match base {
        Some(base) => (
            git(
                top,
                [
                    "rev-parse",
                    "--verify",
                    "--end-of-options",
                    &format!("{base}^{{commit}}"),
                ],
            )?,
            None,
        ),
        None => upstream(top)?,
    };
    // What a person sees of diffs is not what `git apply` reads.
    let plain = [
        "diff",
        "--binary",
        "--no-color",
        "--no-ext-diff",
        "--no-textconv",
        "--src-prefix=a/",
        "--dst-prefix=b/",
        "--submodule=short",
    ];
    let bytes = run(top, plain.iter().copied().chain([base.as_str(), "--"]))?;
    let text = String::from_utf8(bytes).context(
        "expected a patch in UTF-8, found other bytes in it; name that file binary in .gitattributes, or give a patch with `--diff`",
    )?;
    let untracked = git(top, ["ls-files", "--others", "--exclude-standard"])?;
    if let Some(first) = untracked.lines().next() {
        let count = untracked.lines().count();
        let others = if count > 1 {
            format!(" and {} more", count - 1)
        } else {
            String::new()
        };
        print_error(&format!(
            "not in the patch, for Git does not know of it: {first}{others}; `git add -N` tells it"
        ));
    }
    Ok(Difference { text, base, branch })
}

fn upstream(top: &Path) -> anyhow::Result<(String, Option<String>)> {
    let name = git(
        top,
        ["rev-parse", "--abbrev-ref", "--symbolic-full-name", "@{upstream}"],
    )
    .context("expected a branch with an upstream, or `--base REVISION` with one that workers can fetch")?;
    let base = git(top, ["merge-base", "HEAD", "@{upstream}"]).with_context(|| {
        format!("expected a commit that this branch and {name} share; `--base REVISION` names one")
    })?;
    // The branch as the remote calls it.
    let here = git(top, ["symbolic-ref", "--quiet", "HEAD"])?;
    let there = git(top, ["for-each-ref", "--format=%(upstream:remoteref)", &here])?;
    let branch = there.strip_prefix("refs/heads/").map(str::to_owned);
    Ok((base, branch))
}

/// Who works here, as commits say.
pub fn author(folder: &Path) -> Option<String> {
    let one = |name| git(folder, ["config", name]).ok().filter(|text| !text.is_empty());
    match (one("user.name"), one("user.email")) {
        (Some(name), Some(mail)) => Some(format!("{name} <{mail}>")),
        (name, mail) => name.or(mail),
    }
}

fn git<'a>(folder: &Path, args: impl IntoIterator<Item = &'a str>) -> anyhow::Result<String> {
    let bytes = run(folder, args)?;
    Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
}

fn run<'a>(folder: &Path, args: impl IntoIterator<Item = &'a str>) -> anyhow::Result<Vec<u8>> {
    let args: Vec<&OsStr> = args.into_iter().map(OsStr::new).collect();
    let output = Command::new("git")
        .args(&args)
        .current_dir(folder)
        .output()
        .context("failed to run git")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("git {} failed: {}", args[0].to_string_lossy(), said.trim());
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(folder: &Path, line: &str) {
        let status = Command::new("sh")
            .args(["-ec", line])
            .current_dir(folder)
            .status();
        assert!(status.unwrap().success(), "{line}");
    }

    #[test]
    fn a_tree_is_compared_with_where_it_left_its_upstream() {
        let folder = tempfile::tempdir().unwrap();
        let me =
            "git config user.name Ann; git config user.email ann@example.org; git config diff.noprefix true";
        sh(folder.path(), &format!("git init -q --bare origin.git; git clone -q origin.git here 2>&1; cd here; {me};
            git checkout -q -b main; echo one >file; git add -A; git commit -qm one; git push -q -u origin main"));
        let here = folder.path().join("here");
        assert_eq!(difference(&here, None).unwrap().text, "", "nothing was changed");
        sh(
            &here,
            "mkdir sub; git checkout -q --track -b topic origin/main; echo two >file; git commit -qam two; echo three >file; echo x >new",
        );
        let found = difference(&here.join("sub"), None).unwrap();
        assert!(
            found.text.contains("--- a/file") && found.text.contains("-one\n+three"),
            "{}",
            found.text
        );
        assert_eq!((found.base.len(), found.branch.as_deref()), (40, Some("main")));
        let found = difference(&here, Some("HEAD")).unwrap();
        assert!(found.text.contains("-two\n+three") && found.branch.is_none());
        assert_eq!(author(&here).unwrap(), "Ann <ann@example.org>");
        let text = format!("{:#}", difference(&here, Some("nothing")).err().unwrap());
        assert!(text.contains("git rev-parse failed"), "{text}");
        sh(&here, "git branch -q --unset-upstream");
        let text = format!("{:#}", difference(&here, None).err().unwrap());
        assert!(text.contains("--base REVISION"), "{text}");
        let text = format!("{:#}", difference(folder.path(), None).err().unwrap());
        assert!(text.contains("--diff FILE"), "{text}");
    }
}
