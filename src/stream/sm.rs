//! Stream management (XEP-0198): who got how much, so that a broken connection loses nothing.

use std::collections::VecDeque;

use crate::config::Limits;
use crate::xml::Element;
use crate::xmpp::stream_error::StreamCondition;
use crate::xmpp::{Stanza, StreamError, ns};

/// An empty element of the protocol.
pub fn element(name: &'static str) -> Element {
    Element::new(name, ns::SM)
}

/// What we sent and the peer has not acknowledged yet (XEP-0198 §4).
pub struct Sent {
    /// Each with its bytes.
    unacknowledged: VecDeque<(Stanza, usize)>,
    bytes: usize,
    bytes_max: usize,
    acknowledged: u32,
    asked: bool,
}

impl Sent {
    /// Nothing is sent yet. Twice of what may have waited for the stream, and is sent at once, may be on its way: or else
    /// a stream that has just begun would end under it, again and again.
    pub fn new(limits: &Limits) -> Sent {
        let bytes_max = limits.remote_queue_bytes_max.saturating_mul(2);
        Sent { unacknowledged: VecDeque::new(), bytes: 0, bytes_max, acknowledged: 0, asked: false }
    }

    /// A stanza leaves, of so many bytes. Must an `<r/>` follow? One question is out at a time.
    pub fn push(&mut self, stanza: Stanza, bytes: usize) -> bool {
        self.unacknowledged.push_back((stanza, bytes));
        self.bytes = self.bytes.saturating_add(bytes);
        !std::mem::replace(&mut self.asked, true)
    }

    /// Is more on its way than may be?
    pub fn is_over(&self) -> bool {
        self.bytes > self.bytes_max
    }

    /// Is everything acknowledged?
    pub fn is_empty(&self) -> bool {
        self.unacknowledged.is_empty()
    }

    /// An `<a h='…'/>` came. Must an `<r/>` follow, because more was sent since?
    ///
    /// # Errors
    /// XEP-0198 §4: an acknowledgement of more than was sent ends the stream.
    pub fn acknowledge(&mut self, element: &Element) -> Result<bool, StreamError> {
        let h = element.attribute("h").and_then(|h| h.parse::<u32>().ok());
        let h = h.ok_or_else(|| StreamError::from(StreamCondition::BadFormat))?;
        // XEP-0198 §4: the counter wraps at 2^32.
        let news = h.wrapping_sub(self.acknowledged) as usize;
        if news > self.unacknowledged.len() {
            let text = format!("{h} acknowledged, fewer sent");
            return Err(StreamError::new(StreamCondition::UndefinedCondition, text));
        }
        let done: usize = self.unacknowledged.drain(..news).map(|(_, bytes)| bytes).sum();
        self.bytes = self.bytes.saturating_sub(done);
        self.acknowledged = h;
        self.asked = !self.unacknowledged.is_empty();
        Ok(self.asked)
    }

    /// What would be lost with the connection.
    pub fn take(&mut self) -> VecDeque<Stanza> {
        self.bytes = 0;
        std::mem::take(&mut self.unacknowledged).into_iter().map(|(stanza, _)| stanza).collect()
    }
}

/// How many stanzas we handled (XEP-0198 §4).
#[derive(Default)]
pub struct Handled(u32);

impl Handled {
    /// One more.
    pub fn count(&mut self) {
        self.0 = self.0.wrapping_add(1);
    }

    /// The answer to an `<r/>`. It leaves when what it tells is on the disk (rule 2 of the design).
    pub fn answer(&self) -> Element {
        element("a").with_attribute("h", self.0.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xmpp::MessageType;

    fn acknowledge(sent: &mut Sent, h: &str) -> Result<bool, StreamError> {
        sent.acknowledge(&element("a").with_attribute("h", h.to_string()))
    }

    #[test]
    fn one_question_is_out_at_a_time() {
        let mut sent = Sent::new(&Limits { remote_queue_bytes_max: 9, ..Limits::default() });
        let message = || Stanza::message(MessageType::Chat);
        assert!(sent.push(message(), 9));
        assert!(!sent.push(message(), 10));
        assert!(sent.is_over());
        assert_eq!(acknowledge(&mut sent, "1"), Ok(true));
        assert!(!sent.is_over());
        assert_eq!(acknowledge(&mut sent, "2"), Ok(false));
        assert!(sent.is_empty());
        assert!(sent.push(message(), 9));
        for h in ["4", "1", "x", "", "-1"] {
            assert!(acknowledge(&mut sent, h).is_err(), "{h}");
        }
        assert_eq!(sent.take().len(), 1);
    }
}
