//! An old spool with a hundred thousand accounts, or as many as the variable ACCOUNTS says: how long the reading and
//! keeping takes, and how long the keys of the passwords.

use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::thread;
use std::time::Instant;

use jabber::daemon::importing::Keys;
use jabber::import::{Format, Passwords, Plan, import};
use jabber::store::account::Credentials;
use jabber::store::disk::{Disk, WalBounds};
use jabber::store::{Error, Store};

/// Accounts whose keys are derived as well.
const WITH_KEYS: usize = 1_000;

pub(crate) fn run() {
    let all = std::env::var("ACCOUNTS").ok().and_then(|text| text.parse().ok()).unwrap_or(100_000);
    for (name, passwords, accounts) in
        [("without keys", &NoKeys as &dyn Passwords, all), ("with keys", &Keys as &dyn Passwords, WITH_KEYS.min(all))]
    {
        super::scratch(|directory| {
            if let Err(error) = fill(directory, accounts) {
                println!("  {error}");
            } else if let Err(error) = measure(directory, name, passwords, accounts) {
                println!("  {error}");
            }
        });
    }
}

struct NoKeys;

impl Passwords for NoKeys {
    fn derive(&self, _: &str, _: bool) -> Result<Credentials, String> {
        Ok(Credentials::default())
    }
    fn can_check(&self, _: &str) -> bool {
        false
    }
}

/// Accounts with twenty contacts, a vCard and two messages: 3 KB each.
fn fill(directory: &Path, accounts: usize) -> io::Result<()> {
    let host = directory.join("example.org");
    fs::create_dir_all(&host)?;
    for n in 0..accounts {
        let contacts: String = (1..=20)
            .map(|m| {
                let contact = (n + m * m) % accounts;
                format!("<item jid='user{contact}@example.org' name='User {contact}' subscription='both'><group>Friends</group></item>")
            })
            .collect();
        let message = |m: usize| {
            format!(
                "<message to='user{n}@example.org' type='chat' from='user{m}@example.org/Home'><body>Wherefore art thou?</body>\
                     <x xmlns='jabber:x:delay' from='user{n}@example.org' stamp='20040229T12:00:0{m}'>Offline Storage</x></message>"
            )
        };
        let text = format!(
            "<xdb><password xmlns='jabber:iq:auth' xdbns='jabber:iq:auth'>secret{n}</password>\
             <query xmlns='jabber:iq:roster' xdbns='jabber:iq:roster'>{contacts}</query>\
             <vCard xmlns='vcard-temp' xdbns='vcard-temp'><FN>User {n}</FN><DESC>{}</DESC></vCard>\
             <query xmlns='jabber:iq:last' last='1100000000' xdbns='jabber:iq:last'>Disconnected</query>\
             <foo xmlns='jabber:x:offline' xdbns='jabber:x:offline'>{}{}</foo></xdb>",
            "x".repeat(300),
            message(1),
            message(2),
        );
        fs::write(host.join(format!("user{n}.xml")), text)?;
    }
    Ok(())
}

fn measure(directory: &Path, name: &str, passwords: &dyn Passwords, accounts: usize) -> Result<(), Error> {
    let mut store = Store::open(&directory.join("jabber.db"))?;
    let disk = Disk::open(&store, WalBounds::default())?;
    let plan = Plan {
        from: vec![directory.to_owned()],
        hosts: vec!["example.org".to_owned()],
        components: Vec::new(),
        directories: Vec::new(),
        now_unix_millis: 1_795_392_000_000,
        threads: thread::available_parallelism().map_or(1, usize::from),
        accounts_per_commit: 250,
        keeps_plain_passwords: false,
        tells_again: false,
    };
    for round in [name, "again, nothing new"] {
        let begin = Instant::now();
        let mut report = io::sink();
        let go_on = &mut |_| ControlFlow::Continue(());
        let imported = import(Format::Jabberd14, &mut store, Some(&disk), &plan, passwords, &mut report, go_on)?;
        let seconds = begin.elapsed().as_secs_f64();
        println!(
            "  {accounts} accounts, {round:<20} {seconds:>7.2} s  {:>9.0} accounts/s, {} threads, {} imported",
            accounts as f64 / seconds,
            plan.threads,
            imported.counts.accounts
        );
    }
    Ok(())
}
