//! Which certificate is shown to whom: the typed form of `<ssl>`, `<tls>` and `<certificate>`.

use std::borrow::Cow;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::Config;
use super::error::Place;

/// A certificate chain and its key, in PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateSource {
    /// For these hosts, as SNI or `to` names them.
    pub domains: Vec<String>,
    /// For connections to these local addresses (1.4's `ip=`).
    pub addresses: Vec<IpAddr>,
    /// Also for everybody whom no other certificate fits.
    pub is_default: bool,
    /// The file with the chain, the host's own certificate first.
    pub certificate: PathBuf,
    /// The file with the key; the same file in 1.4's form.
    pub key: PathBuf,
    /// The line that named it; `None` for the places where we look unasked.
    pub place: Option<Place>,
}

/// Where Let's Encrypt's client keeps certificates.
pub const LETSENCRYPT: &str = "/etc/letsencrypt/live";
/// Where self-made certificates are kept, one `HOST.pem` with chain and key for each host.
pub const SELF_MADE: &str = "/etc/jabber/ssl";

/// A file with certificates of authorities to trust.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityFile {
    /// The file, absolute.
    pub path: PathBuf,
    /// The line of jabber.xml, for the error when it cannot be read.
    pub place: Place,
}

impl Config {
    /// The places where a host's certificate may be, the best first: what jabber.xml says for this host, what it says
    /// for everybody, Let's Encrypt's directory, and our own. Whether the files exist is for the caller to find out.
    pub fn certificates_of(&self, host: &str) -> Vec<CertificateSource> {
        let mut all = configured(&self.certificates, host);
        all.push(lets_encrypt(host));
        all.push(self.self_made_certificate(host));
        all
    }

    /// The places where a service may have a certificate of its own; where it has none it shows its host's.
    pub fn certificates_of_service(&self, name: &str) -> Vec<CertificateSource> {
        let own = self.certificates.iter().filter(|source| source.domains.iter().any(|domain| domain == name));
        own.cloned().chain([lets_encrypt(name)]).collect()
    }

    /// Where the self-made certificate of a host is, or will be, with its key in the same file: beside the system's
    /// configuration, or with the data of a server that runs from elsewhere (a checkout), so that it leaves nothing
    /// behind in `/etc`.
    pub fn self_made_certificate(&self, host: &str) -> CertificateSource {
        let system = Path::new(SELF_MADE);
        let is_system = system.parent().is_some_and(|etc| self.file.starts_with(etc));
        let directory = if is_system { system.to_owned() } else { self.spool.join("ssl") };
        let file = format!("{}.pem", file_stem(host));
        unasked(host, &directory, &file, &file)
    }
}

fn configured(configured: &[CertificateSource], host: &str) -> Vec<CertificateSource> {
    let own = configured.iter().filter(|source| source.domains.iter().any(|domain| domain == host));
    let address = super::hosts::host_address(host);
    let by_address = configured.iter().filter(|source| address.is_some_and(|ip| source.addresses.contains(&ip)));
    let default = configured.iter().filter(|source| source.is_default);
    let mut all: Vec<CertificateSource> = Vec::new();
    for source in own.chain(by_address).chain(default) {
        if !all.contains(source) {
            all.push(source.clone());
        }
    }
    all
}

/// What to do for a certificate of a host that clients trust.
pub fn how_to_get(host: &str) -> String {
    match super::hosts::host_address(host).is_none() && host.contains('.') {
        true => format!("certbot certonly -d {}, or name yours in jabber.xml (<certificate>)", a_labels(host)),
        false => format!(
            "name one in jabber.xml (<certificate>), or serve a name of DNS there: certbot makes none for {host}"
        ),
    }
}

/// A name as certbot takes it, and names its directory: RFC 5891 §5.5.
fn a_labels(host: &str) -> Cow<'_, str> {
    if host.is_ascii() { host.into() } else { idna::domain_to_ascii(host).map_or(host.into(), Cow::Owned) }
}

fn lets_encrypt(host: &str) -> CertificateSource {
    unasked(host, &Path::new(LETSENCRYPT).join(file_stem(&a_labels(host))), "fullchain.pem", "privkey.pem")
}

fn unasked(host: &str, directory: &Path, certificate: &str, key: &str) -> CertificateSource {
    CertificateSource {
        domains: vec![host.to_owned()],
        addresses: Vec::new(),
        is_default: false,
        certificate: directory.join(certificate),
        key: directory.join(key),
        place: None,
    }
}

/// A host as a file name: without the brackets of an IPv6 address, and never with a way out of the directory.
fn file_stem(host: &str) -> String {
    let stem: String = host.chars().filter(|c| !matches!(c, '[' | ']' | '/' | '\\' | '\0')).collect();
    if stem.starts_with('.') || stem.is_empty() { format!("_{stem}") } else { stem }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_beyond_ascii_has_certbot_s_directory() {
        let config = Config::for_host("bücher.example");
        let found = |host: &str| config.certificates_of(host).iter().map(|s| s.certificate.clone()).collect::<Vec<_>>();
        assert_eq!(
            found("bücher.example").first().and_then(|path| path.to_str()),
            Some("/etc/letsencrypt/live/xn--bcher-kva.example/fullchain.pem")
        );
        // What we make ourselves has the name of the host.
        assert!(found("bücher.example").last().is_some_and(|path| path.ends_with("bücher.example.pem")));
        let service = config.certificates_of_service("räume.example");
        assert!(
            service.iter().any(|s| s.key.to_string_lossy().contains("xn--rume-loa.example/privkey.pem")),
            "{service:?}"
        );
        assert!(how_to_get("bücher.example").contains("certbot certonly -d xn--bcher-kva.example, or"));
        for host in ["127.77.0.2", "[::1]", "::1", "localhost"] {
            assert!(!how_to_get(host).contains("certonly"), "{host}");
        }
    }
}
