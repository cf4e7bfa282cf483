//! What every XML stream has: bytes in, a buffer out, a header of ours, an end.

use super::header::{self, Ours};
use super::sm::{self, Handled, Mark, Sent};
use crate::config::Limits;
use crate::xml::reader::{self, Event, ReadError, Reader};
use crate::xml::{Element, writer};
use crate::xmpp::stream_error::StreamCondition;
use crate::xmpp::{Stanza, StreamError};

/// What most peers are told in a tick fits: it is not moved from a small place to larger ones while it is written.
const FIRST_BYTES: usize = 512;

/// The letters of one stream.
pub(crate) struct Wire {
    content_ns: &'static str,
    reader: Reader,
    output: String,
    header_sent: bool,
    ended: bool,
    /// Is the peer heard, after our own end?
    hears_on: bool,
    /// What came is not looked at for now.
    rests: bool,
    /// How long a stanza for another server may be.
    managed_bytes_max: usize,
}

/// What became of a stanza for another server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handed {
    /// It is written.
    Over,
    /// It is written, and more than may be is not acknowledged.
    TooMuch,
    /// It is longer than a stanza may be: nothing of it is written.
    TooLong,
}

impl Wire {
    /// A stream whose peer is a stranger.
    pub(super) fn new(content_ns: &'static str, limits: &Limits) -> Wire {
        Wire {
            content_ns,
            reader: Reader::new(stranger(limits)),
            output: String::new(),
            header_sent: false,
            ended: false,
            hears_on: false,
            rests: false,
            managed_bytes_max: limits.stanza_bytes_max,
        }
    }

    /// The peer has proved who it is.
    pub(super) fn trust(&mut self, limits: &Limits) {
        self.reader.set_limits(known(limits));
    }

    /// A component has proved who it is: it may send larger stanzas, and one that is too large, or of other faults that
    /// leave its end to be found, costs itself alone ([`Wire::skip`]).
    pub(super) fn trust_component(&mut self, limits: &Limits) {
        // What one connection may have waiting for it bounds what can be sent on.
        let most = limits.component_stanza_bytes_max.min(limits.output_bytes_max / 2).max(limits.stanza_bytes_max);
        self.reader.set_limits(reader::Limits { frame_bytes: most, ..known(limits) });
        self.reader.be_lenient();
    }

    /// After an error of [`Wire::next`]: is what was wrong passed over?
    pub(super) fn skip(&mut self) -> Option<reader::Skipped> {
        self.reader.skip()
    }

    /// RFC 6120 §5.4.3.3: nothing that came before TLS counts.
    pub(super) fn begin_again(&mut self, limits: &Limits) {
        self.reader = Reader::new(stranger(limits));
        self.header_sent = false;
    }

    /// RFC 6120 §5.4.3.3: what is said from now on belongs to the stream inside of TLS, which has no header yet.
    pub(super) fn expect_tls(&mut self) {
        self.header_sent = false;
    }

    /// RFC 6120 §4.3.3: a new stream over the same connection, after SASL.
    pub(super) fn restart(&mut self) {
        self.reader.restart();
        self.header_sent = false;
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        if !self.ended || self.hears_on {
            self.reader.push(bytes);
        }
    }

    /// The next event, or the stream error that what was read deserves.
    pub(super) fn next(&mut self) -> Result<Option<Event>, StreamError> {
        if self.rests || (self.ended && !self.hears_on) {
            return Ok(None);
        }
        self.reader.next().map_err(|error| read_error(&error))
    }

    /// Leaves what came, and will come, as it is; or goes on with it.
    pub(super) fn rest(&mut self, rests: bool) {
        self.rests = rests;
    }

    /// Is what came left as it is?
    pub(crate) fn rests(&self) -> bool {
        self.rests
    }

    pub(super) fn take_output(&mut self) -> String {
        std::mem::take(&mut self.output)
    }

    /// How much was written since then.
    pub(crate) fn output_bytes(&self) -> usize {
        self.output.len()
    }

    pub(super) fn send_header(&mut self, ours: &Ours<'_>) {
        header::write(&mut self.output, ours);
        self.header_sent = true;
    }

    pub(super) fn is_header_sent(&self) -> bool {
        self.header_sent
    }

