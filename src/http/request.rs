//! What a client asks (RFC 9112 §3): the method, the path, and whether it will ask again.

use super::response::Response;

/// Headers of one request; more are as good as too long.
const HEADERS_MAX: usize = 64;

/// A request without a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `GET`, as a rule.
    pub method: String,
    /// The path, without what follows a `?`.
    pub path: String,
    /// What the client would like to get (RFC 9110 §12.5.1).
    pub accept: String,
    /// Only the head of the answer is wanted.
    pub is_head: bool,
    /// Another request may follow on the connection.
    pub keeps_alive: bool,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    /// It is no HTTP/1.
    Malformed,
    /// Its head is too long.
    TooLong,
    /// It has a body.
    Body,
    /// Too many requests wait for their answers.
    TooMany,
}

impl Bad {
    pub(super) fn response(self) -> Response {
        let (status, reason) = match self {
            Bad::Malformed => (400, "Bad Request"),
            Bad::TooLong => (431, "Request Header Fields Too Large"),
            Bad::Body => (413, "Content Too Large"),
            Bad::TooMany => (429, "Too Many Requests"),
        };
        Response { status, reason, ..Response::text(format!("{reason}\n")) }
    }
}

/// The request at the beginning of some bytes, and its length; `None` if it is not whole.
///
/// # Errors
/// It is none, or none that can be answered.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Request, usize)>, Bad> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut headers);
    let length = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Bad::TooLong),
        Err(_) => return Err(Bad::Malformed),
    };
    let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(Bad::Malformed);
    };
    let values = |name: &'static str| {
        let named = parsed.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
        named.map(|header| String::from_utf8_lossy(header.value).trim().to_ascii_lowercase())
    };
    // RFC 9112 §6: what says that a body follows. An empty one is none.
    if values("transfer-encoding").next().is_some() || values("content-length").any(|length| length != "0") {
        return Err(Bad::Body);
    }
    // RFC 9112 §3.2: one Host, always.
    if values("host").count() > 1 || (version == 1 && values("host").next().is_none()) {
        return Err(Bad::Malformed);
    }
    let wants = |word: &str| values("connection").any(|value| value.split(',').any(|part| part.trim() == word));
    let request = Request {
        method: method.to_owned(),
        path: path(target).to_owned(),
        accept: values("accept").collect::<Vec<_>>().join(","),
        is_head: method == "HEAD",
        // RFC 9112 §9.3.
        keeps_alive: if version == 1 { !wants("close") } else { false },
    };
    Ok(Some((request, length)))
}

/// The path of a target in either form (RFC 9112 §3.2.1, §3.2.2: a server takes both).
fn path(target: &str) -> &str {
    let after_scheme = target.strip_prefix("http://").or_else(|| target.strip_prefix("https://"));
    let path = match after_scheme {
        Some(rest) => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/"),
        None => target,
    };
    path.split(['?', '#']).next().unwrap_or_default()
}
