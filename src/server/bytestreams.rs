//! Connections to the proxy for file transfers: from the first byte until two of them are joined, and their end.

use super::connections::{Connection, Talk};
use super::{ConnectionId, Output, Server};
use crate::stream::socks5::{Action, Refusal, Socks5};
use crate::xmpp::Now;

impl Server {
    /// Does something to an end's talk, then all that it asks for.
    pub(super) fn with_bytestream(&mut self, id: ConnectionId, change: impl FnOnce(&mut Socks5)) {
        let mut change = Some(change);
        loop {
            let Some(connection) = self.connections.get_mut(&id) else { return };
            connection.touch(id, &mut self.touched);
            let Talk::Bytestream(talk) = &mut connection.talk else { return };
            if let Some(change) = change.take() {
                change(talk);
            }
            match talk.poll() {
                None => return,
                Some(Action::Wanted(wanted)) => {
                    let limits = &self.config.limits;
                    match self.router.bytestreams_mut().connect(id, wanted, limits) {
                        Ok(()) => {
                            talk.accept();
                            self.take_stream_output(id);
                            self.outputs.push(Output::Park { id });
                        }
                        Err(Refusal::NotAllowed) => talk.refuse(Refusal::NotAllowed, "both parties are here already"),
                        Err(refusal) => talk.refuse(refusal, "too many wait here"),
                    }
                }
                Some(Action::Close(why)) => {
                    log::debug!(target: "-internal", "file transfer from {} refused: {why}", connection.peer.ip());
                    self.end_connection(id);
                }
            }
        }
    }

    /// The requester gave the word.
    pub(super) fn join(&mut self, one: ConnectionId, other: ConnectionId, bytes_per_second: Option<u64>) {
        self.known(one);
        self.known(other);
        self.outputs.push(Output::Join { one, other, bytes_per_second });
    }

    /// Nobody gave the word in time.
    pub(super) fn bytestream_timed_out(&mut self, id: ConnectionId) {
        if !self.router.bytestreams_mut().is_joined(id) {
            self.with_bytestream(id, |talk| talk.close("the transfer did not begin in time"));
        }
    }

    /// An end is gone; of a transfer that was under way the last one tells.
    pub(super) fn bytestream_gone(&mut self, now: Now, id: ConnectionId, connection: &Connection, reason: &str) {
        let Some(requester) = self.router.bytestreams_mut().gone(id) else { return };
        let seconds = now.monotonic_millis.saturating_sub(connection.last_input_millis) / 1000;
        log::info!(target: requester.domain().as_str(), users = "ends of file transfers", by:% = requester;
            "file transfer of {requester} ended after {seconds} s: {reason}");
    }
}
