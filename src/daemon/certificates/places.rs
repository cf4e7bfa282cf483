//! Files of certificates, read with care, and the choice among the places where one may be. `jabberctl check` and `jabberd
//! --test` choose by the same rules as the server.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::super::StartError;
use super::made::is_own_make;
use crate::config::CertificateSource;
use crate::config::certificates::how_to_open;
use crate::net::tls::Certificate;

/// Nobody's chain and key are longer.
pub(super) const FILE_BYTES_MAX: u64 = 1 << 20;

/// What was found in the places for one name.
#[derive(Debug)]
pub struct Choice {
    /// The number of the place, and what is there.
    pub found: Option<(usize, Certificate)>,
    /// What is there and cannot be used.
    pub passed_over: Vec<LoadError>,
}

/// Chooses among the places, the best first. What jabber.xml names is taken as it is. Of the others the first that clients
/// can trust now; else the first that somebody gave; else our own make.
///
/// # Errors
/// What jabber.xml names cannot be used.
pub fn choose(name: &str, sources: &[CertificateSource], now: i64) -> Result<Choice, LoadError> {
    let mut passed_over = Vec::new();
    let mut second: Option<(usize, Certificate)> = None;
    for (at, source) in sources.iter().enumerate() {
        match load(source) {
            Ok(certificate) if source.place.is_some() || is_good(&certificate, name, now) => {
                return Ok(Choice { found: Some((at, certificate)), passed_over });
            }
            Ok(certificate) => {
                let is_better = |other: &Certificate| is_own_make(other) && !is_own_make(&certificate);
                if second.as_ref().is_none_or(|(_, other)| is_better(other)) {
                    second = Some((at, certificate));
                }
            }
            Err(error) if source.place.is_some() => return Err(error),
            Err(LoadError { is_missing: true, .. }) => {}
            Err(error) => passed_over.push(error),
        }
    }
    Ok(Choice { found: second, passed_over })
}

/// Is it one that clients can trust now, as far as it is not a matter of its authority?
pub fn is_good(certificate: &Certificate, name: &str, now: i64) -> bool {
    flaw(certificate, name, now).is_none()
}

/// Why clients refuse it.
pub(super) fn flaw(certificate: &Certificate, name: &str, now: i64) -> Option<String> {
    if is_own_make(certificate) {
        Some("is self-made".to_owned())
    } else if !certificate.covers(name.trim_matches(['[', ']'])) {
        Some(format!("is for {}, not for {name}", certificate.names_told()))
    } else if certificate.expires_unix_seconds() <= now {
        Some("has expired".to_owned())
    } else if certificate.starts_unix_seconds() > now {
        Some("is not valid yet".to_owned())
    } else {
        None
    }
}

/// Why a file cannot be used.
#[derive(Debug)]
pub struct LoadError {
    /// There is no certificate.
    is_missing: bool,
    /// The file.
    pub path: PathBuf,
    why: String,
    place: String,
}

impl LoadError {
    /// Is it one of these files that cannot be used?
    pub fn is_about(&self, source: &CertificateSource) -> bool {
        [&source.certificate, &source.key].contains(&&self.path)
    }

    pub(super) fn start_error(&self) -> StartError {
        StartError(self.to_string())
    }
}

impl std::fmt::Display for LoadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the certificate file {}{} {}", self.path.display(), self.place, self.why)
    }
}

fn load(source: &CertificateSource) -> Result<Certificate, LoadError> {
    let place = source.place.as_ref().map_or_else(String::new, |place| format!(" ({place})"));
    let failed =
        |path: &Path, is_missing, why| LoadError { is_missing, path: path.to_owned(), why, place: place.clone() };
    let read = |path: &Path| {
        read_bounded(path).map_err(|error| {
            let is_missing = error.kind() == io::ErrorKind::NotFound && path == source.certificate;
            let remedy = match error.kind() {
                io::ErrorKind::NotFound => "check the path",
                io::ErrorKind::PermissionDenied => how_to_open(path),
                _ => "it must be a PEM file",
            };
            failed(path, is_missing, format!("cannot be read: {error}; {remedy}"))
        })
    };
    let chain = read(&source.certificate)?;
    let key = if source.key == source.certificate { chain.clone() } else { read(&source.key)? };
    Certificate::from_pem(&chain, &key).map_err(|fault| {
        let path = if fault.is_about_key() { &source.key } else { &source.certificate };
        failed(path, false, fault.to_string())
    })
}

/// Reads a file of PEM text, which may be another user's: a pipe does not hold us up, and no device fills the memory.
///
/// # Errors
/// It cannot be read, is no regular file, or longer than any chain.
pub fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut content)?;
    match u64::try_from(content.len()) {
        Ok(length) if length <= FILE_BYTES_MAX => Ok(content),
        _ => Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {FILE_BYTES_MAX} bytes"))),
    }
}

pub(super) fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")),
    }
}
