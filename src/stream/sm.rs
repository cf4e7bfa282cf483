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

/// What is known of a stanza that is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Its number among those that are written down.
    pub row: Option<u64>,
    /// How often a stream ended under it before.
    pub losses: u8,
}

/// A stanza that may not have arrived.
#[derive(Debug)]
pub struct Unsent {
    /// The stanza.
    pub stanza: Stanza,
    /// The mark that it was sent with, and the row that it got since.
    pub mark: Mark,
}

/// What an acknowledgement brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Acknowledged {
    /// More was sent since: an `<r/>` must follow.
    pub asks: bool,
    /// The rows of what arrived.
    pub rows: Vec<u64>,
}

/// What we sent and the peer has not acknowledged yet (XEP-0198 §4).
pub struct Sent {
    /// Each with its bytes.
    unacknowledged: VecDeque<(Unsent, usize)>,
    /// So many of them were there already when [`Sent::mark_old`] was last called.
    old: usize,
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
        Sent { unacknowledged: VecDeque::new(), old: 0, bytes: 0, bytes_max, acknowledged: 0, asked: false }
    }

    /// A stanza leaves, of so many bytes. Must an `<r/>` follow? One question is out at a time.
    pub fn push(&mut self, stanza: Stanza, mark: Mark, bytes: usize) -> bool {
        self.unacknowledged.push_back((Unsent { stanza, mark }, bytes));
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

    /// Gives rows to what is unacknowledged since the last call. Returns whether anything is to be looked at again.
    pub fn mark_old(&mut self, mut keep: impl FnMut(&Stanza) -> Option<u64>) -> bool {
        let old = self.unacknowledged.iter_mut().take(self.old);
        for (unsent, _) in old.filter(|(unsent, _)| unsent.mark.row.is_none()) {
            unsent.mark.row = keep(&unsent.stanza);
        }
        self.old = self.unacknowledged.len();
        self.old > 0
    }

    /// An `<a h='…'/>` came.
    ///
    /// # Errors
    /// XEP-0198 §4: an acknowledgement of more than was sent ends the stream.
    pub fn acknowledge(&mut self, element: &Element) -> Result<Acknowledged, StreamError> {
        let h = element.attribute("h").and_then(|h| h.parse::<u32>().ok());
        let h = h.ok_or_else(|| StreamError::from(StreamCondition::BadFormat))?;
        // XEP-0198 §4: the counter wraps at 2^32.
        let news = h.wrapping_sub(self.acknowledged) as usize;
        if news > self.unacknowledged.len() {
            let text = format!("{h} acknowledged, fewer sent");
            return Err(StreamError::new(StreamCondition::UndefinedCondition, text));
        }
        let mut rows = Vec::new();
        for (unsent, bytes) in self.unacknowledged.drain(..news) {
            self.bytes = self.bytes.saturating_sub(bytes);
            rows.extend(unsent.mark.row);
        }
        self.old = self.old.saturating_sub(news);
        self.acknowledged = h;
        self.asked = !self.unacknowledged.is_empty();
        Ok(Acknowledged { asks: self.asked, rows })
    }

    /// What would be lost with the connection.
    pub fn take(&mut self) -> VecDeque<Unsent> {
        self.bytes = 0;
        self.old = 0;
        std::mem::take(&mut self.unacknowledged).into_iter().map(|(unsent, _)| unsent).collect()
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
        sent.acknowledge(&element("a").with_attribute("h", h.to_string())).map(|news| news.asks)
    }

    #[test]
    fn what_is_not_acknowledged_for_a_while_is_marked_once() {
        let mut sent = Sent::new(&Limits::default());
        let message = |id: &'static str| Stanza::iq(crate::xmpp::IqType::Get, id, None);
        let mut marked = Vec::new();
        let mut mark = |sent: &mut Sent| {
            sent.mark_old(|stanza| {
                marked.push(stanza.id().unwrap().to_owned());
                Some(marked.len() as u64)
            })
        };
        sent.push(message("a"), Mark::default(), 1);
        sent.push(message("b"), Mark { row: Some(9), losses: 0 }, 1);
        assert!(mark(&mut sent));
        sent.push(message("c"), Mark::default(), 1);
        assert!(mark(&mut sent));
        let news = sent.acknowledge(&element("a").with_attribute("h", "2")).unwrap();
        assert_eq!(news, Acknowledged { asks: true, rows: vec![1, 9] });
        assert!(mark(&mut sent) && mark(&mut sent));
        assert_eq!(sent.take().pop_front().unwrap().mark.row, Some(2));
        assert!(!mark(&mut sent));
        assert_eq!(marked, ["a", "c"]);
    }

    #[test]
    fn one_question_is_out_at_a_time() {
        let mut sent = Sent::new(&Limits { remote_queue_bytes_max: 9, ..Limits::default() });
        let message = || Stanza::message(MessageType::Chat);
        assert!(sent.push(message(), Mark::default(), 9));
        assert!(!sent.push(message(), Mark::default(), 10));
        assert!(sent.is_over());
        assert_eq!(acknowledge(&mut sent, "1"), Ok(true));
        assert!(!sent.is_over());
        assert_eq!(acknowledge(&mut sent, "2"), Ok(false));
        assert!(sent.is_empty());
        assert!(sent.push(message(), Mark::default(), 9));
        for h in ["4", "1", "x", "", "-1"] {
            assert!(acknowledge(&mut sent, h).is_err(), "{h}");
        }
        assert_eq!(sent.take().len(), 1);
    }
}
