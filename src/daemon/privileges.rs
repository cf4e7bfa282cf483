//! From root to nobody in particular, and the limit of open files.

use std::ffi::CString;
use std::sync::OnceLock;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::os::unix::fs::MetadataExt as _;

use nix::unistd::{
    Gid, Uid, User, getegid, geteuid, getgrouplist, getgroups, initgroups, setegid, seteuid, setgid, setgroups, setuid,
};

use super::{StartError, accounts};
use crate::config::Config;

/// The user that the server becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    name: String,
    uid: Uid,
    gid: Gid,
    /// All its groups, once they are asked for: whoever knows them may be slow.
    groups: OnceLock<Vec<Gid>>,
}

impl Identity {
    fn new(name: String, uid: Uid, gid: Gid) -> Self {
        Identity { name, uid, gid, groups: OnceLock::new() }
    }

    /// Looks a user up.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn of(name: &str) -> Result<Self, StartError> {
        match User::from_name(name) {
            Ok(Some(user)) => Ok(Identity::new(user.name, user.uid, user.gid)),
            Ok(None) => Err(StartError(format!(
                "there is no user '{name}' (-U, <user>): make one with `adduser --system --group {name}`"
            ))),
            Err(error) => Err(StartError(format!("cannot look up the user '{name}' (-U, <user>): {error}"))),
        }
    }

    /// Whom a tool becomes that works in the server's directory: for root whoever has the database, or else the directory,
    /// whatever jabber.xml says, for files of another's there would be in the server's way, and its user could lead root's
    /// hand by a link. `None` where that is root, or the tool is run by somebody else and jabber.xml names nobody.
    ///
    /// # Errors
    /// `<user>` names nobody.
    pub fn of_server(config: &Config) -> Result<Option<Self>, StartError> {
        let named = || config.user.as_deref().map(Identity::of).transpose();
        if !is_root() {
            return named();
        }
        let database = config.spool.join(accounts::DATABASE);
        let there = [database.symlink_metadata(), config.spool.metadata()].into_iter().find_map(Result::ok);
        let Some(owner) = there.filter(|owner| owner.uid() != 0) else { return named() };
        let (uid, gid) = (Uid::from_raw(owner.uid()), Gid::from_raw(owner.gid()));
        Ok(Some(match User::from_uid(uid) {
            Ok(Some(user)) => Identity::new(user.name, user.uid, user.gid),
            _ => Identity::new(uid.to_string(), uid, gid),
        }))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its user and group numbers, for files that it shall own.
    pub fn ids(&self) -> (u32, u32) {
        (self.uid.as_raw(), self.gid.as_raw())
    }

    /// Is it us?
    pub fn is_own(&self) -> bool {
        geteuid() == self.uid
    }

    /// Does something with this user's rights, and comes back to be root: what a user may do, no look at modes tells for sure
    /// (access lists, disks mounted read-only). The real user stays root meanwhile, so nobody else can signal us.
    ///
    /// # Errors
    /// We are not root, or the system refuses; after a refused way back we stay this user.
    pub fn lend<T>(&self, work: impl FnOnce() -> T) -> Result<T, StartError> {
        if self.is_own() {
            return Ok(work());
        }
        let refused = |error| StartError(format!("cannot do it as the user '{}': {error}", self.name));
        let (group, groups) = (getegid(), getgroups().map_err(refused)?);
        let theirs = match self.groups.get() {
            Some(known) => known,
            None => {
                let name = CString::new(self.name.as_str()).unwrap_or_default();
                let asked = getgrouplist(&name, self.gid).map_err(refused)?;
                self.groups.get_or_init(|| asked)
            }
        };
        setgroups(theirs).map_err(refused)?;
        let lent = setegid(self.gid).and_then(|()| seteuid(self.uid));
        let done = lent.map(|()| work());
        seteuid(Uid::from_raw(0)).and_then(|()| setegid(group)).and_then(|()| setgroups(&groups)).map_err(refused)?;
        done.map_err(refused)
    }

    /// Becomes this user, for ever.
    ///
    /// # Errors
    /// We are somebody else, and not root; or the system refuses.
    pub fn assume(&self) -> Result<(), StartError> {
        let refused = |what: &str, error: nix::Error| {
            StartError(format!("cannot become the user '{}': {what}: {error}", self.name))
        };
        if !is_root() {
            if geteuid() == self.uid {
                return Ok(());
            }
            return Err(StartError(format!(
                "cannot become the user '{}' (-U, <user>): start as root, or as that user",
                self.name
            )));
        }
        let name = CString::new(self.name.as_str()).unwrap_or_default();
        initgroups(&name, self.gid).map_err(|error| refused("initgroups", error))?;
        setgid(self.gid).map_err(|error| refused("setgid", error))?;
        setuid(self.uid).map_err(|error| refused("setuid", error))?;
        if !self.uid.is_root() && setuid(Uid::from_raw(0)).is_ok() {
            return Err(StartError(format!("cannot become the user '{}': the way back to root is open", self.name)));
        }
        Ok(())
    }
}

/// Are we root?
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// Raises the number of files we may have open to what the system allows, and tells it.
pub fn raise_open_files() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 1024 };
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_looked_up() {
        let root = Identity::of("root").unwrap();
        assert_eq!((root.name(), root.ids()), ("root", (0, 0)));
        let error = Identity::of("no-such-user-here").unwrap_err();
        assert!(error.0.contains("there is no user 'no-such-user-here'"), "{error}");
    }

    #[test]
    fn who_is_not_root_stays_who_they_are() {
        if is_root() {
            return;
        }
        assert!(Identity::of("root").unwrap().assume().is_err());
        assert!(Identity::of("root").unwrap().lend(|| ()).is_err());
    }
}
