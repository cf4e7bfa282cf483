//! The people in jabberd 1.4's user directory (`jud.so`), into ours and back: one list of all that registered, in the `global.xdb`
//! (1.4.1: `global.xml`) of a directory that is named after the section's id, in older ones after its host.

use super::walk::ComponentFile;
use super::{document, export, file_text};
use crate::import::{Step, Work};
use crate::store::directory::{self, State};
use crate::store::{Error, Store, account, imported};
use crate::xml::{Element, writer};
use crate::xmpp::directory::{Entry, Field};
use crate::xmpp::{BareJid, Jid};

/// The namespace of the list.
const USERS: &str = "jabber:jud:users";

/// One person in the list.
struct Person {
    jid: String,
    entry: Entry,
}

/// Keeps who is in these files, after all accounts: nobody without one can be in the directory. Returns whether it was
/// stopped; a file that was kept in part is kept anew the next time, to the same end.
pub(super) fn keep(work: &mut Work<'_>, files: &[ComponentFile]) -> Result<bool, Error> {
    for ComponentFile { file, .. } in files {
        let found = file_text(file).and_then(|text| Ok(document::with_tree(text, people)?));
        if found.as_ref().is_ok_and(|people| !people.is_empty()) && work.is_stopped_at_copy()? {
            return Ok(true);
        }
        match found {
            Ok(people) => {
                for (index, someone) in people.iter().enumerate() {
                    match person(work.store, someone)? {
                        None => work.report.counts.directory_entries += 1,
                        Some(why) => work.report.piece(&file.name, &format!("the entry of {}", someone.jid), why),
                    }
                    if (index + 1) % work.plan.accounts_per_commit.max(1) == 0 {
                        work.commit()?;
                        if work.is_stopped(Step::Directory, index + 1, people.len()) {
                            return Ok(true);
                        }
                    }
                }
                imported::set_file(work.store, &file.key, file.seen)?;
            }
            Err(failure) => {
                work.report.left(&file.name, &failure.why);
                work.report.counts.unread += 1;
                if !failure.again {
                    imported::set_left(work.store, &file.key, file.seen)?;
                }
            }
        }
    }
    Ok(false)
}

/// All who are in the list. What else `jud.so` may have kept is of no use.
fn people(document: &roxmltree::Document<'_>) -> Vec<Person> {
    let lists = document.root_element().children().filter(|list| list.attribute("xdbns") == Some(USERS));
    let items = lists.flat_map(|list| list.children()).filter_map(|item| {
        let jid = item.attribute("jid")?.to_owned();
        let field = |name: &str| {
            let field = item.children().find(|child| child.tag_name().name() == name);
            field.and_then(|field| field.text()).unwrap_or_default().to_owned()
        };
        let mut entry = Entry::new(|of| field(of.name()));
        if entry.first.is_empty() && entry.last.is_empty() {
            entry = Entry::new(|of| field(if of.name() == "first" { "name" } else { of.name() }));
        }
        Some(Person { jid, entry })
    });
    items.collect()
}

/// An account as jabberd 1.4's list had it; `None` if it did not register.
pub(super) fn item(store: &Store, account: &BareJid) -> Result<Option<Element>, Error> {
    let Some((State::Registered, entry)) = directory::of(store, account)? else { return Ok(None) };
    let fields = Field::ALL.map(|field| Element::new(field.name(), USERS).with_text(entry.field(field).to_owned()));
    Ok(Some(Element::new("item", USERS).with_attribute("jid", account.as_str().to_owned()).with_children(fields)))
}

/// The file of all of them.
pub(super) fn list(people: Vec<Element>) -> String {
    let mut out = String::from("<xdb>");
    writer::element(&mut out, &export::piece(USERS, Element::new("foo", USERS).with_children(people)), "");
    out.push_str("</xdb>");
    out
}

/// Puts one of them into the directory, or tells why not.
fn person(store: &mut Store, person: &Person) -> Result<Option<&'static str>, Error> {
    let account = Jid::new(&person.jid).ok().filter(|jid| jid.node().is_some()).map(|jid| jid.to_bare());
    let Some(account) = account else { return Ok(Some("it is no address of a person")) };
    if !account::exists(store, &account)? {
        return Ok(Some("no account here has this address, and a directory is of the people of its host"));
    }
    match directory::of(store, &account)? {
        Some((State::Registered, same)) if same == person.entry => Ok(None),
        Some((State::Registered | State::Withdrawn, _)) => Ok(Some("has said something else here since")),
        _ if person.entry.is_empty() => Ok(Some("it is empty")),
        Some((State::Card, _)) | None => {
            directory::set(store, &account, State::Registered, &person.entry)?;
            Ok(None)
        }
    }
}
