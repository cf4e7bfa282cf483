//! The grammar of SCRAM's client messages (RFC 5802 §7): attributes in a fixed order, parted by commas.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::password::NAME_BYTES_MAX;

/// Longest nonce of a client, in bytes. Clients send 20 to 50; all of it is hashed with each proof.
const NONCE_BYTES_MAX: usize = 256;

/// Says what is wrong with a message; the peer may know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// What the client says of channel binding (`gs2-cbind-flag`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BindingFlag<'a> {
    /// `n`: the client cannot bind.
    CannotBind,
    /// `y`: the client can, and thinks that the server cannot.
    ThinksServerCannot,
    /// `p=`: the client binds with this type.
    Binds(&'a str),
}

/// client-first-message.
#[derive(Debug, PartialEq, Eq)]
pub struct ClientFirst<'a> {
    /// The text of the gs2-header, its last comma included: the client must repeat it in `c=`.
    pub gs2_header: &'a str,
    pub flag: BindingFlag<'a>,
    pub authzid: Option<String>,
    /// client-first-message-bare, which is part of what is signed.
    pub bare: &'a str,
    /// Unescaped, not yet prepared.
    pub username: String,
    pub nonce: &'a str,
}

/// client-final-message.
#[derive(Debug, PartialEq, Eq)]
pub struct ClientFinal<'a> {
    /// client-final-message-without-proof, which is part of what is signed.
    pub without_proof: &'a str,
    /// `c=`, decoded: the gs2-header and the data of the channel.
    pub binding: Vec<u8>,
    pub nonce: &'a str,
    pub proof: Vec<u8>,
}

impl<'a> ClientFirst<'a> {
    pub fn parse(message: &'a [u8]) -> Result<ClientFirst<'a>, Malformed> {
        let message = text(message)?;
        let (flag, rest) = message.split_once(',').ok_or(Malformed("no gs2 header"))?;
        let (authzid, bare) = rest.split_once(',').ok_or(Malformed("no gs2 header"))?;
        let flag = binding_flag(flag)?;
        let authzid = match authzid {
            "" => None,
            given => Some(saslname(given.strip_prefix("a=").ok_or(Malformed("bad authzid in gs2 header"))?)?),
        };
        let gs2_header = message.strip_suffix(bare).ok_or(Malformed("no gs2 header"))?;
        let mut attributes = bare.split(',');
        let username = match attributes.next().and_then(|first| first.split_once('=')) {
            Some(("n", name)) => saslname(name)?,
            Some(("m", _)) => return Err(MANDATORY_EXTENSION),
            _ => return Err(Malformed("no user name")),
        };
        let nonce = nonce(attributes.next())?;
        attributes.try_for_each(extension)?;
        Ok(ClientFirst { gs2_header, flag, authzid, bare, username, nonce })
    }
}

impl<'a> ClientFinal<'a> {
    pub fn parse(message: &'a [u8]) -> Result<ClientFinal<'a>, Malformed> {
        let message = text(message)?;
        // Base64 has no comma, so the last attribute is all of the proof.
        let (without_proof, proof) = message.rsplit_once(",p=").ok_or(Malformed("no proof"))?;
        let mut attributes = without_proof.split(',');
        let binding = match attributes.next().and_then(|first| first.split_once('=')) {
            Some(("c", binding)) => base64(binding)?,
            Some(("m", _)) => return Err(MANDATORY_EXTENSION),
            _ => return Err(Malformed("no channel binding")),
        };
        let nonce = nonce(attributes.next())?;
        attributes.try_for_each(extension)?;
        Ok(ClientFinal { without_proof, binding, nonce, proof: base64(proof)? })
    }
}

/// RFC 5802 §5.1: `m` is reserved for extensions that must be understood; none exists.
const MANDATORY_EXTENSION: Malformed = Malformed("unsupported mandatory extension");

/// UTF-8 without NUL, which no production of the grammar allows.
fn text(message: &[u8]) -> Result<&str, Malformed> {
    match std::str::from_utf8(message) {
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => Err(Malformed("not UTF-8 text")),
    }
}

fn binding_flag(flag: &str) -> Result<BindingFlag<'_>, Malformed> {
    match (flag, flag.strip_prefix("p=")) {
        ("n", _) => Ok(BindingFlag::CannotBind),
        ("y", _) => Ok(BindingFlag::ThinksServerCannot),
        (_, Some(name)) if !name.is_empty() && name.bytes().all(in_binding_name) => Ok(BindingFlag::Binds(name)),
        _ => Err(Malformed("bad channel binding flag")),
    }
}

fn in_binding_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-'
}

/// `saslname`: the comma and the equals sign are escaped, all else stands for itself.
fn saslname(escaped: &str) -> Result<String, Malformed> {
    const BAD: Malformed = Malformed("bad user name");
    let mut parts = escaped.split('=');
    let mut name = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (character, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            _ => return Err(BAD),
        };
        name.push(character);
        name.push_str(rest);
    }
    if (1..=NAME_BYTES_MAX).contains(&name.len()) { Ok(name) } else { Err(BAD) }
}

/// `r=` and printable ASCII but the comma.
fn nonce(attribute: Option<&str>) -> Result<&str, Malformed> {
    let nonce = attribute.and_then(|text| text.strip_prefix("r=")).ok_or(Malformed("no nonce"))?;
    let printable = nonce.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
    // The client's second message carries ours behind its own.
    let fits = (1..=NONCE_BYTES_MAX + super::scram::NONCE_TEXT_BYTES).contains(&nonce.len());
    if printable && fits { Ok(nonce) } else { Err(Malformed("bad nonce")) }
}

/// An optional extension, which is ignored: a letter that means nothing yet, and a value.
fn extension(attribute: &str) -> Result<(), Malformed> {
    let (name, value) = attribute.split_once('=').ok_or(Malformed("bad attribute"))?;
    let letter = matches!(name.as_bytes(), [byte] if byte.is_ascii_alphabetic());
    match name {
        "m" => Err(MANDATORY_EXTENSION),
        "a" | "n" | "r" | "c" | "s" | "i" | "p" | "v" | "e" => Err(Malformed("attribute in the wrong place")),
        _ if letter && !value.is_empty() => Ok(()),
        _ => Err(Malformed("bad attribute")),
    }
}

fn base64(text: &str) -> Result<Vec<u8>, Malformed> {
    match STANDARD.decode(text) {
        Ok(bytes) if !bytes.is_empty() => Ok(bytes),
        _ => Err(Malformed("bad base64 in an attribute")),
    }
}
