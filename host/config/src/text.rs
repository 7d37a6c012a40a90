//! Durations and sizes as people write them: `"30s"`, `"5min"`, `"64MiB"`; and names as they are written for a shell.

use std::time::Duration;

/// The duration that a text like `30s` names: a whole number and one of `ms`, `s`, `min`, `h`, `d`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(milliseconds).map(Duration::from_millis)
}

/// The number of bytes that a text like `64MiB` names: a whole number and one of `B`, `KiB`, `MiB`, `GiB`, `TiB`.
pub(crate) fn size(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let shift = match unit {
        "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

fn split(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    Some((text[..digits].parse().ok()?, text[digits..].trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use capstan_model::shell_word;
    use proptest::prelude::*;

    #[test]
    fn units_are_what_they_say() {
        assert_eq!(duration("1500ms"), Some(Duration::from_millis(1500)));
        assert_eq!(duration("5 min"), Some(Duration::from_secs(300)));
        assert_eq!(size("64MiB"), Some(64 << 20));
        for wrong in [
            "",
            "5",
            "s",
            "-1s",
            "1.5h",
            "5 minutes",
            "99999999999999999999s",
            "18446744073709551615d",
        ] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
        assert_eq!(size("16777216TiB"), None);
    }

    #[test]
    fn a_shell_takes_each_name_as_one_word() {
        for name in [
            "linux-x86_64",
            "a b",
            "it's",
            "$(reboot)",
            "ä+\"`",
            "",
            "a;b",
            "*",
        ] {
            let echoed = std::process::Command::new("sh")
                .args(["-c", &format!("printf %s {}", shell_word(name))])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8(echoed.stdout).unwrap(), name);
        }
        assert_eq!(shell_word("linux-x86_64"), "linux-x86_64");
        assert_eq!(shell_word("a b"), "'a b'");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn seconds_round_trip(n in 0u64..1_000_000) {
            prop_assert_eq!(duration(&format!("{n}s")), Some(Duration::from_secs(n)));
        }
    }
}
