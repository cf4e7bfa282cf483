//! The authorities that certificates of other servers are checked against: the system's, and those that jabber.xml names.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::StartError;
use crate::config::{AuthorityFile, Config};
use crate::stream::certificate::Authorities;

/// The bundle of a whole system has a quarter of it.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Loads them all. An island needs none.
///
/// # Errors
/// A file that jabber.xml names cannot be used.
pub fn load(config: &Config) -> Result<Authorities, StartError> {
    if config.federation.is_none() {
        return Ok(Authorities::new([]));
    }
    let mut all = Vec::new();
    for AuthorityFile { path, place } in &config.authorities {
        all.extend(read(path).map_err(|why| {
            let path = path.display();
            StartError(format!("{path}, which jabber.xml names for certificates of authorities ({place}), {why}"))
        })?);
    }
    let system = rustls_native_certs::load_native_certs();
    all.extend(system.certs.into_iter().map(|certificate| certificate.to_vec()));
    let authorities = Authorities::new(all);
    if authorities.is_empty() {
        let why = system.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        log::warn!(target: "-internal",
            "this system knows no certificate authorities{why}: install ca-certificates and reload; \
             until then no other server can be proved by its certificate"
        );
    }
    Ok(authorities)
}

/// The certificates of a PEM file.
fn read(path: &Path) -> Result<Vec<Vec<u8>>, String> {
    let mut text = Vec::new();
    let file = File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    file.take(FILE_BYTES_MAX).read_to_end(&mut text).map_err(|error| format!("cannot be read: {error}"))?;
    let mut all = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let der = certificate.map_err(|error| format!("is broken ({error}): it must be PEM text"))?.to_vec();
        if Authorities::new([der.clone()]).is_empty() {
            return Err("has a certificate that cannot be used as an authority's: take it out".to_owned());
        }
        all.push(der);
    }
    if all.is_empty() { Err("has no CERTIFICATE block".to_owned()) } else { Ok(all) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Federation;

    #[test]
    fn files_are_read_or_told() {
        let directory = crate::daemon::scratch("authorities");
        let file = directory.join("ca.pem");
        let pem = || rcgen::generate_simple_self_signed(vec!["ca.test".to_owned()]).unwrap().cert.pem();
        let mut config = Config::for_host("chat.test");
        let place = crate::config::Place::whole(Path::new("jabber.xml"));
        config.authorities.push(AuthorityFile { path: file.clone(), place });
        assert!(load(&config).unwrap().is_empty(), "an island reads nothing");
        config.federation = Some(Federation::default());
        let without = {
            let bare = Config { authorities: Vec::new(), ..config.clone() };
            load(&bare).unwrap().len()
        };
        std::fs::write(&file, format!("Our own\n{}{}", pem(), pem())).unwrap();
        assert_eq!(load(&config).unwrap().len(), without + 2);
        for (text, expected) in [
            ("", "has no CERTIFICATE block"),
            ("-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n", "is broken"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cannot be used as an authority's"),
        ] {
            std::fs::write(&file, text).unwrap();
            let error = load(&config).unwrap_err();
            assert!(error.0.contains("ca.pem, which jabber.xml names") && error.0.contains(expected), "{error}");
        }
        std::fs::remove_file(&file).unwrap();
        assert!(load(&config).unwrap_err().0.contains("cannot be read: No such file"));
        std::fs::remove_dir_all(directory).unwrap();
    }
}
