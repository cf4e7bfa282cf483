//! Talk files: text into steps. Everything that can be wrong with the text is found here, with its line.

use std::collections::BTreeSet;
use std::net::IpAddr;

/// One scripted test.
#[derive(Clone, Debug, Default)]
pub struct Talk {
    /// `tests/talks/ping.talk:3`.
    pub place: String,
    /// What is shown.
    pub title: String,
    /// Why it cannot pass yet.
    pub pending: Option<String>,
    /// The server that it needs.
    pub setup: Setup,
    /// What is said and heard.
    pub steps: Vec<Step>,
}

/// How the server of a talk differs from the usual one.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Hosts besides `localhost`.
    pub hosts: Vec<String>,
    /// What `<jsm>` holds; empty: open registration.
    pub jsm: Vec<String>,
    /// What `<limits>` holds.
    pub limits: Vec<String>,
    /// What `<pthcsock>` holds besides the ports.
    pub c2s: Vec<String>,
    /// What the root element holds besides.
    pub jabber: Vec<String>,
    /// Why it is spoken in memory only: a stamp that the clock of the talks makes true.
    #[allow(dead_code, reason = "in memory everything is spoken")]
    pub in_memory: Option<String>,
    /// Accounts with their passwords.
    pub accounts: Vec<(String, String)>,
}

/// One line of a talk.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its number in the file.
    pub line: usize,
    /// Its text.
    pub text: String,
    /// What it asks for.
    pub action: Action,
}

/// What is done.
#[derive(Clone, Debug)]
pub enum Action {
    /// A client sends text.
    Says(String, String),
    /// The server must send this next, or, in any order, among what it has sent.
    Hears { who: String, text: String, any_order: bool },
    /// The server must have sent nothing.
    HearsNothing(String),
    /// A connection is made.
    Connects(String, Option<Raw>, Option<IpAddr>),
    /// The TLS handshake is done.
    Secured(String),
    /// The server must have ended the stream and closed.
    Closed(String),
    /// The connection dies.
    Disconnects(String),
    /// Presence is sent, and what everybody hears of it is dropped.
    Online(String, String),
    /// What a client has heard so far is dropped.
    Forget(String),
    /// Two accounts see one another's presence.
    Friends(String, String),
    /// Seconds go by.
    Wait(u64),
    /// The server is told to stop.
    Stop,
    /// The server is stopped, if it is not yet, and started.
    Restart,
    /// The server dies before it commits the line before.
    Crash,
}

/// How far a raw connection is when the talk takes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Raw {
    /// Accepted on the port for STARTTLS.
    Bare,
    /// STARTTLS is done, with TLS 1.3.
    Tls,
    /// STARTTLS is done, without a `tls-exporter` binding.
    Tls12,
    /// Accepted on the port for direct TLS, secured.
    Direct,
    /// Accepted on a port that allows logins without TLS.
    Plain,
    /// Accepted on another port of jabber.xml: a component's.
    Port(u16),
}

/// Reads a talk file.
pub fn parse(file: &str, text: &str) -> Result<Vec<Talk>, String> {
    let lines = joined(text);
    let lines = repeated(file, lines)?;
    let mut talks: Vec<Talk> = Vec::new();
    let mut shared = Setup::default();
    for (number, line) in lines {
        if let Some(title) = line.strip_prefix("## ") {
            let place = format!("{file}:{number}");
            talks.push(Talk { place, title: title.trim().to_string(), setup: shared.clone(), ..Talk::default() });
            continue;
        }
        let fault = |why: String| format!("{file}:{number}: {why}\n    {line}");
        if setup(talks.last_mut().map_or(&mut shared, |talk| &mut talk.setup), &line) {
            continue;
        }
        match talks.last_mut() {
            None => return Err(fault("before the first title stand only directives of the setup".into())),
            Some(talk) => match line.strip_prefix("pending:") {
                Some(why) => talk.pending = Some(why.trim().to_string()),
                None => {
                    let action = action(&line).map_err(fault)?;
                    talk.steps.push(Step { line: number, text: line, action });
                }
            },
        }
    }
    talks.iter_mut().for_each(add_accounts);
    Ok(talks)
}

