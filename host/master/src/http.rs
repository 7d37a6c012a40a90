//! Requests that plugins send to HTTP servers: rights were checked by the engine, secrets are filled in here. A request
//! leaves for a public address, unless the operator's grant names its host; each redirection is a request of its own.

mod address;
mod resolve;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use capstan_engine::{HttpFault, HttpPort, HttpRequest, HttpResponse};
use capstan_secrets::Secrets;
use futures::FutureExt;
use futures::future::BoxFuture;

use self::address::reserved;
use self::resolve::{Lookup, Reserved, Resolver, System};

/// The largest answer that is kept.
const MAX_BODY: usize = 1024 * 1024;
/// No request takes longer, whatever the plugin asks for.
const MAX_TIMEOUT: Duration = Duration::from_secs(60);
/// A server that does not answer at all is given up earlier.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Headers of an answer, in all.
const MAX_HEADER_BYTES: usize = 64 * 1024;
/// Connections that are kept for the next request to the same host.
const IDLE_CONNECTIONS: usize = 4;

/// The farm's HTTP client.
pub struct Client {
    /// Connects to public addresses only.
    public: reqwest::Client,
    /// Connects to any. Another client, so that none of its open connections serves a request that may not use it.
    any: reqwest::Client,
    secrets: Secrets,
}

impl Client {
    /// A client that follows no redirection: each address needs the right to be asked.
    pub fn new(secrets: Secrets) -> Result<Self, reqwest::Error> {
        Self::with(secrets, Arc::new(System::default()))
    }

    fn with(secrets: Secrets, lookup: Arc<dyn Lookup>) -> Result<Self, reqwest::Error> {
        let client = |private| {
            reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .user_agent(concat!("capstan/", env!("CARGO_PKG_VERSION")))
                .no_proxy()
                .connect_timeout(CONNECT_TIMEOUT)
                .pool_max_idle_per_host(IDLE_CONNECTIONS)
                .http2_max_header_list_size(MAX_HEADER_BYTES as u32)
                .dns_resolver(Resolver {
                    lookup: lookup.clone(),
                    private,
                })
                .build()
        };
        Ok(Self {
            public: client(false)?,
            any: client(true)?,
            secrets,
        })
    }

    /// The client for this request. A host that is written as an address is connected to without asking the resolver.
    fn client(&self, request: &HttpRequest) -> Result<&reqwest::Client, HttpFault> {
        if request.allow_private {
            return Ok(&self.any);
        }
        let url = reqwest::Url::parse(&request.url)
            .map_err(|error| HttpFault::Invalid(format!("expected a URL: {error}")))?;
        let host = url.host_str().unwrap_or_default();
        let literal = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<IpAddr>();
        match literal
            .ok()
            .and_then(|address| Some((address, reserved(address)?)))
        {
            Some((address, network)) => Err(HttpFault::Denied(format!("{address} is {network}"))),
            None => Ok(&self.public),
        }
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpFault> {
        let client = self.client(&request)?;
        let built = self.build(client, request).await?;
        let mut answer = client.execute(built).await.map_err(transport)?;
        let status = answer.status().as_u16();
        let sizes = answer
            .headers()
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len());
        if sizes.sum::<usize>() > MAX_HEADER_BYTES {
            return Err(HttpFault::TooLarge);
        }
        let text =
            |value: &reqwest::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = answer
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), text(value)))
            .collect();
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(transport)? {
            if body.len() + chunk.len() > MAX_BODY {
                return Err(HttpFault::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(HttpResponse {
            status,
            headers,
            body,
        })
    }

    async fn build(
        &self,
        client: &reqwest::Client,
        request: HttpRequest,
    ) -> Result<reqwest::Request, HttpFault> {
        let invalid =
            |what: &str, found: &str| HttpFault::Invalid(format!("expected {what}, found {found:?}"));
        let method = reqwest::Method::from_bytes(request.method.as_bytes())
            .map_err(|_| invalid("an HTTP method", &request.method))?;
        let mut headers = reqwest::header::HeaderMap::new();
        for (name, value) in request.headers {
            insert(&mut headers, &name, value.as_bytes(), false)?;
        }
        for (name, secret) in request.secret_headers {
            let value = self.secrets.get(&secret).await.map_err(secret_fault)?;
            insert(&mut headers, &name, value.expose(), true)?;
        }
        let timeout =
            Duration::from_millis(u64::from(request.timeout_ms)).clamp(Duration::from_millis(1), MAX_TIMEOUT);
        let builder = client
            .request(method, &request.url)
            .headers(headers)
            .body(request.body);
        builder
            .timeout(timeout)
            .build()
            .map_err(|e| HttpFault::Invalid(e.without_url().to_string()))
    }
}

/// A secret server that is away may come back; that there is no such secret is the operator's to mend.
fn secret_fault(error: capstan_secrets::Error) -> HttpFault {
    match error {
        capstan_secrets::Error::Vault { .. } => HttpFault::Transport(error.to_string()),
        other => HttpFault::Invalid(other.to_string()),
    }
}

fn insert(
    headers: &mut reqwest::header::HeaderMap,
    name: &str,
    value: &[u8],
    sensitive: bool,
) -> Result<(), HttpFault> {
    let name = reqwest::header::HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| HttpFault::Invalid(format!("expected a header's name, found {name:?}")))?;
    // The value may be a secret: the error names the header only.
    let mut value = reqwest::header::HeaderValue::from_bytes(value).map_err(|_| {
        HttpFault::Invalid(format!(
            "the value of header `{name}` has characters that a header cannot"
        ))
    })?;
    value.set_sensitive(sensitive);
    headers.insert(name, value);
    Ok(())
}

fn transport(error: reqwest::Error) -> HttpFault {
    if error.is_timeout() {
        return HttpFault::Timeout;
    }
    let error = error.without_url();
    let mut causes = std::iter::successors(std::error::Error::source(&error), |cause| cause.source());
    if let Some(reserved) = causes.find_map(|cause| cause.downcast_ref::<Reserved>()) {
        return HttpFault::Denied(reserved.to_string());
    }
    let causes = std::iter::successors(std::error::Error::source(&error), |cause| cause.source());
    let text = causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
    HttpFault::Transport(text)
}

impl HttpPort for Client {
    fn fetch(&self, request: HttpRequest) -> BoxFuture<'_, Result<HttpResponse, HttpFault>> {
        self.send(request).boxed()
    }
}

#[cfg(test)]
mod tests;
