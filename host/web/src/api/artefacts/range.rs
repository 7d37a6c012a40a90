//! Which bytes a request asks for: `Range`, `If-Range` and `If-None-Match` of RFC 9110.

use axum::http::{HeaderMap, HeaderName, header};

/// What is to be sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Everything: no range was asked for, or one that makes no sense, or several.
    All,
    /// The bytes from `first` to `last`, both of which there are.
    Part {
        /// The place of the first one.
        first: u64,
        /// The place of the last one.
        last: u64,
    },
    /// Only bytes that there are not.
    Nothing,
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// Whether who asks has what this tag stands for.
pub(super) fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let known = headers.get_all(header::IF_NONE_MATCH).iter();
    let mut tags = known
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','));
    tags.any(|known| matches!(known.trim(), "*") || known.trim().trim_start_matches("W/") == tag)
}

/// Which of `size` bytes are asked for. A range that was meant for something else (`If-Range`) is none.
pub(super) fn asked(headers: &HeaderMap, tag: &str, size: u64) -> Asked {
    let meant = text(headers, header::IF_RANGE).is_none_or(|known| known == tag);
    let range = text(headers, header::RANGE).filter(|_| meant);
    range.and_then(|range| parse(range, size)).unwrap_or(Asked::All)
}

/// `None` for what is no single range of bytes: it is to be answered as if it were not there.
fn parse(range: &str, size: u64) -> Option<Asked> {
    let (unit, range) = range.split_once('=')?;
    let (from, to) = range.trim().split_once('-')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = match (from, to) {
        ("", count) => (size.saturating_sub(number(count)?.min(size)), size.checked_sub(1)),
        (from, "") => (number(from)?, size.checked_sub(1)),
        (from, to) => {
            let (from, to) = (number(from)?, number(to)?);
            if to < from {
                return None;
            }
            (from, size.checked_sub(1).map(|last| last.min(to)))
        }
    };
    Some(match last {
        Some(last) if first <= last => Asked::Part { first, last },
        _ => Asked::Nothing,
    })
}

/// One that is too large for a number is larger than any file.
fn number(digits: &str) -> Option<u64> {
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const TAG: &str = "\"abc\"";

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        let value = |text: &str| HeaderValue::from_str(text).unwrap();
        pairs
            .iter()
            .map(|(name, text)| (name.clone(), value(text)))
            .collect()
    }

    fn of(range: &str, size: u64) -> Asked {
        asked(&headers(&[(header::RANGE, range)]), TAG, size)
    }

    #[test]
    fn one_range_is_answered_as_far_as_there_are_bytes() {
        let part = |first, last| Asked::Part { first, last };
        for (range, expected) in [
            ("bytes=0-0", part(0, 0)),
            ("bytes=2-5", part(2, 5)),
            ("bytes=2-", part(2, 9)),
            ("bytes=-3", part(7, 9)),
            ("bytes=-30", part(0, 9)),
            ("bytes=9-99999999999999999999999", part(9, 9)),
            ("Bytes = 1-2", part(1, 2)),
            ("bytes=10-", Asked::Nothing),
            ("bytes=10-12", Asked::Nothing),
            ("bytes=99999999999999999999999-", Asked::Nothing),
            ("bytes=-0", Asked::Nothing),
        ] {
            assert_eq!(of(range, 10), expected, "{range}");
        }
        for range in ["bytes=0-", "bytes=0-5", "bytes=-1"] {
            assert_eq!(of(range, 0), Asked::Nothing, "nothing has no bytes: {range}");
        }
    }

    #[test]
    fn what_is_no_range_is_as_if_it_were_not_there() {
        for range in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=5-2",
            "bytes=+1-2",
            "bytes=1-2,4-5",
            "lines=1-2",
            "bytes=--1",
            "1-2",
        ] {
            assert_eq!(of(range, 10), Asked::All, "{range}");
        }
        assert_eq!(asked(&HeaderMap::new(), TAG, 10), Asked::All);
    }

    #[test]
    fn a_range_of_something_else_is_none() {
        let given = |tag| {
            asked(
                &headers(&[(header::RANGE, "bytes=1-1"), (header::IF_RANGE, tag)]),
                TAG,
                10,
            )
        };
        assert_eq!(given(TAG), Asked::Part { first: 1, last: 1 });
        for other in ["\"other\"", "W/\"abc\"", "Sun, 22 Nov 2026 00:00:00 GMT"] {
            assert_eq!(given(other), Asked::All, "{other}");
        }
    }

    #[test]
    fn who_has_it_need_not_get_it() {
        let known = |tags| is_known(&headers(&[(header::IF_NONE_MATCH, tags)]), TAG);
        assert!(known(TAG) && known("*") && known("\"x\", W/\"abc\""));
        assert!(!known("\"x\"") && !known("abc") && !is_known(&HeaderMap::new(), TAG));
    }
}
