//! The user directory (XEP-0055): an entry for each account that has a vCard or registered, found by the words in it.
//!
//! [`super::vcard`] renews the entry with the card. Whether cards alone make people appear is for who searches to say:
//! the entries are there in any case, so that a changed jabber.xml needs no work here.

use rusqlite::params;

use super::{Error, Store, account_id, key};
use crate::xmpp::BareJid;
use crate::xmpp::directory::{Entry, Field, Wanted};

/// What makes an account appear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It has a vCard, and said nothing more.
    Card,
    /// It registered.
    Registered,
    /// It does not want to appear.
    Withdrawn,
}

impl State {
    fn number(self) -> i64 {
        match self {
            State::Card => 0,
            State::Registered => 1,
            State::Withdrawn => 2,
        }
    }

    fn of(number: i64) -> State {
        match number {
            0 => State::Card,
            1 => State::Registered,
            _ => State::Withdrawn,
        }
    }
}

/// How many entries are read for one search: a beginning that fits everybody must not hold the loop.
pub const CANDIDATES_MAX: i64 = 2_000;
/// How many accounts are passed on the way there, those among them that may not appear.
const PASSED_MAX: i64 = 20_000;

/// In front of each word in one text of all of them.
const MARK: char = '\u{1F}';
/// Behind all words that begin with the text before it.
const BEHIND_ALL: char = '\u{10FFFF}';

/// The entry of an account, and why it is there.
///
/// # Errors
/// When the database fails.
pub fn of(store: &Store, account: &BareJid) -> Result<Option<(State, Entry)>, Error> {
    let sql = concat!("SELECT state, first, last, nick, email FROM directory WHERE account = ", account_id!());
    store.one(sql, key(account), |row| {
        let entry = Entry { first: row.get(1)?, last: row.get(2)?, nick: row.get(3)?, email: row.get(4)? };
        Ok((State::of(row.get(0)?), entry))
    })
}

/// The vCard changed: the entry says the same, unless the account does not want to have one.
///
/// # Errors
/// When the database fails, or there is no such account.
pub fn renew(store: &mut Store, account: &BareJid, entry: &Entry) -> Result<(), Error> {
    match of(store, account)? {
        Some((State::Withdrawn, _)) => Ok(()),
        Some((_, same)) if same == *entry => Ok(()),
        Some((state, _)) => set(store, account, state, entry),
        None if entry.is_empty() => Ok(()),
        None => set(store, account, State::Card, entry),
    }
}

/// Keeps an entry in place of the one before.
///
/// # Errors
/// When the database fails, or there is no such account.
pub fn set(store: &mut Store, account: &BareJid, state: State, entry: &Entry) -> Result<(), Error> {
    let (host, localpart) = key(account);
    let found_by = if state == State::Withdrawn { Vec::new() } else { entry.words() };
    let words: String = found_by.iter().map(|(field, word)| marked(*field, word)).collect();
    store.write_for(
        account,
        "INSERT OR REPLACE INTO directory (account, state, first, last, nick, email, words)
         SELECT id, ?3, ?4, ?5, ?6, ?7, ?8 FROM account WHERE host = ?1 AND localpart = ?2",
        params![host, localpart, state.number(), entry.first, entry.last, entry.nick, entry.email, words],
    )?;
    store.write(concat!("DELETE FROM directory_word WHERE account = ", account_id!()), key(account))?;
    for (field, word) in &found_by {
        store.write(
            "INSERT INTO directory_word (host, field, word, account)
             SELECT ?1, ?3, ?4, id FROM account WHERE host = ?1 AND localpart = ?2",
            params![host, localpart, field.name(), word],
        )?;
    }
    Ok(())
}

/// Forgets the entry, unless it stands for a wish of the account's own.
///
/// # Errors
/// When the database fails.
pub fn forget_card(store: &mut Store, account: &BareJid) -> Result<(), Error> {
    if matches!(of(store, account)?, Some((State::Card, _))) {
        store.write(concat!("DELETE FROM directory_word WHERE account = ", account_id!()), key(account))?;
        store.write(concat!("DELETE FROM directory WHERE account = ", account_id!()), key(account))?;
    }
    Ok(())
}

