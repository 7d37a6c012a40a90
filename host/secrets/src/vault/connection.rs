//! Requests to Vault: bounded answers, trusted certificates, errors that name path and status.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::HeaderValue;
use reqwest::{Certificate, Client, Method};
use zeroize::Zeroizing;

use super::Settings;
use crate::{Error, Secret};

/// The largest answer: the largest secret with each byte escaped, and what stands around it.
const MAX_ANSWER: usize = 1 << 20;
/// The largest file of certificates, in bytes.
const MAX_AUTHORITY: u64 = 1 << 20;
/// A server that does not answer at all is given up earlier than one that thinks.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How a certificate begins in PEM.
const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// A server, and how it is trusted.
#[derive(Debug)]
pub(super) struct Connection {
    address: String,
    namespace: Option<String>,
    authority: Option<PathBuf>,
    /// The client, and the certificates that it was made with: the file may change.
    client: Mutex<Option<(Vec<u8>, Client)>>,
}

/// What came back. Its bytes are wiped when it is dropped.
pub(super) struct Answer {
    pub status: u16,
    pub body: Zeroizing<Vec<u8>>,
}

impl Connection {
    pub fn new(settings: &Settings) -> Self {
        Self {
            address: settings.address.trim_end_matches('/').to_owned(),
            namespace: settings.namespace.clone(),
            authority: settings.authority.clone(),
            client: Mutex::default(),
        }
    }

    pub async fn get(&self, path: &str, token: &Secret) -> Result<Answer, Error> {
        self.ask(Method::GET, path, Some(token), None).await
    }

    pub async fn post(
        &self,
        path: &str,
        token: Option<&Secret>,
        body: Zeroizing<Vec<u8>>,
    ) -> Result<Answer, Error> {
        self.ask(Method::POST, path, token, Some(body)).await
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        token: Option<&Secret>,
        body: Option<Zeroizing<Vec<u8>>>,
    ) -> Result<Answer, Error> {
        let client = self.client().await.map_err(|reason| self.fault(path, reason))?;
        let mut request = client
            .request(method, format!("{}/v1/{path}", self.address))
            .header("X-Vault-Request", "true");
        if let Some(namespace) = &self.namespace {
            request = request.header("X-Vault-Namespace", namespace);
        }
        if let Some(token) = token {
            let mut value = HeaderValue::from_bytes(token.expose()).map_err(|_| {
                self.fault(
                    path,
                    "the token has characters that a header cannot have".to_owned(),
                )
            })?;
            value.set_sensitive(true);
            request = request.header("X-Vault-Token", value);
        }
        if let Some(body) = body {
            request = request.body(body.to_vec());
        }
        let failed = |error: reqwest::Error| self.fault(path, self.broken(error));
        let mut answer = request.send().await.map_err(failed)?;
        let status = answer.status().as_u16();
        // With the room known beforehand no reallocation leaves a copy behind.
        let mut body = Zeroizing::new(Vec::with_capacity(MAX_ANSWER));
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(self.fault(path, format!("found {status} with more than {MAX_ANSWER} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, body })
    }

    /// A client that trusts what the file says now.
    async fn client(&self) -> Result<Client, String> {
        let pem = match &self.authority {
            Some(path) => authority(path).await?,
            None => Vec::new(),
        };
        let mut kept = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((with, client)) = &*kept
            && *with == pem
        {
            return Ok(client.clone());
        }
        let certificates = match &self.authority {
            Some(path) => Certificate::from_pem_bundle(&pem).map_err(|e| unfit(path, &shown(&e)))?,
            None => Vec::new(),
        };
        let client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("capstan/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .tls_certs_merge(certificates)
            .build()
            .map_err(|e| match &self.authority {
                Some(path) => unfit(path, &shown(&e)),
                None => shown(&e),
            })?;
        *kept = Some((pem, client.clone()));
        Ok(client)
    }

    /// Why a request came to nothing. No text of the client holds what was sent.
    fn broken(&self, error: reqwest::Error) -> String {
        let text = shown(&error.without_url());
        if text.contains("invalid peer certificate") {
            return format!(
                "its certificate is not accepted: {text}; `address` under [secrets.vault] has to name the host that it was made \
                 for, and `authority` a file with the certificate that signed it, if the machine does not trust that one"
            );
        }
        format!("found none: {text}")
    }

    pub fn fault(&self, path: &str, reason: String) -> Error {
        Error::Vault {
            address: self.address.clone(),
            path: path.to_owned(),
            reason,
        }
    }

    /// The fault for an answer that is a refusal.
    pub fn refused(&self, path: &str, status: u16) -> Error {
        let meaning = match status {
            300..=399 => {
                ": it sends us elsewhere; name the server that answers as `address` under [secrets.vault]"
            }
            400 => ": it does not take the request",
            403 => ": the token is not good, or its policies do not allow this path",
            404 => ": there is nothing mounted there",
            429 => ": too many requests, or a standby",
            473 => ": a standby that answers no such request",
            503 => ": it is sealed, or being maintained",
            _ => "",
        };
        self.fault(path, format!("found {status}{meaning}"))
    }
}

/// The bytes of the operator's file of certificates.
async fn authority(path: &Path) -> Result<Vec<u8>, String> {
    let about = tokio::fs::metadata(path)
        .await
        .map_err(|e| unfit(path, &e.to_string()))?;
    if !about.is_file() || about.len() > MAX_AUTHORITY {
        let found = format!("found something else than a file of at most {MAX_AUTHORITY} bytes");
        return Err(unfit(path, &found));
    }
    let pem = tokio::fs::read(path)
        .await
        .map_err(|e| unfit(path, &e.to_string()))?;
    if !pem.windows(BEGIN.len()).any(|window| window == BEGIN) {
        return Err(unfit(path, "found none"));
    }
    Ok(pem)
}

fn unfit(path: &Path, found: &str) -> String {
    format!(
        "expected certificates in {}, which [secrets.vault] in capstan.toml names as `authority`: {found}",
        path.display()
    )
}

/// An error with all of its causes.
fn shown(error: &reqwest::Error) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
