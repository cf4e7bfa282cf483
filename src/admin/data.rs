//! Backups, and accounts that come from other servers or go to them.
//!
//! jabberctl does this itself, on the database: files are read and written as who called it, it works with the server up
//! or down, and the loop of a server that runs has nothing to do with it.

use super::command::{Argument, Command, Kind};

/// `backup`.
pub const BACKUP: Command = Command {
    name: "backup",
    arguments: &[
        Argument::needed("file", Kind::File, "where to"),
        Argument::flag("overwrite", "replace the file if it is there"),
    ],
    summary: "copy the database into a file, while the server runs or not",
    details: "The copy is the database as it was at one moment, checked, and on the disk when the command ends. It holds \
              what passwords can be guessed with: keep it as safe as the database. Nobody but who makes it may read it. \
              jabber.xml and certificates are not in it. With the server down, a database on a \
              disk that went read-only is copied, too. The server makes such copies of its own accord, in backup/ \
              beside the database. Of those before a change of the database's format the last five are kept. Of those \
              before an import the last is kept, and the first of each of the last five days that had any: many imports \
              do not push out what was there before the first.",
    examples: &[
        ("jabberctl backup /var/backups/jabber-$(date +%F).db", "with the date in its name"),
        (
            "0 4 * * * root /usr/sbin/jabberctl backup /var/backups/jabber-$(date +\\%F).db",
            "one a day, as a line of a file in /etc/cron.d, where a % needs a backslash",
        ),
    ],
    ..Command::NONE
};

/// `restore`.
pub const RESTORE: Command = Command {
    name: "restore",
    arguments: &[Argument::needed("file", Kind::File, "a backup")],
    summary: "put a backup in the place of the database",
    details: "The server must be stopped. The backup is checked first; one of a newer release is refused. The database that \
              was there is kept beside the new one, as jabber.db.before-restore- and the time. The last copy, \
              jabber-TIME.tar.gz, that purging the package leaves in /var/backups is no such backup, but the whole \
              directory: with the package installed again and the server stopped, tar -C /var/lib -xzf brings it back.",
    examples: &[(
        "/etc/init.d/jabber stop && jabberctl restore /var/backups/jabber-2026-11-28.db && /etc/init.d/jabber start",
        "with all that has happened since being lost",
    )],
    destroys: Some("what happened since that backup is not in it; the database that is there is kept beside it"),
    ..Command::NONE
};

/// The formats, for both directions.
const FORMATS: &[&str] = &["xep0227", "jabberd14"];

/// `export`.
pub const EXPORT: Command = Command {
    name: "export",
    arguments: &[
        Argument::needed("file", Kind::File, "the file, or for jabberd14 the directory"),
        Argument::option("format", Kind::Word(FORMATS), "the format; without, xep0227, which most servers read"),
        Argument::option("host", Kind::Host, "this host alone"),
    ],
    summary: "write all accounts in a format that other servers read",
    details: "The accounts are as they were at one moment, while the server runs or not. The passwords are keys (SCRAM), \
              which jabberd 1.4 cannot use; nobody but who makes the files may read them.",
    examples: &[
        ("jabberctl export accounts.xml", "a document of XEP-0227"),
        ("jabberctl export --format jabberd14 spool", "the files of jabberd 1.4"),
    ],
    ..Command::NONE
};

/// `import`.
pub const IMPORT: Command = Command {
    name: "import",
    arguments: &[
        Argument::needed("format", Kind::Word(FORMATS), "what it is"),
        Argument::needed("file", Kind::File, "the file, or for jabberd14 the spool directory"),
    ],
    summary: "take over the accounts of another server",
    details: "While the server runs or not. Accounts that are here already stay as they are, so an import that was \
              interrupted is simply begun again. A report beside the database tells all that was left behind. The status \
              is 1 if anything could not be read, or not to its end, if there is no account in it, and if nothing came and \
              users were left, as those of hosts that are not served; what came stays. Once all is there, a second import ends with 0. Files are \
              read as the server's user, and never changed. Passwords in clear become keys, which takes about ten \
              minutes of one processor for a hundred thousand of them.",
    examples: &[
        ("jabberctl import jabberd14 /var/spool/jabber", "an old spool; the server does it itself at its first start"),
        ("jabberctl import xep0227 /var/tmp/accounts.xml", "what Prosody or ejabberd exported"),
    ],
    ..Command::NONE
};
