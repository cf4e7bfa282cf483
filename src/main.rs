//! jabberd: arguments, configuration, log, store, listen, drop root, run.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use jabber::admin::{Outside, Told};
use jabber::config::cmdline::{Action, HELP};
use jabber::config::{CommandLine, Config, Listener, ListenerKind, Severity};
use jabber::daemon::accounts;
use jabber::daemon::authorities;
use jabber::daemon::background::{self, Side, Waiting};
use jabber::daemon::certificates::Keeper;
use jabber::daemon::control;
use jabber::daemon::importing;
use jabber::daemon::log::Log;
use jabber::daemon::pidfile::PidFile;
use jabber::daemon::privileges::{self, Identity};
use jabber::daemon::stanza_files::StanzaFiles;
use jabber::daemon::{StartError, notify, rehearsal, signals, socket};
use jabber::net::clock::{Clock, Dice};
use jabber::net::control::Allowed;
use jabber::net::disk::Durable;
use jabber::net::dns::files::Files;
use jabber::net::event_loop::{Parts, Reloaded};
use jabber::net::listener::{self, Opened};
use jabber::net::tls::Settings;
use jabber::net::{Bounds, EventLoop, Signals, Surroundings};
use jabber::server::{Server, Word};
use jabber::store::disk::{Disk, WalBounds};
use jabber::store::{Store, Tick};
use jabber::stream::certificate::{Authorities, Trust};
use jabber::xmpp::Now;

/// Files that we make are nobody else's to read.
const UMASK: u32 = 0o027;
/// The lines about the server itself.
const INTERNAL: &str = jabber::config::LogSink::INTERNAL;

fn main() -> ExitCode {
    let line = match CommandLine::parse(std::env::args_os().skip(1)) {
        Ok(line) => line,
        Err(error) => return refuse(&error.to_string()),
    };
    match line.action {
        Action::Version => return print(concat!("jabberd ", env!("CARGO_PKG_VERSION"), "\n")),
        Action::Help => return print(HELP),
        Action::Run => signals::hold_back(),
        Action::Test | Action::GiveSockets => {}
    }
    if let Some(home) = &line.home {
        if let Err(error) = std::env::set_current_dir(home) {
            say(&format!("cannot change to {} (-H): {error}", home.display()));
        }
    }
    let config = match Config::load(&line.config_file(), &line) {
        Ok(config) => config,
        Err(error) => return refuse(&error.to_string()),
    };
    if line.action == Action::Test {
        return test(&config);
    }
    if line.action == Action::GiveSockets {
        return control::give(&config).map_or_else(|error| refuse(&error.to_string()), |()| ExitCode::SUCCESS);
    }
    let mut waiting = None;
    // Deviation: 1.4's -D wrote to the terminal, so it kept -B from taking effect; ours writes to the log.
    if line.background {
        match background::split() {
            Ok(Side::Parent(code)) => return if code == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE },
            Ok(Side::Child(parent)) => waiting = Some(parent),
            Err(error) => return refuse(&error.to_string()),
        }
    }
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(UMASK));
    let log = Log::new();
    Log::install(&log, config.debug || line.debug);
    report_panics();
    match start(line, config, &log, waiting) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!(target: INTERNAL, "{error}");
            if log.shows_alerts_on_stderr() { ExitCode::FAILURE } else { refuse(&error.to_string()) }
        }
    }
}

/// `--test`: what was read, what keeps a server from starting, and what could not be looked at.
fn test(config: &Config) -> ExitCode {
    let printed = print(&config.report());
    let found = rehearsal::rehearse(config);
    found.unseen.iter().for_each(|what| say(&format!("jabberd: not looked at: {what}")));
    for problem in &found.problems {
        // What is wrong in jabber.xml tells its remedy itself.
        match problem.text.contains(&problem.remedy) {
            true => say(&format!("jabberd: {}", problem.text)),
            false => say(&format!("jabberd: {}; {}", problem.text, problem.remedy)),
        }
    }
    if found.problems.is_empty() { printed } else { ExitCode::FAILURE }
}

/// A start that failed: the reason on standard error, and 1.
fn refuse(why: &str) -> ExitCode {
    say(&format!("jabberd: {why}"));
    ExitCode::FAILURE
}

