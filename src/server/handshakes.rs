//! What the log says of connections that ended in a TLS handshake: who calls "I cannot get in" is often one of them.

use std::net::IpAddr;

use super::TLS_FAILED;
use crate::config::LogSink;

/// Says why a stranger's connection ended, if TLS is why. `host` is whom the stream was for, if that was said already.
pub(super) fn note(who: &str, peer: IpAddr, host: &str, reason: &str) {
    let target = if host.is_empty() { LogSink::INTERNAL } else { host };
    let Some(why) = reason.strip_prefix(TLS_FAILED) else {
        return log::debug!(target: target, "{who} at {peer} is gone before it got in: {reason}");
    };
    let remedy = remedy(why);
    log::info!(target: target, scanners = "TLS handshakes that failed", by:% = peer;
        "TLS with {who} at {peer} failed: {why}{}{remedy}", if remedy.is_empty() { "" } else { ": " });
}

/// What to do about it, as far as that can be told. The words are those of `net/tls.rs` and of rustls.
fn remedy(why: &str) -> &'static str {
    let says = |words: &[&str]| words.iter().any(|words| why.contains(words));
    if says(&["does not speak TLS"]) {
        "this port wants TLS from the first byte (5223), or after <starttls/>: see the port and its setting in the client"
    } else if says(&[
        "UnknownCA",
        "BadCertificate",
        "CertificateUnknown",
        "CertificateExpired",
        "UnsupportedCertificate",
    ]) {
        "it does not trust our certificate: see jabberctl cert, and jabberctl check certificates"
    } else if says(&["nothing in common", "ProtocolVersion", "HandshakeFailure", "InsufficientSecurity"]) {
        "it knows neither TLS 1.2 nor 1.3, or none of their ciphers: update it, or let its network in without TLS by \
         <plain-login> in jabber.xml"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_has_its_remedy() {
        for (why, says) in [
            ("the peer does not speak TLS here", "5223"),
            ("the peer gave up: UnknownCA", "does not trust our certificate"),
            ("the peer gave up: CertificateExpired", "jabberctl cert"),
            ("the peer gave up: ProtocolVersion", "neither TLS 1.2"),
            ("nothing in common with the peer: Tls12NotOfferedOrEnabled", "<plain-login>"),
        ] {
            assert!(remedy(why).contains(says), "{why}");
        }
        assert_eq!(remedy("no handshake in time"), "");
    }
}
