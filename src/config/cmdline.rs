//! The command line, in jabberd 1.4's own grammar with long names beside it.
//!
//! Letters can stand together after one dash. `-B`, `-D`, `-v` and `-V` stand alone; every other letter takes the next
//! argument as its value, known or not, and `<jabberd:cmdline flag='x'>` picks it up. So `-h` is a host, never help.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

/// What the program is to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// Serve.
    #[default]
    Run,
    /// Read the configuration, tell what is in it, exit.
    Test,
    /// As root: give a running server's sockets to the groups that jabber.xml names, exit.
    GiveSockets,
    /// Print the version, exit 0.
    Version,
    /// Print the help, exit 0.
    Help,
}

/// The command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// What to do.
    pub action: Action,
    /// `-c`: the configuration file; see [`CommandLine::config_file`].
    pub config: Option<PathBuf>,
    /// `-H`: the directory to change to before anything is read.
    pub home: Option<PathBuf>,
    /// `-U`: the user to become.
    pub user: Option<String>,
    /// `-B`: go to the background.
    pub background: bool,
    /// `-D`, or `-d` with any bit: log debug lines.
    pub debug: bool,
    /// `-i`: further files whose root becomes a child of the root.
    pub include: Vec<PathBuf>,
    /// `-I`: an old spool to import before serving.
    pub import: Option<PathBuf>,
    /// Values for `<jabberd:cmdline flag='…'>`, by letter or name: of `-h`, `-s`, `-x KEY:VALUE` and unknown letters.
    pub flags: BTreeMap<String, String>,
    /// What the admin should know about arguments that do nothing.
    pub warnings: Vec<String>,
}

/// The file that is read without `-c`.
pub const DEFAULT_CONFIG: &str = "/etc/jabber/jabber.xml";

impl CommandLine {
    /// The configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.config.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_CONFIG))
    }
}

/// A command line that cannot be used: the text for stderr; the exit code is 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageError(pub String);

impl std::fmt::Display for UsageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\nTry 'jabberd --help', or jabberd(8).", self.0)
    }
}

impl std::error::Error for UsageError {}

impl CommandLine {
    /// Reads the arguments, without the program's own name.
    ///
    /// # Errors
    /// An argument without dash, a letter without its value, a long name that does not exist, a value that cannot be.
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<CommandLine, UsageError> {
        let mut line = CommandLine::default();
        let mut rest = arguments.into_iter();
        while let Some(argument) = rest.next() {
            if matches!(line.action, Action::Version | Action::Help) {
                break;
            }
            let argument = argument
                .into_string()
                .map_err(|raw| UsageError(format!("argument {} is not UTF-8", raw.to_string_lossy())))?;
            if let Some(long) = argument.strip_prefix("--") {
                line.long(long, &mut rest)?;
            } else if let Some(letters) = argument.strip_prefix('-').filter(|letters| !letters.is_empty()) {
                line.letters(letters, &mut rest)?;
            } else {
                return Err(UsageError(format!("argument '{argument}' has no dash before it; what is it for?")));
            }
        }
        Ok(line)
    }

    fn letters(&mut self, letters: &str, rest: &mut dyn Iterator<Item = OsString>) -> Result<(), UsageError> {
        for letter in letters.chars() {
            match letter {
                'B' => self.background = true,
                'D' => self.debug = true,
                'v' | 'V' => self.action = Action::Version,
                '?' => self.action = Action::Help,
                _ => {
                    let missing = || {
                        let hint = if letter == 'h' { " (a host name; for help say --help)" } else { "" };
                        UsageError(format!("-{letter} needs a value after it{hint}"))
                    };
                    let value = text(rest.next().ok_or_else(missing)?)?;
                    self.letter(letter, value)?;
                }
            }
            if matches!(self.action, Action::Version | Action::Help) {
                break;
            }
        }
        Ok(())
    }

    fn letter(&mut self, letter: char, value: String) -> Result<(), UsageError> {
        match letter {
            'c' => self.config = Some(PathBuf::from(&value)),
            'H' => self.home = Some(PathBuf::from(&value)),
            'U' => self.user = Some(value.clone()),
            'i' => self.include.extend(value.split(',').filter(|name| !name.is_empty()).map(PathBuf::from)),
            'I' => self.import = Some(PathBuf::from(&value)),
            'd' => self.debug |= debug_mask(&value)? != 0,
            'x' => {
                let (key, value) = value
                    .split_once(':')
                    .filter(|(key, _)| !key.is_empty())
                    .ok_or_else(|| UsageError(format!("-x needs KEY:VALUE, found '{value}'")))?;
                self.flags.insert(key.to_owned(), value.to_owned());
                return Ok(());
            }
            'h' | 's' => {}
            'Z' => self.warnings.push("-Z (debug zones) has no effect; -D logs all debug lines".to_owned()),
            _ => self.warnings.push(format!("-{letter} is only known to <jabberd:cmdline flag=\"{letter}\">")),
        }
        self.flags.insert(letter.to_string(), value);
        Ok(())
    }

