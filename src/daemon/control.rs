//! The control socket's place in the file system, and who may use it.

use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt as _, chown};
use std::path::Path;

use nix::unistd::{Gid, Group, User, getegid, geteuid};

use super::privileges::{self, Identity};
use crate::config::{Config, LogSink};
use crate::net::control::{self, Allowed, Opened};

/// Opens the socket; without one the server serves all the same, and says why.
pub fn open(config: &Config, identity: Option<&Identity>) -> Option<Opened> {
    let opened = allowed(config, identity).and_then(|allowed| {
        let path = config.control_socket();
        make_directory(&path, &allowed)?;
        let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
        control::open(&path, allowed.clone(), (allowed.uid, allowed.gid) != (uid, gid))
    });
    match opened {
        Ok(opened) => Some(opened),
        Err(why) => {
            log::warn!(target: LogSink::INTERNAL, "jabberctl will not find this server: {why}");
            None
        }
    }
}

/// Who may use the socket, by what the system says now.
///
/// # Errors
/// There is no such group.
pub fn allowed(config: &Config, identity: Option<&Identity>) -> Result<Allowed, String> {
    let own = (geteuid().as_raw(), getegid().as_raw());
    let (uid, gid) = identity.filter(|_| privileges::is_root()).map_or(own, Identity::ids);
    let group = match &config.control.group {
        None => Group::from_gid(Gid::from_raw(gid)),
        Some(name) => match Group::from_name(name) {
            Ok(None) => {
                return Err(format!(
                    "there is no group '{name}' (<control group=>): make it with `addgroup --system {name}`"
                ));
            }
            found => found,
        },
    };
    let group = group.map_err(|error| format!("cannot look up the group (<control group=>): {error}"))?;
    let Some(group) = group else { return Ok(Allowed { uid, gid, members: Vec::new() }) };
    let user = |name: &String| User::from_name(name).ok().flatten().map(|user| user.uid.as_raw());
    Ok(Allowed { uid, gid: group.gid.as_raw(), members: group.mem.iter().filter_map(user).collect() })
}

/// Makes the socket's directory, which a system that starts afresh has not (/run is empty then).
fn make_directory(path: &Path, allowed: &Allowed) -> Result<(), String> {
    let Some(directory) = path.parent().filter(|directory| !directory.is_dir()) else { return Ok(()) };
    let shown = directory.display();
    DirBuilder::new()
        .mode(0o755)
        .create(directory)
        .and_then(|()| match privileges::is_root() {
            true => chown(directory, Some(allowed.uid), Some(allowed.gid)),
            false => Ok(()),
        })
        .map_err(|error| {
            format!("cannot make the directory {shown}: {error}; make it, or name another path (<control>)")
        })
}
