//! The lines of an answer, each one JSON object.

use serde_json::{Value, json};

use super::client::Peer;
use super::request::Refusal;

/// What is to be said to a client.
#[derive(Debug, Default)]
pub struct Answer(String);

impl Answer {
    fn line(&mut self, value: &Value) {
        self.0.push_str(&value.to_string());
        self.0.push('\n');
    }

    /// A row of a table, or the one row of a record.
    pub fn row(&mut self, row: Value) {
        self.line(&json!({ "row": row }));
    }

    /// A remark for people.
    pub fn note(&mut self, text: impl Into<String>) {
        self.line(&json!({ "note": text.into() }));
    }

    /// The end, after what a command says itself.
    pub(super) fn done(&mut self, text: &str) {
        self.line(&json!({ "done": text }));
    }

    /// The end, if it did not work.
    pub(super) fn refuse(&mut self, refusal: &Refusal) {
        let Refusal { kind, text, .. } = refusal;
        self.line(&json!({ "error": { "kind": kind.word(), "text": text, "remedy": refusal.advice() } }));
    }

    /// Nothing is to be said.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes what is to be said.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0).into_bytes()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Forgets what was said since it was so long: a step that failed says nothing but its failure.
    pub(super) fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }
}

impl Refusal {
    /// What ends an answer whose command could not be committed.
    pub fn not_kept(why: &str) -> Refusal {
        Refusal::failed(format!("the database could not keep what this command did last: {why}"))
            .remedy("jabberctl status says when it can again; then see what is missing, and ask again")
    }

    /// What is told to who may not ask.
    pub fn stranger(peer: Peer, socket: &str) -> Vec<u8> {
        let mut answer = Answer::default();
        let uid = peer.uid;
        answer.line(&json!({ "error": {
            "kind": "unreachable",
            "text": format!("the server knows you (uid {uid}) neither as root nor in the group of {socket}"),
            "remedy": "as root: adduser NAME GROUP; who was added to the group must log in again, or: sg GROUP 'jabberctl ...'",
        } }));
        answer.take()
    }

    /// The line that tells it, for who has no talk with the server or whose talk was lost.
    pub fn to_line(&self) -> Vec<u8> {
        let mut answer = Answer::default();
        answer.refuse(self);
        answer.take()
    }
}
