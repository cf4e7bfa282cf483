//! What the server counts about itself, and how it is told: text in the OpenMetrics format.
//!
//! Counters are plain numbers that the server adds to where things happen, some nanoseconds each; all else is looked at
//! when it is asked for. What only the loop can measure, durations, it hands in ([`Measure`]).
//!
//! The names are an interface: dashboards and alarms are built on them (`etc/grafana/`).

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use super::connections::{Connection, Talk};
use super::{ConnectionId, DISK_FAILED, Output, Server, Timer};
use crate::config::LogSink;
use crate::http::{Request, Response};
use crate::router::LinkState;
use crate::xmpp::stream_error::StreamCondition;
use crate::xmpp::{Kind, Now, Stanza, ns};

/// The format's own name (OpenMetrics 1.0 §3.5.1).
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Different reasons that streams end for: they are words of ours and conditions of RFC 6120, so this is never reached.
const REASONS_MAX: usize = 100;

/// What the loop measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// One turn of the loop, without its sleep.
    Tick,
    /// The commit of a tick that wrote.
    Commit,
    /// From a tick's commit until it was on the disk.
    Durable,
}

/// Upper bounds of the histograms' buckets, in nanoseconds, and as they are written, in seconds.
const BUCKETS: [(u64, &str); 14] = [
    (50_000, "0.00005"),
    (100_000, "0.0001"),
    (250_000, "0.00025"),
    (500_000, "0.0005"),
    (1_000_000, "0.001"),
    (2_500_000, "0.0025"),
    (5_000_000, "0.005"),
    (10_000_000, "0.01"),
    (25_000_000, "0.025"),
    (50_000_000, "0.05"),
    (100_000_000, "0.1"),
    (250_000_000, "0.25"),
    (1_000_000_000, "1.0"),
    (5_000_000_000, "5.0"),
];

#[derive(Debug, Default)]
struct Histogram {
    buckets: [u64; BUCKETS.len()],
    count: u64,
    nanos: u64,
}

impl Histogram {
    fn add(&mut self, nanos: u64) {
        let place = BUCKETS.iter().position(|(most, _)| nanos <= *most);
        if let Some(bucket) = place.and_then(|place| self.buckets.get_mut(place)) {
            *bucket = bucket.saturating_add(1);
        }
        self.count = self.count.saturating_add(1);
        self.nanos = self.nanos.saturating_add(nanos);
    }
}

/// What is spoken on a connection, as far as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    Client,
    ServerIn,
    ServerOut,
    Component,
}

impl Side {
    const ALL: [Side; 4] = [Side::Client, Side::ServerIn, Side::ServerOut, Side::Component];

    /// None for what is no stream of XML.
    pub(super) fn of(talk: &Talk) -> Option<Side> {
        Some(match talk {
            Talk::Client(_) => Side::Client,
            Talk::Incoming(_) => Side::ServerIn,
            Talk::Outgoing(_) | Talk::Dialing(_) => Side::ServerOut,
            Talk::Component(_) | Talk::Calling(_) => Side::Component,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Side::Client => "client",
            Side::ServerIn => "server_in",
            Side::ServerOut => "server_out",
            Side::Component => "component",
        }
    }
}

const KINDS: [&str; 3] = ["message", "presence", "iq"];
const DIRECTIONS: [&str; 2] = ["in", "out"];

/// All that is counted.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    /// By side, direction and kind.
    stanzas: [[[u64; KINDS.len()]; DIRECTIONS.len()]; Side::ALL.len()],
    opened: [u64; Side::ALL.len()],
    closed: BTreeMap<(Side, &'static str), u64>,
    /// Errors in stanzas, by condition, in either direction.
    errors: BTreeMap<&'static str, u64>,
    logins_ok: u64,
    logins_failed: u64,
    links_up: u64,
    links_failed: u64,
    tick: Histogram,
    commit: Histogram,
    durable: Histogram,
    /// Hosts, and when their certificates end, in Unix seconds.
    certificates: Vec<(String, i64)>,
    /// Output of all connections that waited when somebody asked last.
    output_queued: u64,
}

/// The connections that ask for metrics: the one that came or said something last stands last.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    ids: Vec<ConnectionId>,
}

impl Watchers {
    /// It said something.
    pub(super) fn heard(&mut self, id: ConnectionId) {
        if let Some(place) = self.ids.iter().position(|other| *other == id) {
            self.ids.remove(place);
            self.ids.push(id);
        }
    }

    pub(super) fn leave(&mut self, id: ConnectionId) {
        self.ids.retain(|other| *other != id);
    }
}

