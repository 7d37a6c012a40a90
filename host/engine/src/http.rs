//! Requests of plugins to HTTP servers: each is brought into one form, checked for it, then for the rights, then handed to
//! the master's port.

use std::time::Instant;

use capstan_model::plugin::Right;

use crate::bindings::source::capstan::plugin::http;
use crate::call::CallState;
use crate::limits::MAX_PAYLOAD;
use crate::ports::{HttpFault, HttpRequest, HttpResponse};

const MAX_HEADERS: usize = 100;
const MAX_HEADER_BYTES: usize = 64 << 10;
const MAX_URL: usize = 8 << 10;
const MAX_TIMEOUT_MS: u32 = 300_000;

impl http::Host for CallState {
    async fn fetch(
        &mut self,
        request: http::Request,
    ) -> wasmtime::Result<Result<http::Response, http::HttpError>> {
        let ports = self.reach("http.fetch")?;
        let request = match self.checked(request) {
            Ok(request) => request,
            Err(refused) => return Ok(Err(refused)),
        };
        let asked = format!("{} {}", request.method, request.url);
        let since = Instant::now();
        let answer = ports.http.fetch(request).await;
        self.guest.returned(since);
        Ok(answer
            .and_then(bounded)
            .map(http::Response::from)
            .map_err(|fault| match fault {
                HttpFault::Denied(why) => {
                    http::HttpError::Denied(self.guest.refused_by_port(Right::Http, asked, &why))
                }
                fault => http::HttpError::from(fault),
            }))
    }
}

impl CallState {
    fn checked(&self, request: http::Request) -> Result<HttpRequest, http::HttpError> {
        let invalid = |text: String| Err(http::HttpError::Invalid(text));
        let url = normalise(&request.url).map_err(http::HttpError::Invalid)?;
        check_method(&request.method).map_err(http::HttpError::Invalid)?;
        if request.body.len() > MAX_PAYLOAD {
            return invalid(format!(
                "expected a body of at most {MAX_PAYLOAD} bytes, found {}",
                request.body.len()
            ));
        }
        let headers = well_formed(request.headers).map_err(http::HttpError::Invalid)?;
        let secret_headers = well_formed(request.secret_headers).map_err(http::HttpError::Invalid)?;
        let allow_private = self
            .guest
            .allow_request(&request.method, &url)
            .map_err(http::HttpError::Denied)?;
        for (_, secret) in &secret_headers {
            self.guest.allow_secret(secret).map_err(http::HttpError::Denied)?;
        }
        let timeout_ms = request.timeout_ms.clamp(1, MAX_TIMEOUT_MS);
        Ok(HttpRequest {
            method: request.method,
            url,
            headers,
            secret_headers,
            body: request.body,
            timeout_ms,
            allow_private,
        })
    }
}

/// `CONNECT` opens a tunnel, in which the rest would go unseen; a server answers `TRACE` with the request itself, secret
/// headers and all.
fn check_method(method: &str) -> Result<(), String> {
    let fits = (1..=32).contains(&method.len()) && method.bytes().all(|b| b.is_ascii_uppercase());
    if fits && !matches!(method, "CONNECT" | "TRACE" | "TRACK") {
        return Ok(());
    }
    Err(format!(
        "expected a method in capital letters, other than CONNECT and TRACE, found {:?}",
        cut(method)
    ))
}

/// One spelling per address, so that a right cannot be walked around: `..` resolved, host in lower case, no default
/// port, no user, no fragment.
fn normalise(text: &str) -> Result<String, String> {
    let expected = |found: String| format!("expected an http or https URL, found {found}");
    if text.len() > MAX_URL {
        return Err(expected(format!(
            "one of {} bytes; {MAX_URL} are the most",
            text.len()
        )));
    }
    let mut url = url::Url::parse(text).map_err(|error| expected(format!("{:?}: {error}", cut(text))))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(expected(format!("the scheme {:?}", url.scheme())));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(expected("a user name in it; use a secret header".to_owned()));
    }
    url.set_fragment(None);
    Ok(url.into())
}

/// Headers in a form that nothing between here and the server reads as something else.
fn well_formed(headers: Vec<http::Header>) -> Result<Vec<(String, String)>, String> {
    if headers.len() > MAX_HEADERS {
        return Err(format!(
            "expected at most {MAX_HEADERS} headers, found {}",
            headers.len()
        ));
    }
    let bytes: usize = headers.iter().map(|h| h.name.len() + h.value.len()).sum();
    if bytes > MAX_HEADER_BYTES {
        return Err(format!(
            "expected headers of at most {MAX_HEADER_BYTES} bytes in all, found {bytes}"
        ));
    }
    headers.into_iter().map(header).collect()
}

