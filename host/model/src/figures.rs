//! How numbers of things and of bytes read: on pages, in errors and on the command line.

/// `1 line`, `20 lines`, `1,234,567 lines`. For words whose plural takes an `s`.
pub fn counted(number: u64, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        number => format!("{} {what}s", grouped(number)),
    }
}

/// `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `512 B`, `4.2 kB`, `1.0 GB`.
pub fn sized(bytes: u64) -> String {
    let units = ["kB", "MB", "GB", "TB"];
    let mut tenths = bytes / 100;
    for unit in units {
        if tenths < 10_000 || unit == "TB" {
            return match bytes {
                0..1000 => format!("{bytes} B"),
                _ => format!("{}.{} {unit}", tenths / 10, tenths % 10),
            };
        }
        tenths /= 1000;
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_not_many() {
        assert_eq!(counted(0, "fault"), "0 faults");
        assert_eq!(counted(1, "fault"), "1 fault");
        assert_eq!(counted(999, "fault"), "999 faults");
        assert_eq!(counted(1_234_567, "line"), "1,234,567 lines");
    }

    #[test]
    fn bytes_have_a_unit_that_fits() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (4_250, "4.2 kB"),
            (999_999, "999.9 kB"),
            (6_888_896, "6.8 MB"),
            (2_000_000_000_000_000, "2000.0 TB"),
        ] {
            assert_eq!(sized(bytes), text);
        }
    }
}