    fn long(&mut self, long: &str, rest: &mut dyn Iterator<Item = OsString>) -> Result<(), UsageError> {
        let (name, given) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (long, None),
        };
        let alone = match name {
            "test" => Some(Action::Test),
            "give-sockets" => Some(Action::GiveSockets),
            "version" => Some(Action::Version),
            "help" | "usage" => Some(Action::Help),
            "background" | "debug" => Some(self.action),
            _ => None,
        };
        if let Some(action) = alone {
            if given.is_some() {
                return Err(UsageError(format!("--{name} takes no value")));
            }
            self.background |= name == "background";
            self.debug |= name == "debug";
            self.action = action;
            return Ok(());
        }
        let letter = LONG.iter().find(|(long, _)| *long == name).map(|(_, letter)| *letter);
        let Some(letter) = letter else {
            return Err(UsageError(format!("there is no option --{name}")));
        };
        let value = match given {
            Some(value) => value,
            None => text(rest.next().ok_or_else(|| UsageError(format!("--{name} needs a value after it")))?)?,
        };
        self.letter(letter, value)
    }
}

/// Long names with values, and their letters.
const LONG: &[(&str, char)] = &[
    ("config", 'c'),
    ("debugmask", 'd'),
    ("define", 'x'),
    ("home", 'H'),
    ("host", 'h'),
    ("import", 'I'),
    ("include", 'i'),
    ("spooldir", 's'),
    ("user", 'U'),
    ("zones", 'Z'),
];

fn text(value: OsString) -> Result<String, UsageError> {
    value.into_string().map_err(|raw| UsageError(format!("argument {} is not UTF-8", raw.to_string_lossy())))
}

/// `-d`: any bit set means debug. Decimal, octal with 0 and hexadecimal with 0x, as C reads numbers.
fn debug_mask(value: &str) -> Result<u64, UsageError> {
    let lower = value.trim().to_ascii_lowercase();
    let parsed = match (lower.strip_prefix("0x"), lower.strip_prefix('0').filter(|digits| !digits.is_empty())) {
        (Some(digits), _) => u64::from_str_radix(digits, 16),
        (None, Some(digits)) => u64::from_str_radix(digits, 8),
        (None, None) => lower.parse(),
    };
    parsed.map_err(|_| UsageError(format!("-d needs a number, found '{value}'")))
}

/// What `--help` prints.
pub const HELP: &str = "\
jabberd - an XMPP (Jabber) server

  jabberd --test              read /etc/jabber/jabber.xml, say what is in it and
                              what is wrong with it, and exit; starts nothing
  jabberd                     serve in the foreground (Ctrl-C stops it)
  /etc/init.d/jabber restart  what you probably want instead

Options (letters take their value from the next argument; -h is a host):
  -c, --config FILE      the configuration  [/etc/jabber/jabber.xml]
      --test             check the configuration, report, exit (0 good, 1 bad)
      --give-sockets     as root: give the sockets of a server that runs to the
                         groups in jabber.xml, exit; jabber.service does it
  -h, --host NAME        value for <jabberd:cmdline flag=\"h\">: our host
  -s, --spooldir DIR     value for <jabberd:cmdline flag=\"s\">: our data
  -x, --define KEY:VALUE value for <jabberd:cmdline flag=\"KEY\">
  -i, --include A,B      further configuration files
  -H, --home DIR         change to this directory first
  -U, --user USER        run as this user once the ports are open
  -I, --import DIR       import the accounts of an old spool, then go on
  -B, --background       go to the background
  -D, --debug            log debug lines
  -v, --version          print the version and exit
      --help             print this and exit

Files:
  /etc/jabber/jabber.xml        configuration, explained in jabber.xml(5)
  /etc/jabber/conf.d/*.xml      read after it
  /var/log/jabber/error.log     look here first
  /var/log/jabber/record.log    logins, failed logins, sessions
  /var/lib/jabber               accounts and messages: back this up

Signals: TERM stops, HUP reads the configuration again and reopens the logs.
Exit code: 0 after a stop, 1 if something is wrong; the reason is on stderr.
";
