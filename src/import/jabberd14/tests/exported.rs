//! Out and in again.

use super::*;
use crate::store::roster::RosterItem;
use crate::store::{last, offline, privacy, private, registration, roster, vcard};
use crate::xml;

/// All that is kept of an account, as text; XML as trees, in the order of their own text.
fn all_of(store: &Store, account: &BareJid) -> String {
    let tree = |text: &str| format!("{:?}", xml::parse(text).unwrap());
    let credentials = account::credentials(store, account).unwrap();
    let keys: Vec<_> = credentials.iter().flat_map(|found| &found.scram).map(|keys| &keys.stored_key).collect();
    let legacy = credentials.iter().filter_map(|found| found.legacy.as_ref()).map(|hash| &hash.value);
    let items: Vec<RosterItem> = roster::items(store, account).unwrap();
    let messages = offline::fetch(store, account, 0, 1_000).unwrap();
    let messages: Vec<_> = messages.iter().map(|m| (tree(&m.stanza), m.received_unix_millis)).collect();
    let private: Vec<_> = private::all(store, account).unwrap().iter().map(|text| tree(text)).collect();
    let names = privacy::names(store, account).unwrap();
    let list = |(name, is_default): &(String, bool)| (privacy::list(store, account, name).unwrap(), *is_default);
    let rules: (Vec<_>, _) = (names.iter().map(list).collect(), privacy::filter(store, account).unwrap());
    format!(
        "{:?}\n{keys:?} {:?}\n{items:#?}\n{messages:#?}\n{private:#?}\n{rules:#?}\n{:?}\n{:?}\n{:?}",
        account::account(store, account).unwrap().map(|found| found.jid),
        legacy.collect::<Vec<_>>(),
        vcard::of(store, account).unwrap(),
        registration::of(store, account).unwrap(),
        last::of(store, account).unwrap(),
    )
}

#[test]
fn export_and_import_give_the_same_store() {
    for spool in ["1.4.3-flat", "1.4.4-hashed", "1.6-flat", "hand-written"] {
        let (store, imported, _) = super::imported(&fixture(spool));
        let scratch = Scratch::new(&format!("export-{spool}"));
        let exported = export(&store, &scratch.0, None, &mut |_| ControlFlow::Continue(())).unwrap();
        assert_eq!((exported.accounts, exported.failures), (imported.counts.accounts, 0));
        let (copy, again, report) = super::imported(&scratch.0);
        assert_eq!(again.counts.accounts, imported.counts.accounts, "{report}");
        assert_eq!(again.counts.pieces_left, 0, "{report}");
        for host in account::hosts(&store).unwrap() {
            for found in account::list(&store, &host, "", 1_000).unwrap() {
                let (before, after) = (all_of(&store, &found.jid), all_of(&copy, &found.jid));
                // A message without a stamp got that of its file; all else is equal.
                assert_eq!(before, after, "{spool} {}", found.jid);
            }
        }
        // What is there is not touched.
        let second = export(&store, &scratch.0, None, &mut |_| ControlFlow::Continue(())).unwrap();
        let all = exported.accounts + exported.component_files;
        assert_eq!((second.accounts, second.failures), (0, all));
    }
}

#[test]
fn files_are_as_the_old_server_wrote_them() {
    let (store, _, _) = super::imported(&fixture("1.4.3-flat"));
    let scratch = Scratch::new("format");
    export(&store, &scratch.0, None, &mut |_| ControlFlow::Continue(())).unwrap();
    let text = fs::read_to_string(scratch.0.join("xmpp.test/nurse.xml")).unwrap();
    assert!(text.starts_with("<xdb><password xmlns='jabber:iq:auth' xdbns='jabber:iq:auth'/>"), "{text}");
    assert!(text.contains("<item jid='juliet@xmpp.test' subscription='none' subscribe='hello' hidden=''/>"), "{text}");
    // Messages are in the list's own namespace, which is to say in none for a server that does not look.
    assert!(text.contains("<foo xmlns='jabber:x:offline' xdbns='jabber:x:offline'><message id='n1'"), "{text}");
    assert!(
        text.contains("<x xmlns='jabber:x:delay' from='nurse@xmpp.test' stamp='20261122T07:48:44'>Offline Storage</x>")
    );
    assert!(text.contains("<x xmlns='jabber:x:expire' seconds='86400' stored='1795333725'/>"), "{text}");
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |path: &str| fs::metadata(scratch.0.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("xmpp.test"), mode("xmpp.test/nurse.xml")), (0o700, 0o600));
}
