//! Invitations: tokens with which an account may be made, or somebody becomes a contact (XEP-0401, XEP-0379, XEP-0445).
//!
//! Of a token only its SHA-256 is kept: who reads the database can invite nobody. The first half of the hash, in
//! hexadecimal, is the invitation's public name, by which it is listed and revoked.

use std::fmt::Write as _;

use ring::digest;
use rusqlite::{Row, params};
use subtle::ConstantTimeEq as _;

use super::{Error, Store, account_id, key, setting, signed, unsigned};
use crate::config::{Host, RegistrationMode};
use crate::xmpp::BareJid;

/// How long an invitation is kept that can no longer be begun with: who showed it in time may still be filling in the
/// form (XEP-0445 §4).
const KEPT_AFTER_MILLIS: i64 = 86_400_000;

/// An invitation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invite {
    /// Its public name.
    pub id: String,
    /// The host where an account may be made.
    pub host: String,
    /// Whose it is; `None` for the server's own.
    pub inviter: Option<BareJid>,
    /// The localpart that the account must have; empty for any.
    pub localpart: String,
    /// An account may be made with it.
    pub registers: bool,
    /// Whoever uses it and the inviter become contacts.
    pub befriends: bool,
    /// It was made for a contact, who may have an account elsewhere (XEP-0379); else only for a new account.
    pub for_contact: bool,
    /// jabberctl made it, whoever the inviter is.
    pub by_server: bool,
    /// When it was made, in Unix milliseconds.
    pub created: u64,
    /// Until when it can be shown, in Unix milliseconds.
    pub expires: u64,
    /// How often it can still be used.
    pub uses: u32,
}

impl Invite {
    /// Does an admin of the host stand behind it, now? Who was one when he invited may be none any more.
    pub fn is_of_an_admin(&self, host: &Host) -> bool {
        self.by_server || self.inviter.as_ref().is_some_and(|inviter| host.may_administer(inviter))
    }

    /// May it be used by a contact with this address, who has an account already?
    ///
    /// XEP-0379 §5.2: whose name is known is the only one who may. Who has an account makes none, so an invitation to
    /// an account is nobody's.
    pub fn befriends_contact(&self, contact: &BareJid) -> bool {
        self.for_contact && (self.localpart.is_empty() || self.names(contact))
    }

    /// Is it for this name?
    pub fn names(&self, account: &BareJid) -> bool {
        !self.localpart.is_empty()
            && account.domain().as_str() == self.host
            && account.node().is_some_and(|node| node.as_str() == self.localpart)
    }
}

/// The SHA-256 of a token, and the public name made of it.
fn hash(token: &str) -> ([u8; 32], String) {
    let digest = digest::digest(&digest::SHA256, token.as_bytes());
    let mut bytes = [0; 32];
    for (to, from) in bytes.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
    let mut id = String::with_capacity(16);
    for byte in bytes.iter().take(8) {
        // Writing into a String cannot fail.
        let _ = write!(id, "{byte:02x}");
    }
    (bytes, id)
}

/// What [`read`] reads.
macro_rules! all {
    ($rest:literal) => {
        concat!(
            "SELECT i.id, i.host, a.localpart || '@' || a.host, i.localpart, i.registers, i.befriends, i.created,
                 i.expires, i.uses, i.hash, i.for_contact, i.by_server
             FROM invite i LEFT JOIN account a ON a.id = i.account ",
            $rest
        )
    };
}

fn read(row: &Row<'_>) -> rusqlite::Result<(Invite, Vec<u8>)> {
    let inviter: Option<String> = row.get(2)?;
    let invite = Invite {
        id: row.get(0)?,
        host: row.get(1)?,
        inviter: inviter.and_then(|jid| BareJid::new(&jid).ok()),
        localpart: row.get(3)?,
        registers: row.get(4)?,
        befriends: row.get(5)?,
        created: row.get(6).map(unsigned)?,
        expires: row.get(7).map(unsigned)?,
        uses: row.get(8)?,
        for_contact: row.get(10)?,
        by_server: row.get(11)?,
    };
    Ok((invite, row.get(9)?))
}

