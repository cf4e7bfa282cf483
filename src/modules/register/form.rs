//! The form of XEP-0077 §3.1: what jabber.xml asks for, and what a client sent.

use super::registered_stamp;
use crate::config::{Limits, Register};
use crate::xml::Element;
use crate::xmpp::{BareJid, Condition, Now, StanzaError, ns};

/// The fields of XEP-0077 §14.3's schema; others are not asked for and not kept.
const KNOWN: &[&str] = &[
    "nick", "name", "first", "last", "email", "address", "city", "state", "zip", "phone", "url", "date", "misc",
    "text", "key",
];

fn field(name: &'static str) -> Element {
    Element::new(name, ns::REGISTER)
}

fn asked(register: &Register) -> impl Iterator<Item = &'static str> {
    KNOWN.iter().copied().filter(|name| register.fields.iter().any(|field| field == name))
}

fn instructions(register: &Register) -> Option<Element> {
    let text = &register.instructions;
    (!text.trim().is_empty()).then(|| field("instructions").with_text(text.trim().to_string()))
}

/// The empty form, before login; with the name that the invitation gives, if it gives one.
pub(super) fn blank(register: &Register, name: &str) -> Element {
    let query = Element::new("query", ns::REGISTER)
        .with_children(instructions(register))
        .with_child(field("username").with_text(name.to_owned()))
        .with_child(field("password"))
        .with_children(asked(register).map(field));
    match &register.oob_url {
        // XEP-0077 §5: there is a page to register at.
        Some(url) => {
            let url = Element::new("url", ns::OOB).with_text(url.clone());
            query.with_child(Element::new("x", ns::OOB).with_child(url))
        }
        None => query,
    }
}

/// The form as it was filled in, after login. The password is never told, only that there is one.
pub(super) fn filled(register: Option<&Register>, account: &BareJid, kept: Option<&Element>) -> Element {
    let value = |name: &'static str| {
        let text = kept.and_then(|kept| kept.child(name, ns::REGISTER)).map(|field| field.text().into_owned());
        field(name).with_text(text.unwrap_or_default())
    };
    let name = account.node().map(|node| node.as_str().to_string()).unwrap_or_default();
    Element::new("query", ns::REGISTER)
        .with_children(register.and_then(instructions))
        .with_child(field("registered"))
        .with_child(field("username").with_text(name))
        .with_child(field("password"))
        .with_children(register.into_iter().flat_map(asked).map(value))
}

/// What a client filled in.
#[derive(Debug)]
pub(super) struct Submitted {
    pub(super) username: String,
    pub(super) password: String,
    fields: Vec<(&'static str, String)>,
}

impl Submitted {
    /// A form for a new account.
    pub(super) fn parse(query: &Element, register: &Register, limits: &Limits) -> Result<Submitted, StanzaError> {
        let submitted = Submitted::read(query, limits)?;
        let required = |name: &str| StanzaError::new(Condition::NotAcceptable, format!("The {name} is missing."));
        if submitted.username.is_empty() {
            return Err(required("username"));
        }
        if submitted.password.is_empty() {
            return Err(required("password"));
        }
        if register.enforce_fields {
            for name in asked(register) {
                let is_there = submitted.fields.iter().any(|(field, text)| *field == name && !text.is_empty());
                if !is_there {
                    return Err(required(name));
                }
            }
        }
        Ok(submitted)
    }

    /// A form for a changed account (XEP-0077 §3.3): with a password, or with other fields.
    pub(super) fn parse_change(query: &Element, limits: &Limits) -> Result<Submitted, StanzaError> {
        let submitted = Submitted::read(query, limits)?;
        // XEP-0077 §3.3: what is changed must be said, and whose it is.
        if submitted.username.is_empty() || (submitted.password.is_empty() && submitted.fields.is_empty()) {
            return Err(Condition::BadRequest.into());
        }
        Ok(submitted)
    }

    fn read(query: &Element, limits: &Limits) -> Result<Submitted, StanzaError> {
        let text = |name: &str| query.child(name, ns::REGISTER).map(|field| field.text().into_owned());
        let mut fields = Vec::new();
        for name in KNOWN {
            let Some(value) = text(name) else { continue };
            if value.len() > limits.registration_field_bytes_max {
                let most = limits.registration_field_bytes_max;
                let text = format!("The {name} may have {most} bytes at most.");
                return Err(StanzaError::new(Condition::NotAcceptable, text));
            }
            fields.push((*name, value));
        }
        let username = text("username").unwrap_or_default().trim().to_string();
        Ok(Submitted { username, password: text("password").unwrap_or_default(), fields })
    }

    /// The fields besides name and password.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.fields.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// Is a field given that is not so on file?
    pub(super) fn differs_from(&self, kept: Option<&Element>) -> bool {
        let on_file =
            |name| kept.and_then(|kept| kept.child(name, ns::REGISTER)).map(|field| field.text().into_owned());
        self.fields().any(|(name, value)| on_file(name).unwrap_or_default() != value)
    }

    /// What is kept: the name in the case it was typed, the fields, when; never the password.
    pub(super) fn to_element(&self, now: Now) -> Element {
        let fields = self.fields.iter().map(|(name, value)| field(name).with_text(value.clone()));
        Element::new("query", ns::REGISTER)
            .with_child(field("username").with_text(self.username.clone()))
            .with_children(fields)
            .with_child(registered_stamp(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn register(fields: &[&str], enforce_fields: bool) -> Register {
        Register {
            instructions: " Choose. ".to_string(),
            fields: fields.iter().map(|field| (*field).to_string()).collect(),
            enforce_fields,
            ..Register::default()
        }
    }

    fn query(fields: &[(&'static str, &'static str)]) -> Element {
        Element::new("query", ns::REGISTER)
            .with_children(fields.iter().map(|(name, text)| field(name).with_text(*text)))
    }

    #[test]
    fn the_form_asks_for_what_the_admin_asks_for() {
        let text = blank(&register(&["email", "name", "unheard-of"], false), "").to_string();
        assert_eq!(
            text,
            "<query xmlns='jabber:iq:register'><instructions>Choose.</instructions><username/><password/><name/><email/></query>"
        );
    }

    #[test]
    fn missing_fields_are_refused_where_they_are_enforced() {
        let limits = Limits::default();
        let full = [("username", "romeo"), ("password", "secret"), ("email", "r@montague.net")];
        for (enforce, sent, ok) in
            [(true, 3, true), (true, 2, false), (false, 2, true), (false, 1, false), (false, 0, false)]
        {
            let result = Submitted::parse(&query(&full[..sent]), &register(&["email"], enforce), &limits);
            assert_eq!(result.is_ok(), ok, "{enforce} {sent}");
        }
    }

    #[test]
    fn the_password_is_not_kept() {
        let sent = query(&[("username", "Romeo"), ("password", "secret"), ("email", "r@montague.net")]);
        let submitted = Submitted::parse(&sent, &register(&["email"], false), &Limits::default()).unwrap();
        let kept = submitted.to_element(Now { unix_millis: 0, monotonic_millis: 0 }).to_string();
        assert!(!kept.contains("secret") && kept.contains("Romeo") && kept.contains("r@montague.net"), "{kept}");
    }
}
