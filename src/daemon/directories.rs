//! Directories that root makes for the server's user.
//!
//! Between two looks at a name, who owns the directory around it can put a link in its place. So a new directory gets its
//! mode and its owner by handle, from the directory it was made in.

use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::Path;

use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::geteuid;

/// The user and the group that a file shall have; `None` leaves it.
pub(super) type Owner = (Option<u32>, Option<u32>);

/// Makes a directory where none is, with what leads to it.
///
/// # Errors
/// The system refuses, or somebody else puts something there meanwhile.
pub(super) fn make(path: &Path, mode: u32, (uid, gid): Owner) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        make(parent, 0o755, (None, None))?;
    }
    let around =
        open(parent.unwrap_or(Path::new(".")), OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    mkdirat(&around, name, Mode::S_IRWXU)?;
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let made = File::from(openat(&around, name, flags, Mode::empty())?);
    if made.metadata()?.uid() != geteuid().as_raw() {
        return Err(io::Error::other("somebody else put another directory there"));
    }
    made.set_permissions(std::fs::Permissions::from_mode(mode))?;
    if uid.is_some() || gid.is_some() { fchown(&made, uid, gid) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_has_its_mode_and_its_owner() {
        let place = super::super::scratch("directories");
        let own = std::fs::metadata(&place).unwrap();
        let wanted = place.join("a/b");
        make(&wanted, 0o750, (Some(own.uid()), Some(own.gid()))).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&place.join("a")), mode(&wanted)), (0o755, 0o750));
        // One that is there is left alone.
        make(&wanted, 0o700, (None, None)).unwrap();
        assert_eq!(mode(&wanted), 0o750);
        // A link that leads nowhere is not followed, nor is a file taken for a directory.
        std::os::unix::fs::symlink(place.join("gone"), place.join("link")).unwrap();
        std::fs::write(place.join("file"), "").unwrap();
        assert!(make(&place.join("link"), 0o750, (None, None)).is_err());
        assert!(make(&place.join("file"), 0o750, (None, None)).is_err());
        assert!(!place.join("gone").exists());
        std::fs::remove_dir_all(place).unwrap();
    }
}
