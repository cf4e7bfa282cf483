//! Stanza errors (RFC 6120 §8.3): each goes back to the sender of a stanza.

use super::ns;
use crate::xml::Element;

/// RFC 6120 §8.3.2: what the sender may do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorType {
    /// Log in first.
    Auth,
    /// Do not try again.
    Cancel,
    /// Only a warning.
    Continue,
    /// Change the data and try again.
    Modify,
    /// Try again later.
    Wait,
}

impl ErrorType {
    /// The value of the `type` attribute.
    pub fn name(self) -> &'static str {
        match self {
            ErrorType::Auth => "auth",
            ErrorType::Cancel => "cancel",
            ErrorType::Continue => "continue",
            ErrorType::Modify => "modify",
            ErrorType::Wait => "wait",
        }
    }
}

macro_rules! conditions {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $kind:ident, $code:literal;)*) => {
        /// The conditions of RFC 6120 §8.3.3, by their defined names.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Condition { $($(#[$doc])* $name,)* }

        impl Condition {
            /// The element's name.
            pub fn name(self) -> &'static str {
                match self { $(Condition::$name => $text,)* }
            }
            /// The condition of this name.
            pub fn from_name(name: &str) -> Option<Condition> {
                match name { $($text => Some(Condition::$name),)* _ => None }
            }
            /// The error type that RFC 6120 §8.3.3 gives or recommends.
            pub fn usual_type(self) -> ErrorType {
                match self { $(Condition::$name => ErrorType::$kind,)* }
            }
            /// The numeric code of XEP-0086 §3: clients before 2004 read nothing else.
            pub fn legacy_code(self) -> u16 {
                match self { $(Condition::$name => $code,)* }
            }
        }
    };
}

conditions! {
    /// RFC 6120 §8.3.3.1.
    BadRequest = "bad-request", Modify, 400;
    /// RFC 6120 §8.3.3.2.
    Conflict = "conflict", Cancel, 409;
    /// RFC 6120 §8.3.3.3.
    FeatureNotImplemented = "feature-not-implemented", Cancel, 501;
    /// RFC 6120 §8.3.3.4.
    Forbidden = "forbidden", Auth, 403;
    /// RFC 6120 §8.3.3.5.
    Gone = "gone", Cancel, 302;
    /// RFC 6120 §8.3.3.6.
    InternalServerError = "internal-server-error", Cancel, 500;
    /// RFC 6120 §8.3.3.7.
    ItemNotFound = "item-not-found", Cancel, 404;
    /// RFC 6120 §8.3.3.8.
    JidMalformed = "jid-malformed", Modify, 400;
    /// RFC 6120 §8.3.3.9.
    NotAcceptable = "not-acceptable", Modify, 406;
    /// RFC 6120 §8.3.3.10.
    NotAllowed = "not-allowed", Cancel, 405;
    /// RFC 6120 §8.3.3.11.
    NotAuthorized = "not-authorized", Auth, 401;
    /// RFC 6120 §8.3.3.12.
    PolicyViolation = "policy-violation", Modify, 406;
    /// RFC 6120 §8.3.3.13.
    RecipientUnavailable = "recipient-unavailable", Wait, 404;
    /// RFC 6120 §8.3.3.14.
    Redirect = "redirect", Modify, 302;
    /// RFC 6120 §8.3.3.15.
    RegistrationRequired = "registration-required", Auth, 407;
    /// RFC 6120 §8.3.3.16.
    RemoteServerNotFound = "remote-server-not-found", Cancel, 404;
    /// RFC 6120 §8.3.3.17.
    RemoteServerTimeout = "remote-server-timeout", Wait, 504;
    /// RFC 6120 §8.3.3.18.
    ResourceConstraint = "resource-constraint", Wait, 500;
    /// RFC 6120 §8.3.3.19.
    ServiceUnavailable = "service-unavailable", Cancel, 503;
    /// RFC 6120 §8.3.3.20.
    SubscriptionRequired = "subscription-required", Auth, 407;
    /// RFC 6120 §8.3.3.21.
    UndefinedCondition = "undefined-condition", Cancel, 500;
    /// RFC 6120 §8.3.3.22.
    UnexpectedRequest = "unexpected-request", Wait, 400;
}

/// A stanza error: condition, type, and where it helps, a text and an application's own condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StanzaError {
    condition: Condition,
    kind: ErrorType,
    text: Option<String>,
    specific: Option<Element>,
    code: u16,
}

impl From<Condition> for StanzaError {
    fn from(condition: Condition) -> StanzaError {
        StanzaError {
            condition,
            kind: condition.usual_type(),
            text: None,
            specific: None,
            code: condition.legacy_code(),
        }
    }
}

impl StanzaError {
    /// An error with an explanation in English.
    pub fn new(condition: Condition, text: impl Into<String>) -> StanzaError {
        StanzaError { text: Some(text.into()), ..condition.into() }
    }

    /// The same error with another type than the usual one.
    #[must_use]
    pub fn typed(self, kind: ErrorType) -> StanzaError {
        StanzaError { kind, ..self }
    }

    /// The same error with an application-specific condition (RFC 6120 §8.3.4).
    #[must_use]
    pub fn with_specific(self, specific: Element) -> StanzaError {
        StanzaError { specific: Some(specific), ..self }
    }

    /// The same error with another code for old clients than the usual one.
    #[must_use]
    pub fn coded(self, code: u16) -> StanzaError {
        StanzaError { code, ..self }
    }

    /// The condition.
    pub fn condition(&self) -> Condition {
        self.condition
    }

    /// The explanation, or else the name of the condition.
    pub fn reason(&self) -> &str {
        self.text.as_deref().unwrap_or_else(|| self.condition.name())
    }

    /// The code for old clients.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The `<error/>` child (RFC 6120 §8.3.2), with XEP-0086's code beside it.
    ///
    /// Compat: clients of jabberd 1.4's time read `code` only; RFC 6120 ignores it.
    pub fn to_element(&self) -> Element {
        let error = Element::new("error", ns::CLIENT)
            .with_attribute("code", self.code.to_string())
            .with_attribute("type", self.kind.name())
            .with_child(Element::new(self.condition.name(), ns::STANZA_ERRORS));
        let error = match &self.text {
            None => error,
            Some(text) => error.with_child(
                Element::new("text", ns::STANZA_ERRORS).with_attribute("xml:lang", "en").with_text(text.clone()),
            ),
        };
        match &self.specific {
            None => error,
            Some(specific) => error.with_child(specific.clone()),
        }
    }
}
