//! Reads `/etc/resolv.conf` and `/etc/hosts` at the start and when they have changed.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::settings::Settings;
use crate::xmpp::Now;

/// Small files, read in the loop: what is beyond this is passed over.
const BYTES_MAX: u64 = 1 << 20;
/// How often the files' dates are looked at, at most.
const LOOK_MILLIS: u64 = 5000;

/// The two files.
#[derive(Debug)]
pub struct Files {
    resolv_conf: PathBuf,
    hosts: PathBuf,
    seen: [Stamp; 2],
    look_at_millis: u64,
}

type Stamp = Option<(SystemTime, u64)>;

impl Default for Files {
    fn default() -> Files {
        Files::new("/etc/resolv.conf", "/etc/hosts")
    }
}

impl Files {
    /// Other files than the system's.
    pub fn new(resolv_conf: impl Into<PathBuf>, hosts: impl Into<PathBuf>) -> Files {
        Files { resolv_conf: resolv_conf.into(), hosts: hosts.into(), seen: [None, None], look_at_millis: 0 }
    }

    /// What they say now.
    pub fn read(&mut self) -> Settings {
        self.seen = [stamp(&self.resolv_conf), stamp(&self.hosts)];
        let interface = |name: &str| nix::net::if_::if_nametoindex(name).ok();
        Settings::read(&text(&self.resolv_conf), &text(&self.hosts), &interface)
    }

    /// What they say, if they were written since.
    pub fn changed(&mut self, now: Now) -> Option<Settings> {
        if now.monotonic_millis < self.look_at_millis {
            return None;
        }
        self.look_at_millis = now.monotonic_millis.saturating_add(LOOK_MILLIS);
        let stamps = [stamp(&self.resolv_conf), stamp(&self.hosts)];
        (stamps != self.seen).then(|| self.read())
    }
}

fn stamp(path: &Path) -> Stamp {
    let data = fs::metadata(path).ok()?;
    Some((data.modified().ok()?, data.len()))
}

/// The text of a file; one that cannot be read is as good as empty (resolv.conf(5)).
fn text(path: &Path) -> String {
    let mut bytes = Vec::new();
    if let Err(error) = File::open(path).and_then(|file| file.take(BYTES_MAX).read_to_end(&mut bytes)) {
        log::info!(target: "-internal", "cannot read file={}: {error}", path.display());
    }
    if bytes.len() as u64 == BYTES_MAX {
        log::warn!(target: "-internal", "only the first {BYTES_MAX} bytes are read of file={}", path.display());
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_read_again() {
        let folder = std::env::temp_dir().join(format!("jabber-dns-files-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (resolv_conf, hosts) = (folder.join("resolv.conf"), folder.join("hosts"));
        fs::write(&resolv_conf, "nameserver 192.0.2.1\n").unwrap();
        let mut files = Files::new(&resolv_conf, &hosts);
        assert_eq!(files.read().servers, ["192.0.2.1:53".parse().unwrap()]);
        let at = |millis| Now { unix_millis: 0, monotonic_millis: millis };
        assert_eq!(files.changed(at(0)), None);
        fs::write(&resolv_conf, "nameserver 192.0.2.200\n").unwrap();
        assert_eq!(files.changed(at(LOOK_MILLIS - 1)), None);
        assert_eq!(files.changed(at(LOOK_MILLIS)).unwrap().servers, ["192.0.2.200:53".parse().unwrap()]);
        fs::remove_dir_all(&folder).unwrap();
    }
}
