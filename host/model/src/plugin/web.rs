//! Patterns of HTTP requests. They are compared part by part with a parsed, normalised URL, never as texts: a text that
//! starts like a granted address need not lead to that host.

use url::{Host, Url};

use super::pattern::climbs;

/// A pattern of requests: `[METHOD[,METHOD…] ]scheme://host[:port][/path]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebPattern {
    /// None is any.
    methods: Option<Vec<String>>,
    /// None is any address.
    place: Option<Place>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    scheme: String,
    host: HostPattern,
    port: u16,
    path: PathPattern,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum HostPattern {
    Any,
    Exact(Host),
    /// Names that end in this text, which begins with a dot.
    Below(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum PathPattern {
    Any,
    /// Path and query.
    Exact(String),
    /// Ends in `/`.
    Under(String),
}

/// A request as a value of the right: `METHOD URL`.
#[derive(Clone, Debug)]
pub(super) struct WebValue {
    method: Option<String>,
    url: Url,
}

impl WebValue {
    /// Reads `METHOD URL`. Without a method only patterns that name none cover it. None, if it is no address that may be
    /// asked at all.
    pub(super) fn parse(value: &str) -> Option<Self> {
        let (method, url) = match value.split_once(' ') {
            Some((method, url)) => (Some(method.to_owned()), url),
            None => (None, value),
        };
        let url = Url::parse(url).ok()?;
        let plain = matches!(url.scheme(), "http" | "https")
            && url.username().is_empty()
            && url.password().is_none()
            && url.host().is_some();
        plain.then_some(Self { method, url })
    }

    fn path(&self) -> String {
        match self.url.query() {
            Some(query) => format!("{}?{query}", self.url.path()),
            None => self.url.path().to_owned(),
        }
    }
}

impl WebPattern {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (methods, address) = match text.split_once(' ') {
            Some((methods, address)) => (Some(self::methods(methods)?), address),
            None => (None, text),
        };
        let place = if address == "*" {
            None
        } else {
            Some(Place::parse(address)?)
        };
        Ok(Self { methods, place })
    }

    /// Whether it covers this request.
    pub(super) fn covers(&self, asked: &WebValue) -> bool {
        let method = match (&self.methods, &asked.method) {
            (None, _) => true,
            (Some(known), Some(method)) => known.contains(method),
            (Some(_), None) => false,
        };
        method && self.place.as_ref().is_none_or(|place| place.covers(asked))
    }

    /// Whether it names one host, by its name or its address.
    pub fn names_host(&self) -> bool {
        self.place
            .as_ref()
            .is_some_and(|place| matches!(place.host, HostPattern::Exact(_)))
    }

    /// The same pattern for each of its methods alone.
    pub(super) fn each_method(&self) -> impl Iterator<Item = Self> {
        let methods = match &self.methods {
            Some(methods) => methods.iter().map(|method| Some(vec![method.clone()])).collect(),
            None => vec![None],
        };
        methods.into_iter().map(|methods| Self {
            methods,
            place: self.place.clone(),
        })
    }

    pub(super) fn within(&self, wide: &Self) -> bool {
        let methods = match (&self.methods, &wide.methods) {
            (_, None) => true,
            (Some(few), Some(many)) => few.iter().all(|method| many.contains(method)),
            (None, Some(_)) => false,
        };
        let place = match (&self.place, &wide.place) {
            (_, None) => true,
            (Some(small), Some(large)) => small.within(large),
            (None, Some(_)) => false,
        };
        methods && place
    }
}

fn methods(text: &str) -> Result<Vec<String>, String> {
    let method = |method: &str| {
        let fits = !method.is_empty() && method.bytes().all(|b| b.is_ascii_uppercase());
        fits.then(|| method.to_owned())
            .ok_or_else(|| "methods are in capital letters with commas and no spaces between them".to_owned())
    };
    text.split(',').map(method).collect()
}

impl Place {
    fn parse(text: &str) -> Result<Self, String> {
        if text.contains(|c: char| c.is_whitespace() || c == '\\' || c == '#') {
            return Err("an address has no spaces, `\\` or `#`".to_owned());
        }
        let (scheme, rest) = text.split_once("://").ok_or("there is no `https://` in it")?;
        let scheme = scheme.to_ascii_lowercase();
        if !matches!(scheme.as_str(), "http" | "https") {
            return Err("the scheme is `http` or `https`".to_owned());
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err("a user name is never part of it; use a secret header".to_owned());
        }
        let (host, port) = host(&scheme, authority)?;
        Ok(Self {
            path: self::path(path)?,
            scheme,
            host,
            port,
        })
    }

    fn covers(&self, asked: &WebValue) -> bool {
        let url = &asked.url;
        let host = match (&self.host, url.host()) {
            (HostPattern::Any, Some(_)) => true,
            (HostPattern::Exact(host), Some(found)) => *host == found.to_owned(),
            (HostPattern::Below(suffix), Some(Host::Domain(found))) => {
                found.len() > suffix.len() && found.ends_with(suffix.as_str())
            }
            _ => false,
        };
        let path = match &self.path {
            PathPattern::Any => true,
            PathPattern::Exact(text) => *text == asked.path(),
            PathPattern::Under(prefix) => url.path().starts_with(prefix.as_str()) && !climbs(url.path()),
        };
        host && path && url.scheme() == self.scheme && url.port_or_known_default() == Some(self.port)
    }

    fn within(&self, wide: &Self) -> bool {
        let host = match (&self.host, &wide.host) {
            (_, HostPattern::Any) => true,
            (HostPattern::Exact(Host::Domain(name)), HostPattern::Below(suffix)) => {
                name.len() > suffix.len() && name.ends_with(suffix.as_str())
            }
            (HostPattern::Below(below), HostPattern::Below(suffix)) => below.ends_with(suffix.as_str()),
            (small, large) => small == large,
        };
        let path = match (&self.path, &wide.path) {
            (_, PathPattern::Any) => true,
            (PathPattern::Exact(text) | PathPattern::Under(text), PathPattern::Under(prefix)) => {
                text.starts_with(prefix.as_str()) && !climbs(text)
            }
            (small, large) => small == large,
        };
        host && path && self.scheme == wide.scheme && self.port == wide.port
    }
}

/// Host and port, in the one spelling that the URL parser knows.
fn host(scheme: &str, authority: &str) -> Result<(HostPattern, u16), String> {
    let (below, rest) = match authority.strip_prefix("*.") {
        Some(rest) => (true, rest),
        None => (false, authority),
    };
    // Any host: a name takes the star's place while the port is read.
    let any = rest == "*" || rest.starts_with("*:");
    let named = if any {
        format!("x{}", &rest[1..])
    } else {
        rest.to_owned()
    };
    if named.contains('*') {
        return Err("a `*` for hosts stands alone, or at the start before a dot".to_owned());
    }
    let url = Url::parse(&format!("{scheme}://{named}/")).map_err(|error| error.to_string())?;
    let port = url.port_or_known_default().ok_or("there is no port")?;
    let host = match url.host() {
        Some(_) if any => HostPattern::Any,
        Some(Host::Domain(name)) if below => HostPattern::Below(format!(".{name}")),
        Some(_) if below => return Err("an address in numbers has no hosts below it".to_owned()),
        Some(host) => HostPattern::Exact(host.to_owned()),
        None => return Err("there is no host in it".to_owned()),
    };
    match any && below {
        true => Err("a `*` for hosts stands alone, or at the start before a dot".to_owned()),
        false => Ok((host, port)),
    }
}

fn path(text: &str) -> Result<PathPattern, String> {
    if text.is_empty() || text == "/*" {
        return Ok(PathPattern::Any);
    }
    let (body, under) = match text.strip_suffix("/*") {
        Some(_) => (&text[..text.len() - 1], true),
        None => (text, false),
    };
    if body.contains('*') {
        return Err("a `*` in a path stands at its end after a `/`".to_owned());
    }
    if climbs(body) {
        return Err("a `..` is never covered".to_owned());
    }
    let url = Url::parse(&format!(
        "http://x{}{body}",
        if body.starts_with('?') { "/" } else { "" }
    ))
    .map_err(|error| error.to_string())?;
    let path = match url.query() {
        Some(_) if under => return Err("a query has no `/*` at its end".to_owned()),
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    Ok(if under {
        PathPattern::Under(path)
    } else {
        PathPattern::Exact(path)
    })
}