/// Keeps an invitation under its token; the `id` in it is not looked at, the true one is returned. Old ones are forgotten.
///
/// # Errors
/// When the database fails, or the inviter has no account.
pub fn create(store: &mut Store, token: &str, invite: &Invite) -> Result<String, Error> {
    let (hash, id) = hash(token);
    let now = signed(invite.created);
    store.savepoint(|store| {
        store.write("DELETE FROM invite WHERE expires < ?1", [now.saturating_sub(KEPT_AFTER_MILLIS)])?;
        let Invite { host, localpart, registers, befriends, for_contact, by_server, expires, uses, .. } = invite;
        let (inviter_host, inviter_localpart) = invite.inviter.as_ref().map(key).unzip();
        let sql = "INSERT INTO invite
                   SELECT ?1, ?2, ?3, a.id, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11
                   FROM (SELECT 1) LEFT JOIN account a ON a.host = ?12 AND a.localpart = ?13
                   WHERE a.id IS NOT NULL OR ?12 IS NULL";
        let values = params![
            id,
            hash,
            host,
            localpart,
            registers,
            befriends,
            for_contact,
            by_server,
            now,
            signed(*expires),
            uses,
            inviter_host,
            inviter_localpart
        ];
        match &invite.inviter {
            None => store.write(sql, values).map(drop)?,
            Some(inviter) => store.write_for(inviter, sql, values)?,
        }
        Ok(id.clone())
    })
}

/// The invitation with this token, if it was not used up, and its inviter's account is not disabled; whether its time is over is for the caller to see.
///
/// # Errors
/// When the database fails.
pub fn by_token(store: &Store, token: &str) -> Result<Option<Invite>, Error> {
    let (hash, id) = hash(token);
    let found = store.one(all!("WHERE i.id = ?1 AND NOT coalesce(a.disabled, 0)"), [&id], read)?;
    // The rest of the hash is compared in a time that tells nothing about it.
    Ok(found.filter(|(invite, kept)| bool::from(kept.ct_eq(&hash)) && invite.uses > 0).map(|(invite, _)| invite))
}

/// Uses an invitation once; `false` when that was done as often as it may be, it was revoked, or
/// the inviter's account is disabled.
///
/// # Errors
/// When the database fails.
pub fn take(store: &mut Store, id: &str) -> Result<bool, Error> {
    let taken = store.write(
        "UPDATE invite SET uses = uses - 1 WHERE id = ?1 AND uses > 0
             AND NOT EXISTS (SELECT 1 FROM account a WHERE a.id = invite.account AND a.disabled)",
        [id],
    )? > 0;
    store.write("DELETE FROM invite WHERE id = ?1 AND uses = 0", [id])?;
    Ok(taken)
}

/// Could it be used now, but for its time? Who showed it may still be filling in the form (XEP-0445 §4).
///
/// # Errors
/// When the database fails.
pub fn is_left(store: &Store, id: &str) -> Result<bool, Error> {
    let sql = "SELECT 1 FROM invite i LEFT JOIN account a ON a.id = i.account
               WHERE i.id = ?1 AND i.uses > 0 AND NOT coalesce(a.disabled, 0)";
    Ok(store.one(sql, [id], |_| Ok(()))?.is_some())
}

/// Who may register at a host, as strangers are told: where nobody can be invited, invitations open nothing, and what is
/// closed is by invitation as soon as one was made that may open it.
///
/// One that is over, or of a user, is counted too: who comes with it hears what is wrong with it, not that there is no
/// registration at all.
///
/// # Errors
/// When the database fails.
pub fn registration(store: &Store, host: &Host, unix_millis: u64) -> Result<RegistrationMode, Error> {
    let mode = setting::registration(store, host)?;
    if mode == RegistrationMode::Open {
        return Ok(mode);
    }
    if !host.modules.is_on("mod_invite") {
        return Ok(RegistrationMode::Closed);
    }
    if mode == RegistrationMode::Invite {
        return Ok(mode);
    }
    let since = signed(unix_millis).saturating_sub(KEPT_AFTER_MILLIS);
    let sql = "SELECT 1 FROM invite WHERE host = ?1 AND registers = 1 AND expires > ?2 LIMIT 1";
    let one = store.one(sql, params![host.name, since], |_| Ok(()))?;
    Ok(if one.is_some() { RegistrationMode::Invite } else { RegistrationMode::Closed })
}