/// The people of a host that fit, by the names of their accounts; the order is that of the names. `least` leaves those
/// out that have a card and never registered.
///
/// # Errors
/// When the database fails.
pub fn search(
    store: &Store,
    host: &str,
    wanted: &[(Field, Wanted)],
    least: State,
    results_max: usize,
) -> Result<Vec<(String, Entry)>, Error> {
    let mut conditions: Vec<(Field, &str)> = Vec::new();
    for (field, wanted) in wanted {
        match wanted {
            Wanted::Words(words) => conditions.extend(words.iter().map(|word| (*field, word.as_str()))),
            Wanted::Anything => conditions.push((*field, "")),
        }
    }
    // The longest beginning fits the fewest.
    let Some((field, beginning)) = conditions.iter().max_by_key(|(_, word)| word.len()).copied() else {
        return Ok(Vec::new());
    };
    let rows = store.all(
        "SELECT account.localpart, first, last, nick, email, words
         FROM (SELECT DISTINCT account AS id FROM directory_word
               WHERE host = ?1 AND field = ?2 AND word >= ?3 AND word < ?4 LIMIT ?7) AS candidate
         JOIN directory ON directory.account = candidate.id
         JOIN account ON account.id = candidate.id
         WHERE state >= ?6 AND NOT disabled LIMIT ?5",
        params![
            host,
            field.name(),
            beginning,
            format!("{beginning}{BEHIND_ALL}"),
            CANDIDATES_MAX,
            least.number(),
            PASSED_MAX
        ],
        |row| {
            let entry = Entry { first: row.get(1)?, last: row.get(2)?, nick: row.get(3)?, email: row.get(4)? };
            Ok((row.get::<_, String>(0)?, entry, row.get::<_, String>(5)?))
        },
    )?;
    let needles: Vec<String> = conditions.iter().map(|(field, word)| marked(*field, word)).collect();
    let fits = |words: &str| needles.iter().all(|needle| words.contains(needle.as_str()));
    let mut found: Vec<(String, Entry)> =
        rows.into_iter().filter(|(_, _, words)| fits(words)).map(|(name, entry, _)| (name, entry)).collect();
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    found.truncate(results_max);
    Ok(found)
}

