//! Whether another server's certificate proves that it is the domain it says it is.
//!
//! TLS itself refuses no certificate of a server: the handshake only proves that the peer has the key to it. What it is
//! worth is judged here, when the stream asks, so that a refusal can be told in words and dialback can still take over.

mod names;

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use ring::digest::{SHA256, digest};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, Error, ExtendedKeyUsageValidator, KeyPurposeIdIter};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::xmpp::Now;
use crate::xmpp::datetime::stamp;

/// Certificates in a chain: no public authority needs more than four.
const CHAIN_MAX: usize = 10;
/// Bytes of one certificate.
const CERTIFICATE_BYTES_MAX: usize = 64 << 10;

/// The authorities that we trust, and the names that we accept (RFC 6120 §13.7.1.2).
pub trait Trust {
    /// Is the certificate valid now, for this domain? `chain` is DER, the peer's own certificate first.
    ///
    /// # Errors
    /// What is wrong with it, in words for the log.
    fn check(&self, chain: &[Vec<u8>], domain: &str, now: Now) -> Result<(), String>;
}

/// Trusts nobody: for a server that is an island.
pub struct TrustNobody;

impl Trust for TrustNobody {
    fn check(&self, _: &[Vec<u8>], _: &str, _: Now) -> Result<(), String> {
        Err("no certificate authorities are known".to_string())
    }
}

/// Trusts what the given authorities have signed, and the given certificates themselves.
pub struct Authorities {
    anchors: Vec<TrustAnchor<'static>>,
    /// SHA-256 of each given certificate: an admin may also give a peer's self-signed one, which signs nothing.
    given: HashSet<Vec<u8>>,
    algorithms: &'static [&'static dyn SignatureVerificationAlgorithm],
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authorities({})", self.anchors.len())
    }
}

impl Authorities {
    /// Authorities from their certificates as DER. What cannot be read is left out; [`Authorities::len`] tells.
    pub fn new(roots: impl IntoIterator<Item = Vec<u8>>) -> Authorities {
        let (mut anchors, mut given) = (Vec::new(), HashSet::new());
        for root in roots {
            let root = CertificateDer::from(root);
            if let Ok(anchor) = webpki::anchor_from_trusted_cert(&root) {
                if given.insert(fingerprint(&root)) {
                    anchors.push(anchor.to_owned());
                }
            }
        }
        let algorithms = default_provider().signature_verification_algorithms.all;
        Authorities { anchors, given, algorithms }
    }

    /// How many there are, each counted once.
    pub fn len(&self) -> usize {
        self.anchors.len()
    }

    /// Is nobody trusted?
    pub fn is_empty(&self) -> bool {
        self.anchors.is_empty()
    }

    /// Does a path lead from the certificate to an authority? The others may come in any order, with some that do not
    /// belong to it; the number of attempts is bounded by webpki.
    fn check_path(&self, chain: &[Vec<u8>], own: &X509Certificate<'_>, now: Now) -> Result<(), String> {
        let ders: Vec<CertificateDer<'_>> = chain.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
        let Some((first, others)) = ders.split_first() else { return Err("no certificate was given".to_owned()) };
        if self.given.contains(&fingerprint(first)) {
            return Ok(());
        }
        if own.issuer().as_raw() == own.subject().as_raw() {
            return Err("certificate is self-signed".to_owned());
        }
        let time = UnixTime::since_unix_epoch(Duration::from_secs(now.unix_seconds()));
        EndEntityCert::try_from(first)
            .and_then(|end| {
                end.verify_for_usage(self.algorithms, &self.anchors, others, time, EitherSide, None, None).map(|_| ())
            })
            .map_err(|error| explain(&error, chain, own))
    }
}

impl Trust for Authorities {
    fn check(&self, chain: &[Vec<u8>], domain: &str, now: Now) -> Result<(), String> {
        let Some(own) = chain.first() else { return Err("no certificate was given".to_owned()) };
        if chain.len() > CHAIN_MAX {
            return Err(format!("a chain of {} certificates is longer than {CHAIN_MAX}", chain.len()));
        }
        if chain.iter().any(|der| der.len() > CERTIFICATE_BYTES_MAX) {
            return Err(format!("a certificate in the chain is larger than {CERTIFICATE_BYTES_MAX} bytes"));
        }
        let Ok(([], own)) = X509Certificate::from_der(own) else {
            return Err("certificate cannot be read".to_owned());
        };
        check_dates(&own, "certificate", now)?;
        self.check_path(chain, &own, now)?;
        names::check(&own, domain)
    }
}

fn fingerprint(der: &[u8]) -> Vec<u8> {
    digest(&SHA256, der).as_ref().to_vec()
}

