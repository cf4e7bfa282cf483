//! What jabberctl can ask: the table of commands, the protocol of the control socket, and the talk with one client.
//!
//! A client sends one line of JSON, and gets lines of JSON until one ends the answer; then it may ask again.
//!
//! ```text
//! {"command":"user add","arguments":{"account":"romeo@example.org"},"secret":"..."}
//! {"done":"romeo@example.org can log in"}
//! {"command":"user info","arguments":{"account":"paris@example.org"}}
//! {"error":{"kind":"not-found","text":"there is no account paris@example.org","remedy":"see jabberctl user list example.org"}}
//! ```
//!
//! | line from the server | meaning |
//! |---|---|
//! | `{"row":{...}}` | a row; its fields are the columns in the command's [`Shows`] |
//! | `{"note":"..."}` | a remark for people |
//! | `{"done":"..."}` | the end: it worked |
//! | `{"error":{"kind":"...","text":"...","remedy":"..."}}` | the end: it did not, see [`RefusalKind`]; or `unreachable`: this client may not ask |
//!
//! How a command joins: a constant [`Command`] beside the function that does it, in the file of its subject, and a row in
//! [`COMMANDS`]. Help, manual, completion and the checks of arguments come from the row. What takes longer than a few
//! milliseconds is a [`Job`]: it says something and returns [`Next::More`], and goes on in a later tick, when that has left.
//!
//! Serves `server/`, which lends its parts as a [`View`], and jabberctl, which reads the table. Invariants: no answer
//! leaves before the tick that made it is durable (it is output like any other); a line, the clients and their idle time
//! are bounded; a secret is never an argument, and never logged.

mod answer;
mod client;
mod command;
mod data;
mod hosting;
mod invites;
mod job;
mod local;
pub mod manual;
mod messages;
mod pages;
mod ping;
mod request;
mod roster;
mod servers;
mod sessions;
mod status;
mod users;
mod view;

pub use answer::Answer;
pub use client::{Client, Lent, Peer};
pub use command::{Argument, Column, Command, Does, Form, Kind, OPTIONS, SharedOption, Shows, Unit};
pub use job::{Event, Job, LogLevels, Next, Step, Told};
pub use ping::remedy;
pub use request::{Fault, Refusal, RefusalKind, Request};
pub use view::{Ask, Certificate, Client as ClientFacts, Connections, Facts, Outside, Stream, View};

/// The table of commands, in the order of the help.
pub const COMMANDS: &[&Command] = &[
    &status::STATUS,
    &users::ADD,
    &users::PASSWD,
    &users::DELETE,
    &users::LIST,
    &users::INFO,
    &users::DISABLE,
    &users::ENABLE,
    &roster::SHOW,
    &roster::ADD,
    &roster::REMOVE,
    &sessions::SESSIONS,
    &sessions::KICK,
    &messages::MESSAGE,
    &messages::ANNOUNCE,
    &servers::S2S,
    &ping::PING,
    &servers::BLOCK,
    &servers::UNBLOCK,
    &servers::BLOCKS,
    &hosting::REGISTER,
    &invites::CREATE,
    &invites::LIST,
    &invites::REVOKE,
    &hosting::CERT,
    &hosting::RELOAD,
    &hosting::LOG_LEVEL,
    &data::BACKUP,
    &data::RESTORE,
    &data::EXPORT,
    &data::IMPORT,
    &local::CHECK,
    &local::HELP,
    &local::VERSION,
];

/// The command of this name, or the usual one that begins with this word.
pub fn find(name: &str) -> Option<&'static Command> {
    let is_meant = |command: &Command| command.is_usual && command.name.split(' ').next() == Some(name);
    COMMANDS.iter().find(|command| command.name == name || is_meant(command)).copied()
}
