//! A certificate chain with its key, and the choice of one by host name.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::signature_algorithm::SignatureAlgorithm;

/// Why a certificate cannot be used. The text says what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// No `CERTIFICATE` block in the PEM text.
    NoCertificate,
    /// No private key in the PEM text.
    NoKey,
    /// The key is locked by a passphrase.
    KeyEncrypted,
    /// The key's kind or size is not supported.
    KeyUnsupported(String),
    /// The key belongs to another certificate.
    KeyMismatch,
    /// The PEM or DER text is broken.
    Broken(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::NoCertificate => f.write_str("has no CERTIFICATE block: give a PEM file with the chain, own certificate first"),
            Fault::NoKey => f.write_str("has no PRIVATE KEY block: add the key, or name its file"),
            Fault::KeyEncrypted => f.write_str(
                "has a key locked by a passphrase, which nobody can type at start: unlock it with `openssl pkey -in KEY -out NEWKEY`",
            ),
            Fault::KeyUnsupported(why) => {
                write!(f, "has a key that cannot be used ({why}): use RSA of 2048 to 8192 bits, ECDSA P-256/P-384 or Ed25519")
            }
            Fault::KeyMismatch => {
                f.write_str("has a key that does not belong to its first certificate: own certificate first, then the chain")
            }
            Fault::Broken(why) => write!(f, "is broken ({why}): it must be PEM text"),
        }
    }
}

impl Fault {
    /// Is the key at fault, not the chain?
    pub fn is_about_key(&self) -> bool {
        !matches!(self, Fault::NoCertificate | Fault::Broken(_))
    }
}

impl std::error::Error for Fault {}

/// A certificate chain with its key, ready to be shown to clients.
#[derive(Debug)]
pub struct Certificate {
    key: Arc<CertifiedKey>,
    names: Vec<String>,
    end_point: Option<Vec<u8>>,
    issuer: String,
    is_self_signed: bool,
    starts: i64,
    expires: i64,
}

impl Certificate {
    /// Reads a chain and a key from PEM text; both may be the same text (jabberd 1.4's single file).
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, Fault> {
        let chain = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| Fault::Broken(error.to_string()))?;
        let own = chain.first().ok_or(Fault::NoCertificate)?;
        if memchr::memmem::find(key, b"ENCRYPTED").is_some() {
            return Err(Fault::KeyEncrypted);
        }
        let key = match PrivateKeyDer::pem_slice_iter(key).next() {
            Some(Ok(key)) => key,
            Some(Err(error)) => return Err(Fault::KeyUnsupported(error.to_string())),
            None => return Err(Fault::NoKey),
        };
        let key = any_supported_type(&key).map_err(|error| Fault::KeyUnsupported(error.to_string()))?;
        let (_, parsed) = X509Certificate::from_der(own).map_err(|error| Fault::Broken(error.to_string()))?;
        let names = names(&parsed);
        let end_point = end_point(&parsed, own);
        let issuer = parsed.issuer().to_string();
        let is_self_signed = parsed.issuer() == parsed.subject();
        let (starts, expires) = (parsed.validity().not_before.timestamp(), parsed.validity().not_after.timestamp());
        let key = CertifiedKey::new(chain, key);
        match key.keys_match() {
            // Unknown: the key cannot tell its public half, so the first handshake will.
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
            Err(_) => return Err(Fault::KeyMismatch),
        }
        Ok(Certificate { key: Arc::new(key), names, end_point, issuer, is_self_signed, starts, expires })
    }

    /// The host names and addresses it is for, in lower case; a name may start with `*.`.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The same, for a sentence.
    pub fn names_told(&self) -> String {
        match self.names.as_slice() {
            [] => "no name at all (the common name does not count)".to_owned(),
            names => names.join(", "),
        }
    }

    /// Who says that it is theirs; itself, if it is self-made.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Is there no authority that says so?
    pub fn is_self_signed(&self) -> bool {
        self.is_self_signed
    }

    /// When it begins, in seconds since 1970.
    pub fn starts_unix_seconds(&self) -> i64 {
        self.starts
    }

    /// When it ends, in seconds since 1970.
    pub fn expires_unix_seconds(&self) -> i64 {
        self.expires
    }

    /// The `tls-server-end-point` channel binding; `None` where RFC 5929 §4.1 leaves it undefined.
    pub fn end_point(&self) -> Option<&[u8]> {
        self.end_point.as_deref()
    }

    pub(super) fn key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.key)
    }

    /// The SHA-256 of its own certificate, as clients show it, but for the colons.
    pub fn fingerprint(&self) -> String {
        let own = self.key.cert.first().map_or(&[][..], |der| der.as_ref());
        let digest = ring::digest::digest(&ring::digest::SHA256, own);
        digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Is it the same chain?
    pub fn is_same(&self, other: &Certificate) -> bool {
        self.key.cert == other.key.cert
    }

    /// Is it for this host (an exact name or address, or a wild card for its first label, RFC 6125 §6.4.3)?
    pub fn covers(&self, host: &str) -> bool {
        // RFC 9525 §6.3: certificates write A-labels.
        let host = idna::domain_to_ascii(host).unwrap_or_else(|_| host.to_lowercase());
        self.names.iter().any(|name| *name == host || wildcard(&host).is_some_and(|wild| *name == wild))
    }
}