/// RFC 5280 §4.1.2.5. In the path webpki looks at the dates again, but knows no words for them.
fn check_dates(certificate: &X509Certificate<'_>, what: &str, now: Now) -> Result<(), String> {
    let seconds = i64::try_from(now.unix_seconds()).unwrap_or(i64::MAX);
    let validity = certificate.validity();
    if seconds > validity.not_after.timestamp() {
        return Err(format!("{what} expired on {}", day(validity.not_after.timestamp())));
    }
    if seconds < validity.not_before.timestamp() {
        return Err(format!("{what} is not yet valid until {}", day(validity.not_before.timestamp())));
    }
    Ok(())
}

/// `2026-01-02`, in UTC.
fn day(unix_seconds: i64) -> String {
    let millis = u64::try_from(unix_seconds).unwrap_or(0).saturating_mul(1000);
    stamp(millis).split('T').next().unwrap_or_default().to_owned()
}

/// The certificate of a server may be for either side of TLS, or for no stated purpose (RFC 5280 §4.2.1.12).
///
/// Deviation: a server that connects is a TLS client, but public authorities no longer write clientAuth into the
/// certificates of servers. One that is good for being called is good for calling.
struct EitherSide;

/// id-kp-serverAuth, id-kp-clientAuth, anyExtendedKeyUsage (RFC 5280 §4.2.1.12).
const PURPOSES: [&[usize]; 3] = [&[1, 3, 6, 1, 5, 5, 7, 3, 1], &[1, 3, 6, 1, 5, 5, 7, 3, 2], &[2, 5, 29, 37, 0]];

impl ExtendedKeyUsageValidator for EitherSide {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        let mut is_limited = false;
        for purpose in purposes {
            if PURPOSES.contains(&purpose?.to_decoded_oid().as_slice()) {
                return Ok(());
            }
            is_limited = true;
        }
        if is_limited { Err(Error::EmptyEkuExtension) } else { Ok(()) }
    }
}

/// What an admin makes of webpki's errors.
fn explain(error: &Error, chain: &[Vec<u8>], own: &X509Certificate<'_>) -> String {
    let day = |time: &UnixTime| day(i64::try_from(time.as_secs()).unwrap_or(i64::MAX));
    match error {
        Error::UnknownIssuer => unknown_issuer(chain, own),
        Error::CertExpired { not_after, .. } => format!("an authority's certificate expired on {}", day(not_after)),
        Error::CertNotValidYet { not_before, .. } => {
            format!("an authority's certificate is not yet valid until {}", day(not_before))
        }
        Error::CaUsedAsEndEntity => "certificate is an authority's, not a server's".to_owned(),
        Error::EndEntityUsedAsCa => "certificate is signed by one that is not an authority's".to_owned(),
        Error::EmptyEkuExtension => "certificate is neither for servers nor for clients".to_owned(),
        Error::NameConstraintViolation => "certificate is for names that its authority may not give".to_owned(),
        Error::InvalidSignatureForPublicKey => "certificate's signature is wrong".to_owned(),
        Error::UnsupportedSignatureAlgorithmContext(_) | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            format!("certificate's signature is of a kind that is not accepted ({})", own.signature_algorithm.algorithm)
        }
        Error::UnsupportedCertVersion => "certificate is not of X.509 version 3".to_owned(),
        other => format!("certificate is not valid: {other:?}"),
    }
}

/// Who signed the last certificate on the way up from the peer's own.
fn unknown_issuer(chain: &[Vec<u8>], own: &X509Certificate<'_>) -> String {
    let others: Vec<X509Certificate<'_>> =
        chain.iter().skip(1).filter_map(|der| X509Certificate::from_der(der).ok()).map(|(_, other)| other).collect();
    let mut last = own;
    for _ in 0..CHAIN_MAX {
        let is_next = |other: &&X509Certificate<'_>| {
            other.subject().as_raw() == last.issuer().as_raw() && other.subject().as_raw() != other.issuer().as_raw()
        };
        let Some(next) = others.iter().find(is_next) else { break };
        last = next;
    }
    let issuer = names::printable(&last.issuer().to_string());
    // The most frequent slip of admins: the file has the server's certificate without the one between it and the root.
    let hint = if others.is_empty() { " (no intermediate certificate was given)" } else { "" };
    format!("{NOT_TRUSTED}: {issuer}{hint}")
}

/// How [`Trust::check`] begins where the way up leads to nobody who is known.
pub const NOT_TRUSTED: &str = "issued by an authority that is not trusted";

/// Does the chain lead up to one that signed itself, so that nothing is missing in it?
pub fn reaches_root(chain: &[Vec<u8>]) -> bool {
    let all: Vec<X509Certificate<'_>> =
        chain.iter().filter_map(|der| X509Certificate::from_der(der).ok()).map(|(_, one)| one).collect();
    let Some(mut last) = all.first() else { return false };
    for _ in 0..CHAIN_MAX {
        if last.subject().as_raw() == last.issuer().as_raw() {
            return true;
        }
        let Some(next) = all.iter().find(|next| next.subject().as_raw() == last.issuer().as_raw()) else {
            return false;
        };
        last = next;
    }
    false
}

#[cfg(test)]
mod tests;