    pub(super) fn write(&mut self, element: &Element) {
        if !self.ended {
            self.make_room();
            writer::element(&mut self.output, element, crate::xmpp::ns::CLIENT);
        }
    }

    pub(super) fn send(&mut self, stanza: &Stanza) {
        if !self.ended {
            self.make_room();
            stanza.write(&mut self.output, self.content_ns);
        }
    }

    fn make_room(&mut self) {
        if self.output.capacity() == 0 {
            self.output.reserve(FIRST_BYTES);
        }
    }

    /// Sends a stanza to another server. It is to be acknowledged where that is agreed on (XEP-0198 §4).
    ///
    /// One that is too long, perhaps only since it was written anew, is not sent: the other server would end the stream for
    /// it (RFC 6120 §4.9.3.14), and with it all that others send there.
    pub(super) fn send_managed(&mut self, stanza: &Stanza, mark: Mark, sent: &mut Option<Sent>) -> Handed {
        let before = self.output.len();
        self.send(stanza);
        let bytes = self.output.len().saturating_sub(before);
        if bytes > self.managed_bytes_max {
            self.output.truncate(before);
            return Handed::TooLong;
        }
        let Some(sent) = sent else { return Handed::Over };
        if sent.push(stanza.clone(), mark, bytes) {
            self.write(&sm::element("r"));
        }
        if sent.is_over() { Handed::TooMuch } else { Handed::Over }
    }

    /// White space (RFC 6120 §4.6.1).
    pub(super) fn heartbeat(&mut self) {
        if !self.ended {
            self.output.push(' ');
        }
    }

    /// RFC 6120 §4.9.1.1: the error, then the end tag; nothing where no header is out.
    pub(super) fn fail(&mut self, error: &StreamError) {
        if self.header_sent {
            self.write(&error.to_element());
        }
        self.end();
    }

    /// Was the end tag written?
    pub(super) fn is_ended(&self) -> bool {
        self.ended
    }

    /// RFC 6120 §4.4: the end tag.
    pub(super) fn end(&mut self) {
        if self.header_sent && !self.ended {
            self.output.push_str(header::CLOSE);
        }
        self.ended = true;
        self.hears_on = false;
    }

    /// RFC 6120 §4.4: the end tag, while the peer may finish what it has to say. XEP-0198 §4: before it how much we
    /// handled, so that nothing of it is sent again, and a last question about what we sent.
    pub(super) fn end_ours(&mut self, handled: Option<&Handled>, sent: Option<&Sent>, error: Option<&StreamError>) {
        if let Some(handled) = handled {
            self.write(&handled.answer());
        }
        if sent.is_some_and(|sent| !sent.is_empty()) {
            self.write(&sm::element("r"));
        }
        if let Some(error) = error {
            self.write(&error.to_element());
        }
        self.end();
        self.hears_on = true;
    }
}

/// The stream error for what is no XML, or not XMPP's part of it.
fn read_error(error: &ReadError) -> StreamError {
    match error {
        ReadError::BadFormat => StreamCondition::BadFormat.into(),
        ReadError::NotWellFormed => StreamCondition::NotWellFormed.into(),
        ReadError::RestrictedXml => StreamCondition::RestrictedXml.into(),
        ReadError::UnsupportedEncoding => StreamCondition::UnsupportedEncoding.into(),
        ReadError::BadNamespacePrefix => StreamCondition::BadNamespacePrefix.into(),
        ReadError::PolicyViolation(bound) => StreamError::new(StreamCondition::PolicyViolation, bound.to_string()),
    }
}

/// What a stranger may send.
fn stranger(limits: &Limits) -> reader::Limits {
    reader::Limits { frame_bytes: limits.unauthenticated_bytes_max, ..known(limits) }
}

/// What a peer that proved who it is may send.
fn known(limits: &Limits) -> reader::Limits {
    reader::Limits {
        frame_bytes: limits.stanza_bytes_max,
        depth: limits.stanza_depth_max,
        elements: limits.stanza_elements_max,
        attributes: limits.attributes_max,
        name_bytes: limits.name_bytes_max,
    }
}

/// RFC 6120 §4.9.3.24.
pub(super) fn unsupported(element: &Element) -> StreamError {
    let text = format!("<{}/> is no stanza", element.name());
    StreamError::new(StreamCondition::UnsupportedStanzaType, text)
}
