//! Which names of branches, revisions and repositories may stand in a command. Names come from people and from forges:
//! one that could be read as an option, or that Git itself would refuse, is refused before any command runs.

/// Rules of `git check-ref-format`, for a branch or a full reference.
pub(crate) fn check_branch(name: &str) -> Result<(), String> {
    let forbidden = |c: char| c.is_control() || " ~^:?*[\\".contains(c);
    let part = |p: &str| p.is_empty() || p.starts_with('.') || p.ends_with(".lock");
    let wrong = name.len() > 500
        || name.starts_with('-')
        || name.ends_with('.')
        || name == "@"
        || name.contains("..")
        || name.contains("@{")
        || name.contains(forbidden)
        || name.split('/').any(part);
    if wrong {
        Err(format!("expected the name of a branch, found {}", quoted(name)))
    } else {
        Ok(())
    }
}

/// A hash, whole or cut, or the name of a tag.
pub(crate) fn check_revision(name: &str) -> Result<(), String> {
    check_branch(name).map_err(|_| format!("expected a revision or a tag, found {}", quoted(name)))
}

/// Anything that Git would not take for an option.
pub(crate) fn check_repository(url: &str) -> Result<(), String> {
    let wrong = url.is_empty() || url.starts_with('-') || url.contains(char::is_control) || url.len() > 2000;
    if wrong {
        Err(format!("expected the URL of a repository, found {}", quoted(url)))
    } else {
        Ok(())
    }
}

/// Whether a revision is a whole SHA-1 or SHA-256 hash, which names one commit for ever.
pub(crate) fn is_hash(revision: &str) -> bool {
    matches!(revision.len(), 40 | 64)
        && revision
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// A URL without the name and password that may stand in it.
pub(crate) fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{host}{path}"),
        None => url.to_owned(),
    }
}

fn quoted(name: &str) -> String {
    format!("{:?}", name.chars().take(100).collect::<String>())
}
