//! Commands that jabberctl does itself, with the server up or down.

use super::command::{Argument, Command, Kind};

/// `check`.
pub const CHECK: Command = Command {
    name: "check",
    arguments: &[
        Argument::optional(
            "area",
            Kind::Word(&["config", "server", "files", "certificates", "ports", "dns", "machine"]),
            "only this; without, all",
        ),
        Argument::flag("problems", "only what is not as it should be"),
        Argument::option("dns", Kind::Name, "ask this DNS server, as the world does, in place of the system's"),
    ],
    summary: "look for what is wrong, with the server up or down, and tell the remedy",
    details: "jabber.xml, users, owners and modes of files, room on the disks, certificates and their days left, who holds \
              the ports, what DNS says of each host, the clock and the limits. Nothing is changed. The database is looked \
              through for two seconds at most, whatever --timeout says; if that is too short, the number of tables that \
              were seen is told, and a run in the next minute begins with another. Run it as root: much of that is nobody \
              else's to see. The exit code is what monitoring expects: 0 all is well, 1 warnings, 2 something is broken, \
              3 it could not be found out, be it for a wrong command line or an answer that nobody takes.",
    examples: &[
        ("jabberctl check", "all of it"),
        ("jabberctl check dns --dns 9.9.9.9", "what others see of our names"),
        ("jabberctl --json check --problems", "for monitoring"),
    ],
    ..Command::NONE
};

/// `help`.
pub const HELP: Command = Command {
    name: "help",
    arguments: &[
        Argument::optional("command", Kind::Text, "the command; without, all are listed"),
        Argument::option("as", Kind::Word(&["man", "bash", "zsh"]), "print the manual's page, or a shell's completion"),
    ],
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