/// Lines without comments and blank ones; an indented line goes on with the one before.
fn joined(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let is_comment = line.starts_with('#') && !line.starts_with("## ");
        match lines.last_mut() {
            _ if line.trim().is_empty() || is_comment => {}
            Some((_, before)) if line.starts_with([' ', '\t']) => before.push_str(line.trim()),
            _ => lines.push((index + 1, line.trim_end().to_string())),
        }
    }
    lines
}

/// `repeat N` … `end` written out; `{n}` in it is the number of the round.
fn repeated(file: &str, lines: Vec<(usize, String)>) -> Result<Vec<(usize, String)>, String> {
    let mut out = Vec::new();
    let mut block: Option<(usize, Vec<(usize, String)>)> = None;
    for (number, line) in lines {
        if let Some(times) = line.strip_prefix("repeat ") {
            let times = times.trim().parse().map_err(|_| format!("{file}:{number}: repeat what number?"))?;
            block = Some((times, Vec::new()));
        } else if line == "end" {
            let (times, inner) = block.take().ok_or(format!("{file}:{number}: end of what?"))?;
            for round in 1..=times {
                out.extend(inner.iter().map(|(at, line)| (*at, line.replace("{n}", &round.to_string()))));
            }
        } else {
            block.as_mut().map_or(&mut out, |(_, inner)| inner).push((number, line));
        }
    }
    if block.is_some() { Err(format!("{file}: a repeat has no end")) } else { Ok(out) }
}

/// Takes a line of the setup.
fn setup(setup: &mut Setup, line: &str) -> bool {
    let Some((word, rest)) = line.split_once(' ') else { return false };
    let rest = rest.trim().to_string();
    match word {
        "host" => setup.hosts.push(rest),
        "jsm:" => setup.jsm.push(rest),
        "limits:" => setup.limits.push(rest),
        "c2s:" => setup.c2s.push(rest),
        "jabber:" => setup.jabber.push(rest),
        "memory:" => setup.in_memory = Some(rest),
        "account" => {
            let (name, password) = rest.split_once(' ').unwrap_or((&rest, PASSWORD));
            setup.accounts.push((bare(name), password.trim().to_string()));
        }
        _ => return false,
    }
    true
}

/// The password of accounts for which a talk names none.
pub const PASSWORD: &str = "secret";

/// The account that a client's name stands for.
pub fn bare(name: &str) -> String {
    let account = name.split('/').next().unwrap_or(name);
    if account.contains('@') { account.to_string() } else { format!("{account}@localhost") }
}

/// The resource that a client's name stands for.
pub fn resource(name: &str) -> &str {
    name.split_once('/').map_or("home", |(_, resource)| resource)
}

fn action(line: &str) -> Result<Action, String> {
    match line {
        "stop" => return Ok(Action::Stop),
        "restart" => return Ok(Action::Restart),
        "crash" => return Ok(Action::Crash),
        _ => {}
    }
    let (first, rest) = line.split_once(' ').ok_or("what is this?")?;
    if first == "wait" {
        return seconds(rest).map(Action::Wait).ok_or("a time is like 90s, 5m or 2h".to_string());
    }
    if first == "friends" {
        let (one, other) = rest.split_once(' ').ok_or("friends are two")?;
        return Ok(Action::Friends(one.to_string(), other.to_string()));
    }
    let who = first.to_string();
    if let Some(text) = rest.strip_prefix("C:") {
        return Ok(Action::Says(who, text.trim().to_string()));
    }
    for (start, any_order) in [("S:", false), ("S, any order:", true)] {
        if let Some(text) = rest.strip_prefix(start) {
            return Ok(Action::Hears { who, text: text.trim().to_string(), any_order });
        }
    }
    let words: Vec<&str> = rest.split(' ').collect();
    match words.as_slice() {
        ["hears", "nothing"] => Ok(Action::HearsNothing(who)),
        ["secured"] => Ok(Action::Secured(who)),
        ["closed"] => Ok(Action::Closed(who)),
        ["disconnects"] => Ok(Action::Disconnects(who)),
        ["forgets"] => Ok(Action::Forget(who)),
        ["online"] => Ok(Action::Online(who, "<presence/>".to_string())),
        ["online", priority] => {
            Ok(Action::Online(who, format!("<presence><priority>{priority}</priority></presence>")))
        }
        ["connects", how @ ..] => connects(who, how),
        _ => Err("what is this?".to_string()),
    }
}

