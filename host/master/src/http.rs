//! Requests that plugins send to HTTP servers: rights were checked by the engine, secrets are filled in here.

use std::time::Duration;

use capstan_engine::{HttpFault, HttpPort, HttpRequest, HttpResponse};
use capstan_secrets::Secrets;
use futures::FutureExt;
use futures::future::BoxFuture;

/// The largest answer that is kept.
const MAX_BODY: usize = 1024 * 1024;
/// No request takes longer, whatever the plugin asks for.
const MAX_TIMEOUT: Duration = Duration::from_secs(60);

/// The farm's HTTP client.
pub struct Client {
    client: reqwest::Client,
    secrets: Secrets,
}

impl Client {
    /// A client that follows no redirection: each address needs the right to be asked.
    pub fn new(secrets: Secrets) -> Result<Self, reqwest::Error> {
        let builder = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        let agent = concat!("capstan/", env!("CARGO_PKG_VERSION"));
        Ok(Self {
            client: builder.user_agent(agent).no_proxy().build()?,
            secrets,
        })
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpFault> {
        let built = self.build(request)?;
        let mut answer = self.client.execute(built).await.map_err(transport)?;
        let status = answer.status().as_u16();
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

    fn build(&self, request: HttpRequest) -> Result<reqwest::Request, HttpFault> {
        let invalid =
            |what: &str, found: &str| HttpFault::Invalid(format!("expected {what}, found {found:?}"));
        let method = reqwest::Method::from_bytes(request.method.as_bytes())
            .map_err(|_| invalid("an HTTP method", &request.method))?;
        let mut headers = reqwest::header::HeaderMap::new();
        for (name, value) in request.headers {
            insert(&mut headers, &name, value.as_bytes(), false)?;
        }
        for (name, secret) in request.secret_headers {
            let value = self
                .secrets
                .get(&secret)
                .map_err(|e| HttpFault::Invalid(e.to_string()))?;
            insert(&mut headers, &name, value.expose(), true)?;
        }
        let timeout =
            Duration::from_millis(u64::from(request.timeout_ms)).clamp(Duration::from_millis(1), MAX_TIMEOUT);
        let builder = self
            .client
            .request(method, &request.url)
            .headers(headers)
            .body(request.body);
        builder
            .timeout(timeout)
            .build()
            .map_err(|e| HttpFault::Invalid(e.without_url().to_string()))
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
    let causes = std::iter::successors(std::error::Error::source(&error), |cause| cause.source());
    let text = causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
    HttpFault::Transport(text)
}

impl HttpPort for Client {
    fn fetch(&self, request: HttpRequest) -> BoxFuture<'_, Result<HttpResponse, HttpFault>> {
        self.send(request).boxed()
    }
}