/// How a stream ended that neither end closed: by the condition that the peer was told, if it was told any.
pub(super) fn how_lost(reason: &str) -> &'static str {
    if reason == DISK_FAILED { StreamCondition::InternalServerError.name() } else { "lost" }
}

fn add(number: &mut u64) {
    *number = number.saturating_add(1);
}

impl Metrics {
    pub(super) fn stanza(&mut self, side: Side, is_out: bool, stanza: &Stanza) {
        let kind = match stanza.kind() {
            Kind::Message(_) => 0,
            Kind::Presence(_) => 1,
            Kind::Iq(_) => 2,
        };
        let sides = self.stanzas.get_mut(side as usize).and_then(|side| side.get_mut(usize::from(is_out)));
        if let Some(number) = sides.and_then(|kinds| kinds.get_mut(kind)) {
            *number += 1;
        }
        if stanza.is_error() {
            self.error(stanza);
        }
    }

    fn error(&mut self, stanza: &Stanza) {
        let error = stanza.element().children().find(|child| child.name() == "error");
        let condition = error.and_then(|error| error.children().find(|child| child.ns() == ns::STANZA_ERRORS));
        // Only what the specification names: a peer could make up as many as it likes.
        let known = condition.and_then(|condition| crate::xmpp::Condition::from_name(condition.name()));
        add(self.errors.entry(known.map_or("other", |condition| condition.name())).or_default());
    }

    pub(super) fn opened(&mut self, side: Side) {
        if let Some(number) = self.opened.get_mut(side as usize) {
            add(number);
        }
    }

    pub(super) fn closed(&mut self, side: Side, reason: &'static str) {
        let reason = if self.closed.len() < REASONS_MAX { reason } else { "other" };
        add(self.closed.entry((side, reason)).or_default());
    }

    pub(super) fn login(&mut self, ok: bool) {
        add(if ok { &mut self.logins_ok } else { &mut self.logins_failed });
    }

    pub(super) fn link(&mut self, up: bool) {
        add(if up { &mut self.links_up } else { &mut self.links_failed });
    }
}

impl Server {
    /// The loop measured something.
    pub fn measured(&mut self, what: Measure, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        match what {
            Measure::Tick => self.metrics.tick.add(nanos),
            Measure::Commit => self.metrics.commit.add(nanos),
            Measure::Durable => self.metrics.durable.add(nanos),
        }
    }

    /// When the hosts' certificates end, in Unix seconds.
    pub fn set_certificates(&mut self, certificates: Vec<(String, i64)>) {
        self.metrics.certificates = certificates;
    }

    /// How much output waited just now.
    pub(super) fn set_output_queued(&mut self, bytes: u64) {
        self.metrics.output_queued = bytes;
    }

    /// Who watches came, by the port or by the socket. Any user of the machine may connect to the port: there is always room
    /// for one more, which has its answer in the turn after it asked, before anybody can take its place.
    pub(super) fn watcher_came(&mut self, now: Now, id: ConnectionId, peer: SocketAddr) {
        if self.is_stopping {
            return self.outputs.push(Output::Close { id });
        }
        let most = self.config.limits.metrics_clients_max;
        while self.watchers.ids.len() >= most.max(1) {
            let idle = self.watchers.ids.remove(0);
            self.end_connection(idle);
            log::warn!(target: LogSink::INTERNAL, scanners = "connections that ask for metrics", by:% = peer.ip();
                "{most} connections ask for metrics: for each further one that which said nothing for longest is closed; \
                 see who they are (ss -tnp), or raise <metrics-clients-max> of <limits> in jabber.xml"
            );
        }
        self.watchers.ids.push(id);
        self.connections.insert(id, Connection::new(Talk::Http(Box::default()), peer, now.monotonic_millis));
        self.timers.set(now.monotonic_millis.saturating_add(self.watcher_millis()), Timer::Login(id));
    }

    fn watcher_millis(&self) -> u64 {
        self.config.limits.metrics_seconds.saturating_mul(1_000)
    }

    /// Answers what was asked on an HTTP connection.
    pub(super) fn answer_http(&mut self, now: Now, id: ConnectionId) {
        loop {
            let Some(connection) = self.connections.get_mut(&id) else { return };
            connection.touch(id, &mut self.touched);
            let Talk::Http(talk) = &mut connection.talk else { return };
            let Some(request) = talk.next() else {
                if talk.is_over() {
                    self.end_connection(id);
                }
                return;
            };
            let response = self.http_response(now, &request);
            if let Some(Talk::Http(talk)) = self.connections.get_mut(&id).map(|connection| &mut connection.talk) {
                talk.answer(&response);
            }
        }
    }

