//! The completion of the shells, by the shells themselves: somebody types at a terminal, and presses the tabulator.

use std::fs;
use std::process::Command;

use crate::pty::Terminal;
use crate::site::Site;

/// What begins a shell's answers, and its prompt.
const PROMPT: &str = "<ready>";

/// The words of the command line that becomes of these keys.
fn words(shell: &mut Terminal, keys: &str) -> String {
    // It takes keys from then on.
    shell.until(PROMPT);
    shell.types(&format!("{keys}\n"));
    shell.until("[[");
    shell.until("]]").trim_end_matches("]]").to_owned()
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
    ("jabberctl check dns --dn\t", "check|dns|--dns"),
    ("jabberctl --js\tst\t", "--json|status"),
    ("jabberctl -c jabber.x\tst\t", "-c|jabber.xml|status"),
    ("jabberctl --da\tjabber.x\tback\t", "--database|jabber.xml|backup"),
    ("jabberctl backup jabber.x\t", "backup|jabber.xml"),
    ("jabberctl import j\tjabber.x\t", "import|jabberd14|jabber.xml"),
    // Names that a shell takes for something else.
    ("jabberctl restore my\t", "restore|my backup.db"),
    ("jabberctl restore 10\t", "restore|10$.db"),
    ("jabberctl restore fol\tin\t", "restore|folder/inside.db"),
    ("jabberctl help us\tp\t", "help|user|passwd"),
    ("jabberctl help back\t", "help|backup"),
    ("jabberctl help backup x\t", "help|backup|x"),
    ("jabberctl help --as m\t", "help|--as|man"),
    ("jabberctl export --format x\t", "export|--format|xep0227"),
    ("jabberctl export --f\tj\tjabber.x\t", "export|--format|jabberd14|jabber.xml"),
    ("jabberctl kick --reason st\t", "kick|--reason|st"),
    ("jabberctl nonsense x\t", "nonsense|x"),
];

/// A test's own file for the shell to start with: a jabberctl that tells what it is called with.
fn completes(site: &Site, mut command: Command, name: &str) {
    for file in ["my backup.db", "10$.db", "folder/inside.db"] {
        site.write(file, "");
    }
    command.env("TERM", "dumb");
    let mut shell = Terminal::start(command, 80);
    for (keys, expected) in TYPED {
        assert_eq!(words(&mut shell, keys), *expected, "{name}: {keys}");
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
        PROMPT,
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
        PROMPT
    );
    site.write(".zshrc", &start);
    let mut command = Command::new("timeout");
    command.args(["300", "zsh", "-d", "-i"]).env("ZDOTDIR", &site.directory).current_dir(&site.directory);
    completes(&site, command, "zsh");
}