/// Takes an invitation back; `false` when there was none of this name at this host.
///
/// # Errors
/// When the database fails.
pub fn revoke(store: &mut Store, host: &str, id: &str) -> Result<bool, Error> {
    Ok(store.write("DELETE FROM invite WHERE host = ?1 AND id = ?2", [host, id])? > 0)
}

/// Those of a host that can still be used, newest first, at most `limit`; with `inviter` only his.
///
/// # Errors
/// When the database fails.
pub fn list(
    store: &Store,
    host: &str,
    inviter: Option<&BareJid>,
    unix_millis: u64,
    limit: usize,
) -> Result<Vec<Invite>, Error> {
    let (now, limit) = (signed(unix_millis), signed(limit as u64));
    let found = match inviter.map(key) {
        None => {
            let sql = all!("WHERE i.host = ?1 AND i.expires > ?2 ORDER BY i.created DESC, i.id LIMIT ?3");
            store.all(sql, params![host, now, limit], read)?
        }
        Some((inviter_host, inviter_localpart)) => {
            let sql = all!(
                "WHERE i.account = (SELECT id FROM account WHERE host = ?4 AND localpart = ?5)
                     AND i.host = ?1 AND i.expires > ?2
                 ORDER BY i.created DESC, i.id LIMIT ?3"
            );
            store.all(sql, params![host, now, limit, inviter_host, inviter_localpart], read)?
        }
    };
    Ok(found.into_iter().map(|(invite, _)| invite).collect())
}

/// The one of this public name that can still be used at a host; with `inviter` only if it is his.
///
/// # Errors
/// When the database fails.
pub fn by_id(
    store: &Store,
    host: &str,
    inviter: Option<&BareJid>,
    id: &str,
    unix_millis: u64,
) -> Result<Option<Invite>, Error> {
    let sql = all!("WHERE i.id = ?1 AND i.host = ?2 AND i.expires > ?3");
    let found = store.one(sql, params![id, host, signed(unix_millis)], read)?.map(|(invite, _)| invite);
    Ok(found.filter(|invite| inviter.is_none() || invite.inviter.as_ref() == inviter))
}

/// How many of a host can still be used; with `inviter` only his.
///
/// # Errors
/// When the database fails.
pub fn count(store: &Store, host: &str, inviter: Option<&BareJid>, unix_millis: u64) -> Result<u64, Error> {
    let now = signed(unix_millis);
    let count = |row: &Row<'_>| row.get(0).map(unsigned);
    let found = match inviter.map(key) {
        None => store.one("SELECT count(*) FROM invite WHERE host = ?1 AND expires > ?2", params![host, now], count)?,
        Some((inviter_host, inviter_localpart)) => {
            let sql = "SELECT count(*) FROM invite
                       WHERE account = (SELECT id FROM account WHERE host = ?3 AND localpart = ?4)
                           AND host = ?1 AND expires > ?2";
            store.one(sql, params![host, now, inviter_host, inviter_localpart], count)?
        }
    };
    Ok(found.unwrap_or(0))
}

/// Is the name kept for somebody who was invited by it?
///
/// # Errors
/// When the database fails.
pub fn reserves(store: &Store, account: &BareJid, unix_millis: u64) -> Result<bool, Error> {
    let (host, localpart) = key(account);
    let sql = "SELECT 1 FROM invite WHERE host = ?1 AND localpart = ?2 AND expires > ?3 AND localpart <> ''";
    Ok(store.one(sql, params![host, localpart, signed(unix_millis)], |_| Ok(()))?.is_some())
}

/// Notes by whose invitation an account was made.
///
/// # Errors
/// When the database fails, or there is no such account.
pub fn set_inviter(store: &mut Store, account: &BareJid, inviter: &BareJid) -> Result<(), Error> {
    let (host, localpart) = key(account);
    store.write_for(
        account,
        "INSERT OR REPLACE INTO invited SELECT id, ?3 FROM account WHERE host = ?1 AND localpart = ?2",
        params![host, localpart, inviter.as_str()],
    )
}

