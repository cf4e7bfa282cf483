//! A spool with many accounts. What it shows: many transactions, a stop halfway, the second start that goes on, the third
//! that finds nothing, and a log that does not grow with them. How long a hundred thousand take, and the keys of their
//! passwords, which cost more than all else, is for a program that is not built for tests: tests/bench/import.rs.

use super::*;
use crate::store::disk::{Disk, WalBounds};

/// As many as the variable ACCOUNTS says; as a matter of course so many that a test build is done in seconds.
fn accounts() -> usize {
    std::env::var("ACCOUNTS").ok().and_then(|text| text.parse().ok()).unwrap_or(5_000)
}

#[test]
fn many_accounts() {
    let all = accounts();
    let scratch = Scratch::new("scale");
    let host = scratch.0.join("spool/example.org");
    fs::create_dir_all(&host).unwrap();
    for n in 0..all {
        // As jabberd 1.4.4 with mod_auth_crypt had them.
        let text = format!(
            "<xdb><password xmlns='jabber:iq:auth' xdbns='jabber:iq:auth'/>\
             <crypt xmlns='jabber:iq:auth:crypt' xdbns='jabber:iq:auth:crypt'>{{SHA}}{n:026}=</crypt>\
             <query xmlns='jabber:iq:roster' xdbns='jabber:iq:roster'>\
             <item jid='user{}@example.org' subscription='both'><group>Friends</group></item></query></xdb>",
            (n + 1) % all
        );
        fs::write(host.join(format!("user{n}.xml")), text).unwrap();
    }
    let mut store = Store::open(&scratch.0.join("jabber.db")).unwrap();
    let disk = Disk::open(&store, WalBounds { soft: 1 << 20, hard: 8 << 20 }).unwrap();
    let plan = Plan { accounts_per_commit: 250, ..plan(&scratch.0.join("spool")) };
    let mut last = Progress { step: Step::Looking, done: 0, all: 0 };
    let mut half = |progress: Progress| {
        if progress.step == Step::Looking {
            // Which there are, and then which of them are here.
            assert!(progress.all >= last.all);
            last.all = progress.all;
            return ControlFlow::Continue(());
        }
        assert!(progress.all == all && progress.done == last.done + 1);
        last = progress;
        if progress.done == all / 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let first = import(Format::Jabberd14, &mut store, Some(&disk), &plan, &Shown, &mut io::sink(), &mut half).unwrap();
    assert!(first.stopped);
    let on = &mut |_| ControlFlow::Continue(());
    let second = import(Format::Jabberd14, &mut store, Some(&disk), &plan, &Shown, &mut io::sink(), on).unwrap();
    assert_eq!(first.counts.accounts + second.counts.accounts, all as u64);
    assert_eq!(account::count(&store, "example.org").unwrap(), all as u64);
    let third = import(Format::Jabberd14, &mut store, Some(&disk), &plan, &Shown, &mut io::sink(), on).unwrap();
    assert!(third.nothing_new);
    // The log of the database did not grow with them.
    let log = fs::metadata(scratch.0.join("jabber.db-wal")).unwrap().len();
    assert!(log < 10 << 20, "{log}");
}

/// Whoever is asked whether to go on may take his time: a server beside waits for what is not committed.
#[test]
fn nothing_is_held_while_somebody_is_asked() {
    let scratch = Scratch::new("held");
    for spool in ["spool", "copy"] {
        let host = scratch.0.join(spool).join("example.org");
        fs::create_dir_all(&host).unwrap();
        for n in 0..walk::TOLD_EACH + 50 {
            let text = "<xdb><crypt xmlns='jabber:iq:auth:crypt' xdbns='jabber:iq:auth:crypt'>{SHA}x=</crypt></xdb>";
            fs::write(host.join(format!("user{n}.xml")), text).unwrap();
        }
    }
    let database = scratch.0.join("jabber.db");
    let mut store = Store::open(&database).unwrap();
    let mut server = Store::open(&database).unwrap();
    let (mut asked, mut written) = (0, 0);
    for spool in ["spool", "copy"] {
        let plan = Plan { accounts_per_commit: 1, ..plan(&scratch.0.join(spool)) };
        let mut on = |_| {
            asked += 1;
            if spool == "copy" || asked % 100 == 0 {
                // It would be told that the database is locked.
                let new = BareJid::new(&format!("new{asked}@example.org")).unwrap();
                account::create(&mut server, &new, &Credentials::default(), 0).unwrap();
                server.commit().unwrap();
                written += 1;
            }
            ControlFlow::Continue(())
        };
        import(Format::Jabberd14, &mut store, None, &plan, &Shown, &mut io::sink(), &mut on).unwrap();
    }
    assert!(asked > walk::TOLD_EACH && written > 10, "{asked} {written}");
}
