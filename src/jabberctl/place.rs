//! Which database is meant: that of jabber.xml, the one that `--database` names, or that of the server that runs. A jabber.xml
//! that broke in the night must not stand between the admin and a backup: copying, exporting and restoring need to know where
//! the database is, and nothing else. An import asks which hosts are served and which names are components, an account made
//! without a server for its host, and both for the user whose files they write: these read the file, or do nothing.

use std::path::{Path, PathBuf};

use jabber::admin::Command;
use jabber::config::{Config, DEFAULT_SPOOL};
use jabber::daemon::accounts::DATABASE;

use super::line::Line;
use super::reach::{self, Unreached};
use super::{Failure, displaced, settings, talk};

/// A database, and what else is known of its server.
pub(super) struct Place {
    pub(super) database: PathBuf,
    /// What jabber.xml says, or why that is not known.
    pub(super) config: Result<Config, Failure>,
    /// Whose word it is, if it is not jabber.xml's or the admin's.
    pub(super) note: Option<String>,
}

/// The configuration of the server that is meant.
pub(super) fn config(line: &Line) -> Result<Config, Failure> {
    let given = settings::server(line)?;
    Config::load(&given.config_file(), &given).map_err(|error| {
        Failure::unreachable(error.to_string())
            .remedy("repair it (jabberctl check config looks at it again), or name another one with -c FILE")
    })
}

/// The database for a command that works on it.
pub(super) fn of(line: &Line, command: &Command) -> Result<Place, Failure> {
    let config = config(line);
    match (&line.database, config) {
        (Some(directory), _) if directory.is_dir() => {
            Err(Failure::usage(format!("{} is a directory, and no database", directory.display()))
                .remedy(format!("name the database in it: {}", directory.join(DATABASE).display())))
        }
        (Some(database), config) => Ok(Place { database: database.clone(), config, note: None }),
        (None, Ok(config)) => Ok(Place { database: config.spool.join(DATABASE), config: Ok(config), note: None }),
        (None, Err(failure)) if command.name == "import" => Err(failure),
        (None, Err(failure)) => by_server(line, command, failure),
    }
}

/// A server that runs goes on with the configuration that it has read, and knows where its database is.
fn by_server(line: &Line, command: &Command, failure: Failure) -> Result<Place, Failure> {
    let database = told(line);
    let name = command.name;
    if let Some(database) = database.clone().filter(|_| name != "restore") {
        let why = failure.text.lines().next().unwrap_or_default();
        let note = format!("{why}; the database is that of the server that runs: {}", database.display());
        return Ok(Place { database, config: Err(failure), note: Some(note) });
    }
    let way_out = match &database {
        Some(database) => {
            format!("stop the server (/etc/init.d/jabber stop), then: jabberctl --database {}", database.display())
        }
        None => {
            let usual = Path::new(DEFAULT_SPOOL).join(DATABASE);
            let known = if usual.exists() { usual.display().to_string() } else { "FILE".to_owned() };
            format!("name the database: jabberctl --database {known}")
        }
    };
    // A restore is for a server that is stopped.
    let ask = if name == "restore" { "" } else { "; or name a server's socket: --socket FILE" };
    let remedy = format!("repair it; or {way_out} {name} FILE{ask}");
    Err(Failure { remedy, ..failure })
}

/// Where the server that runs says that its database is.
pub(super) fn told(line: &Line) -> Option<PathBuf> {
    let status = talk::status(line)?;
    status.get("database_file")?.as_str().map(PathBuf::from).filter(|path| path.is_absolute())
}

impl Place {
    /// A server that runs may hold another file than the one of that name: a copy of the latter would be none of its data.
    pub(super) fn holds(&self, line: &Line) -> Result<(), Failure> {
        let process = match reach::peer(line, line.timeout.unwrap_or(talk::LOOK_PATIENCE)) {
            Ok(process) | Err(Unreached { process: Some(process), .. }) => process,
            Err(_) => return Ok(()),
        };
        // A server with another database has no say in this one's.
        let is_another = line.database.is_some() && told(line).as_deref() != Some(self.database.as_path());
        match displaced::look(process, &self.database).filter(|_| !is_another) {
            Some((text, remedy)) => Err(Failure::failed(text).remedy(remedy)),
            None => Ok(()),
        }
    }

    /// Is this name one of the server's own files, or in a directory that it reads? Whoever put a copy there would have it
    /// read as something else, written into, or removed.
    pub(super) fn refuse_own(&self, file: &Path) -> Result<(), Failure> {
        let Ok(config) = &self.config else { return Ok(()) };
        let file = whole(file);
        let own = own_files(config).into_iter().find(|(own, _)| whole(own) == file);
        let within = own_directories(config).into_iter().find(|(own, _)| file.parent() == Some(&whole(own)));
        match own.or(within) {
            Some((own, what)) => Err(Failure::failed(format!("{} is {what} of the server", own.display()))
                .remedy("name another file: nothing was changed")),
            None => Ok(()),
        }
    }
}

/// With the links of its directory followed.
fn whole(file: &Path) -> PathBuf {
    let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    match (absolute.parent().and_then(|parent| parent.canonicalize().ok()), absolute.file_name()) {
        (Some(parent), Some(name)) => parent.join(name),
        _ => absolute,
    }
}

fn own_files(config: &Config) -> Vec<(PathBuf, &'static str)> {
    use jabber::config::LogTarget;
    let logs = config.logs.iter().flat_map(|sink| &sink.targets).filter_map(|target| match target {
        LogTarget::File { path, .. } => Some((path.clone(), "a log")),
        _ => None,
    });
    let sources: Vec<_> = config.hosts.iter().flat_map(|host| config.certificates_of(&host.name)).collect();
    let sources = sources.iter().chain(&config.certificates);
    let keys = sources.flat_map(|source| {
        [(source.certificate.clone(), "a certificate"), (source.key.clone(), "the key of a certificate")]
    });
    let sockets = [Some(config.control_socket()), config.metrics_socket.as_ref().map(|socket| socket.path.clone())];
    let files = config.files.iter().chain([&config.file]).map(|path| (path.clone(), "the configuration"));
    let pidfile = config.pidfile.iter().map(|path| (path.clone(), "the pid file"));
    let authorities = config.authorities.iter().map(|authority| (authority.path.clone(), "the authorities' file"));
    let sockets = sockets.into_iter().flatten().map(|path| (path, "a socket"));
    files.chain(pidfile).chain(logs).chain(keys).chain(authorities).chain(sockets).collect()
}

/// What lies in these is read as part of the configuration, or as stanzas, and removed then.
fn own_directories(config: &Config) -> Vec<(PathBuf, &'static str)> {
    use jabber::config::Link;
    let parts = config.file.parent().map(|parent| (parent.join("conf.d"), "the directory of more configuration"));
    let stanzas = config.components.iter().filter_map(|component| match &component.link {
        Link::Directory(path) => Some((path.clone(), "a directory of stanzas")),
        _ => None,
    });
    parts.into_iter().chain(stanzas).collect()
}
