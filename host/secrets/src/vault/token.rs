//! The token that Vault is asked with: logging in, renewing it while it lives, and noticing that it is gone.

use std::time::Duration;

use serde::Deserialize;
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

use super::{Answer, Login, Vault};
use crate::{Error, Secret};

/// Where a token is renewed.
const RENEW: &str = "auth/token/renew-self";
/// After how long a renewal that failed is tried again, and a token that has no end is looked at again.
const RETRY: Duration = Duration::from_secs(15);
const REST: Duration = Duration::from_secs(3600);
/// Longer lives than this are renewed as if they were this long.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// A token that a login gave.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    token: Secret,
    /// When it was given or renewed.
    from: Instant,
    /// How long it lives from then on; for ever, if there is no number.
    life: Option<Duration>,
    /// How long it lived at first. What is renewed for much less will soon not be renewed at all.
    at_first: Option<Duration>,
    renewable: bool,
}

/// The part of an answer that is about a token.
#[derive(Deserialize)]
struct Granted {
    auth: Auth,
}

#[derive(Deserialize)]
struct Auth {
    client_token: String,
    #[serde(default)]
    lease_duration: u64,
    #[serde(default)]
    renewable: bool,
}

impl Auth {
    fn life(&self) -> Option<Duration> {
        (self.lease_duration > 0).then(|| Duration::from_secs(self.lease_duration).min(LONGEST))
    }
}

impl Lease {
    /// Whether it lives long enough for another request.
    fn is_good(&self) -> bool {
        self.life.is_none_or(|life| self.from.elapsed() < life * 9 / 10)
    }
}

impl Vault {
    /// A token that should be good.
    pub(super) async fn token(&self) -> Result<Secret, Error> {
        let (mount, role, secret_id) = match &self.settings.login {
            Login::Token(name) => return self.own(name),
            Login::AppRole {
                mount,
                role,
                secret_id,
            } => (mount, role, secret_id),
        };
        // Held during the login: whoever else needs a token waits for this one.
        let mut lease = self.lease.lock().await;
        if let Some(lease) = lease.as_ref().filter(|lease| lease.is_good()) {
            return Ok(lease.token.clone());
        }
        let path = format!("auth/{mount}/login");
        let secret_id = self.own(secret_id)?;
        let text = secret_id.expose_text().ok_or_else(|| {
            self.connection
                .fault(&path, "the secret_id is not UTF-8 text".to_owned())
        })?;
        let body = serde_json::json!({ "role_id": role, "secret_id": text }).to_string();
        let from = Instant::now();
        let granted = self.granted(&path, None, body.into_bytes()).await?;
        let new = Lease {
            from,
            life: granted.life(),
            at_first: granted.life(),
            renewable: granted.renewable,
            token: Secret::new(granted.client_token),
        };
        let token = new.token.clone();
        *lease = Some(new);
        self.fresh.notify_one();
        Ok(token)
    }

    /// A secret of this machine that the login needs.
    fn own(&self, name: &str) -> Result<Secret, Error> {
        let found = self.local.get(name)?;
        found.ok_or_else(|| self.local.missing(name, None))
    }

    async fn granted(&self, path: &str, token: Option<&Secret>, body: Vec<u8>) -> Result<Auth, Error> {
        let answer = self.connection.post(path, token, Zeroizing::new(body)).await?;
        match answer.status {
            200 => self.auth(path, &answer),
            status => Err(self.connection.refused(path, status)),
        }
    }

    fn auth(&self, path: &str, answer: &Answer) -> Result<Auth, Error> {
        let granted: Result<Granted, _> = serde_json::from_slice(&answer.body);
        // The parser's own words may quote what it read.
        let fault = || "found 200 with something that is no token".to_owned();
        granted
            .map(|granted| granted.auth)
            .map_err(|_| self.connection.fault(path, fault()))
    }

    /// Whether a refused token is none any more, and another login may help: then it is forgotten. A path that the token may
    /// not read is no reason to log in again.
    pub(super) async fn is_dead(&self, token: &Secret) -> Result<bool, Error> {
        if matches!(self.settings.login, Login::Token(_)) {
            return Ok(false);
        }
        let answer = self.connection.get("auth/token/lookup-self", token).await?;
        let dead = answer.status != 200;
        if dead {
            self.forget(token).await;
        }
        Ok(dead)
    }

    async fn forget(&self, token: &Secret) {
        let mut lease = self.lease.lock().await;
        if lease
            .as_ref()
            .is_some_and(|lease| lease.token.expose() == token.expose())
        {
            *lease = None;
        }
    }

    /// Renews the token in time, for ever.
    pub(crate) async fn keep(&self) {
        match &self.settings.login {
            Login::Token(name) => self.keep_own(name).await,
            Login::AppRole { .. } => self.keep_lease().await,
        }
    }

    /// The operator's token. One that cannot be renewed is as it should be: somebody else sees to it.
    async fn keep_own(&self, name: &str) {
        let mut told = false;
        loop {
            let renewed = match self.own(name) {
                Ok(token) => self.renew(&token).await,
                Err(error) => Err(error),
            };
            let pause = match renewed {
                Ok(Some(auth)) => {
                    told = false;
                    auth.life().map_or(REST, |life| (life / 2).min(REST))
                }
                Ok(None) => REST,
                Err(error) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(%error, "the token for Vault was not renewed; trying again every {RETRY:?}");
                    }
                    RETRY
                }
            };
            sleep(pause).await;
        }
    }

    async fn keep_lease(&self) {
        loop {
            let lease = self.lease.lock().await.clone();
            let mortal = lease.filter(|lease| lease.renewable);
            let Some((life, lease)) = mortal.and_then(|lease| Some((lease.life?, lease))) else {
                self.fresh.notified().await;
                continue;
            };
            tokio::select! {
                () = tokio::time::sleep_until(lease.from + life * 2 / 3) => {}
                // There is another one now.
                () = self.fresh.notified() => continue,
            }
            let from = Instant::now();
            match self.renew(&lease.token).await {
                Ok(Some(auth)) if auth.life() >= lease.at_first.map(|life| life / 2) => {
                    let renewed = Lease {
                        from,
                        life: auth.life(),
                        ..lease
                    };
                    self.replace(renewed).await;
                }
                // The next request logs in.
                Ok(_) => self.forget(&lease.token).await,
                Err(error) => {
                    tracing::warn!(%error, "the token for Vault was not renewed");
                    let left = (lease.from + life).saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        self.forget(&lease.token).await;
                    } else {
                        sleep(left.min(RETRY)).await;
                    }
                }
            }
        }
    }

    async fn replace(&self, renewed: Lease) {
        let mut lease = self.lease.lock().await;
        if lease
            .as_ref()
            .is_some_and(|lease| lease.token.expose() == renewed.token.expose())
        {
            *lease = Some(renewed);
        }
    }

    /// The token's new life; none if Vault says that it is not renewed, or not any more.
    async fn renew(&self, token: &Secret) -> Result<Option<Auth>, Error> {
        let asked = self
            .connection
            .post(RENEW, Some(token), Zeroizing::new(b"{}".to_vec()));
        let answer = tokio::time::timeout(self.settings.timeout, asked).await;
        let answer =
            answer.unwrap_or_else(|_| Err(self.connection.fault(RENEW, "found none in time".to_owned())))?;
        match answer.status {
            200 => self.auth(RENEW, &answer).map(Some),
            400 => Ok(None),
            403 if matches!(self.settings.login, Login::AppRole { .. }) => Ok(None),
            status => Err(self.connection.refused(RENEW, status)),
        }
    }
}
