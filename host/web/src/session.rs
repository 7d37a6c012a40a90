//! Sessions of people who signed in with the control token: a signed cookie and nothing else. Whoever changes the token
//! ends all of them; a restart of the master ends none. `guard` asks whether a request has one.

use std::sync::{Mutex, PoisonError};

use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use capstan_model::Timestamp;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

/// How long a session lasts, in seconds.
const LIFE: i64 = 30 * 24 * 60 * 60;
/// The longest cookie that is looked at.
const MAX_COOKIE: usize = 200;

/// Makes sessions and knows them again.
pub(crate) struct Sessions {
    key: hmac::Key,
    /// The cookie's name. Browsers share cookies between the ports of a machine, so the port is part of it: otherwise two
    /// farms there would sign each other's visitors out.
    name: String,
}

impl Sessions {
    pub(crate) fn new(token: &str, port: u16) -> Self {
        let token = hmac::Key::new(hmac::HMAC_SHA256, token.as_bytes());
        let key = hmac::sign(&token, b"capstan session 1");
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()),
            name: format!("capstan-{port}"),
        }
    }

    /// The cookie of a new session, as the value of `Set-Cookie`. `None` when the machine has no random numbers.
    pub(crate) fn begin(&self, now: Timestamp, secure: bool) -> Option<String> {
        let mut id = [0; 12];
        SystemRandom::new().fill(&mut id).ok()?;
        let id = BASE64_URL_SAFE_NO_PAD.encode(id);
        let signed = format!("{}.{id}", now.plus_ms(LIFE * 1000).0);
        let mark = BASE64_URL_SAFE_NO_PAD.encode(hmac::sign(&self.key, signed.as_bytes()));
        Some(self.cookie(&format!("{signed}.{mark}"), LIFE, secure))
    }

    /// Makes a browser forget its session, as the value of `Set-Cookie`.
    pub(crate) fn end(&self, secure: bool) -> String {
        self.cookie("", 0, secure)
    }

    fn cookie(&self, value: &str, age: i64, secure: bool) -> String {
        let secure = if secure { "; Secure" } else { "" };
        let name = &self.name;
        format!("{name}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{secure}")
    }

    /// Whether a request has a session that this farm made and that has not ended.
    pub(crate) fn has(&self, headers: &HeaderMap, now: Timestamp) -> bool {
        let cookies = headers
            .get_all(header::COOKIE)
            .into_iter()
            .filter_map(|all| all.to_str().ok());
        let mut pairs = cookies
            .flat_map(|all| all.split(';'))
            .filter_map(|pair| pair.trim().split_once('='));
        pairs.any(|(name, value)| name == self.name && self.is_good(value, now))
    }

    fn is_good(&self, value: &str, now: Timestamp) -> bool {
        let parts = value
            .rsplit_once('.')
            .filter(|_| value.len() <= MAX_COOKIE)
            .and_then(|(signed, mark)| Some((signed, BASE64_URL_SAFE_NO_PAD.decode(mark).ok()?)));
        let Some((signed, mark)) = parts else {
            return false;
        };
        // Compares in constant time.
        if hmac::verify(&self.key, signed.as_bytes(), &mark).is_err() {
            return false;
        }
        let ends = signed.split_once('.').and_then(|(ends, _)| ends.parse().ok());
        ends.is_some_and(|ends| now < Timestamp(ends))
    }
}

/// How many wrong tokens in a row are looked at before the next has to wait.
const TRIES: i64 = 10;
/// How long one more try takes to become available, in milliseconds.
const TRY_MS: i64 = 3000;

/// Bounds how fast tokens can be guessed, by everybody together. Holds when all tries are available again.
#[derive(Default)]
pub(crate) struct Tries(Mutex<i64>);

/// What became of a token that somebody typed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the control token.
    Right,
    /// It is not.
    Wrong,
    /// It was not looked at; another may be shown after so many milliseconds.
    Later(i64),
}

impl Tries {
    /// Judges a token. A right one costs no try.
    pub(crate) fn judge(&self, now: Timestamp, right: bool) -> Verdict {
        let mut full = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = *full - (TRIES - 1) * TRY_MS;
        if now.0 < next {
            Verdict::Later(next - now.0)
        } else if right {
            Verdict::Right
        } else {
            *full = (*full).max(now.0) + TRY_MS;
            Verdict::Wrong
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_795_261_987_000);

    fn headers(cookie: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::COOKIE, cookie.parse().unwrap())])
    }

    fn value(sessions: &Sessions) -> String {
        let cookie = sessions.begin(NOW, false).unwrap();
        cookie.split(';').next().unwrap().to_owned()
    }

    #[test]
    fn a_session_is_good_until_its_end_for_its_token_alone() {
        let sessions = Sessions::new("token", 80);
        let cookie = value(&sessions);
        assert!(sessions.has(&headers(&cookie), NOW));
        assert!(sessions.has(&headers(&format!("other=1; {cookie}; more=2")), NOW));
        let last = NOW.plus_ms(LIFE * 1000 - 1);
        assert!(
            Sessions::new("token", 80).has(&headers(&cookie), last),
            "a restart ends no session"
        );
        assert!(!sessions.has(&headers(&cookie), last.plus_ms(1)));
        assert!(!Sessions::new("another", 80).has(&headers(&cookie), NOW));
        assert_ne!(cookie, value(&sessions), "no two sessions are alike");
    }

    #[test]
    fn what_was_changed_is_no_session() {
        let sessions = Sessions::new("token", 80);
        let cookie = value(&sessions);
        let (name, signed) = cookie.split_once('=').unwrap();
        let (ends, rest) = signed.split_once('.').unwrap();
        let later = format!("{}.{rest}", ends.parse::<i64>().unwrap() + 1);
        let (unsigned, mark) = signed.rsplit_once('.').unwrap();
        for forged in [
            later,
            unsigned.to_owned(),
            format!("{unsigned}."),
            format!("{unsigned}.{}", &mark[1..]),
            format!(".{mark}"),
            String::new(),
            ".".repeat(MAX_COOKIE + 1),
        ] {
            assert!(
                !sessions.has(&headers(&format!("{name}={forged}")), NOW),
                "{forged}"
            );
        }
        assert!(!sessions.has(&headers(&format!("x{cookie}")), NOW));
        assert!(!sessions.has(&HeaderMap::new(), NOW));
    }

    #[test]
    fn wrong_tokens_use_up_tries_that_come_back_with_time() {
        let tries = Tries::default();
        for _ in 0..TRIES {
            assert_eq!(tries.judge(NOW, true), Verdict::Right);
            assert_eq!(tries.judge(NOW, false), Verdict::Wrong);
        }
        for right in [true, false] {
            assert_eq!(tries.judge(NOW, right), Verdict::Later(TRY_MS));
        }
        let later = NOW.plus_ms(TRY_MS);
        assert_eq!(tries.judge(later, false), Verdict::Wrong);
        assert_eq!(tries.judge(later, true), Verdict::Later(TRY_MS));
    }
}
