//! Single files out of a mirror, at a revision. Used by `pipelines`.

use capstan_engine::{GitFault, Reference};

use super::{Mirrors, READ_LIMIT, check_url, git, run, run_within, unavailable};

/// Output of a git command that answers with a line.
const A_LINE: usize = 64 * 1024;

impl Mirrors {
    /// The full revision that is meant: `revision` itself, or the newest of `branch`, or of the default branch. It is in the mirror
    /// afterwards; what is there already is not fetched again.
    pub async fn revision(
        &self,
        url: &str,
        branch: Option<&str>,
        revision: Option<&str>,
    ) -> Result<String, GitFault> {
        check_url(url)?;
        let Some(revision) = revision else {
            return self.newest(url, branch).await;
        };
        let hex = revision.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !hex || !(7..=64).contains(&revision.len()) {
            return Err(GitFault::Invalid(format!(
                "expected a revision of 7 to 64 hexadecimal digits, found {revision:?}"
            )));
        }
        if let Ok(found) = self.commit(url, revision).await {
            return Ok(found);
        }
        self.bring_up_to_date(url).await?;
        self.commit(url, revision).await.map_err(|_| {
            GitFault::Invalid(format!(
                "expected the revision {revision} in {url}, found no such commit"
            ))
        })
    }

    async fn newest(&self, url: &str, branch: Option<&str>) -> Result<String, GitFault> {
        let Some(branch) = branch else {
            let head = self.remote_head(url).await?;
            self.bring_up_to_date(url).await?;
            return self.commit(url, &head).await;
        };
        let references = self.bring_up_to_date(url).await?;
        let find = |folder: &str| {
            let wanted = |r: &&Reference| r.name.strip_prefix(folder) == Some(branch);
            references.iter().find(wanted)
        };
        match find("refs/heads/").or_else(|| find("refs/tags/")) {
            Some(found) => self.commit(url, &found.revision).await,
            None => Err(GitFault::Invalid(format!(
                "expected the branch {branch:?} in {url}, found no branch or tag of that name"
            ))),
        }
    }

    async fn remote_head(&self, url: &str) -> Result<String, GitFault> {
        std::fs::create_dir_all(&self.root).map_err(|e| unavailable("make the mirrors' folder", &e))?;
        let mut list = git(&self.root);
        list.args(["ls-remote", "--quiet", "--", url, "HEAD"]);
        let listed = run_within(list, READ_LIMIT, A_LINE).await?;
        let listed = String::from_utf8_lossy(&listed);
        let head = listed.split_whitespace().next();
        head.map(str::to_owned)
            .ok_or_else(|| GitFault::Invalid(format!("expected a default branch in {url}, found none")))
    }

    /// The full name of a commit in the mirror.
    async fn commit(&self, url: &str, digits: &str) -> Result<String, GitFault> {
        let path = self.path(url);
        if !path.join("HEAD").exists() {
            return Err(GitFault::Unavailable(format!("there is no mirror of {url}")));
        }
        let mut parse = git(&path);
        parse.args(["rev-parse", "--verify", "--quiet", "--end-of-options"]);
        parse.arg(format!("{digits}^{{commit}}"));
        let found = run_within(parse, READ_LIMIT, A_LINE).await?;
        Ok(String::from_utf8_lossy(&found).trim().to_owned())
    }

    /// The content of a file at a revision from [`Mirrors::revision`]. The inner error says why there is none: symbolic links are not
    /// followed, neither the file nor a folder on the way to it.
    pub async fn file(
        &self,
        url: &str,
        revision: &str,
        path: &str,
        most: u64,
    ) -> Result<Result<Vec<u8>, String>, GitFault> {
        let mut list = git(&self.path(url));
        list.args([
            "--literal-pathspecs",
            "ls-tree",
            "-z",
            "--long",
            "--full-tree",
            revision,
            "--",
            path,
        ]);
        let listed = run_within(list, READ_LIMIT, A_LINE).await?;
        let listed = String::from_utf8_lossy(&listed).into_owned();
        let entry = listed.split('\0').next().and_then(|line| line.split_once('\t'));
        let Some((about, _)) = entry.filter(|(_, name)| *name == path) else {
            let short: String = revision.chars().take(12).collect();
            return Ok(Err(format!("expected the file `{path}` at {short}, found none")));
        };
        let fields: Vec<_> = about.split_whitespace().collect();
        let [mode, kind, object, size] = fields[..] else {
            return Err(GitFault::Unavailable(
                "git ls-tree answered in another form".to_owned(),
            ));
        };
        if kind != "blob" || mode == "120000" {
            let found = match (kind, mode) {
                (_, "120000") => "a symbolic link",
                ("tree", _) => "a folder",
                _ => "something else",
            };
            return Ok(Err(format!(
                "expected `{path}` to be a plain file, found {found}"
            )));
        }
        if size.parse::<u64>().map_or(true, |size| size > most) {
            return Ok(Err(format!(
                "expected `{path}` to be at most {most} bytes long, found {size}"
            )));
        }
        let mut show = git(&self.path(url));
        show.args(["cat-file", "blob", object]);
        run(show, READ_LIMIT).await.map(Ok)
    }
}