fn connects(who: String, how: &[&str]) -> Result<Action, String> {
    let (how, from) = match how {
        [how @ .., "from", address] => (how, Some(address.parse().map_err(|_| "that is no address".to_string())?)),
        how => (how, None),
    };
    let raw = match how {
        [] => None,
        ["raw"] => Some(Raw::Bare),
        ["raw", "tls"] => Some(Raw::Tls),
        ["raw", "tls12"] => Some(Raw::Tls12),
        ["raw", "direct"] => Some(Raw::Direct),
        ["raw", "plain"] => Some(Raw::Plain),
        ["raw", "port", number] => Some(Raw::Port(number.parse().map_err(|_| "that is no port".to_string())?)),
        _ => return Err("connects how?".to_string()),
    };
    Ok(Action::Connects(who, raw, from))
}

fn seconds(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    Some(number.parse::<u64>().ok()?.saturating_mul(unit))
}

/// Who talks without ever connecting raw has an account.
fn add_accounts(talk: &mut Talk) {
    let mut raw = BTreeSet::new();
    for step in &talk.steps {
        let names: Vec<&String> = match &step.action {
            Action::Connects(who, Some(_), _) => {
                raw.insert(who.clone());
                continue;
            }
            Action::Friends(one, other) => vec![one, other],
            Action::Says(who, _) | Action::Hears { who, .. } | Action::HearsNothing(who) => vec![who],
            Action::Online(who, _) | Action::Connects(who, None, _) => vec![who],
            _ => continue,
        };
        for name in names {
            let account = bare(name);
            let is_known = talk.setup.accounts.iter().any(|(known, _)| *known == account);
            if !raw.contains(name) && !is_known {
                talk.setup.accounts.push((account, PASSWORD.to_string()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_becomes_talks() {
        let text = "# a comment\nlimits: <a>1</a>\n\n## One\npending: not yet\nromeo C: <a>\n  </a>\nrepeat 2\n\
                    juliet/balcony S: {n}\nend\nwait 2m\n## Two\nghost connects raw tls from 192.0.2.9\n";
        let talks = parse("x", text).unwrap();
        assert_eq!(talks.len(), 2);
        assert_eq!((talks[0].title.as_str(), talks[0].pending.as_deref()), ("One", Some("not yet")));
        let texts: Vec<&str> = talks[0].steps.iter().map(|step| step.text.as_str()).collect();
        assert_eq!(texts, ["romeo C: <a></a>", "juliet/balcony S: 1", "juliet/balcony S: 2", "wait 2m"]);
        assert!(matches!(talks[0].steps[3].action, Action::Wait(120)));
        let accounts: Vec<&str> = talks[0].setup.accounts.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(accounts, ["romeo@localhost", "juliet@localhost"]);
        assert!(talks[1].setup.accounts.is_empty());
        assert_eq!(talks[1].setup.limits, ["<a>1</a>"]);
        assert!(matches!(&talks[1].steps[0].action, Action::Connects(_, Some(Raw::Tls), Some(_))));
        for wrong in ["romeo dances", "## A\nromeo", "## A\nwait 5", "## A\nend", "## A\nrepeat 2\nwait 1s"] {
            assert!(parse("x", wrong).is_err(), "{wrong}");
        }
    }
}
