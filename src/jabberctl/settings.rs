//! How the package starts the server: what /etc/default/jabber and /etc/jabber/jabber.cfg give to jabberd counts for
//! jabberctl as well, or it would look at another host, another database, another socket.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use jabber::config::CommandLine;

use super::Failure;
use super::line::Line;

/// The settings of the init script, and jabberd 1.4's, which are read in this order.
const FILES: [&str; 2] = ["/etc/default/jabber", "/etc/jabber/jabber.cfg"];

/// Both are fragments for a shell; the arguments are put together as the init script does it.
const SCRIPT: &str = r#"
DAEMON_ARGS= JABBER_HOSTNAME= JABBER_SPOOL= JABBER_USER=jabber
for file; do
    [ ! -r "$file" ] || . "$file" >/dev/null 2>&1
done
set -f
set -- $DAEMON_ARGS -U "$JABBER_USER" ${JABBER_HOSTNAME:+-h "$JABBER_HOSTNAME"} ${JABBER_SPOOL:+-s "$JABBER_SPOOL"}
printf '%s\0' "$@"
"#;

/// The command line of the server that is meant: with `-c FILE` one of which nothing else is known, or else the package's.
pub(super) fn server(line: &Line) -> Result<CommandLine, Failure> {
    match &line.config {
        Some(file) => Ok(CommandLine { config: Some(file.clone()), ..CommandLine::default() }),
        None => of(FILES.map(Path::new)),
    }
}

fn of(files: [&Path; 2]) -> Result<CommandLine, Failure> {
    if !files.iter().any(|file| file.exists()) {
        return Ok(CommandLine::default());
    }
    let shown = files.map(|file| file.display().to_string()).join(" or ");
    let mut shell = Command::new("/bin/sh");
    let output = shell.args(["-c", SCRIPT, "sh"]).args(files).stdin(Stdio::null()).stderr(Stdio::null()).output();
    let said = match output {
        Ok(output) if output.status.success() => output.stdout,
        Ok(_) => {
            let text = format!("{shown} ends the shell that reads it");
            return Err(Failure::failed(text).remedy("it may set variables only; or name the configuration: -c FILE"));
        }
        Err(error) => {
            return Err(Failure::failed(format!("no shell can be started to read {shown}: {error}"))
                .remedy("name the configuration: -c FILE"));
        }
    };
    let arguments = said.split(|byte| *byte == 0).filter(|argument| !argument.is_empty());
    let given = CommandLine::parse(arguments.map(|argument| OsString::from_vec(argument.to_vec())));
    let given = given.map_err(|error| {
        let why = error.0;
        Failure::failed(format!("{shown} gives jabberd what it does not take: {why}"))
            .remedy("correct that file; or name the configuration: -c FILE")
    })?;
    // What to do is ours to say.
    Ok(CommandLine {
        config: given.config,
        home: given.home,
        user: given.user,
        include: given.include,
        flags: given.flags,
        ..CommandLine::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_s_settings_count() {
        let directory = std::env::temp_dir().join(format!("jabberctl-settings-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let (default, old) = (directory.join("default"), directory.join("jabber.cfg"));
        let read = || of([&default, &old]);
        assert_eq!(read().unwrap(), CommandLine::default());
        std::fs::write(&default, "echo noise\nDAEMON_ARGS='-D -c /srv/jabber.xml -s /not/here'\n").unwrap();
        std::fs::write(&old, "JABBER_HOSTNAME=chat.test\nJABBER_SPOOL='/srv/a spool'\n[ -r /nowhere ] && . /nowhere\n")
            .unwrap();
        let given = read().unwrap();
        assert_eq!((given.config_file().as_path(), given.debug), (Path::new("/srv/jabber.xml"), false));
        assert_eq!(given.user.as_deref(), Some("jabber"));
        let flag = |letter: &str| given.flags.get(letter).map(String::as_str);
        assert_eq!((flag("h"), flag("s")), (Some("chat.test"), Some("/srv/a spool")));
        std::fs::write(&old, "exit 3\n").unwrap();
        assert!(read().unwrap_err().to_string().contains("ends the shell"));
        std::fs::write(&old, "DAEMON_ARGS=--nonsense\n").unwrap();
        assert!(read().unwrap_err().to_string().contains("--nonsense"));
        std::fs::remove_dir_all(directory).unwrap();
    }
}
