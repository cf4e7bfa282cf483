//! A check without a configuration, which is broken, or not ours to read: the server that runs is asked what it has read
//! before, the database is looked at where the server, the admin or custom says that it is, and what is left out is named.

use std::path::{Path, PathBuf};

use jabber::config::{Config, DEFAULT_SPOOL};
use jabber::daemon::accounts::DATABASE;
use jabber::daemon::holders;
use jabber::daemon::privileges::{Identity, is_root};
use serde_json::Value;

use super::access::AS_ROOT;
use super::{Findings, Running, Subject, certificates, database, files, machine};
use crate::jabberctl::line::Line;
use crate::jabberctl::reach::Way;
use crate::jabberctl::talk;

/// What makes the looks possible that are left out.
const REPAIR: &str = "once jabber.xml can be read: jabberctl check";

pub(super) fn check(line: &Line, wanted: &dyn Fn(&str) -> bool, findings: &mut Findings) {
    let (server, status) = server(line, findings);
    let told = |name: &str| status.as_ref().and_then(|status| status.get(name));
    let hosts = told("hosts").and_then(Value::as_array).into_iter().flatten();
    let hosts: Vec<&str> = hosts.filter_map(Value::as_str).collect();
    if status.is_some() {
        findings.warning(
            "server",
            format!("it serves {} by what it has read before: a restart needs a jabber.xml in order", hosts.join(", ")),
            "mend the file, then: jabberctl reload",
        );
    }
    let usual = Path::new(DEFAULT_SPOOL).join(DATABASE);
    let own = told("database_file").and_then(Value::as_str).map(PathBuf::from);
    let is_another = line.database.is_some() && line.database != own;
    let place = line.database.clone().or(own);
    let place = place.or_else(|| Some(usual).filter(|usual| line.config.is_none() && usual.exists()));
    let subject = Subject { is_another, ..subject(line, server, place.clone().unwrap_or_default(), &hosts) };
    if wanted("files") {
        match &place {
            Some(path) => {
                database::check(&subject, findings);
                files::room(path.parent().unwrap_or(Path::new("/")), "the data directory", findings);
            }
            None => findings.unknown(
                "files",
                "left out: the database, whose place jabber.xml tells",
                "name it: jabberctl --database FILE check",
            ),
        }
        findings.unknown("files", "left out: user, logs, pid file and all else whose place jabber.xml tells", REPAIR);
    }
    if wanted("certificates") {
        shown(line, server, findings);
    }
    if wanted("ports") {
        open(server, findings);
    }
    if wanted("dns") {
        let text = "left out: jabber.xml tells which names lead here, and to which ports";
        findings.unknown("dns", text, REPAIR);
    }
    if wanted("machine") {
        machine::check(&subject, findings);
    }
}

/// Does one run, and what does it say of itself?
fn server(line: &Line, findings: &mut Findings) -> (Running, Option<Value>) {
    match Way::of(line) {
        Ok(_) => super::server(line, None, findings),
        Err(_) => {
            let text = "whether it runs was not found out: jabber.xml tells where its socket is";
            findings.unknown("server", text, "name the socket: jabberctl --socket FILE check");
            (Running::Unknown, None)
        }
    }
}

fn subject(line: &Line, server: Running, database: PathBuf, hosts: &[&str]) -> Subject {
    let config = Config {
        spool: database.parent().map(Path::to_owned).unwrap_or_default(),
        hosts: hosts.iter().flat_map(|host| Config::for_host(host).hosts).collect(),
        ..Config::for_host("localhost")
    };
    // The files are whose they are: whose they shall be, the configuration would tell.
    let identity = Identity::of_server(&config).ok().flatten();
    let can_lend = identity.as_ref().is_none_or(|identity| !is_root() || identity.lend(|| ()).is_ok());
    Subject {
        config,
        database,
        is_another: false,
        identity,
        can_lend,
        starts_as_root: false,
        by_systemd: false,
        server,
        timeout: line.timeout,
    }
}

/// The certificates that the server shows.
fn shown(line: &Line, server: Running, findings: &mut Findings) {
    const AREA: &str = "certificates";
    let rows = matches!(server, Running::Process(_)).then(|| talk::rows(line, "cert")).flatten();
    let Some(rows) = rows else {
        let text = "left out: jabber.xml tells for which hosts, and where the files are";
        return findings.unknown(AREA, text, REPAIR);
    };
    for row in &rows {
        certificates::shown(row, "get another one, and reload the server: jabberctl reload", findings);
    }
    let text = "left out: whether others trust them, and whether the server can read renewed ones";
    findings.unknown(AREA, text, REPAIR);
}

/// The ports that the server has.
fn open(server: Running, findings: &mut Findings) {
    const AREA: &str = "ports";
    let left_out = match server {
        Running::Process(pid) => {
            let mut places: Vec<String> = holders::of_process(pid).iter().map(ToString::to_string).collect();
            places.sort();
            match places.is_empty() {
                true if !is_root() => {
                    return findings.unknown(AREA, "where the server listens cannot be seen by you", AS_ROOT);
                }
                true => findings.critical(AREA, "the server listens nowhere", "see /var/log/jabber/error.log"),
                false => findings.fine(AREA, format!("the server listens at {}", places.join(", "))),
            }
            "left out: whether those are the ports of jabber.xml"
        }
        Running::No | Running::Unknown => "left out: jabber.xml tells which there shall be",
    };
    findings.unknown(AREA, left_out, REPAIR);
}
