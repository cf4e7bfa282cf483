//! Commands that jabberctl does itself, with the server up or down.

use super::command::{Argument, Command, Kind};

/// `help`.
pub const HELP: Command = Command {
    name: "help",
    arguments: &[Argument::optional("command", Kind::Text, "the command; without, all are listed")],
    summary: "tell what a command does, with examples",
    examples: &[
        ("jabberctl help user add", "about one command"),
        ("jabberctl help user", "about all that begin with it"),
    ],
    ..Command::NONE
};

/// `version`.
pub const VERSION: Command = Command {
    name: "version",
    summary: "print jabberctl's version; that of the server is in its status",
    examples: &[("jabberctl version", "the same as jabberctl --version")],
    ..Command::NONE
};
