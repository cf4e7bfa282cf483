//! HTTP/1.1, as far as a server needs it that is asked small things: one connection's talk, bytes in and bytes out.
//!
//! [`Talk`] reads requests and writes answers; who owns it decides what is answered. [`request`] is what was asked,
//! [`response`] what is said to it. Serves `server/` (metrics, health); what else speaks HTTP one day (web sockets, uploads)
//! comes through this door. Invariants: a request is bounded before it is understood; one answer is made at a time, in
//! the order of the requests; a request with a body is refused, since nothing here takes one.

pub mod request;
pub mod response;

use std::collections::VecDeque;

pub use request::{Bad, Request};
pub use response::Response;

/// Bytes of a request line and its headers. Outcome: 431, and the end.
pub const HEAD_BYTES_MAX: usize = 8_192;
/// Requests that a client may send before it has the answers. Outcome: 429, and the end.
const PIPELINED_MAX: usize = 16;

/// One HTTP connection.
#[derive(Debug, Default)]
pub struct Talk {
    input: Vec<u8>,
    output: Vec<u8>,
    asked: VecDeque<Request>,
    /// Is the first of them being answered?
    is_answering: bool,
    /// Nothing more is read.
    is_ending: bool,
    /// All is said.
    is_over: bool,
}

impl Talk {
    /// A connection that nothing was said on.
    pub fn new() -> Talk {
        Talk::default()
    }

    /// Takes bytes of the client.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.is_ending {
            return;
        }
        self.input.extend_from_slice(bytes);
        loop {
            match request::parse(&self.input) {
                Ok(None) if self.input.len() > HEAD_BYTES_MAX => return self.refuse(Bad::TooLong),
                Ok(None) => return,
                Ok(Some((_, length))) if length > HEAD_BYTES_MAX => return self.refuse(Bad::TooLong),
                Ok(Some(_)) if self.asked.len() >= PIPELINED_MAX => return self.refuse(Bad::TooMany),
                Ok(Some((request, length))) => {
                    self.input.drain(..length.min(self.input.len()));
                    self.is_ending = !request.keeps_alive;
                    self.asked.push_back(request);
                    if self.is_ending {
                        return self.input.clear();
                    }
                }
                Err(bad) => return self.refuse(bad),
            }
        }
    }

    /// What is to be answered next; answer it with [`Talk::answer`] before asking again.
    #[expect(clippy::should_implement_trait, reason = "it is no iterator: an answer comes between two")]
    pub fn next(&mut self) -> Option<Request> {
        if self.is_answering {
            return None;
        }
        let request = self.asked.front().cloned()?;
        self.is_answering = true;
        Some(request)
    }

    /// Says the answer to what [`Talk::next`] gave.
    pub fn answer(&mut self, response: &Response) {
        let Some(request) = self.asked.pop_front() else { return };
        self.is_answering = false;
        response.write(&mut self.output, request.is_head, request.keeps_alive);
        self.is_over |= self.is_ending && self.asked.is_empty();
    }

    /// What the client did cannot be understood. What it asked before is answered first only if that is done already:
    /// nobody who breaks the rules is owed more.
    fn refuse(&mut self, bad: Bad) {
        self.asked.clear();
        self.input = Vec::new();
        bad.response().write(&mut self.output, false, false);
        self.is_ending = true;
        self.is_over = true;
    }

    /// The bytes to send since the last call.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// Is the connection to be closed once the output has left?
    pub fn is_over(&self) -> bool {
        self.is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pushes bytes in pieces of this length, answering what is asked with its own path.
    fn talk(bytes: &[u8], piece: usize) -> (String, bool) {
        let mut talk = Talk::new();
        let mut output = Vec::new();
        for part in bytes.chunks(piece) {
            talk.push(part);
            while let Some(request) = talk.next() {
                assert!(talk.next().is_none());
                talk.answer(&Response::text(request.path.clone()));
            }
            output.extend(talk.take_output());
        }
        (String::from_utf8(output).unwrap(), talk.is_over())
    }

    #[test]
    fn requests_are_answered_in_their_order_however_they_are_cut() {
        let bytes = b"GET /a?x=1 HTTP/1.1\r\nHost: h\r\n\r\nHEAD http://h:9105/b HTTP/1.1\r\nhost: h\r\n\r\nGET /c HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET /d HTTP/1.1\r\n\r\n";
        let whole = talk(bytes, bytes.len());
        assert!(whole.1);
        assert_eq!(whole.0.matches("HTTP/1.1 200 OK\r\n").count(), 3);
        assert!(
            whole.0.ends_with("\r\n\r\n/c")
                && whole.0.contains("\r\n\r\n/aHTTP/1.1")
                && !whole.0.contains("\r\n\r\n/b"),
            "{}",
            whole.0
        );
        for piece in 1..40 {
            assert_eq!(talk(bytes, piece), whole, "{piece}");
        }
    }

    #[test]
    fn what_breaks_the_rules_is_refused_and_ends() {
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(HEAD_BYTES_MAX));
        let endless = format!("GET / HTTP/1.1\r\nx: {}", "a".repeat(HEAD_BYTES_MAX));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(500));
        for (bytes, status) in [
            ("\0\0\0\0\r\n\r\n", "400"),
            ("<stream:stream>\r\n\r\n", "400"),
            ("GET / HTTP/3.0\r\n\r\n", "400"),
            ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello", "413"),
            ("GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", "413"),
            ("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n", "413"),
            ("GET / HTTP/1.1\r\n\r\n", "400"),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"),
            (&long, "431"),
            (&endless, "431"),
            (&many, "431"),
        ] {
            let (said, over) = talk(bytes.as_bytes(), 100);
            assert!(over && said.starts_with(&format!("HTTP/1.1 {status} ")), "{bytes:.40}: {said}");
        }
        let flood = "GET / HTTP/1.1\r\nHost: h\r\n\r\n".repeat(PIPELINED_MAX + 1);
        let mut talk = Talk::new();
        talk.push(flood.as_bytes());
        assert!(talk.is_over() && talk.next().is_none());
        assert!(talk.take_output().starts_with(b"HTTP/1.1 429 "));
    }
}