    /// Nobody has asked anything for a while.
    pub(super) fn http_timed_out(&mut self, now: Now, id: ConnectionId) {
        let Some(connection) = self.connections.get(&id) else { return };
        let ends = connection.last_input_millis.saturating_add(self.watcher_millis());
        if now.monotonic_millis >= ends {
            return self.end_connection(id);
        }
        self.timers.set(ends, Timer::Login(id));
    }

    fn http_response(&self, now: Now, request: &Request) -> Response {
        if !matches!(request.method.as_str(), "GET" | "HEAD") {
            return Response::only_get();
        }
        match request.path.as_str() {
            "/metrics" => Response { content_type: CONTENT_TYPE, ..Response::text(self.exposition(now)) },
            // Who gets this has seen a turn of the loop: the server serves.
            "/health" if self.is_stopping => Response::unavailable("stopping\n"),
            "/health" => match self.commits.failing() {
                Some(failing) => Response::unavailable(format!(
                    "nothing can be kept, the database refuses to commit: {}\n",
                    failing.why
                )),
                None => match self.store.displaced() {
                    Some(error) => Response::unavailable(format!("what is kept will not be found again: {error}\n")),
                    None => Response::text("ok\n"),
                },
            },
            _ => Response::not_found(),
        }
    }

    fn exposition(&self, now: Now) -> String {
        let mut text = Text(String::with_capacity(8_192));
        self.of_streams(&mut text);
        self.of_loop(&mut text);
        self.of_process(now, &mut text);
        text.0.push_str("# EOF\n");
        text.0
    }