fn wildcard(host: &str) -> Option<String> {
    host.split_once('.').map(|(_, parent)| format!("*.{parent}"))
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let address = |octets: &[u8]| -> Option<String> {
        if let Ok(four) = <[u8; 4]>::try_from(octets) {
            return Some(std::net::Ipv4Addr::from(four).to_string());
        }
        <[u8; 16]>::try_from(octets).ok().map(|sixteen| std::net::Ipv6Addr::from(sixteen).to_string())
    };
    extension
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_lowercase()),
            GeneralName::IPAddress(octets) => address(octets),
            _ => None,
        })
        .collect()
}

/// RFC 5929 §4.1: the certificate's hash by the function of its own signature, but SHA-256 in place of MD5 and SHA-1;
/// undefined where the signature has no single hash function of its own (Ed25519).
fn end_point(certificate: &X509Certificate<'_>, der: &[u8]) -> Option<Vec<u8>> {
    use ring::digest::{SHA256, SHA384, SHA512, digest};
    let algorithm = match SignatureAlgorithm::try_from(&certificate.signature_algorithm) {
        Ok(SignatureAlgorithm::RSASSA_PSS(parameters)) => parameters.hash_algorithm_oid().to_id_string(),
        _ => certificate.signature_algorithm.algorithm.to_id_string(),
    };
    let function = match algorithm.as_str() {
        // MD5 and SHA-1 with RSA, SHA-1 with DSA and ECDSA, SHA-1 itself (for PSS).
        "1.2.840.113549.1.1.4"
        | "1.2.840.113549.1.1.5"
        | "1.2.840.10040.4.3"
        | "1.2.840.10045.4.1"
        | "1.3.14.3.2.26" => &SHA256,
        // RSA, ECDSA, the hash itself (for PSS).
        "1.2.840.113549.1.1.11" | "1.2.840.10045.4.3.2" | "2.16.840.1.101.3.4.2.1" => &SHA256,
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" | "2.16.840.1.101.3.4.2.2" => &SHA384,
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" | "2.16.840.1.101.3.4.2.3" => &SHA512,
        _ => return None,
    };
    Some(digest(function, der).as_ref().to_vec())
}

/// All certificates of the server: one per host, and one for who asks for none.
#[derive(Debug)]
pub struct Certificates {
    by_name: HashMap<String, Arc<Certificate>>,
    default: Arc<Certificate>,
}

impl Certificates {
    /// A set that shows `default` to clients that name no host, or one we do not know (they will say what they think of it).
    pub fn new(default: Arc<Certificate>) -> Self {
        let mut set = Certificates { by_name: HashMap::new(), default: Arc::clone(&default) };
        set.add_names_of(&default);
        set
    }

    /// Shows a certificate to clients that ask for a host, whatever names stand in it.
    pub fn add(&mut self, host: &str, certificate: Arc<Certificate>) {
        self.add_names_of(&certificate);
        self.by_name.insert(host.to_lowercase(), certificate);
    }

    fn add_names_of(&mut self, certificate: &Arc<Certificate>) {
        for name in certificate.names() {
            self.by_name.entry(name.clone()).or_insert_with(|| Arc::clone(certificate));
        }
    }

    /// The certificate for a host name, as a client asks for it (SNI).
    pub fn choose(&self, name: Option<&str>) -> &Arc<Certificate> {
        self.named(name).unwrap_or(&self.default)
    }

    /// The same, without the default.
    pub(super) fn named(&self, name: Option<&str>) -> Option<&Arc<Certificate>> {
        let name = name?.to_lowercase();
        self.by_name.get(&name).or_else(|| wildcard(&name).and_then(|wild| self.by_name.get(&wild)))
    }

    /// The one for who names no host.
    pub(super) fn default_one(&self) -> &Arc<Certificate> {
        &self.default
    }
}

/// All certificates, with another default: that of the host for which the peer opened its stream.
#[derive(Debug)]
pub(super) struct WithDefault {
    pub(super) certificates: Arc<Certificates>,
    pub(super) default: Arc<Certificate>,
}

impl ResolvesServerCert for WithDefault {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.certificates.named(hello.server_name()).unwrap_or(&self.default).key())
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.choose(hello.server_name()).key))
    }
}