fn say(text: &str) {
    // A closed standard error leaves nobody to tell.
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// What must be had while we are still root.
struct Privileged {
    signals: Signals,
    ports: Vec<Opened>,
    /// Ports that nobody asked for and that cannot be had, and why.
    missing: Vec<(Listener, String)>,
    pidfile: Option<PidFile>,
    keeper: Keeper,
    settings: Arc<Settings>,
    trust: Authorities,
    control: Option<jabber::net::control::Opened>,
    metrics: Option<jabber::net::control::Opened>,
    files: u64,
}

fn prepare(config: &Config, identity: Option<&Identity>) -> Result<Privileged, StartError> {
    let files = privileges::raise_open_files();
    if files < 1024 {
        log::warn!(target: INTERNAL, "only {files} files may be open at once: raise LimitNOFILE, or ulimit -n");
    }
    // Who reads our number in the pid file may send them at once.
    let signals = signals::listen().map_err(|error| StartError(format!("cannot take signals: {error}")))?;
    let pidfile = config.pidfile.as_deref().map(PidFile::create).transpose()?;
    // Before the ports: who sees that a port is open may ask jabberctl at once.
    accounts::make_data_directory(&config.spool, identity)?;
    let (control, metrics) = (control::open(config, identity), control::open_metrics(config, identity)?);
    let (mut ports, mut missing) = (Vec::new(), Vec::new());
    for wanted in &config.listeners {
        match listener::open(&Arc::new(wanted.clone())) {
            Ok(opened) => ports.extend(opened),
            Err(refused) if wanted.is_optional => missing.push((wanted.clone(), refused.to_string())),
            Err(refused) => return Err(StartError(refused.to_string())),
        }
    }
    let owner = identity.filter(|_| privileges::is_root()).map(Identity::ids);
    let (keeper, settings) = Keeper::load(config, owner)?;
    let trust = authorities::load(config)?;
    Ok(Privileged { signals, ports, missing, pidfile, keeper, settings, trust, control, metrics, files })
}

fn start(line: CommandLine, config: Config, log: &Arc<Log>, waiting: Option<Waiting>) -> Result<(), StartError> {
    let identity = config.user.as_deref().map(Identity::of).transpose()?;
    let prepared = prepare(&config, identity.as_ref());
    // The logs belong to the server's user, so they are opened by it, before anything that failed is told.
    let dropped = match &identity {
        Some(identity) => identity.assume(),
        None => Ok(()),
    };
    log.configure(&config.logs)?;
    let mut privileged = prepared?;
    dropped?;
    log::info!(target: INTERNAL, "initializing server");
    if privileges::is_root() {
        log::warn!(target: INTERNAL, "running as root: name a user in jabber.xml (<user>) or with -U");
    }
    tell_notices(&config, &line);
    privileged.keeper.look_again_as_user();
    let background = waiting.is_some();
    let mut config = config;
    for (wanted, why) in &privileged.missing {
        log::warn!(target: INTERNAL, "{why}; there is no proxy for file transfers (mod_proxy65)");
        config.without_proxy65_at(wanted);
    }
    let config = Arc::new(config);
    let path = config.spool.join(accounts::DATABASE);
    let Some(mut store) = importing::open(&path, &privileged.signals.terminate)? else { return Ok(()) };
    let disk = Disk::open(&store, WalBounds::default()).map_err(|error| StartError(error.to_string()))?;
    if !importing::at_start(&config, &line, &mut store, &disk, &privileged.signals.terminate)? {
        return Ok(());
    }
    let mut event_loop = assemble(&config, line, log, privileged, (store, disk))?;
    notify::tell(notify::READY);
    if let Some(waiting) = waiting {
        waiting.done();
    }
    if background {
        log.leave_stderr();
    }
    event_loop.run().map_err(|error| StartError(format!("stopped: {error}")))
}

/// Store, server and loop, from what was prepared.
fn assemble(
    config: &Arc<Config>,
    line: CommandLine,
    log: &Arc<Log>,
    privileged: Privileged,
    (store, disk): (Store, Disk),
) -> Result<EventLoop<Server>, StartError> {
    let disk: Arc<dyn Durable> = Arc::new(disk);
    let clock = Clock::new();
    let mut engine = Server::new(Arc::clone(config), store, Box::new(Dice::new()), clock.now())
        .map_err(|error| StartError(error.to_string()))?;
    let Privileged { signals, ports, pidfile, keeper, settings, trust, control, metrics, files, .. } = privileged;
    engine.set_trust(Box::new(trust));
    engine.set_open_files_max(files);
    let served: Vec<String> = ports.iter().map(|port| port.address.to_string()).collect();
    let hosts: Vec<&str> = config.hosts.iter().map(|host| host.name.as_str()).collect();
    log::info!(target: INTERNAL, "serving {} on {}", hosts.join(", "), served.join(", "));
    let surroundings = Daemon {
        opened: ports.iter().map(|port| (*port.wanted).clone()).collect(),
        line,
        log: Arc::clone(log),
        config: Arc::clone(config),
        stanza_files: StanzaFiles::new(config),
        keeper,
        renewed: None,
        trust: None,
        sockets: None,
        left_out_at: None,
        _pidfile: pidfile,
    };
    EventLoop::new(Parts {
        engine,
        clock,
        bounds: Bounds::new(&config.limits, files),
        config: Arc::clone(config),
        files,
        unacknowledged: socket::unacknowledged,
        surroundings: Box::new(surroundings),
        signals,
        settings: Some(settings),
        ports,
        control,
        metrics,
        resolver: Files::default(),
        disk: Some(disk),
    })
    .map_err(|error| StartError(format!("cannot start the loop: {error}")))
}

/// What the admin should know of the configuration.
fn tell_notices(config: &Config, line: &CommandLine) {
    for warning in &line.warnings {
        log::warn!(target: INTERNAL, "{warning}");
    }
    for notice in &config.notices {
        match notice.severity {
            Severity::Warning => log::warn!(target: INTERNAL, "{notice}"),
            Severity::Notice => log::info!(target: INTERNAL, "{notice}"),
        }
    }
}

/// What a new configuration changes only at the next start: we are not root any more, and the data stay where they are.
fn what_waits(old: &Config, new: &Config) -> Vec<String> {
    let ports = |config: &Config| -> Vec<_> {
        config.listeners.iter().map(|listener| (listener.kind, listener.address, listener.port)).collect()
    };
    let path = |config: &Config| config.metrics_socket.as_ref().map(|socket| socket.path.clone());
    let all = [
        (ports(old) != ports(new), "the ports"),
        (old.spool != new.spool, "the data directory"),
        (old.user != new.user, "the user"),
        (old.pidfile != new.pidfile, "the pid file"),
        (old.control_socket() != new.control_socket(), "the control socket"),
        (path(old) != path(new), "the socket of <metrics>"),
    ];
    let changed = all.into_iter().filter(|(changed, _)| *changed);
    changed.map(|(_, what)| format!("{what} cannot change while the server runs: restart it")).collect()
}

/// What the loop needs of the process around it.
struct Daemon {
    line: CommandLine,
    /// The ports that were opened at the start.
    opened: Vec<Listener>,
    log: Arc<Log>,
    /// The configuration of the start: some of it stays in force until the next one.
    config: Arc<Config>,
    stanza_files: StanzaFiles,
    keeper: Keeper,
    /// Settings that came with the last reload.
    renewed: Option<Arc<Settings>>,
    /// Authorities that came with the last reload.
    trust: Option<Authorities>,
    /// When the log has to tell of lines that were left out.
    left_out_at: Option<u64>,
    /// Who may use the control socket and that of `<metrics>` since the last reload.
    sockets: Option<(Allowed, Option<Allowed>)>,
    /// Removed when the loop is dropped.
    _pidfile: Option<PidFile>,
}

impl Daemon {
    /// Who the server is to be; the user of the start stays until the next one.
    fn identity(&self) -> Option<Identity> {
        self.config.user.as_deref().and_then(|name| Identity::of(name).ok())
    }

    /// What needs a port that was not opened at the start is not there. Returns what that is.
    fn keep_to_ports(&self, config: &mut Config) -> Vec<String> {
        let place = |listener: &Listener| (listener.kind, listener.address, listener.port);
        let is_closed = |wanted: &&Listener| {
            wanted.kind == ListenerKind::Bytestreams && !self.opened.iter().any(|opened| place(opened) == place(wanted))
        };
        let closed: Vec<Listener> = config.listeners.iter().filter(is_closed).cloned().collect();
        let mut missing = Vec::new();
        for wanted in closed {
            let port = wanted.port;
            missing.push(format!("file transfers need port {port}, which opens at the next start: mod_proxy65 is off"));
            config.without_proxy65_at(&wanted);
        }
        missing
    }

    /// Takes over a configuration. Returns what of it is not in force.
    fn take_over(&mut self, config: &Arc<Config>, mut not_yet: Vec<String>) -> Vec<String> {
        not_yet.extend(what_waits(&self.config, config));
        not_yet.iter().for_each(|text| log::warn!(target: INTERNAL, "{text}"));
        let mut failed = Vec::new();
        if let Err(error) = self.log.configure(&config.logs) {
            failed.push(format!("{error}; the logs stay as they were"));
        }
        self.log.set_debug(config.debug || self.line.debug);
        match authorities::load(config) {
            Ok(trust) => self.trust = Some(trust),
            Err(error) => failed.push(format!("{error}; those loaded before stay trusted")),
        }
        let identity = config.user.as_deref().and_then(|name| Identity::of(name).ok());
        match control::renew(config, identity.as_ref()) {
            Ok(renewed) => self.sockets = Some(renewed),
            Err(why) => failed.push(format!("{why}; the sockets stay as they were")),
        }
        failed.iter().for_each(|text| log::error!(target: INTERNAL, "{text}"));
        self.renewed = self.keeper.reconfigure(config);
        self.stanza_files.reload(config);
        not_yet.into_iter().chain(failed).chain(self.keeper.problems()).collect()
    }
}

impl Surroundings for Daemon {
    fn reload(&mut self) -> Result<Reloaded, String> {
        notify::tell_reloading();
        self.log.reopen();
        log::info!(target: INTERNAL, "reloading configuration");
        let reloaded = match Config::load(&self.line.config_file(), &self.line) {
            Ok(mut config) => {
                let not_yet = self.keep_to_ports(&mut config);
                let config = Arc::new(config);
                tell_notices(&config, &self.line);
                let not_in_force = self.take_over(&config, not_yet);
                Ok(Reloaded { config, not_in_force })
            }
            Err(error) => {
                // 1.4's words, which people grep for. Deviation: it said besides that it resets something; nothing is reset.
                log::error!(target: INTERNAL,
                    "Failed to reload config! The one read before stays in force. {}", error.in_one_line());
                Err(error.to_string())
            }
        };
        notify::tell(notify::READY);
        reloaded
    }

    fn renewed_tls(&mut self) -> Option<Arc<Settings>> {
        // What the check finds is newer.
        let renewed = self.renewed.take();
        self.keeper.check().or(renewed)
    }

    fn renewed_trust(&mut self) -> Option<Box<dyn Trust>> {
        self.trust.take().map(|trust| Box::new(trust) as Box<dyn Trust>)
    }

    fn control_again(&mut self) -> Result<jabber::net::control::Opened, String> {
        control::open_control(&self.config, self.identity().as_ref())
    }

    fn metrics_again(&mut self) -> Result<jabber::net::control::Opened, String> {
        let opened = control::open_metrics(&self.config, self.identity().as_ref()).map_err(|error| error.0)?;
        opened.ok_or_else(|| "<metrics> has no socket".to_owned())
    }

    fn renewed_sockets(&mut self) -> Option<(Allowed, Option<Allowed>)> {
        self.sockets.take()
    }

    fn outside(&mut self, what: Outside) -> Told {
        match what {
            Outside::LogLevel(change) => {
                if let Some((target, level)) = change {
                    self.log.set_level(target, level);
                }
                return Told::LogLevels(self.log.levels());
            }
            Outside::Certificates => return Told::Certificates(self.keeper.shown()),
            Outside::Reload => {}
        }
        Told::Done
    }

    fn certificates(&self) -> Vec<(String, i64)> {
        self.keeper.ends()
    }

    fn alive(&mut self) {
        notify::tell(notify::ALIVE);
    }

    fn words(&mut self, now: Now) -> Vec<Word> {
        self.left_out_at = self.log.tell_left_out(false).map(|wait| now.after(wait));
        let mut words = self.log.take_letters();
        words.extend(self.stanza_files.look(now.monotonic_millis));
        words
    }

    fn words_kept(&mut self, tick: Option<Tick>) {
        self.stanza_files.kept(tick);
    }

    fn words_lost(&mut self) {
        self.stanza_files.lost();
    }

    fn words_durable(&mut self, tick: Tick) {
        self.stanza_files.durable(tick);
    }

    fn next_words_millis(&self) -> Option<u64> {
        let letters = self.log.has_letters().then_some(0);
        letters.into_iter().chain(self.stanza_files.next_millis()).chain(self.left_out_at).min()
    }

    fn stopping(&mut self) {
        notify::tell(notify::STOPPING);
        self.log.tell_left_out(true);
        log::info!(target: INTERNAL, "shutting down server");
    }
}

/// A bug becomes one line in the log, not a page on a terminal that nobody looks at.
fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let text =
            payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let place = panic.location().map_or_else(String::new, |place| format!(" at {}:{}", place.file(), place.line()));
        log::error!(target: INTERNAL, strangers = "panics"; "panic{place}: {}", text.unwrap_or("no text"));
    }));
}