    fn of_streams(&self, text: &mut Text) {
        let metrics = &self.metrics;
        text.family("jabber_build", "info", "The release that runs");
        text.sample("jabber_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
        text.family("jabber_sessions", "gauge", "Clients that are logged in and have bound a resource");
        let mut sessions: HashMap<&str, u64> = HashMap::new();
        for (_, session) in self.router.sessions().all() {
            add(sessions.entry(session.jid().domain().as_str()).or_default());
        }
        for host in &self.config.hosts {
            let number = sessions.get(host.name.as_str()).copied().unwrap_or(0);
            text.sample("jabber_sessions", &[("host", &host.name)], number);
        }
        let mut open = [0_u64; Side::ALL.len()];
        for side in self.connections.values().filter_map(|connection| Side::of(&connection.talk)) {
            if let Some(number) = open.get_mut(side as usize) {
                add(number);
            }
        }
        text.family("jabber_streams", "gauge", "Connections by what is spoken on them");
        for (side, number) in Side::ALL.iter().zip(open) {
            text.sample("jabber_streams", &[("side", side.name())], number);
        }
        text.family("jabber_streams_opened", "counter", "Connections that were opened, by either end");
        for (side, number) in Side::ALL.iter().zip(metrics.opened) {
            text.sample("jabber_streams_opened_total", &[("side", side.name())], number);
        }
        text.family("jabber_streams_closed", "counter", "Streams that ended, by the reason");
        for ((side, reason), number) in &metrics.closed {
            text.sample("jabber_streams_closed_total", &[("side", side.name()), ("reason", reason)], *number);
        }
        text.family("jabber_stanzas", "counter", "Stanzas that came from peers and went to them");
        for (side, directions) in Side::ALL.iter().zip(metrics.stanzas) {
            for (direction, kinds) in DIRECTIONS.iter().zip(directions) {
                for (kind, number) in KINDS.iter().zip(kinds) {
                    let labels = [("side", side.name()), ("direction", direction), ("kind", kind)];
                    text.sample("jabber_stanzas_total", &labels, number);
                }
            }
        }
        text.family("jabber_stanza_errors", "counter", "Stanzas of type error in either direction, by condition");
        // Whoever counts needs the beginning, too.
        if metrics.errors.is_empty() {
            text.sample("jabber_stanza_errors_total", &[("condition", "other")], 0);
        }
        for (condition, number) in &metrics.errors {
            text.sample("jabber_stanza_errors_total", &[("condition", condition)], *number);
        }
        text.family("jabber_logins", "counter", "Logins of clients");
        text.sample("jabber_logins_total", &[("result", "ok")], metrics.logins_ok);
        text.sample("jabber_logins_total", &[("result", "failed")], metrics.logins_failed);
        text.family("jabber_links", "counter", "Attempts to reach other servers");
        text.sample("jabber_links_total", &[("result", "up")], metrics.links_up);
        text.sample("jabber_links_total", &[("result", "failed")], metrics.links_failed);
        let (mut waiting, mut failing) = (0_u64, 0_u64);
        for (_, state) in self.router.remotes().states() {
            match state {
                LinkState::Awaited(stanzas) => waiting = waiting.saturating_add(stanzas as u64),
                LinkState::Open => {}
                LinkState::Failed { .. } => add(&mut failing),
            }
        }
        text.family("jabber_remote_queue_stanzas", "gauge", "Stanzas that wait for a stream to another server");
        text.sample("jabber_remote_queue_stanzas", &[], waiting);
        text.family(
            "jabber_links_failing",
            "gauge",
            "Pairs of domains between which no stream could be opened of late",
        );
        text.sample("jabber_links_failing", &[], failing);
        text.family("jabber_output_queue_bytes", "gauge", "Output that waits for the disk, or for peers to read it");
        text.sample("jabber_output_queue_bytes", &[], metrics.output_queued);
        text.family("jabber_password_jobs", "gauge", "Password checks that wait for the helper thread");
        text.sample("jabber_password_jobs", &[], self.askers.len() as u64);
    }

    fn of_loop(&self, text: &mut Text) {
        let metrics = &self.metrics;
        for (name, help, histogram) in [
            ("jabber_tick_seconds", "Turns of the loop, without its sleep", &metrics.tick),
            ("jabber_commit_seconds", "Commits of turns that wrote", &metrics.commit),
            ("jabber_durable_seconds", "From a commit until it was on the disk", &metrics.durable),
        ] {
            text.histogram(name, help, histogram);
        }
        text.family(
            "jabber_commit_failures",
            "counter",
            "Commits that failed, and what was asked in those turns with them",
        );
        text.sample("jabber_commit_failures_total", &[], self.commits.failures());
    }

    fn of_process(&self, now: Now, text: &mut Text) {
        let size = self.store.size();
        text.family("jabber_database_bytes", "gauge", "The length of the database");
        text.sample("jabber_database_bytes", &[], size.database_bytes);
        text.family("jabber_database_log_bytes", "gauge", "The length of the database's write-ahead log");
        text.sample("jabber_database_log_bytes", &[], size.log_bytes);
        text.family("jabber_certificate_days", "gauge", "Days until a host's certificate ends; negative afterwards");
        for (host, ends) in &self.metrics.certificates {
            let seconds = ends.saturating_sub(i64::try_from(now.unix_seconds()).unwrap_or(i64::MAX));
            text.value("jabber_certificate_days", &[("host", host)], &format!("{:.2}", seconds as f64 / 86_400.0));
        }
        let started = now.unix_millis.saturating_sub(now.monotonic_millis.saturating_sub(self.started_millis));
        text.family("process_start_time_seconds", "gauge", "When the server started, in Unix seconds");
        text.value("process_start_time_seconds", &[], &format!("{:.3}", started as f64 / 1_000.0));
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        if let Some(kib) = status_kib(&status, "VmRSS:") {
            text.family("process_resident_memory_bytes", "gauge", "Memory that the process holds");
            text.sample("process_resident_memory_bytes", &[], kib.saturating_mul(1_024));
        }
        // One of them is the list itself.
        if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
            text.family("process_open_fds", "gauge", "Open files and sockets");
            text.sample("process_open_fds", &[], (files.count() as u64).saturating_sub(1));
        }
        text.family("process_max_fds", "gauge", "How many files and sockets may be open");
        text.sample("process_max_fds", &[], self.open_files_max);
    }
}

/// proc(5): a line of `status`, in kibibytes.
fn status_kib(status: &str, name: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

/// OpenMetrics 1.0 §3, as far as it is needed.
struct Text(String);

impl Text {
    /// What the samples after it are.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to memory does not fail.
        let _ = writeln!(self.0, "# TYPE {name} {kind}");
        for unit in ["seconds", "bytes"] {
            if name.ends_with(&format!("_{unit}")) {
                let _ = writeln!(self.0, "# UNIT {name} {unit}");
            }
        }
        let _ = writeln!(self.0, "# HELP {name} {help}.");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        self.value(name, labels, &value.to_string());
    }

    fn value(&mut self, name: &str, labels: &[(&str, &str)], value: &str) {
        self.0.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{}{label}=\"{text}\"", if at == 0 { '{' } else { ',' });
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.family(name, "histogram", help);
        let bucket = format!("{name}_bucket");
        let mut below = 0_u64;
        for ((_, most), number) in BUCKETS.iter().zip(histogram.buckets) {
            below = below.saturating_add(number);
            self.sample(&bucket, &[("le", most)], below);
        }
        self.sample(&bucket, &[("le", "+Inf")], histogram.count);
        self.sample(&format!("{name}_count"), &[], histogram.count);
        self.value(&format!("{name}_sum"), &[], &format!("{:.9}", histogram.nanos as f64 / 1e9));
    }
}
