//! The spools in tests/fixtures/spool: three that jabberd 1.4.3, 1.4.4 and 1.6 wrote, one written by hand.

mod broken;
mod exported;
mod scale;
mod spools;

use std::fs;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::*;
use crate::import::{Format, Progress, import};
use crate::store::Store;
use crate::store::account::{self, ScramHash, ScramKeys};
use crate::xmpp::BareJid;

/// Later than all files: the spools were made on 2026-11-22.
const NOW: u64 = 1_795_392_000_000;

/// Keys that show the password, so that a test sees what arrived.
pub(super) struct Shown;

impl Passwords for Shown {
    fn derive(&self, password: &str, _: bool) -> Result<Credentials, String> {
        if password.contains('\u{1}') {
            return Err("a password cannot be so".to_owned());
        }
        let stored_key = password.as_bytes().to_vec();
        let keys = ScramKeys { hash: ScramHash::Sha1, iterations: 1, salt: vec![1], stored_key, server_key: vec![2] };
        Ok(Credentials { scram: vec![keys], legacy: None })
    }

    fn can_check(&self, hash: &str) -> bool {
        !hash.starts_with('$')
    }
}

/// A directory for one test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let directory = std::env::temp_dir().join(format!("jabberd-import-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).unwrap();
        Scratch(directory)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/spool").join(name)
}

fn plan(spool: &Path) -> Plan {
    Plan {
        from: vec![spool.to_owned()],
        hosts: vec!["xmpp.test".to_owned(), "example.org".to_owned()],
        components: vec!["icq.xmpp.test".to_owned()],
        directories: vec!["jud".to_owned(), "users.xmpp.test".to_owned()],
        now_unix_millis: NOW,
        threads: 2,
        accounts_per_commit: 3,
        keeps_plain_passwords: false,
        tells_again: false,
    }
}

fn import_all(store: &mut Store, plan: &Plan) -> (Imported, String) {
    let mut report = Vec::new();
    let imported =
        import(Format::Jabberd14, store, None, plan, &Shown, &mut report, &mut |_| ControlFlow::Continue(())).unwrap();
    (imported, String::from_utf8(report).unwrap())
}

fn imported(spool: &Path) -> (Store, Imported, String) {
    let mut store = Store::in_memory().unwrap();
    let (imported, report) = import_all(&mut store, &plan(spool));
    (store, imported, report)
}

fn jid(text: &str) -> BareJid {
    BareJid::new(text).unwrap()
}

/// The password that arrived, by [`Shown`], or the old hash.
fn password(store: &Store, account: &str) -> Option<String> {
    let credentials = account::credentials(store, &jid(account)).unwrap()?;
    let shown = credentials.scram.first().map(|keys| String::from_utf8(keys.stored_key.clone()).unwrap());
    shown.or(credentials.legacy.map(|legacy| legacy.value)).or(Some(String::new()))
}