/// By whose invitation an account was made, if by anybody's.
///
/// # Errors
/// When the database fails.
pub fn inviter_of(store: &Store, account: &BareJid) -> Result<Option<BareJid>, Error> {
    let sql = concat!("SELECT inviter FROM invited WHERE account = ", account_id!());
    let inviter: Option<String> = store.one(sql, key(account), |row| row.get(0))?;
    Ok(inviter.and_then(|jid| BareJid::new(&jid).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{jid, store_with};

    fn invite(inviter: Option<&str>, localpart: &str) -> Invite {
        Invite {
            id: String::new(),
            host: "h".to_owned(),
            inviter: inviter.map(jid),
            localpart: localpart.to_owned(),
            registers: true,
            befriends: true,
            for_contact: true,
            by_server: false,
            created: 1_000,
            expires: 5_000,
            uses: 2,
        }
    }

    #[test]
    fn a_token_is_found_until_it_is_used_up_or_revoked() {
        let mut store = store_with(&["romeo@h"]);
        let made = invite(Some("romeo@h"), "");
        let id = create(&mut store, "one", &made).unwrap();
        assert_eq!(by_token(&store, "two").unwrap(), None);
        assert_eq!(by_token(&store, "one").unwrap(), Some(Invite { id: id.clone(), ..made }));
        assert!(take(&mut store, &id).unwrap() && by_token(&store, "one").unwrap().is_some());
        assert!(take(&mut store, &id).unwrap() && by_token(&store, "one").unwrap().is_none());
        assert!(!take(&mut store, &id).unwrap());
        let id = create(&mut store, "three", &invite(None, "")).unwrap();
        assert!(!revoke(&mut store, "other", &id).unwrap() && revoke(&mut store, "h", &id).unwrap());
        assert_eq!(by_token(&store, "three").unwrap(), None);
        assert!(create(&mut store, "four", &invite(Some("nobody@h"), "")).unwrap_err().is_no_account());
    }

    #[test]
    fn who_is_disabled_invites_nobody() {
        let mut store = store_with(&["romeo@h"]);
        let id = create(&mut store, "one", &invite(Some("romeo@h"), "")).unwrap();
        let disable = |store: &mut Store, is: bool| crate::store::account::set_disabled(store, &jid("romeo@h"), is);
        disable(&mut store, true).unwrap();
        assert!(by_token(&store, "one").unwrap().is_none() && !take(&mut store, &id).unwrap());
        disable(&mut store, false).unwrap();
        assert!(by_token(&store, "one").unwrap().is_some() && take(&mut store, &id).unwrap());
    }

    #[test]
    fn who_has_an_account_becomes_a_contact_by_no_invitation_to_an_account() {
        let rows = [
            (true, "", "tybalt@elsewhere", true),
            (true, "juliet", "juliet@h", true),
            (true, "juliet", "tybalt@h", false),
            (true, "juliet", "juliet@elsewhere", false),
            (false, "", "tybalt@h", false),
            (false, "juliet", "juliet@h", false),
        ];
        for (for_contact, localpart, contact, is_good) in rows {
            let made = Invite { for_contact, ..invite(Some("romeo@h"), localpart) };
            assert_eq!(made.befriends_contact(&jid(contact)), is_good, "{for_contact} {localpart} {contact}");
        }
    }

    #[test]
    fn what_is_closed_is_by_invitation_while_there_is_one() {
        let mut store = store_with(&["romeo@h"]);
        let (open, invited, closed) = (RegistrationMode::Open, RegistrationMode::Invite, RegistrationMode::Closed);
        let mut host = Host::new("h");
        let told = |store: &Store, host: &Host, at| registration(store, host, at).unwrap();
        let no_account = Invite { registers: false, ..invite(Some("romeo@h"), "") };
        create(&mut store, "one", &no_account).unwrap();
        assert_eq!(told(&store, &host, 2_000), closed);
        let id = create(&mut store, "two", &invite(None, "")).unwrap();
        assert_eq!((told(&store, &host, 2_000), told(&store, &Host::new("other"), 2_000)), (invited, closed));
        // Who comes late hears why.
        assert_eq!((told(&store, &host, 5_001), told(&store, &host, 5_001 + 86_400_000)), (invited, closed));
        host.modules.off.insert("mod_invite".to_owned());
        assert_eq!(told(&store, &host, 2_000), closed);
        setting::set(&mut store, "h", setting::REGISTRATION, "invite").unwrap();
        assert_eq!((told(&store, &host, 2_000), told(&store, &Host::new("h"), 2_000)), (closed, invited));
        setting::set(&mut store, "h", setting::REGISTRATION, "open").unwrap();
        assert_eq!(told(&store, &host, 2_000), open);
        assert!(is_left(&store, &id).unwrap() && take(&mut store, &id).unwrap() && is_left(&store, &id).unwrap());
        assert!(take(&mut store, &id).unwrap() && !is_left(&store, &id).unwrap());
    }

    #[test]
    fn the_token_itself_is_not_kept() {
        let mut store = store_with(&[]);
        create(&mut store, "tell-nobody", &invite(None, "")).unwrap();
        let kept: Vec<u8> = store.one("SELECT hash FROM invite", [], |row| row.get(0)).unwrap().unwrap();
        assert_eq!(kept.len(), 32);
        assert!(!kept.windows(4).any(|part| part == b"tell"));
    }

    #[test]
    fn names_are_kept_while_the_invitation_lasts() {
        let mut store = store_with(&["romeo@h"]);
        let id = create(&mut store, "one", &invite(None, "juliet")).unwrap();
        create(&mut store, "two", &invite(Some("romeo@h"), "")).unwrap();
        let kept = |store: &Store, name: &str, at| reserves(store, &jid(name), at).unwrap();
        assert!(kept(&store, "juliet@h", 4_999) && !kept(&store, "juliet@h", 5_000));
        assert!(!kept(&store, "juliet@other", 1) && !kept(&store, "romeo@h", 1) && !kept(&store, "h", 1));
        let names = |store: &Store, inviter: Option<&str>, at| -> Vec<String> {
            let found = list(store, "h", inviter.map(jid).as_ref(), at, 10).unwrap();
            found.into_iter().map(|invite| invite.localpart).collect()
        };
        assert_eq!(names(&store, None, 1).len(), 2);
        assert_eq!(names(&store, Some("romeo@h"), 1), [""]);
        let counts = |inviter: Option<&str>, at| count(&store, "h", inviter.map(jid).as_ref(), at).unwrap();
        assert_eq!((counts(None, 1), counts(Some("romeo@h"), 1), counts(None, 5_000)), (2, 1, 0));
        let found =
            |inviter: Option<&str>, at| by_id(&store, "h", inviter.map(jid).as_ref(), &id, at).unwrap().is_some();
        assert!(found(None, 1) && !found(Some("romeo@h"), 1) && !found(None, 5_000));
        assert!(names(&store, Some("paris@h"), 1).is_empty() && names(&store, None, 5_000).is_empty());
        revoke(&mut store, "h", &id).unwrap();
        assert!(!kept(&store, "juliet@h", 1));
    }

    #[test]
    fn the_inviter_is_remembered_and_old_invitations_are_not() {
        let mut store = store_with(&["romeo@h", "juliet@h"]);
        assert_eq!(inviter_of(&store, &jid("juliet@h")).unwrap(), None);
        set_inviter(&mut store, &jid("juliet@h"), &jid("romeo@h")).unwrap();
        assert_eq!(inviter_of(&store, &jid("juliet@h")).unwrap(), Some(jid("romeo@h")));
        create(&mut store, "old", &invite(None, "")).unwrap();
        let late = Invite { created: 5_000 + 86_400_001, expires: u64::MAX / 4, ..invite(None, "") };
        create(&mut store, "new", &late).unwrap();
        assert!(by_token(&store, "old").unwrap().is_none() && by_token(&store, "new").unwrap().is_some());
        crate::store::account::remove(&mut store, &jid("romeo@h"), 9).unwrap();
        assert_eq!(inviter_of(&store, &jid("juliet@h")).unwrap(), Some(jid("romeo@h")));
    }
}
