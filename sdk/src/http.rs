//! Requests to HTTP servers, for reporters and change sources: [`get`] and [`post_json`] make one, [`Call::send`] sends it.
//!
//! ```no_run
//! # fn main() -> Result<(), capstan_sdk::PluginError> {
//! use capstan_sdk::http;
//!
//! let answer = http::get("https://api.example.org/builds")
//!     .secret_header("authorization", "api-token")
//!     .follow(3)
//!     .send();
//! # Ok(()) }
//! ```

use serde::Serialize;

pub use crate::host::http::{Header, HttpError, Request, Response, fetch};

/// As long as a request waits unless it says otherwise.
const TIMEOUT_MS: u32 = 30_000;

/// A request in the making.
#[derive(Clone, Debug)]
pub struct Call {
    request: Request,
    hops: u32,
}

/// A `GET` of that address.
pub fn get(url: &str) -> Call {
    Call::new("GET", url)
}

/// A `POST` of that value as JSON to that address.
pub fn post_json(url: &str, value: &impl Serialize) -> Result<Call, HttpError> {
    let body = serde_json::to_vec(value).map_err(|error| HttpError::Invalid(error.to_string()))?;
    let mut call = Call::new("POST", url).header("content-type", "application/json");
    call.request.body = body;
    Ok(call)
}

impl Call {
    /// A request with this method and nothing else.
    pub fn new(method: &str, url: &str) -> Self {
        let request = Request {
            method: method.to_owned(),
            url: url.to_owned(),
            headers: Vec::new(),
            secret_headers: Vec::new(),
            body: Vec::new(),
            timeout_ms: TIMEOUT_MS,
        };
        Self { request, hops: 0 }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request.headers.push(header(name, value));
        self
    }

    /// Adds a header whose value is the secret of that name; the plugin never sees it.
    #[must_use]
    pub fn secret_header(mut self, name: &str, secret: &str) -> Self {
        self.request.secret_headers.push(header(name, secret));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.request.body = body.into();
        self
    }

    /// Waits so many milliseconds for each answer; 30 seconds otherwise.
    #[must_use]
    pub fn timeout_ms(mut self, ms: u32) -> Self {
        self.request.timeout_ms = ms;
        self
    }

    /// Follows so many redirections, none otherwise. Each is a request of its own, which needs the right to its address;
    /// secret headers, `authorization` and `cookie` go to no other server than the first.
    #[must_use]
    pub fn follow(mut self, hops: u32) -> Self {
        self.hops = hops;
        self
    }

    /// Sends it. The answer's status may be any, a redirection too if there was one more than may be followed.
    pub fn send(self) -> Result<Response, HttpError> {
        self.send_with(fetch)
    }

    fn send_with(
        mut self,
        fetch: impl Fn(&Request) -> Result<Response, HttpError>,
    ) -> Result<Response, HttpError> {
        for _ in 0..self.hops {
            let answer = fetch(&self.request)?;
            let Some(location) = location(&answer) else {
                return Ok(answer);
            };
            self.request = redirected(self.request, answer.status, location)?;
        }
        fetch(&self.request)
    }
}

fn header(name: &str, value: &str) -> Header {
    Header {
        name: name.to_owned(),
        value: value.to_owned(),
    }
}

fn location(answer: &Response) -> Option<&str> {
    let named = |header: &&Header| header.name.eq_ignore_ascii_case("location");
    let found = answer.headers.iter().find(named);
    found
        .map(|header| header.value.as_str())
        .filter(|_| matches!(answer.status, 301 | 302 | 303 | 307 | 308))
}

/// The request after a redirection, as browsers make it: what was a `POST` becomes a `GET` unless the status forbids it.
fn redirected(mut request: Request, status: u16, location: &str) -> Result<Request, HttpError> {
    let url = join(&request.url, location)
        .ok_or_else(|| HttpError::Invalid(format!("expected an address to go on to, found {location:?}")))?;
    let kept = matches!(status, 307 | 308) || matches!(request.method.as_str(), "GET" | "HEAD");
    if !kept {
        request.method = "GET".to_owned();
        request.body.clear();
        let describes = |header: &Header| header.name.to_ascii_lowercase().starts_with("content-");
        request.headers.retain(|header| !describes(header));
    }
    if server(&url) != server(&request.url) {
        request.secret_headers.clear();
        let private = |name: &str| {
            ["authorization", "cookie"]
                .iter()
                .any(|it| name.eq_ignore_ascii_case(it))
        };
        request.headers.retain(|header| !private(&header.name));
    }
    request.url = url;
    Ok(request)
}

/// Scheme and server of an address, with the slashes between them.
fn server(url: &str) -> Option<&str> {
    let begin = url.find("://")? + 3;
    let length = url[begin..]
        .find(['/', '?', '#', '\\'])
        .unwrap_or(url.len() - begin);
    Some(&url[..begin + length])
}

