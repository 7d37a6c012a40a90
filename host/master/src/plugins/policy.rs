//! Whether a plugin file may be used: what the lock says of it, what it asks for, whether files are pinned. Pure; asked by
//! `registry` for every file.

use capstan_config::Accepted;
use capstan_model::Digest;
use capstan_model::plugin::Rights;

/// A file that could be loaded, as far as it matters here.
pub(crate) struct Candidate<'a> {
    pub digest: Digest,
    pub asks: &'a Rights,
    /// How a command line names it.
    pub path: &'a str,
    /// Whether what is granted under its name may be meant for another plugin: one that is part of the program, or one of
    /// another kind.
    pub namesake: bool,
}

/// What becomes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is used. `record` holds the rights that it is noted with in the lock, if it is not there yet.
    Take { record: Option<Rights> },
    /// It waits until these rights are accepted.
    Wait(Rights),
    /// It was used and given up, and why.
    Withdraw(String),
    /// It is not used, and why.
    Refuse(String),
}

pub(crate) fn judge(
    file: &Candidate<'_>,
    known: Option<&Accepted>,
    granted: &Rights,
    pinning: bool,
) -> Verdict {
    let Some(known) = known else {
        // What the operator wrote into capstan.toml by hand is accepted, but not for a file that bears another plugin's name: the
        // rights were meant for that one.
        let granted = !file.namesake && file.asks.beyond(granted).is_empty();
        if file.asks.is_empty() || granted || !pinning {
            return Verdict::Take {
                record: Some(file.asks.clone()),
            };
        }
        return Verdict::Wait(file.asks.clone());
    };
    if known.withdrawn == Some(file.digest) {
        return Verdict::Withdraw(format!(
            "this version kept crashing, and the one before is used again; `capstan plugin install {}` or `capstan reload` \
             tries it once more",
            file.path
        ));
    }
    if known.digest == file.digest {
        return Verdict::Take { record: None };
    }
    if pinning && known.installed != Some(file.digest) {
        return Verdict::Refuse(format!(
            "the file is not the one that was accepted: expected {} {}, found {}; `capstan plugin install {}` accepts it",
            known.version,
            known.digest.short(),
            file.digest.short(),
            file.path
        ));
    }
    let more = file.asks.beyond(&known.rights);
    if !more.is_empty() {
        return Verdict::Wait(more);
    }
    Verdict::Take {
        record: Some(known.rights.clone()),
    }
}

/// Rights in a line, for people: `http https://a/*, secrets token`.
pub(crate) fn in_words(rights: &Rights) -> String {
    let each: Vec<_> = rights
        .each()
        .map(|(right, text)| format!("{} `{text}`", right.as_str()))
        .collect();
    each.join(", ")
}

#[cfg(test)]
mod tests {
    use capstan_config::Lock;
    use capstan_model::plugin::Kind;

    use super::*;

    fn http(patterns: &[&str]) -> Rights {
        Rights {
            http: patterns.iter().map(|&text| text.to_owned()).collect(),
            ..Rights::default()
        }
    }

    fn verdict(lock: &Lock, bytes: &[u8], asks: &Rights, granted: &Rights, pinning: bool) -> Verdict {
        let file = Candidate {
            digest: Digest::of(bytes),
            asks,
            path: "plugins/chat.wasm",
            namesake: false,
        };
        judge(&file, lock.get(Kind::Reporter, "chat"), granted, pinning)
    }

    fn lock(bytes: &[u8], rights: Rights) -> Lock {
        let mut lock = Lock::default();
        lock.accept(Kind::Reporter, "chat", Digest::of(bytes), "1", rights);
        lock
    }

    #[test]
    fn a_new_file_waits_if_it_asks_for_what_nobody_granted() {
        let (none, asks, lock) = (
            Rights::default(),
            http(&["https://a.example.org/*"]),
            Lock::default(),
        );
        let taken = |asks: &Rights| Verdict::Take {
            record: Some(asks.clone()),
        };
        assert_eq!(verdict(&lock, b"1", &none, &none, true), taken(&none));
        assert_eq!(
            verdict(&lock, b"1", &asks, &none, true),
            Verdict::Wait(asks.clone())
        );
        assert_eq!(verdict(&lock, b"1", &asks, &asks, true), taken(&asks));
        assert_eq!(verdict(&lock, b"1", &asks, &none, false), taken(&asks));
    }

    #[test]
    fn grants_for_another_plugin_are_not_for_a_file_of_its_name() {
        let asks = http(&["https://a.example.org/*"]);
        let file = Candidate {
            digest: Digest::of(b"1"),
            asks: &asks,
            path: "",
            namesake: true,
        };
        assert_eq!(judge(&file, None, &asks, true), Verdict::Wait(asks.clone()));
    }

    #[test]
    fn a_file_that_changed_is_refused_only_where_files_are_pinned() {
        let none = Rights::default();
        let lock = lock(b"1", none.clone());
        assert_eq!(
            verdict(&lock, b"1", &none, &none, true),
            Verdict::Take { record: None }
        );
        let Verdict::Refuse(reason) = verdict(&lock, b"2", &none, &none, true) else {
            panic!("expected a refusal");
        };
        assert!(
            reason.contains("capstan plugin install plugins/chat.wasm"),
            "{reason}"
        );
        assert_eq!(
            verdict(&lock, b"2", &none, &none, false),
            Verdict::Take { record: Some(none) }
        );
    }

    #[test]
    fn an_update_that_asks_for_more_waits_pinned_or_not() {
        let (old, new) = (
            http(&["https://a.example.org/*"]),
            http(&["https://a.example.org/*", "https://b.example.org/*"]),
        );
        let more = http(&["https://b.example.org/*"]);
        let mut lock = lock(b"1", old);
        assert_eq!(
            verdict(&lock, b"2", &new, &new, false),
            Verdict::Wait(more.clone())
        );
        lock.install(Kind::Reporter, "chat", Digest::of(b"2"), "2", &new);
        assert_eq!(verdict(&lock, b"2", &new, &new, true), Verdict::Wait(more));
        lock.accept(Kind::Reporter, "chat", Digest::of(b"2"), "2", Rights::default());
        assert_eq!(
            verdict(&lock, b"2", &new, &Rights::default(), true),
            Verdict::Take { record: None },
            "what the operator decided counts, even if it was no to some of it"
        );
    }

    #[test]
    fn a_version_that_was_withdrawn_is_not_taken_pinned_or_not() {
        let none = Rights::default();
        let mut lock = lock(b"2", none.clone());
        lock.withdraw(Kind::Reporter, "chat", Digest::of(b"2"), None);
        for pinning in [true, false] {
            assert!(matches!(
                verdict(&lock, b"2", &none, &none, pinning),
                Verdict::Withdraw(_)
            ));
        }
    }

    #[test]
    fn a_reload_tries_a_withdrawn_version_once_more_pinned_or_not() {
        let none = Rights::default();
        let mut lock = lock(b"2", none.clone());
        lock.withdraw(
            Kind::Reporter,
            "chat",
            Digest::of(b"2"),
            Some((Digest::of(b"1"), "1")),
        );
        lock.forgive();
        for pinning in [true, false] {
            let again = verdict(&lock, b"2", &none, &none, pinning);
            assert!(matches!(again, Verdict::Take { .. }), "{again:?}");
            let old = verdict(&lock, b"1", &none, &none, pinning);
            assert!(matches!(old, Verdict::Take { .. }), "{old:?}");
        }
    }
}
