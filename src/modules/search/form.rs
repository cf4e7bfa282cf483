//! The forms of the directory: the old one, whose fields are elements, and data forms beside it.

use crate::xml::Element;
use crate::xmpp::data_form::{self, FieldType, Form};
use crate::xmpp::directory::{Entry, Field};
use crate::xmpp::ns;

const TITLE: &str = "User directory";
const INSTRUCTIONS: &str =
    "Fill in one or more fields. Found is everybody whose words begin like yours, and all who have the field for a *.";

fn element(name: &'static str) -> Element {
    Element::new(name, ns::SEARCH)
}

fn labelled(field: Field) -> data_form::Field {
    data_form::Field::new(FieldType::TextSingle, field.name()).labelled(field.label())
}

/// XEP-0055 §2.1, §3: what can be asked for.
pub(super) fn blank() -> Element {
    let form = Form::ask(ns::SEARCH).titled(TITLE).instructed(INSTRUCTIONS).with_fields(Field::ALL.map(labelled));
    element("query")
        .with_child(element("instructions").with_text(INSTRUCTIONS))
        .with_children(Field::ALL.map(|field| element(field.name())))
        .with_child(form.to_element())
}

/// XEP-0055 §2.1: who was found, for a client that asked by elements.
pub(super) fn items(host: &str, found: &[(String, Entry)]) -> Element {
    let item = |(name, entry): &(String, Entry)| {
        let fields = Field::ALL.map(|field| element(field.name()).with_text(entry.field(field).to_owned()));
        element("item").with_attribute("jid", format!("{name}@{host}")).with_children(fields)
    };
    element("query").with_children(found.iter().map(item))
}

/// XEP-0055 §3: who was found, as a table.
pub(super) fn results(host: &str, found: &[(String, Entry)]) -> Element {
    let jid = || data_form::Field::new(FieldType::JidSingle, "jid");
    let columns = Field::ALL.map(labelled).into_iter().chain([jid().labelled("Jabber ID")]).collect();
    let row = |(name, entry): &(String, Entry)| {
        let cell = |field: Field| {
            data_form::Field::new(FieldType::TextSingle, field.name()).valued(entry.field(field).to_owned())
        };
        Field::ALL.map(cell).into_iter().chain([jid().valued(format!("{name}@{host}"))]).collect()
    };
    let form = Form::tell(ns::SEARCH).titled(TITLE).with_table(columns, found.iter().map(row).collect());
    element("query").with_child(form.to_element())
}

/// XEP-0077 §3.1: what one appears with.
pub(super) fn registration(is_listed: bool, entry: &Entry) -> Element {
    let field = |name: &'static str| Element::new(name, ns::REGISTER);
    let instructions = match is_listed {
        true => "People of this server can find you by what is filled in here.",
        false => "Fill in what people of this server shall find you by; nothing, to be found by your vCard.",
    };
    Element::new("query", ns::REGISTER)
        .with_child(field("instructions").with_text(instructions))
        .with_children(is_listed.then(|| field("registered")))
        .with_children(Field::ALL.map(|of| field(of.name()).with_text(entry.field(of).to_owned())))
}
