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

/// What gives certbot's certificates to the server, while it runs.
pub const DEPLOY_HOOK: &str = "let certbot's deploy hook give it to the server: README.Debian, \
     /usr/share/doc/jabber/examples/certbot/deploy-hook";

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
    /// for everybody, Let's Encrypt's directory, what its deploy hook gave, and our own. Whether the files exist is for the
    /// caller to find out.
    pub fn certificates_of(&self, host: &str) -> Vec<CertificateSource> {
        let mut all = configured(&self.certificates, host);
        all.push(lets_encrypt(host));
        let own = self.self_made_certificate(host);
        all.extend(self.given_certificates(host).into_iter().filter(|given| given.certificate != own.certificate));
        all.push(own);
        all
    }

    /// The places where a service may have a certificate of its own; where it has none it shows its host's.
    pub fn certificates_of_service(&self, name: &str) -> Vec<CertificateSource> {
        let own = self.certificates.iter().filter(|source| source.domains.iter().any(|domain| domain == name));
        own.cloned().chain([lets_encrypt(name)]).chain(self.given_certificates(name)).collect()
    }

    /// Where the self-made certificate of a host is, or will be, with its key in the same file: beside the system's
    /// configuration, or with the data of a server that runs from elsewhere (a checkout), so that it leaves nothing
    /// behind in `/etc`.
    pub fn self_made_certificate(&self, host: &str) -> CertificateSource {
        let file = format!("{}.pem", file_stem(host));
        unasked(host, &self.own_directory(), &file, &file)
    }

    /// What certbot's deploy hook gives: it calls files as certbot calls the names, in A-labels, with the wild card.
    fn given_certificates(&self, name: &str) -> Vec<CertificateSource> {
        let ascii = a_labels(name);
        let wild = ascii.split_once('.').filter(|_| super::hosts::host_address(name).is_none());
        let wild = wild.map(|(_, parent)| format!("*.{parent}"));
        let directory = self.own_directory();
        let place = |name: String| {
            let file = format!("{}.pem", file_stem(&name));
            unasked(&name, &directory, &file, &file)
        };
        [Some(ascii.into_owned()), wild].into_iter().flatten().map(place).collect()
    }

    fn own_directory(&self) -> PathBuf {
        let system = Path::new(SELF_MADE);
        let is_system = system.parent().is_some_and(|etc| self.file.starts_with(etc));
        if is_system { system.to_owned() } else { self.spool.join("ssl") }
    }

    /// The services of a host for which its certificate is shown, too: a domain that hosts share is in that of one.
    pub fn services_in_certificate(&self, host: &str) -> Vec<String> {
        let has_it = |service: &&super::Service| self.service(&service.name) == Some(*service);
        self.services_of(host).filter(has_it).map(|service| service.name.clone()).collect()
    }

    /// What to do for a certificate that clients trust: all names are in one. To an island no other server comes, and so
    /// nobody looks for the names of services.
    pub fn how_to_get(&self, host: &str) -> String {
        if super::hosts::host_address(host).is_some() || !host.contains('.') {
            return format!(
                "name one in jabber.xml (<certificate>), or serve a name of DNS there: certbot makes none for {host}"
            );
        }
        let services = if self.federation.is_some() { self.services_in_certificate(host) } else { Vec::new() };
        let names = std::iter::once(host).chain(services.iter().map(String::as_str));
        let names: String = names.map(|name| format!(" -d {}", a_labels(name))).collect();
        let then = if services.is_empty() { "" } else { " (each name must be in DNS)" };
        format!("certbot certonly{names}{then}, or name yours in jabber.xml (<certificate>)")
    }
}

/// What to do about a file that the server's user cannot read. certbot closes its directories, and opens them to nobody for
/// long.
pub fn how_to_open(path: &Path) -> &'static str {
    match is_certbots(path) {
        true => DEPLOY_HOOK,
        false => "let the server's user read it; jabberctl check certificates tells how",
    }
}

/// Does certbot keep it?
pub fn is_certbots(path: &Path) -> bool {
    let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let certbot = Path::new(LETSENCRYPT).parent().unwrap_or(Path::new(LETSENCRYPT));
    [path, &target].iter().any(|path| path.starts_with(certbot))
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
        let how = config.how_to_get("bücher.example");
        assert!(how.contains("certbot certonly -d xn--bcher-kva.example, or"), "{how}");
        for host in ["127.77.0.2", "[::1]", "::1", "localhost"] {
            assert!(!config.how_to_get(host).contains("certonly"), "{host}");
        }
    }

    #[test]
    fn the_remedy_named_the_host_alone_and_the_names_of_its_services_were_complained_of_next() {
        let mut config = Config::for_host("chat.example");
        config.federation = Some(super::super::Federation::default());
        let all = "certbot certonly -d chat.example -d users.chat.example -d proxy.chat.example (each";
        assert!(config.how_to_get("chat.example").starts_with(all), "{}", config.how_to_get("chat.example"));
        assert!(config.how_to_get("users.chat.example").starts_with("certbot certonly -d users.chat.example, or"));
        config.federation = None;
        assert!(config.how_to_get("chat.example").starts_with("certbot certonly -d chat.example, or"));
    }

    #[test]
    fn what_the_deploy_hook_gave_for_a_wild_card_or_beyond_ascii_nobody_looked_for() {
        let config = Config { file: "/etc/jabber/jabber.xml".into(), ..Config::for_host("bücher.example.org") };
        let names = |all: Vec<CertificateSource>| -> Vec<String> {
            let name = |source: &CertificateSource| source.certificate.to_string_lossy().into_owned();
            all.iter().map(name).filter_map(|path| Some(path.strip_prefix("/etc/jabber/ssl/")?.to_owned())).collect()
        };
        let host = names(config.certificates_of("bücher.example.org"));
        assert_eq!(host, ["xn--bcher-kva.example.org.pem", "*.example.org.pem", "bücher.example.org.pem"]);
        assert_eq!(names(config.certificates_of("a.example")), ["*.example.pem", "a.example.pem"]);
        assert_eq!(names(config.certificates_of("127.0.0.1")), ["127.0.0.1.pem"]);
        assert_eq!(names(config.certificates_of("localhost")), ["localhost.pem"]);
        assert_eq!(
            names(config.certificates_of_service("users.a.example")),
            ["users.a.example.pem", "*.a.example.pem"]
        );
    }
}