/// The address that a location means, seen from another. The master puts `..` and the like in order.
fn join(base: &str, location: &str) -> Option<String> {
    let location = location.split('#').next().unwrap_or_default();
    let known = |text: &str| {
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        scheme.is_some_and(|it| it.eq_ignore_ascii_case("http") || it.eq_ignore_ascii_case("https"))
    };
    let server = server(base)?;
    let path = base[server.len()..].split(['?', '#']).next().unwrap_or_default();
    match location {
        "" => None,
        _ if known(location) => Some(location.to_owned()),
        _ if location.starts_with("//") => Some(format!("{}:{location}", server.split(':').next()?)),
        _ if location.starts_with('/') => Some(format!("{server}{location}")),
        _ if location.starts_with('?') => Some(format!("{server}{path}{location}")),
        // Another scheme, such as `file:`.
        _ if location.split(['/', '?']).next()?.contains(':') => None,
        _ => {
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            Some(format!("{server}{folder}/{location}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// What was asked, with a server that redirects as it is told: an address, a status and a location.
    fn sent(call: Call, redirections: &[(&str, u16, &str)]) -> (Result<Response, HttpError>, Vec<String>) {
        let asked = RefCell::new(Vec::new());
        let answer = call.send_with(|request| {
            let secret = request.secret_headers.len();
            let names: Vec<_> = request.headers.iter().map(|h| h.name.as_str()).collect();
            let text = format!("{} {} {names:?} {secret}", request.method, request.url);
            asked.borrow_mut().push(text);
            let found = redirections.iter().find(|(url, ..)| *url == request.url);
            let (status, headers) = found.map_or((200, vec![]), |(_, status, to)| {
                (*status, vec![header("Location", to)])
            });
            Ok(Response {
                status,
                headers,
                body: Vec::new(),
            })
        });
        (answer, asked.into_inner())
    }

    #[test]
    fn nothing_is_followed_unless_it_was_asked_for() {
        let loops = [("https://a.example/", 302, "/")];
        let (answer, asked) = sent(get("https://a.example/"), &loops);
        assert_eq!((answer.expect("an answer").status, asked.len()), (302, 1));
        let (answer, asked) = sent(get("https://a.example/").follow(3), &loops);
        assert_eq!(
            (answer.expect("an answer").status, asked.len()),
            (302, 4),
            "no loop lasts"
        );
    }

    #[test]
    fn a_secret_goes_to_no_other_server() {
        let call = get("https://a.example/x")
            .header("Authorization", "mine")
            .header("accept", "*/*")
            .secret_header("x-token", "token")
            .follow(2);
        let (_, asked) = sent(
            call,
            &[
                ("https://a.example/x", 302, "y"),
                ("https://a.example/y", 302, "//b.example/"),
            ],
        );
        assert_eq!(
            asked,
            [
                "GET https://a.example/x [\"Authorization\", \"accept\"] 1",
                "GET https://a.example/y [\"Authorization\", \"accept\"] 1",
                "GET https://b.example/ [\"accept\"] 0",
            ]
        );
        for other in [
            "http://a.example/",
            "https://a.example:8443/",
            "https://a.example.evil/",
            "https://a.example@b/",
        ] {
            let call = get("https://a.example/x")
                .secret_header("x-token", "token")
                .follow(1);
            let (_, asked) = sent(call, &[("https://a.example/x", 301, other)]);
            assert!(asked[1].ends_with(" 0"), "{other}: {asked:?}");
        }
    }

    #[test]
    fn a_post_becomes_a_get_unless_the_status_forbids_it() {
        let post = || post_json("https://a.example/x", &[1]).expect("JSON").follow(1);
        let (_, asked) = sent(post(), &[("https://a.example/x", 303, "/y")]);
        assert_eq!(asked[1], "GET https://a.example/y [] 0");
        let (_, asked) = sent(post(), &[("https://a.example/x", 308, "/y")]);
        assert_eq!(asked[1], "POST https://a.example/y [\"content-type\"] 0");
    }

    #[test]
    fn a_location_is_read_from_where_it_came() {
        let from = |location| join("https://a.example/one/two?q=1#top", location);
        let cases = [
            ("three", "https://a.example/one/three"),
            ("/three", "https://a.example/three"),
            ("?q=2", "https://a.example/one/two?q=2"),
            ("//b.example/x", "https://b.example/x"),
            ("HTTP://b.example/x#part", "HTTP://b.example/x"),
            ("../x", "https://a.example/one/../x"),
        ];
        for (location, expected) in cases {
            assert_eq!(from(location).as_deref(), Some(expected), "{location}");
        }
        for location in ["", "#top", "file:///etc/passwd", "javascript:x"] {
            assert_eq!(from(location), None, "{location}");
        }
        assert_eq!(
            join("https://a.example", "x").as_deref(),
            Some("https://a.example/x")
        );
    }
}
