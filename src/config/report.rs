//! What `jabberd --test` prints: the configuration as it was understood.

use std::fmt::Write as _;

use super::components::Link;
use super::error::Severity;
use super::listen::{Listener, ListenerKind, StartTls};
use super::logs::{LogSink, LogTarget};
use super::{Block, Config, Host};

impl Config {
    /// The configuration for a person: hosts, ports, certificates, logs, data, and everything noticed.
    pub fn report(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = self.write_report(&mut out);
        out
    }

    fn write_report(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "Configuration: {}", self.file.display())?;
        for host in &self.hosts {
            self.write_host(out, host)?;
        }
        writeln!(out, "Ports")?;
        // Those of components stand with their addresses.
        for listener in self.listeners.iter().filter(|listener| listener.kind != ListenerKind::Component) {
            writeln!(out, "  {}", listener_line(listener))?;
        }
        for component in &self.components {
            writeln!(out, "Address {}: {}", component.hosts.join(", "), link_line(&component.link))?;
        }
        let mut blocks: Vec<&Block> = self.blocks.all().collect();
        blocks.sort_by(|one, other| one.domain.cmp(&other.domain));
        for Block { domain, subdomains, action } in blocks {
            let below = if *subdomains { " and all domains below it" } else { "" };
            writeln!(out, "Blocked:  {domain}{below} ({})", action.name())?;
        }
        if let Some(socket) = &self.metrics_socket {
            writeln!(out, "Metrics:  {}", socket.path.display())?;
        }
        writeln!(out, "Data:     {}", self.spool.display())?;
        writeln!(out, "User:     {}", self.user.as_deref().unwrap_or("the one who starts it"))?;
        if let Some(pidfile) = &self.pidfile {
            writeln!(out, "Pid file: {}", pidfile.display())?;
        }
        writeln!(out, "Logs")?;
        for sink in &self.logs {
            writeln!(out, "  {}", sink_line(sink))?;
        }
        self.write_notices(out)
    }

    fn write_host(&self, out: &mut String, host: &Host) -> std::fmt::Result {
        writeln!(out, "Host {}", host.name)?;
        let registration = match &host.register {
            None => "closed: accounts are not made from clients".to_owned(),
            Some(register) => {
                let rate = match self.registration_rate.accounts {
                    Some(accounts) => {
                        format!("{accounts} accounts in {} s from one address", self.registration_rate.seconds)
                    }
                    None => "without a limit".to_owned(),
                };
                let fields: Vec<&str> =
                    std::iter::once("username, password").chain(register.fields.iter().map(String::as_str)).collect();
                format!("open, {rate}; asks for {}", fields.join(", "))
            }
        };
        writeln!(out, "  registration: {registration}")?;
        writeln!(out, "  certificate:  the first of these that is there:")?;
        for source in self.certificates_of(&host.name) {
            let key = if source.key == source.certificate {
                String::new()
            } else {
                format!(" with {}", source.key.display())
            };
            writeln!(out, "                {}{key}", source.certificate.display())?;
        }
        let services: Vec<String> = self
            .services_of(&host.name)
            .map(|service| format!("{} ({})", service.name, service.kind.module()))
            .collect();
        if !services.is_empty() {
            writeln!(out, "  services:     {}", services.join(", "))?;
        }
        let admins: Vec<String> = host.admins.iter().map(|admin| admin.jid.to_string()).collect();
        if !admins.is_empty() {
            writeln!(out, "  admins:       {}", admins.join(", "))?;
        }
        for alias in self.aliases.iter().filter(|alias| alias.host == host.name) {
            writeln!(out, "  also for:     {}", alias.name.as_deref().unwrap_or("every name that is no host"))?;
        }
        Ok(())
    }

    fn write_notices(&self, out: &mut String) -> std::fmt::Result {
        for (severity, title) in [(Severity::Warning, "Warnings"), (Severity::Notice, "Notices")] {
            let mut of_kind = self.notices.iter().filter(|notice| notice.severity == severity).peekable();
            if of_kind.peek().is_some() {
                writeln!(out, "{title}")?;
            }
            for notice in of_kind {
                writeln!(out, "  {notice}")?;
            }
        }
        Ok(())
    }
}

fn listener_line(listener: &Listener) -> String {
    let address = listener.address.map_or("all addresses".to_owned(), |address| address.to_string());
    let what = match listener.kind {
        ListenerKind::C2s => "clients, TLS by STARTTLS, required",
        ListenerKind::C2sTls => "clients, TLS from the first byte",
        ListenerKind::S2s => "other servers",
        ListenerKind::S2sTls => "other servers, TLS from the first byte",
        ListenerKind::Component => "a component",
        ListenerKind::Metrics => "metrics, by HTTP",
        ListenerKind::Bytestreams => "file transfers",
    };
    let mut line = format!("{:<5} on {address}: {what}", listener.port);
    for rule in &listener.plain_logins {
        let networks: Vec<String> = rule.networks.iter().map(ToString::to_string).collect();
        let from = if networks.is_empty() { "everywhere".to_owned() } else { networks.join(", ") };
        let hidden = if rule.start_tls == StartTls::Hidden { ", STARTTLS hidden" } else { "" };
        line.push_str(&format!("; WITHOUT TLS from {from}{hidden}"));
    }
    line
}

fn link_line(link: &Link) -> String {
    match link {
        Link::Accept(accept) => {
            let on = accept.address.map_or("all addresses".to_owned(), |address| address.to_string());
            format!("a component that connects to port {} on {on}", accept.port)
        }
        Link::Connect(connect) => format!("a component at {} port {}", connect.address, connect.port),
        Link::Null => "swallows everything".to_owned(),
        Link::Unsubscribe(text) => format!("is gone: {text}"),
        Link::Directory(path) => format!("stanza files in {}", path.display()),
        Link::Bounce(why) => format!("answers with errors: {why}"),
    }
}

fn sink_line(sink: &LogSink) -> String {
    let types = if sink.types.is_empty() { "all other types".to_owned() } else { sink.types.join(", ") };
    let hosts = if sink.hosts.is_empty() { String::new() } else { format!(" of {}", sink.hosts.join(", ")) };
    let targets: Vec<String> = sink.targets.iter().map(target_text).collect();
    let targets = if targets.is_empty() { "nowhere".to_owned() } else { targets.join(", ") };
    format!("{types}{hosts} to {targets}")
}

fn target_text(target: &LogTarget) -> String {
    match target {
        LogTarget::File { path, .. } => path.display().to_string(),
        LogTarget::Stderr => "stderr".to_owned(),
        LogTarget::Syslog(facility) => format!("syslog ({facility})"),
        LogTarget::To(jid) => format!("messages to {jid}"),
    }
}
