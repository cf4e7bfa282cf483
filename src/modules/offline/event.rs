//! XEP-0022: the sender of a message asks to be told when it waits for its receiver.

use crate::xml::Element;
use crate::xmpp::{MessageType, Stanza, ns};

/// The request; a notice looks the same but for its `<id/>`.
fn request(stanza: &Stanza) -> Option<&Element> {
    let event = stanza.child("x", ns::EVENT).filter(|_| !stanza.is_error())?;
    let asks = event.child("offline", ns::EVENT).is_some() && event.child("id", ns::EVENT).is_none();
    asks.then_some(event)
}

/// XEP-0022 §3.2: what the sender gets, if it asked.
pub(super) fn notice(stanza: &Stanza) -> Option<Stanza> {
    request(stanza)?;
    let (from, to) = (stanza.to()?.clone(), stanza.from()?.clone());
    let id = Element::new("id", ns::EVENT).with_text(stanza.id().unwrap_or_default().to_string());
    let event = Element::new("x", ns::EVENT).with_child(Element::new("offline", ns::EVENT)).with_child(id);
    Some(Stanza::message(MessageType::Normal).with_child(event).with_from(from).with_to(to))
}

/// XEP-0022 §3: the request is answered, so the receiver's client does not see it.
pub(super) fn without_request(stanza: Stanza) -> Stanza {
    let Some(event) = request(&stanza).cloned() else { return stanza };
    let rest = event.clone().keeping_children(|child| !child.is("offline", ns::EVENT));
    let rest = Some(rest).filter(|rest| rest.first_child().is_some());
    stanza.map_element(|element| element.keeping_children(|child| *child != event).with_children(rest))
}
