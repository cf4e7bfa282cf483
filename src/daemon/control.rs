//! Sockets in the file system, jabberctl's and that of `<metrics>`: where they are, and who may use them.
//!
//! Root gives each to the group that jabber.xml names. A server that was never root can do that only with groups its user
//! is in, and under `jabber.service` not even then; root does it for the running server there ([`give`]).

use std::fs;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::libc;
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::unistd::{Gid, Group, User, getegid, geteuid};

use super::privileges::{self, Identity};
use super::{StartError, directories};
use crate::config::{Config, LogSink};
use crate::net::control::{self, Allowed, Opened};

/// Opens jabberctl's socket; without one the server serves all the same, and says why.
pub fn open(config: &Config, identity: Option<&Identity>) -> Option<Opened> {
    let opened = open_control(config, identity);
    opened.map_err(|why| log::warn!(target: LogSink::INTERNAL, "jabberctl will not find this server: {why}")).ok()
}

/// Opens jabberctl's socket, at the start or in the place of one that was lost.
///
/// # Errors
/// Why it cannot be had.
pub fn open_control(config: &Config, identity: Option<&Identity>) -> Result<Opened, String> {
    one("control", &config.control_socket(), config.control.group.as_deref(), identity)
}

/// Opens the socket of `<metrics>`, if there shall be one.
///
/// # Errors
/// Why it cannot be had. As with a port, the server does not start without what it was told to open.
pub fn open_metrics(config: &Config, identity: Option<&Identity>) -> Result<Option<Opened>, StartError> {
    let Some(wanted) = &config.metrics_socket else { return Ok(None) };
    one("metrics", &wanted.path, wanted.group.as_deref(), identity).map(Some).map_err(StartError)
}

fn one(element: &str, path: &Path, group: Option<&str>, identity: Option<&Identity>) -> Result<Opened, String> {
    let allowed = allowed(element, group, identity)?;
    make_directory(element, path, &allowed)?;
    let opened = control::open(path, allowed, groups_of, element)?;
    if let Some(why) = &opened.ungiven {
        tell_ungiven(path, group, why);
    }
    Ok(opened)
}

/// Could both sockets be had, once a server that has them now has ended? Why not, each.
pub fn could_open(config: &Config, identity: Option<&Identity>) -> Vec<StartError> {
    let control = ("control", config.control_socket(), config.control.group.as_deref());
    let metrics = config.metrics_socket.as_ref();
    let metrics = metrics.map(|socket| ("metrics", socket.path.clone(), socket.group.as_deref()));
    let mut problems = Vec::new();
    for (element, path, group) in [Some(control), metrics].into_iter().flatten() {
        problems.extend(allowed(element, group, identity).err());
        let shown = path.display();
        if fs::symlink_metadata(&path).is_ok_and(|found| !found.file_type().is_socket()) {
            problems.push(format!("{shown} is there, and no socket: remove it, or name another path (<{element}>)"));
        }
        if path.parent().is_some_and(|directory| directory.exists() && !directory.is_dir()) {
            problems.push(format!("{shown} cannot be: its directory is none; name another path (<{element}>)"));
        }
    }
    problems.into_iter().map(StartError).collect()
}

/// Under jabber.service this is the usual way, and mended before systemd says that the server is up.
fn tell_ungiven(path: &Path, group: Option<&str>, why: &str) {
    let (shown, group) = (path.display(), group.unwrap_or_default());
    log::info!(target: LogSink::INTERNAL,
        "the socket {shown} is not yet of the group '{group}' ({why}); as root: jabberd --give-sockets");
}

/// The process that serves jabberctl's socket, if one does and we may know.
pub fn server(config: &Config) -> Option<i32> {
    let stream = UnixStream::connect(config.control_socket()).ok()?;
    getsockopt(&stream, PeerCredentials).ok().map(|peer| peer.pid())
}

/// After a reload: who may use jabberctl's socket, and that of `<metrics>`, by what the system says now.
///
/// # Errors
/// There is no such group.
pub fn renew(config: &Config, identity: Option<&Identity>) -> Result<(Allowed, Option<Allowed>), String> {
    let of_control = config.control.group.as_deref();
    let control = one_again("control", &config.control_socket(), of_control, identity)?;
    let metrics = config.metrics_socket.as_ref();
    let metrics = metrics.map(|socket| one_again("metrics", &socket.path, socket.group.as_deref(), identity));
    Ok((control, metrics.transpose()?))
}

