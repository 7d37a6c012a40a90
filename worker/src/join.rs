//! `capstan-worker join STRING`: exchanges an invitation for a membership in a folder.

use std::fs;
use std::path::{Path, PathBuf};

use capstan_wire::join::{self, Join};

use crate::folder::lock_file;
use crate::member::{self, Member};
use crate::state;

/// Why a worker could not join.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text is no join string.
    #[error(transparent)]
    Join(#[from] join::Error),
    /// The folder is taken, or refuses.
    #[error(transparent)]
    Member(#[from] member::Error),
    /// A daemon runs there.
    #[error("a capstan-worker runs in {0}; stop it before it is replaced")]
    InUse(PathBuf),
    /// The master refuses, is another one, or is not there.
    #[error(transparent)]
    Link(#[from] capstan_client::Error),
}

/// What the new worker is to be.
#[derive(Clone, Debug)]
pub struct Wish {
    /// How many builds at a time.
    pub slots: u32,
    /// What builders may ask for.
    pub labels: Vec<String>,
    /// Replace a membership that is there.
    pub force: bool,
}

/// Joins the master that issued `invitation` and leaves the membership in `folder`.
pub async fn join(invitation: &Join, folder: &Path, wish: Wish) -> Result<Member, Error> {
    if !wish.force {
        refuse_existing(folder)?;
    }
    let file = |source| member::Error::File {
        file: folder.to_owned(),
        source,
    };
    fs::create_dir_all(folder).map_err(file)?;
    // Held to the end: no daemon starts on half a membership. An invitation is good for one use, so all that
    // can fail here fails before it is used.
    let lock = lock_file(&folder.join("lock")).map_err(file)?;
    let _lock = lock.ok_or_else(|| Error::InUse(folder.to_owned()))?;
    let enrolled = capstan_client::enroll(invitation, &capstan_client::Options::default()).await?;
    let mut addresses = vec![enrolled.address.clone()];
    addresses.extend(
        invitation
            .addresses
            .iter()
            .filter(|known| **known != enrolled.address)
            .cloned(),
    );
    // Another installation counts its epochs anew.
    state::forget(folder).map_err(file)?;
    let member = Member::new(enrolled.name, addresses, wish.slots, wish.labels);
    member.save(folder, &enrolled.identity)?;
    Ok(Member::load(folder)?)
}

fn refuse_existing(folder: &Path) -> Result<(), member::Error> {
    match Member::load(folder) {
        Ok(member) => Err(member::Error::Exists {
            folder: folder.to_owned(),
            name: member.name,
        }),
        Err(member::Error::Missing(_)) => Ok(()),
        Err(damaged) => Err(damaged),
    }
}
