//! Mail of reporters, through the server that the operator named and under the operator's address: rights and the form of
//! a message were checked by the engine, the password is filled in here.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use capstan_config::{Mail as Settings, Security};
use capstan_engine::{Mail, MailFault, MailPort};
use capstan_model::Clock;
use capstan_secrets::Secrets;
use futures::FutureExt;
use futures::future::BoxFuture;
use lettre::address::Envelope;
use lettre::message::Mailbox;
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};

use crate::Error;

mod letter;

/// How long the server may take for one message, from the look-up of its name to its last answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// The largest file of certificates, in bytes.
const MAX_AUTHORITY: u64 = 1 << 20;

/// The farm's mail server, if it has one.
pub struct Server {
    account: Option<Account>,
    secrets: Secrets,
    clock: Arc<dyn Clock>,
    patience: Duration,
}

struct Account {
    host: String,
    port: u16,
    security: Security,
    from: Mailbox,
    login: Option<(String, String)>,
    authority: Option<PathBuf>,
}

impl Server {
    pub fn new(settings: Option<&Settings>, secrets: Secrets, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        Ok(Self {
            account: settings.map(Account::new).transpose()?,
            secrets,
            clock,
            patience: PATIENCE,
        })
    }

    async fn deliver(&self, mail: Mail) -> Result<(), MailFault> {
        let Some(account) = &self.account else {
            return Err(MailFault::Unavailable(
                "there is no mail server; add `[mail]` with `server = \"host:port\"` and `from = \"user@host\"` to \
                 capstan.toml"
                    .to_owned(),
            ));
        };
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(self.clock.now().0.max(0).unsigned_abs());
        let (envelope, bytes) = letter::write(&account.from, mail, now).map_err(MailFault::Invalid)?;
        let transport = account.transport(&self.secrets, self.patience).await?;
        let sent = tokio::time::timeout(self.patience, account.send(transport, &envelope, &bytes)).await;
        sent.unwrap_or_else(|_| {
            Err(MailFault::Unavailable(format!(
                "the mail server {}:{} took longer than {} s",
                account.host,
                account.port,
                self.patience.as_secs_f32()
            )))
        })
    }
}

impl Account {
    fn new(settings: &Settings) -> Result<Self, Error> {
        let (host, port) = settings.server.rsplit_once(':').unwrap_or_default();
        let wrong = |e: &dyn std::fmt::Display| Error::failed("read [mail] in capstan.toml", e.to_string());
        Ok(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: port.parse().map_err(|e| wrong(&e))?,
            security: settings.security,
            from: settings.from.parse().map_err(|e| wrong(&e))?,
            login: settings.login.clone(),
            authority: settings.authority.clone(),
        })
    }

    async fn send(
        &self,
        transport: AsyncSmtpTransport<Tokio1Executor>,
        envelope: &Envelope,
        bytes: &[u8],
    ) -> Result<(), MailFault> {
        let sent = transport.send_raw(envelope, bytes).await;
        sent.map(drop).map_err(|error| self.fault(&error))
    }

    /// What the server's certificate must be: valid for its host, and signed by whom the machine or the operator trusts.
    async fn verified(&self) -> Result<TlsParameters, MailFault> {
        let mut parameters = TlsParameters::builder(self.host.clone());
        if let Some(path) = &self.authority {
            parameters = parameters.add_root_certificate(authority(path).await?);
        }
        parameters
            .build_rustls()
            .map_err(|error| MailFault::Unavailable(shown(&error)))
    }

    /// Made for each message: the password and the authority may have changed.
    async fn transport(
        &self,
        secrets: &Secrets,
        patience: Duration,
    ) -> Result<AsyncSmtpTransport<Tokio1Executor>, MailFault> {
        let unavailable = |e: &dyn std::fmt::Display| MailFault::Unavailable(e.to_string());
        let tls = match self.security {
            Security::StartTls => Tls::Required(self.verified().await?),
            Security::Tls => Tls::Wrapper(self.verified().await?),
            Security::None => Tls::None,
        };
        let builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&self.host)
            .port(self.port)
            .timeout(Some(patience))
            .tls(tls);
        let Some((user, name)) = &self.login else {
            return Ok(builder.build());
        };
        let password = secrets.get(name).await.map_err(|e| unavailable(&e))?;
        let text = password.expose_text().ok_or_else(|| {
            MailFault::Unavailable(format!("expected text in the secret `{name}`, found other bytes"))
        })?;
        let credentials = Credentials::new(user.clone(), text.to_owned());
        Ok(builder.credentials(credentials).build())
    }

    /// A refusal of the login is the operator's to mend, so that the message is kept; any other permanent one ends it.
    fn fault(&self, error: &SmtpError) -> MailFault {
        let text = shown(error);
        if text.contains("invalid peer certificate") {
            return MailFault::Unavailable(format!(
                "the certificate of the mail server {}:{} is not accepted: {text}; `server` under [mail] has to name the host \
                 that it was made for, and `authority` a file with the certificate that signed it, if the machine does not \
                 trust that one",
                self.host, self.port
            ));
        }
        let login = error
            .status()
            .is_some_and(|status| matches!(u16::from(status), 530 | 534 | 535 | 538));
        if error.is_permanent() && !login {
            MailFault::Rejected(format!("the mail server refused it: {text}"))
        } else {
            MailFault::Unavailable(format!("the mail server did not take it: {text}"))
        }
    }
}

/// The certificates of a file.
async fn authority(path: &Path) -> Result<Certificate, MailFault> {
    let wrong = |found: &dyn std::fmt::Display| {
        MailFault::Unavailable(format!(
            "expected certificates in {}, which [mail] in capstan.toml names as `authority`: {found}",
            path.display()
        ))
    };
    let about = tokio::fs::metadata(path).await.map_err(|e| wrong(&e))?;
    if about.len() > MAX_AUTHORITY {
        return Err(wrong(&format!(
            "found {} bytes, more than {MAX_AUTHORITY}",
            about.len()
        )));
    }
    let pem = tokio::fs::read(path).await.map_err(|e| wrong(&e))?;
    if !pem.windows(BEGIN.len()).any(|window| window == BEGIN) {
        return Err(wrong(&"found none"));
    }
    Certificate::from_pem(&pem).map_err(|e| wrong(&shown(&e)))
}

/// How a certificate begins in PEM.
const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// An error with all of its causes.
fn shown(error: &SmtpError) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

impl MailPort for Server {
    fn send(&self, mail: Mail) -> BoxFuture<'_, Result<(), MailFault>> {
        self.deliver(mail).boxed()
    }
}

#[cfg(test)]
mod tests;