fn one_again(element: &str, path: &Path, group: Option<&str>, identity: Option<&Identity>) -> Result<Allowed, String> {
    let allowed = allowed(element, group, identity)?;
    let own = geteuid().as_raw();
    // One with a new name comes with the next start.
    if path.exists() {
        if let Err(why) = control::give(path, |uid| uid == own, None, allowed.gid) {
            tell_ungiven(path, group, &why.to_string());
        }
    }
    Ok(allowed)
}

fn allowed(element: &str, group: Option<&str>, identity: Option<&Identity>) -> Result<Allowed, String> {
    let own = (geteuid().as_raw(), getegid().as_raw());
    let (uid, gid) = identity.filter(|_| privileges::is_root()).map_or(own, Identity::ids);
    let group = match group {
        None => Group::from_gid(Gid::from_raw(gid)),
        Some(name) => match Group::from_name(name) {
            Ok(None) => {
                return Err(format!(
                    "there is no group '{name}' (<{element} group=>): make it with `addgroup --system {name}`"
                ));
            }
            found => found,
        },
    };
    let group = group.map_err(|error| format!("cannot look up the group (<{element} group=>): {error}"))?;
    let Some(group) = group else { return Ok(Allowed { uid, gid, members: Vec::new() }) };
    let user = |name: &String| User::from_name(name).ok().flatten().map(|user| user.uid.as_raw());
    Ok(Allowed { uid, gid: group.gid.as_raw(), members: group.mem.iter().filter_map(user).collect() })
}

/// unix(7) has the user and the first group of who connected; the kernel knows the others as well (`SO_PEERGROUPS`).
fn groups_of(socket: BorrowedFd<'_>) -> Vec<u32> {
    // NGROUPS_MAX of Linux.
    let mut groups = vec![0_u32; 65_536];
    let mut bytes = libc::socklen_t::try_from(size_of_val(groups.as_slice())).unwrap_or(0);
    // SAFETY: the descriptor is borrowed, so it is open; the kernel writes at most `bytes` bytes into the vector, whose
    // elements may be any bits, and then says in `bytes` how many it wrote.
    let told = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERGROUPS,
            groups.as_mut_ptr().cast(),
            &raw mut bytes,
        )
    };
    let count = usize::try_from(bytes).unwrap_or(0) / size_of::<u32>();
    groups.truncate(if told == 0 { count } else { 0 });
    groups
}

/// Makes a socket's directory, which a system that starts afresh has not (/run is empty then).
fn make_directory(element: &str, path: &Path, allowed: &Allowed) -> Result<(), String> {
    let Some(directory) = path.parent() else { return Ok(()) };
    let owner = if privileges::is_root() { (Some(allowed.uid), Some(allowed.gid)) } else { (None, None) };
    directories::make(directory, 0o755, owner).map_err(|error| {
        let shown = directory.display();
        format!("cannot make the directory {shown}: {error}; make it, or name another path (<{element}>)")
    })
}

/// As root, beside a running server: gives its sockets to the groups that jabber.xml names.
///
/// # Errors
/// There is no such group or no such socket, or we are not root.
pub fn give(config: &Config) -> Result<(), StartError> {
    let control = config.control.group.as_deref().map(|group| ("control", config.control_socket(), group));
    let metrics = config.metrics_socket.as_ref();
    let metrics = metrics.and_then(|socket| Some(("metrics", socket.path.clone(), socket.group.as_deref()?)));
    for (element, path, group) in [control, metrics].into_iter().flatten() {
        let gid = allowed(element, Some(group), None).map_err(StartError)?.gid;
        // A server that is root has done it itself; what is root's here is none of its sockets.
        control::give(&path, |uid| uid != 0, None, gid).map_err(|error| {
            let shown = path.display();
            StartError(format!("cannot give {shown} to the group '{group}' (<{element} group=>): {error}"))
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixStream;

    #[test]
    fn the_kernel_tells_the_groups_of_who_connects() {
        let (one, _other) = UnixStream::pair().unwrap();
        let own: Vec<u32> = nix::unistd::getgroups().unwrap().into_iter().map(nix::unistd::Gid::as_raw).collect();
        assert_eq!(super::groups_of(one.as_fd()), own);
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(super::groups_of(file.as_fd()).is_empty());
    }
}