fn marked(field: Field, word: &str) -> String {
    format!("{MARK}{}={word}", field.name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{jid, store_with};
    use crate::store::{account, vcard};

    fn entry(first: &str, last: &str, nick: &str, email: &str) -> Entry {
        Entry { first: first.into(), last: last.into(), nick: nick.into(), email: email.into() }
    }

    fn find(store: &Store, host: &str, wanted: &[(Field, &str)], least: State) -> String {
        let wanted: Vec<(Field, Wanted)> =
            wanted.iter().filter_map(|(field, text)| Some((*field, Wanted::parse(text)?))).collect();
        let found = search(store, host, &wanted, least, 3).unwrap();
        found.into_iter().map(|(name, _)| name).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn people_are_found_by_beginnings_of_words() {
        let mut store = store_with(&["romeo@h", "mercutio@h", "benvolio@h", "juliet@h", "juliet@other"]);
        for (name, entry) in [
            ("romeo@h", entry("Romeo", "Montague", "Ro", "romeo@montague.net")),
            ("benvolio@h", entry("Benvolio", "Montague", "", "")),
            ("mercutio@h", entry("Mercutio Escalus", "", "", "m@verona.it")),
            ("juliet@h", entry("Juliet", "Capulet", "JULIE", "")),
            ("juliet@other", entry("Juliet", "Capulet", "", "")),
        ] {
            renew(&mut store, &jid(name), &entry).unwrap();
        }
        use Field::{Email, First, Last, Nick};
        for (wanted, found) in [
            (vec![(Last, "montague")], "benvolio romeo"),
            (vec![(Last, "MON")], "benvolio romeo"),
            (vec![(Last, "tague")], ""),
            (vec![(Last, "mon"), (First, "rom")], "romeo"),
            (vec![(Last, "mon"), (First, "jul")], ""),
            (vec![(First, "mer esc")], "mercutio"),
            (vec![(Last, "esc")], "mercutio"),
            (vec![(Nick, "julie")], "juliet"),
            (vec![(Email, "romeo@mont")], "romeo"),
            (vec![(Email, "verona")], "mercutio"),
            (vec![(First, "*")], "benvolio juliet mercutio"),
            (vec![(First, "*"), (Nick, "r*")], "romeo"),
            (vec![(First, "%")], ""),
            (vec![(First, "x' OR 1=1 --")], ""),
            (vec![], ""),
        ] {
            assert_eq!(find(&store, "h", &wanted, State::Card), found, "{wanted:?}");
        }
        assert_eq!(find(&store, "other", &[(First, "juliet")], State::Card), "juliet");
        account::remove(&mut store, &jid("juliet@h"), 0).unwrap();
        assert_eq!(find(&store, "h", &[(First, "juliet")], State::Card), "");
    }

    #[test]
    fn a_card_fills_the_directory_and_leaves_it_again() {
        let mut store = store_with(&["a@h"]);
        let card = |name: &str| format!("<vCard xmlns='vcard-temp'><FN>{name}</FN></vCard>");
        let found = |store: &Store, text: &str| find(store, "h", &[(Field::First, text)], State::Card);
        vcard::set(&mut store, &jid("a@h"), &card("Romeo")).unwrap();
        assert_eq!(found(&store, "romeo"), "a");
        vcard::set(&mut store, &jid("a@h"), &card("Benvolio")).unwrap();
        assert_eq!((found(&store, "romeo"), found(&store, "benv")), (String::new(), "a".to_owned()));
        vcard::set(&mut store, &jid("a@h"), "<not a card").unwrap();
        assert_eq!(of(&store, &jid("a@h")).unwrap().unwrap(), (State::Card, Entry::default()));
        vcard::set(&mut store, &jid("a@h"), &card("Benvolio")).unwrap();
        vcard::remove(&mut store, &jid("a@h")).unwrap();
        assert_eq!((found(&store, "benv"), of(&store, &jid("a@h")).unwrap()), (String::new(), None));
    }

    #[test]
    fn wishes_are_stronger_than_cards() {
        let mut store = store_with(&["a@h", "b@h"]);
        let (a, b) = (jid("a@h"), jid("b@h"));
        let named = |name: &str| entry(name, "", "", "");
        renew(&mut store, &a, &named("Anna")).unwrap();
        set(&mut store, &b, State::Registered, &named("Bea")).unwrap();
        assert_eq!(find(&store, "h", &[(Field::First, "*")], State::Card), "a b");
        assert_eq!(find(&store, "h", &[(Field::First, "*")], State::Registered), "b");
        set(&mut store, &a, State::Withdrawn, &Entry::default()).unwrap();
        renew(&mut store, &a, &named("Anna")).unwrap();
        renew(&mut store, &b, &named("Bella")).unwrap();
        assert_eq!(find(&store, "h", &[(Field::First, "*")], State::Card), "b");
        assert_eq!(find(&store, "h", &[(Field::First, "bel")], State::Registered), "b");
        forget_card(&mut store, &b).unwrap();
        assert_eq!(of(&store, &b).unwrap().unwrap().0, State::Registered);
    }

    #[test]
    fn a_beginning_that_fits_all_is_bounded() {
        let mut store = store_with(&[]);
        for number in 0..CANDIDATES_MAX + 500 {
            let name = jid(&format!("u{number:04}@h"));
            account::create(&mut store, &name, &account::Credentials::default(), 0).unwrap();
            renew(&mut store, &name, &entry(&format!("A{number:04}"), "Smith", "", "")).unwrap();
        }
        assert_eq!(find(&store, "h", &[(Field::Last, "smith")], State::Card), "u0000 u0001 u0002");
        // Who may not appear takes nobody's place.
        set(&mut store, &jid("u2450@h"), State::Registered, &entry("Zoe", "Smith", "", "")).unwrap();
        assert_eq!(find(&store, "h", &[(Field::Last, "smith")], State::Registered), "u2450");
        // The longest word leads, so a precise question has its answer however common the rest is.
        assert_eq!(find(&store, "h", &[(Field::Last, "s"), (Field::First, "a2400")], State::Card), "u2400");
    }
}
