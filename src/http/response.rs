//! What is said to a request (RFC 9112 §4).

use std::io::Write as _;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Its words.
    pub reason: &'static str,
    /// What the body is.
    pub content_type: &'static str,
    /// Further headers, each whole.
    pub headers: &'static [&'static str],
    /// The body.
    pub body: String,
}

impl Response {
    /// 200 with plain text.
    pub fn text(body: impl Into<String>) -> Response {
        Response {
            status: 200,
            reason: "OK",
            content_type: "text/plain; charset=utf-8",
            headers: &[],
            body: body.into(),
        }
    }

    /// 403 with plain text, as it goes over a connection that ends with it.
    pub fn forbidden(body: impl Into<String>) -> Vec<u8> {
        let mut out = Vec::new();
        Response { status: 403, reason: "Forbidden", ..Response::text(body) }.write(&mut out, false, false);
        out
    }

    /// 404.
    pub fn not_found() -> Response {
        Response { status: 404, reason: "Not Found", ..Response::text("Not Found\n") }
    }

    /// 503 with plain text.
    pub fn unavailable(body: impl Into<String>) -> Response {
        Response { status: 503, reason: "Service Unavailable", ..Response::text(body) }
    }

    /// 405 (RFC 9110 §15.5.6), which must say what is allowed.
    pub fn only_get() -> Response {
        Response {
            status: 405,
            reason: "Method Not Allowed",
            headers: &["Allow: GET, HEAD"],
            ..Response::text("Method Not Allowed\n")
        }
    }

    /// Writes it; without the body, but with its length, in answer to `HEAD` (RFC 9110 §9.3.2).
    pub(super) fn write(&self, out: &mut Vec<u8>, is_head: bool, keeps_alive: bool) {
        let Response { status, reason, content_type, headers, body } = self;
        let connection = if keeps_alive { "" } else { "Connection: close\r\n" };
        let headers: String = headers.iter().flat_map(|header| [*header, "\r\n"]).collect();
        // Writing to memory does not fail.
        let _ = write!(
            out,
            "HTTP/1.1 {status} {reason}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\
             Cache-Control: no-store\r\n{headers}{connection}\r\n",
            body.len()
        );
        if !is_head {
            out.extend_from_slice(body.as_bytes());
        }
    }
}
