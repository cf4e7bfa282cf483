//! The completion of the shells, by the shells themselves: somebody types at a terminal, and presses the tabulator.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};

use jabber::net::uninterrupted;
use nix::pty::openpty;

use crate::site::Site;

/// A shell at a terminal of its own.
struct Shell {
    child: Child,
    terminal: File,
    seen: String,
}

impl Shell {
    /// What begins its answers, and its prompt.
    const PROMPT: &str = "<ready>";

    fn start(mut command: Command) -> Shell {
        let pair = openpty(None, None).unwrap();
        let end = File::from(pair.slave);
        let twin = || Stdio::from(end.try_clone().unwrap());
        command.stdin(twin()).stdout(twin()).stderr(twin()).env("TERM", "dumb");
        let child = command.spawn().unwrap();
        Shell { child, terminal: File::from(pair.master), seen: String::new() }
    }

    /// Reads on until it sees this, and takes all up to its end.
    fn until(&mut self, wanted: &str) -> String {
        loop {
            if let Some(at) = self.seen.find(wanted) {
                let rest = self.seen.split_off(at + wanted.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            let mut buffer = [0; 4096];
            let count = uninterrupted(|| self.terminal.read(&mut buffer)).unwrap_or_default();
            assert!(count > 0, "the shell ended before {wanted}: {}", self.seen);
            self.seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    }

    /// The words of the command line that becomes of these keys.
    fn types(&mut self, keys: &str) -> String {
        // It takes keys from then on.
        self.until(Shell::PROMPT);
        self.terminal.write_all(format!("{keys}\n").as_bytes()).unwrap();
        self.until("[[");
        self.until("]]").trim_end_matches("]]").to_owned()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What is typed, with `\t` for the tabulator, and what becomes of it.
const TYPED: &[(&str, &str)] = &[
    ("jabberctl st\t", "status"),
    ("jabberctl ann\t--m\t", "announce|--motd"),
    ("jabberctl user p\t", "user|passwd"),
    ("jabberctl user l\t", "user|list"),
    // The first and the second of two.
    ("jabberctl user d\t", "user|delete"),
    ("jabberctl user d\t\t", "user|disable"),
    ("jabberctl inv\tr\t", "invite|revoke"),
    ("jabberctl log l\tw\t", "log|level|warn"),
    ("jabberctl register cl\t", "register|closed"),
    ("jabberctl block --sub\t", "block|--subdomains"),
    ("jabberctl check f\t", "check|files"),
    ("jabberctl check dns --d\t", "check|dns|--dns"),
    ("jabberctl --js\tst\t", "--json|status"),
    ("jabberctl -c jabber.x\tst\t", "-c|jabber.xml|status"),
    ("jabberctl backup jabber.x\t", "backup|jabber.xml"),
    ("jabberctl import j\tjabber.x\t", "import|jabberd14|jabber.xml"),
    ("jabberctl export --format x\t", "export|--format|xep0227"),
    ("jabberctl export --f\tj\tjabber.x\t", "export|--format|jabberd14|jabber.xml"),
    ("jabberctl kick --reason st\t", "kick|--reason|st"),
    ("jabberctl nonsense x\t", "nonsense|x"),
];

/// A test's own file for the shell to start with: a jabberctl that tells what it is called with.
fn completes(site: &Site, command: Command, name: &str) {
    let mut shell = Shell::start(command);
    for (keys, words) in TYPED {
        assert_eq!(shell.types(keys), *words, "{name}: {keys}");
    }
    drop(shell);
    assert!(fs::metadata(&site.directory).is_ok());
}

fn scripts() -> String {
    std::env::current_dir().unwrap().join("init/completion").display().to_string()
}

#[test]
fn bash_completes() {
    let site = Site::new("bash");
    let start = format!(
        "PS1='{}'; bind 'TAB: menu-complete'; bind 'set enable-bracketed-paste off'\n\
         source {}/jabberctl\n\
         jabberctl() {{ local IFS='|'; printf '%s\\n' \"[\"\"[$*]\"\"]\"; }}\n",
        Shell::PROMPT,
        scripts()
    );
    site.write("start", &start);
    let mut command = Command::new("timeout");
    command.args(["300", "bash", "--noprofile", "--rcfile"]).arg(site.path("start")).arg("-i");
    command.current_dir(&site.directory);
    completes(&site, command, "bash");
}

#[test]
fn zsh_completes() {
    let site = Site::new("zsh");
    if Command::new("zsh").args(["-f", "-c", "true"]).output().is_err() {
        println!("left out: zsh is not installed");
        return;
    }
    let start = format!(
        "fpath=({} $fpath); autoload -Uz compinit; compinit -u -d zcompdump\n\
         setopt menu_complete no_auto_list no_beep; unsetopt zle_bracketed_paste 2>/dev/null; bindkey '^I' complete-word\n\
         unset zle_bracketed_paste; PROMPT='{}'; RPROMPT=\n\
         jabberctl() {{ print -r -- \"[\"\"[${{(j:|:)@}}]\"\"]\" }}\n",
        scripts(),
        Shell::PROMPT
    );
    site.write(".zshrc", &start);
    let mut command = Command::new("timeout");
    command.args(["300", "zsh", "-d", "-i"]).env("ZDOTDIR", &site.directory).current_dir(&site.directory);
    completes(&site, command, "zsh");
}
