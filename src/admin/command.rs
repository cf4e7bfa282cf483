//! What a command is: its name, its arguments, what it says about itself, and the function that does it.

use super::job::Next;
use super::request::{Refusal, Request};
use super::view::View;

/// One row of the table of commands.
pub struct Command {
    /// One word, or two (`user add`).
    pub name: &'static str,
    /// What may stand behind it, in this order.
    pub arguments: &'static [Argument],
    /// What it does, in a few words without a full stop.
    pub summary: &'static str,
    /// What else people should know, in whole sentences; may be empty.
    pub details: &'static str,
    /// Whole command lines, and what each is for.
    pub examples: &'static [(&'static str, &'static str)],
    /// What the rows of its answer hold.
    pub shows: Shows,
    /// The secret that it wants, as the prompt names it: never an argument, since those show in ps(1).
    pub secret: Option<&'static str>,
    /// It destroys something, and what that costs: jabberctl asks on a terminal, and wants `--yes` elsewhere.
    pub destroys: Option<&'static str>,
    /// It changes something: who asked for it is logged at `notice`.
    pub changes: bool,
    /// The first word alone means this one of its commands.
    pub is_usual: bool,
    /// Where it is done.
    pub does: Does,
}

/// Where a command is done.
pub enum Does {
    /// In the server.
    Server(fn(&mut View<'_>, &Request) -> Result<Next, Refusal>),
    /// In jabberctl, which needs no server for it. A row all the same, for the help, the manual and the completion.
    Client,
}

impl Command {
    /// Nothing said: the rest of a literal.
    pub const NONE: Command = Command {
        name: "",
        arguments: &[],
        summary: "",
        details: "",
        examples: &[],
        shows: Shows::Nothing,
        secret: None,
        destroys: None,
        changes: false,
        is_usual: false,
        does: Does::Client,
    };

    /// The argument of this name.
    pub fn argument(&self, name: &str) -> Option<&Argument> {
        self.arguments.iter().find(|argument| argument.name == name)
    }

    /// The command line in short: `user add JID`.
    pub fn usage(&self) -> String {
        let mut usage = self.name.to_owned();
        for argument in self.arguments {
            usage.push(' ');
            usage.push_str(&argument.usage());
        }
        usage
    }
}

/// What may stand behind a command.
pub struct Argument {
    /// Its name in the request; behind `--` if it is an option.
    pub name: &'static str,
    /// Where it stands.
    pub form: Form,
    /// What it is.
    pub kind: Kind,
    /// What it means, without a full stop.
    pub help: &'static str,
}

/// Where an argument stands on the command line. In a request all stand by their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// It must be there, in its place.
    Needed,
    /// It may be there, in its place, at the end.
    Optional,
    /// `--name VALUE`.
    Option,
    /// `--name`, without a value; `true` in a request.
    Flag,
}

/// What an argument is: it is checked before the command is done, and completed by the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The bare JID of an account: `name@host`.
    Account,
    /// Any JID.
    Jid,
    /// A host that is served here.
    Host,
    /// A domain.
    Domain,
    /// A whole number.
    Number,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A file, for what jabberctl does itself, as who called it: the server opens no file that a command names.
    File,
    /// Words for people: they are not logged.
    Text,
    /// Anything else, without spaces as a rule.
    Name,
}

impl Argument {
    /// An argument that must be there.
    pub const fn needed(name: &'static str, kind: Kind, help: &'static str) -> Argument {
        Argument { name, form: Form::Needed, kind, help }
    }

    /// An argument that may be left out.
    pub const fn optional(name: &'static str, kind: Kind, help: &'static str) -> Argument {
        Argument { name, form: Form::Optional, kind, help }
    }

    /// `--name VALUE`.
    pub const fn option(name: &'static str, kind: Kind, help: &'static str) -> Argument {
        Argument { name, form: Form::Option, kind, help }
    }

    /// `--name`.
    pub const fn flag(name: &'static str, help: &'static str) -> Argument {
        Argument { name, form: Form::Flag, kind: Kind::Name, help }
    }

    /// What stands for its value in a usage: `JID`, or the words it may be.
    pub fn placeholder(&self) -> String {
        match self.kind {
            Kind::Word(words) => words.join("|"),
            _ => self.name.to_uppercase(),
        }
    }

    /// How it stands in a usage.
    pub fn usage(&self) -> String {
        match self.form {
            Form::Needed => self.placeholder(),
            Form::Optional => format!("[{}]", self.placeholder()),
            Form::Option => format!("[--{} {}]", self.name, self.placeholder()),
            Form::Flag => format!("[--{}]", self.name),
        }
    }
}

/// What the rows of an answer hold.
#[derive(Clone, Copy, Debug)]
pub enum Shows {
    /// There are none.
    Nothing,
    /// A table, a row each.
    Table(&'static [Column]),
    /// One row, shown as a list of its fields.
    Record(&'static [Column]),
}

impl Shows {
    /// The columns.
    pub fn columns(self) -> &'static [Column] {
        match self {
            Shows::Nothing => &[],
            Shows::Table(columns) | Shows::Record(columns) => columns,
        }
    }
}

/// A field of a row.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name in JSON.
    pub key: &'static str,
    /// Its title for people.
    pub title: &'static str,
    /// How people read its value.
    pub unit: Unit,
}

impl Column {
    /// A column of text.
    pub const fn text(key: &'static str, title: &'static str) -> Column {
        Column { key, title, unit: Unit::Text }
    }

    /// A column of numbers.
    pub const fn number(key: &'static str, title: &'static str) -> Column {
        Column { key, title, unit: Unit::Number }
    }

    /// A column of another unit.
    pub const fn of(key: &'static str, title: &'static str, unit: Unit) -> Column {
        Column { key, title, unit }
    }
}

/// How people read a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// As it is; a list is joined.
    Text,
    /// A number, to the right.
    Number,
    /// A number of bytes: `3.4 MiB`.
    Bytes,
    /// A number of seconds: `2 d 03:04`.
    Seconds,
    /// A number of milliseconds.
    Millis,
    /// A moment, in Unix seconds; `null` is never.
    Moment,
    /// The same of an account, and now while the row says that it is `online`.
    Seen,
    /// `true` or `false`: yes or no.
    YesNo,
    /// A URI: on a terminal its QR code is drawn behind the record.
    Link,
}

/// An option of jabberctl that all commands share.
pub struct SharedOption {
    /// Its names.
    pub names: &'static [&'static str],
    /// What stands for its value, if it takes one.
    pub value: Option<&'static str>,
    /// What it means, without a full stop.
    pub help: &'static str,
}

/// They may stand anywhere before `--`.
pub const OPTIONS: &[SharedOption] = &[
    SharedOption { names: &["--json"], value: None, help: "print JSON, for scripts" },
    SharedOption { names: &["--yes", "-y"], value: None, help: "do not ask before something is destroyed" },
    SharedOption {
        names: &["--config", "-c"],
        value: Some("FILE"),
        help: "the server's jabber.xml, which says where its socket is",
    },
    SharedOption { names: &["--socket"], value: Some("FILE"), help: "the server's control socket" },
    SharedOption {
        names: &["--database"],
        value: Some("FILE"),
        help: "the database, for backup, restore, export and check: they need no jabber.xml then",
    },
    SharedOption {
        names: &["--timeout"],
        value: Some("SECONDS"),
        help: "give up when the server says nothing for so long, instead of for a minute (check: a few seconds)",
    },
    SharedOption { names: &["--help", "-h"], value: None, help: "help; with a command, about that command" },
    SharedOption { names: &["--version", "-V"], value: None, help: "print the version" },
];