fn header(header: http::Header) -> Result<(String, String), String> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if header.name.is_empty() || !header.name.bytes().all(token) {
        return Err(format!(
            "expected the name of a header, found {:?}",
            cut(&header.name)
        ));
    }
    if is_the_hosts(&header.name) {
        return Err(format!(
            "the header {} is not a plugin's to set: it says how the request travels",
            cut(&header.name)
        ));
    }
    if header.value.chars().any(|c| c.is_control() && c != '\t') {
        return Err(format!(
            "the value of the header {} holds control characters",
            cut(&header.name)
        ));
    }
    Ok((header.name, header.value))
}

/// What says where a request goes, where it ends, and who passes it on. With one of these, one request could become two, or
/// reach another site of the same server (RFC 9112, 6 and 9).
fn is_the_hosts(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let fixed = [
        "connection",
        "content-length",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    fixed.contains(&name.as_str()) || name.starts_with("proxy-")
}

fn bounded(response: HttpResponse) -> Result<HttpResponse, HttpFault> {
    if response.body.len() > MAX_PAYLOAD {
        Err(HttpFault::TooLarge)
    } else {
        Ok(response)
    }
}

fn cut(text: &str) -> String {
    text.chars().take(100).collect()
}

impl From<HttpResponse> for http::Response {
    fn from(response: HttpResponse) -> Self {
        let header = |(name, value)| http::Header { name, value };
        Self {
            status: response.status,
            headers: response.headers.into_iter().map(header).collect(),
            body: response.body,
        }
    }
}

impl From<HttpFault> for http::HttpError {
    fn from(fault: HttpFault) -> Self {
        match fault {
            HttpFault::Timeout => Self::Timeout,
            HttpFault::TooLarge => Self::TooLarge,
            HttpFault::Denied(text) => Self::Denied(text),
            HttpFault::Invalid(text) => Self::Invalid(text),
            HttpFault::Transport(text) => Self::Transport(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_spelling() {
        let same = "https://ci.example.org/b";
        for text in [
            "HTTPS://CI.example.org:443/a/../b#top",
            "https://ci.example.org/a/%2e%2e/b",
            same,
        ] {
            assert_eq!(normalise(text).unwrap(), same);
        }
        for text in [
            "file:///etc/passwd",
            "https://me:pw@ci.example.org/",
            "nonsense",
            "",
        ] {
            assert!(normalise(text).is_err(), "{text}");
        }
    }

    #[test]
    fn no_method_opens_a_tunnel_or_has_secrets_sent_back() {
        for method in ["CONNECT", "TRACE", "TRACK", "trace", "", "GET /", "G\r\nET"] {
            assert!(check_method(method).is_err(), "{method:?}");
        }
        check_method("PATCH").unwrap();
    }

    fn one(name: &str, value: &str) -> Result<Vec<(String, String)>, String> {
        well_formed(vec![http::Header {
            name: name.to_owned(),
            value: value.to_owned(),
        }])
    }

    #[test]
    fn no_header_makes_a_second_request() {
        for (name, value) in [
            ("Host", "elsewhere.example.org"),
            ("host", "x"),
            ("Content-Length", "0"),
            ("Transfer-Encoding", "chunked"),
            ("CONNECTION", "close"),
            ("Proxy-Authorization", "Basic eA=="),
            ("Upgrade", "h2c"),
            ("TE", "trailers"),
            ("X-A", "b\r\nHost: evil"),
            ("X-A", "b\nGET / HTTP/1.1"),
            ("X-A", "b\0"),
            ("X-A: b\r\nHost", "evil"),
            ("X A", "b"),
            ("Höst", "b"),
            ("", "b"),
        ] {
            assert!(one(name, value).is_err(), "{name:?}: {value:?}");
        }
        assert_eq!(one("X-Build", "größe 1\t2").unwrap().len(), 1);
    }

    #[test]
    fn headers_are_bounded() {
        assert!(one("X", &"a".repeat(MAX_HEADER_BYTES)).is_err());
        let many = |count| {
            let header = |_| http::Header {
                name: "X".to_owned(),
                value: String::new(),
            };
            well_formed((0..count).map(header).collect())
        };
        assert!(many(MAX_HEADERS).is_ok() && many(MAX_HEADERS + 1).is_err());
    }
}
